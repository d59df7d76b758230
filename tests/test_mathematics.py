"""docs/mathematics.md, equation by equation: what the text derives is what pynn computes.

Most numbers here are small whole numbers or fractions of powers of two, for which nothing is rounded: a result is then right
or wrong, with no tolerance to hide in. Where a function is not exact, mpmath or a difference quotient judges it.
"""

import runpy
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest

import pynn
from pynn import kernels

EXAMPLE = Path(__file__).parent.parent / "examples" / "example_network.py"

both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Sums of 32 terms and more, and outputs beyond a vector's width, are computed in other ways than short ones
sizes = pytest.mark.parametrize(("out", "inputs"), [(1, 1), (2, 3), (3, 2), (5, 40), (40, 5), (67, 67)])
batches = pytest.mark.parametrize("samples", [1, 2, 7, 33])


def whole(shape, dtype, seed):
    """Whole numbers from -4 to 4, of which sums and products are exact."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def exactly(result, expected, dtype):
    """The same dtype and the same values, bit for bit."""
    assert result.dtype == dtype
    assert result.shape == np.shape(expected)
    assert np.array_equal(result, expected)


# ---- 1. indexing --------------------------------------------------------------------------------------------------------


@both_dtypes
@sizes
def test_w_mn_connects_input_n_to_output_m(dtype, out, inputs):
    """Equation (1)."""
    x = whole(inputs, dtype, 0)
    layer = pynn.Dense(inputs, out)
    layer.weight = np.zeros((out, inputs))
    for m in range(0, out, 3):
        for n in range(0, inputs, 3):
            layer.weight[m, n] = 1
            assert layer.forward(x).tolist() == [float(x[n]) if row == m else 0 for row in range(out)]
            layer.weight[m, n] = 0


def test_outputs_of_a_layer_are_inputs_of_the_next():
    """Equation (2)."""
    first, second = pynn.Dense(3, 4), pynn.Tanh()
    net = pynn.Network([first, second], dtype="float64", seed=0)
    x = np.array([0.5, -1.0, 2.0])
    assert np.array_equal(net.forward(x), second.forward(first.forward(x)))
    assert np.array_equal(net.predict(x), second.forward(first.forward(x)))


# ---- 2. forward pass ----------------------------------------------------------------------------------------------------


@both_dtypes
@sizes
def test_an_output_is_the_weighted_sum_of_all_inputs_plus_its_bias(dtype, out, inputs):
    """Equation (3), term by term."""
    weight, x, bias = whole((out, inputs), dtype, 1), whole(inputs, dtype, 2), whole(out, dtype, 3)
    expected = []
    for m in range(out):
        y = bias[m]
        for n in range(inputs):
            y += weight[m, n] * x[n]
        expected.append(y)
    exactly(kernels.affine(weight, x, bias), expected, dtype)


@both_dtypes
@sizes
@batches
def test_affine_is_the_matrix_product(dtype, out, inputs, samples):
    """Equation (4), and its rows one by one."""
    weight, x, bias = whole((out, inputs), dtype, 1), whole((samples, inputs), dtype, 2), whole(out, dtype, 3)
    exactly(kernels.affine(weight, x, bias), (weight @ x.T + bias[:, None]).T, dtype)
    exactly(kernels.affine(weight, x), (weight @ x.T).T, dtype)


@both_dtypes
def test_affine_of_any_numbers_is_right_to_the_rounding_of_its_sum(dtype):
    rng = np.random.default_rng(4)
    weight, x, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((9, 100), 100, 9))
    for y, w, b in zip(kernels.affine(weight, x, bias), weight, bias, strict=True):
        terms = [Fraction(float(b)), *(Fraction(float(p)) * Fraction(float(q)) for p, q in zip(w, x, strict=True))]
        error = abs(Fraction(float(y)) - sum(terms))
        assert error <= Fraction(float(np.finfo(dtype).eps)) * len(terms) * sum(map(abs, terms))


# ---- 3. activation layers -----------------------------------------------------------------------------------------------

# What the mathematics derives, once more and in another library's words; all activations are held to the formulas in their list
# by tests/test_activations.py.
SELU_SCALE, SELU_ALPHA = mpmath.mpf(1.0507009873554805), mpmath.mpf(1.6732632423543772)
FUNCTIONS = {
    "relu": lambda x: max(mpmath.mpf(0), x),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "arctan": mpmath.atan,
    "tanh": mpmath.tanh,
    "identity": lambda x: x,
    "leaky_relu": lambda x: x if x > 0 else mpmath.mpf(kernels.ACTIVATIONS["leaky_relu"].default) * x,
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "selu": lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * mpmath.expm1(x)),
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "gelu_tanh": lambda x: x / (1 + mpmath.exp(-2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf(0.044715) * x**3))),
    "hard_sigmoid": lambda x: min(max(x / 6 + mpmath.mpf(1) / 2, mpmath.mpf(0)), mpmath.mpf(1)),
    "hard_tanh": lambda x: min(max(x, mpmath.mpf(-1)), mpmath.mpf(1)),
    "mish": lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x))),
}
KINKS = {"hard_sigmoid": [-3, 3], "hard_tanh": [-1, 1]}  # without a derivative
POINTS = [-40, -17.5, -3, -1, -0.7, -0.01, -1e-6, 1e-6, 0.01, 0.3, 1, 2.5, 5, 20, 40]


def units_off(result, exact):
    """The distance to the exact value in units in the last place of the nearest number."""
    return float(abs(mpmath.mpf(float(result)) - exact) / mpmath.mpf(float(np.spacing(np.abs(result.dtype.type(exact))))))


@both_dtypes
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_activation_is_its_function_to_one_unit_in_the_last_place(name, dtype):
    """Equation (5), (6), (7)."""
    x = np.array(POINTS, dtype)
    with mpmath.workdps(60):
        for given, y in zip(x, kernels.activation(name, x), strict=True):
            if name == "leaky_relu" and given < 0:  # the slope is rounded to the dtype
                assert y == given * np.dtype(dtype).type(kernels.ACTIVATIONS[name].default)
            else:
                assert units_off(y, FUNCTIONS[name](mpmath.mpf(float(given)))) <= 1


def test_an_activation_acts_on_each_element_alone():
    """Equation (8)."""
    x = np.random.default_rng(5).standard_normal((7, 33))
    for name in kernels.ACTIVATIONS:
        y = kernels.activation(name, x)
        for i, j in np.ndindex(x.shape):
            assert y[i, j] == kernels.activation(name, x[i, j : j + 1])[0]


def test_dense_layers_alone_make_one_affine_function():
    """Equation (9): why layers that are not linear stand between them."""
    first, second = pynn.Dense(5, 7), pynn.Dense(7, 3)
    net = pynn.Network([first, second], dtype="float64", seed=0)
    first.weight, first.bias, second.weight, second.bias = (
        whole(shape, "float64", seed) for seed, shape in enumerate([(7, 5), 7, (3, 7), 3])
    )
    x = whole((10, 5), "float64", 9)
    one = kernels.affine(second.weight @ first.weight, x, second.weight @ first.bias + second.bias)
    exactly(net.predict(x), one, "float64")


# ---- 4. cost ------------------------------------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_the_cost_is_the_mean_of_squared_differences(dtype, n):
    """Equation (10)."""
    y, target = whole(n, dtype, 6), whole(n, dtype, 7)
    assert kernels.mean_squared_error(y, target) == sum((int(t) - int(p)) ** 2 for p, t in zip(y, target, strict=True)) / n


@both_dtypes
@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_the_gradient_of_the_cost_has_the_n_of_the_cost(dtype, n):
    """Equation (11): 2/n, and 2 where there is one output."""
    y, target = whole(n, dtype, 6), whole(n, dtype, 7)
    exactly(kernels.mean_squared_error_gradient(y, target), [2 / n * (p - t) for p, t in zip(y, target, strict=True)], dtype)


def test_the_gradient_of_the_cost_is_its_difference_quotient():
    """Equation (11). A central difference of a square is exact, so its only error would be rounding, of which there is none."""
    y, target = whole((2, 4), "float64", 6), whole((2, 4), "float64", 7)
    gradient = kernels.mean_squared_error_gradient(y, target)
    for i in np.ndindex(y.shape):
        step = np.zeros_like(y)
        step[i] = 0.5
        assert gradient[i] == kernels.mean_squared_error(y + step, target) - kernels.mean_squared_error(y - step, target)


# ---- 5. backpropagation through a dense layer ---------------------------------------------------------------------------


@both_dtypes
@sizes
def test_the_gradient_of_a_weight_is_its_outputs_gradient_times_its_input(dtype, out, inputs):
    """Equation (12), element by element."""
    dy, x = whole(out, dtype, 1), whole(inputs, dtype, 2)
    exactly(kernels.weight_gradient(dy, x), [[dy[m] * x[n] for n in range(inputs)] for m in range(out)], dtype)


@both_dtypes
@sizes
@batches
def test_weight_gradient_is_the_outer_product_summed_over_the_batch(dtype, out, inputs, samples):
    """Equation (12)."""
    dy, x = whole((samples, out), dtype, 1), whole((samples, inputs), dtype, 2)
    exactly(kernels.weight_gradient(dy, x), sum(np.outer(dy[i], x[i]) for i in range(samples)), dtype)


@both_dtypes
@sizes
@batches
def test_bias_gradient_is_the_outputs_gradient_summed_over_the_batch(dtype, out, inputs, samples):
    """Equation (13)."""
    dy = whole((samples, out), dtype, 1)
    exactly(kernels.bias_gradient(dy[0]), dy[0], dtype)
    exactly(kernels.bias_gradient(dy), sum(dy[i] for i in range(samples)), dtype)


@both_dtypes
@sizes
def test_the_gradient_of_an_input_gathers_all_outputs_it_feeds(dtype, out, inputs):
    """Equation (14), element by element."""
    weight, dy = whole((out, inputs), dtype, 1), whole(out, dtype, 2)
    exactly(kernels.input_gradient(weight, dy), [sum(dy[m] * weight[m, n] for m in range(out)) for n in range(inputs)], dtype)


@both_dtypes
@sizes
@batches
def test_input_gradient_is_the_product_with_the_transposed_weight(dtype, out, inputs, samples):
    """Equation (14)."""
    weight, dy = whole((out, inputs), dtype, 1), whole((samples, out), dtype, 2)
    exactly(kernels.input_gradient(weight, dy), (weight.T @ dy.T).T, dtype)


@batches
def test_gradients_of_a_dense_layer_are_difference_quotients(samples):
    """Equations (12), (13), (14): C = sum of dY Y is linear in W, B and X, so that differences are exact."""
    weight, bias, x, dy = (whole(shape, "float64", i) for i, shape in enumerate([(3, 4), 3, (samples, 4), (samples, 3)]))

    def cost():
        return (dy * kernels.affine(weight, x, bias)).sum()

    gradients = kernels.weight_gradient(dy, x), kernels.bias_gradient(dy), kernels.input_gradient(weight, dy)
    for variable, gradient in zip((weight, bias, x), gradients, strict=True):
        for i in np.ndindex(variable.shape):
            before = cost()
            variable[i] += 1
            assert gradient[i] == cost() - before
            variable[i] -= 1


@both_dtypes
def test_a_dense_layer_goes_back_by_these_three(dtype):
    layer = pynn.Dense(4, 3)
    pynn.Network([layer], dtype=dtype, seed=0)
    x, dy = whole((5, 4), dtype, 1), whole((5, 3), dtype, 2)
    layer.forward(x)
    exactly(layer.backward(dy), kernels.input_gradient(layer.weight, dy), dtype)
    exactly(layer.weight_gradient, kernels.weight_gradient(dy, x), dtype)
    exactly(layer.bias_gradient, kernels.bias_gradient(dy), dtype)


# ---- 6. backpropagation through an activation ---------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_derivative_of_an_activation_is_right_to_two_units_in_the_last_place(name, dtype):
    """Equation (15), f' for dC/dY = 1: against the derivative that mpmath finds by itself."""
    x = np.array([point for point in POINTS if point not in KINKS.get(name, [])], dtype)
    with mpmath.workdps(80):
        for given, derivative in zip(x, kernels.activation_gradient(name, x, np.ones_like(x)), strict=True):
            assert units_off(derivative, mpmath.diff(FUNCTIONS[name], mpmath.mpf(float(given)), h=mpmath.mpf(10) ** -30)) <= 2


