"""csrc/kernels/rows.h, random.h and exp.h, and the layers in pynn/rows.py."""

import copy
import itertools
import pickle
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import DTYPES, INSTRUCTION_SETS, LAYOUTS, digest, same_bits, threads, unit, using, values

import pynn
from pynn import kernels, reference

SHAPES = [(1, 1), (3, 2), (4, 10), (5, 15), (2, 16), (7, 17), (3, 31), (4, 33), (2, 64), (3, 1000), (0, 5), (300, 130)]


def chain_length(columns):
    """How many additions a sum along a row may take one after the other."""
    return -(-columns // 16) + 4


# ---- every kernel, with arguments of one shape ------------------------------------------------------------------------------


def calls(shape, dtype):
    """Each kernel's name, its positional arguments, and its results beside the one that it returns."""
    columns = shape[-1]
    x, g = 9 * values(shape, dtype, 1), values(shape, dtype, 2)
    scale, bias, deviation = values(columns, dtype, 3), values(columns, dtype, 4), np.abs(values(columns, dtype, 5)) + 1
    statistics = np.empty((*shape[:-1], 2), dtype)
    reference.layer_norm(x, statistics=statistics)
    return [
        ("softmax", (x,)),
        ("log_softmax", (x,)),
        ("softmax_gradient", (reference.softmax(x), g)),
        ("log_softmax_gradient", (reference.log_softmax(x), g)),
        ("layer_norm", (x, scale, bias)),
        ("layer_norm", (x, scale)),
        ("layer_norm", (x, None, bias)),
        ("layer_norm", (x,)),
        ("layer_norm_gradient", (x, statistics, g, scale)),
        ("layer_norm_gradient", (x, statistics, g)),
        ("layer_norm_scale_gradient", (x, statistics, g)),
        ("standardize", (x, bias, deviation)),
        ("standardize", (x, None, deviation)),
        ("dropout", (x, 0.3, 2**63 + 5, 7, 2)),
    ]


def run(name, arguments, **options):
    return getattr(kernels, name)(*arguments, **options)


@pytest.mark.parametrize("shape", [*SHAPES, (1,), (10,), (100,)], ids=str)
def test_kernels_agree_with_numpy(shape, dtype, instruction_set):
    for name, arguments in calls(shape, dtype):
        if name == "layer_norm" and shape[-1] == 1:
            continue  # 0 / sqrt(epsilon), of which rounding may make anything
        got, wanted = run(name, arguments), getattr(reference, name)(*arguments)
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), name
        if name in ("standardize", "dropout"):
            assert same_bits(got, wanted), name
        else:
            # The smallest deviation of a row here is some 0.3, its largest number 9.
            np.testing.assert_allclose(got, wanted, rtol=100 * unit(dtype), atol=2000 * unit(dtype), err_msg=name)


def test_statistics_are_mean_and_inverse_deviation(dtype, instruction_set):
    x = values((5, 40), dtype) + 3
    statistics, wanted = np.full((5, 2), np.nan, dtype), np.empty((5, 2), dtype)
    kernels.layer_norm(x, epsilon=0.5, statistics=statistics)
    reference.layer_norm(x, epsilon=0.5, statistics=wanted)
    np.testing.assert_allclose(statistics, wanted, rtol=20 * unit(dtype))
    # In arrays that are not plain as well
    room = np.zeros((5, 4), dtype)
    kernels.layer_norm(np.asfortranarray(x), epsilon=0.5, statistics=room[:, ::2])
    assert same_bits(room[:, ::2], statistics)
    assert not room[:, 1::2].any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_instruction_set_and_no_number_of_threads_changes_a_bit(shape, dtype):
    for name, arguments in calls(shape, dtype):
        results = []
        for instruction_set, number in itertools.product(INSTRUCTION_SETS, (1, 2, 3)):
            with using(instruction_set), threads(number):
                results.append(run(name, arguments))
        assert all(same_bits(each, results[0]) for each in results), name


@given(st.data())
def test_memory_and_batch_change_no_bit_and_inputs_stay(data):
    dtype, shape = data.draw(st.sampled_from(DTYPES)), (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 70)))
    with using(data.draw(st.sampled_from(INSTRUCTION_SETS))):
        for name, arguments in calls(shape, dtype):
            wanted = run(name, arguments)
            placed = [
                LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](each) if isinstance(each, np.ndarray) else each
                for each in arguments
            ]
            before = digest(*(each for each in placed if isinstance(each, np.ndarray)))
            assert same_bits(run(name, placed), wanted), name
            assert digest(*(each for each in placed if isinstance(each, np.ndarray))) == before
            if name == "layer_norm_scale_gradient":
                continue
            row = data.draw(st.integers(0, shape[0] - 1))
            alone = [each[row] if isinstance(each, np.ndarray) and each.ndim == 2 else each for each in arguments]
            if name == "dropout":
                alone[4] += row
            assert same_bits(run(name, alone), wanted[row]), name


