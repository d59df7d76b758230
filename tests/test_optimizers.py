"""pynn/optimizers.py, csrc/kernels/optimizers.h and updates.h: every optimizer of the list, and optimizers of one's own."""

import copy
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest
from support import INSTRUCTION_SETS, LAYOUTS, Fenced, same_bits, threads, unit, using, values

import pynn
from pynn import engine, kernels, reference


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


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"byte_swapped", "read_only"}))
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


NO_NUMBERS = [
    *("0.1", np.str_("1"), b"1", None, [0.1], {}, 1j, np.complex64(1), np.complex128(1), True, np.True_, np.array(True)),
    *(np.array([0.1]), np.array([0.1, 0.2]), np.zeros((2, 2)), np.array(None), float),
]
WANT_A_NUMBER = {
    "SGD: learning_rate": pynn.SGD,
    "SGD: momentum": lambda value: pynn.SGD(0.1, momentum=value),
    "Adam: l2": lambda value: pynn.Adam(l2=value),
    "Adam: clip_norm": lambda value: pynn.Adam(clip_norm=value),
    "NAdam: momentum_decay": lambda value: pynn.NAdam(momentum_decay=value),
    "EarlyStopping: min_delta": lambda value: pynn.EarlyStopping(min_delta=value),
    "LeakyReLU: negative_slope": lambda value: pynn.LeakyReLU(value),
    "Huber: delta": lambda value: pynn.Huber(value),
    "SoftmaxCrossEntropy: label_smoothing": pynn.SoftmaxCrossEntropy,
    "constant: value": pynn.initializers.constant,
    "LayerNorm: epsilon": lambda value: pynn.LayerNorm(2, value),
    "Dropout: rate": pynn.Dropout,
    "dropout: rate": lambda value: kernels.dropout(np.ones(2), value, 1),
    "layer_norm: epsilon": lambda value: kernels.layer_norm(np.ones(2), epsilon=value),
}


NONE_IS_A_DEFAULT = {"Adam: clip_norm", "LeakyReLU: negative_slope", "Huber: delta"}


@pytest.mark.parametrize("where", WANT_A_NUMBER)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_not_one_real_number_is_a_type_error_that_says_what_was_given_and_wanted_where(where, value):
    if value is None and where in NONE_IS_A_DEFAULT:
        WANT_A_NUMBER[where](value)
        return
    with pytest.raises(TypeError, match=f"^{where} is {re.escape(repr(value))}, wanted a number$"):
        WANT_A_NUMBER[where](value)


@pytest.mark.parametrize("rate", [0, 1, 0.25, np.float32(0.5), np.int64(2), np.array(0.5), Fraction(1, 4), 1e300])
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


# ---- every optimizer of the list --------------------------------------------------------------------------------------------

SIZES = [*range(1, 35), 63, 64, 65, 255, 256, 257, 1000]
KINDS = {  # name -> how pynn makes it
    "sgd": lambda **options: pynn.SGD(0.05, **options),
    "momentum": lambda **options: pynn.SGD(0.05, 0.9, **options),
    "nesterov": lambda **options: pynn.SGD(0.05, 0.9, True, **options),
    "rmsprop": lambda **options: pynn.RMSProp(0.01, **options),
    "rmsprop_momentum": lambda **options: pynn.RMSProp(0.01, 0.9, momentum=0.5, **options),
    "adagrad": lambda **options: pynn.Adagrad(0.05, **options),
    "adam": lambda **options: pynn.Adam(0.01, **options),
    "adamw": lambda **options: pynn.AdamW(0.01, **{"weight_decay": 0.1, **options}),
    "nadam": lambda **options: pynn.NAdam(0.01, **options),
    "rprop": lambda **options: pynn.Rprop(0.01, **options),
}
PENALTIES = {"l1": 0.01, "l2": 0.1, "weight_decay": 0.05, "regularize_bias": True}
CLIPS = {"clip_value": 0.5, "clip_norm": 1.5}
CLIPS_OF_A_NETWORK = {"clip_value": 0.004, "clip_norm": 0.05}  # whose gradients are small


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_the_kinds_here_are_all_that_there_are():
    assert {KINDS[kind]()._name for kind in KINDS} == set(engine.OPTIMIZERS)
    assert {type(KINDS[kind]()) for kind in KINDS} == set(map(pynn.optimizers.__dict__.get, pynn.optimizers.__all__)) - {
        pynn.optimizers.Optimizer
    }