@both_dtypes
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_of_an_activations_input_is_an_elementwise_product(name, dtype):
    """Equation (15)."""
    x, dy = np.random.default_rng(8).standard_normal((2, 5, 19)).astype(dtype)
    derivative = kernels.activation_gradient(name, x, np.ones_like(x))
    exactly(kernels.activation_gradient(name, x, dy), dy * derivative, dtype)


def test_relu_has_the_derivative_0_at_0_where_it_has_none():
    """The choice that the text leaves open."""
    assert kernels.activation_gradient("relu", np.array([-0.0, 0.0, 1e-300]), np.ones(3)).tolist() == [0, 0, 1]


def test_the_derivative_of_a_saturated_sigmoid_does_not_vanish_before_its_time():
    """s(1 - s), the textbook's form, is 0 in float32 from x = 18 on, for s is 1 there; e^-x is not."""
    x = np.array([20.0], "float32")
    s = kernels.activation("sigmoid", x)
    assert s * (1 - s) == 0
    assert kernels.activation_gradient("sigmoid", x, np.ones_like(x)) == pytest.approx(np.exp(-20.0), rel=1e-6)


# ---- 7. gradient descent ------------------------------------------------------------------------------------------------


@both_dtypes
def test_gradient_descent_moves_against_the_gradient(dtype):
    """Equation (16)."""
    theta, gradient = whole(67, dtype, 1), whole(67, dtype, 2)
    expected = theta - 0.25 * gradient
    kernels.gradient_descent(theta, gradient, 0.25)
    exactly(theta, expected, dtype)


