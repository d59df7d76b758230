"""Learning rates that change from step to step.

A schedule is called with a step, the number of updates made so far, from 0, and gives the learning rate of the next one:
``schedule(step)`` is a float, ``schedule.rates(first, count)`` the float64 array of ``count`` of them from step ``first`` on.
A schedule of one's own derives from :class:`Schedule` and defines ``_rates(steps)``, or ``__call__(step)``.

All are computed from sums, products, quotients and roots, which IEEE 754 fixes, and from the series below, so that they have the
same bits on every machine; within 1e-12 of what a mathematics library makes of the same formula.

Arguments that make no sense are a ``ValueError`` or ``TypeError``. Schedules compare, hash, pickle and print by their arguments.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn.checks import as_flag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Steps = NDArray[np.int64]

__all__ = [
    "Constant",
    "CosineDecay",
    "ExponentialDecay",
    "InverseScaling",
    "OneCycle",
    "Schedule",
    "StepDecay",
]


CALLED = 256  # rates computed at once for calls one by one: some 30 us for one, some 40 for all of them

# ---- functions that a mathematics library would give other last bits of ------------------------------------------------------


def _series(x: Floats, coefficients: Sequence[float]) -> Floats:
    """Σ coefficients[k] xᵏ by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total *= x
        total += coefficient
    return total


_SIN = [(-1) ** k / math.factorial(2 * k + 1) for k in range(12)]
_EXP = [1 / math.factorial(k) for k in range(15)]
_ATANH = [1 / (2 * k + 1) for k in range(13)]
_LN2 = 0.6931471805599453
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")  # sum: ln 2


def _half_cosine(t: Floats) -> Floats:
    """(1 + cos π t) / 2 = sin² (π/2 (1 - t)) for t from 0 to 1; exactly 1 and 0 at the ends."""
    angle = (np.pi / 2) * (1.0 - t)
    sine: Floats = np.minimum(angle * _series(angle * angle, _SIN), 1.0)
    return np.where(t <= 0, 1.0, sine * sine)


def _log(x: Floats) -> Floats:
    """ln x for x > 0: x = 2ᵉ m with m from √½ to √2, ln m = 2 atanh((m - 1) / (m + 1))."""
    m, e = np.frexp(x)
    small = m < math.sqrt(0.5)
    m, e = np.where(small, 2 * m, m), e - small
    s = (m - 1) / (m + 1)
    result: Floats = e * _LN2_HIGH + (e * _LN2_LOW + 2 * s * _series(s * s, _ATANH))
    return result


def _exp(x: Floats) -> Floats:
    """eˣ = 2ⁿ eʳ with r from -½ ln 2 to ½ ln 2."""
    n = np.rint(x / _LN2)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    result: Floats = np.ldexp(_series(r, _EXP), n.astype(np.int32))
    return result


_EXACT = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])


def _powers(base: Decimal, exponents: Steps) -> Floats:
    """``base`` to whole powers from 0 up: products of its powers of two, each of those rounded once."""
    result = np.ones(len(exponents))
    for bit in range(int(exponents.max(initial=0)).bit_length()):
        power = float(_EXACT.power(base, 2**bit))
        result = np.where(exponents >> bit & 1, result * power, result)
    return result


# ---- checks ------------------------------------------------------------------------------------------------------------------


def _number(owner: Any, name: str, least: float = 0.0, most: float = math.inf) -> None:
    value = getattr(owner, name)
    where = type(owner).__name__
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{where}: {name} is {value!r}, wanted a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (least <= number <= most and math.isfinite(number)):
        to = "up" if most == math.inf else f"to {most:g}"
        raise ValueError(f"{where}: {name} is {value!r}, wanted a finite number from {least:g} {to}")
    object.__setattr__(owner, name, number)


def _whole(owner: Any, name: str, least: int) -> None:
    value = getattr(owner, name)
    where = type(owner).__name__
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}: {name} is {value!r}, wanted a whole number")
    if not least <= value < 2**62:
        raise ValueError(f"{where}: {name} is {value!r}, wanted a whole number from {least} up")
    object.__setattr__(owner, name, int(value))


# ---- schedules ---------------------------------------------------------------------------------------------------------------


