"""csrc/kernels/math.h and activations.h: f is within 1 unit in the last place (GELU 1.05), f' within 2, also at special values.

All tests here follow the list of activations: a new one is tested by its formula, evaluated in more precision.
"""

import itertools
import math

import mpmath
import numpy as np
import pytest
from support import ACTIVATIONS, INSTRUCTION_SETS, same_bits, using, values

from pynn import kernels, reference

LIMITS = {"f": 1, "derivative": 2}  # in units of the last place
EXCEPTIONS = {("f", "gelu"): 1.05}


def limit(which, name):
    return EXCEPTIONS.get((which, name), LIMITS[which])


def computed(which, name, x):
    """What the kernel gives: f(x), or f'(x) as the gradient for a gradient of ones from above."""
    return kernels.activation(name, x) if which == "f" else kernels.activation_gradient(name, x, np.ones_like(x))


def formula(which, name):
    row = kernels.ACTIVATIONS[name]
    return row.formula if which == "f" else row.derivative


def variables(name, x, dtype):
    """What a formula's variables stand for; a parameter is rounded to the dtype that the kernel computes in."""
    row = kernels.ACTIVATIONS[name]
    return {"x": x, row.parameter: float(np.dtype(dtype).type(row.default))}


def in_mpmath(which, name, x):
    """The formula to 200 bits, at each of float64's numbers in ``x``: a list."""
    code = compile(formula(which, name), "formula", "eval")
    with mpmath.workprec(200):
        return [eval(code, MPMATH, variables(name, mpmath.mpf(float(each)), "float64")) for each in x]


def long_double(number):
    """An mpmath number as a long double; no string of it, which would be slow."""
    high = float(number)
    return np.longdouble(high) + np.longdouble(float(number - mpmath.mpf(high)) if math.isfinite(high) else 0)


def long_erfc(x):
    """erfc of long doubles, by mpmath: of all words the one that NumPy lacks."""
    with mpmath.workprec(200):
        split = [(high := float(each), float(each - np.longdouble(high))) for each in x.ravel()]
        values = [
            long_double(mpmath.erfc(mpmath.mpf(high) + mpmath.mpf(low))) if abs(high) < 100 else math.erfc(high)
            for high, low in split
        ]
    return np.array(values, np.longdouble).reshape(x.shape)


# In long double precision constants must have it too.
LONG_DOUBLE = {
    "pi": 4 * np.arctan(np.longdouble(1)),
    "sqrt": lambda x: np.sqrt(np.longdouble(x)),
    "erfc": long_erfc,
}


def in_numpy(which, name, x):
    """The formula in the precision of ``x``."""
    words = reference.WORDS | LONG_DOUBLE if x.dtype == np.longdouble else reference.WORDS
    given = variables(name, x, "float64" if x.dtype == np.longdouble else "float32")
    with np.errstate(all="ignore"):
        return np.asarray(eval(formula(which, name), words, given)).astype(x.dtype)


def widened(x, dtype):
    """Conversion of a signalling NaN is an "invalid" operation, which is nothing to report here."""
    with np.errstate(invalid="ignore"):
        return x.astype(dtype)


# The words of NumPy that a formula may use, in arbitrary precision.
MPMATH = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "expm1": mpmath.expm1,
    "sqrt": mpmath.sqrt,
    "tanh": mpmath.tanh,
    "arctan": mpmath.atan,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "abs": abs,
    "maximum": max,
    "minimum": min,
    "sign": mpmath.sign,
    "erfc": lambda x: mpmath.erfc(x) if abs(x) < 100 else 1 - mpmath.sign(x),
    "heaviside": lambda x, at_zero: mpmath.mpf(x > 0) if x else mpmath.mpf(at_zero),
    "ones_like": lambda x: mpmath.mpf(1),
    "where": lambda condition, yes, no: yes if condition else no,
    "pi": mpmath.pi,
}


