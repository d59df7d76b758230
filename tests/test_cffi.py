"""csrc/pynn.h as cffi shows it, ``pynn._core.lib``: pointers and numbers, and the same bits as pynn.kernels has of arrays."""

import re

import numpy as np
import pytest
from support import ACTIVATIONS, ROOT, same_bits, values

import pynn
from pynn import _core, kernels

ffi, lib = _core.ffi, _core.lib
ROWS, IN, OUT = 5, 19, 7
COSTS = list(kernels.COSTS)


class Calls:
    """The functions of one dtype: arrays in the place of pointers, which are taken of them."""

    def __init__(self, dtype):
        self.code = {"float32": lib.PYNN_F32, "float64": lib.PYNN_F64}[dtype]

    def __getattr__(self, name):
        function = getattr(lib, name)

        def call(*arguments):
            pointers = [
                ffi.NULL if each is None else ffi.from_buffer(each) if isinstance(each, np.ndarray) else each
                for each in arguments
            ]
            return function(self.code, *pointers)

        return call


@pytest.fixture
def calls(dtype):
    return Calls(dtype)


@pytest.fixture(params=[lib.PYNN_OUT_MAJOR, lib.PYNN_IN_MAJOR], ids=["by outputs", "by inputs"])
def order(request):
    return request.param


def in_order(weight, order):
    """A weight in memory, in that order, and the distance between its lines."""
    stored = np.ascontiguousarray(weight if order == lib.PYNN_OUT_MAJOR else weight.T)
    return stored, stored.shape[1]


def test_all_of_the_c_interface_is_there():
    header = (ROOT / "csrc" / "pynn.h").read_text(encoding="utf-8")
    names = re.findall(r"^PYNN_(?:API|VISIBLE) [^;(]*\b(pynn_\w+)\(", header, re.MULTILINE)
    assert len(names) > 40
    assert {name for name in dir(lib) if name.startswith("pynn_")} == set(names)


@pytest.mark.parametrize("rows", [1, ROWS])
@pytest.mark.parametrize("biased", [False, True])
def test_affine(calls, dtype, order, rows, biased):
    weight, x = values((OUT, IN), dtype, 1), values((rows, IN), dtype, 2)
    bias = values(OUT, dtype, 3) if biased else None
    y, (stored, ld) = np.empty((rows, OUT), dtype), in_order(weight, order)
    assert calls.pynn_affine(rows, IN, OUT, stored, ld, order, x, IN, bias, y, OUT) == lib.PYNN_OK
    assert same_bits(y, kernels.affine(weight, x, bias))


def test_rows_may_lie_apart(calls, dtype):
    weight, wide = values((OUT, IN), dtype, 1), values((ROWS, IN + 3), dtype, 2)
    y = np.zeros((ROWS, OUT + 2), dtype)
    assert calls.pynn_affine(ROWS, IN, OUT, weight, IN, lib.PYNN_OUT_MAJOR, wide, IN + 3, None, y, OUT + 2) == lib.PYNN_OK
    assert same_bits(y[:, :OUT].copy(), kernels.affine(weight, wide[:, :IN]))
    assert (y[:, OUT:] == 0).all()


def test_gradients_of_a_dense_layer(calls, dtype, order):
    weight, x, dy = values((OUT, IN), dtype, 1), values((ROWS, IN), dtype, 2), values((ROWS, OUT), dtype, 3)
    stored, ld = in_order(weight, order)
    dw, db, dx = np.empty_like(stored), np.empty(OUT, dtype), np.empty_like(x)
    assert calls.pynn_weight_gradient(ROWS, IN, OUT, dy, OUT, x, IN, dw, ld, order) == lib.PYNN_OK
    assert calls.pynn_bias_gradient(ROWS, OUT, dy, OUT, db) == lib.PYNN_OK
    assert calls.pynn_input_gradient(ROWS, IN, OUT, stored, ld, order, dy, OUT, dx, IN) == lib.PYNN_OK
    assert same_bits(dw, in_order(kernels.weight_gradient(dy, x), order)[0])
    assert same_bits(db, kernels.bias_gradient(dy))
    assert same_bits(dx, kernels.input_gradient(weight, dy))


def test_activations_and_their_gradients(calls, dtype, activation):
    number = ACTIVATIONS.index(activation)
    assert ffi.string(lib.pynn_activation_name(number)).decode() == activation
    parameter = lib.pynn_activation_default(number)
    x, dy = 4 * values(IN, dtype, 1), values(IN, dtype, 2)
    y, dx = np.empty_like(x), np.empty_like(x)
    assert calls.pynn_activation(number, parameter, x.size, x, y) == lib.PYNN_OK
    assert calls.pynn_activation_gradient(number, parameter, x.size, x, dy, dx) == lib.PYNN_OK
    assert same_bits(y, kernels.activation(activation, x))
    assert same_bits(dx, kernels.activation_gradient(activation, x, dy))


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("weighted", [False, True])
def test_costs_and_their_gradients(calls, dtype, name, weighted):
    number = COSTS.index(name)
    objective = ffi.new("pynn_objective *", {"cost": number, "parameter": lib.pynn_cost_default(number)})
    prediction, target = (np.abs(values((ROWS, OUT), dtype, seed)) for seed in (1, 2))
    weights = np.abs(values(ROWS, dtype, 3)) if weighted else None
    gradient = np.empty_like(prediction)
    assert calls.pynn_cost(objective, ROWS, OUT, prediction, target, weights) == kernels.cost(name, prediction, target, weights)
    assert calls.pynn_cost_gradient(objective, ROWS, OUT, prediction, target, weights, gradient) == lib.PYNN_OK
    assert same_bits(gradient, kernels.cost_gradient(name, prediction, target, weights))


def test_gradient_descent(calls, dtype):
    theta, gradient = values(IN, dtype, 1), values(IN, dtype, 2)
    wanted = theta.copy()
    kernels.gradient_descent(wanted, gradient, 0.1)
    assert calls.pynn_gradient_descent(IN, theta, gradient, 0.1) == lib.PYNN_OK
    assert same_bits(theta, wanted)


def test_an_optimizer_and_its_state(calls, dtype):
    theta, gradient = values(IN, dtype, 1), values(IN, dtype, 2)
    other, adam = theta.copy(), pynn.Adam()
    adam.follow(other, [])
    kind = [ffi.string(lib.pynn_optimizer_name(i)) for i in range(lib.pynn_optimizer_count())].index(b"adam")
    states = [np.zeros(IN, dtype) for _ in range(lib.pynn_optimizer_states(kind))]
    optimizer = ffi.new("pynn_optimizer *", {"kind": kind, "running": [1, 1, 1], "clip_value": np.inf, "clip_norm": np.inf})
    optimizer.hyperparameters = list(adam._updater.handle.hyperparameters)
    optimizer.state = [ffi.from_buffer(state) for state in states]
    for _ in range(3):
        adam.step(other, gradient)
        assert calls.pynn_optimize(optimizer, IN, theta, gradient, adam.learning_rate) == lib.PYNN_OK
        assert same_bits(theta, other)


def test_what_c_can_tell_to_be_wrong_is_a_status(calls, dtype):
    x, y = np.ones(3, dtype), np.zeros(3, dtype)
    assert calls.pynn_activation(len(ACTIVATIONS), 0, 3, x, y) == lib.PYNN_UNKNOWN
    assert calls.pynn_activation(-1, 0, 3, x, y) == lib.PYNN_UNKNOWN
    assert lib.pynn_activation(2, 0, 0, 3, ffi.from_buffer(x), ffi.from_buffer(y)) == lib.PYNN_UNKNOWN
    assert (y == 0).all()
