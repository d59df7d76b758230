"""pynn/network.py and csrc/network.c: what a network takes and refuses, its arenas, its gradients, its copies."""

import copy
import itertools
import pickle
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    ACTIVATIONS,
    DTYPES,
    INSTRUCTION_SETS,
    LAYOUTS,
    Fenced,
    assert_references_stay,
    digest,
    same_bits,
    sum_bound,
    threads,
    using,
    values,
)
from test_layers import OFF, layer_of, slope

import pynn
from pynn import kernels


def small(dtype="float32", **options):
    return pynn.Network([pynn.Dense(3, 5), pynn.Tanh(), pynn.Dense(5, 2)], dtype=dtype, seed=1, **options)


# ---- gradients -------------------------------------------------------------------------------------------------------

ARCHITECTURES = {
    "one layer": lambda f: [pynn.Dense(3, 2)],
    "one output": lambda f: [pynn.Dense(3, 4), f(), pynn.Dense(4, 1)],
    "an activation last": lambda f: [pynn.Dense(3, 4), f(), pynn.Dense(4, 2), f()],
    "an activation first": lambda f: [f(), pynn.Dense(3, 4), f(), pynn.Dense(4, 2)],
    "two activations in a row": lambda f: [pynn.Dense(3, 4), f(), pynn.Sigmoid(), pynn.Dense(4, 2), pynn.Identity(), f()],
    "two dense layers in a row": lambda f: [pynn.Dense(3, 4), pynn.Dense(4, 5), f(), pynn.Dense(5, 2)],
    "no bias": lambda f: [pynn.Dense(3, 4, bias=False), f(), pynn.Dense(4, 2, bias=False)],
    "deep": lambda f: [pynn.Dense(3, 4), f(), pynn.Dense(4, 3), f(), pynn.Dense(3, 4), f(), pynn.Dense(4, 2)],
    "wide": lambda f: [pynn.Dense(3, 40), f(), pynn.Dense(40, 2)],
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_of_a_whole_network_are_central_differences(activation, name):
    # The slope of ReLU jumps at 0; none of these sums lies within a step of it.
    net = pynn.Network(ARCHITECTURES[name](type(layer_of(activation))), dtype="float64", seed=2)
    net.parameters[:] = values(net.parameters.size, "float64", 3)
    x, y = values((6, 3), "float64", 4), values((6, net.predict(np.ones(3)).size), "float64", 5)
    dx = net.backward(net.cost.gradient(net.forward(x), y))
    np.testing.assert_allclose(net.gradients, slope(lambda: net.evaluate(x, y), net.parameters), rtol=0, atol=OFF)
    np.testing.assert_allclose(dx, slope(lambda: net.evaluate(x, y), x), rtol=0, atol=OFF)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_follows_those_gradients(instruction_set, dtype, activation, name):
    net = pynn.Network(ARCHITECTURES[name](type(layer_of(activation))), optimizer=pynn.SGD(0.125), dtype=dtype, seed=2)
    x = values((7, 3), dtype, 1)
    y = values((7, net.predict(x).shape[1]), dtype, 2)
    net.backward(net.cost.gradient(net.forward(x), y))
    wanted = net.parameters.copy()
    kernels.gradient_descent(wanted, net.gradients, 0.125)
    cost = net.evaluate(x, y)
    assert net.train_step(x, y) == cost  # the cost before the step
    assert same_bits(net.parameters, wanted)


# ---- predict ---------------------------------------------------------------------------------------------------------


@given(st.data())
def test_predict_agrees_with_the_layers_on_any_network(data):
    dtype = data.draw(st.sampled_from(DTYPES))
    widths = data.draw(st.lists(st.integers(1, 70), min_size=2, max_size=4))
    layers = []
    for i in range(len(widths) - 1):
        layers.append(pynn.Dense(widths[i], widths[i + 1], bias=data.draw(st.booleans())))
        layers += [layer_of(data.draw(st.sampled_from(ACTIVATIONS))) for _ in range(data.draw(st.integers(0, 2)))]
    net = pynn.Network(layers, dtype=dtype, seed=0)
    shape = data.draw(st.sampled_from([(), (0,), (1,), (2,), (5,), (40,)]))
    x = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](values((*shape, widths[0]), dtype))
    out = Fenced((*shape, widths[-1]), dtype)
    with using(data.draw(st.sampled_from(INSTRUCTION_SETS))), threads(data.draw(st.integers(1, 3))):
        wanted = net.forward(x)
        assert net.predict(x, out=out.array) is out.array
        assert out.intact()
        assert same_bits(out.array, wanted)
        assert same_bits(net.predict(x), wanted)
        assert same_bits(net.train_step(x, wanted), 0.0)