class InNumPy:
    """The same optimizers as their papers have them, in plain NumPy, one formula after the other."""

    def __init__(self, kind, l1=0.0, l2=0.0, weight_decay=0.0, clip_value=None, clip_norm=None, regularize_bias=True):
        self.kind, self.l1, self.l2, self.clip_value, self.clip_norm = kind, l1, l2, clip_value, clip_norm
        self.weight_decay = weight_decay or (0.1 if kind == "adamw" else 0)
        self.rate = {"adam": 0.01, "adamw": 0.01, "nadam": 0.01, "rprop": 0.01, "rmsprop": 0.01, "rmsprop_momentum": 0.01}.get(
            kind, 0.05
        )
        self.m, self.v, self.t, self.product = 0.0, 0.0, 0, 1.0

    def step(self, theta, g):
        if self.clip_norm is not None and np.sqrt((g * g).sum()) > self.clip_norm:
            g = g * (self.clip_norm / np.sqrt((g * g).sum()))
        if self.clip_value is not None:
            g = np.clip(g, -self.clip_value, self.clip_value)
        g = g + self.l2 * theta + self.l1 * np.sign(theta)
        theta *= 1 - self.rate * self.weight_decay
        self.t += 1
        theta -= getattr(self, self.kind)(g)

    def sgd(self, g):
        return self.rate * g

    def momentum(self, g):
        self.m = 0.9 * self.m + g
        return self.rate * self.m

    def nesterov(self, g):
        self.m = 0.9 * self.m + g
        return self.rate * (g + 0.9 * self.m)

    def rmsprop(self, g, rho=0.99, momentum=0.0):
        self.v = rho * self.v + (1 - rho) * g**2
        self.m = momentum * self.m + g / (np.sqrt(self.v) + 1e-8)
        return self.rate * self.m

    def rmsprop_momentum(self, g):
        return self.rmsprop(g, 0.9, 0.5)

    def adagrad(self, g):
        self.v = self.v + g**2
        return self.rate * g / (np.sqrt(self.v) + 1e-10)

    def adam(self, g):
        self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g**2
        return self.rate * self.m / (1 - 0.9**self.t) / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8)

    adamw = adam

    def nadam(self, g):
        now, following = (0.9 * (1 - 0.5 * 0.96 ** (t * 4e-3)) for t in (self.t, self.t + 1))
        self.product *= now
        self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g**2
        step = (1 - now) * g / (1 - self.product) + following * self.m / (1 - self.product * following)
        return self.rate * step / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8)

    def rprop(self, g):
        turn = np.sign(g * self.m)
        length = np.full(g.shape, self.rate) if self.t == 1 else self.v
        self.v = np.clip(length * np.where(turn > 0, 1.2, np.where(turn < 0, 0.5, 1)), 1e-6, 50)
        self.m = np.where(turn < 0, 0, g)
        return np.sign(self.m) * self.v


def gradients_of_steps(n, steps, dtype="float64"):
    """Gradients that keep their signs for a while and then change them, as those of a training do."""
    phase = np.pi * values(n, "float64", 8)
    return [(np.sin(phase + 0.3 * i) * (1 + values(n, "float64", 100 + i))).astype(dtype) for i in range(steps)]


@pytest.mark.parametrize("options", [{}, PENALTIES, CLIPS, {**PENALTIES, **CLIPS}], ids=["plain", "penalties", "clips", "all"])
def test_each_optimizer_agrees_with_its_paper_in_numpy(instruction_set, kind, options):
    theta = values(301, "float64", 1)
    wanted, ours, theirs = theta.copy(), KINDS[kind](**options), InNumPy(kind, **options)
    for g in gradients_of_steps(301, 100):
        ours.step(theta, g)
        theirs.step(wanted, g)
    assert ours.steps == 100
    assert not np.allclose(theta, values(301, "float64", 1), rtol=0, atol=1e-2)
    np.testing.assert_allclose(theta, wanted, rtol=1e-12, atol=1e-13)


def torchs(kind, parameters):
    optim = pytest.importorskip("torch.optim", reason="torch is not installed")
    return {
        "sgd": lambda **o: optim.SGD(parameters, 0.05, **o),
        "momentum": lambda **o: optim.SGD(parameters, 0.05, momentum=0.9, **o),
        "nesterov": lambda **o: optim.SGD(parameters, 0.05, momentum=0.9, nesterov=True, **o),
        "rmsprop": lambda **o: optim.RMSprop(parameters, 0.01, **o),
        "rmsprop_momentum": lambda **o: optim.RMSprop(parameters, 0.01, alpha=0.9, momentum=0.5, **o),
        "adagrad": lambda **o: optim.Adagrad(parameters, 0.05, **o),
        "adam": lambda **o: optim.Adam(parameters, 0.01, **o),
        "adamw": lambda **o: optim.AdamW(parameters, 0.01, **{"weight_decay": 0.1, **o}),
        "nadam": lambda **o: optim.NAdam(parameters, 0.01, **o),
        "rprop": lambda **o: optim.Rprop(parameters, 0.01, **o),
    }[kind]