class Schedule:
    """What schedules derive from.

    >>> import pynn
    >>> class Sawtooth(pynn.schedules.Schedule):
    ...     def __call__(self, step):
    ...         return 0.1 - 0.01 * (step % 10)
    >>> Sawtooth().rates(8, 3)
    array([0.02, 0.01, 0.1 ])
    """

    _block: tuple[int, list[float]] = (-1, [])  # where the rates that the last call computed begin, and these

    def __call__(self, step: int) -> float:
        """The learning rate of the update after ``step`` others."""
        first = step - step % CALLED
        begin, block = self._block
        if first != begin:
            block = self.rates(first, CALLED).tolist()
            object.__setattr__(self, "_block", (first, block))
        return block[step - first]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_block"}

    def rates(self, first: int, count: int) -> Floats:
        """The rates (count,) of steps ``first``, ``first`` + 1, ... in float64.

        >>> import pynn
        >>> pynn.schedules.Constant(0.1).rates(0, 3)
        array([0.1, 0.1, 0.1])
        """
        if first < 0 or count < 0:
            raise ValueError(f"{type(self).__name__}: steps from {first} on, {count} of them, wanted numbers from 0 up")
        return self._rates(np.arange(first, first + count, dtype=np.int64))

    def _rates(self, steps: Steps) -> Floats:
        if type(self).__call__ is Schedule.__call__:
            raise NotImplementedError(f"{type(self).__name__} defines neither __call__(step) nor _rates(steps)")
        return np.array([self(step) for step in steps.tolist()], np.float64)