def test_predict_is_within_the_error_bound_of_numpy(instruction_set, dtype):
    net = pynn.Network([pynn.Dense(50, 40), pynn.ReLU(), pynn.Dense(40, 30)], dtype=dtype, seed=0)
    x = values((33, 50), dtype)
    first, last = net.layers[0], net.layers[2]
    wide = [array.astype(np.longdouble) for array in (x, first.weight, first.bias, last.weight, last.bias)]
    hidden = np.maximum(wide[0] @ wide[1].T + wide[2], 0)
    exact = hidden @ wide[3].T + wide[4]
    hidden_off = sum_bound(50, np.abs(wide[0]) @ np.abs(wide[1]).T, dtype)
    bound = hidden_off @ np.abs(last.weight).T + sum_bound(40, hidden @ np.abs(wide[3]).T, dtype)
    assert (np.abs(net.predict(x) - exact) <= bound).all()


def test_predict_keeps_nothing(dtype):
    net, x, dy = small(dtype), values((4, 3), dtype, 1), values((4, 2), dtype, 2)
    net.forward(x)
    wanted = net.backward(dy)
    state = digest(net.parameters, net.gradients)
    net.predict(values((9, 3), dtype, 3))
    net.evaluate(values((9, 3), dtype, 3), values((9, 2), dtype, 4))
    assert digest(net.parameters, net.gradients) == state
    assert same_bits(net.backward(dy), wanted)


@pytest.mark.parametrize("hidden", [True, False], ids=["hidden", "alone"])
def test_out_may_be_the_input_or_lie_across_it(dtype, hidden):
    layers = [pynn.Dense(4, 4), pynn.Tanh()] if hidden else []
    net = pynn.Network([*layers, pynn.Dense(4, 4)], dtype=dtype, seed=0)
    memory = values(60, dtype)
    wanted = net.predict(memory[8:48].reshape(10, 4).copy())
    for start in (0, 3, 8, 11, 20):
        room = memory.copy()
        out = room[start : start + 40].reshape(10, 4)
        assert net.predict(room[8:48].reshape(10, 4), out=out) is out
        assert same_bits(out, wanted)
    parameters_as_output = net.parameters[:4]
    result = net.predict(memory[:4])
    net.predict(memory[:4], out=parameters_as_output)
    assert same_bits(net.parameters[:4], result)


def test_out_may_lie_across_the_parameters(dtype):
    """Of which a kernel reads some after it has written the first results."""
    net = pynn.Network([pynn.Dense(8, 64), pynn.Tanh(), pynn.Dense(64, 64)], dtype=dtype, seed=0)
    x, before = values((60, 8), dtype), net.parameters.copy()
    wanted = net.predict(x)
    for start in range(0, before.size - 60 * 64, 50):
        net.parameters = before
        out = net.parameters[start : start + 60 * 64].reshape(60, 64)
        assert net.predict(x, out=out) is out
        assert same_bits(out, wanted)


def test_an_out_that_does_not_fit_is_refused_and_not_written_to(dtype):
    net, x = small(dtype), values((4, 3), dtype)
    other = "float64" if dtype == "float32" else "float32"
    read_only = np.zeros((4, 2), dtype)
    read_only.flags.writeable = False
    wrong = [
        (np.zeros((4, 2), other), TypeError),
        (np.zeros((4, 2), int), TypeError),
        (np.zeros((4, 3), dtype), ValueError),
        (np.zeros((2,), dtype), ValueError),
        (np.zeros((8,), dtype), ValueError),
        (read_only, ValueError),
        ([[0, 0]] * 4, TypeError),
    ]
    for out, error in wrong:
        with pytest.raises(error, match=r"^predict: out"):
            net.predict(x, out=out)
        assert not np.asarray(out).any()


@pytest.mark.parametrize(
    "x",
    [
        [1, 2, 3],
        [[1, 2, 3]] * 4,
        np.array([True, False, True]),
        np.int8([1, 2, 3]),
        np.float16([1, 2, 3]),
        np.array([1, 2, 3], ">f8"),
        np.zeros((0, 3)),
    ],
    ids=lambda x: f"{getattr(x, 'dtype', 'list')}{np.shape(x)}",
)
def test_input_is_converted_to_the_dtype_of_the_network(dtype, x):
    net = small(dtype)
    assert net.predict(x).dtype == net.forward(x).dtype == dtype
    assert same_bits(net.predict(x), net.predict(np.array(x, dtype)))
    y = np.zeros((*np.shape(x)[:-1], 2), int)
    assert net.evaluate(x, y) == net.evaluate(np.array(x, dtype), y.astype(dtype))


def test_zero_rows_give_zero_rows(instruction_set, dtype):
    net, none = small(dtype), np.empty((0, 3), dtype)
    before = digest(net.parameters)
    assert net.predict(none).shape == (0, 2)
    assert net.forward(none).shape == (0, 2)
    assert net.evaluate(none, np.empty((0, 2))) == 0
    assert net.train_step(none, np.empty((0, 2))) == 0
    assert net.fit(none, np.empty((0, 2)), epochs=3).cost == []
    assert net.backward(np.empty((0, 2), dtype)).shape == (0, 3)
    assert not net.gradients.any()
    assert digest(net.parameters) == before


