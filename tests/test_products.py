"""Products of a layer (products.h, blocks.h, few_rows.h, lines.h) agree with plain NumPy at every edge of a vector or tile."""

import itertools

import numpy as np
import pytest
from support import Fenced, same_bits, sum_bound, threads, unit, values

from pynn import kernels, reference

# Around the widths of vectors (1, 2, 4, 8, 16 lanes), of tiles (3 vectors; 1, 2, 4, 8 rows), and around 32, where sums get
# four chains.
ROWS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 33]
DEPTHS = [0, 1, 2, 3, 5, 31, 32, 33, 35, 39, 46, 64]
COLUMNS = [0, 1, 2, 3, 4, 5, 8, 9, 13, 16, 17, 24, 25, 33, 48, 49, 65]

# Rows, in, out where other paths begin: operands read as a stream, packed, in parts, shared out among threads or not.
LARGE = [
    (1, 600, 520),
    (1, 64, 4500),
    (3, 4500, 64),
    (2, 33, 4500),
    (40, 300, 200),
    (40, 600, 400),
    (3, 1030, 1027),
    (8, 203, 77),
    (20, 520, 1011),
    (31, 530, 1000),
    (30, 4100, 66),
    (21, 519, 66),
    (130, 70, 300),
    (300, 520, 200),
    (73, 1100, 260),
    (199, 2603, 60),
    (33, 8300, 50),
    (257, 130, 50),
    (577, 32, 33),
    (1000, 7, 3),
    (5000, 2, 1),
]


def in_order(weight, order):
    return np.ascontiguousarray(weight) if order == "out_major" else np.asfortranarray(weight)


def check(name, inputs, shape, bound):
    """The kernel's result lies within ``bound`` of the reference's, elementwise, and nothing beside it was written."""
    out = Fenced(shape, inputs[0].dtype)
    result = getattr(kernels, name)(*inputs, out=out.array)
    wanted = getattr(reference, name)(*inputs)
    sizes = [None if each is None else each.shape for each in inputs]
    assert result is out.array
    assert out.intact(), f"{name} of {sizes} wrote outside its output"
    off = np.abs(result.astype(np.float64) - wanted)
    assert (off <= bound).all(), f"{name} of {sizes} is off by {off.max()}"  # also fails if a NaN of the fence was read


def check_affine(rows, inputs, outputs, dtype, order, bias=True):
    weight = in_order(values((outputs, inputs), dtype, 1), order)
    x = values((rows, inputs), dtype, 2)
    b = values(outputs, dtype, 3) if bias else None
    magnitude = np.abs(x).astype(np.float64) @ np.abs(weight).T + (np.abs(b) if bias else 0)
    check("affine", (weight, x, b), (rows, outputs), sum_bound(inputs, magnitude, dtype))


def check_input_gradient(rows, inputs, outputs, dtype, order):
    weight = in_order(values((outputs, inputs), dtype, 1), order)
    y_gradient = values((rows, outputs), dtype, 2)
    magnitude = np.abs(y_gradient).astype(np.float64) @ np.abs(weight)
    check("input_gradient", (weight, y_gradient), (rows, inputs), sum_bound(outputs, magnitude, dtype))


def check_weight_gradient(rows, inputs, outputs, dtype):
    y_gradient, x = values((rows, outputs), dtype, 1), values((rows, inputs), dtype, 2)
    magnitude = np.abs(y_gradient).astype(np.float64).T @ np.abs(x)
    check("weight_gradient", (y_gradient, x), (outputs, inputs), sum_bound(rows, magnitude, dtype))


def check_bias_gradient(rows, outputs, dtype):
    y_gradient = values((rows, outputs), dtype)
    check("bias_gradient", (y_gradient,), (outputs,), sum_bound(rows, np.abs(y_gradient).sum(axis=0, dtype=np.float64), dtype))


@pytest.mark.parametrize("order", ["out_major", "in_major"])
def test_affine_equals_numpy_at_every_edge(instruction_set, dtype, order):
    for rows, depth, columns in itertools.product(ROWS, DEPTHS, COLUMNS):
        check_affine(rows, depth, columns, dtype, order, bias=(rows + columns) % 3 > 0)


