"""pynn/schedules.py: each schedule's formula, its bits, and what torch makes of the same arguments."""

import math
import pickle

import mpmath
import numpy as np
import pytest
from support import output, same_bits, values

import pynn
from pynn.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseScaling,
    OneCycle,
    Schedule,
    StepDecay,
    _exp,
    _half_cosine,
    _log,
)

SCHEDULES = [
    Constant(0.1),
    StepDecay(0.3, every=7, factor=0.7),
    StepDecay(0.3, every=(3, 10, 500), factor=0.1),
    ExponentialDecay(0.2, factor=0.9),
    ExponentialDecay(0.2, factor=0.5, every=100),
    CosineDecay(0.3, steps=100, final=0.01),
    CosineDecay(0.3, steps=90, final=0.01, warmup_steps=10, warmup_from=0.02),
    CosineDecay(0.3, steps=13, restart=True),
    CosineDecay(0.3, steps=13, final=0.1, warmup_steps=5, restart=True, growth=3),
    OneCycle(0.5, steps=200),
    OneCycle(0.5, steps=77, rise=0.1, initial_divisor=10, final_divisor=100),
    InverseScaling(0.1),
    InverseScaling(0.1, power=1),
    InverseScaling(0.1, power=0.25),
]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def exact(schedule, s):
    """The formula of its documentation, in 50 digits."""
    with mpmath.workdps(50):
        m = mpmath.mpf

        def cosine(t):
            return (1 + mpmath.cos(mpmath.pi * t)) / 2

        rate = m(schedule.learning_rate)
        if isinstance(schedule, Constant):
            return rate
        if isinstance(schedule, StepDecay):
            passed = s // schedule.every if isinstance(schedule.every, int) else sum(s >= at for at in schedule.every)
            return rate * m(schedule.factor) ** passed
        if isinstance(schedule, ExponentialDecay):
            return rate * m(schedule.factor) ** (m(s) / schedule.every)
        if isinstance(schedule, CosineDecay):
            if s < schedule.warmup_steps:
                return schedule.warmup_from + (rate - schedule.warmup_from) * s / schedule.warmup_steps
            s, length = s - schedule.warmup_steps, schedule.steps
            if schedule.restart and schedule.growth == 1:
                s %= length
            while s >= length and schedule.restart:
                s -= length
                length *= schedule.growth
            return schedule.final + (rate - schedule.final) * cosine(m(min(s, length)) / length)
        if isinstance(schedule, OneCycle):
            top, last = m(schedule.rise) * schedule.steps - 1, schedule.steps - 1
            initial = rate / schedule.initial_divisor
            if s <= top:
                return rate + (initial - rate) * cosine(s / top)
            final = initial / schedule.final_divisor
            return final + (rate - final) * cosine((min(s, last) - top) / (last - top))
        assert isinstance(schedule, InverseScaling)
        return rate / m(s + 1) ** m(schedule.power)


@every_schedule
def test_a_schedule_is_its_formula(schedule):
    steps = [*range(250), 1000, 12345, 10**6, 10**9]
    for s in steps:
        wanted = exact(schedule, s)
        assert abs(schedule(s) - wanted) <= 1e-13 * max(wanted, schedule.learning_rate * 1e-6), s


@every_schedule
def test_rates_are_the_calls_wherever_they_begin(schedule):
    whole = schedule.rates(0, 300)
    assert (whole.dtype, whole.shape) == (np.float64, (300,))
    assert same_bits(whole, np.array([schedule(s) for s in range(300)]))
    assert same_bits(whole, np.concatenate([schedule.rates(first, 7) for first in range(0, 301, 7)])[:300])
    assert schedule.rates(5, 0).shape == (0,)
    assert type(schedule(3)) is float
    assert (whole >= 0).all()


@every_schedule
def test_schedules_pickle_compare_and_print(schedule):
    other = pickle.loads(pickle.dumps(schedule))
    assert other == schedule
    assert hash(other) == hash(schedule)
    assert eval(repr(schedule)) == schedule


def one_by_one(x, coefficients):
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def test_the_series_have_the_bits_of_plain_ieee_operations_and_are_accurate():
    from pynn import schedules

    x = np.random.Generator(np.random.PCG64(1)).random(2000)
    angle = [(math.pi / 2) * (1.0 - t) for t in x.tolist()]
    sine = [min(a * one_by_one(a * a, schedules._SIN), 1.0) for a in angle]
    assert same_bits(_half_cosine(x), np.array([s * s for s in sine]))
    with mpmath.workdps(40):
        for t, value in zip(x.tolist(), _half_cosine(x).tolist(), strict=True):
            wanted = mpmath.sin(mpmath.pi / 2 * (1 - mpmath.mpf(t))) ** 2
            assert abs(value - wanted) <= 1e-15 * wanted
        for t, value in zip((x * 1e9 + 1).tolist(), _log(x * 1e9 + 1).tolist(), strict=True):
            assert abs(value - mpmath.log(t)) <= 4e-16 * max(mpmath.log(t), 1)
        for t, value in zip((-30 * x).tolist(), _exp(-30 * x).tolist(), strict=True):
            assert abs(value / mpmath.exp(t) - 1) <= 1e-15
    assert _half_cosine(np.array([0.0, 1.0])).tolist() == [1.0, 0.0]