def test_nan_and_infinity_stay_in_their_row(instruction_set, dtype, activation):
    net = pynn.Network([pynn.Dense(20, 33), layer_of(activation), pynn.Dense(33, 5)], dtype=dtype, seed=0)
    x = values((40, 20), dtype)
    clean = net.predict(x)
    for special in (np.nan, np.inf):
        x[17, 11] = special
        y = net.predict(x)
        others = np.arange(40) != 17
        assert same_bits(y[others], clean[others])
        assert same_bits(y[17], net.forward(x)[17])
        if np.isnan(special):
            assert np.isnan(y[17]).all()


# ---- what is refused -------------------------------------------------------------------------------------------------


def everything_that_takes_x(net, x):
    rows = np.shape(x)[:-1] if np.ndim(x) else ()
    y = np.zeros((*rows, 2))
    return [
        lambda: net.predict(x),
        lambda: net.forward(x),
        lambda: net.evaluate(x, y),
        lambda: net.train_step(x, y),
        lambda: net.fit(x, y),
    ]


@pytest.mark.parametrize("shape", [(4,), (2,), (5, 4), (5, 2), (), (0,), (3, 1), (2, 2, 3), (0, 4)], ids=str)
def test_an_x_of_the_wrong_shape_is_a_value_error_that_names_the_layer_and_both_shapes(shape):
    net = small()
    before = digest(net.parameters, net.gradients)
    for call in everything_that_takes_x(net, np.zeros(shape)):
        with pytest.raises(ValueError, match=r"Dense\(3, 5\): x has") as error:
            call()
        assert f"got shape {shape}" in str(error.value)
        assert "wanted (" in str(error.value)
        assert "3)" in str(error.value)
    assert digest(net.parameters, net.gradients) == before


@pytest.mark.parametrize(
    "bad",
    ["abc", None, [None] * 3, [1j, 2, 3], np.array(["a", "b", "c"]), np.zeros(3, object), np.zeros(3, "M8[s]"), {1, 2, 3}],
    ids=str,
)
def test_an_x_or_y_that_is_not_real_numbers_is_a_type_error(bad):
    net = small()
    before = digest(net.parameters, net.gradients)
    for call in everything_that_takes_x(net, bad):
        with pytest.raises(TypeError, match="x has dtype"):
            call()
    for call in (net.evaluate, net.train_step, net.fit):
        with pytest.raises(TypeError, match="y has dtype"):
            call(np.zeros((4, 3)), bad)
    with pytest.raises(TypeError, match="y_gradient has dtype"):
        net.backward(bad)
    assert digest(net.parameters, net.gradients) == before


@pytest.mark.parametrize("shape", [(3, 2), (5, 2), (4, 3), (4, 1), (4,), (8,), (2,), (), (4, 2, 1), (2, 4)], ids=str)
def test_a_y_of_the_wrong_shape_is_a_value_error_that_names_both_shapes(shape):
    net = small()
    before = digest(net.parameters, net.gradients)
    for call in (net.evaluate, net.train_step, net.fit):
        with pytest.raises(ValueError, match=r"^Network") as error:
            call(np.zeros((4, 3)), np.zeros(shape))
        assert str(shape) in str(error.value)
    assert digest(net.parameters, net.gradients) == before


def test_rows_of_x_and_y_that_differ_in_number_are_a_value_error_that_says_so():
    with pytest.raises(ValueError, match=r"x has 4 rows and y 3 \(shapes \(4, 3\) and \(3, 2\)\)"):
        small().fit(np.zeros((4, 3)), np.zeros((3, 2)))


def test_one_output_takes_one_number_for_each_sample(dtype):
    nets = [pynn.Network([pynn.Dense(3, 1)], dtype=dtype, seed=0) for _ in range(2)]
    x, y = values((9, 3), dtype, 1), values(9, dtype, 2)
    assert nets[0].fit(x, y, epochs=2).cost == nets[1].fit(x, y[:, None], epochs=2).cost
    assert nets[0].train_step(x, y.tolist()) == nets[1].train_step(x, y[:, None])
    assert nets[0].evaluate(x[0], y[0]) == nets[1].evaluate(x[0], y[:1])
    assert same_bits(nets[0].parameters, nets[1].parameters)


def test_layers_that_do_not_fit_each_other_are_a_value_error_that_names_both():
    with pytest.raises(ValueError, match=r"layer 2, Dense\(6, 2\), takes 6 features, but layer 0, Dense\(3, 5\) gives 5"):
        pynn.Network([pynn.Dense(3, 5), pynn.ReLU(), pynn.Dense(6, 2)])