@given(st.data())
def test_out_may_overlap_any_input_in_any_way(data):
    dtype, shape = data.draw(st.sampled_from(DTYPES)), (data.draw(st.integers(1, 5)), data.draw(st.integers(1, 20)))
    memory = np.abs(values(400, dtype, data.draw(st.integers(0, 100)))) + 1

    def cut(like):
        start = data.draw(st.integers(0, 400 - like.size))
        return memory[start : start + like.size].reshape(like.shape)

    name, arguments = data.draw(st.sampled_from(calls(shape, dtype)))
    arguments = [cut(each) if isinstance(each, np.ndarray) else each for each in arguments]
    wanted = run(name, [each.copy() if isinstance(each, np.ndarray) else each for each in arguments])
    out = cut(wanted)
    assert run(name, arguments, out=out) is out
    assert same_bits(out, wanted)


def test_out_may_be_an_input(dtype, instruction_set):
    for name, arguments in calls((6, 37), dtype):
        wanted = run(name, arguments)
        for i, each in enumerate(arguments):
            if isinstance(each, np.ndarray) and each.shape == wanted.shape:
                mine = [*arguments[:i], each.copy(), *arguments[i + 1 :]]
                assert same_bits(run(name, mine, out=mine[i]), wanted), name


# ---- the sequence of operations ------------------------------------------------------------------------------------------------


def fma(a, b, c, dtype):
    """a b + c, rounded once, by exact arithmetic."""
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    double = float(exact)  # correctly rounded, says Python
    if dtype == "float64":
        return np.float64(double)
    # Rounding twice could hit a tie that is none: first round to odd instead (Boldo and Melquiond, 2008).
    if Fraction(double) != exact and not int(np.float64(double).view(np.uint64)) & 1:
        double = float(np.nextafter(double, np.inf if Fraction(double) < exact else -np.inf))
    return np.float32(double)


def tree(chains):
    while len(chains) > 1:
        half = len(chains) // 2
        chains = [a + b for a, b in zip(chains[:half], chains[half:], strict=True)]
    return chains[0]


def row_sum(terms, dtype):
    """Sixteen chains, as csrc/kernels/rows.h lays it down; a term is a number, or two to be multiplied as they are added."""
    chains = [np.dtype(dtype).type(0)] * 16
    for j, term in enumerate(terms):
        chains[j % 16] = fma(*term, chains[j % 16], dtype) if isinstance(term, tuple) else chains[j % 16] + term
    return tree(chains)


@pytest.mark.parametrize("columns", [1, 3, 16, 17, 40, 75])
def test_kernels_follow_the_documented_sequence_of_operations(columns, dtype, instruction_set):
    x, g = 3 * values(columns, dtype, 1), values(columns, dtype, 2)
    scale, bias = values(columns, dtype, 3), values(columns, dtype, 4)
    one, count = np.dtype(dtype).type(1), np.dtype(dtype).type(columns)
    # Each e^d by itself, from a row of two: the sum of its gradients is -1
    d = x - x.max()
    e = np.array([kernels.log_softmax_gradient(np.array([each, 0], dtype), np.array([0, -1], dtype))[0] for each in d])
    y = e * (one / row_sum(e, dtype))
    assert same_bits(kernels.softmax(x), y)
    total = row_sum(list(zip(g, y, strict=True)), dtype)
    assert same_bits(kernels.softmax_gradient(y, g), y * (g - total))
    total = row_sum(g, dtype)
    wanted = np.array([fma(ej, -total, gj, dtype) for ej, gj in zip(e, g, strict=True)])
    assert same_bits(kernels.log_softmax_gradient(d, g), wanted)
    # Layer normalisation
    mean = row_sum(x, dtype) / count
    d = x - mean
    rest = row_sum(d, dtype)
    mean = mean + rest / count
    variance = max((row_sum(list(zip(d, d, strict=True)), dtype) - rest * (rest / count)) / count, 0 * one)
    inverse = one / np.sqrt(variance + np.dtype(dtype).type(1e-5))
    h = (x - mean) * inverse
    statistics = np.empty(2, dtype)
    got = kernels.layer_norm(x, scale, bias, statistics=statistics)
    assert same_bits(statistics, np.array([mean, inverse]))
    assert same_bits(got, np.array([fma(*each, dtype) for each in zip(h, scale, bias, strict=True)]))
    q = g * scale
    a, b = row_sum(q, dtype) / count, row_sum(list(zip(q, h, strict=True)), dtype) / count
    wanted = np.array([fma(hj, -b, qj, dtype) for hj, qj in zip(h, q - a, strict=True)]) * inverse
    assert same_bits(kernels.layer_norm_gradient(x, statistics, g, scale), wanted)
    assert same_bits(kernels.layer_norm_scale_gradient(x, statistics, g), g * h + 0)


def test_the_gradient_of_a_scale_is_one_chain_over_the_rows(dtype, instruction_set):
    x, g = values((9, 70), dtype, 1), values((9, 70), dtype, 2)
    statistics = values((9, 2), dtype, 3)
    h = (x - statistics[:, :1]) * statistics[:, 1:]
    total = np.zeros(70, dtype)
    for row_g, row_h in zip(g, h, strict=True):
        total = np.array([fma(*each, dtype) for each in zip(row_g, row_h, total, strict=True)])
    assert same_bits(kernels.layer_norm_scale_gradient(x, statistics, g), total)


# ---- accuracy --------------------------------------------------------------------------------------------------------------


def exponential(v):
    """e^v as the kernels compute it."""
    rows = np.stack([v, np.zeros_like(v)], axis=1)
    return kernels.log_softmax_gradient(rows, np.broadcast_to(np.array([0, -1], v.dtype), rows.shape))[:, 0]


