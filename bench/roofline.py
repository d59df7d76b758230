"""What this machine can do at most, and how much of it each kernel gets.

The limits (bench/roofline.c, compiled when first needed): fused multiply-adds per second, by dtype, and bytes read per second
from each level of memory. A product of many rows is limited by the first, a product of one row and most elementwise work by the
second.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import pynn
from bench import report, timing

SOURCE = Path(__file__).with_name("roofline.c")
DECLARATIONS = """
size_t vector_bytes(void);
double fma_float(size_t times, float *sink);
double fma_double(size_t times, double *sink);
uint64_t read_all(const void *data, size_t bytes, size_t times);
"""


@dataclass
class Machine:
    """The limits of ``threads`` threads: operations and bytes per second."""

    threads: int
    vector_bytes: int
    peak: dict[str, float]  # by dtype
    bandwidth: dict[str, float]  # by level, L1 first
    capacity: dict[str, int]  # bytes of one thread's share of each level

    def level(self, touched: float) -> str:
        """The first level that holds so many bytes."""
        return next((level for level, size in self.capacity.items() if touched <= size), "DRAM")

    def least_seconds(self, dtype: str, operations: float, touched: float) -> float:
        """The roofline: no code does these operations on this many different bytes faster."""
        return max(operations / self.peak[dtype], touched / self.bandwidth[self.level(touched)])

    def __str__(self) -> str:
        """A line of a header."""
        peaks = ", ".join(f"{dtype} {peak / 1e9:.0f}" for dtype, peak in self.peak.items())
        reads = ", ".join(f"{level} {rate / 1e9:.0f}" for level, rate in self.bandwidth.items())
        return f"{self.threads} thread{'s' * (self.threads > 1)}: multiply-add peak {peaks} GFLOP/s; reads {reads} GB/s"


@cache
def library() -> tuple[Any, Any]:
    """cffi's interface and bench/roofline.c, compiled for this processor and kept in the user's cache directory."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    compiler = shlex.split(os.environ.get("CC", "cc"))
    key = hashlib.sha256("\0".join((SOURCE.read_text(encoding="utf-8"), *compiler, report.processor())).encode()).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pynn-bench"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        root = Path(tempfile.mkdtemp(prefix="pynn-bench-"))
    built = root / f"roofline-{key}.so"
    if not built.exists():
        fresh = root / f"roofline-{key}-{os.getpid()}.so"  # renamed when complete: another run may be at it
        command = [
            *compiler,
            "-O3",
            "-ffp-contract=fast",
            "-Wno-unknown-pragmas",
            "-shared",
            "-fPIC",
            str(SOURCE),
            "-o",
            str(fresh),
        ]
        # Not every compiler takes both; what the last one that works gives, counts.
        tries = [
            subprocess.run([*command, flag], capture_output=True, text=True, check=False)
            for flag in ("-mcpu=native", "-march=native")
        ]
        if not fresh.exists():
            raise RuntimeError(f"roofline.c: {shlex.join(command)} failed; CC chooses another compiler\n{tries[-1].stderr}")
        fresh.rename(built)
    return ffi, ffi.dlopen(str(built))


def _cache_bytes() -> dict[str, int]:
    """The sizes of the data caches of the first processor, usual ones where the system does not tell."""
    sizes = {"L1": 32 << 10, "L2": 512 << 10, "L3": 16 << 20}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction" and f"L{level}" in sizes:
            sizes[f"L{level}"] = int(size.rstrip("K")) << 10
    return sizes