@pytest.mark.parametrize(
    "bad", [None, 3, "Dense", pynn.Dense, pynn.ReLU, pytest.param(object(), id="object"), np.tanh, [pynn.Dense(5, 2)]], ids=str
)
def test_what_is_no_layer_is_a_type_error(bad):
    with pytest.raises(TypeError, match=r"layer 1.*is not a layer: it wants forward\(x\) and backward\(y_gradient\)"):
        pynn.Network([pynn.Dense(3, 5), bad])


def test_a_layer_belongs_to_one_network():
    layer = pynn.Dense(3, 3)
    with pytest.raises(ValueError, match="comes twice"):
        pynn.Network([layer, layer])
    net = pynn.Network([layer])
    with pytest.raises(ValueError, match="belongs to another network"):
        pynn.Network([pynn.Dense(2, 3), layer])
    assert net.predict(np.ones(3)).shape == (3,)
    pynn.Network([copy.deepcopy(layer)])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": []}, ValueError, "no layers"),
        ({"layers": None}, TypeError, None),
        ({"layers": 3}, TypeError, None),
        ({"cost": "mse"}, TypeError, "cost is 'mse'"),
        ({"cost": abs}, TypeError, "cost is"),
        ({"optimizer": "sgd"}, TypeError, "optimizer is 'sgd'"),
        ({"optimizer": pynn.SGD}, TypeError, "optimizer is"),
        ({"dtype": "float16"}, ValueError, "dtype is 'float16'"),
        ({"dtype": "int32"}, ValueError, "dtype is 'int32'"),
        ({"dtype": complex}, ValueError, "dtype is"),
        ({"dtype": "no such"}, ValueError, "dtype is 'no such'"),
        ({"dtype": ">f4"}, ValueError, "dtype is '>f4'"),
        ({"seed": -1}, ValueError, "Network: seed is -1, wanted an integer from 0 up"),
        ({"seed": "one"}, TypeError, "Network: seed is 'one', wanted an integer"),
        ({"seed": 1.5}, TypeError, "Network: seed is 1.5, wanted an integer"),
        ({"seed": True}, TypeError, "Network: seed is True, wanted an integer"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(options, error, message):
    arguments = {"layers": [pynn.Dense(2, 2)], **options}
    with pytest.raises(error, match=message):
        pynn.Network(**arguments)


def test_layers_of_a_network_that_could_not_be_made_are_free():
    layer = pynn.Dense(3, 5)
    with pytest.raises(ValueError, match="takes 6"):
        pynn.Network([layer, pynn.Dense(6, 2)])
    with pytest.raises(TypeError, match="cost"):
        pynn.Network([layer], cost="mse")
    pynn.Network([layer])


@pytest.mark.parametrize(
    "kind",
    ["float32", "float64", np.float32, np.float64, np.dtype("f4"), float, "f8", "<f4" if np.little_endian else ">f4"],
    ids=str,
)
def test_dtypes_may_be_named_in_any_way_numpy_knows(kind):
    assert pynn.Network([pynn.Dense(2, 2)], dtype=kind).dtype == np.dtype(kind)


def test_backward_before_forward_is_a_runtime_error():
    with pytest.raises(RuntimeError, match=r"Dense\(5, 2\): backward before forward"):
        small().backward(np.ones((4, 2)))


def test_a_refused_y_gradient_names_the_layer():
    net = small()
    net.forward(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"Dense\(5, 2\): y_gradient has"):
        net.backward(np.ones((4, 3)))


# ---- arenas ----------------------------------------------------------------------------------------------------------


def test_parameters_and_gradients_are_flat_and_layers_have_views_into_them(dtype):
    net = pynn.Network([pynn.Dense(3, 5), pynn.Tanh(), pynn.Dense(5, 20, bias=False), pynn.Dense(20, 2)], dtype=dtype, seed=0)
    assert net.parameters.shape == net.gradients.shape == (3 * 5 + 5 + 5 * 20 + 20 * 2 + 2,)
    assert net.parameters.dtype == net.gradients.dtype == dtype
    assert net.parameters.flags.c_contiguous
    for flat, names in ((net.parameters, ("weight", "bias")), (net.gradients, ("weight_gradient", "bias_gradient"))):
        flat[:] = np.arange(flat.size)
        seen = np.concatenate(
            [getattr(layer, name).ravel() for layer in net.layers for name in names if getattr(layer, name, None) is not None]
        )
        assert sorted(seen.tolist()) == list(range(flat.size))  # each number once: no overlap, no gap
        for layer in net.layers:
            for name in names:
                if (array := getattr(layer, name, None)) is not None:
                    assert np.shares_memory(array, flat)
                    array[...] = -1
        assert (flat == -1).all()
    net.parameters *= 2
    assert (net.layers[0].weight == -2).all()
    with pytest.raises(ValueError, match="parameters have shape"):
        net.parameters = np.zeros(3)
    assert (net.parameters == -2).all()


def test_what_is_written_to_parameters_is_what_the_network_computes_with(dtype):
    net = pynn.Network([pynn.Dense(2, 1)], dtype=dtype, seed=0)
    net.parameters[:] = 1
    assert net.predict(np.array([2, 3], dtype)).tolist() == [6]
    net.layers[0].bias[:] = 10
    assert net.predict(np.array([2, 3], dtype)).tolist() == [15]
    net.layers[0].weight = [[0, 1]]
    assert net.predict(np.array([2, 3], dtype)).tolist() == [13]


def test_arenas_start_at_a_cache_line():
    for dtype in DTYPES:
        for _ in range(5):
            net = small(dtype)
            assert net.parameters.ctypes.data % 64 == net.gradients.ctypes.data % 64 == 0


def test_a_network_lives_as_long_as_a_view_into_it():
    view = small().parameters
    before = view.copy()
    for _ in range(20):
        np.full(1000, np.nan)
    assert same_bits(view, before)


# ---- networks of activations alone, and with layers of one's own -----------------------------------------------------


def test_a_network_without_dense_layers_takes_any_number_of_features(dtype):
    net = pynn.Network([pynn.Sigmoid(), pynn.Tanh()], dtype=dtype)
    for shape in [(3,), (2, 5), (0, 4)]:
        x = values(shape, dtype)
        assert same_bits(net.predict(x), kernels.activation("tanh", kernels.activation("sigmoid", x)))
    x = values((2, 5), dtype)
    assert net.parameters.size == 0
    assert net.train_step(x, x) == net.evaluate(x, x)


class Square:
    """A layer of a user's own, with nothing to learn and nothing inherited."""

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, y_gradient):
        return 2 * self.x * y_gradient


