"""pynn/costs.py and csrc/kernels/costs.h: mean squared error, its gradient, and costs of one's own."""

import numpy as np
import pytest
from support import same_bits, threads, unit, values

import pynn
from pynn import kernels, reference


def test_mean_squared_error_is_the_mean_of_squared_errors_at_every_size(instruction_set, dtype):
    for n in [*range(70), 127, 128, 129, 1000, 40001]:
        p, t = values(n, dtype, 1), values(n, dtype, 2)
        exact = float(np.mean((p.astype(np.longdouble) - t) ** 2)) if n else 0.0
        # Differences and sum are taken in double precision for both dtypes.
        assert kernels.mean_squared_error(p, t) == pytest.approx(exact, rel=(n + 4) * unit("float64"), abs=0)
        assert reference.mean_squared_error(p, t) == pytest.approx(exact, rel=(n + 4) * unit(dtype), abs=0)


def test_its_gradient_is_two_nths_of_the_error_at_every_size(instruction_set, dtype):
    for n in [*range(70), 127, 128, 129, 1000, 40001]:
        p, t = values(n, dtype, 1), values(n, dtype, 2)
        exact = (p.astype(np.longdouble) - t) * 2 / max(1, n)
        for got in (kernels.mean_squared_error_gradient(p, t), reference.mean_squared_error_gradient(p, t)):
            np.testing.assert_allclose(got.astype(np.longdouble), exact, rtol=4 * unit(dtype), atol=0)


def test_the_mean_is_over_samples_and_outputs():
    prediction, target = np.zeros((4, 3)), np.full((4, 3), 2.0)
    assert pynn.MSE()(prediction, target) == 4
    assert pynn.MSE().gradient(prediction, target).tolist() == [[-2 * 2 / 12] * 3] * 4
    assert pynn.MSE()(prediction[0], target[0]) == 4


def test_its_gradient_is_the_slope_of_the_cost():
    cost, h = pynn.MSE(), 1e-6
    p, t = values((3, 4), "float64", 1), values((3, 4), "float64", 2)
    gradient = cost.gradient(p, t)
    for at in np.ndindex(p.shape):
        step = np.zeros_like(p)
        step[at] = h
        # The cost is quadratic, so central differences have only the rounding of two costs below 4 in them.
        assert (cost(p + step, t) - cost(p - step, t)) / (2 * h) == pytest.approx(gradient[at], abs=8 * unit("float64") / h)


def test_a_cost_is_a_python_float_and_a_gradient_has_the_dtype_of_its_arguments(dtype):
    p, t = values((3, 4), dtype, 1), values((3, 4), dtype, 2)
    assert type(pynn.MSE()(p, t)) is float
    assert pynn.MSE().gradient(p, t).dtype == dtype
    assert type(pynn.MSE()([1, 2], [3, 4])) is float
    assert pynn.MSE()([1, 2], [3, 4]) == 4


def test_a_large_error_does_not_overflow_in_float32():
    assert kernels.mean_squared_error(np.array([3e38], "float32"), np.array([-3e38], "float32")) == pytest.approx(3.6e77)


def test_any_number_of_threads_gives_the_same_cost(dtype):
    p, t = values(100_003, dtype, 1), values(100_003, dtype, 2)
    seen = set()
    for number in (1, 2, 3):
        with threads(number):
            seen.add((kernels.mean_squared_error(p, t), kernels.mean_squared_error_gradient(p, t).tobytes()))
    assert len(seen) == 1


def test_nothing_costs_nothing(dtype):
    none = np.empty((0, 3), dtype)
    assert pynn.MSE()(none, none) == 0
    assert pynn.MSE().gradient(none, none).shape == (0, 3)


def test_shapes_are_not_broadcast():
    # (5, 1) against (5,) would silently be a (5, 5) of differences.
    with pytest.raises(ValueError, match=r"\(5, 1\).*\(5,\)"):
        pynn.MSE()(np.zeros((5, 1)), np.zeros(5))
    with pytest.raises(ValueError, match=r"\(5, 1\).*\(5,\)"):
        pynn.MSE().gradient(np.zeros((5, 1)), np.zeros(5))


class AbsoluteError:
    """A cost of a user's own."""

    def __call__(self, prediction, target):
        return float(np.abs(prediction - target).mean())

    def gradient(self, prediction, target):
        return np.sign(prediction - target) / prediction.size


def test_a_network_trains_on_a_cost_of_ones_own(dtype):
    net = pynn.Network([pynn.Dense(2, 4), pynn.Tanh(), pynn.Dense(4, 1)], cost=AbsoluteError(), dtype=dtype, seed=0)
    x = values((40, 2), dtype)
    y = x.sum(axis=1, keepdims=True)
    history = net.fit(x, y, epochs=60, batch_size=4)
    assert history.cost[-1] < history.cost[0] / 2
    assert net.evaluate(x, y) == AbsoluteError()(net.predict(x), y)


def test_the_gradient_a_cost_gives_is_the_one_that_goes_back():
    class Constant:
        def __call__(self, prediction, target):
            return 0.0

        def gradient(self, prediction, target):
            return np.full_like(prediction, 3)

    net = pynn.Network([pynn.Dense(2, 2)], cost=Constant(), optimizer=pynn.SGD(1.0), dtype="float64", seed=0)
    bias = net.layers[0].bias.copy()
    net.train_step(np.ones((5, 2)), np.ones((5, 2)))
    assert same_bits(net.layers[0].bias, bias - 15)


def test_it_prints_as_the_code_that_makes_it():
    assert repr(pynn.MSE()) == "MSE()"
    assert type(eval(repr(pynn.MSE()), vars(pynn))) is pynn.MSE
