"""pynn/kernels.py and csrc/python/: what the kernels take, convert and refuse, and that they write to their output alone."""

import inspect
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
    Subclass,
    assert_references_stay,
    digest,
    same_bits,
    sum_bound,
    unit,
    using,
    values,
)

import pynn
from pynn import kernels, reference

# ---- drawn at random -------------------------------------------------------------------------------------------------

sizes = st.one_of(st.integers(0, 9), st.integers(0, 70))

LAYER_KERNELS = {
    "affine": ("weight", "x", "bias"),
    "weight_gradient": ("y_gradient", "x"),
    "bias_gradient": ("y_gradient",),
    "input_gradient": ("weight", "y_gradient"),
}


@st.composite
def arrangements(draw):
    """The inputs of a layer's kernels, of any size and in any memory."""
    dtype, rows, inputs, outputs = draw(st.sampled_from(DTYPES)), draw(sizes), draw(sizes), draw(sizes)
    seed = draw(st.integers(0, 1000))
    shapes = {"weight": (outputs, inputs), "bias": (outputs,), "x": (rows, inputs), "y_gradient": (rows, outputs)}
    if draw(st.booleans()):
        shapes["x"], shapes["y_gradient"] = (inputs,), (outputs,)
    plain = {name: values(shape, dtype, seed + i) for i, (name, shape) in enumerate(shapes.items())}
    placed = {name: LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](array) for name, array in plain.items()}
    return draw(st.sampled_from(INSTRUCTION_SETS)), dtype, plain, placed


@given(arrangements())
def test_kernels_agree_with_numpy_on_any_shape_and_memory_and_leave_inputs_alone(arrangement):
    instruction_set, dtype, plain, placed = arrangement
    before = {name: array.tobytes() for name, array in placed.items()}
    with using(instruction_set):
        for name, arguments in LAYER_KERNELS.items():
            got = getattr(kernels, name)(*(placed[each] for each in arguments))
            wanted = getattr(reference, name)(*(plain[each] for each in arguments))
            magnitude = getattr(reference, name)(*(np.abs(plain[each]).astype(np.float64) for each in arguments))
            rows = 1 if plain["x"].ndim == 1 else len(plain["x"])
            terms = {"affine": plain["x"].shape[-1], "input_gradient": plain["y_gradient"].shape[-1]}.get(name, rows)
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
            assert (np.abs(got - wanted) <= sum_bound(terms, magnitude, dtype)).all()
        x, twice = plain["x"], plain["x"] * 2
        for name in ACTIVATIONS:
            got, wanted = kernels.activation(name, placed["x"]), reference.activation(name, x)
            np.testing.assert_allclose(got, wanted, rtol=20 * unit(dtype))
            got, wanted = kernels.activation_gradient(name, placed["x"], twice), reference.activation_gradient(name, x, twice)
            # Where f' crosses zero, NumPy's formula has but an absolute accuracy.
            assert (np.abs(got - wanted) <= 20 * unit(dtype) * (np.abs(wanted) + np.abs(twice))).all()
        cost = kernels.mean_squared_error(placed["x"], np.zeros_like(x))
        assert cost == pytest.approx(reference.mean_squared_error(x, 0 * x), rel=200 * unit(dtype))
    assert {name: array.tobytes() for name, array in placed.items()} == before


@given(st.data())
def test_out_may_overlap_any_input_in_any_way(data):
    # One block of memory, from which inputs and output are cut at random.
    dtype = data.draw(st.sampled_from(DTYPES))
    rows, inputs, outputs = (data.draw(st.integers(1, 12)) for _ in range(3))
    shapes = {"weight": (outputs, inputs), "bias": (outputs,), "x": (rows, inputs), "y_gradient": (rows, outputs)}
    name = data.draw(st.sampled_from(sorted(LAYER_KERNELS)))
    memory = values(400, dtype, data.draw(st.integers(0, 100)))

    def cut(shape):
        start = data.draw(st.integers(0, 400 - int(np.prod(shape))))
        return memory[start : start + int(np.prod(shape))].reshape(shape)

    arguments = [cut(shapes[each]) for each in LAYER_KERNELS[name]]
    kernel = getattr(kernels, name)
    wanted = kernel(*(each.copy() for each in arguments))
    out = cut(wanted.shape)
    assert kernel(*arguments, out=out) is out
    assert same_bits(out, wanted)