def test_a_layer_of_ones_own_works_anywhere(dtype):
    x, y = values((9, 3), dtype, 1), values((9, 2), dtype, 2)
    for layers in (
        [Square(), pynn.Dense(3, 2)],
        [pynn.Dense(3, 2), Square()],
        [pynn.Dense(3, 4), Square(), pynn.Tanh(), pynn.Dense(4, 2)],
    ):
        net = pynn.Network(layers, optimizer=pynn.SGD(0.1), dtype=dtype, seed=0)
        assert same_bits(net.predict(x), net.forward(x))
        assert net.predict(x[0]).shape == (2,)
        history = net.fit(x, y, epochs=50, batch_size=3)
        assert history.cost[-1] < history.cost[0]
        assert net.evaluate(x, y) < history.cost[0]


def test_gradients_through_a_layer_of_ones_own_are_central_differences():
    net = pynn.Network([pynn.Dense(3, 4), Square(), pynn.Tanh(), pynn.Dense(4, 2)], dtype="float64", seed=0)
    x, y = values((5, 3), "float64", 1), values((5, 2), "float64", 2)
    dx = net.backward(net.cost.gradient(net.forward(x), y))
    np.testing.assert_allclose(net.gradients, slope(lambda: net.evaluate(x, y), net.parameters), rtol=0, atol=OFF)
    np.testing.assert_allclose(dx, slope(lambda: net.evaluate(x, y), x), rtol=0, atol=OFF)


def test_an_error_in_a_layer_of_ones_own_comes_through_and_changes_no_parameter():
    class Failing(Square):
        def backward(self, y_gradient):
            raise LookupError("no way back")

    net = pynn.Network([pynn.Dense(3, 4), Failing(), pynn.Dense(4, 2)], seed=0)
    before = digest(net.parameters)
    for call in (net.train_step, net.fit):
        with pytest.raises(LookupError, match="no way back"):
            call(np.ones((4, 3)), np.ones((4, 2)))
    assert digest(net.parameters) == before


# ---- seeds and copies ------------------------------------------------------------------------------------------------


def test_a_seed_fixes_weights_and_shuffling(dtype):
    x, y = values((30, 3), dtype, 1), values((30, 2), dtype, 2)
    nets = [small(dtype) for _ in range(2)]
    assert same_bits(nets[0].parameters, nets[1].parameters)
    assert nets[0].fit(x, y, epochs=3, batch_size=4).cost == nets[1].fit(x, y, epochs=3, batch_size=4).cost
    assert same_bits(nets[0].parameters, nets[1].parameters)
    other = pynn.Network([pynn.Dense(3, 5), pynn.Tanh(), pynn.Dense(5, 2)], dtype=dtype, seed=2)
    assert not same_bits(other.parameters, small(dtype).parameters)