@pytest.mark.parametrize("order", ["out_major", "in_major"])
def test_input_gradient_equals_numpy_at_every_edge(instruction_set, dtype, order):
    for rows, depth, columns in itertools.product(ROWS, DEPTHS, COLUMNS):
        check_input_gradient(rows, columns, depth, dtype, order)


def test_weight_gradient_equals_numpy_at_every_edge(instruction_set, dtype):
    for inputs, rows, outputs in itertools.product(ROWS, DEPTHS, COLUMNS):
        check_weight_gradient(rows, inputs, outputs, dtype)


def test_bias_gradient_equals_numpy_at_every_edge(instruction_set, dtype):
    for rows, columns in itertools.product(ROWS, [*COLUMNS, 127, 128, 129, 145, 300]):
        check_bias_gradient(rows, columns, dtype)


@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_large_products_equal_numpy(instruction_set, dtype, shape):
    rows, inputs, outputs = shape
    for number in (1, 2, 5):
        with threads(number):
            for order in ("out_major", "in_major"):
                check_affine(rows, inputs, outputs, dtype, order)
                check_input_gradient(rows, inputs, outputs, dtype, order)
            check_weight_gradient(rows, inputs, outputs, dtype)
            check_bias_gradient(rows, outputs, dtype)


def test_a_share_of_one_row_has_the_scratch_it_needs(instruction_set, dtype):
    # 577 rows for 9 threads are 8 shares of 72 rows and one of a single row, which takes the path of a lone vector.
    with threads(9):
        check_affine(577, 32, 4500, dtype, "in_major")
        check_input_gradient(577, 4500, 32, dtype, "out_major")


def test_a_far_operand_is_packed_in_parts(instruction_set, dtype):
    # A panel of a B of more than 1 MiB, alone or with others, and beside it rows of an A whose steps are far apart.
    check_affine(9, 5000, 60, dtype, "in_major")
    check_affine(9, 11000, 30, dtype, "in_major")
    y_gradient, x = values((300, 600), dtype, 1)[:, :33], values((300, 1000), dtype, 2)
    magnitude = np.abs(y_gradient).astype(np.float64).T @ np.abs(x)
    for number in (1, 2):
        with threads(number):
            check("weight_gradient", (y_gradient, x), (33, 1000), sum_bound(300, magnitude, dtype))


def test_a_window_that_slides_is_read_as_it_lies(instruction_set, dtype):
    # Rows of x or dY one number apart lie both ways: along their rows and along the steps of a weight gradient.
    series, rows = values(1000, dtype, 1), values((601, 100), dtype, 2)
    window = np.lib.stride_tricks.sliding_window_view(series, 200)[:601]
    for length in (20, 300, 601):
        for y_gradient, x in [(window, rows), (rows, window), (window, window)]:
            result = kernels.weight_gradient(y_gradient[:length], x[:length])
            assert same_bits(result, kernels.weight_gradient(y_gradient[:length].copy(), x[:length].copy()))
        weight = values((70, 200), dtype, 3)
        for kernel, w in [(kernels.affine, weight), (kernels.input_gradient, weight.T)]:
            assert same_bits(kernel(w, window[:length]), kernel(w, window[:length].copy()))


def test_an_outer_product_larger_than_caches_is_written_whole(instruction_set, dtype):
    # More than 32 MiB, whose rows begin and end within lines of a cache or not, whole and in shares; and rows too narrow
    # for that path.
    x, dy = values(9000, dtype, 1), values(2100, dtype, 2)
    for outputs, inputs in [(2100, 4099), (1050, 8192), (9000, 997), (90000, 97)]:
        a, b = np.resize(dy, outputs), np.resize(x, inputs)
        wanted = np.multiply.outer(a, b) + np.zeros(1, dtype)
        for number in (1, 3):
            out = Fenced((outputs, inputs), dtype)
            with threads(number):
                kernels.weight_gradient(a, b, out=out.array)
            assert out.intact()
            assert same_bits(out.array, wanted)
    padded = np.full((2100, 4200), 7, dtype)
    kernels.weight_gradient(dy, x[:4099], out=padded[:, :4099])
    assert same_bits(padded[:, :4099], np.multiply.outer(dy, x[:4099]) + np.zeros(1, dtype))
    assert (padded[:, 4099:] == 7).all()
    weight, column = in_order(values((4099, 1), dtype, 3), "in_major"), values((2100, 1), dtype, 4)
    assert same_bits(kernels.affine(weight, column), column * weight.T + np.zeros(1, dtype))


