"""pynn/layers.py: Dense, the activations, layers of one's own; their gradients against central differences."""

import copy
import pickle

import numpy as np
import pytest
from support import ACTIVATIONS, LAYOUTS, digest, same_bits, unit, values

import pynn
from pynn import kernels, reference


def layer_of(name):
    return getattr(pynn, kernels.ACTIVATIONS[name].class_name)()


def double(layer):
    """The layer computing in float64: in a network of that dtype."""
    pynn.Network([layer], dtype="float64", seed=0)
    return layer


# ---- gradients -------------------------------------------------------------------------------------------------------
#
# Central differences with step h are off by h^2/6 |f'''| (below 8 for all activations here, times weights below 1) and by the
# rounding of two sums below some 40, so 40 u / h. h = 2^-17 makes both below 1e-9.

STEP = 2.0**-17
OFF = 1e-8


def slope(function, array):
    """d function / d array by central differences; changes the array's elements and restores them."""
    result = np.empty(array.shape)
    for at in np.ndindex(array.shape):
        before = array[at]
        array[at] = before + STEP
        above = function()
        array[at] = before - STEP
        below = function()
        array[at] = before
        result[at] = (above - below) / (2 * STEP)
    return result


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("samples", [None, 1, 5])
@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (40, 2), (2, 40)], ids=str)
def test_gradients_of_dense_are_central_differences(instruction_set, shape, samples, bias):
    layer = double(pynn.Dense(*shape, bias=bias))
    batch = () if samples is None else (samples,)
    x, dy = values((*batch, shape[0]), "float64", 1), values((*batch, shape[1]), "float64", 2)

    def along_dy():
        return float((layer.forward(x) * dy).sum())

    layer.forward(x)
    dx = layer.backward(dy)
    np.testing.assert_allclose(dx, slope(along_dy, x), rtol=0, atol=OFF)
    np.testing.assert_allclose(layer.weight_gradient, slope(along_dy, layer.weight), rtol=0, atol=OFF)
    if bias:
        np.testing.assert_allclose(layer.bias_gradient, slope(along_dy, layer.bias), rtol=0, atol=OFF)


@pytest.mark.parametrize("samples", [None, 1, 7])
def test_gradients_of_activations_are_central_differences(instruction_set, activation, samples):
    layer = layer_of(activation)
    x = np.linspace(-4, 4, 7 * 4).reshape(7, 4) + 0.01  # apart from 0, where ReLU has no derivative
    x = x[0] if samples is None else x[:samples]
    dy = values(x.shape, "float64", 1)
    layer.forward(x)
    dx = layer.backward(dy)
    np.testing.assert_allclose(dx, slope(lambda: float((layer.forward(x) * dy).sum()), x), rtol=0, atol=OFF)


# ---- Dense -----------------------------------------------------------------------------------------------------------


def test_dense_is_the_kernels_on_its_own_weight_and_bias(dtype):
    layer = pynn.Dense(9, 4)
    pynn.Network([layer], dtype=dtype, seed=0)
    layer.bias = values(4, dtype)
    x, dy = values((5, 9), dtype, 1), values((5, 4), dtype, 2)
    assert same_bits(layer.forward(x), kernels.affine(layer.weight, x, layer.bias))
    assert same_bits(layer.backward(dy), kernels.input_gradient(layer.weight, dy))
    assert same_bits(layer.weight_gradient, kernels.weight_gradient(dy, x))
    assert same_bits(layer.bias_gradient, kernels.bias_gradient(dy))


def test_weight_and_bias_have_the_shapes_of_the_mathematics():
    for inputs, outputs in [(1, 1), (3, 2), (2, 3), (64, 1), (1, 64), (300, 20), (20, 300)]:
        layer = pynn.Dense(inputs, outputs)
        assert layer.weight.shape == layer.weight_gradient.shape == (outputs, inputs)
        assert layer.bias.shape == layer.bias_gradient.shape == (outputs,)
        assert (layer.bias == 0).all()
    bare = pynn.Dense(3, 2, bias=False)
    assert bare.bias is None
    assert bare.bias_gradient is None