def test_a_small_step_against_the_gradient_lowers_the_cost_by_what_the_gradient_says():
    """To first order by the learning rate times the gradient's square."""
    net = pynn.Network([pynn.Dense(4, 8), pynn.Sigmoid(), pynn.Dense(8, 3)], optimizer=pynn.SGD(1e-6), dtype="float64", seed=0)
    x, y = np.random.default_rng(1).standard_normal((20, 4)), np.random.default_rng(2).standard_normal((20, 3))
    net.backward(net.cost.gradient(net.forward(x), y))
    before = net.train_step(x, y)
    assert before - net.evaluate(x, y) == pytest.approx(1e-6 * (net.gradients**2).sum(), rel=1e-4)


# ---- 8. the example network ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def test_the_example_agrees_in_every_bit_where_nothing_is_rounded(example):
    """Equations (17) to (21)."""
    hand, engine = example["by_hand"](*example["EXACT"]), example["with_pynn"](*example["EXACT"])
    assert hand.keys() == engine.keys()
    for name in hand:
        assert np.array_equal(hand[name], engine[name]), name


def test_the_example_agrees_to_a_few_units_in_the_last_place_elsewhere(example):
    """NumPy's exponential, which serves by_hand, is itself some units off, and not the same ones on every processor."""
    hand, engine = example["by_hand"](*example["ROUNDED"]), example["with_pynn"](*example["ROUNDED"])
    for name in hand:
        assert example["units_apart"](engine[name], hand[name]) <= 8, name