def _rate(work: Callable[[int], float], threads: int, seconds: float, tries: int = 3) -> float:
    """The best rate of all threads together of ``work(thread)``, which returns how much it did, in C, without the GIL."""
    best = 0.0
    until = time.perf_counter() + seconds
    while tries > 0 or time.perf_counter() < until:
        tries -= 1
        rates = [0.0] * threads
        barrier = threading.Barrier(threads)

        def run(thread: int, rates: list[float] = rates, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            began = time.thread_time()
            done = work(thread)
            rates[thread] = done / (time.thread_time() - began)

        if threads == 1:
            run(0)
        else:
            workers = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        best = max(best, sum(rates))
    return best


def measure(threads: int = 1, seconds: float = 0.1) -> Machine:
    """Measure the limits of ``threads`` threads; each number takes about ``seconds``."""
    ffi, lib = library()
    vector = lib.vector_bytes()

    def fma(dtype: str) -> float:
        kind = {"float32": "float", "float64": "double"}[dtype]
        function = getattr(lib, f"fma_{kind}")
        sinks = [ffi.new(f"{kind}[3]", [0.5, 0.25, 0.0]) for _ in range(threads)]
        return _rate(lambda thread: function(200_000, sinks[thread]), threads, seconds)

    def read(size: int) -> float:
        size = size // (8 * vector) * (8 * vector)
        data = [np.ones(size + 64, np.uint8) for _ in range(threads)]
        starts = [ffi.cast("char *", array.ctypes.data + -array.ctypes.data % 64) for array in data]
        times = max(1, (16 << 20) // size)

        def work(thread: int) -> float:
            lib.read_all(starts[thread], size, times)
            return float(size * times)

        return _rate(work, threads, seconds)

    caches = _cache_bytes()
    capacity = {"L1": caches["L1"], "L2": caches["L2"], "L3": caches["L3"] // threads}
    # Sizes well inside a level, and outside the one before it.
    sizes = {
        "L1": caches["L1"] // 2,
        "L2": caches["L2"] // 2,
        "L3": max(2 * caches["L2"], min(capacity["L3"] // 4, 8 << 20)),
        "DRAM": 4 * caches["L3"] // threads,
    }
    return Machine(
        threads,
        vector,
        {dtype: fma(dtype) for dtype in ("float32", "float64")},
        {level: read(size) for level, size in sizes.items()},
        capacity,
    )


# ---- how much of it the kernels get ----------------------------------------------------------------------------------


def _peers_of_activation(name: str) -> dict[str, Callable[[Any], Any]]:
    """What else computes this activation of a NumPy array, giving one back."""
    numpy_formula = pynn.reference.activation
    peers: dict[str, Callable[[Any], Any]] = {"NumPy": lambda x: numpy_formula(name, x)}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        function = getattr(torch, name)
        peers["torch"] = lambda x: function(torch.from_numpy(x)).numpy()
    return peers


def run(options: argparse.Namespace) -> report.Report:
    """``python -m bench roofline``."""
    import threadpoolctl

    most = pynn.get_num_threads()
    seconds = 0.02 if options.quick else 0.2
    rounds, turn = (3, 0.001) if options.quick else (15, 0.005)
    result = report.Report("roofline", report.header(f"1 and {most}" if most > 1 else "1"))
    result.header["timing"] = (
        f"limits: the best rate; kernels: the fastest of {rounds} rounds of {turn * 1e3:g} ms or one call; "
        "activations: medians; one thread by its own clock"
    )
    machines = [measure(threads, seconds) for threads in sorted({1, most})]
    limits = report.Table("Limits of this machine", ["threads", "vector bytes", "what", "rate", "unit"], [])
    for machine in machines:
        for dtype, peak in machine.peak.items():
            limits.rows.append([machine.threads, machine.vector_bytes, f"multiply-adds, {dtype}", peak / 1e9, "GFLOP/s"])
        for level, rate in machine.bandwidth.items():
            limits.rows.append([machine.threads, machine.vector_bytes, f"reads from {level}", rate / 1e9, "GB/s"])
    result.tables.append(limits)

    random = np.random.default_rng(0)

    def best_of(threads: int, function: Callable[..., Any], *arguments: Any) -> float:
        """The fastest round, since limits are what was reached at best, too."""
        slot = timing.calls_of(function, *arguments, clock=time.thread_time if threads == 1 else time.perf_counter)
        return min(timing.in_turn({"pynn": slot}, rounds, turn)["pynn"])

    def row_of(machine: Machine, dtype: str, inputs: int, outputs: int, batch: int) -> list[list[report.Cell]]:
        """The three products of a layer, as share of what limits them."""
        layer = pynn.Network([pynn.Dense(inputs, outputs)], dtype=dtype, seed=0).layers[0]
        shape = (batch,) if batch > 1 else ()
        x, dy = random.standard_normal((*shape, inputs)).astype(dtype), random.standard_normal((*shape, outputs)).astype(dtype)
        rows: list[list[report.Cell]] = []
        size = np.dtype(dtype).itemsize
        for name, arguments in (
            ("affine", (layer.weight, x, layer.bias)),
            ("weight_gradient", (dy, x, pynn.kernels.weight_gradient(dy, x))),  # into an array that is there, as in training
            ("input_gradient", (layer.weight, dy)),
        ):
            report.progress(f"{name} {inputs}x{outputs} batch {batch} {dtype} {machine.threads} threads")
            took = best_of(machine.threads, getattr(pynn.kernels, name), *arguments)
            operations, touched = 2.0 * inputs * outputs * batch, float(size * (inputs * outputs + batch * (inputs + outputs)))
            share = 100 * machine.least_seconds(dtype, operations, touched) / took
            rate = operations / took / 1e9 if batch > 1 else touched / took / 1e9
            rows.append([name, dtype, f"{inputs}x{outputs}", batch, machine.threads, took * 1e6, rate, share])
        return rows

    columns = ["kernel", "dtype", "in x out", "batch", "threads", "µs"]
    many = report.Table("Products of many rows: share of the multiply-add peak", [*columns, "GFLOP/s", "% of peak"])
    one = report.Table(
        "Products of one row: share of the read bandwidth of the level that holds the weight",
        [*columns, "GB/s", "% of limit", "level"],
    )
    before = pynn.get_num_threads()
    widths = (64,) if options.quick else (64, 128, 256, 512)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        for machine in machines:
            pynn.set_num_threads(machine.threads)
            for dtype in ("float32",) if options.quick else ("float32", "float64"):
                for width in widths:
                    for batch in (32,) if options.quick else (32, 256):
                        many.rows += row_of(machine, dtype, width, width, batch)
                # A weight in the middle of each cache, and one four times the last one's size.
                item = np.dtype(dtype).itemsize
                targets = {level: machine.capacity[level] / 2 for level in ("L1", "L2")} | {
                    "L3": 8 << 20,
                    "DRAM": 4.0 * machine.capacity["L3"] * machine.threads,
                }
                for level, target in list(targets.items())[: 2 if options.quick else 4]:
                    width = int((target / item) ** 0.5) // 16 * 16
                    one.rows += [[*row, level] for row in row_of(machine, dtype, width, width, 1)]
        pynn.set_num_threads(1)
        elementwise = report.Table(
            "Activations of 4096 elements in the L1 or L2 cache, one thread",
            ["activation", "dtype", "who", "ns/element", "pynn is faster"],
        )
        for name in ("sigmoid", "tanh"):
            for dtype in ("float32", "float64"):
                x = random.standard_normal(4096).astype(dtype)
                slots = {"pynn": timing.calls_of(pynn.kernels.activation, name, x, clock=time.thread_time)}
                for who, function in _peers_of_activation(name).items():
                    slots[who] = timing.calls_of(function, x, clock=time.thread_time)
                times = timing.in_turn(slots, rounds, turn)
                for who, each in times.items():
                    faster = timing.ratio(times["pynn"], each)
                    elementwise.rows.append([name, dtype, who, median(each) / x.size * 1e9, faster])
                    result.ratios.setdefault(f"activation, {who}", {}).setdefault(dtype, {})[name] = faster
    pynn.set_num_threads(before)
    report.progress("")
    result.tables += [many, one, elementwise]
    result.summary = [str(machine) for machine in machines]
    return result


def add_options(parser: argparse.ArgumentParser) -> None:
    """No options but those that all have."""
    report.add_output_options(parser)