def test_assigned_values_stay_and_are_converted(dtype):
    layer = pynn.Dense(2, 3)
    layer.weight = [[1, 2], [3, 4], [5, 6]]
    layer.bias = (True, False, True)
    net = pynn.Network([layer], dtype=dtype, seed=0)
    assert layer.weight.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert layer.bias.tolist() == [1, 0, 1]
    assert layer.weight.dtype == dtype
    assert net.predict([1, 1]).tolist() == [4, 7, 12]
    layer.weight[1, 0] = 10
    assert net.predict([1, 1]).tolist() == [4, 14, 12]


def test_values_looked_at_before_the_network_is_made_stay():
    layer = pynn.Dense(5, 4)
    seen = layer.weight.copy()
    pynn.Network([layer], seed=3)
    assert same_bits(layer.weight, seen)


def test_bad_assignments_are_refused_and_change_nothing():
    layer = pynn.Dense(2, 3)
    before = digest(layer.weight, layer.bias)
    with pytest.raises(ValueError, match=r"Dense\(2, 3\): weight has shape \(3, 2\), got \(2, 3\)"):
        layer.weight = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"Dense\(2, 3\): bias has shape \(3,\), got \(\)"):
        layer.bias = 1.0  # no broadcasting: it hides mistakes
    with pytest.raises(TypeError, match="complex"):
        layer.weight = np.ones((3, 2), complex)
    with pytest.raises(TypeError, match="object"):
        layer.bias = [None, 1, 2]
    with pytest.raises(ValueError, match="has no bias"):
        pynn.Dense(2, 3, bias=False).bias = np.ones(3)
    assert digest(layer.weight, layer.bias) == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 1), ValueError, "in_features is 0"),
        ((1, 0), ValueError, "out_features is 0"),
        ((-3, 1), ValueError, "in_features is -3"),
        ((2.0, 1), TypeError, "in_features is 2.0"),
        ((1, "2"), TypeError, "out_features is '2'"),
        ((True, 1), TypeError, "in_features is True"),
        ((None, 1), TypeError, "in_features is None"),
        ((1, 1, "yes"), TypeError, "bias is 'yes'"),
        ((1, 1, None), TypeError, "bias is None"),
        ((1, 1, True, "normal"), ValueError, "initializer is 'normal'"),
        ((1, 1, True, 3), (ValueError, TypeError), "initializer is 3"),
        ((1, 1, True, None), (ValueError, TypeError), "initializer is None"),
        ((1, 1, True, ["zeros"]), (ValueError, TypeError), "initializer is"),
    ],
    ids=lambda value: str(value) if isinstance(value, tuple) else "",
)
def test_arguments_that_make_no_sense_are_refused(arguments, error, message):
    with pytest.raises(error, match=f"^Dense: {message}"):
        pynn.Dense(*arguments)


def test_whole_numbers_of_numpy_will_do():
    assert repr(pynn.Dense(np.int64(3), np.uint8(2), np.True_)) == "Dense(3, 2)"


def test_a_wrong_number_of_features_names_the_layer_and_both_shapes():
    with pytest.raises(
        ValueError,
        match=r"^Dense\(64, 32\): x has 63 features, the layer takes 64 \(got shape \(10, 63\), wanted \(10, 64\) or \(64,\)\)$",
    ):
        pynn.Dense(64, 32).forward(np.zeros((10, 63)))
    layer = pynn.Dense(4, 3)
    for wrong in (np.zeros(5), np.zeros(()), np.zeros((2, 2, 4)), np.zeros((4, 1)), []):
        with pytest.raises(ValueError, match=r"^Dense\(4, 3\): x has"):
            layer.forward(wrong)
    layer.forward(np.zeros((2, 4)))
    for wrong in (np.zeros((2, 4)), np.zeros((3, 3)), np.zeros(3), np.zeros((1, 3)), np.zeros((2, 3, 1))):
        with pytest.raises(ValueError, match=r"^Dense\(4, 3\): y_gradient has"):
            layer.backward(wrong)


