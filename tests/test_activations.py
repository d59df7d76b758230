"""csrc/kernels/math.h and activations.h: f is within 1 unit in the last place and f' within 2, special values included.

All tests here follow the list of activations: a new one is tested by its formula, evaluated in more precision.
"""

import itertools
import sys

import numpy as np
import pytest
from support import ACTIVATIONS, INSTRUCTION_SETS, ROOT, same_bits, using, values

from pynn import kernels, reference

sys.path.insert(0, str(ROOT))  # references are in the repository, not in the package
from bench import references
from bench.references import LIMITS, computed, measure, ulps_off, ulps_off_in_mpmath


def in_numpy(which, name, x):
    """The formula in the list, in the precision of ``x``."""
    row = kernels.ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        formula = row.formula if which == "f" else row.derivative
        return np.asarray(eval(formula, reference.WORDS, {"x": x, row.parameter: row.default})).astype(x.dtype)


def hold(which, name, x, off):
    i = off.argmax()
    assert off[i] <= LIMITS[which], (
        f"{which} of {name} at {x[i]!r} ({float(x[i]).hex()}) is {off[i]:.3f} units in the last place off"
    )


# ---- accuracy --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=itertools.product(references.WHICH, ACTIVATIONS), ids="-".join)
def function(request):
    return request.param


@pytest.fixture(scope="module")
def single_sample():
    """One of each 4096 neighbours among all 2^32 numbers of float32."""
    return references.float32_patterns(0, 2**32, 4096)


@pytest.fixture(scope="module")
def double_sample(function):
    """A sample, and whether long double suffices to judge it; it is smaller if not."""
    wide = references.wide_enough(*function, "float64")
    return references.float64_sample(2, 2**18 if wide else 2**10), wide


def everywhere(function, x):
    """f or f' of all ``x``, of which every instruction set gives the same bits: accuracy has to be measured once."""
    got = computed(*function, x)
    for name in INSTRUCTION_SETS:
        with using(name):
            assert same_bits(computed(*function, x), got), name
    return got


def test_float32_is_accurate_all_over_its_range(function, single_sample):
    hold(*function, single_sample, measure(*function, single_sample, everywhere(function, single_sample))[0])


def test_float64_is_accurate_on_a_dense_sample(function, double_sample):
    x, wide = double_sample
    hold(*function, x, measure(*function, x, everywhere(function, x), wide)[0])


def test_accuracy_on_hard_points_by_arbitrary_precision(function, dtype, request):
    """All by floating point where that is wide enough, and every fifth, or all if that is asked for, by arbitrary precision."""
    x = references.hard_points(getattr(np, dtype))
    got = everywhere(function, x)
    if references.wide_enough(*function, dtype) and not request.config.getoption("--exhaustive"):
        hold(*function, x, measure(*function, x, got)[0])
        x, got = x[::5], got[::5]
    hold(*function, x, ulps_off_in_mpmath(*function, x, got))


def test_references_of_float32_agree_with_arbitrary_precision(function, request):
    x = references.hard_points(np.float32)[:: 1 if request.config.getoption("--exhaustive") else 5]
    assert references.reference_off(*function, x) <= references.REFERENCE_LIMIT


def test_float32_is_accurate_on_every_number(function, request):
    if not request.config.getoption("--exhaustive"):
        pytest.skip("all 2^32 numbers take minutes: pytest --exhaustive")
    for begin in range(0, 2**32, 2**17):
        x = references.float32_patterns(begin, begin + 2**17, 1)
        got = computed(*function, x)
        hold(*function, x, measure(*function, x, got)[0])
        for name in INSTRUCTION_SETS:
            with using(name):
                assert same_bits(computed(*function, x), got), (name, begin)


def test_the_measure_of_accuracy_sees_an_error_of_one_unit():
    # The measure itself must be able to fail.
    for dtype, wide in (("float32", np.float64), ("float64", np.longdouble)):
        exact = np.array([1, 1.5, 0.1, 3e-39, 1e30]).astype(dtype)
        near = np.nextafter(exact, np.inf, dtype=dtype)
        assert (ulps_off(exact, exact.astype(wide)) == 0).all()
        assert (np.abs(ulps_off(near, exact.astype(wide)) - 1) < 0.01).all()
        assert (ulps_off(np.nextafter(exact, 0, dtype=dtype), exact.astype(wide)) == 1).all()
        assert ulps_off(np.array([np.nan], dtype), np.array([1], wide)) == np.inf
        assert ulps_off(np.array([1], dtype), np.array([np.nan], wide)) == np.inf
        assert ulps_off(np.array([np.inf], dtype), np.array([np.finfo(dtype).max], wide)) == np.inf
        assert ulps_off_in_mpmath("f", "identity", exact, near) == pytest.approx([1] * 5)
        assert ulps_off_in_mpmath("f", "identity", exact, np.full_like(exact, np.nan)).min() == np.inf


# ---- special values --------------------------------------------------------------------------------------------------


def specials(dtype):
    info = np.finfo(dtype)
    some = [0, info.smallest_subnormal, info.smallest_normal, info.tiny / 2, 1, info.eps, 20, 1e4, info.max, np.inf]
    return np.array([*some, *(-each for each in some), np.nan, -np.nan], dtype)


def test_special_values_are_what_the_limits_are(activation, instruction_set, dtype):
    assert list(references.wrong_specials(activation, getattr(np, dtype))) == []


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
