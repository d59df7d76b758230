"""The loops of the Numba contestant: a network by hand, a sample after the other, compiled once for each dtype.

A network ``net`` is (weights, biases, values, deltas, sums, bias_sums, code): tuples with an array for each layer, weights
and the sums of their gradients (in, out), so that inner loops run along memory; and the code of the activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

compiled = njit(fastmath=True, error_model="numpy")  # a check for division by zero would keep loops from being vectors
ACTIVATIONS = ("relu", "sigmoid", "arctan", "tanh", "identity")  # codes 0, 1, ...


@compiled
def _activate(code: int, x: Any) -> None:
    """x := f(x)."""
    for j in range(x.size):
        if code == 0:
            x[j] = max(x[j], x.dtype.type(0))
        elif code == 1:
            x[j] = 1 / (1 + np.exp(-x[j]))
        elif code == 2:
            x[j] = np.arctan(x[j])
        elif code == 3:
            x[j] = np.tanh(x[j])


@compiled
def _multiply_derivative(code: int, y: Any, delta: Any) -> None:
    """Delta := delta f'(x), with f'(x) from y = f(x)."""
    for j in range(y.size):
        if code == 0:
            delta[j] = delta[j] if y[j] > 0 else y.dtype.type(0)
        elif code == 1:
            delta[j] *= y[j] * (1 - y[j])
        elif code == 2:
            delta[j] *= np.cos(y[j]) ** 2
        elif code == 3:
            delta[j] *= 1 - y[j] * y[j]


@compiled
def _forward(weights: Any, biases: Any, values: Any, code: int, row: Any) -> None:
    """All values of a row of x."""
    values[0][:] = row
    for layer in range(len(weights)):
        weight, x, y = weights[layer], values[layer], values[layer + 1]
        y[:] = biases[layer]
        for k in range(x.size):
            for j in range(y.size):
                y[j] += x[k] * weight[k, j]
        if layer < len(weights) - 1:
            _activate(code, y)


@compiled
def predict(weights: Any, biases: Any, values: Any, code: int, x: Any) -> Any:
    """Y, a row of x at a time."""
    result = np.empty((x.shape[0], biases[-1].size), x.dtype)
    for i in range(x.shape[0]):
        _forward(weights, biases, values, code, x[i])
        result[i] = values[-1]
    return result


@compiled
def _backward(net: Any, row: Any, target: Any, scale: Any, sums: Any, bias_sums: Any, factor: Any) -> float:
    """sums += factor dC/dW and bias_sums += factor dC/dB of a row, which may be the weights and biases; the sum of squares."""
    weights, biases, values, deltas, _, _, code = net
    cost = 0.0
    _forward(weights, biases, values, code, row)
    for j in range(target.size):
        difference = values[-1][j] - target[j]
        cost += difference * difference
        deltas[-1][j] = difference * scale
    for layer in range(len(weights) - 1, -1, -1):
        weight, x, dy, dx, total = weights[layer], values[layer], deltas[layer + 1], deltas[layer], sums[layer]
        for k in range(x.size):
            if layer > 0:
                dot = weight.dtype.type(0)
                for j in range(dy.size):
                    dot += weight[k, j] * dy[j]
                dx[k] = dot
            scaled = factor * x[k]
            for j in range(dy.size):
                total[k, j] += scaled * dy[j]
        for j in range(dy.size):
            bias_sums[layer][j] += factor * dy[j]
        if layer > 0:
            _multiply_derivative(code, x, dx)
    return cost


@compiled
def _gradients(net: Any, x: Any, y: Any, one: Any) -> float:
    """sums := dC/dW and bias_sums := dC/dB of the rows of x; the sum of squares."""
    _, _, _, _, sums, bias_sums, _ = net
    cost = 0.0
    for layer in range(len(sums)):
        sums[layer][:] = 0
        bias_sums[layer][:] = 0
    for i in range(x.shape[0]):
        cost += _backward(net, x[i], y[i], one * 2 / y.size, sums, bias_sums, one)
    return cost


@compiled
def epoch(net: Any, x: Any, y: Any, batch: int, rate: Any) -> float:
    """Gradient descent through the batches of x; the mean cost."""
    weights, biases, _, _, sums, bias_sums, _ = net
    cost = 0.0
    one = rate / rate
    if batch == 1:
        for i in range(x.shape[0]):
            cost += _backward(net, x[i], y[i], one * 2 / y.shape[1], weights, biases, -rate)
        return cost / y.size
    for begin in range(0, x.shape[0], batch):
        rows = slice(begin, begin + batch)
        cost += _gradients(net, x[rows], y[rows], one)
        for layer in range(len(weights)):
            weight, total = weights[layer], sums[layer]
            for k in range(weight.shape[0]):
                for j in range(weight.shape[1]):
                    weight[k, j] -= rate * total[k, j]
            for j in range(biases[layer].size):
                biases[layer][j] -= rate * bias_sums[layer][j]
    return cost / y.size


@compiled
def _adam(theta: Any, g: Any, m: Any, v: Any, rate: Any, beta_1: Any, beta_2: Any, scale: Any, epsilon: Any) -> None:
    """A step of Adam on a run of parameters; rate and scale have its corrections."""
    one = theta.dtype.type(1)
    for j in range(theta.size):
        m[j] = beta_1 * m[j] + (one - beta_1) * g[j]
        v[j] = beta_2 * v[j] + (one - beta_2) * g[j] * g[j]
        theta[j] -= rate * m[j] / (scale * np.sqrt(v[j]) + epsilon)


@compiled
def epoch_of_adam(net: Any, x: Any, y: Any, batch: int, rate: Any, state: Any, powers: Any, betas: Any, epsilon: Any) -> float:
    """Adam through the batches of x; the mean cost. ``state`` is (m, m of biases, v, v of biases), ``powers`` those of betas."""
    weights, biases, _, _, sums, bias_sums, _ = net
    m, bias_m, v, bias_v = state
    beta_1, beta_2 = betas
    cost = 0.0
    number = weights[0].dtype.type
    one = number(1)
    for begin in range(0, x.shape[0], batch):
        rows = slice(begin, begin + batch)
        cost += _gradients(net, x[rows], y[rows], one)
        powers[0] *= beta_1
        powers[1] *= beta_2
        now, scale = number(rate / (1 - powers[0])), number(1 / np.sqrt(1 - powers[1]))
        for layer in range(len(weights)):
            weight, g = weights[layer].reshape(-1), sums[layer].reshape(-1)
            _adam(weight, g, m[layer].reshape(-1), v[layer].reshape(-1), now, beta_1, beta_2, scale, epsilon)
            _adam(biases[layer], bias_sums[layer], bias_m[layer], bias_v[layer], now, beta_1, beta_2, scale, epsilon)
    return cost / y.size