def test_a_refused_call_leaves_the_last_forward_and_the_gradients_as_they_were():
    layer = pynn.Dense(4, 3)
    x, dy = values((2, 4), "float32", 1), values((2, 3), "float32", 2)
    layer.forward(x)
    wanted = layer.backward(dy)
    before = digest(layer.weight_gradient, layer.bias_gradient)
    with pytest.raises(ValueError, match="features"):
        layer.forward(np.zeros((2, 5)))
    with pytest.raises(TypeError, match="complex"):
        layer.forward(np.zeros((2, 4), complex))
    with pytest.raises(ValueError, match="y_gradient"):
        layer.backward(np.ones((2, 4)))
    assert digest(layer.weight_gradient, layer.bias_gradient) == before
    assert same_bits(layer.backward(dy), wanted)


@pytest.mark.parametrize("name", ["Dense", *ACTIVATIONS])
def test_backward_before_forward_is_a_runtime_error(name):
    layer = pynn.Dense(2, 2) if name == "Dense" else layer_of(name)
    with pytest.raises(RuntimeError, match="backward before forward"):
        layer.backward(np.ones(2))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layers_take_arrays_of_any_memory(dtype, layout):
    place = LAYOUTS[layout]
    x, dy = values((5, 9), dtype, 1), values((5, 4), dtype, 2)
    plain, other = (pynn.Network([pynn.Dense(9, 4), pynn.Tanh()], dtype=dtype, seed=0) for _ in range(2))
    assert same_bits(other.forward(place(x)), plain.forward(x))
    assert same_bits(other.backward(place(dy)), plain.backward(dy))
    assert same_bits(other.gradients, plain.gradients)


def test_input_is_converted_to_the_dtype_of_the_layer():
    layer = pynn.Dense(2, 1)
    assert layer.forward(np.array([1, 2])).dtype == np.float32
    assert layer.forward(np.array([1.0, 2.0])).dtype == np.float32
    assert double(pynn.Dense(2, 1)).forward(np.float32([1, 2])).dtype == np.float64


# ---- initial values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("initializer", "limit"), [("glorot_uniform", (6 / (40 + 60)) ** 0.5), ("he_uniform", (6 / 40) ** 0.5)])
def test_initial_weights_fill_their_interval_evenly(initializer, limit, dtype):
    layer = pynn.Dense(40, 60, initializer=initializer)
    pynn.Network([layer], dtype=dtype, seed=0)
    weights = layer.weight.astype(float)
    assert np.abs(weights).max() <= limit * (1 + unit("float32"))
    assert np.abs(weights).max() > 0.99 * limit
    assert abs(weights.mean()) < 6 * limit / (3 * weights.size) ** 0.5  # six standard errors
    assert weights.std() == pytest.approx(limit / 3**0.5, rel=0.06)
    assert len(np.unique(layer.weight)) > 0.99 * weights.size


def test_an_initializer_may_be_a_function():
    layer = pynn.Dense(2, 3, initializer=lambda shape, random: np.full(shape, 7))
    assert layer.weight.tolist() == [[7, 7]] * 3
    assert pynn.Dense(2, 3, initializer="zeros").weight.tolist() == [[0, 0]] * 3


def test_an_initializer_that_fails_or_gives_a_wrong_shape_leaves_the_layer_unbound():
    wrong = pynn.Dense(2, 3, initializer=lambda shape, random: np.zeros(5))
    with pytest.raises(ValueError, match=r"the initializer gave shape \(5,\), wanted \(3, 2\)"):
        pynn.Network([pynn.Dense(4, 2), wrong])

    def failing(shape, random):
        raise LookupError("no weights today")

    good, bad = pynn.Dense(4, 2), pynn.Dense(2, 3, initializer=failing)
    with pytest.raises(LookupError, match="no weights today"):
        pynn.Network([good, bad])
    pynn.Network([good])  # it belongs to no network yet


def test_both_dtypes_start_from_the_same_weights():
    single, twice = (pynn.Network([pynn.Dense(5, 4)], dtype=dtype, seed=1) for dtype in ("float32", "float64"))
    assert same_bits(single.parameters, twice.parameters.astype("float32"))


# ---- activations -----------------------------------------------------------------------------------------------------