def test_without_a_seed_every_network_is_another_one():
    one, other = (pynn.Network([pynn.Dense(3, 5)]) for _ in range(2))
    assert not same_bits(one.parameters, other.parameters)


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda net: pickle.loads(pickle.dumps(net))}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_goes_on_as_the_original_would_and_apart_from_it(dtype, way):
    net = small(dtype, optimizer=pynn.SGD(0.3))
    x, y = values((30, 3), dtype, 1), values((30, 2), dtype, 2)
    net.fit(x, y, epochs=2, batch_size=4)
    net.backward(net.cost.gradient(net.forward(x), y))
    other = COPIES[way](net)
    assert repr(other) == repr(net)
    assert same_bits(other.parameters, net.parameters)
    assert same_bits(other.gradients, net.gradients)
    assert not np.shares_memory(other.parameters, net.parameters)
    for each in (net, other):  # each one's layers look into its own arena
        assert all(np.shares_memory(layer.weight, each.parameters) for layer in each.layers[::2])
    assert same_bits(other.predict(x), net.predict(x))
    before = digest(net.parameters)
    costs = other.fit(x, y, epochs=2, batch_size=4).cost
    assert digest(net.parameters) == before
    assert net.fit(x, y, epochs=2, batch_size=4).cost == costs  # in the same shuffled order
    assert same_bits(other.parameters, net.parameters)
    other.optimizer.learning_rate = 0.125
    assert net.optimizer.learning_rate == 0.3


def test_a_pickle_has_no_more_than_the_parameters_in_it():
    net = pynn.Network([pynn.Dense(100, 100)])
    net.fit(np.zeros((500, 100)), np.zeros((500, 100)))
    net.forward(np.zeros((5000, 100)))
    assert len(pickle.dumps(net)) < 2 * net.parameters.nbytes + 3000  # and gradients; not the last batch


NETWORKS = [
    "Network([Dense(2, 8), Sigmoid(), Dense(8, 1)], cost=MSE(), optimizer=SGD(learning_rate=0.01), dtype='float32')",
    "Network([Dense(3, 2, bias=False), ReLU()], cost=MSE(), optimizer=SGD(learning_rate=0.5), dtype='float64', seed=7)",
    "Network([Dense(3, 2, initializer='zeros'), Tanh()], cost=MSE(), optimizer=SGD(learning_rate=1.0), dtype='float32', seed=0)",
]


@pytest.mark.parametrize("code", NETWORKS)
def test_a_network_prints_as_the_code_that_makes_it(code):
    net = eval(code, vars(pynn))
    assert repr(net) == code
    assert repr(eval(repr(net), vars(pynn))) == code
    if net.seed is not None:
        assert same_bits(eval(repr(net), vars(pynn)).parameters, net.parameters)


def test_the_last_bytes_of_x_may_be_the_last_of_its_memory(tmp_path, dtype):
    # A read past the end of a mapped file's last page would end the process.
    pages = np.memmap(tmp_path / "x", dtype, "w+", shape=4096 // np.dtype(dtype).itemsize * 2)
    pages[:] = values(pages.size, dtype)
    for widths in [(2, 8, 1), (37, 65, 3), (64, 31, 33)]:
        net = pynn.Network([pynn.Dense(a, b) for a, b in itertools.pairwise(widths)], dtype=dtype, seed=0)
        for rows in (1, 2, 5):
            x = np.asarray(pages[pages.size - rows * widths[0] :]).reshape(rows, widths[0])
            assert same_bits(net.predict(x), net.forward(x.copy()))


@pytest.mark.parametrize("where", [slice(0, 2), slice(4, 6)])
def test_training_on_a_view_of_the_parameters_is_training_on_what_they_were(where):
    def network():
        layers = [pynn.Dense(2, 2, bias=False), pynn.Tanh(), pynn.Dense(2, 1, bias=False)]
        return pynn.Network(layers, optimizer=pynn.SGD(0.5), dtype="float64", seed=0)

    a, b = network(), network()
    assert a.train_step(a.parameters[where], np.ones(1)) == b.train_step(b.parameters[where].copy(), np.ones(1))
    assert a.parameters.tobytes() == b.parameters.tobytes()


def test_arrays_whose_dtype_names_the_native_byte_order_are_native(dtype):
    net = pynn.Network([pynn.Dense(2, 1)], dtype=dtype, seed=0)
    x = np.arange(6, dtype=dtype).reshape(3, 2)
    swapped = x.astype(x.dtype.newbyteorder())
    named = swapped.byteswap().view(swapped.dtype.newbyteorder())
    assert net.predict(named).tobytes() == net.predict(x).tobytes()


def test_a_layer_of_ones_own_that_widens_its_input_may_come_first():
    class Powers:
        def forward(self, x):
            self.x = x
            return np.concatenate([x, x**2], axis=-1)

        def backward(self, y_gradient):
            width = self.x.shape[-1]
            return y_gradient[..., :width] + 2 * self.x * y_gradient[..., width:]

    net = pynn.Network([Powers(), pynn.Dense(4, 1)], seed=0)
    assert net.predict(np.ones((3, 2))).shape == (3, 1)
    assert net.train_step(np.ones((3, 2)), np.ones((3, 1))) >= 0


def test_the_layers_of_a_network_are_fixed():
    net = pynn.Network([pynn.Dense(2, 1)], seed=0)
    before = net.predict(np.ones(2))
    with pytest.raises(TypeError):
        net.layers[0] = pynn.Dense(2, 3)
    with pytest.raises(AttributeError, match=r"^Network: layers is \[Dense\(2, 3\)\], but .* makes another one$"):
        net.layers = [pynn.Dense(2, 3)]
    with pytest.raises(AttributeError, match=r"^Network: seed is 1, but"):
        net.seed = 1
    with pytest.raises(AttributeError, match="dtype"):
        net.dtype = "float64"
    for other in (net, pickle.loads(pickle.dumps(net)), copy.copy(net), copy.deepcopy(net)):
        assert repr(other) == "Network([Dense(2, 1)], cost=MSE(), optimizer=SGD(learning_rate=0.01), dtype='float32', seed=0)"
        assert type(other.layers) is tuple
        assert same_bits(other.predict(np.ones(2)), before)


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (lambda: pynn.Dense(2, 2), ("in_features", "out_features", "has_bias")),
        (lambda: pynn.LayerNorm(2), ("in_features", "out_features", "has_bias", "has_scale")),
        (lambda: pynn.Standardize(2, mean=[1, 2], deviation=[3, 4]), ("in_features", "out_features")),
    ],
    ids=["Dense", "LayerNorm", "Standardize"],
)
def test_what_a_plan_goes_by_is_fixed_when_a_layer_is_made(layer, names):
    layer = layer()
    net = pynn.Network([layer, pynn.Dropout(0.5, seed=1)])
    before = net.predict(np.ones((4, 2)))
    for name in names:
        message = rf"^{re.escape(repr(layer))}: {name} is (2|True) and cannot become 1000000; make another layer$"
        with pytest.raises(AttributeError, match=message):
            setattr(layer, name, 10**6)
    net.layers[1].rate = 0.25  # which makes another plan
    assert same_bits(net.predict(np.ones((4, 2))), before)


