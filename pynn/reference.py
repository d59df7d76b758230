"""The functions of :mod:`pynn.kernels` in plain NumPy, same names and signatures: what tests and benchmarks compare with.

Shapes, dtypes and equations are those of :mod:`pynn.kernels`; arguments are NumPy arrays and are not checked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn.kernels import ACTIVATIONS, COSTS

if TYPE_CHECKING:
    from pynn.kernels import Array, FunctionInfo


def erfc(x: Array) -> Array:
    """1 - erf(x), elementwise, of the shape and dtype of ``x``: the one word of the formulas that NumPy lacks, computed by ``math.erfc``.

    >>> erfc(np.array([0.0, 20.0]))
    array([1.00000000e+000, 5.39586561e-176])
    """
    array = np.asarray(x)
    values = np.fromiter(map(math.erfc, array.ravel().tolist()), np.float64, array.size)
    return values.reshape(array.shape).astype(array.dtype)


WORDS = {**vars(np), "erfc": erfc, "__builtins__": {}}  # that formulas are written in


def _compiled(functions: dict[str, FunctionInfo], which: str) -> dict[str, tuple[Any, str, float]]:
    """Formulas by name, each with the name and default of its parameter."""
    return {
        name: (compile(getattr(row, which), f"{which} of {name}", "eval"), row.parameter, row.default)
        for name, row in functions.items()
    }


_ACTIVATION, _ACTIVATION_DERIVATIVE = _compiled(ACTIVATIONS, "formula"), _compiled(ACTIVATIONS, "derivative")
_COST, _COST_DERIVATIVE = _compiled(COSTS, "formula"), _compiled(COSTS, "derivative")


def _evaluate(formula: tuple[Any, str, float], parameter: float | None, **variables: Array) -> Array:
    code, name, default = formula
    with np.errstate(all="ignore"):
        result: Array = eval(code, WORDS, {**variables, name: default if parameter is None else parameter})
    first = next(iter(variables.values()))
    return result.astype(first.dtype, copy=False)


def _put(result: Array, out: Array | None) -> Array:
    if out is None:
        return result
    out[...] = result
    return out


def affine(weight: Array, x: Array, bias: Array | None = None, out: Array | None = None) -> Array:
    """Y = W X + B.

    >>> affine(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]), np.array([0.5, -0.5]))
    array([3.5, 6.5])
    """
    y = x @ weight.T
    return _put(y if bias is None else y + bias, out)


def weight_gradient(y_gradient: Array, x: Array, out: Array | None = None) -> Array:
    """∂C/∂W = ∂C/∂Y Xᵀ, summed over a batch.

    >>> weight_gradient(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([[3., 4.],
           [6., 8.]])
    """
    return _put(y_gradient[:, None] * x if x.ndim == 1 else y_gradient.T @ x, out)


def bias_gradient(y_gradient: Array, out: Array | None = None) -> Array:
    """∂C/∂B = ∂C/∂Y, summed over a batch.

    >>> bias_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    return _put(y_gradient.copy() if y_gradient.ndim == 1 else y_gradient.sum(axis=0), out)


def input_gradient(weight: Array, y_gradient: Array, out: Array | None = None) -> Array:
    """∂C/∂X = Wᵀ ∂C/∂Y.

    >>> input_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]))
    array([4., 6.])
    """
    return _put(y_gradient @ weight, out)


def activation(name: str, x: Array, out: Array | None = None, parameter: float | None = None) -> Array:
    """Y = f(X), by the formula in the list of activations.

    >>> activation("relu", np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return _put(_evaluate(_ACTIVATION[name], parameter, x=x), out)


def activation_gradient(
    name: str, x: Array, y_gradient: Array, out: Array | None = None, parameter: float | None = None
) -> Array:
    """∂C/∂X = ∂C/∂Y ⊙ f′(X), by the formula in the list of activations.

    >>> activation_gradient("relu", np.array([-1.0, 2.0]), np.array([5.0, 5.0]))
    array([0., 5.])
    """
    return _put(y_gradient * _evaluate(_ACTIVATION_DERIVATIVE[name], parameter, x=x), out)


def cost(
    name: str, prediction: Array, target: Array, sample_weight: Array | None = None, parameter: float | None = None
) -> float:
    """C = 1/n Σ c(ŷ, y), or Σ wᵢ cᵢⱼ / (m Σ wᵢ), by the formula in the list of costs.

    >>> cost("mae", np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    1.5
    """
    terms = _evaluate(_COST[name], parameter, p=prediction, t=target)
    if sample_weight is None:
        return float(np.mean(terms)) if prediction.size else 0.0
    total = np.sum(sample_weight) * prediction.shape[-1]
    return float(np.sum(terms * np.reshape(sample_weight, (-1, 1))) / total) if total else 0.0


def cost_gradient(
    name: str,
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    out: Array | None = None,
    parameter: float | None = None,
) -> Array:
    """∂C/∂Y of ``cost``, by the formula in the list of costs.

    >>> cost_gradient("mae", np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    array([0.5, 0.5])
    """
    terms = _evaluate(_COST_DERIVATIVE[name], parameter, p=prediction, t=target)
    if sample_weight is None:
        return _put(terms * prediction.dtype.type(1 / max(1, prediction.size)), out)
    total = np.sum(sample_weight, dtype=np.float64) * prediction.shape[-1]
    scale = np.reshape(sample_weight / total if total else np.zeros_like(sample_weight), (-1, 1)).astype(prediction.dtype)
    return _put((terms * scale).reshape(prediction.shape), out)


def mean_squared_error(prediction: Array, target: Array) -> float:
    """C = 1/n Σ (ŷ - y)².

    >>> mean_squared_error(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    2.5
    """
    return cost("mse", prediction, target)


def mean_squared_error_gradient(prediction: Array, target: Array, out: Array | None = None) -> Array:
    """∂C/∂Y = (2/n) (Y - Ŷ).

    >>> mean_squared_error_gradient(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    array([1., 2.])
    """
    return cost_gradient("mse", prediction, target, out=out)


def gradient_descent(parameters: Array, gradients: Array, learning_rate: float) -> None:
    """θ := θ - α ∂C/∂θ, in place.

    >>> theta = np.array([1.0, 2.0])
    >>> gradient_descent(theta, np.array([1.0, 1.0]), 0.5)
    >>> theta
    array([0.5, 1.5])
    """
    parameters -= learning_rate * gradients