def test_every_activation_in_the_list_is_a_class(activation, dtype):
    layer = layer_of(activation)
    assert isinstance(layer, pynn.layers.Activation)
    assert type(layer).__module__ == "pynn.layers"
    assert kernels.ACTIVATIONS[activation].formula in type(layer).__doc__
    assert repr(layer) == kernels.ACTIVATIONS[activation].class_name + "()"
    assert kernels.ACTIVATIONS[activation].class_name in pynn.__all__
    x = values((3, 4), dtype)
    assert same_bits(layer.forward(x), kernels.activation(activation, x))
    assert same_bits(layer.backward(2 * x), kernels.activation_gradient(activation, x, 2 * x))
    with pytest.raises(ValueError, match=r"y_gradient has shape \(4,\), wanted \(3, 4\)"):
        layer.backward(x[0])


def test_the_five_promised_activations_are_there():
    assert {"relu", "sigmoid", "arctan", "tanh", "identity"} <= set(ACTIVATIONS)
    for name, function in {"ReLU": lambda x: max(0, x), "Arctan": np.arctan, "Tanh": np.tanh, "Identity": float}.items():
        np.testing.assert_allclose(getattr(pynn, name)().forward(np.array([-1.5, 0.5])), [function(-1.5), function(0.5)])
    np.testing.assert_allclose(pynn.Sigmoid().forward(np.array([0.0, 1.0])), [0.5, np.e / (1 + np.e)])


# Activations with a parameter: its name, its default, and another value.
PARAMETERS = [("leaky_relu", "negative_slope", 0.01, 0.3), ("elu", "alpha", 1.0, 0.7)]
parameters = pytest.mark.parametrize(("name", "parameter", "default", "other"), PARAMETERS)


def test_parameters_are_those_of_the_list():
    listed = [(name, row.parameter, row.default) for name, row in kernels.ACTIVATIONS.items() if row.parameter]
    assert [each[:3] for each in PARAMETERS] == listed


@parameters
def test_a_parameter_is_an_argument_a_property_and_part_of_the_repr(name, parameter, default, other):
    kind = type(layer_of(name))
    assert getattr(kind(), parameter) == kind().parameter == default
    assert repr(kind(other)) == repr(kind(**{parameter: other})) == f"{kind.__name__}({parameter}={other})"
    assert getattr(kind(other), parameter) == other
    assert kind(np.float32(0.25)).parameter == kind(0.25).parameter
    for attribute in (parameter, "parameter"):
        with pytest.raises(AttributeError, match=f"'{attribute}' of '{kind.__name__}'"):
            setattr(kind(), attribute, other)
    with pytest.raises(TypeError):
        pynn.ReLU(other)


@parameters
@pytest.mark.parametrize("bad", ["0.1", None, [1], True, np.True_, 1j, np.complex64(1j), np.ones(2), np.ones(1)], ids=repr)
def test_a_parameter_that_is_not_a_number_is_a_type_error(name, parameter, default, other, bad):
    calls = [lambda: kernels.activation(name, np.ones(3), parameter=bad)]
    calls += [lambda: type(layer_of(name))(bad), lambda: kernels.activation_gradient(name, np.ones(3), np.ones(3), parameter=bad)]
    if bad is not None:  # which means the default
        for call in calls:
            with pytest.raises(TypeError, match=parameter):
                call()
    for call in (lambda: kernels.activation("relu", np.ones(3), parameter=0.5),):
        with pytest.raises(TypeError, match="no parameter"):
            call()


@parameters
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_parameter_that_is_not_finite_is_a_value_error(name, parameter, default, other, bad):
    for call in (lambda: type(layer_of(name))(bad), lambda: kernels.activation(name, np.ones(3), parameter=bad)):
        with pytest.raises(ValueError, match=f"{parameter} is .*finite"):
            call()


@parameters
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["copy", "deepcopy", "pickle"]
)
def test_a_copy_keeps_its_parameter(name, parameter, default, other, copied):
    layer = type(layer_of(name))(other)
    again = copied(layer)
    assert again.parameter == other
    x = values((3, 5), "float64")
    assert same_bits(again.forward(x), layer.forward(x))
    assert not same_bits(again.forward(x), layer_of(name).forward(x))


