"""The equations of a dense network, one function each, computed in C.

Every function takes any float32 or float64 array-like, of any strides, alignment or byte order; integers and booleans are
converted. One sample is 1-D, ``(features,)``; a batch is 2-D, ``(samples, features)``. The result has the dtype of the
floating-point arguments (float64 if any of them is float64, or if none is floating-point). ``out=`` takes the result instead
of a new array; it must have exactly that shape and dtype, and may overlap an input. :mod:`pynn.reference` has the same
functions in plain NumPy.

A name in brackets, such as (Forward Pass), is the section of *The Mathematics Behind Neural Networks* that an equation is from.
docs/mathematics.md follows these sections, and derives each gradient from the equation of its function.

Errors: complex, object or string data is a ``TypeError``, and so is an ``out`` of another dtype; shapes that do not go together
are a ``ValueError``. NaN and infinity flow through as IEEE-754 says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pynn.checks import (
    F32,
    F64,
    as_counter,
    as_floats,
    as_parameter,
    as_rate,
    changeable,
    checked_gradients,
    deliver,
    same_shape,
)
from pynn.engine import (
    ACTIVATIONS,
    COSTS,
    NOT_PLAIN,
    arrays,
    compiler,
    fail,
    get_num_threads,
    instruction_set,
    instruction_sets,
    number_of,
    objective,
    set_num_threads,
    weight_in_c_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from pynn.checks import Array

__all__ = [
    "ACTIVATIONS", "COSTS", "activation", "activation_gradient", "affine", "bias_gradient", "compiler", "cost", "cost_gradient",
    "dropout", "get_num_threads", "gradient_descent", "input_gradient", "instruction_set", "instruction_sets", "layer_norm",
    "layer_norm_gradient", "layer_norm_scale_gradient", "log_softmax", "log_softmax_gradient", "mean_squared_error",
    "mean_squared_error_gradient", "set_num_threads", "softmax", "softmax_cross_entropy", "softmax_cross_entropy_gradient",
    "softmax_gradient", "standardize", "weight_gradient", "weight_in_c_order",
]  # fmt: skip


def _run(where: str, kernel: Callable[..., Any], *arguments: Any) -> Any:
    """A kernel on arrays that are as it takes them."""
    result = kernel(*arguments)
    if result is None:
        fail(NOT_PLAIN, where)
    return result


def _common(where: str, **values: ArrayLike) -> list[Array]:
    """The values as arrays of one dtype."""
    found = {name: np.asarray(value) for name, value in values.items()}
    floating = [array.dtype for array in found.values() if array.dtype.kind == "f"]
    dtype = F32 if floating and all(each.itemsize < 8 for each in floating) else F64
    return [as_floats(array, where, name, dtype) for name, array in found.items()]


def _rows(array: Array, where: str, name: str) -> Array:
    """``array`` with its last axis contiguous, 1-D or 2-D."""
    if array.ndim not in (1, 2):
        raise ValueError(f"{where}: {name} has shape {array.shape}, wanted (features,) or (samples, features)")
    return np.require(array, requirements=["C", "A"])


def _weight(array: Array, where: str) -> Array:
    if array.ndim != 2:
        raise ValueError(f"{where}: weight has shape {array.shape}, wanted (out_features, in_features)")
    return (
        array
        if array.flags.aligned and (array.flags.c_contiguous or array.flags.f_contiguous)
        else np.require(array, requirements=["C", "A"])
    )


# ---- a dense layer ---------------------------------------------------------------------------------------------------------
#
# Each function first calls the extension (csrc/python/calls.c), which takes plain arrays, makes the result, and answers None to
# all else. Only then come the checks and conversions of Python.


def affine(weight: ArrayLike, x: ArrayLike, bias: ArrayLike | None = None, out: Array | None = None) -> Array:
    """Y = W X + B: one weighted sum of the inputs for each output (Forward Pass).

    ``weight`` (out_features, in_features), ``x`` (in_features,) or (samples, in_features), ``bias`` (out_features,) or None;
    returns (out_features,) or (samples, out_features).

    >>> import numpy as np, pynn
    >>> pynn.kernels.affine(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]), np.array([0.5, -0.5]))
    array([3.5, 6.5])
    """
    y: Array | None = arrays.affine(weight, x, bias, out)
    if y is not None:
        return y
    where = "affine"
    weight, x, *rest = _common(where, weight=weight, x=x, **({} if bias is None else {"bias": bias}))
    weight, x = _weight(weight, where), _rows(x, where, "x")
    bias = _rows(rest[0], where, "bias") if rest else None
    if x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{where}: x has {x.shape[-1]} features, weight takes {weight.shape[1]} (shapes {x.shape} and {weight.shape})"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"{where}: bias has shape {bias.shape}, wanted {weight.shape[:1]}")
    return deliver(_run(where, arrays.affine, weight, x, bias, None), out, where)


def weight_gradient(y_gradient: ArrayLike, x: ArrayLike, out: Array | None = None) -> Array:
    """∂C/∂W = ∂C/∂Y Xᵀ: an outer product, summed over a batch (Backpropagation 1).

    ``y_gradient`` (out_features,) or (samples, out_features), ``x`` (in_features,) or (samples, in_features);
    returns (out_features, in_features).

    >>> import numpy as np, pynn
    >>> pynn.kernels.weight_gradient(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([[3., 4.],
           [6., 8.]])
    """
    dw: Array | None = arrays.weight_gradient(y_gradient, x, out)
    if dw is not None:
        return dw
    where = "weight_gradient"
    y_gradient, x = _common(where, y_gradient=y_gradient, x=x)
    y_gradient, x = _rows(y_gradient, where, "y_gradient"), _rows(x, where, "x")
    if y_gradient.shape[:-1] != x.shape[:-1]:
        raise ValueError(f"{where}: y_gradient has shape {y_gradient.shape} and x {x.shape}; they must have the same samples")
    return deliver(_run(where, arrays.weight_gradient, y_gradient, x, None), out, where)


def bias_gradient(y_gradient: ArrayLike, out: Array | None = None) -> Array:
    """∂C/∂B = ∂C/∂Y, summed over a batch (Backpropagation 1).

    ``y_gradient`` (out_features,) or (samples, out_features); returns (out_features,).

    >>> import numpy as np, pynn
    >>> pynn.kernels.bias_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    db: Array | None = arrays.bias_gradient(y_gradient, out)
    if db is not None:
        return db
    where = "bias_gradient"
    (y_gradient,) = _common(where, y_gradient=y_gradient)
    y_gradient = _rows(y_gradient, where, "y_gradient")
    return deliver(_run(where, arrays.bias_gradient, y_gradient, None), out, where)


def input_gradient(weight: ArrayLike, y_gradient: ArrayLike, out: Array | None = None) -> Array:
    """∂C/∂X = Wᵀ ∂C/∂Y: what the layer before needs (Backpropagation 1).

    ``weight`` (out_features, in_features), ``y_gradient`` (out_features,) or (samples, out_features); returns
    (in_features,) or (samples, in_features).

    >>> import numpy as np, pynn
    >>> pynn.kernels.input_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]))
    array([4., 6.])
    """
    dx: Array | None = arrays.input_gradient(weight, y_gradient, out)
    if dx is not None:
        return dx
    where = "input_gradient"
    weight, y_gradient = _common(where, weight=weight, y_gradient=y_gradient)
    weight, y_gradient = _weight(weight, where), _rows(y_gradient, where, "y_gradient")
    if y_gradient.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"{where}: y_gradient has {y_gradient.shape[-1]} features, weight gives {weight.shape[0]} "
            f"(shapes {y_gradient.shape} and {weight.shape})"
        )
    return deliver(_run(where, arrays.input_gradient, weight, y_gradient, None), out, where)