@pytest.mark.parametrize("option", ["plain", "l2", "clip_value", "clip_norm"])
def test_each_optimizer_agrees_with_pytorchs(kind, option, request):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    before = torch.get_default_dtype()
    request.addfinalizer(lambda: torch.set_default_dtype(before))
    torch.set_default_dtype(torch.float64)  # in which it keeps NAdam's product
    theta = values(301, "float64", 1)
    tensor = torch.nn.Parameter(torch.tensor(theta.copy()))
    if option == "l2" and kind in ("adamw", "rprop"):
        ours, theirs = KINDS[kind](), torchs(kind, [tensor])()  # PyTorch's have no such penalty; the decay is AdamW's own
    else:
        number = {"l2": 0.1, "clip_value": 0.5, "clip_norm": 1.5}.get(option)
        ours = KINDS[kind](**{} if number is None else {option: number})
        theirs = torchs(kind, [tensor])(**{"weight_decay": 0.1} if option == "l2" else {})
    for g in gradients_of_steps(301, 100):
        ours.step(theta, g)
        tensor.grad = torch.tensor(g)
        if option == "clip_value":
            torch.nn.utils.clip_grad_value_([tensor], 0.5)
        if option == "clip_norm":
            torch.nn.utils.clip_grad_norm_([tensor], 1.5)
        theirs.step()
    # PyTorch divides by the norm plus 1e-6.
    tolerance = 1e-5 if option == "clip_norm" else 1e-12
    np.testing.assert_allclose(theta, tensor.detach().numpy(), rtol=tolerance, atol=tolerance / 10)


def test_all_instruction_sets_threads_and_places_give_the_same_bits(dtype, kind):
    for n in [*SIZES, 40_003]:
        gradients = gradients_of_steps(n, 4, dtype)
        seen, several = set(), n > 10_000
        for isa in INSTRUCTION_SETS:
            for number in (1, 2, 3, 4) if several else (1,):
                with using(isa), threads(number):
                    fenced, optimizer = Fenced((n,), dtype), KINDS[kind](**PENALTIES, **CLIPS)
                    fenced.array[:] = values(n, dtype, 1)
                    for g in gradients:
                        optimizer.step(fenced.array, g)
                    assert fenced.intact()
                    seen.add(fenced.array.tobytes())
        assert len(seen) == 1, n
        # An element does not depend on those beside it, but for the clipped norm.
        theta, some = values(n, dtype, 1), slice(n // 3, n)
        part, whole, optimizer = theta[some].copy(), KINDS[kind](), KINDS[kind]()
        for g in gradients:
            whole.step(theta, g)
            optimizer.step(part, g[some])
        assert same_bits(part, theta[some]), n


# ---- every way to take steps ------------------------------------------------------------------------------------------------


class OwnDense(pynn.Dense):
    """A subclass, which may do anything: a network with it goes layer by layer."""


def network(kind, dtype, dense=pynn.Dense, **options):
    layers = [dense(5, 19), pynn.Tanh(), dense(19, 7, bias=False), pynn.Sigmoid(), dense(7, 3)]
    net = pynn.Network(layers, optimizer=KINDS[kind](**options), dtype=dtype, seed=4)
    net.layers[0].bias = values(19, dtype, 5)
    return net


def samples(dtype):
    return values((41, 5), dtype, 6), values((41, 3), dtype, 7)


def by_fit(net, x, y):
    for _ in range(3):
        net.fit(x, y, batch_size=8, shuffle=False)


def by_train_step(net, x, y):
    for _ in range(3):
        for i in range(0, 41, 8):
            net.train_step(x[i : i + 8], y[i : i + 8])


def by_hand(net, x, y):
    for _ in range(3):
        for i in range(0, 41, 8):
            net.backward(net.cost.gradient(net.forward(x[i : i + 8]), y[i : i + 8]))
            net.optimizer.step(net.parameters, net.gradients)


def by_turns(net, x, y):
    """One batch this way, the next another way, and through a pickle or a copy in between."""
    for i in range(18):
        rows = slice(8 * (i % 6), 8 * (i % 6) + 8)
        if i % 3 == 0:
            net.fit(x[rows], y[rows], batch_size=8, shuffle=False)
        elif i % 3 == 1:
            net.train_step(x[rows], y[rows])
        else:
            net.backward(net.cost.gradient(net.forward(x[rows]), y[rows]))
            net.optimizer.step(net.parameters, net.gradients)
        net = (copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net)))[i % 3](net)
    return net


@pytest.mark.parametrize(
    "options", [{}, PENALTIES, {**PENALTIES, "regularize_bias": False}, CLIPS_OF_A_NETWORK], ids=lambda options: str(len(options))
)
def test_every_way_gives_the_same_bits(instruction_set, dtype, kind, options):
    x, y = samples(dtype)
    wanted = network(kind, dtype, **options)
    by_fit(wanted, x, y)
    for dense in (pynn.Dense, OwnDense):
        for way in (by_fit, by_train_step, by_hand, by_turns):
            net = network(kind, dtype, dense, **options)
            assert (net._plan is None) == (dense is OwnDense)
            net = way(net, x, y) or net
            assert same_bits(net.parameters, wanted.parameters), (dense, way)
            assert net.optimizer.steps == 18