@parameters
@pytest.mark.parametrize("value", [0.5, 0.0, -0.25, 3.0, 1e-30, -1e20, 1e30])
def test_any_finite_parameter_is_the_formulas(name, parameter, default, other, value, instruction_set, dtype):
    x = np.concatenate([values(501, dtype, 1) * 5, np.array([0, -0.0, -30, -90, -200, -np.inf, np.inf, np.nan], dtype)])
    dy = np.ones_like(x)
    rounded = float(np.dtype(dtype).type(value))
    wide = x.astype("float64")
    for got, wanted in (
        (kernels.activation(name, x, parameter=value), reference.activation(name, wide, parameter=rounded)),
        (
            kernels.activation_gradient(name, x, dy, parameter=value),
            reference.activation_gradient(name, wide, dy, parameter=rounded),
        ),
    ):
        # ELU's derivative below -128 is 0, as docs/mathematics.md says: it is below 2^-184 alpha
        tolerance = abs(value) * 2.0**-184 + 4 * float(np.finfo(dtype).smallest_subnormal)
        np.testing.assert_allclose(got.astype("float64"), wanted, rtol=8 * np.finfo(dtype).eps, atol=tolerance)


@parameters
@pytest.mark.parametrize("rows", [1, 6])
def test_the_engine_uses_each_layers_own_parameter(name, parameter, default, other, rows, dtype):
    kind = type(layer_of(name))

    def network(first, second, third, *more):
        layers = [pynn.Dense(4, 7), first, pynn.Dense(7, 6), second, pynn.Dense(6, 5), third, *more]
        return pynn.Network(layers, optimizer=pynn.SGD(0.1), dtype=dtype, seed=3)

    class Own:  # a layer of one's own makes the network run layer by layer
        def forward(self, x):
            return x

        def backward(self, y_gradient):
            return y_gradient

    engine, layers = network(kind(other), kind(), kind(-other)), network(kind(other), kind(), kind(-other), Own())
    plain = network(kind(), kind(), kind())
    x, y = values((rows, 4), dtype, 1), values((rows, 5), dtype, 2)
    assert same_bits(engine.predict(x), layers.predict(x))
    assert not same_bits(engine.predict(x), plain.predict(x))
    for _ in range(3):
        assert engine.train_step(x, y) == layers.train_step(x, y)
    assert same_bits(engine.parameters, layers.parameters)


def test_the_base_of_activations_is_not_one():
    with pytest.raises(TypeError, match="base"):
        pynn.layers.Activation()


# ---- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["copy", "deepcopy", "pickle"]
)
def test_a_copy_has_the_values_and_its_own_memory(copied, dtype):
    layer = pynn.Dense(5, 30, bias=False, initializer="he_uniform")
    pynn.Network([layer], dtype=dtype, seed=1)
    layer.forward(values((2, 5), dtype))
    other = copied(layer)
    assert repr(other) == repr(layer)
    assert same_bits(other.weight, layer.weight)
    x = values((2, 5), dtype)
    assert same_bits(other.forward(x), layer.forward(x))
    other.weight[:] = 0
    assert (layer.weight != 0).any()
    pynn.Network([other], dtype=dtype)  # it belongs to no network yet
    fresh = copied(pynn.Dense(5, 4))
    pynn.Network([fresh], dtype=dtype, seed=3)
    assert same_bits(
        fresh.weight, pynn.Network([pynn.Dense(5, 4)], dtype=dtype, seed=3).layers[0].weight
    )  # drawn by the network's seed


@pytest.mark.parametrize(
    "code", ["Dense(3, 2)", "Dense(3, 2, bias=False)", "Dense(1, 1, initializer='zeros')", "ReLU()", "Sigmoid()", "Identity()"]
)
def test_a_layer_prints_as_the_code_that_makes_it(code):
    assert repr(eval(code, vars(pynn))) == code


# ---- layers of one's own ---------------------------------------------------------------------------------------------


class Scale(pynn.Layer):
    """y = factor x + shift, with two parameters."""

    def shapes(self):
        return {"factor": (1,), "shift": ()}

    def initial(self, name, random):
        return np.array([2.0]) if name == "factor" else super().initial(name, random)

    def forward(self, x):
        self.x = x
        return self.factor * x + self.shift

    def backward(self, y_gradient):
        self.factor_gradient[:] = (y_gradient * self.x).sum()
        self.shift_gradient[...] = y_gradient.sum()
        return self.factor * y_gradient