def test_the_exponential_is_within_a_unit_in_the_last_place(dtype, instruction_set):
    random = np.random.Generator(np.random.PCG64(1))
    end = 104 if dtype == "float32" else 746
    v = -np.concatenate([random.uniform(0, end, 40000), random.uniform(0, 1, 20000), 2.0 ** -random.uniform(0, 60, 2000)]).astype(
        dtype
    )
    wide = np.float64 if dtype == "float32" else np.longdouble
    exact = np.exp(v.astype(wide))
    off = np.abs(exponential(v).astype(wide) - exact) / np.spacing(exact.astype(dtype)).astype(wide)
    assert off.max() < 0.9
    assert exponential(np.array([0, -0.0, -np.inf, -1000, np.nan], dtype)).tolist()[:4] == [1, 1, 0, 0]
    assert np.isnan(exponential(np.array([np.nan], dtype))[0])


def test_the_logarithm_is_within_two_units_in_the_last_place(instruction_set):
    # Of whole numbers: so many equal logits.
    for n in [*range(1, 40), 1000, 12345]:
        y = kernels.log_softmax(np.zeros(n))
        exact = mpmath.log(n)
        assert (y == y[0]).all()
        assert abs(float(mpmath.mpf(-float(y[0])) - exact)) <= 2 * np.spacing(float(exact)), n


@pytest.mark.parametrize("shape", [(400, 3), (200, 10), (20, 100), (2, 10000)], ids=str)
@pytest.mark.parametrize("spread", [1e-3, 1, 30, 300])
def test_softmax_is_within_its_bounds(shape, spread, dtype, instruction_set):
    x = (spread * values(shape, dtype)).astype(dtype)
    d = x.astype(np.longdouble) - x.max(axis=1, keepdims=True)
    e = np.exp(d)
    log_sum = np.log(e.sum(axis=1, keepdims=True))
    exact = np.exp(d - log_sum)
    # In units of roundoff: the difference, the exponential and two roundings, and those of the sum, its terms' and its own
    of_sum = (exact * np.abs(d)).sum(axis=1, keepdims=True) + 2 + chain_length(shape[1])
    u = unit(dtype)
    bound = (np.abs(d) + 5 + of_sum) * u * exact + 2 * float(np.finfo(dtype).smallest_subnormal)
    assert (np.abs(kernels.softmax(x) - exact) <= bound).all()
    bound = (np.abs(d) + np.abs(d - log_sum) + 3 * log_sum + of_sum) * u
    assert (np.abs(kernels.log_softmax(x) - (d - log_sum)) <= bound).all()


@pytest.mark.parametrize("offset", [0, 1, 1000, 1e6])
@pytest.mark.parametrize("shape", [(200, 5), (50, 64), (3, 5000)], ids=str)
def test_layer_norm_is_within_its_bounds(shape, offset, dtype, instruction_set):
    x = (offset + values(shape, dtype)).astype(dtype)
    wide = x.astype(np.longdouble)
    mean = wide.mean(axis=1, keepdims=True)
    deviation = np.abs(wide - mean).mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt(wide.var(axis=1, keepdims=True) + np.longdouble(np.dtype(dtype).type(1e-5)))
    h = (wide - mean) * inverse
    u, gamma = unit(dtype), chain_length(shape[1]) * unit(dtype)
    first = (gamma + u) * np.abs(wide).mean(axis=1, keepdims=True)  # the error of the first mean, which the second pass removes
    of_mean = u * np.abs(mean) + (gamma + u) * (deviation + first)
    bound = 1.1 * (inverse * of_mean + np.abs(h) * (gamma + 6 * u) + np.abs(h) * (first * inverse) ** 2 * 4 * gamma)
    assert (np.abs(kernels.layer_norm(x) - h) <= bound).all()


def test_a_row_of_one_number_is_normalised_to_nothing(dtype, instruction_set):
    for number in (0, 0.1, 1e6 / 3, -1e15 / 7):
        y = kernels.layer_norm(np.full((1, 1000), number, dtype))
        assert np.abs(y).max() <= 1e-3


# ---- special numbers -------------------------------------------------------------------------------------------------------

INFINITY = np.inf


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1e30, -1e30], [1, 0]),
        ([-1e30, -1e30, -1e30, -1e30], [0.25] * 4),
        ([0, -INFINITY], [1, 0]),
        ([INFINITY, 3], [1, 0]),
        ([INFINITY, 0, INFINITY], [0.5, 0, 0.5]),
        ([-INFINITY, -INFINITY], [0.5, 0.5]),
        ([INFINITY, -INFINITY], [1, 0]),
        ([5], [1]),
        ([3e38, -3e38], [1, 0]),
    ],
    ids=str,
)
def test_softmax_of_extreme_numbers_is_the_limit(x, y, dtype, instruction_set):
    wide = np.array(x * 1 + [-INFINITY] * 40, dtype)
    if set(x) == {-INFINITY}:
        wide = np.array(x, dtype)
    for array in (np.array(x, dtype), wide):
        got = kernels.softmax(array)
        assert got.tolist()[: len(y)] == y
        assert not got[len(y) :].any()
        with np.errstate(divide="ignore"):
            logarithm, wanted = kernels.log_softmax(array)[: len(y)], np.log(np.array(y, dtype))
        if abs(np.array(x)).max() < 1e39 and 0 in y:
            with np.errstate(over="ignore"):
                assert logarithm[y.index(0)] == np.dtype(dtype).type(min(x)) - np.dtype(dtype).type(max(x))
        else:
            np.testing.assert_allclose(logarithm, wanted, rtol=4 * unit(dtype))


