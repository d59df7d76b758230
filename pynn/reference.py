"""The functions of :mod:`pynn.kernels` in plain NumPy, same names and signatures: what tests and benchmarks compare with.

Shapes, dtypes and equations are those of :mod:`pynn.kernels`; arguments are NumPy arrays and are not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pynn.kernels import ACTIVATIONS

if TYPE_CHECKING:
    from pynn.kernels import Array

_NUMPY = {**vars(np), "__builtins__": {}}  # the words that formulas are written in
_FORMULAS = {name: compile(row.formula, f"f of {name}", "eval") for name, row in ACTIVATIONS.items()}
_DERIVATIVES = {name: compile(row.derivative, f"f' of {name}", "eval") for name, row in ACTIVATIONS.items()}


def _evaluate(formulas: dict[str, Any], name: str, x: Array, parameter: float | None) -> Array:
    row = ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        result: Array = eval(formulas[name], _NUMPY, {"x": x, row.parameter: row.default if parameter is None else parameter})
    return result


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
    return _put(_evaluate(_FORMULAS, name, x, parameter), out)


def activation_gradient(
    name: str, x: Array, y_gradient: Array, out: Array | None = None, parameter: float | None = None
) -> Array:
    """∂C/∂X = ∂C/∂Y ⊙ f′(X), by the formula in the list of activations.

    >>> activation_gradient("relu", np.array([-1.0, 2.0]), np.array([5.0, 5.0]))
    array([0., 5.])
    """
    return _put(y_gradient * _evaluate(_DERIVATIVES, name, x, parameter), out)


def mean_squared_error(prediction: Array, target: Array) -> float:
    """C = 1/n Σ (ŷ - y)².

    >>> mean_squared_error(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    2.5
    """
    return float(np.mean((prediction - target) ** 2)) if prediction.size else 0.0


def mean_squared_error_gradient(prediction: Array, target: Array, out: Array | None = None) -> Array:
    """∂C/∂Y = (2/n) (Y - Ŷ).

    >>> mean_squared_error_gradient(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    array([1., 2.])
    """
    return _put((prediction - target) * prediction.dtype.type(2 / max(1, prediction.size)), out)


def gradient_descent(parameters: Array, gradients: Array, learning_rate: float) -> None:
    """θ := θ - α ∂C/∂θ, in place.

    >>> theta = np.array([1.0, 2.0])
    >>> gradient_descent(theta, np.array([1.0, 1.0]), 0.5)
    >>> theta
    array([0.5, 1.5])
    """
    parameters -= learning_rate * gradients