def ulps_off(got, exact, dtype):
    """Distance of ``got`` from ``exact`` (in more precision) in units in the last place of ``dtype`` at the exact value."""
    info = np.finfo(dtype)
    wide = type(exact.flat[0])
    with np.errstate(all="ignore"):
        got = got.astype(wide)
        exponent = np.floor(np.log2(np.maximum(np.abs(exact), wide(info.smallest_normal))))
        size = np.exp2(np.clip(exponent, info.minexp, info.maxexp)) * wide(info.eps)
        off = np.abs(got - exact) / size
        agree = (np.isnan(got) & np.isnan(exact)) | (got == exact.astype(dtype))  # such as infinity beyond the largest number
    return np.where(agree, 0, np.where(np.isnan(off), np.inf, off))


def worst(which, name, x, exact):
    off = ulps_off(computed(which, name, x), exact, x.dtype)
    return float(off.max()), x[off.argmax()]


def hold(which, name, x, exact):
    off, at = worst(which, name, x, exact)
    assert off <= limit(which, name), f"{which} of {name} at {at!r} ({float(at).hex()}) is {off:.3f} units in the last place off"


# ---- accuracy --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=itertools.product(["f", "derivative"], ACTIVATIONS), ids="-".join)
def function(request):
    return request.param


@pytest.fixture(scope="module")
def single_sample(function):
    """One of each 4096 neighbours among all 2^32 numbers of float32, and the function in double precision."""
    low = np.random.Generator(np.random.PCG64(1)).integers(0, 4096, 2**20, dtype=np.uint32)
    x = (np.arange(2**20, dtype=np.uint32) * np.uint32(4096) + low).view(np.float32)
    return x, in_numpy(*function, widened(x, np.float64))


@pytest.fixture(scope="module")
def double_sample(function):
    """Numbers of every exponent of float64, many where functions do something, and the function of each in extended precision."""
    random = np.random.Generator(np.random.PCG64(2))
    bits = random.integers(0, 2**64, 2**16, dtype=np.uint64).view(np.float64)
    x = np.concatenate(
        [bits, 40 * random.standard_normal(2**16), 2 * random.standard_normal(2**16), random.uniform(-750, 750, 2**16)]
    )
    if "erfc" in formula(*function):
        x = x[::16]  # one of them takes mpmath as long as NumPy takes for a thousand
    return x, in_numpy(*function, widened(x, np.longdouble))


@pytest.fixture(scope="module")
def hard_doubles(function):
    """Where formulas change over, saturate or vanish, and neighbours of these, with results good to 200 bits."""
    edges = [
        0,
        5e-324,
        2.3e-308,
        1e-300,
        1e-160,
        1e-20,
        1e-9,
        2**-27,
        2**-26,
        1e-4,
        0.01,
        0.1,
        0.25,
        0.5,
        0.549,
        0.66,
        1,
        1.5,
        2,
        3,
        5,
        10,
        18,
        19.06,
    ]
    edges += [
        20,
        36,
        36.7,
        37,
        40,
        52.75,
        100,
        300,
        354,
        355,
        372,
        373,
        373.5,
        374,
        700,
        708,
        709,
        709.78,
        710,
        744,
        745,
        745.13,
        745.2,
        746,
        750,
        1000,
    ]
    edges += [1e5, 2**40, 2**53, 2**80, 1e100, 1e153, 1e154, 1.34e154, 1e155, 2**1000.0, 1e305, 1.7e308]
    edges += [k * np.log(2) / 4 for k in range(1, 80)] + [
        k * np.log(2) / 2 for k in (500, 537, 538, 1000, 1022, 1023, 1024, 1074, 1075, 1076)
    ]
    edges = np.array(edges, np.float64)
    near = [edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf), edges * (1 + 2.0**-30), edges * (1 - 2.0**-20)]
    random = np.random.Generator(np.random.PCG64(3))
    x = np.concatenate([*near, *(-each for each in near), 2 * random.standard_normal(200), random.uniform(0.9, 1.3, 300)])
    exact = in_mpmath(*function, x)
    with mpmath.workprec(200):
        high = np.array([float(each) for each in exact])
        # And how far the exact value lies from the nearest double, worked out in 200 bits: no float could hold that value.
        rest = np.array([float(each - mpmath.mpf(h)) for each, h in zip(exact, high, strict=True)])
    return x, high, rest