def test_a_nan_fills_its_row_and_no_other(dtype, instruction_set):
    for columns, at in itertools.product((1, 5, 16, 33), (0, -1)):
        x = values((3, columns), dtype)
        x[1, at] = np.nan
        for function in (kernels.softmax, kernels.log_softmax, kernels.layer_norm):
            y = function(x)
            assert np.isnan(y[1]).all()
            assert np.isfinite(y[[0, 2]]).all()
        all_low = np.full((1, columns), -np.inf, dtype)
        all_low[0, at] = np.nan
        assert np.isnan(kernels.softmax(all_low)).all()


# ---- dropout ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        (0, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (2**128 - 1, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (0x03707344_13198A2E_85A308D3_243F6A88, 0x299F31D0_A4093822, "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_the_generator_gives_the_words_that_its_authors_publish(counter, key, words):
    # kat_vectors of Random123 1.14
    got = reference._philox(key, counter >> 64, np.array([counter % 2**64], np.uint64))
    assert " ".join(f"{word:08x}" for word in got[0]) == words


@pytest.mark.parametrize("first_row", [0, 1, 3, 2**40])
@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.25, 0.5, 0.9999])
def test_dropout_draws_what_the_reference_draws(rate, first_row, dtype, instruction_set):
    for shape, seed, step in [
        ((7, 33), 0, 0),
        ((130, 64), 2**64 - 1, 2**33 + 1),
        ((1, 1), 3, 2**64 - 1),
        ((200,), 12345678901234567, 5),
    ]:
        x = values(shape, dtype)
        assert same_bits(kernels.dropout(x, rate, seed, step, first_row), reference.dropout(x, rate, seed, step, first_row))


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 80), st.integers(0, 2**64 - 1))
def test_parts_of_a_batch_are_dropped_as_the_whole_is(first, rows, columns, seed):
    x = values((first + rows, columns), "float32")
    whole = kernels.dropout(x, 0.4, seed, 3)
    assert same_bits(kernels.dropout(x[first:], 0.4, seed, 3, first_row=first), whole[first:])
    assert same_bits(kernels.dropout(x[:first], 0.4, seed, 3), whole[:first])


def test_dropped_numbers_are_as_many_as_they_should_be_and_independent():
    n, rate = 2**20, 0.3
    kept = kernels.dropout(np.ones((1024, 1024), "float32"), rate, 1) != 0
    sigma = (rate * (1 - rate) / n) ** 0.5
    assert abs(kept.mean() - (1 - rate)) < 5 * sigma
    others = [
        np.roll(kept, 1, axis=1),
        np.roll(kept, 16, axis=1),
        np.roll(kept, 1, axis=0),
        kernels.dropout(np.ones((1024, 1024), "float32"), rate, 1, 1) != 0,
        kernels.dropout(np.ones((1024, 1024), "float32"), rate, 2) != 0,
    ]
    for other in others:
        both = (1 - rate) ** 2
        assert abs((kept & other).mean() - both) < 5 * (both * (1 - both) / n) ** 0.5
    assert set(np.unique(kernels.dropout(np.ones(1000), rate, 1))) == {0, 1 / (1 - rate)}


def test_what_is_dropped_is_zero_even_if_it_is_nan(dtype, instruction_set):
    y = kernels.dropout(np.full(100, np.nan, dtype), 0.5, 1)
    assert ((y == 0) == (kernels.dropout(np.ones(100, dtype), 0.5, 1) == 0)).all()


# ---- what is refused -------------------------------------------------------------------------------------------------------

TWO, ONE = np.ones((2, 3)), np.ones(3)

