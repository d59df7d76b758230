"""Timing in turn: every contestant runs once in each round, so that what disturbs the machine disturbs all of them alike.

What runs in one thread is timed by that thread's own clock (``time.thread_time``), which stands still while another program has
the processor; what may run in several threads by the clock on the wall.

On a rented machine two processors may at times be the two hyperthreads of one core, each half as fast while the other works; and
other programs may want them. Two threads then gain nothing, whoever's they are. ``slowdown`` tells.
"""

from __future__ import annotations

import threading
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

import pynn

Slot = Callable[[int], float]  # runs a number of calls, returns the seconds they took


def calls_of(function: Callable[..., Any], *arguments: Any, clock: Callable[[], float] = time.perf_counter) -> Slot:
    """A slot that calls ``function(*arguments)`` with nothing between the calls but a loop: no lambda, no unpacking."""
    names = [f"argument_{i}" for i in range(len(arguments))]
    scope = {"function": function, **dict(zip(names, arguments, strict=True))}
    return timeit.Timer(f"function({', '.join(names)})", timer=clock, globals=scope).timeit


def calls_within(slot: Slot, seconds: float) -> int:
    """How many calls take about ``seconds``, at least 1. The first call, which may allocate or compile, does not count."""
    slot(1)
    calls = 1
    while True:
        took = slot(calls)
        if took >= seconds / 4:
            return max(1, round(calls * seconds / took))
        calls = calls * 10 if took < seconds / 100 else calls * 2


def slowdown(threads: int) -> float:
    """How much longer ``threads`` take by the clock on the wall than one by its own: about 1; 2 where two share a core."""
    x = np.ones((192, 192), np.float32)
    before = pynn.get_num_threads()

    def work(number: int, clock: Callable[[], float], took: list[float], barrier: threading.Barrier) -> None:
        barrier.wait()
        began = clock()
        for _ in range(6):  # most of a millisecond, in which the interpreter's lock is free
            pynn.kernels.affine(x, x)
        took[number] = clock() - began

    def slowest(number: int, clock: Callable[[], float]) -> float:
        took, barrier = [0.0] * number, threading.Barrier(number)
        workers = [threading.Thread(target=work, args=(i, clock, took, barrier)) for i in range(number)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return max(took)

    pynn.set_num_threads(1)
    try:
        return slowest(threads, time.perf_counter) / slowest(1, time.thread_time)
    finally:
        pynn.set_num_threads(before)


class Cores:
    """Waits until so many threads have cores of their own, for ``patience`` seconds in all; counts rounds measured again."""

    TOO_SLOW = 1.4

    def __init__(self, threads: int, patience: float = 120.0) -> None:
        """One thread has a core of its own always."""
        self.threads, self.patience, self.again, self.shared = threads, patience, 0, 0

    def own(self) -> bool:
        """Whether they have, now."""
        return self.threads < 2 or slowdown(self.threads) < self.TOO_SLOW

    def wait(self) -> None:
        """Return when they have, or patience is at its end."""
        while self.patience > 0 and not self.own():
            time.sleep(0.1)
            self.patience -= 0.1

    def good(self) -> bool:
        """Whether the round that has just been measured counts; it must, once patience is at its end."""
        if self.own():
            return True
        if self.patience <= 0:
            self.shared += 1
            return True
        self.again += 1
        self.patience -= 1  # or rounds that end badly after they began well would go on for ever
        return False

    def __str__(self) -> str:
        """What came of it."""
        if self.threads < 2:
            return "one thread each"
        counted = f"; {self.shared} such rounds count" if self.shared else ""
        return f"{self.again} rounds measured again, in which {self.threads} threads lacked cores of their own{counted}"


def in_turn(
    slots: Mapping[str, Slot], rounds: int, seconds: float, pause: float = 0.0, cores: Cores | None = None
) -> dict[str, list[float]]:
    """Seconds per call of each slot in each round; a slot's turn takes about ``seconds``, or one call where that is longer.

    Each turn begins with an untimed call, which brings its own data into the caches. ``pause`` is slept before each turn, so that
    threads of the one before that still spin have gone to sleep. A round that ``cores`` finds to have had no cores of its own is
    measured again.
    """
    cores = cores or Cores(1)
    calls = {name: calls_within(slot, seconds) for name, slot in slots.items()}
    times: dict[str, list[float]] = {name: [] for name in slots}
    while rounds:
        cores.wait()
        this = {}
        for name, slot in slots.items():
            if pause:
                time.sleep(pause)
            slot(1)
            this[name] = slot(calls[name]) / calls[name]
        if pause:
            time.sleep(pause)
        if not cores.good():
            continue
        rounds -= 1
        for name, took in this.items():
            times[name].append(took)
    return times


def ratio(times: Sequence[float], baseline: Sequence[float]) -> float:
    """How many times faster than ``baseline`` the contestant is: the median over the rounds of the ratio within a round."""
    return median(theirs / ours for ours, theirs in zip(times, baseline, strict=True))
