"""Timing in turn: every contestant runs once in each round, so that what disturbs the machine disturbs all of them alike.

What runs in one thread is timed by that thread's own clock (``time.thread_time``), which stands still while another program has
the processor; what may run in several threads by the clock on the wall.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

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


def in_turn(slots: Mapping[str, Slot], rounds: int, seconds: float, pause: float = 0.0) -> dict[str, list[float]]:
    """Seconds per call of each slot in each round; a slot's turn takes about ``seconds``, or one call where that is longer.

    Each turn begins with an untimed call, which brings its own data into the caches. ``pause`` is slept before each turn, so that
    threads of the one before that still spin have gone to sleep.
    """
    calls = {name: calls_within(slot, seconds) for name, slot in slots.items()}
    times: dict[str, list[float]] = {name: [] for name in slots}
    for _ in range(rounds):
        for name, slot in slots.items():
            if pause:
                time.sleep(pause)
            slot(1)
            times[name].append(slot(calls[name]) / calls[name])
    return times


def ratio(times: Sequence[float], baseline: Sequence[float]) -> float:
    """How many times faster than ``baseline`` the contestant is: the median over the rounds of the ratio within a round."""
    return median(theirs / ours for ours, theirs in zip(times, baseline, strict=True))