def test_float32_is_accurate_all_over_its_range(function, single_sample, instruction_set):
    hold(*function, *single_sample)


def test_float64_is_accurate_on_a_dense_sample(function, double_sample, instruction_set):
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("long double is no wider than double here; the hard points below are compared with arbitrary precision")
    # Where f' crosses zero, and far out, the formula loses some of the few digits that long double has more: 200 bits say then.
    x, exact = double_sample
    doubtful = ulps_off(computed(*function, x), exact, x.dtype) > 0.75 * limit(*function)
    exact = exact.copy()
    exact[doubtful] = [long_double(each) for each in in_mpmath(*function, x[doubtful])]
    hold(*function, x, exact)


def test_float64_is_accurate_on_hard_points(function, hard_doubles, instruction_set):
    x, high, rest = hard_doubles
    got = computed(*function, x)
    size = np.spacing(np.maximum(np.abs(high), np.finfo(np.float64).smallest_normal))
    off = np.abs((got - high) - rest) / size
    worst_at = x[off.argmax()]
    assert off.max() <= limit(*function), (
        f"{function} at {worst_at!r} ({float(worst_at).hex()}) is {off.max():.3f} units in the last place off"
    )


def test_float32_is_accurate_on_every_number(function, request):
    if not request.config.getoption("--exhaustive"):
        pytest.skip("all 2^32 numbers take minutes: pytest --exhaustive")
    for begin in range(0, 2**32, 2**24):
        x = np.arange(begin, begin + 2**24, dtype=np.uint32).view(np.float32)
        exact = in_numpy(*function, widened(x, np.float64))
        for name in INSTRUCTION_SETS:
            with using(name):
                hold(*function, x, exact)


def test_the_measure_of_accuracy_sees_an_error_of_one_unit():
    # The measure itself must be able to fail.
    for dtype, wide in (("float32", np.float64), ("float64", np.longdouble)):
        exact = np.array([1, 1.5, 0.1, 3e-39, 1e30]).astype(dtype)
        near = np.nextafter(exact, np.inf, dtype=dtype)
        assert (ulps_off(exact, exact.astype(wide), dtype) == 0).all()
        assert (np.abs(ulps_off(near, exact.astype(wide), dtype) - 1) < 0.01).all()
        assert ulps_off(np.array([np.nan], dtype), np.array([1], wide), dtype) == np.inf
        assert ulps_off(np.array([1], dtype), np.array([np.nan], wide), dtype) == np.inf


# ---- special values --------------------------------------------------------------------------------------------------


def specials(dtype):
    info = np.finfo(dtype)
    some = [0, info.smallest_subnormal, info.smallest_normal, info.tiny / 2, 1, info.eps, 20, 1e4, info.max, np.inf]
    return np.array([*some, *(-each for each in some), np.nan, -np.nan], dtype)


def test_special_values_are_what_the_formula_says(function, instruction_set, dtype):
    x = specials(dtype)
    with np.errstate(all="ignore"):
        exact = in_numpy(*function, x.astype(np.float64 if dtype == "float32" else np.longdouble))
        wanted = exact.astype(dtype)
    got = computed(*function, x)
    finite = np.isfinite(wanted)
    assert (np.isnan(got) == np.isnan(wanted)).all()
    assert (got[np.isinf(wanted)] == wanted[np.isinf(wanted)]).all()
    assert (ulps_off(got, exact, dtype)[finite] <= limit(*function)).all()


def test_not_a_number_goes_through_every_activation(activation, instruction_set, dtype):
    nan = np.full(19, np.nan, dtype)
    assert np.isnan(kernels.activation(activation, nan)).all()
    assert np.isnan(kernels.activation_gradient(activation, values(19, dtype), nan)).all()


def test_the_sign_of_zero_is_kept_by_odd_functions(activation, instruction_set, dtype):
    x = np.array([0.0, -0.0], dtype)
    with np.errstate(all="ignore"):
        wanted = reference.activation(activation, x)
    if (wanted == 0).all() and np.signbit(wanted).tolist() == [False, True]:
        assert np.signbit(kernels.activation(activation, x)).tolist() == [False, True]
    else:
        assert (kernels.activation(activation, x) == wanted).all()