def test_single_samples_take_the_same_steps(dtype, kind):
    x, y = samples(dtype)
    nets = [network(kind, dtype), network(kind, dtype), network(kind, dtype, OwnDense)]
    nets[0].fit(x, y, batch_size=1, shuffle=False)
    for net in nets[1:]:
        for one in range(41):
            net.train_step(x[one], y[one])
        assert same_bits(net.parameters, nets[0].parameters)


def test_a_schedule_gives_the_rate_of_each_step(dtype, kind):
    x, y = samples(dtype)
    schedule = pynn.schedules.ExponentialDecay(0.1, factor=0.9, every=2)
    nets = [network(kind, dtype), network(kind, dtype, OwnDense), network(kind, dtype)]
    for net in nets:
        net.optimizer.learning_rate = schedule
    by_fit(nets[0], x, y)
    by_hand(nets[1], x, y)
    rates = schedule.rates(0, 18)
    for i in range(18):
        nets[2].optimizer.learning_rate = float(rates[i])
        nets[2].train_step(x[8 * (i % 6) : 8 * (i % 6) + 8], y[8 * (i % 6) : 8 * (i % 6) + 8])
    assert same_bits(nets[0].parameters, nets[1].parameters)
    assert same_bits(nets[0].parameters, nets[2].parameters)


# ---- numbers that change between steps ---------------------------------------------------------------------------------------

CHANGES = [
    ("momentum", "momentum", 0.5), ("momentum", "momentum", 0), ("sgd", "momentum", 0.9), ("nesterov", "nesterov", False),
    ("rmsprop", "momentum", 0.5), ("rmsprop_momentum", "momentum", 0), ("rmsprop", "rho", 0.5), ("adagrad", "epsilon", 0.1),
    ("adam", "beta_1", 0.5), ("adam", "beta_2", 0.9), ("adam", "epsilon", 0.1), ("nadam", "momentum_decay", 0.5),
    ("rprop", "eta_plus", 1.5), ("rprop", "eta_minus", 0.2), ("rprop", "most_step", 0.011), ("rprop", "least_step", 0.1),
    *(
        (kind, name, value)
        for kind in ("sgd", "adam")
        for name, value in {**PENALTIES, **CLIPS_OF_A_NETWORK, "learning_rate": 0.5}.items()
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "value"), CHANGES)
def test_a_number_assigned_between_steps_holds_from_the_next_one_on(dtype, kind, name, value):
    x, y = samples(dtype)
    options = {"l2": 0.3} if name == "regularize_bias" else {}
    nets = [network(kind, dtype, dense, **options) for dense in (pynn.Dense, pynn.Dense, OwnDense)] + [
        network(kind, dtype, **options)
    ]
    ways = [by_fit, by_hand, by_train_step]
    for net, way in zip(nets, [*ways, by_fit], strict=True):
        way(net, x, y)
    for net, way in zip(nets[:3], ways, strict=True):
        setattr(net.optimizer, name, value)
        assert getattr(net.optimizer, name) == value
        way(net, x, y)
        assert same_bits(net.parameters, nets[0].parameters), way
        assert getattr(eval(repr(net.optimizer), vars(pynn)), name) == value
    by_fit(nets[3], x, y)
    assert not same_bits(nets[3].parameters, nets[0].parameters)


def test_momentum_that_goes_and_comes_back_finds_the_velocity_of_all_steps(dtype):
    x, y = samples(dtype)
    nets = [network("momentum", dtype), network("momentum", dtype), network("momentum", dtype, OwnDense)]
    for net, way in zip(nets, (by_fit, by_hand, by_train_step), strict=True):
        for momentum in (0.9, 0, 0.5):
            net.optimizer.momentum = momentum
            way(net, x, y)
        assert same_bits(net.parameters, nets[0].parameters)


def test_a_gradient_of_minus_zero_is_a_step_of_zero_by_every_way(dtype):
    net = pynn.Network([pynn.Dense(1, 1)], optimizer=pynn.SGD(0.5), dtype=dtype)
    net.layers[0].weight, net.layers[0].bias = [[-0.0]], [-0.0]
    by_hand = net.parameters.copy()
    fused = copy.deepcopy(net)
    fused.train_step(np.array([[-0.0]]), np.array([[0.0]]))
    net.backward(net.cost.gradient(net.forward(np.array([[-0.0]], dtype)), np.array([[0.0]], dtype)))
    net.optimizer.step(net.parameters, net.gradients)
    assert same_bits(net.parameters, fused.parameters)
    for number in (0.0, -0.0):
        theta, other = by_hand.copy(), by_hand.copy()
        pynn.SGD(0.5).step(theta, np.full(2, number, dtype))
        kernels.gradient_descent(other, np.full(2, number, dtype), 0.5)
        assert same_bits(theta, other)