BAD_CALLS = [
    ("softmax", (np.ones((1, 2, 3)),), ValueError, r"x has shape \(1, 2, 3\)"),
    ("softmax", (np.array(1.0),), ValueError, r"x has shape \(\)"),
    ("log_softmax", (np.ones(3, complex),), TypeError, "x has dtype complex128"),
    ("softmax_gradient", (TWO, ONE), ValueError, r"y has shape \(2, 3\), y_gradient has shape \(3,\)"),
    ("log_softmax_gradient", (TWO, np.array(["a"])), TypeError, "y_gradient has dtype"),
    ("layer_norm", (TWO, np.ones(2)), ValueError, r"scale has shape \(2,\), wanted \(3,\)"),
    ("layer_norm", (TWO, None, np.ones((1, 3))), ValueError, r"bias has shape \(1, 3\)"),
    ("layer_norm", (TWO, None, None, 0.0), ValueError, "epsilon is 0.0, wanted a number above 0"),
    ("layer_norm", (TWO, None, None, "1"), TypeError, "epsilon is '1'"),
    ("layer_norm", (TWO, None, None, np.nan), ValueError, "epsilon is nan"),
    ("layer_norm", (TWO, None, None, float("inf")), ValueError, "epsilon is inf"),
    ("layer_norm", (TWO, None, None, 1.0, None, np.empty((2, 3))), ValueError, r"statistics has shape \(2, 3\), wanted \(2, 2\)"),
    ("layer_norm", (TWO, None, None, 1.0, None, [1, 2]), TypeError, "statistics is a list"),
    ("layer_norm_gradient", (TWO, np.ones(2), TWO), ValueError, r"statistics has shape \(2,\), wanted \(2, 2\)"),
    ("layer_norm_gradient", (TWO, np.ones((2, 2)), ONE), ValueError, "must be the same"),
    ("layer_norm_gradient", (TWO, np.ones((2, 2)), TWO, np.ones(4)), ValueError, r"scale has shape \(4,\)"),
    ("layer_norm_scale_gradient", (TWO, np.ones((3, 2)), TWO), ValueError, r"statistics has shape \(3, 2\)"),
    ("standardize", (TWO, ONE, np.ones(2)), ValueError, r"deviation has shape \(2,\)"),
    ("standardize", (TWO, np.ones(2), ONE), ValueError, r"mean has shape \(2,\)"),
    ("dropout", (TWO, 1.0, 1), ValueError, "rate is 1.0, wanted a number from 0 up and below 1"),
    ("dropout", (TWO, -0.1, 1), ValueError, "rate is -0.1"),
    ("dropout", (TWO, np.nan, 1), ValueError, "rate is nan"),
    ("dropout", (TWO, "0.5", 1), TypeError, "rate is '0.5'"),
    ("dropout", (TWO, 0.5, -1), ValueError, "seed is -1"),
    ("dropout", (TWO, 0.5, 2**64), ValueError, "seed is 18446744073709551616"),
    ("dropout", (TWO, 0.5, "1"), TypeError, "seed is '1'"),
    ("dropout", (TWO, 0.5, 1, 1.5), TypeError, "step is 1.5"),
    ("dropout", (TWO, 0.5, 1, 1, True), TypeError, "first_row is True"),
    ("dropout", (np.ones((1, 1, 1)), 0.5, 1), ValueError, r"x has shape \(1, 1, 1\)"),
]


@pytest.mark.parametrize("case", BAD_CALLS, ids=lambda case: f"{case[0]}-{case[3]}")
def test_what_does_not_fit_is_refused_and_the_message_says_why(case):
    name, arguments, error, message = case
    with pytest.raises(error, match=f"^{name}: .*{message}"):
        run(name, arguments)


@pytest.mark.parametrize("name", sorted({name for name, _ in calls((2, 3), "float64")}))
def test_an_out_that_does_not_fit_is_refused_and_not_written_to(name):
    arguments = dict(calls((2, 3), "float64"))[name]
    result = run(name, arguments)
    read_only = np.zeros_like(result)
    read_only.flags.writeable = False
    for out, error in [
        (np.zeros(result.shape, "f4"), TypeError),
        (np.zeros(result.size + 1), ValueError),
        (read_only, ValueError),
        ([], TypeError),
    ]:
        before = np.asarray(out).tobytes()
        with pytest.raises(error, match=f"^{name}: out "):
            run(name, arguments, out=out)
        assert np.asarray(out).tobytes() == before


def test_integers_and_lists_are_converted():
    assert kernels.softmax([[0, 0]]).tolist() == [[0.5, 0.5]]
    assert kernels.layer_norm([1, 3], epsilon=1e-30).tolist() == [-1, 1]
    assert kernels.standardize([[3]], [1], [2]).tolist() == [[1]]
    assert kernels.dropout([1, 2], 0, 1).tolist() == [1, 2]
    assert kernels.softmax(np.zeros((2, 2), ">f4")).dtype == "float32"


# ---- layers ------------------------------------------------------------------------------------------------------------------

LAYERS = {
    "softmax": lambda: pynn.Softmax(),
    "log_softmax": lambda: pynn.LogSoftmax(),
    "layer_norm": lambda: pynn.LayerNorm(6),
    "layer_norm, bare": lambda: pynn.LayerNorm(6, scale=False, bias=False),
    "layer_norm, scale": lambda: pynn.LayerNorm(6, epsilon=0.1, bias=False),
    "layer_norm, bias": lambda: pynn.LayerNorm(6, scale=False),
    "dropout": lambda: pynn.Dropout(0.4, seed=3),
    "standardize": lambda: pynn.Standardize(6).fit(values((9, 6), "float64", 7)),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]()


@pytest.mark.parametrize("shape", [(6,), (5, 6)], ids=str)
def test_gradients_are_those_of_central_differences(layer, shape):
    net = pynn.Network([layer], dtype="float64")
    net.parameters = values(net.parameters.shape, "float64", 3) + 2
    x, weights = values(shape, "float64", 1), values(shape, "float64", 2)

    def cost():
        if isinstance(layer, pynn.Dropout):
            layer.step = 5
        return float((layer.forward(x) * weights).sum())

    cost()
    gradient = layer.backward(weights)
    parameters = net.gradients.copy()
    for array, got in ((x, gradient), (net.parameters, parameters)):
        for at in np.ndindex(array.shape):
            before, step = array[at], 1e-5
            array[at] = before + step
            above = cost()
            array[at] = before - step
            difference = (above - cost()) / (2 * step)
            array[at] = before
            assert got[at] == pytest.approx(difference, rel=1e-6, abs=1e-8)