@dataclass(frozen=True)
class Constant(Schedule):
    """α(s) = ``learning_rate``, whatever the step s.

    >>> Constant(0.1)(1000)
    0.1
    """

    learning_rate: float

    def __post_init__(self) -> None:
        _number(self, "learning_rate")

    def _rates(self, steps: Steps) -> Floats:
        return np.full(len(steps), self.learning_rate)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """α(s) = ``learning_rate`` · ``factor`` ^ n, where n is how often ``every`` steps have passed, or, if ``every`` is a sequence
    of steps that rise, how many of them (He et al., 2016).

    >>> StepDecay(1.0, every=10, factor=0.5).rates(9, 2)
    array([1. , 0.5])
    >>> StepDecay(1.0, every=(10, 15), factor=0.5).rates(9, 7)
    array([1.  , 0.5 , 0.5 , 0.5 , 0.5 , 0.5 , 0.25])
    """

    learning_rate: float
    every: int | tuple[int, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        _number(self, "learning_rate")
        _number(self, "factor", 0.0, 1.0)
        if isinstance(self.every, (int, float, bool, np.number, str)):
            _whole(self, "every", 1)
            return
        if not isinstance(self.every, Iterable):
            raise TypeError(f"StepDecay: every is {self.every!r}, wanted a whole number or a sequence of them")
        steps = tuple(self.every)
        for step in steps:
            if isinstance(step, bool) or not isinstance(step, (int, np.integer)):
                raise TypeError(f"StepDecay: every has {step!r}, wanted whole numbers")
        if not steps or steps[0] < 0 or any(a >= b for a, b in itertools.pairwise(steps)):
            raise ValueError(f"StepDecay: every is {self.every!r}, wanted steps from 0 up that rise")
        object.__setattr__(self, "every", tuple(map(int, steps)))

    def _rates(self, steps: Steps) -> Floats:
        passed = steps // self.every if isinstance(self.every, int) else np.searchsorted(self.every, steps, side="right")
        return self.learning_rate * _powers(Decimal(self.factor), passed)


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """α(s) = ``learning_rate`` · ``factor`` ^ (s / ``every``): by ``factor`` in ``every`` steps, a little in each (Senior
    et al., 2013).

    >>> ExponentialDecay(1.0, factor=0.25, every=2).rates(0, 4)
    array([1.   , 0.5  , 0.25 , 0.125])
    """

    learning_rate: float
    factor: float
    every: int = 1

    def __post_init__(self) -> None:
        _number(self, "learning_rate")
        _number(self, "factor", 0.0, 1.0)
        _whole(self, "every", 1)

    def _rates(self, steps: Steps) -> Floats:
        base = Decimal(self.factor)
        if self.every > 1 and base:
            base = _EXACT.exp(_EXACT.divide(_EXACT.ln(base), Decimal(self.every)))
        return self.learning_rate * _powers(base, steps)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Half a cosine from ``learning_rate`` down to ``final`` (Loshchilov and Hutter, 2017, SGDR):
    α(s) = final + (learning_rate - final) (1 + cos π s / steps) / 2, and ``final`` after that.

    The first ``warmup_steps`` steps rise in a straight line from ``warmup_from``; the cosine's ``steps`` begin after them. With
    ``restart`` another cosine begins at the end of each, ``growth`` times as long as the one before.

    >>> CosineDecay(1.0, steps=4).rates(0, 6).round(3)
    array([1.   , 0.854, 0.5  , 0.146, 0.   , 0.   ])
    >>> CosineDecay(1.0, steps=2, warmup_steps=2, restart=True).rates(0, 7).round(3)
    array([0. , 0.5, 1. , 0.5, 1. , 0.5, 1. ])
    """

    learning_rate: float
    steps: int
    final: float = 0.0
    warmup_steps: int = 0
    warmup_from: float = 0.0
    restart: bool = False
    growth: int = 1

    def __post_init__(self) -> None:
        for name in ("learning_rate", "final", "warmup_from"):
            _number(self, name)
        _whole(self, "steps", 1)
        _whole(self, "warmup_steps", 0)
        _whole(self, "growth", 1)
        object.__setattr__(self, "restart", as_flag(self.restart, "CosineDecay", "restart"))

    def _rates(self, steps: Steps) -> Floats:
        since = np.maximum(steps - self.warmup_steps, 0)
        length: Any = self.steps
        if not self.restart:
            since = np.minimum(since, length)
        elif self.growth == 1:
            since = since % length
        else:
            starts, lengths = [0], [self.steps]
            while starts[-1] + lengths[-1] <= since.max(initial=0):
                starts.append(starts[-1] + lengths[-1])
                lengths.append(lengths[-1] * self.growth)
            cycle = np.searchsorted(starts, since, side="right") - 1
            since, length = since - np.array(starts)[cycle], np.array(lengths, np.float64)[cycle]
        rates = self.final + (self.learning_rate - self.final) * _half_cosine(since / length)
        if self.warmup_steps:
            rising = self.warmup_from + (self.learning_rate - self.warmup_from) * (steps / self.warmup_steps)
            rates = np.where(steps < self.warmup_steps, rising, rates)
        return rates


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up and down once in ``steps`` steps (Smith and Topin, 2018): half a cosine from ``learning_rate`` / ``initial_divisor`` up
    to ``learning_rate`` at step ``rise`` · steps - 1, and half a cosine down to the initial rate / ``final_divisor`` at the last
    step, where it stays. From a at step p to b at step q it is α(s) = b + (a - b) (1 + cos π (s - p) / (q - p)) / 2.

    >>> OneCycle(1.0, steps=10).rates(0, 4).round(3)
    array([0.04, 0.52, 1.  , 0.95])
    """

    learning_rate: float
    steps: int
    rise: float = 0.3
    initial_divisor: float = 25.0
    final_divisor: float = 1e4

    def __post_init__(self) -> None:
        _number(self, "learning_rate")
        _whole(self, "steps", 2)
        _number(self, "rise", 0.0, 1.0)
        _number(self, "initial_divisor", 1.0)
        _number(self, "final_divisor", 1.0)
        if not 0 < self.rise * self.steps - 1 < self.steps - 1:
            raise ValueError(
                f"OneCycle: rise is {self.rise!r}, wanted the top after the first step of {self.steps} and before the last"
            )

    def _rates(self, steps: Steps) -> Floats:
        top, last = self.rise * self.steps - 1, self.steps - 1
        initial = self.learning_rate / self.initial_divisor
        final = initial / self.final_divisor
        up = self.learning_rate + (initial - self.learning_rate) * _half_cosine(np.minimum(steps / top, 1.0))
        fallen = np.clip((steps - top) / (last - top), 0.0, 1.0)
        return np.where(steps <= top, up, final + (self.learning_rate - final) * _half_cosine(fallen))


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """α(s) = ``learning_rate`` / (s + 1) ^ ``power`` (Robbins and Monro, 1951; with the root, Zinkevich, 2003).

    >>> InverseScaling(1.0).rates(0, 4).round(3)
    array([1.   , 0.707, 0.577, 0.5  ])
    """

    learning_rate: float
    power: float = 0.5

    def __post_init__(self) -> None:
        _number(self, "learning_rate")
        _number(self, "power", 0.0, 16.0)

    def _rates(self, steps: Steps) -> Floats:
        t = steps.astype(np.float64) + 1.0
        if self.power == 0.5:
            return self.learning_rate / np.sqrt(t)
        if self.power == 1.0:
            return self.learning_rate / t
        return self.learning_rate * _exp(-self.power * _log(t))