# ---- what an optimizer belongs to --------------------------------------------------------------------------------------------


def test_an_optimizer_with_state_belongs_to_one_network(dtype):
    for kind, options in [("adam", {}), ("momentum", {}), ("sgd", {"l2": 0.1}), ("adamw", {})]:
        net = network(kind, dtype, **options)
        with pytest.raises(ValueError, match=r"belongs to another network; copy\.deepcopy makes another one"):
            pynn.Network([pynn.Dense(2, 2)], optimizer=net.optimizer)
        other = pynn.Network([pynn.Dense(5, 3)], dtype=dtype)
        with pytest.raises(ValueError, match="belongs to another network"):
            other.optimizer = net.optimizer
        assert type(other.optimizer) is pynn.SGD
        with pytest.raises(ValueError, match="another array needs another optimizer"):
            net.optimizer.step(np.ones(3, dtype), np.ones(3, dtype))
        by_fit(net, *samples(dtype))


def test_layers_of_a_network_that_an_optimizer_refuses_stay_free():
    used = network("adam", "float64")
    by_fit(used, *samples("float64"))
    layer = pynn.Dense(2, 2)
    with pytest.raises(ValueError, match=r"has followed 271 parameters of float64, here are 6.*copy.copy\(optimizer\).reset\(\)"):
        pynn.Network([layer], optimizer=copy.copy(used.optimizer), dtype="float64")
    fresh = copy.copy(used.optimizer).reset()
    pynn.Network([layer], optimizer=fresh, dtype="float32").train_step(np.ones(2), np.ones(2))
    assert (used.optimizer.steps, fresh.steps) == (18, 1)


def test_plain_gradient_descent_may_be_shared_until_it_has_state(dtype):
    x, y = samples(dtype)
    sgd, small = pynn.SGD(0.05), pynn.Network([pynn.Dense(5, 3)], dtype=dtype, seed=0)
    large, alone = (pynn.Network([pynn.Dense(5, 400), pynn.Dense(400, 3)], dtype=dtype, seed=0) for _ in range(2))
    large.optimizer = sgd
    small.optimizer = sgd
    alone.optimizer = pynn.SGD(0.05)
    for _ in range(3):
        small.train_step(x, y)
        large.train_step(x, y)
        alone.train_step(x, y)
    assert same_bits(large.parameters, alone.parameters)
    small.train_step(x, y)
    sgd.momentum = 0.9  # state of the size of the small one: the large one may not use it
    for take in (lambda: large.train_step(x, y), lambda: large.fit(x, y), lambda: large.train_step(x.tolist(), y.tolist())):
        with pytest.raises(ValueError, match="belongs to another network"):
            take()
    assert same_bits(large.parameters, alone.parameters)
    small.train_step(x, y)
    large.optimizer = copy.copy(sgd).reset()
    large.train_step(x, y)


@pytest.mark.parametrize("dense", [pynn.Dense, OwnDense])
def test_sharing_an_optimizer_loses_no_penalty_of_a_layer(dense):
    x, y = samples("float64")
    sgd = pynn.SGD(0.05)
    one = pynn.Network([dense(5, 3, l2=0.5)], dtype="float64", seed=0)
    other = pynn.Network([dense(5, 3)], optimizer=sgd, dtype="float64", seed=0)
    with_l2, without = copy.deepcopy(one), copy.deepcopy(other)
    one.optimizer = copy.deepcopy(sgd)
    with_l2.optimizer = copy.deepcopy(sgd)
    for net in (one, with_l2, other, without):
        net.train_step(x, y)
    assert same_bits(one.parameters, with_l2.parameters)
    assert not same_bits(one.parameters, other.parameters)
    with pytest.raises(ValueError, match="belongs to another network"):
        other.optimizer = one.optimizer


def test_reset_makes_it_as_new(dtype, kind):
    x, y = samples(dtype)
    net, wanted = network(kind, dtype, **PENALTIES, **CLIPS), network(kind, dtype, **PENALTIES, **CLIPS)
    first = net.parameters.copy()
    by_fit(net, x, y)
    by_fit(wanted, x, y)
    net.parameters = first
    assert net.optimizer.reset() is net.optimizer
    assert net.optimizer.steps == 0
    for way in (by_fit, by_train_step, by_hand):
        way(net, x, y)
        assert same_bits(net.parameters, wanted.parameters)
        net.parameters = first
        net.optimizer.reset()


def test_the_state_goes_with_pickles_and_copies(dtype, kind):
    theta, wanted = values(37, dtype, 1), values(37, dtype, 1)
    optimizer, straight = KINDS[kind](**PENALTIES, **CLIPS), KINDS[kind](**PENALTIES, **CLIPS)
    for i, g in enumerate(gradients_of_steps(37, 20, dtype)):
        straight.step(wanted, g)
        optimizer.step(theta, g)
        assert same_bits(theta, wanted)
        optimizer = (copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each)))[i % 3](optimizer)
        assert repr(optimizer) == repr(straight)
        assert optimizer.steps == straight.steps == i + 1
        theta = theta.copy()  # it follows the array that it meets first


