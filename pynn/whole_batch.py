"""L-BFGS over all parameters at once, on all data at once: SciPy's, which is an optional extra (``pip install pynn[scipy]``)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn import checks, samples
from pynn.rows import Dropout
from pynn.training import DivergenceError, History

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pynn.network import Network


def fit_lbfgs(
    network: Network,
    x: ArrayLike,
    y: ArrayLike,
    max_iterations: int = 200,
    tolerance: float = 1e-5,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    memory: int = 10,
) -> History:
    """Minimize the cost of all of ``x`` (samples, in_features), ``y`` (samples, out_features), or labels, by L-BFGS (Liu and
    Nocedal, 1989), in place of the network's optimizer: for data that fit in memory and networks of up to some 10⁵ parameters.

    It ends after ``max_iterations`` iterations, or once no element of the gradient is larger than ``tolerance``, or once no step
    makes the cost smaller. ``History.cost`` has the cost after each iteration, ``converged`` whether it ended by itself. ``l2``
    adds l₂/2 Σ θ² over weights to these costs; ``memory`` is how many steps L-BFGS remembers. It works in float64, and rounds
    parameters to the network's dtype. An interrupt leaves the parameters of the last iteration. SciPy's sums differ in their
    last bits from machine to machine, and so do these parameters: of all ways to train this one is outside the promise of the
    same bits.

    Raises ``ImportError`` without SciPy, ``ValueError`` or ``TypeError`` for what does not fit, and for a network with dropout,
    whose cost is another one at each call; ``DivergenceError`` if the first cost is not finite.

    >>> import numpy as np, pynn
    >>> net = pynn.Network([pynn.Dense(2, 4), pynn.Tanh(), pynn.Dense(4, 1)], dtype="float64", seed=0)
    >>> history = pynn.fit_lbfgs(net, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])
    >>> history.cost[-1] < 1e-6
    True
    """
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise ImportError("fit_lbfgs needs SciPy: pip install scipy, or pynn[scipy]") from None
    if any(isinstance(layer, Dropout) for layer in network.layers):
        raise ValueError("fit_lbfgs: a layer is Dropout, whose cost is another one at each call; wanted a network without")
    l2 = checks.as_parameter(l2, "fit_lbfgs", "l2")
    if l2 < 0:
        raise ValueError(f"fit_lbfgs: l2 is {l2!r}, wanted a number from 0 up")
    x, y = samples.pair(network, x, y)
    if x.ndim != 2 or not len(x):
        raise ValueError(f"fit_lbfgs: x has shape {x.shape}, wanted (samples, features) with at least one sample")
    given: tuple[Any, ...] = () if sample_weight is None else (samples.weights(network, sample_weight, x, "fit_lbfgs"),)
    penalized = np.zeros(network.parameters.size)
    for _, name, begin, end in network._runs:
        penalized[begin:end] = l2 if name != "bias" else 0.0

    def cost_and_gradient(theta: Any) -> tuple[float, Any]:
        network.parameters = theta
        prediction = network.forward(x)
        cost = float(network.cost(prediction, y, *given))
        network.backward(network.cost.gradient(prediction, y, *given))
        gradient = network.gradients.astype(np.float64) + penalized * theta
        return cost + 0.5 * float(penalized @ (theta * theta)), gradient

    history = History()
    best = network.parameters.astype(np.float64)
    first = cost_and_gradient(best)[0]
    if not math.isfinite(first):
        raise DivergenceError(
            f"fit_lbfgs: the cost is {first} before the first step; are x, y and the parameters finite?",
            epoch=1,
            batch=1,
            step=0,
            cost=first,
            history=history,
        )

    def after_iteration(intermediate_result: Any) -> None:
        best[:] = intermediate_result.x
        history.cost.append(float(intermediate_result.fun))

    options = {"maxiter": max_iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": memory, "maxfun": 20 * max_iterations + 20}
    try:
        result = minimize(cost_and_gradient, best.copy(), jac=True, method="L-BFGS-B", callback=after_iteration, options=options)
        best[:] = result.x
        history.converged = result.status != 1  # 1: as many iterations as allowed
    finally:
        network.parameters = best
    return history
