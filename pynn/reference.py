"""The functions of :mod:`pynn.kernels` in plain NumPy, same names and signatures: what tests and benchmarks compare with.

Shapes, dtypes and equations are those of :mod:`pynn.kernels`; arguments are NumPy arrays and are not checked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn.engine import ACTIVATIONS, COSTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynn.checks import Array
    from pynn.engine import FunctionInfo


def _erfc(x: Array) -> Array:
    """1 - erf(x), elementwise, of the shape and dtype of ``x``: the one word of the formulas that NumPy lacks (``math.erfc``).

    >>> _erfc(np.array([0.0, 20.0]))
    array([1.00000000e+000, 5.39586561e-176])
    """
    array = np.asarray(x)
    values = np.fromiter(map(math.erfc, array.ravel().tolist()), np.float64, array.size)
    return values.reshape(array.shape).astype(array.dtype)


WORDS = {**vars(np), "erfc": _erfc, "__builtins__": {}}  # that formulas are written in


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
    return _put(_evaluate(_ACTIVATION[name], parameter, x=x).astype(x.dtype, copy=False), out)


def activation_gradient(
    name: str, x: Array, y_gradient: Array, out: Array | None = None, parameter: float | None = None
) -> Array:
    """∂C/∂X = ∂C/∂Y ⊙ f′(X), by the formula in the list of activations.

    >>> activation_gradient("relu", np.array([-1.0, 2.0]), np.array([5.0, 5.0]))
    array([0., 5.])
    """
    return _put(y_gradient * _evaluate(_ACTIVATION_DERIVATIVE[name], parameter, x=x).astype(x.dtype, copy=False), out)


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


def _log_softmax(x: Array) -> Array:
    with np.errstate(all="ignore"):
        largest = x.max(axis=-1, keepdims=True, initial=-np.inf)
        shifted = np.where(x == largest, 0, x - largest).astype(x.dtype)
        result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def softmax(x: Array, out: Array | None = None) -> Array:
    """y_j = e^x_j / Σ_k e^x_k along each row.

    >>> softmax(np.array([0.0, 0.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    return _put(np.exp(_log_softmax(x)), out)


def log_softmax(x: Array, out: Array | None = None) -> Array:
    """y_j = log(e^x_j / Σ_k e^x_k) along each row.

    >>> log_softmax(np.array([1e30, 0.0]))
    array([ 0.e+00, -1.e+30])
    """
    return _put(_log_softmax(x), out)


def softmax_gradient(y: Array, y_gradient: Array, out: Array | None = None) -> Array:
    """∂C/∂X = Y ⊙ (∂C/∂Y - Σ_k y_k ∂C/∂y_k) along each row.

    >>> softmax_gradient(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    array([ 0.25, -0.25])
    """
    return _put(y * (y_gradient - (y * y_gradient).sum(axis=-1, keepdims=True)), out)


def log_softmax_gradient(y: Array, y_gradient: Array, out: Array | None = None) -> Array:
    """∂C/∂X = ∂C/∂Y - e^Y Σ_k ∂C/∂y_k along each row.

    >>> log_softmax_gradient(np.array([0.0, -np.inf]), np.array([1.0, 1.0]))
    array([-1.,  1.])
    """
    return _put(y_gradient - np.exp(y) * y_gradient.sum(axis=-1, keepdims=True), out)


def layer_norm(
    x: Array,
    scale: Array | None = None,
    bias: Array | None = None,
    epsilon: float = 1e-5,
    out: Array | None = None,
    statistics: Array | None = None,
) -> Array:
    """y_j = (x_j - mean) / √(variance + epsilon) scale_j + bias_j, of each row.

    >>> layer_norm(np.array([1.0, 3.0]), epsilon=1e-30)
    array([-1.,  1.])
    """
    mean = x.mean(axis=-1, keepdims=True)
    inverse = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + x.dtype.type(epsilon))
    y = (x - mean) * inverse
    if scale is not None:
        y = y * scale
    if bias is not None:
        y = y + bias
    if statistics is not None:
        statistics[...] = np.concatenate([mean, inverse], axis=-1)
    return _put(y, out)


def layer_norm_gradient(
    x: Array, statistics: Array, y_gradient: Array, scale: Array | None = None, out: Array | None = None
) -> Array:
    """∂C/∂X = (Q - mean(Q) - H mean(Q ⊙ H)) / √(variance + epsilon), Q = ∂C/∂Y ⊙ scale.

    >>> layer_norm_gradient(np.array([1.0, 3.0]), np.array([2.0, 1.0]), np.ones(2))
    array([0., 0.])
    """
    mean, inverse = statistics[..., :1], statistics[..., 1:]
    h, q = (x - mean) * inverse, y_gradient if scale is None else y_gradient * scale
    return _put((q - q.mean(axis=-1, keepdims=True) - h * (q * h).mean(axis=-1, keepdims=True)) * inverse, out)


def layer_norm_scale_gradient(x: Array, statistics: Array, y_gradient: Array, out: Array | None = None) -> Array:
    """∂C/∂scale = ∂C/∂Y ⊙ H, summed over a batch.

    >>> layer_norm_scale_gradient(np.array([1.0, 3.0]), np.array([2.0, 1.0]), np.array([5.0, 6.0]))
    array([-5.,  6.])
    """
    return bias_gradient(y_gradient * ((x - statistics[..., :1]) * statistics[..., 1:]), out)


def standardize(x: Array, mean: Array | None, deviation: Array, out: Array | None = None) -> Array:
    """y_j = (x_j - mean_j) / deviation_j.

    >>> standardize(np.array([1.0, 5.0]), np.array([2.0, 5.0]), np.array([0.5, 1.0]))
    array([-2.,  0.])
    """
    return _put((x if mean is None else x - mean) / deviation, out)


def _philox(seed: int, step: int, counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Philox4x32-10: four words of 32 bits, the last axis, for each counter."""
    low = np.uint64(0xFFFFFFFF)
    high = np.uint64(32)
    words = [counters & low, counters >> high, *(np.full_like(counters, each) for each in (step & 0xFFFFFFFF, step >> 32))]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p, q = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [q >> high ^ words[1] ^ np.uint64(key[0]), q & low, p >> high ^ words[3] ^ np.uint64(key[1]), p & low]
        key = [key[0] + 0x9E3779B9 & 0xFFFFFFFF, key[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return np.stack(words, axis=-1)


def dropout(x: Array, rate: float, seed: int, step: int = 0, first_row: int = 0, out: Array | None = None) -> Array:
    """y = 0 with probability ``rate``, else x / (1 - rate); element k takes word k % 64 // 16 of counter k // 64 * 16 + k % 16.

    >>> dropout(np.ones(8), 0.5, seed=1)
    array([2., 2., 0., 2., 0., 0., 0., 0.])
    """
    k = np.arange(x.size, dtype=np.uint64) + np.uint64(first_row * x.shape[-1])
    words = _philox(seed, step, k // np.uint64(64) * np.uint64(16) + k % np.uint64(16))
    word = np.take_along_axis(words, (k % np.uint64(64) // np.uint64(16)).astype(np.intp)[:, None], axis=1)
    kept = (word >= np.uint64(rate * 2.0**32)).reshape(x.shape)
    return _put(np.where(kept, x * x.dtype.type(1 / (1 - rate)), 0).astype(x.dtype), out)


def _smoothed(logits: Array, target: Array, label_smoothing: float) -> tuple[Array, Array]:
    """Rows of logits, and what the softmax should be there."""
    x = np.atleast_2d(logits)
    t = np.asarray(target)
    u = np.eye(x.shape[1])[t.astype(int).reshape(-1)] if t.ndim == np.ndim(logits) - 1 else np.atleast_2d(t)
    return x, ((1 - label_smoothing) * u + label_smoothing / x.shape[1]).astype(x.dtype)


def softmax_cross_entropy(
    logits: Array, target: Array, sample_weight: Array | None = None, label_smoothing: float = 0.0
) -> float:
    """C = mean over rows of -Σⱼ uⱼ log softmax(x)ⱼ.

    >>> softmax_cross_entropy(np.array([[0.0, 0.0], [1000.0, 0.0]]), np.array([1, 0]))
    0.34657359027997264
    """
    x, u = _smoothed(logits, target, label_smoothing)
    terms = -np.sum(np.where(u != 0, u * log_softmax(x), 0), axis=1)
    weights = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight)
    return float(np.sum(weights * terms) / np.sum(weights)) if np.sum(weights) else 0.0


def softmax_cross_entropy_gradient(
    logits: Array,
    target: Array,
    sample_weight: Array | None = None,
    out: Array | None = None,
    label_smoothing: float = 0.0,
) -> Array:
    """∂C/∂X = (softmax(x) Σⱼ uⱼ - u) / rows.

    >>> softmax_cross_entropy_gradient(np.array([[0.0, 0.0]]), np.array([1]))
    array([[ 0.5, -0.5]])
    """
    x, u = _smoothed(logits, target, label_smoothing)
    weights = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight)
    scale = weights / np.sum(weights) if np.sum(weights) else np.zeros(len(x))
    gradient = (softmax(x) * u.sum(axis=1, keepdims=True) - u) * scale[:, None].astype(x.dtype)
    return _put(gradient.reshape(np.shape(logits)), out)


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