def test_a_copy_has_a_state_of_its_own(dtype, kind):
    theta, g = values(37, dtype, 1), values(37, dtype, 2)
    optimizer = KINDS[kind]()
    optimizer.step(theta, g)
    other, mine = copy.copy(optimizer), theta.copy()
    for _ in range(5):
        other.step(mine, -g)
    wanted, straight = values(37, dtype, 1), KINDS[kind]()
    for each in (g, g):
        straight.step(wanted, each)
    optimizer.step(theta, g)
    assert same_bits(theta, wanted)
    assert (optimizer.steps, other.steps) == (2, 6)


def test_state_is_there_only_where_it_is_needed():
    def count(optimizer):
        net = pynn.Network([pynn.Dense(3, 2)], optimizer=optimizer)
        net.train_step(np.ones(3), np.ones(2))
        return len(net.optimizer._updater.states)

    counts = {kind: count(KINDS[kind]()) for kind in KINDS}
    assert counts == {
        "sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "rmsprop_momentum": 2, "adagrad": 1, "adam": 2, "adamw": 2,
        "nadam": 2, "rprop": 2,
    }  # fmt: skip


# ---- arrays ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"byte_swapped", "read_only"}))
def test_parameters_and_gradients_of_any_memory(dtype, kind, layout):
    theta, wanted = LAYOUTS[layout](values((5, 6), dtype, 1)), values((5, 6), dtype, 1)
    one, other = KINDS[kind](), KINDS[kind]()
    for i in range(4):
        one.step(theta, LAYOUTS[layout](values((5, 6), dtype, i)))
        other.step(wanted, values((5, 6), dtype, i))
    assert same_bits(theta.view(np.ndarray), wanted)
    assert one.steps == 4


def test_gradients_may_be_byte_swapped_integers_or_the_parameters_themselves(dtype, kind):
    theta, wanted = values(30, dtype, 1), values(30, dtype, 1)
    one, other = KINDS[kind](), KINDS[kind]()
    for g in (
        values(30, dtype, 2).astype(np.dtype(dtype).newbyteorder()),
        np.arange(30),
        [True] * 30,
        values(30, dtype, 3).tolist(),
    ):
        one.step(theta, g)
        other.step(wanted, np.asarray(g).astype(dtype))
    one.step(theta, theta)
    other.step(wanted, wanted.copy())
    assert same_bits(theta, wanted)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (np.ones(3, ">f4" if np.little_endian else "<f4"), TypeError, "parameters are .*f4"),
        (np.ones(3, "float16"), TypeError, "parameters are float16"),
        (np.ones(3, int), TypeError, "parameters are int64"),
        ([1.0, 2.0, 3.0], TypeError, "parameters are list"),
        (None, TypeError, "parameters are NoneType"),
        (LAYOUTS["read_only"](np.ones(3)), ValueError, "parameters are read-only"),
    ],
    ids=str,
)
def test_parameters_that_cannot_be_changed_are_refused(kind, parameters, error, message):
    before, optimizer = copy.deepcopy(parameters), KINDS[kind]()
    with pytest.raises(error, match=f"{type(optimizer).__name__}: {message}"):
        optimizer.step(parameters, np.ones(3))
    assert repr(before) == repr(parameters)
    assert optimizer.steps == 0


@pytest.mark.parametrize(
    ("gradients", "error", "message"),
    [
        (np.ones(4), ValueError, r"\(3,\).*\(4,\)"),
        (np.ones((3, 1)), ValueError, r"\(3,\).*\(3, 1\)"),
        (1.0, ValueError, r"\(3,\).*\(\)"),
        (np.ones(3, complex), TypeError, "gradients has dtype complex128"),
        (["a", "b", "c"], TypeError, "gradients has dtype <U1"),
        (None, TypeError, "gradients has dtype object"),
    ],
    ids=str,
)
def test_gradients_that_do_not_fit_are_refused_and_nothing_has_changed(dtype, kind, gradients, error, message):
    optimizer, theta = KINDS[kind](), np.ones(3, dtype)
    with pytest.raises(error, match=message):
        optimizer.step(theta, gradients)
    optimizer.step(other := np.ones(5, dtype), np.ones(5))  # it follows nothing yet
    with pytest.raises(ValueError, match=r"another array needs|\(5,\)"):
        optimizer.step(theta, np.ones(3)) if optimizer._bound() else optimizer.step(other, np.ones(4))
    assert optimizer.steps == 1
    assert (theta == 1).all()