def test_layers_keep_shape_and_dtype_and_infer_keeps_nothing(layer, dtype):
    net = pynn.Network([layer], dtype=dtype)
    x = values((4, 6), dtype)
    y = net.forward(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    state = pickle.dumps(layer)
    kept = layer._kept
    inferred = layer.infer(values((9, 6), dtype, 5))
    assert inferred.shape == (9, 6)
    assert layer._kept is kept
    assert pickle.dumps(layer) == state
    if not isinstance(layer, pynn.Dropout):
        assert same_bits(layer.infer(x), y)
    assert layer.backward(y).shape == x.shape


def test_layers_pickle_and_copy_with_all_that_counts(layer, dtype):
    x = values((4, 6), dtype)
    net = pynn.Network([layer], dtype=dtype)
    net.parameters = values(net.parameters.shape, dtype, 3)
    net.forward(x)
    others = [pickle.loads(pickle.dumps(net)), copy.copy(net), copy.deepcopy(net)]
    wanted = net.forward(x)
    for other in others:
        assert repr(other.layers[0]) == repr(layer)
        assert same_bits(other.parameters, net.parameters)
        with pytest.raises(RuntimeError, match="backward before forward"):
            other.layers[0].backward(x)
        assert same_bits(other.forward(x), wanted)
    alone = pickle.loads(pickle.dumps(layer))
    assert same_bits(alone.infer(x), layer.infer(x))


def test_backward_refuses_what_is_not_of_forward(layer):
    with pytest.raises(RuntimeError, match="backward before forward"):
        layer.backward(np.ones((2, 6)))
    layer.forward(np.ones((2, 6)))
    with pytest.raises(ValueError, match=r"y_gradient has shape \(6,\), wanted \(2, 6\), as forward gave"):
        layer.backward(np.ones(6))
    with pytest.raises(TypeError, match="y_gradient has dtype"):
        layer.backward(np.ones((2, 6), complex))


def test_layers_refuse_what_does_not_fit(layer):
    for bad in (np.ones((1, 2, 6)), np.array(1.0)):
        for function in (layer.forward, layer.infer):
            with pytest.raises(ValueError, match="x has"):
                function(bad)
    if layer.in_features:
        with pytest.raises(ValueError, match="x has 5 features, the layer takes 6"):
            layer.forward(np.ones((2, 5)))
        with pytest.raises(ValueError, match="takes 6 features, but"):
            pynn.Network([pynn.Dense(3, 5), layer])


def test_a_network_of_such_layers_learns(dtype):
    x = 1000 + 50 * values((200, 4), dtype)
    y = np.tanh((x[:, :1] - 1000) / 25)
    layers = [
        pynn.Standardize(4).fit(x),
        pynn.Dense(4, 32),
        pynn.LayerNorm(32),
        pynn.Tanh(),
        pynn.Dropout(0.1),
        pynn.Dense(32, 1),
    ]
    net = pynn.Network(layers, optimizer=pynn.SGD(0.1), dtype=dtype, seed=1)
    assert net.fit(x, y, epochs=60).cost[-1] < 0.03
    assert net.layers[4].step == 60 * 7
    assert abs(net.layers[2].scale - 1).max() > 1e-3


def test_training_of_such_layers_gives_the_same_bits_everywhere():
    x, y = values((70, 5), "float32", 1), np.eye(3, dtype="float32")[np.arange(70) % 3]
    seen = set()
    for instruction_set, number in itertools.product(INSTRUCTION_SETS, (1, 2)):
        with using(instruction_set), threads(number):
            layers = [pynn.Dense(5, 40), pynn.LayerNorm(40), pynn.Dropout(0.3), pynn.ReLU(), pynn.Dense(40, 3), pynn.Softmax()]
            net = pynn.Network(layers, seed=7)
            net.fit(x, y, epochs=3)
            seen.add(digest(net.parameters))
    assert len(seen) == 1


# ---- LayerNorm


def test_layer_norm_has_parameters_before_a_network_takes_it():
    layer = pynn.LayerNorm(3)
    layer.scale = [1, 2, 3]
    assert layer.scale.dtype == "float32"
    net = pynn.Network([layer], dtype="float64")
    assert net.parameters.tolist() == [1, 2, 3, 0, 0, 0]
    layer.bias = 5
    assert net.parameters[3:].tolist() == [5, 5, 5]
    bare = pynn.LayerNorm(3, scale=False, bias=False)
    assert bare.scale is bare.bias is bare.bias_gradient is None
    with pytest.raises(ValueError, match="has no scale"):
        bare.scale = 1
    with pytest.raises(AttributeError, match="no_such"):
        _ = bare.no_such


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: pynn.LayerNorm(0), ValueError, "LayerNorm: features is 0"),
        (lambda: pynn.LayerNorm(2.0), TypeError, "LayerNorm: features is 2.0"),
        (lambda: pynn.LayerNorm(2, 0), ValueError, "LayerNorm: epsilon is 0"),
        (lambda: pynn.LayerNorm(2, "1"), TypeError, "LayerNorm: epsilon is '1'"),
        (lambda: pynn.LayerNorm(2, scale=1), TypeError, "LayerNorm: scale is 1"),
        (lambda: pynn.Dropout(1), ValueError, "Dropout: rate is 1"),
        (lambda: pynn.Dropout("half"), TypeError, "Dropout: rate is 'half'"),
        (lambda: pynn.Dropout(0.5, seed=-1), ValueError, "Dropout: seed is -1"),
        (lambda: pynn.Dropout(0.5, seed=0.5), TypeError, "Dropout: seed is 0.5"),
        (lambda: pynn.Standardize(True), TypeError, "Standardize: features is True"),
        (lambda: pynn.Standardize(1, mean=[0]), TypeError, "go together"),
        (lambda: pynn.Standardize(1, [0, 1], [1]), ValueError, r"mean has shape \(2,\)"),
        (lambda: pynn.Standardize(1, [0], [0]), ValueError, "not above 0"),
        (lambda: pynn.Standardize(1, [np.nan], [1]), ValueError, "mean has elements that are not finite"),
        (lambda: pynn.Standardize(2).forward(np.ones(2)), RuntimeError, r"Standardize\(2\): fit\(x\) before use"),
        (lambda: pynn.Standardize(2).fit(np.ones(2)), ValueError, r"x has shape \(2,\), wanted \(samples, 2\)"),
        (lambda: pynn.Standardize(2).fit(np.ones((0, 2))), ValueError, r"x has shape \(0, 2\)"),
        (lambda: pynn.Standardize(2).fit(np.ones((3, 1))), ValueError, "x has 1 features"),
        (lambda: pynn.Standardize(2).fit([[1, 2], [3, np.nan]]), ValueError, "NaN or infinity in feature 1"),
        (lambda: pynn.Standardize(2).fit([[np.inf, 2], [3, 4]]), ValueError, "NaN or infinity in feature 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---- Dropout


def test_dropout_draws_its_seed_from_the_network():
    def net(seed):
        return pynn.Network([pynn.Dense(3, 50), pynn.Dropout(0.5), pynn.Dropout(0.5)], seed=seed)

    one, same, other = net(1), net(1), net(2)
    assert one.layers[1].seed == same.layers[1].seed
    assert len({one.layers[1].seed, one.layers[2].seed, other.layers[1].seed}) == 3
    assert same_bits(one.forward(np.ones(3)), same.forward(np.ones(3)))
    # and draws after the weights: those are what they are without it
    assert same_bits(one.parameters, pynn.Network([pynn.Dense(3, 50)], seed=1).parameters)
    assert pynn.Network([pynn.Dropout(0.5, seed=9)], seed=1).layers[0].seed == 9
    assert pynn.Dropout(0.5).forward(np.ones(2)).shape == (2,)  # on its own, any seed


def test_dropout_drops_the_same_going_back_and_others_in_the_next_step(dtype):
    layer, x = pynn.Dropout(0.5, seed=1), np.ones((20, 30), dtype)
    first = layer.forward(x)
    assert same_bits(layer.backward(x), first)
    assert layer.step == 1
    second = layer.forward(x)
    assert not same_bits(first, second)
    layer.step = 0
    assert same_bits(layer.forward(x), first)


def test_predictions_drop_nothing_and_count_no_step(dtype):
    dense = pynn.Dense(3, 50)
    net = pynn.Network([dense, pynn.Dropout(0.5)], dtype=dtype, seed=1)
    x = values((9, 3), dtype)
    wanted = kernels.affine(dense.weight, x, dense.bias)
    assert same_bits(net.predict(x), wanted)
    assert net.evaluate(x, wanted) == 0
    assert net.layers[1].step == 0
    assert not same_bits(net.forward(x), wanted)
    assert net.layers[1].step == 1


# ---- Standardize


def exact_mean_and_variance(column):
    numbers = [Fraction(float(each)) for each in column]
    mean = sum(numbers) / len(numbers)
    return mean, sum((each - mean) ** 2 for each in numbers) / len(numbers)


def test_fit_is_exact_to_the_last_digits():
    random = np.random.Generator(np.random.PCG64(5))
    columns = [
        random.random(3000),
        1e9 + random.random(3000),
        1e-200 * random.random(3000),
        1e200 * (random.random(3000) - 0.5),
        1e308 * (2 * random.random(3000) - 1),
        np.where(np.arange(3000) == 7, 1e8, 1.0),
        5e-324 * random.integers(0, 1000, 3000),
    ]
    layer = pynn.Standardize(len(columns)).fit(np.stack(columns, axis=1))
    for i, column in enumerate(columns):
        mean, variance = exact_mean_and_variance(column)
        scale = max(abs(column))
        assert abs(Fraction(float(layer.mean[i])) - mean) <= Fraction(float(scale)) * Fraction(2) ** -52 + Fraction(5e-324), i
        deviation = mpmath.sqrt(mpmath.mpf(variance.numerator) / variance.denominator)
        assert abs(mpmath.mpf(float(layer.deviation[i])) - deviation) <= deviation * 3000 * 2.0**-53 + 5e-324, i


def test_fit_of_constants_gives_their_value_and_one():
    layer = pynn.Standardize(4).fit(np.tile([0.1, -1e300, 0, 1e6 / 3], (1000, 1)))
    assert layer.mean.tolist() == [0.1, -1e300, 0, 1e6 / 3]
    assert layer.deviation.tolist() == [1] * 4


def test_standardize_takes_a_sample_alone_but_fits_to_no_less_than_a_batch(dtype):
    x = values((5, 3), dtype, 1)
    layer = pynn.Standardize(3)
    with pytest.raises(ValueError, match=r"^Standardize\(3\): x has shape \(3,\), wanted \(samples, 3\) .* forward takes one$"):
        layer.fit(x[0])
    layer.fit(x)
    for function in (layer.infer, layer.forward, layer.inverse):
        assert same_bits(function(x[0]), function(x)[0])
    whole = (layer.forward(x), layer.backward(x))[1]
    assert same_bits((layer.forward(x[0]), layer.backward(x[0]))[1], whole[0])


def test_fit_that_fails_changes_nothing():
    layer = pynn.Standardize(1, mean=[1], deviation=[2])
    with pytest.raises(ValueError, match="NaN"):
        layer.fit([[np.nan]])
    assert (layer.mean, layer.deviation) == (1, 2)


def test_fit_gives_the_same_bits_on_every_instruction_set_and_in_any_memory():
    x = 3 * values((5000, 300), "float32") + 7  # more rows than a block has
    seen = set()
    for instruction_set, number in itertools.product(INSTRUCTION_SETS, (1, 2)):
        with using(instruction_set), threads(number):
            for each in (x, np.asfortranarray(x), x.astype("float64")):
                layer = pynn.Standardize(300).fit(each)
                seen.add(digest(layer.mean, layer.deviation))
    assert len(seen) == 1


def test_what_is_standardized_has_mean_zero_and_deviation_one_and_comes_back(dtype):
    x = (100 + 3 * values((1000, 5), dtype)).astype(dtype)
    layer = pynn.Standardize(5).fit(x)
    y = layer.infer(x)
    assert y.dtype == dtype
    assert np.abs(y.mean(axis=0)).max() < 1e-4
    assert np.abs(y.std(axis=0) - 1).max() < 1e-4
    np.testing.assert_allclose(layer.inverse(y), x, rtol=4 * unit(dtype))


# ---- beside another library ---------------------------------------------------------------------------------------------------


def test_results_are_those_of_torch(dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed, whose results these are compared with")
    x, g = 5 * values((40, 50), dtype, 1), values((40, 50), dtype, 2)
    scale, bias = values(50, dtype, 3), values(50, dtype, 4)
    a = torch.from_numpy(x).requires_grad_()
    w, b = (torch.from_numpy(each).requires_grad_() for each in (scale, bias))
    layer_norm = pynn.LayerNorm(50)
    pynn.Network([layer_norm], dtype=dtype)
    layer_norm.scale, layer_norm.bias = scale, bias
    theirs = {
        "softmax": (pynn.Softmax(), torch.softmax(a, -1)),
        "log_softmax": (pynn.LogSoftmax(), torch.log_softmax(a, -1)),
        "layer_norm": (layer_norm, torch.nn.functional.layer_norm(a, (50,), w, b)),
    }
    near = {"rtol": 50 * unit(dtype), "atol": 50 * unit(dtype)}
    for name, (layer, y) in theirs.items():
        np.testing.assert_allclose(layer.forward(x), y.detach().numpy(), **near, err_msg=name)
        a.grad = None
        y.backward(torch.from_numpy(g))
        np.testing.assert_allclose(layer.backward(g), a.grad.numpy(), **near, err_msg=name)
    np.testing.assert_allclose(layer_norm.scale_gradient, w.grad.numpy(), rtol=200 * unit(dtype), atol=200 * unit(dtype))
    np.testing.assert_allclose(layer_norm.bias_gradient, b.grad.numpy(), rtol=200 * unit(dtype), atol=200 * unit(dtype))


def test_numbers_assigned_to_layers_hold_in_a_network():
    x = values((5, 3), "float32", 1)
    net = pynn.Network([pynn.Standardize(3).fit(x), pynn.LayerNorm(3)], seed=0)
    net.layers[0].mean, net.layers[0].deviation, net.layers[1].epsilon = [1, 2, 3], [4, 5, 6], 0.5
    assert same_bits(net.predict(x), net.forward(x))
    for name, value, message in (("mean", [1], "shape"), ("deviation", [1, 0, 1], "above 0"), ("mean", [np.nan] * 3, "finite")):
        with pytest.raises(ValueError, match=message):
            setattr(net.layers[0], name, value)
    with pytest.raises(ValueError, match="epsilon is 0"):
        net.layers[1].epsilon = 0
    with pytest.raises(ValueError, match="read-only"):
        net.layers[0].mean[0] = 7
    assert same_bits(net.predict(x), net.forward(x))


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_step_that_is_interrupted_does_not_count_in_dropout(where):
    class Interrupted:
        calls = 0

        def forward(self, x):
            return self.backward(x) if where == "forward" else x

        def backward(self, x):
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            return x

    x = values((8, 4), "float32", 1)
    own = Interrupted()
    nets = [
        pynn.Network([pynn.Dense(4, 4), pynn.Dropout(0.5), each, pynn.Dense(4, 4)], optimizer=pynn.Adam(), seed=0)
        for each in (own, pynn.Identity())
    ]
    with pytest.raises(KeyboardInterrupt):
        nets[0].fit(x, x, epochs=9, shuffle=False)
    own.calls = 100
    for steps, net in zip((2, 4), nets, strict=True):
        for _ in range(steps):
            net.train_step(x, x)
    if where == "backward":
        assert nets[0].layers[1].step == 4
        assert same_bits(nets[0].parameters, nets[1].parameters)
    else:
        assert nets[0].layers[1].step == nets[0].optimizer.steps