def test_assigning_to_a_parameter_of_ones_own_writes_into_the_network():
    class Scale(pynn.Layer):
        def shapes(self):
            return {"factor": (1,)}

        def forward(self, x):
            return self.factor * x

        def backward(self, y_gradient):
            self.factor_gradient = [7.0]
            return self.factor * y_gradient

    net = pynn.Network([Scale(), pynn.Dense(2, 1, bias=False, initializer="zeros")])
    net.layers[0].factor = [5.0]
    assert net.parameters[0] == 5
    net.backward(net.forward(np.ones(2)))
    assert net.gradients[0] == 7


@pytest.mark.parametrize("tol", ["0.1", True, [], 1j])
def test_a_tolerance_that_is_no_number_is_refused_before_anything_has_changed(tol):
    net = pynn.Network([pynn.Dense(2, 1)], seed=0)
    before = net.parameters.tobytes()
    with pytest.raises(TypeError, match="fit: tol is"):
        net.fit(np.ones((3, 2)), np.ones((3, 1)), tol=tol)
    assert net.parameters.tobytes() == before


@pytest.mark.parametrize(
    ("cost", "layer"), [(pynn.SoftmaxCrossEntropy(), pynn.Softmax), (pynn.BinaryCrossEntropy(), pynn.Sigmoid)], ids=repr
)
def test_a_function_that_the_cost_applies_too_is_warned_of(cost, layer):
    with pytest.warns(UserWarning, match=r"takes logits, and applies the last layer, (Softmax|Sigmoid)\(\), once more") as warned:
        net = pynn.Network([pynn.Dense(2, 3), layer()], cost=cost)
    assert warned[0].filename == __file__
    net.cost = pynn.MSE()
    with pytest.warns(UserWarning, match="takes logits"):
        net.cost = cost
    pynn.Network([pynn.Dense(2, 3), layer(), pynn.Dense(3, 3)], cost=cost)


def test_names_where_objects_are_wanted_come_with_an_example():
    with pytest.raises(TypeError, match=r"cost is 'mse', wanted .*, as pynn.MSE\(\)$"):
        pynn.Network([pynn.Dense(2, 1)], cost="mse")
    with pytest.raises(TypeError, match=r"optimizer is 'adam', wanted .*, as pynn.Adam\(\)$"):
        pynn.Network([pynn.Dense(2, 1)], optimizer="adam")


def test_a_function_that_makes_batches_is_to_be_called():
    net = pynn.Network([pynn.Dense(2, 1)])
    with pytest.raises(TypeError, match=r"x is an iterable of batches \(x, y\); a function is to be called for them$"):
        net.fit(lambda: iter([]))


def test_layers_that_are_no_list_are_refused():
    with pytest.raises(TypeError, match=r"Network: layers is Dense\(4, 8\), wanted a list of layers"):
        pynn.Network(pynn.Dense(4, 8), pynn.ReLU())


# ---- the path of a call ----------------------------------------------------------------------------------------------


class Liar:
    """What would let C read beyond it, were it taken for what it says it is."""

    __class__ = np.ndarray
    ndim, shape, strides, dtype, size = 1, (3,), (4,), np.dtype("float32"), 3

    def __array__(self, dtype=None, copy=None):
        return np.ones(3, dtype)