def test_views_of_another_order_are_another_array():
    theta, optimizer = values((4, 4), "float64"), pynn.Adam()
    optimizer.step(theta, theta)
    optimizer.step(theta.reshape(-1), theta.reshape(-1))
    with pytest.raises(ValueError, match="another array"):
        optimizer.step(theta.T, theta)


def test_nothing_is_a_step_on_nothing(dtype, kind):
    optimizer, theta = KINDS[kind](**PENALTIES, **CLIPS), np.empty(0, dtype)
    for _ in range(3):
        optimizer.step(theta, np.empty(0, dtype))
    assert optimizer.steps == 3
    scalar = np.array(1.0, dtype)
    KINDS[kind]().step(scalar, np.array(1.0, dtype))
    assert scalar != 1


def test_nan_and_infinite_gradients_go_where_ieee_754_says_and_stay_in_their_element(dtype, kind):
    for bad in (np.nan, np.inf, -np.inf):
        theta, wanted = values(21, dtype, 1), values(21, dtype, 1)
        one, other = KINDS[kind](**PENALTIES, clip_value=None), KINDS[kind](**PENALTIES)
        g = values(21, dtype, 2)
        for _ in range(3):
            spoilt = g.copy()
            spoilt[[3, 20]] = bad
            one.step(theta, spoilt)
            other.step(wanted, g)
        rest = np.delete(np.arange(21), [3, 20])
        assert same_bits(theta[rest], wanted[rest])
        assert np.isnan(theta[3]) or not np.isnan(bad)
    theta, optimizer = np.ones(3, dtype), KINDS[kind](clip_norm=1.0)
    optimizer.step(theta, np.array([np.nan, 1, 1], dtype))
    assert np.isnan(theta).all()  # there is no length to clip


def test_clipping_keeps_the_direction_or_the_range(dtype):
    g = np.array([3.0, -4.0, 0.0], dtype)
    for limit, wanted in ((10.0, g), (5.0, g), (2.5, g / 2), (0.0, g * 0)):
        theta = np.zeros(3, dtype)
        pynn.SGD(1.0, clip_norm=limit).step(theta, g)
        np.testing.assert_allclose(theta, -wanted, rtol=4 * unit(dtype), atol=0)
    for limit, wanted in ((10.0, g), (3.5, [3, -3.5, 0]), (1, [1, -1, 0]), (0, [0, 0, 0])):
        theta = np.zeros(3, dtype)
        pynn.SGD(1.0, clip_value=limit).step(theta, g)
        assert (theta == -np.asarray(wanted, dtype)).all()


# ---- numbers that make no sense ----------------------------------------------------------------------------------------------

NUMBERS = [
    (pynn.SGD, "momentum"), (pynn.RMSProp, "rho"), (pynn.RMSProp, "epsilon"), (pynn.RMSProp, "momentum"),
    (pynn.Adagrad, "epsilon"),
    (pynn.Adam, "beta_1"), (pynn.Adam, "beta_2"), (pynn.Adam, "epsilon"), (pynn.AdamW, "weight_decay"), (pynn.NAdam, "beta_1"),
    (pynn.NAdam, "momentum_decay"), (pynn.Rprop, "eta_minus"), (pynn.Rprop, "eta_plus"), (pynn.Rprop, "least_step"),
    (pynn.Rprop, "most_step"), *((pynn.Adam, name) for name in ("l1", "l2", "weight_decay", "clip_value", "clip_norm")),
    *((kind, "learning_rate") for kind in (pynn.RMSProp, pynn.Adagrad, pynn.Adam, pynn.AdamW, pynn.NAdam, pynn.Rprop)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "name"), NUMBERS)
def test_numbers_that_make_no_sense_name_their_argument(make, name):
    optimizer = make()
    before = repr(optimizer)
    for wrong in (
        -1,
        -1e-300,
        float("nan"),
        float("inf"),
        10**400,
        *([1, 1.5] if "beta" in name or name in ("rho", "eta_minus") else []),
    ):
        for call in (lambda wrong=wrong: make(**{name: wrong}), lambda wrong=wrong: setattr(optimizer, name, wrong)):
            with pytest.raises(ValueError, match=f"{make.__name__}: {name} is"):
                call()
    for wrong in ("0.5", b"1", [0.5], np.ones(1), 1j, {}, *([] if name.startswith("clip") else [None])):
        for call in (lambda wrong=wrong: make(**{name: wrong}), lambda wrong=wrong: setattr(optimizer, name, wrong)):
            with pytest.raises(TypeError, match=f"{make.__name__}: {name} is"):
                call()
    assert repr(optimizer) == before


@pytest.mark.parametrize("wrong", [0, 1, "yes", None, np.ones(2)], ids=repr)
def test_flags_are_true_or_false(wrong):
    with pytest.raises(TypeError, match="nesterov"):
        pynn.SGD(0.1, nesterov=wrong)
    with pytest.raises(TypeError, match="regularize_bias"):
        pynn.Adam(regularize_bias=wrong)
    with pytest.raises(TypeError, match="Dense: regularize_bias"):
        pynn.Dense(2, 2, regularize_bias=wrong) if wrong is not None else pynn.Dense(2, 2, regularize_bias="None")