def test_symmetric_functions_are_symmetric_to_the_last_bit(activation, instruction_set, dtype):
    x = np.abs(np.concatenate([values(999, dtype, 1) * 10, values(999, dtype, 2) * 400, specials(dtype)]))
    f = (
        reference.activation(activation, x[:999].astype(np.float64)),
        reference.activation(activation, -x[:999].astype(np.float64)),
    )
    d = [reference.activation_gradient(activation, sign * x[:999].astype(np.float64), np.ones(999)) for sign in (1, -1)]
    if (f[0] == -f[1]).all():
        assert same_bits(kernels.activation(activation, -x), -kernels.activation(activation, x))
    if (d[0] == d[1]).all():
        assert same_bits(computed("derivative", activation, -x), computed("derivative", activation, x))
    assert activation in kernels.ACTIVATIONS


def test_derivatives_stay_accurate_where_functions_saturate(instruction_set):
    # y (1 - y) and 1 - y y have lost everything there.
    x = np.array([20, 50, -20, -50], "float32")
    for name, factor in (("sigmoid", 1), ("tanh", 2)):
        exact = factor**2 * np.exp(-factor * np.abs(x.astype(np.float64)))
        np.testing.assert_allclose(computed("derivative", name, x), exact, rtol=1e-6, atol=np.finfo("float32").smallest_subnormal)


# ---- how they are computed -------------------------------------------------------------------------------------------


def test_a_value_has_the_same_bits_wherever_it_stands_in_an_array(function, instruction_set, dtype):
    x = np.concatenate([values(40, dtype) * 5, specials(dtype)])
    whole = computed(*function, x)
    for n in range(len(x) + 1):
        assert same_bits(computed(*function, x[:n]), whole[:n])
        assert same_bits(computed(*function, x[n:]), whole[n:])


def test_every_instruction_set_gives_the_same_bits(function, dtype):
    word = "u4" if dtype == "float32" else "u8"
    bits = (
        np.random.Generator(np.random.PCG64(5))
        .integers(0, 2 ** (8 * np.dtype(dtype).itemsize), 2**17, dtype=word, endpoint=False)
        .view(dtype)
    )
    x = np.concatenate([bits, values(2**16, dtype) * 10, specials(dtype)])
    seen = []
    for name in INSTRUCTION_SETS:
        with using(name):
            seen.append(computed(*function, x))
    assert all(same_bits(each, seen[0]) for each in seen)


def test_a_gradient_from_above_is_multiplied_in(activation, instruction_set, dtype):
    x, dy = values(1003, dtype, 1) * 4, values(1003, dtype, 2)
    assert same_bits(kernels.activation_gradient(activation, x, dy), dy * computed("derivative", activation, x))


def test_any_shape_will_do(activation, dtype):
    for shape in [(), (0,), (7,), (0, 3), (3, 0), (2, 3), (2, 3, 5), (1, 1, 1, 2)]:
        x, dy = values(shape, dtype, 1), values(shape, dtype, 2)
        y, dx = kernels.activation(activation, x), kernels.activation_gradient(activation, x, dy)
        assert y.shape == dx.shape == shape
        assert y.dtype == dx.dtype == dtype
        np.testing.assert_allclose(y, reference.activation(activation, x), rtol=1e-5)
        np.testing.assert_allclose(dx, reference.activation_gradient(activation, x, dy), rtol=1e-5)


def test_derivatives_in_the_list_are_derivatives_of_the_functions(activation):
    # f' as written in the list against differences of f as written there.
    x = np.concatenate([np.linspace(-6, -0.1, 50), np.linspace(0.1, 6, 50)]).astype(np.longdouble)
    h = np.longdouble(1e-5)
    difference = (in_numpy("f", activation, x + h) - in_numpy("f", activation, x - h)) / (2 * h)
    np.testing.assert_allclose(in_numpy("derivative", activation, x).astype(float), difference.astype(float), rtol=0, atol=1e-9)