def test_ends_and_exact_powers():
    assert StepDecay(1.0, 2, 0.5).rates(0, 7).tolist() == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert ExponentialDecay(1.0, 0.5).rates(0, 4).tolist() == [1, 0.5, 0.25, 0.125]
    assert StepDecay(1.0, 1, 0.1)(2) == 0.1 * 0.1
    assert ExponentialDecay(1.0, 0.0).rates(0, 3).tolist() == [1, 0, 0]
    assert ExponentialDecay(1.0, 0.5)(10**7) == 0.0
    cosine = CosineDecay(0.7, 10, final=0.2, warmup_steps=4)
    assert (cosine(0), cosine(4), cosine(14), cosine(10**9)) == (0.0, 0.7, 0.2, 0.2)
    assert InverseScaling(0.3, 0.25)(0) == 0.3


# ---- beside torch ----------------------------------------------------------------------------------------------------

BESIDE_TORCH = """
import sys
try:
    import torch
except ModuleNotFoundError:
    print("absent")
    sys.exit()
import numpy as np
from pynn.schedules import *
from torch.optim import lr_scheduler as t

def rates(make, count=300, rate=0.3):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler, seen = make(optimizer), []
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(seen)

pairs = [
    (StepDecay(0.3, 7, 0.7), lambda o: t.StepLR(o, 7, 0.7), 300),
    (StepDecay(0.3, (3, 10, 50), 0.1), lambda o: t.MultiStepLR(o, [3, 10, 50], 0.1), 300),
    (ExponentialDecay(0.3, 0.97), lambda o: t.ExponentialLR(o, 0.97), 300),
    (CosineDecay(0.3, 100, 0.01), lambda o: t.CosineAnnealingLR(o, 100, 0.01), 101),
    (CosineDecay(0.3, 13, 0.01, restart=True), lambda o: t.CosineAnnealingWarmRestarts(o, 13, 1, 0.01), 300),
    (CosineDecay(0.3, 13, 0.01, restart=True, growth=2), lambda o: t.CosineAnnealingWarmRestarts(o, 13, 2, 0.01), 300),
    (OneCycle(0.3, 300), lambda o: t.OneCycleLR(o, 0.3, total_steps=301), 0),
    (OneCycle(0.3, 301), lambda o: t.OneCycleLR(o, 0.3, total_steps=301), 300),
    (InverseScaling(0.3, 0.25), lambda o: t.LambdaLR(o, lambda s: (s + 1) ** -0.25), 300),
]
for ours, theirs, count in pairs:
    far = np.abs(ours.rates(0, count) - rates(theirs, count)).max(initial=0)
    assert far < 1e-12, (ours, far)
print("compared")
"""


def test_the_rates_are_those_of_torch():
    result = output(BESIDE_TORCH)
    if result == "absent":
        pytest.skip("torch is not installed: nothing to compare with")
    assert result == "compared"


# ---- in a training ---------------------------------------------------------------------------------------------------


def trained(rate, how, dtype):
    x = values((40, 3), dtype, 1)
    net = pynn.Network([pynn.Dense(3, 2)], optimizer=pynn.SGD(rate), dtype=dtype, seed=0)
    if how == "fit":
        net.fit(x, x[:, :2], epochs=5, batch_size=8, shuffle=False)
    else:
        for i in range(25):
            if how == "numbers":
                net.optimizer.learning_rate = rate(i)
            net.train_step(x[i % 5 * 8 :][:8], x[i % 5 * 8 :][:8, :2])
    return net.parameters


@pytest.mark.parametrize(
    "schedule", [CosineDecay(0.3, 20, warmup_steps=3), StepDecay(0.3, 7), InverseScaling(0.3, 0.25)], ids=repr
)
def test_fit_takes_each_step_at_its_rate(dtype, schedule):
    wanted = trained(schedule, "numbers", dtype)
    assert same_bits(trained(schedule, "fit", dtype), wanted)
    assert same_bits(trained(schedule, "steps", dtype), wanted)


# ---- one's own, and errors -------------------------------------------------------------------------------------------