def test_what_lies_about_itself_is_asked_for_its_numbers():
    net, other, x = small(), small(), np.ones(3, "float32")
    assert same_bits(net.predict(Liar()), net.predict(x))
    assert net.train_step(Liar(), [1, 2]) == other.train_step(x, [1, 2])
    for out in (Liar(), object(), 7, ()):
        with pytest.raises((TypeError, ValueError), match=r"^predict: out"):
            net.predict(x, out=out)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (1, 3), (7, 3)], ids=str)
def test_a_result_is_an_array_of_its_own_as_numpy_makes_them(dtype, shape):
    net, x = small(dtype), values(shape, dtype)
    first, second = net.predict(x), net.predict(x)
    made = np.empty((*shape[:-1], 2), dtype)
    assert type(first) is np.ndarray
    assert (first.shape, first.strides, first.dtype, first.flags.num) == (made.shape, made.strides, made.dtype, made.flags.num)
    assert first.base is None
    second.fill(7)
    assert same_bits(first, net.predict(x))


def test_calls_keep_no_reference_and_lose_none():
    dtype = "float32"  # not float64, of which np.empty(1) keeps one each time (NumPy 2.4)
    net, x, y, out, wrong = small(dtype), values(3, dtype), values(2, dtype), np.empty(2, dtype), np.empty(3, dtype)
    rate = net.optimizer.learning_rate
    held = [net._plan, net._trainer, net.dtype, x, y, out, wrong, rate]
    if sys.version_info < (3, 12):  # which made None immortal
        held.append(None)

    def calls():
        net.predict(x)
        net.predict(x, out=out)
        net.train_step(x, y)
        net._trainer.train(x, y, None, None, None, np.empty(1), 0, 1, 1, rate)
        # and such as C does not take as they are
        net.predict(x[::-1])
        net.train_step(x, y[::-1])
        net._trainer.step(x, y, None)
        net._trainer.train(x, wrong, None, None, None, None, 0, 1, 1, rate)
        with pytest.raises(ValueError, match=r"^predict: out"):
            net.predict(x, out=wrong)

    assert_references_stay(calls, held)


def test_wrong_calls_of_what_c_runs_are_exceptions():
    net, x, y = small(), np.ones(3, "float32"), np.ones(2, "float32")
    plan, trainer = net._plan, net._trainer
    for call in (plan.predict, trainer.step):
        for arguments in ((), (x,), (x, y, 0.1, None)):
            with pytest.raises(TypeError, match="arguments, wanted"):
                call(*arguments)
    costs = np.empty(1)
    good = (x, y, None, None, None, costs, 0, 1, 1, 0.1)
    for i, bad in ((0, None), (1, x), (2, y), (3, y), (4, y), (5, y), (5, None), (6, -1), (6, 1), (7, -1), (7, 2), (8, 0)):
        assert trainer.train(*good[:i], bad, *good[i + 1 :]) is None
    with pytest.raises(TypeError):
        trainer.train(*good[:9], None)
    assert trainer.train(*good) is True
    for made, arguments in ((type(plan), ((0, None),)), (type(trainer), (plan, net._objective, (0, None), x))):
        with pytest.raises(ValueError, match="an address of nothing"):
            made(*arguments)
        with pytest.raises(TypeError):
            made()
    with pytest.raises(TypeError, match="wanted a Plan"):
        type(trainer)(net, net._objective, net._updater, x)
    with pytest.raises(RuntimeError, match="Network: the kernel refused its arguments with status 1"):
        pynn.engine.new_trainer(plan, net._objective, net._updater, x)
    unknown = (99, 0.0, False)
    with pytest.raises(RuntimeError, match="Network: the kernel refused its arguments with status -3"):
        pynn.engine.new_trainer(plan, unknown, net._updater, net._gradients).step(x, y, 0.1)


def test_a_result_that_there_is_no_room_for_is_a_memory_error():
    net = pynn.Network([pynn.Dense(1, 2**20, initializer="zeros", bias=False)])
    x = np.broadcast_to(np.float32(0), (2**45, 1))
    with pytest.raises((MemoryError, ValueError)):
        net._plan.predict(x, None)


def test_a_step_whose_cost_is_nan_is_one_step():
    net = pynn.Network([pynn.Dense(2, 1)], optimizer=pynn.SGD(0.1), dtype="float64", seed=0)
    x, y = np.ones((2, 2)), np.ones((2, 1))
    net.parameters[:] = 1
    y[1] = np.nan
    assert np.isnan(net.train_step(x, y))
    assert net.optimizer.steps == 1


def test_a_step_on_no_rows_is_none():
    net = pynn.Network([pynn.Dense(2, 1)], seed=0)
    assert net.train_step(np.zeros((0, 2), "float32"), np.zeros((0, 1), "float32")) == 0.0
    assert net.optimizer.steps == 0