def test_the_base_of_optimizers_is_none_itself_and_unknown_arguments_are_type_errors(kind):
    with pytest.raises(TypeError, match="base of SGD"):
        pynn.Optimizer(0.1)
    with pytest.raises(TypeError, match="amsgrad"):
        KINDS[kind](amsgrad=True)


def test_each_prints_as_the_code_that_makes_it(kind):
    for options in ({}, PENALTIES, CLIPS):
        optimizer = KINDS[kind](**options)
        again = eval(repr(optimizer), vars(pynn))
        assert type(again) is type(optimizer)
        assert repr(again) == repr(optimizer)
        theta = [values(9, "float64"), values(9, "float64")]
        for each, other in zip((optimizer, again), theta, strict=True):
            each.step(other, values(9, "float64", 1))
        assert same_bits(*theta)


def test_nadams_decay_does_not_depend_on_the_decimal_context():
    import decimal

    wanted = pynn.NAdam(momentum_decay=0.3)._momentum_decay
    with decimal.localcontext() as context:
        context.prec, context.rounding = 3, decimal.ROUND_UP
        assert pynn.NAdam(momentum_decay=0.3)._momentum_decay == wanted == pytest.approx(0.96**0.3, rel=1e-15)


# ---- penalties of a layer ----------------------------------------------------------------------------------------------------


def test_a_layers_own_penalties_take_the_place_of_the_optimizers(dtype):
    x, y = samples(dtype)
    options = {"l1": 0.01, "l2": 0.02, "weight_decay": 0.03}
    for own in (options, {"l1": 0.0}, {"regularize_bias": True, "l2": 0.5}, {"regularize_bias": False}):
        for dense in (pynn.Dense, OwnDense):
            net = pynn.Network(
                [dense(5, 4, **own), pynn.Tanh(), dense(4, 3)], optimizer=pynn.SGD(0.1, l2=0.3), dtype=dtype, seed=0
            )
            bare = pynn.Network([dense(5, 4), pynn.Tanh(), dense(4, 3)], optimizer=pynn.SGD(0.1), dtype=dtype, seed=0)
            for each in (net, bare):
                for layer in each.layers[::2]:
                    layer.bias = values(layer.out_features, dtype)
            bare.backward(bare.cost.gradient(bare.forward(x), y))
            wanted = []
            for layer, given in zip(bare.layers[::2], (own, {}), strict=True):
                l1, l2, decay = (given.get(name, default) for name, default in (("l1", 0), ("l2", 0.3), ("weight_decay", 0)))
                for name in ("weight", "bias"):
                    theta, g = (getattr(layer, each).astype(np.float64) for each in (name, name + "_gradient"))
                    if name == "weight" or given.get("regularize_bias"):
                        g, theta = g + l2 * theta + l1 * np.sign(theta), theta * (1 - 0.1 * decay)
                    wanted.append(theta - 0.1 * g)
            net.train_step(x, y)
            got = [array for layer in net.layers[::2] for array in (layer.weight, layer.bias)]
            for a, b in zip(got, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=8 * unit(dtype))


def test_a_layer_shows_its_penalties_and_keeps_them(dtype):
    layer = pynn.Dense(3, 2, l1=0.5, weight_decay=0, regularize_bias=True)
    assert repr(layer) == "Dense(3, 2, l1=0.5, weight_decay=0.0, regularize_bias=True)"
    for other in (eval(repr(layer), vars(pynn)), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert (other.l1, other.l2, other.weight_decay, other.regularize_bias) == (0.5, None, 0.0, True)
        assert other.has_penalties
    assert not pynn.Dense(3, 2).has_penalties
    for name in ("l1", "l2", "weight_decay", "regularize_bias"):
        with pytest.raises(AttributeError):
            setattr(layer, name, 0.25)  # which a network that has it would not see


@pytest.mark.parametrize("name", ["l1", "l2", "weight_decay"])
def test_penalties_of_a_layer_that_make_no_sense_are_refused(name):
    for wrong, error in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError), ([1.0], TypeError)):
        with pytest.raises(error, match=f"Dense: {name} is"):
            pynn.Dense(2, 2, **{name: wrong})


def test_penalties_of_a_layer_want_an_optimizer_that_knows_them():
    layer = pynn.Dense(2, 2, l2=0.1)
    with pytest.raises(ValueError, match=r"Dense\(2, 2, l2=0.1\) has penalties"):
        pynn.Network([layer], optimizer=Momentum())
    net = pynn.Network([layer])
    with pytest.raises(ValueError, match="has penalties"):
        net.optimizer = Momentum()