def test_a_layer_of_ones_own_has_its_parameters_in_the_network(dtype):
    net = pynn.Network([pynn.Dense(3, 2), Scale(), pynn.Tanh()], dtype=dtype, seed=0)
    scale = net.layers[1]
    assert net.parameters.size == 10
    assert scale.factor.tolist() == [2]
    assert scale.factor.base is not None
    net.parameters[8] = 5
    assert scale.factor.tolist() == [5]
    scale.shift[...] = 0.5
    assert net.parameters[9] == 0.5
    x, y = values((20, 3), dtype, 1), values((20, 2), dtype, 2) / 2
    before = net.parameters.copy()
    history = net.fit(x, y, epochs=30, batch_size=5)
    assert (net.parameters != before).all()
    assert history.cost[-1] < history.cost[0]
    assert net.predict(x[0]).shape == (2,)


def test_gradients_of_a_network_with_a_layer_of_ones_own_are_central_differences():
    net = pynn.Network([pynn.Dense(3, 2), Scale(), pynn.Tanh(), pynn.Dense(2, 2)], dtype="float64", seed=0)
    x, y = values((4, 3), "float64", 1), values((4, 2), "float64", 2)
    net.backward(net.cost.gradient(net.forward(x), y))
    np.testing.assert_allclose(net.gradients, slope(lambda: net.evaluate(x, y), net.parameters), rtol=0, atol=OFF)


def test_predict_leaves_what_the_last_forward_kept_in_a_layer_of_ones_own():
    net = pynn.Network([pynn.Dense(3, 2), Scale()], dtype="float64", seed=0)
    x = values((4, 3), "float64", 1)
    wanted = net.forward(x)
    gradient = net.backward(np.ones_like(wanted))
    net.predict(values((7, 3), "float64", 2))
    assert same_bits(net.backward(np.ones_like(wanted)), gradient)


def test_a_network_with_a_layer_of_ones_own_copies_and_pickles(dtype):
    net = pynn.Network([pynn.Dense(3, 2), Scale()], dtype=dtype, seed=0)
    net.layers[1].shift[...] = 3
    x = values((4, 3), dtype)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert same_bits(other.predict(x), net.predict(x))
        other.layers[1].shift[...] = 0
        assert net.layers[1].shift == 3


def test_a_layer_without_forward_or_backward_says_so():
    class Half(pynn.Layer):
        def forward(self, x):
            return x

    net = pynn.Network([pynn.Dense(2, 2), Half()])
    net.forward(np.ones(2))
    with pytest.raises(TypeError, match=r"Half has no backward"):
        net.backward(np.ones(2))


def test_the_reference_computes_a_whole_network_as_the_layers_do(dtype):
    # An independent implementation of forward and backward, from pynn.reference alone.
    net = pynn.Network([pynn.Dense(5, 7), pynn.Sigmoid(), pynn.Dense(7, 3), pynn.Arctan()], dtype=dtype, seed=0)
    x, y = values((6, 5), dtype, 1), values((6, 3), dtype, 2)
    (w0, b0), (w1, b1) = ((layer.weight, layer.bias) for layer in net.layers[::2])
    z0 = reference.affine(w0, x, b0)
    hidden = reference.activation("sigmoid", z0)
    z1 = reference.affine(w1, hidden, b1)
    prediction = reference.activation("arctan", z1)
    dz1 = reference.activation_gradient("arctan", z1, reference.mean_squared_error_gradient(prediction, y))
    dz0 = reference.activation_gradient("sigmoid", z0, reference.input_gradient(w1, dz1))
    close = {"rtol": 200 * unit(dtype), "atol": 20 * unit(dtype)}
    np.testing.assert_allclose(net.forward(x), prediction, **close)
    np.testing.assert_allclose(net.backward(net.cost.gradient(prediction, y)), reference.input_gradient(w0, dz0), **close)
    np.testing.assert_allclose(net.layers[0].weight_gradient, reference.weight_gradient(dz0, x), **close)
    np.testing.assert_allclose(net.layers[2].weight_gradient, reference.weight_gradient(dz1, hidden), **close)
    np.testing.assert_allclose(net.layers[0].bias_gradient, reference.bias_gradient(dz0), **close)