@given(st.data())
def test_elementwise_out_may_overlap_any_input_in_any_way(data):
    dtype, n = data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(1, 70))
    name = data.draw(st.sampled_from(["activation", "activation_gradient", "mean_squared_error_gradient"]))
    memory = values(200, dtype, data.draw(st.integers(0, 100)))
    first, second, target = (memory[start : start + n] for start in [data.draw(st.integers(0, 200 - n)) for _ in range(3)])
    which = () if name.startswith("mean") else (data.draw(st.sampled_from(ACTIVATIONS)),)
    arguments = (first,) if name == "activation" else (first, second)
    kernel = getattr(kernels, name)
    wanted = kernel(*which, *(each.copy() for each in arguments))
    assert kernel(*which, *arguments, out=target) is target
    assert same_bits(target, wanted)


@given(st.data())
def test_gradients_may_overlap_parameters_in_any_way(data):
    dtype, n = data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(1, 70))
    memory = values(200, dtype, 3)
    theta, gradients = (memory[start : start + n] for start in [data.draw(st.integers(0, 200 - n)) for _ in range(2)])
    wanted = theta.copy()
    kernels.gradient_descent(wanted, gradients.copy(), 0.5)
    kernels.gradient_descent(theta, gradients, 0.5)
    assert same_bits(theta, wanted)


# ---- what is converted -----------------------------------------------------------------------------------------------

WEIGHT = [[1, 2, 3], [4, 5, 6]]
X = [[1, 0, 1], [0, 1, 1], [1, 1, 0]]
BIAS = [1, 0]
Y = [[5, 10], [6, 11], [4, 9]]

KINDS = ["bool", "int8", "uint8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64", ">f4", ">f8", ">i2"]


class LikeAnArray:
    """What a data frame of another library is to NumPy: an object that can turn itself into an array."""

    def __init__(self, numbers):
        self._numbers = numbers

    def __array__(self, dtype=None, copy=None):
        return np.array(self._numbers, dtype)


class LikeAnArrayAtMost(LikeAnArray):
    """One that says nothing else of itself, whoever asks, as one of unknown length does."""

    def __len__(self):
        raise ZeroDivisionError

    def __getattr__(self, name):
        raise ZeroDivisionError if name in ("shape", "ndim", "dtype") else AttributeError(name)


class LikeAnArrayByLies(LikeAnArray):
    """One that would let the extension read beyond it, were it taken for what it says it is."""

    ndim, shape, dtype = 2, (10**6, 10**6), np.dtype("float64")

    def __len__(self):
        return 10**6