def test_one_sample_gives_the_row_of_a_batch_of_one(instruction_set, dtype):
    weight, x, bias, dy = values((17, 40), dtype, 1), values(40, dtype, 2), values(17, dtype, 3), values(17, dtype, 4)
    assert (kernels.affine(weight, x, bias) == kernels.affine(weight, x[None], bias)[0]).all()
    assert (kernels.input_gradient(weight, dy) == kernels.input_gradient(weight, dy[None])[0]).all()
    assert (kernels.weight_gradient(dy, x) == kernels.weight_gradient(dy[None], x[None])).all()
    assert (kernels.bias_gradient(dy) == kernels.bias_gradient(dy[None])).all()


def test_a_sum_of_negative_zeros_stays_one(instruction_set, dtype):
    # Each product is too small for the dtype, and negative; a chain that has no term left takes none, not +0.
    tiny = np.finfo(dtype).smallest_subnormal
    for terms in (32, 33, 34, 35, 39, 46):
        weight = in_order(np.full((terms, 21), tiny, dtype), "in_major")
        for rows in (1, 2, 9):
            dx = kernels.input_gradient(weight, np.full((rows, terms), -tiny, dtype))
            assert same_bits(dx, np.full((rows, 21), -0.0, dtype)), terms


def test_sums_of_no_terms_are_the_bias_or_zero(instruction_set, dtype):
    bias = values(5, dtype)
    assert (kernels.affine(np.empty((5, 0), dtype), np.empty((3, 0), dtype), bias) == bias).all()
    assert kernels.affine(np.empty((5, 0), dtype), np.empty((3, 0), dtype)).tolist() == [[0] * 5] * 3
    assert kernels.weight_gradient(np.empty((0, 5), dtype), np.empty((0, 4), dtype)).tolist() == [[0] * 4] * 5
    assert kernels.bias_gradient(np.empty((0, 5), dtype)).tolist() == [0] * 5
    assert kernels.input_gradient(np.empty((0, 4), dtype), np.empty((3, 0), dtype)).tolist() == [[0] * 4] * 3


def test_a_product_is_fused_into_its_sum(instruction_set, dtype):
    # (1 + e)(1 - e) - 1 = -e^2 exactly; rounding the product first would give 0.
    e = np.sqrt(unit(dtype)) / 4
    e = 2.0 ** np.floor(np.log2(e))
    for rows in (1, 2, 9):
        x = np.full((rows, 1), 1 + e, dtype)
        assert (kernels.affine(np.array([[1 - e]], dtype), x, np.array([-1], dtype)) == -e * e).all()


def test_products_by_loops_agree_with_the_reference(dtype):
    # The reference is itself held to the sums as the mathematics writes them.
    weight, bias = values((3, 4), dtype, 1), values(3, dtype, 2)
    x, dy = values((5, 4), dtype, 3), values((5, 3), dtype, 4)
    close = {"rtol": 0, "atol": 20 * unit(dtype)}
    y = [[bias[m] + sum(weight[m, n] * x[i, n] for n in range(4)) for m in range(3)] for i in range(5)]
    dx = [[sum(weight[m, n] * dy[i, m] for m in range(3)) for n in range(4)] for i in range(5)]
    dw = [[sum(dy[i, m] * x[i, n] for i in range(5)) for n in range(4)] for m in range(3)]
    np.testing.assert_allclose(reference.affine(weight, x, bias), y, **close)
    np.testing.assert_allclose(reference.input_gradient(weight, dy), dx, **close)
    np.testing.assert_allclose(reference.weight_gradient(dy, x), dw, **close)
    np.testing.assert_allclose(reference.bias_gradient(dy), [sum(dy[i, m] for i in range(5)) for m in range(3)], **close)
    np.testing.assert_allclose(reference.weight_gradient(dy[0], x[0]), np.outer(dy[0], x[0]), **close)
    np.testing.assert_allclose(reference.bias_gradient(dy[0]), dy[0], **close)