def test_the_example_by_exact_arithmetic(example):
    """by_hand itself, against fractions with nothing of NumPy's: sigmoid(0) = 1/2, its derivative 1/4."""
    w0, b0, w2, b2, x0, target = ([[Fraction(v) for v in row] for row in array.tolist()] for array in example["EXACT"])

    def product(a, b):
        return [[sum(p * q for p, q in zip(row, col, strict=True)) for col in zip(*b, strict=True)] for row in a]

    def transposed(a):
        return [list(row) for row in zip(*a, strict=True)]

    assert all(y + b == 0 for (y,), (b,) in zip(product(w0, x0), b0, strict=True))
    x2 = [[Fraction(1, 2)]] * 3
    y2 = [[y + b] for (y,), (b,) in zip(product(w2, x2), b2, strict=True)]
    dy2 = [[Fraction(2, 2) * (y - t)] for (y,), (t,) in zip(y2, target, strict=True)]
    dy0 = [[d * Fraction(1, 4)] for (d,) in product(transposed(w2), dy2)]
    expected = {"dC/dW2": product(dy2, transposed(x2)), "dC/dB2": dy2, "dC/dW0": product(dy0, transposed(x0)), "dC/dB0": dy0}
    alpha = Fraction(example["ALPHA"])
    for name, old in (("W2", w2), ("B2", b2), ("W0", w0), ("B0", b0)):
        gradient = expected[f"dC/d{name}"]
        expected[name] = [[o - alpha * g for o, g in zip(*rows, strict=True)] for rows in zip(old, gradient, strict=True)]
    hand = example["by_hand"](*example["EXACT"])
    for name, value in expected.items():
        assert hand[name].tolist() == value, name


@pytest.mark.parametrize("activation", [row.class_name for row in kernels.ACTIVATIONS.values()])
def test_gradients_of_the_example_network_are_difference_quotients(activation):
    """The whole chain (17) to (20), for every parameter and a batch, whatever stands in the middle."""
    net = pynn.Network([pynn.Dense(3, 5), getattr(pynn, activation)(), pynn.Dense(5, 2)], dtype="float64", seed=1)
    x, y = np.random.default_rng(1).standard_normal((6, 3)), np.random.default_rng(2).standard_normal((6, 2))
    net.backward(net.cost.gradient(net.forward(x), y))
    gradients, parameters, h = net.gradients.copy(), net.parameters, 1e-5
    for i in range(parameters.size):
        before = parameters[i]
        parameters[i] = before + h
        above = net.evaluate(x, y)
        parameters[i] = before - h
        below = net.evaluate(x, y)
        parameters[i] = before
        assert gradients[i] == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-9)


def test_the_example_prints_both_ways(capsys):
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert capsys.readouterr().out.count("0 ulp apart") >= 9