def test_a_schedule_of_ones_own():
    class Sawtooth(Schedule):
        def __call__(self, step):
            return 0.1 * (step % 3)

    assert Sawtooth().rates(2, 3).tolist() == [0.2, 0.0, 0.1]
    with pytest.raises(NotImplementedError, match="Schedule defines neither"):
        Schedule()(0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Constant(-1), ValueError, "Constant: learning_rate is -1, wanted a finite number from 0 up"),
        (lambda: Constant("fast"), TypeError, "Constant: learning_rate is 'fast', wanted a number"),
        (lambda: Constant(math.nan), ValueError, "learning_rate is nan"),
        (lambda: Constant(True), TypeError, "Constant: learning_rate is True, wanted a number"),
        (lambda: Constant(10**400), ValueError, "wanted a finite number from 0 up"),
        (lambda: StepDecay(1, None), TypeError, "StepDecay: every is None, wanted a whole number or a sequence of them"),
        (lambda: CosineDecay(1, 5, restart="no"), TypeError, "CosineDecay: restart is 'no', wanted True or False"),
        (lambda: StepDecay(1, 0), ValueError, "StepDecay: every is 0, wanted a whole number from 1 up"),
        (lambda: StepDecay(1, 2.5), TypeError, "every is 2.5"),
        (lambda: StepDecay(1, (5, 3)), ValueError, "steps from 0 up that rise"),
        (lambda: StepDecay(1, (1.5,)), TypeError, "every has 1.5"),
        (lambda: StepDecay(1, ()), ValueError, "steps from 0 up that rise"),
        (lambda: StepDecay(1, 2, 1.5), ValueError, "factor is 1.5, wanted a finite number from 0 to 1"),
        (lambda: ExponentialDecay(1, 0.5, 0), ValueError, "every is 0"),
        (lambda: CosineDecay(1, 0), ValueError, "steps is 0"),
        (lambda: CosineDecay(1, 5, warmup_steps=-1), ValueError, "warmup_steps is -1"),
        (lambda: CosineDecay(1, 5, growth=0), ValueError, "growth is 0"),
        (lambda: OneCycle(1, 1), ValueError, "steps is 1"),
        (lambda: OneCycle(1, 10, rise=0.01), ValueError, "rise is 0.01"),
        (lambda: InverseScaling(1, -1), ValueError, "power is -1"),
        (lambda: Constant(1).rates(-1, 2), ValueError, "wanted numbers from 0 up"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, error, message):
    with pytest.raises(error, match=message.replace("(", r"\(")):
        make()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("give", "error", "message"),
    [
        (lambda count: np.full(count, np.nan), ValueError, "gave nan for step 0, wanted a finite number from 0 up"),
        (lambda count: np.full(count, -0.5), ValueError, "gave -0.5 for step 0"),
        (lambda count: np.full(count, np.inf), ValueError, "gave inf for step 0"),
        (lambda count: np.ones(count + 1), ValueError, r"gave float64 of shape \(2,\) for 1 steps from step 0 on"),
        (lambda count: np.ones(0), ValueError, r"gave float64 of shape \(0,\)"),
        (lambda count: np.ones((count, 1)), ValueError, r"gave float64 of shape \(1, 1\)"),
        (lambda count: 0.1, ValueError, r"gave 0\.1 for 1 steps"),
        (lambda count: None, TypeError, "gave None"),
        (lambda count: np.full(count, None), TypeError, "gave object of shape"),
        (lambda count: np.full(count, 1j), TypeError, "gave complex128"),
    ],
)
def test_rates_that_make_no_sense_change_nothing(own, give, error, message):
    # From whatever object with rates(first, count): the engine would read its array as float64.
    class Strange:
        rates = staticmethod(lambda first, count: give(count))

    class Same:
        forward = backward = staticmethod(lambda x: x)

    layers = [pynn.Dense(2, 3), pynn.Dropout(0.5), pynn.Dense(3, 1)] + [Same()] * own
    net = pynn.Network(layers, optimizer=pynn.Adam(Strange()), seed=0)
    before = net.parameters.copy()
    with pytest.raises(error, match="^Adam: learning_rate, .*" + message):
        net.fit(np.ones((8, 2)), np.ones(8), batch_size=8)
    assert np.array_equal(net.parameters, before)
    assert net.optimizer.steps == net.layers[1].step == 0


@pytest.mark.parametrize("dtype", ["float32", ">f8", "int8", "list"])
def test_rates_of_other_dtypes_are_converted(dtype):
    class Other:
        @staticmethod
        def rates(first, count):
            return [1] * count if dtype == "list" else np.ones(2 * count, dtype)[::2]

    nets = [pynn.Network([pynn.Dense(2, 1)], optimizer=pynn.Adam(rate), seed=0) for rate in (Other(), 1.0)]
    for net in nets:
        net.fit(np.ones((8, 2)), np.ones(8), batch_size=2, epochs=3)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)