# ---- activations -----------------------------------------------------------------------------------------------------------

_DEFAULTS = {name: (row.number, row.default) for name, row in ACTIVATIONS.items()}


def activation(name: str, x: ArrayLike, out: Array | None = None, parameter: float | None = None) -> Array:
    """Y = f(X), elementwise (Activation Layers).

    ``name`` is one of ``pynn.kernels.ACTIVATIONS``, an unknown one a ``ValueError``; ``x`` has any shape, which the result has
    too. ``out`` may be ``x``. ``parameter`` is that of an activation that has one, None for its default; it is rounded to the
    dtype.

    >>> import numpy as np, pynn
    >>> pynn.kernels.activation("relu", np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    try:
        function = _DEFAULTS[name] if parameter is None else None
    except (KeyError, TypeError):
        function = None
    if function is None:
        function = number_of(ACTIVATIONS, name, parameter, "activation", "activation")
    y: Array | None = arrays.activation(function, x, out)
    if y is not None:
        return y
    where = "activation"
    (x,) = _common(where, x=x)
    run = np.require(x, requirements=["C", "A"]).reshape(-1)
    return deliver(_run(where, arrays.activation, function, run, None).reshape(x.shape), out, where)


def activation_gradient(
    name: str, x: ArrayLike, y_gradient: ArrayLike, out: Array | None = None, parameter: float | None = None
) -> Array:
    """∂C/∂X = ∂C/∂Y ⊙ f′(X), elementwise (Backpropagation 2).

    ``x`` and ``y_gradient`` have the same shape, any, which the result has too. ``out`` may be either of them; ``parameter`` is
    as in ``activation``.

    >>> import numpy as np, pynn
    >>> pynn.kernels.activation_gradient("relu", np.array([-1.0, 2.0]), np.array([5.0, 5.0]))
    array([0., 5.])
    """
    try:
        function = _DEFAULTS[name] if parameter is None else None
    except (KeyError, TypeError):
        function = None
    if function is None:
        function = number_of(ACTIVATIONS, name, parameter, "activation_gradient", "activation")
    dx: Array | None = arrays.activation_gradient(function, x, y_gradient, out)
    if dx is not None:
        return dx
    where = "activation_gradient"
    x, y_gradient = _common(where, x=x, y_gradient=y_gradient)
    same_shape(where, x=x, y_gradient=y_gradient)
    runs = [np.require(array, requirements=["C", "A"]).reshape(-1) for array in (x, y_gradient)]
    return deliver(_run(where, arrays.activation_gradient, function, *runs, None).reshape(x.shape), out, where)


# ---- rows ------------------------------------------------------------------------------------------------------------------


def _softmax(where: str, log: bool, x: ArrayLike, out: Array | None) -> Array:
    y: Array | None = arrays.softmax(log, x, out)
    if y is not None:
        return y
    (x,) = _common(where, x=x)
    return deliver(_run(where, arrays.softmax, log, _rows(x, where, "x"), None), out, where)


def softmax(x: ArrayLike, out: Array | None = None) -> Array:
    """y_j = e^x_j / Σ_k e^x_k along each row, as e^(x_j - m) / Σ_k e^(x_k - m) with m the row's largest (Bridle, 1990).

    ``x`` (features,) or (samples, features), which shape the result has too; ``out`` may be ``x``. Infinite numbers count as
    their limit: -∞ has 0, one +∞ has 1, and equal ones share alike. A row with a NaN is NaN.

    >>> import numpy as np, pynn
    >>> pynn.kernels.softmax(np.array([0.0, 0.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    return _softmax("softmax", False, x, out)


def log_softmax(x: ArrayLike, out: Array | None = None) -> Array:
    """y_j = log(e^x_j / Σ_k e^x_k) along each row, as (x_j - m) - log Σ_k e^(x_k - m) with m the row's largest
    (Bridle, 1990).

    Arguments and infinite numbers are as in ``softmax``.

    >>> import numpy as np, pynn
    >>> pynn.kernels.log_softmax(np.array([1e30, 0.0]))
    array([ 0.e+00, -1.e+30])
    """
    return _softmax("log_softmax", True, x, out)


def _softmax_gradient(where: str, log: bool, y: ArrayLike, y_gradient: ArrayLike, out: Array | None) -> Array:
    dx: Array | None = arrays.softmax_gradient(log, y, y_gradient, out)
    if dx is not None:
        return dx
    y, y_gradient = _common(where, y=y, y_gradient=y_gradient)
    y, y_gradient = _rows(y, where, "y"), _rows(y_gradient, where, "y_gradient")
    same_shape(where, y=y, y_gradient=y_gradient)
    return deliver(_run(where, arrays.softmax_gradient, log, y, y_gradient, None), out, where)


def softmax_gradient(y: ArrayLike, y_gradient: ArrayLike, out: Array | None = None) -> Array:
    """∂C/∂X = Y ⊙ (∂C/∂Y - Σ_k y_k ∂C/∂y_k) along each row, for Y = softmax(X).

    ``y`` and ``y_gradient`` have the same shape, (features,) or (samples, features), which the result has too. ``out`` may be
    either of them.

    >>> import numpy as np, pynn
    >>> pynn.kernels.softmax_gradient(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    array([ 0.25, -0.25])
    """
    return _softmax_gradient("softmax_gradient", False, y, y_gradient, out)


def log_softmax_gradient(y: ArrayLike, y_gradient: ArrayLike, out: Array | None = None) -> Array:
    """∂C/∂X = ∂C/∂Y - e^Y Σ_k ∂C/∂y_k along each row, for Y = log_softmax(X), none of which is above 0.

    Arguments are as in ``softmax_gradient``.

    >>> import numpy as np, pynn
    >>> pynn.kernels.log_softmax_gradient(np.array([0.0, -np.inf]), np.array([1.0, 1.0]))
    array([-1.,  1.])
    """
    return _softmax_gradient("log_softmax_gradient", True, y, y_gradient, out)


def _features(where: str, x: Array, **arrays: Array | None) -> None:
    for name, array in arrays.items():
        if array is not None and array.shape != x.shape[-1:]:
            raise ValueError(f"{where}: {name} has shape {array.shape}, wanted {x.shape[-1:]} for x of shape {x.shape}")


def _statistics(where: str, x: Array, statistics: Array) -> None:
    if statistics.shape != (*x.shape[:-1], 2):
        raise ValueError(
            f"{where}: statistics has shape {statistics.shape}, wanted {(*x.shape[:-1], 2)} for x of shape {x.shape}"
        )


def layer_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    epsilon: float = 1e-5,
    out: Array | None = None,
    statistics: Array | None = None,
) -> Array:
    """y_j = h_j scale_j + bias_j, h_j = (x_j - mean) / √(variance + epsilon), of each row (Ba, Kiros and Hinton, 2016).

    ``x`` (features,) or (samples, features), which shape the result has too; ``scale`` and ``bias`` (features,) or None;
    ``epsilon`` above 0. ``statistics``, an array of the result's dtype, (2,) or (samples, 2), takes each row's mean and
    1 / √(variance + epsilon), which the gradients want. The variance is that of the row as it is (divided by features).
    ``out`` may be ``x``.

    >>> import numpy as np, pynn
    >>> pynn.kernels.layer_norm(np.array([1.0, 3.0]), epsilon=1e-30)
    array([-1.,  1.])
    """
    y: Array | None = arrays.layer_norm(x, scale, bias, epsilon, out, statistics)
    if y is not None:
        return y
    where = "layer_norm"
    given = {name: value for name, value in (("scale", scale), ("bias", bias)) if value is not None}
    x, *rest = _common(where, x=x, **given)
    features: dict[str, Array | None] = dict(
        zip(given, (_rows(each, where, name) for name, each in zip(given, rest, strict=True)), strict=True)
    )
    x = _rows(x, where, "x")
    _features(where, x, **features)
    epsilon = as_parameter(epsilon, where, "epsilon")
    if epsilon <= 0:
        raise ValueError(f"{where}: epsilon is {epsilon!r}, wanted a number above 0")
    own = np.empty((*x.shape[:-1], 2), x.dtype)
    y = _run(where, arrays.layer_norm, x, features.get("scale"), features.get("bias"), epsilon, None, own)
    if statistics is not None:
        deliver(own, statistics, where, "statistics")
    return deliver(y, out, where)


def layer_norm_gradient(
    x: ArrayLike, statistics: ArrayLike, y_gradient: ArrayLike, scale: ArrayLike | None = None, out: Array | None = None
) -> Array:
    """∂C/∂X = (Q - mean(Q) - H mean(Q ⊙ H)) / √(variance + epsilon), Q = ∂C/∂Y ⊙ scale, means along each row.

    ``x`` and ``y_gradient`` have the same shape, (features,) or (samples, features), which the result has too; ``statistics``
    is what ``layer_norm`` gave. ``out`` may be ``x`` or ``y_gradient``.

    >>> import numpy as np, pynn
    >>> x, statistics = np.array([1.0, 2.0, 3.0]), np.empty(2)
    >>> y = pynn.kernels.layer_norm(x, statistics=statistics)
    >>> bool(abs(pynn.kernels.layer_norm_gradient(x, statistics, np.ones(3))).max() < 1e-15)
    True
    """
    dx: Array | None = arrays.layer_norm_gradient(x, statistics, y_gradient, scale, out)
    if dx is not None:
        return dx
    where = "layer_norm_gradient"
    given = {} if scale is None else {"scale": scale}
    x, statistics, y_gradient, *rest = _common(where, x=x, statistics=statistics, y_gradient=y_gradient, **given)
    x, y_gradient, statistics = (
        _rows(x, where, "x"),
        _rows(y_gradient, where, "y_gradient"),
        _rows(statistics, where, "statistics"),
    )
    scale = _rows(rest[0], where, "scale") if rest else None
    same_shape(where, x=x, y_gradient=y_gradient)
    _statistics(where, x, statistics)
    _features(where, x, scale=scale)
    return deliver(_run(where, arrays.layer_norm_gradient, x, statistics, y_gradient, scale, None), out, where)


def layer_norm_scale_gradient(x: ArrayLike, statistics: ArrayLike, y_gradient: ArrayLike, out: Array | None = None) -> Array:
    """∂C/∂scale = ∂C/∂Y ⊙ H, summed over a batch; that of the bias is ``bias_gradient``.

    Arguments are as in ``layer_norm_gradient``; returns (features,).

    >>> import numpy as np, pynn
    >>> pynn.kernels.layer_norm_scale_gradient(np.array([1.0, 3.0]), np.array([2.0, 1.0]), np.array([5.0, 6.0]))
    array([-5.,  6.])
    """
    gradient: Array | None = arrays.layer_norm_scale_gradient(x, statistics, y_gradient, out)
    if gradient is not None:
        return gradient
    where = "layer_norm_scale_gradient"
    x, statistics, y_gradient = _common(where, x=x, statistics=statistics, y_gradient=y_gradient)
    x, y_gradient, statistics = (
        _rows(x, where, "x"),
        _rows(y_gradient, where, "y_gradient"),
        _rows(statistics, where, "statistics"),
    )
    same_shape(where, x=x, y_gradient=y_gradient)
    _statistics(where, x, statistics)
    return deliver(_run(where, arrays.layer_norm_scale_gradient, x, statistics, y_gradient, None), out, where)


def standardize(x: ArrayLike, mean: ArrayLike | None, deviation: ArrayLike, out: Array | None = None) -> Array:
    """y_j = (x_j - mean_j) / deviation_j, a difference and a quotient for each element (LeCun et al., 1998).

    ``x`` (features,) or (samples, features), which shape the result has too; ``mean`` (features,), or None for zeros, and
    ``deviation`` (features,). With ``mean`` None it is the gradient: ∂C/∂X = ∂C/∂Y / deviation. ``out`` may be ``x``.

    >>> import numpy as np, pynn
    >>> pynn.kernels.standardize(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([2.0, 5.0]), np.array([0.5, 1.0]))
    array([[-2.,  0.],
           [ 2.,  0.]])
    """
    y: Array | None = arrays.standardize(x, mean, deviation, out)
    if y is not None:
        return y
    where = "standardize"
    given = {} if mean is None else {"mean": mean}
    x, deviation, *rest = _common(where, x=x, deviation=deviation, **given)
    x, deviation = _rows(x, where, "x"), _rows(deviation, where, "deviation")
    mean = _rows(rest[0], where, "mean") if rest else None
    _features(where, x, mean=mean, deviation=deviation)
    return deliver(_run(where, arrays.standardize, x, mean, deviation, None), out, where)


def dropout(x: ArrayLike, rate: float, seed: int, step: int = 0, first_row: int = 0, out: Array | None = None) -> Array:
    """y = 0 with probability ``rate``, else x / (1 - rate) (Srivastava et al., 2014); the gradient is the same of ∂C/∂Y.

    ``x`` (features,) or (samples, features), which shape the result has too; ``rate`` from 0 up and below 1; ``seed``, ``step``
    and ``first_row``, the row's number where ``x`` is part of a batch, from 0 up and below 2^64. Which elements are dropped is a
    function of these, of the row and of the number of features: element k of the batch, counted along its rows, is dropped if
    its 32 bits from Philox4x32-10 (Salmon et al., 2011; csrc/kernels/random.h) are below rate 2^32, rounded down. What is dropped
    is 0, be it NaN. ``out`` may be ``x``.

    >>> import numpy as np, pynn
    >>> pynn.kernels.dropout(np.ones(8), 0.5, seed=1)
    array([2., 2., 0., 2., 0., 0., 0., 0.])
    """
    y: Array | None = arrays.dropout(x, rate, seed, step, first_row, out)
    if y is not None:
        return y
    where = "dropout"
    rate = as_rate(rate, where)
    for name, number in (("seed", seed), ("step", step), ("first_row", first_row)):
        as_counter(number, where, name)
    (x,) = _common(where, x=x)
    x = _rows(x, where, "x")
    return deliver(_run(where, arrays.dropout, x, rate, int(seed), int(step), int(first_row), None), out, where)


# ---- cost and update ---------------------------------------------------------------------------------------------------------


_OBJECTIVES = {name: objective(name) for name in COSTS}


def _weighed(prediction: Array, sample_weight: ArrayLike | None, where: str) -> Array | None:
    """The weights of rows in the prediction's dtype."""
    if sample_weight is None:
        return None
    weights = as_floats(sample_weight, where, "sample_weight", prediction.dtype)
    rows = prediction.shape[:1] if prediction.ndim == 2 else (1,)
    if weights.shape != rows:
        raise ValueError(f"{where}: sample_weight has shape {weights.shape}, wanted {rows}, one for each row of the prediction")
    return np.require(weights, requirements=["C", "A"])


def cost(
    name: str, prediction: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None, parameter: float | None = None
) -> float:
    """C = 1/n Σ c(ŷ, y) over all n elements, or Σ wᵢ cᵢⱼ / (m Σ wᵢ) with a weight for each row of m outputs (Cost Function).

    ``name`` is one of ``pynn.kernels.COSTS``, an unknown one a ``ValueError``. ``prediction`` and ``target`` have the same shape,
    any, or with ``sample_weight`` (rows,) that of (rows, outputs). Computed in double precision; 0.0 where n or Σ wᵢ is 0.
    ``parameter`` is that of a cost that has one, None for its default.

    >>> import numpy as np, pynn
    >>> pynn.kernels.cost("mae", np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    1.5
    """
    return _cost("cost", name, prediction, target, sample_weight, parameter)


def _objective(name: str, parameter: float | None) -> tuple[int, float, bool]:
    known = _OBJECTIVES.get(name) if parameter is None and type(name) is str else None
    return objective(name, parameter) if known is None else known


def _pair(
    where: str, prediction: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Prediction and target of any shape as one run each, or as rows where these have weights, and the weights."""
    p, t = _common(where, prediction=prediction, target=target)
    same_shape(where, prediction=p, target=t)
    weights = _weighed(p, sample_weight, where)
    shape = p.shape if weights is not None and p.ndim == 2 else (-1,)
    p, t = (np.require(array.reshape(shape), requirements=["C", "A"]) for array in (p, t))
    return p, t, weights


def _cost(
    where: str,
    name: str,
    prediction: ArrayLike,
    target: ArrayLike,
    sample_weight: ArrayLike | None = None,
    parameter: float | None = None,
) -> float:
    o = _objective(name, parameter)
    c: float | None = arrays.cost(o, prediction, target, sample_weight)
    if c is not None:
        return c
    return float(_run(where, arrays.cost, o, *_pair(where, prediction, target, sample_weight)))


def cost_gradient(
    name: str,
    prediction: ArrayLike,
    target: ArrayLike,
    sample_weight: ArrayLike | None = None,
    out: Array | None = None,
    parameter: float | None = None,
) -> Array:
    """∂C/∂Y = 1/n ∂c/∂ŷ of ``cost``, of the prediction's shape and dtype; ``out`` may be either of prediction and target.

    >>> import numpy as np, pynn
    >>> pynn.kernels.cost_gradient("mae", np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    array([0.5, 0.5])
    """
    return _cost_gradient("cost_gradient", name, prediction, target, sample_weight, out, parameter)


def _cost_gradient(
    where: str,
    name: str,
    prediction: ArrayLike,
    target: ArrayLike,
    sample_weight: ArrayLike | None = None,
    out: Array | None = None,
    parameter: float | None = None,
) -> Array:
    o = _objective(name, parameter)
    gradient: Array | None = arrays.cost_gradient(o, prediction, target, sample_weight, out)
    if gradient is not None:
        return gradient
    p, t, weights = _pair(where, prediction, target, sample_weight)
    gradient = _run(where, arrays.cost_gradient, o, p, t, weights, None)
    return deliver(gradient.reshape(np.shape(prediction)), out, where)


def _logits_and_target(
    where: str, logits: ArrayLike, target: ArrayLike, smoothing: float
) -> tuple[Array, Array, tuple[int, float, bool]]:
    """Rows of logits, probabilities of their shape or a class for each row, and the objective."""
    x = _rows(as_floats(logits, where, "logits"), where, "logits")
    t = np.asarray(target)
    smoothing = as_parameter(smoothing, where, "label_smoothing")
    if not 0 <= smoothing < 1:
        raise ValueError(f"{where}: label_smoothing is {smoothing!r}, wanted a number from 0 up to below 1")
    labels = t.ndim == x.ndim - 1
    t = as_floats(t, where, "target", x.dtype)
    if t.shape != (x.shape[:-1] if labels else x.shape):
        raise ValueError(f"{where}: target has shape {t.shape}, wanted {x.shape}, or classes of shape {x.shape[:-1]}")
    if labels:
        wrong = (t != np.floor(t)) | (t < 0) | (t >= x.shape[-1])
        if wrong.any():
            raise ValueError(
                f"{where}: target has the class {t[wrong].flat[0]:g}, wanted whole numbers from 0 to {x.shape[-1] - 1}"
            )
        t = t.reshape(-1)
    return x, np.require(t, requirements=["C", "A"]), objective("softmax_cross_entropy", smoothing, labels)


def softmax_cross_entropy(
    logits: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None, label_smoothing: float = 0.0
) -> float:
    """C = mean over rows of -Σⱼ uⱼ log softmax(x)ⱼ, u = (1 - a) t + a / classes, a the label smoothing (Szegedy et al., 2016).

    ``logits`` (classes,) or (samples, classes); ``target`` of the same shape, probabilities t, or one class for each row,
    whole numbers from 0 on. Weighted: Σ wᵢ cᵢ / Σ wᵢ. Computed in double precision from the logits' distances to their largest,
    so that none is too large. Shapes that do not fit and classes that there are not are a ``ValueError``.

    >>> import numpy as np, pynn
    >>> pynn.kernels.softmax_cross_entropy(np.array([[0.0, 0.0], [1000.0, 0.0]]), [1, 0])
    0.34657359027997264
    """
    where = "softmax_cross_entropy"
    x, t, o = _logits_and_target(where, logits, target, label_smoothing)
    return float(_run(where, arrays.cost, o, x, t, _weighed(x, sample_weight, where)))


def softmax_cross_entropy_gradient(
    logits: ArrayLike,
    target: ArrayLike,
    sample_weight: ArrayLike | None = None,
    out: Array | None = None,
    label_smoothing: float = 0.0,
) -> Array:
    """∂C/∂X = (softmax(x) Σⱼ uⱼ - u) / rows of ``softmax_cross_entropy``, of the logits' shape and dtype.

    >>> import numpy as np, pynn
    >>> pynn.kernels.softmax_cross_entropy_gradient(np.array([[0.0, 0.0]]), [1])
    array([[ 0.5, -0.5]])
    """
    where = "softmax_cross_entropy_gradient"
    x, t, o = _logits_and_target(where, logits, target, label_smoothing)
    return deliver(_run(where, arrays.cost_gradient, o, x, t, _weighed(x, sample_weight, where), None), out, where)


def mean_squared_error(prediction: ArrayLike, target: ArrayLike) -> float:
    """C = 1/n Σ (ŷ - y)² over all n elements (Cost Function): ``cost("mse", ...)``.

    >>> import numpy as np, pynn
    >>> pynn.kernels.mean_squared_error(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    2.5
    """
    return _cost("mean_squared_error", "mse", prediction, target)


def mean_squared_error_gradient(prediction: ArrayLike, target: ArrayLike, out: Array | None = None) -> Array:
    """∂C/∂Y = (2/n) (Y - Ŷ), where n counts all elements (from the definition in Cost Function): ``cost_gradient("mse", ...)``.

    >>> import numpy as np, pynn
    >>> pynn.kernels.mean_squared_error_gradient(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    array([1., 2.])
    """
    return _cost_gradient("mean_squared_error_gradient", "mse", prediction, target, out=out)


def gradient_descent(parameters: Array, gradients: ArrayLike, learning_rate: float) -> None:
    """θ := θ - α ∂C/∂θ, in place, one fused multiply-add for each parameter (Gradient Descent).

    ``parameters`` is a float32 or float64 array of any shape and strides, ``gradients`` has its shape, ``learning_rate`` is
    rounded to its dtype. Raises ``TypeError`` if ``parameters`` is no such array, ``ValueError`` if it is read-only.

    >>> import numpy as np, pynn
    >>> theta = np.array([1.0, 2.0])
    >>> pynn.kernels.gradient_descent(theta, np.array([1.0, 1.0]), 0.5)
    >>> theta
    array([0.5, 1.5])
    """
    if arrays.gradient_descent(parameters, gradients, learning_rate):
        return
    where = "gradient_descent"
    changeable(parameters, where)
    gradients = checked_gradients(parameters, gradients, where)
    updated = np.array(parameters, gradients.dtype, order="C", copy=True)
    run, gradient_run = updated.reshape(-1), np.require(gradients, requirements=["C", "A"]).reshape(-1)
    _run(where, arrays.gradient_descent, run, gradient_run, learning_rate)
    np.copyto(parameters, updated)