MAKERS = {
    "list": list,
    "tuples": lambda numbers: tuple(map(tuple, numbers)),
    "array": np.array,
    "array-like": LikeAnArray,
    "no more than array-like": LikeAnArrayAtMost,
    "lies": LikeAnArrayByLies,
    "subclass": lambda numbers: np.array(numbers).view(Subclass),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_every_real_kind_are_converted(kind):
    y = kernels.affine(np.array(WEIGHT, "float32"), np.array(X).astype(kind), np.array(BIAS, "float32"))
    assert y.tolist() == Y
    # Integers and booleans take the dtype of the floating-point arguments.
    assert y.dtype == ("float64" if kind in ("float64", ">f8") else "float32")


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_anything_like_an_array_will_do(make):
    y = kernels.affine(make(WEIGHT), make(X), BIAS)
    assert y.tolist() == Y
    assert y.dtype == "float64"  # none of the arguments is floating-point
    assert type(y) is np.ndarray
    weight, x, dy = make(WEIGHT), make(X), make(Y)
    statistics = [[0.0, 1.0]] * 3
    others = {
        "weight_gradient": (dy, x),
        "bias_gradient": (dy,),
        "input_gradient": (weight, dy),
        "layer_norm_scale_gradient": (x, statistics, x),
    }
    for name, arguments in others.items():
        wanted = getattr(kernels, name)(*(np.array(each, "float64") for each in arguments))
        assert same_bits(getattr(kernels, name)(*arguments), wanted), name


def test_a_memory_map_will_do(tmp_path, dtype):
    np.save(tmp_path / "x.npy", values((5, 40), dtype))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    weight = values((3, 40), dtype, 1)
    wanted = kernels.affine(weight, np.array(x))
    assert same_bits(kernels.affine(weight, x), wanted)
    out = np.memmap(tmp_path / "y", dtype, "w+", shape=(5, 3))
    assert kernels.affine(weight, x, out=out) is out
    assert same_bits(np.asarray(out), wanted)


def test_float32_and_float64_together_are_float64():
    weight, x = np.array(WEIGHT, "float32") / 3, np.array(X) / 7
    assert kernels.affine(weight, x).dtype == "float64"
    assert same_bits(kernels.affine(weight, x), kernels.affine(weight.astype("float64"), x))


# ---- what is refused -------------------------------------------------------------------------------------------------

ONE = np.ones(3)
TWO = np.ones((2, 3))

BAD_SHAPES = [
    ("affine", (TWO, np.ones(4)), "(4,)", "(2, 3)"),
    ("affine", (TWO, np.ones((5, 4))), "(5, 4)", "(2, 3)"),
    ("affine", (TWO, np.ones((5, 3, 1))), "(5, 3, 1)"),
    ("affine", (TWO, np.array(1.0)), "()"),
    ("affine", (ONE, ONE), "(3,)"),
    ("affine", (TWO, ONE, np.ones(3)), "(3,)", "(2,)"),
    ("affine", (TWO, ONE, np.ones((2, 1))), "(2, 1)", "(2,)"),
    ("affine", (TWO, ONE, np.array(1.0)), "()"),
    ("weight_gradient", (np.ones((4, 2)), np.ones((5, 3))), "(4, 2)", "(5, 3)"),
    ("weight_gradient", (np.ones(2), np.ones((5, 3))), "(2,)", "(5, 3)"),
    ("weight_gradient", (np.ones((1, 2, 3)), np.ones((1, 2, 3))), "(1, 2, 3)"),
    ("bias_gradient", (np.array(1.0),), "()"),
    ("bias_gradient", (np.ones((1, 2, 3)),), "(1, 2, 3)"),
    ("input_gradient", (TWO, np.ones(3)), "(3,)", "(2, 3)"),
    ("input_gradient", (TWO, np.ones((4, 3))), "(4, 3)", "(2, 3)"),
    ("input_gradient", (ONE, ONE), "(3,)"),
    ("activation_gradient", ("relu", ONE, TWO), "(3,)", "(2, 3)"),
    ("activation_gradient", ("relu", np.ones((3, 1)), np.ones((1, 3))), "(3, 1)", "(1, 3)"),
    ("mean_squared_error", (ONE, TWO), "(3,)", "(2, 3)"),
    ("mean_squared_error", (ONE, np.ones((3, 1))), "(3,)", "(3, 1)"),
    ("mean_squared_error_gradient", (TWO, ONE), "(2, 3)", "(3,)"),
    ("gradient_descent", (np.ones(3), np.ones(4), 0.1), "(3,)", "(4,)"),
]


@pytest.mark.parametrize("case", BAD_SHAPES, ids=lambda case: f"{case[0]}-{'-'.join(case[2:])}")
def test_shapes_that_do_not_fit_are_a_value_error_that_names_kernel_and_shapes(case):
    name, arguments, *shapes = case
    with pytest.raises(ValueError, match=f"^{name}: ") as error:
        getattr(kernels, name)(*arguments)
    for shape in shapes:
        assert shape in str(error.value)


BAD_DATA = {
    "complex": np.ones((2, 3), complex),
    "object": np.ones((2, 3), object),
    "string": np.array([["1", "2", "3"]] * 2),
    "bytes": np.array([[b"1", b"2", b"3"]] * 2),
    "datetime": np.zeros((2, 3), "datetime64[s]"),
    "timedelta": np.zeros((2, 3), "timedelta64[s]"),
    "record": np.zeros((2, 3), [("a", "f4")]),
    "None": None,
    "word": "weights",
    "dict": {"weight": 1},
    "None among numbers": [[1.0, None, 2.0]] * 2,
}
if np.dtype(np.longdouble).itemsize > 8:
    BAD_DATA["longdouble"] = np.ones((2, 3), np.longdouble)  # conversion would lose digits without a word


@pytest.mark.parametrize("kind", BAD_DATA)
def test_what_is_not_real_numbers_is_a_type_error_that_names_kernel_and_argument(kind):
    bad = BAD_DATA[kind]
    calls = [
        ("affine", (bad, ONE), "weight"),
        ("affine", (TWO, bad), "x"),
        ("weight_gradient", (bad, TWO), "y_gradient"),
        ("weight_gradient", (TWO, bad), "x"),
        ("bias_gradient", (bad,), "y_gradient"),
        ("input_gradient", (bad, ONE), "weight"),
        ("input_gradient", (TWO, bad), "y_gradient"),
        ("activation", ("tanh", bad), "x"),
        ("activation_gradient", ("tanh", bad, TWO), "x"),
        ("activation_gradient", ("tanh", TWO, bad), "y_gradient"),
        ("mean_squared_error", (bad, TWO), "prediction"),
        ("mean_squared_error", (TWO, bad), "target"),
        ("mean_squared_error_gradient", (TWO, bad), "target"),
        ("gradient_descent", (np.ones((2, 3)), bad, 0.1), "gradients"),
    ]
    for name, arguments, argument in calls:
        with pytest.raises(TypeError, match=rf"^{name}: {argument} "):
            getattr(kernels, name)(*arguments)


def test_a_ragged_list_is_a_value_error():
    with pytest.raises(ValueError, match="inhomogeneous"):
        kernels.affine(TWO, [[1.0, 2.0, 3.0], [1.0]])


@pytest.mark.parametrize("name", ["no such", "", "ReLU", None, 3, b"relu", ["relu"], ("relu",), "relu\0"])
def test_an_unknown_activation_is_a_value_error_that_lists_them(name):
    for call in (lambda: kernels.activation(name, ONE), lambda: kernels.activation_gradient(name, ONE, ONE)):
        with pytest.raises(ValueError, match=re.escape("wanted one of " + ", ".join(map(repr, ACTIVATIONS)))):
            call()


OUTPUTS = {
    "affine": (TWO, ONE),
    "weight_gradient": (np.ones(2), ONE),
    "bias_gradient": (TWO,),
    "input_gradient": (TWO, np.ones(2)),
    "activation": ("tanh", TWO),
    "activation_gradient": ("tanh", TWO, TWO),
    "mean_squared_error_gradient": (TWO, TWO),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_out_that_does_not_fit_is_refused_and_not_written_to(name):
    kernel, arguments = getattr(kernels, name), OUTPUTS[name]
    result = kernel(*arguments)
    read_only = np.zeros_like(result)
    read_only.flags.writeable = False
    wrong = [
        (np.zeros(result.shape, "float32"), TypeError, "dtype float32"),
        (np.zeros(result.shape, "int64"), TypeError, "dtype int64"),
        (np.zeros(result.shape, complex), TypeError, "dtype complex128"),
        (np.zeros(result.shape, ">f8"), TypeError, "dtype >f8"),
        (np.zeros((*result.shape, 1)), ValueError, re.escape(str((*result.shape, 1)))),
        (np.zeros(result.size + 1), ValueError, re.escape(str((result.size + 1,)))),
        (np.zeros((0, *result.shape[1:])), ValueError, "shape"),
        (read_only, ValueError, "read-only"),
        (result.tolist(), TypeError, "list"),
        (bytearray(8 * result.size), TypeError, "bytearray"),
        (3, TypeError, "int"),
    ]
    for out, error, message in wrong:
        before = np.asarray(out).tobytes()
        with pytest.raises(error, match=rf"^{name}: out .*{message}"):
            kernel(*arguments, out=out)
        assert np.asarray(out).tobytes() == before


BAD_PARAMETERS = [
    [1.0, 2.0],
    (1.0, 2.0),
    1.0,
    None,
    "12",
    *(np.ones(2, kind) for kind in ("int64", "complex", "object", "float16", ">f8")),
]


@pytest.mark.parametrize("bad", BAD_PARAMETERS, ids=lambda bad: str(getattr(bad, "dtype", type(bad).__name__)))
def test_parameters_that_cannot_be_changed_in_place_are_a_type_error(bad):
    with pytest.raises(TypeError, match=r"^gradient_descent: parameters are"):
        kernels.gradient_descent(bad, np.ones(2), 0.1)


def test_read_only_parameters_are_a_value_error(dtype):
    theta = np.ones(3, dtype)
    theta.flags.writeable = False
    with pytest.raises(ValueError, match=r"^gradient_descent: parameters are read-only"):
        kernels.gradient_descent(theta, np.ones(3, dtype), 0.1)
    assert theta.tolist() == [1, 1, 1]


@pytest.mark.parametrize("rate", ["0.1", None, [0.1], 1j, np.ones(2)], ids=repr)
def test_a_learning_rate_that_is_no_number_is_a_type_error_and_changes_nothing(rate):
    theta = np.ones(3)
    with pytest.raises(TypeError):
        kernels.gradient_descent(theta, theta, rate)
    assert theta.tolist() == [1, 1, 1]


def test_sizes_beyond_the_address_space_are_an_error_not_a_crash():
    # A stride of zero lets an array be far larger than memory.
    huge = np.broadcast_to(np.float32(1), (2**40,))
    with pytest.raises((ValueError, MemoryError)):
        kernels.weight_gradient(huge, huge)
    tall = np.broadcast_to(np.float32(1), (2**40, 4))
    with pytest.raises((ValueError, MemoryError)):
        kernels.affine(tall, tall)
    # Where the shapes do not fit, that is what is wrong.
    column = np.zeros((10**7, 1))
    with pytest.raises(ValueError, match=r"^affine: weight has shape"):
        kernels.affine(column[:, 0], column)
    with pytest.raises(ValueError, match=r"^weight_gradient: y_gradient has shape"):
        kernels.weight_gradient(column, column[:, 0])


# ---- what flows through ----------------------------------------------------------------------------------------------


def test_nan_and_infinity_flow_through_every_kernel(instruction_set, dtype):
    # At the edges of rows and for several row counts: no mask may swallow one, none may spill into a neighbour.
    for rows, inputs, outputs in [(1, 9, 5), (3, 33, 18), (9, 40, 3)]:
        weight, bias, dy = values((outputs, inputs), dtype, 1), values(outputs, dtype, 2), values((rows, outputs), dtype, 4)
        for at in (0, inputs // 2, inputs - 1):
            for special in (np.nan, np.inf, -np.inf):
                x = values((rows, inputs), dtype, 3)
                x[-1, at] = special
                y = kernels.affine(weight, x, bias)
                assert np.isfinite(y[:-1]).all()
                assert (np.isnan(y[-1]) if np.isnan(special) else y[-1] == special * np.sign(weight[:, at])).all()
                dw = kernels.weight_gradient(dy, x)
                assert np.isfinite(np.delete(dw, at, axis=1)).all()
                assert (np.isnan(dw[:, at]) if np.isnan(special) else dw[:, at] == special * np.sign(dy[-1])).all()
    x, target = values((7, 20), dtype, 1), values((7, 20), dtype, 2)
    x[3, 19], x[5, 0] = np.inf, np.nan
    db = kernels.bias_gradient(x)
    assert np.isnan(db[0])
    assert db[19] == np.inf
    assert np.isfinite(db[1:19]).all()
    assert np.isnan(kernels.mean_squared_error(x, target))
    assert (np.isfinite(kernels.mean_squared_error_gradient(x, target)) == np.isfinite(x)).all()
    kernels.gradient_descent(target, x, 0.1)
    assert (np.isfinite(target) == np.isfinite(x)).all()


def test_overflow_is_infinity_and_underflow_is_gradual(instruction_set, dtype):
    info = np.finfo(dtype)
    big = np.full((1, 4), info.max, dtype)
    assert np.isinf(kernels.affine(big, big[0])).all()
    tiny = np.array([[info.smallest_normal]], dtype)
    assert kernels.affine(tiny, np.array([0.25], dtype))[0] == info.smallest_normal / 4  # a subnormal, not zero


def test_zero_rows_give_zero_rows(instruction_set, dtype, activation):
    weight, bias, none, no_gradients = values((3, 5), dtype), values(3, dtype), np.empty((0, 5), dtype), np.empty((0, 3), dtype)
    assert kernels.affine(weight, none, bias).shape == (0, 3)
    assert kernels.input_gradient(weight, no_gradients).shape == (0, 5)
    assert kernels.weight_gradient(no_gradients, none).tolist() == [[0] * 5] * 3
    assert kernels.bias_gradient(no_gradients).tolist() == [0] * 3
    assert kernels.activation(activation, none).shape == kernels.activation_gradient(activation, none, none).shape == (0, 5)
    assert kernels.mean_squared_error(none, none) == 0
    assert kernels.mean_squared_error_gradient(none, none).shape == (0, 5)
    kernels.gradient_descent(none, none, 0.1)


def test_no_input_is_written_to(dtype):
    w, x, y, b = arrays = [values(shape, dtype) for shape in ((5, 7), (4, 7), (4, 5), (5,))]
    for array in arrays:
        array.flags.writeable = False
    before = digest(*arrays)
    kernels.affine(w, x, b)
    kernels.weight_gradient(y, x)
    kernels.bias_gradient(y)
    kernels.input_gradient(w, y)
    kernels.activation("tanh", x)
    kernels.activation_gradient("tanh", x, x)
    kernels.mean_squared_error(x, x)
    kernels.mean_squared_error_gradient(x, x)
    kernels.gradient_descent(x.copy(), x, 0.1)
    assert digest(*arrays) == before


def test_reference_and_kernels_have_the_same_functions():
    functions = [name for name, value in vars(reference).items() if inspect.isfunction(value) and not name.startswith("_")]
    assert len(functions) == 22
    for name in functions:
        ours, theirs = inspect.signature(getattr(kernels, name)), inspect.signature(getattr(reference, name))
        assert list(ours.parameters) == list(theirs.parameters), name


def test_public_names_are_there():
    for name in pynn.__all__:
        assert getattr(pynn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such'"):
        _ = pynn.no_such


# ---- what CPython calls ----------------------------------------------------------------------------------------------


def plain_calls(dtype):
    """A call of each of the extension's functions that it takes as it is: its arguments, which of them is ``out``."""
    weight, x, y, rows = values((2, 3), dtype, 1), values(3, dtype, 2), values(2, dtype, 3), values((4, 3), dtype, 4)
    tanh, mse = (ACTIVATIONS.index("tanh"), 0.0), pynn.engine.objective("mse")
    statistics = np.ones((4, 2), dtype)
    updater = pynn.engine.Updater("sgd")
    updater.keep_state_for(x, 0)
    return {
        "affine": ([weight, x, y, None], 3),
        "weight_gradient": ([y, x, None], 2),
        "bias_gradient": ([rows, None], 1),
        "input_gradient": ([weight, y, None], 2),
        "activation": ([tanh, x, None], 2),
        "activation_gradient": ([tanh, x, x, None], 3),
        "softmax": ([False, rows, None], 2),
        "softmax_gradient": ([True, rows, rows, None], 3),
        "layer_norm": ([rows, x, x, 1e-5, None, statistics], 4),
        "layer_norm_gradient": ([rows, statistics, rows, x, None], 4),
        "layer_norm_scale_gradient": ([rows, statistics, rows, None], 3),
        "standardize": ([rows, x, np.abs(x), None], 3),
        "dropout": ([x, 0.5, 1, 2, 3, None], 5),
        "cost": ([mse, rows, rows, None], None),
        "cost_gradient": ([mse, rows, rows, None, None], 4),
        "gradient_descent": ([x.copy(), x, 0.1], None),
        "optimize": ([x.copy(), x, 0.1, updater.pointer], None),
    }


def test_every_function_of_the_extension_has_a_call_here():
    functions = {name for name, each in vars(pynn.engine.arrays).items() if inspect.isbuiltin(each)}
    assert functions - {"describe"} == set(plain_calls("float32"))


@pytest.mark.parametrize("name", plain_calls("float32"))
def test_plain_arrays_are_taken_as_they_are_and_all_else_is_none_or_an_exception(name, dtype):
    function, (arguments, out) = getattr(pynn.engine.arrays, name), plain_calls(dtype)[name]
    result = function(*arguments)
    assert result is not None
    if out is not None:
        assert type(result) is np.ndarray
        assert result.flags.c_contiguous
        assert result.base is None
        target = np.empty_like(result)
        assert function(*arguments[:out], target, *arguments[out + 1 :]) is target
        assert same_bits(target, result)
    with pytest.raises(TypeError, match="arguments, wanted"):
        function(*arguments, None)
    # Whatever stands in an array's place, nothing is written, nothing crashes, and no result is made up.
    before = [each.tobytes() for each in arguments if isinstance(each, np.ndarray)]
    plain = np.ones(3, dtype)
    wrong = [3, "x", (), [1.0], np.float64(1), np.dtype(dtype), np.ndarray, object()]
    wrong += [plain[::-1], plain.reshape(1, 3, 1), plain[:1].reshape(()), plain.view(Subclass)]
    wrong += [np.ones(3, kind) for kind in (">f8", "int64", "float16")]
    for i, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray) or i == out:
            for other in wrong:
                assert function(*arguments[:i], other, *arguments[i + 1 :]) is None, (i, other)
    assert [each.tobytes() for each in arguments if isinstance(each, np.ndarray)] == before


def test_what_is_no_tuple_of_numbers_is_an_exception():
    x = np.ones(3)
    for function, rest in ((pynn.engine.arrays.activation, (x, None)), (pynn.engine.arrays.cost, (x, x, None))):
        for wrong in (None, 3, "x", (), (1,), [1, 2.0, False], ("a", 1.0, False), (1, "a", False), x):
            with pytest.raises((TypeError, SystemError, IndexError)):
                function(wrong, *rest)
    for wrong, error in ((None, SystemError), ((), IndexError), (("a",), TypeError), ((0,), ValueError)):
        with pytest.raises(error):
            pynn.engine.arrays.optimize(x.copy(), x, 0.1, wrong)


def test_calls_keep_no_reference_and_lose_none():
    calls = plain_calls("float32")
    outs = {name: getattr(pynn.engine.arrays, name)(*arguments) for name, (arguments, out) in calls.items() if out is not None}
    held = [*outs.values(), *(each for arguments, _ in calls.values() for each in arguments if isinstance(each, np.ndarray))]
    held.append(held[0].dtype)
    if sys.version_info < (3, 12):  # which made them immortal
        held += [None, True, False]

    def all_of_them():
        for name, (arguments, out) in calls.items():
            function = getattr(pynn.engine.arrays, name)
            function(*arguments)
            if out is not None:
                function(*arguments[:out], outs[name], *arguments[out + 1 :])
                function(*arguments[:out], held[0][::-1], *arguments[out + 1 :])

    assert_references_stay(all_of_them, held)


def test_a_learning_rate_that_changes_arrays_when_it_is_asked_for_changes_them_before_they_are_read():
    class Rate:
        def __float__(self):
            theta.resize(1000, refcheck=False)
            return 1.0

    theta, gradients = np.ones(3), np.ones(3)
    with pytest.raises(ValueError, match="parameters has shape"):
        kernels.gradient_descent(theta, gradients, Rate())
