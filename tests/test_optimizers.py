"""pynn/optimizers.py and csrc/kernels/updates.h: gradient descent, and optimizers of one's own."""

import copy
import pickle

import numpy as np
import pytest
from support import LAYOUTS, Fenced, same_bits, unit, values

import pynn
from pynn import kernels, reference


def test_gradient_descent_agrees_with_numpy_at_every_size(instruction_set, dtype):
    for n in [*range(70), 127, 128, 129, 1000, 40001]:
        fenced = Fenced((n,), dtype)
        fenced.array[:] = values(n, dtype, 1)
        gradients, wanted = values(n, dtype, 2), values(n, dtype, 1)
        reference.gradient_descent(wanted, gradients, 0.3)
        assert kernels.gradient_descent(fenced.array, gradients, 0.3) is None
        # One rounding here, three in NumPy, one of the rate, none of which exceed u times a number below 2.
        np.testing.assert_allclose(fenced.array, wanted, rtol=0, atol=6 * unit(dtype))
        assert fenced.intact()
        assert same_bits(gradients, values(n, dtype, 2))


@pytest.mark.parametrize("layout", set(LAYOUTS) - {"byte_swapped", "read_only"})
def test_parameters_of_any_shape_and_memory_are_changed_in_place(dtype, layout):
    theta, wanted = LAYOUTS[layout](values((5, 6), dtype, 1)), values((5, 6), dtype, 1)
    kernels.gradient_descent(theta, values((5, 6), dtype, 2), 0.25)
    kernels.gradient_descent(wanted, values((5, 6), dtype, 2), 0.25)
    assert same_bits(theta.view(np.ndarray), wanted)
    cube = values((2, 3, 4), dtype)
    kernels.gradient_descent(cube[:, ::2], np.ones((2, 2, 4)), 1)
    assert same_bits(cube[:, 1], values((2, 3, 4), dtype)[:, 1])
    assert same_bits(cube[:, ::2], values((2, 3, 4), dtype)[:, ::2] - np.dtype(dtype).type(1))


def test_an_update_rounds_once(instruction_set, dtype):
    # 1 - (1 + e)(1 - e) = e^2 exactly; two roundings would give 0.
    e = 2.0 ** np.floor(np.log2(np.sqrt(unit(dtype)) / 4))
    for n in (1, 20):
        theta = np.ones(n, dtype)
        kernels.gradient_descent(theta, np.full(n, 1 + e, dtype), 1 - e)
        assert (theta == e * e).all()


def test_the_learning_rate_is_rounded_to_the_dtype(dtype):
    theta = np.zeros(3, dtype)
    kernels.gradient_descent(theta, np.ones(3, dtype), 0.1)
    assert (theta == -np.dtype(dtype).type(0.1)).all()


@pytest.mark.parametrize(
    "rate",
    [-0.1, -1e-300, float("nan"), float("inf"), -float("inf"), np.float32("nan"), 10**400],
    ids=lambda rate: repr(rate)[:9],
)
def test_a_learning_rate_that_makes_no_sense_is_a_value_error(rate):
    with pytest.raises(ValueError, match="learning_rate"):
        pynn.SGD(rate)
    optimizer = pynn.SGD(0.5)
    with pytest.raises(ValueError, match="learning_rate"):
        optimizer.learning_rate = rate
    assert optimizer.learning_rate == 0.5


@pytest.mark.parametrize("rate", ["0.1", None, [0.1], 1j, {}], ids=repr)
def test_a_learning_rate_that_is_no_number_is_a_type_error(rate):
    with pytest.raises(TypeError, match="learning_rate"):
        pynn.SGD(rate)


@pytest.mark.parametrize("rate", [0, 1, 0.25, np.float32(0.5), np.int64(2), True, 1e300])
def test_a_learning_rate_may_be_any_real_number_from_zero_up(rate):
    assert pynn.SGD(rate).learning_rate == rate
    assert type(pynn.SGD(rate).learning_rate) is float


def test_a_learning_rate_of_zero_changes_nothing(dtype):
    net = pynn.Network([pynn.Dense(3, 2)], optimizer=pynn.SGD(0), dtype=dtype, seed=0)
    before = net.parameters.copy()
    net.fit(values((20, 3), dtype), values((20, 2), dtype), epochs=3)
    assert same_bits(net.parameters, before)


def test_a_learning_rate_assigned_between_steps_is_used_by_the_next(dtype):
    one, other = (pynn.Network([pynn.Dense(3, 2)], optimizer=pynn.SGD(rate), dtype=dtype, seed=0) for rate in (0.5, 0.125))
    x, y = values((4, 3), dtype), values((4, 2), dtype)
    one.optimizer.learning_rate = 0.125
    assert one.train_step(x, y) == other.train_step(x, y)
    assert same_bits(one.parameters, other.parameters)


class Momentum:
    """An optimizer of a user's own, with state."""

    def __init__(self):
        self.velocity = 0.0

    def step(self, parameters, gradients):
        self.velocity = 0.9 * self.velocity - 0.05 * gradients
        parameters += self.velocity


def test_a_network_trains_with_an_optimizer_of_ones_own(dtype):
    net = pynn.Network([pynn.Dense(2, 4), pynn.Tanh(), pynn.Dense(4, 1)], optimizer=Momentum(), dtype=dtype, seed=0)
    x = values((40, 2), dtype)
    history = net.fit(x, x.sum(axis=1), epochs=40, batch_size=8)
    assert history.cost[-1] < history.cost[0] / 10
    assert net.optimizer.velocity.shape == net.parameters.shape


def test_it_pickles_copies_and_prints_as_the_code_that_makes_it():
    optimizer = pynn.SGD(0.1 + 0.2)
    for other in (
        pickle.loads(pickle.dumps(optimizer)),
        copy.copy(optimizer),
        copy.deepcopy(optimizer),
        eval(repr(optimizer), vars(pynn)),
    ):
        assert type(other) is pynn.SGD
        assert other is not optimizer
        assert other.learning_rate == optimizer.learning_rate


@pytest.mark.parametrize("optimizer", [pynn.SGD, pynn.RMSProp, pynn.Adagrad, pynn.Adam, pynn.AdamW, pynn.NAdam, pynn.Rprop])
@pytest.mark.parametrize("name", ["lr", "betas", "step", "_name"])
def test_an_argument_that_it_does_not_have_is_refused(optimizer, name):
    with pytest.raises(TypeError, match=f"{optimizer.__name__}: unexpected argument '{name}'"):
        optimizer(**{name: 0.5})
