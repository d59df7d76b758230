"""How exact every activation is: f and f' over all numbers of float32 and a sample of float64, and beside other libraries.

Each result is compared with a reference of more than twice the digits (bench/references.py), and the worst are judged once more
in arbitrary precision, which also has to confirm the reference.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

import pynn
from bench import references, report, timing

DTYPES = ("float32", "float64")
THRESHOLDS = (0.5, 0.6, 0.75, 1.0, 2.0)
BLOCK, SLICE, BIN = 2**24, 2**15, 2**20  # patterns of a task, numbers at a time (in cache), patterns of a point of the picture
# float32: one of so many neighbours, all of them with --exhaustive. float64: how many tasks of BLOCK numbers.
STEPS = {"quick": 2**14, "sample": 2**8, "exhaustive": 1}
TASKS_64 = {"quick": 1, "sample": 1, "exhaustive": 6}
SIZE_64 = {"quick": 2**16, "sample": 2**22, "exhaustive": BLOCK}
FEW_64 = {"quick": 2**10, "sample": 2**13, "exhaustive": 2**14}  # in arbitrary precision, where long double does not suffice
KEPT = 4  # of each task, so many of its worst points are judged in arbitrary precision if they are among the worst of all
CONFIRMED = 64
TIMED = 2**15  # elements: 128 KiB, in the second level cache
COLUMNS = ["activation", "", "inputs", "worst ULP", "at x", "subnormal", *(f"<= {t:g}" for t in THRESHOLDS), "more", "reference"]
PRIME = {"f": "f", "derivative": "f'"}

Function = Callable[[Any], Any]


@dataclass
class Tally:
    """What was found of one function on some inputs."""

    count: int = 0
    worst: list[tuple[float, float]] = field(default_factory=list)  # (units off, input), largest first
    subnormal: float = 0.0  # the most among subnormal results
    normal: float = 0.0  # and among the others
    above: list[int] = field(default_factory=lambda: [0] * len(THRESHOLDS))  # how many are off by more
    profile: dict[int, float] = field(default_factory=dict)  # float32: BIN patterns -> the most among them

    def add(self, off: Any, subnormal: Any, x: Any) -> None:
        """Count some inputs."""
        self.count += x.size
        i = int(off.argmax())
        most = float(off[i])
        self.worst.append((most, float(x[i])))
        self.above = [
            n + (int(np.count_nonzero(off > t)) if most > t else 0) for n, t in zip(self.above, THRESHOLDS, strict=True)
        ]
        if subnormal.any():
            self.subnormal = max(self.subnormal, float(off[subnormal].max()))
            most = float(off[~subnormal].max(initial=0))
        self.normal = max(self.normal, most)

    def join(self, other: Tally, kept: int) -> None:
        """Count what ``other`` has counted."""
        self.count += other.count
        self.worst = sorted(self.worst + other.worst, reverse=True)[:kept]
        self.subnormal, self.normal = max(self.subnormal, other.subnormal), max(self.normal, other.normal)
        self.above = [n + m for n, m in zip(self.above, other.above, strict=True)]
        for place, off in other.profile.items():
            self.profile[place] = max(off, self.profile.get(place, 0))


class Task(NamedTuple):
    """Some inputs of one function: float32 patterns from ``begin`` on, float64 numbers drawn from that seed, or hard points."""

    which: str
    name: str
    dtype: str
    begin: int | None  # None: hard points
    step: int  # float64: how many
    wide: bool  # whether the reference is in the next wider dtype, rather than in arbitrary precision


def _slices(task: Task) -> Iterator[Any]:
    if task.begin is None:
        yield references.hard_points(getattr(np, task.dtype))
    elif task.dtype == "float64":
        for i in range(0, task.step, SLICE):
            yield references.float64_sample(task.begin + i, min(SLICE, task.step - i))
    else:
        stride = min(SLICE * task.step, BLOCK)
        for begin in range(task.begin, task.begin + BLOCK, stride):
            yield references.float32_patterns(begin, begin + stride, task.step)


def sweep(task: Task, function: Function | None = None) -> Tally:
    """The tally of one task: of pynn, or of ``function`` instead, whose results for NaN do not count."""
    pynn.set_num_threads(1)
    tally = Tally()
    for x in _slices(task):
        got = np.where(np.isnan(x), x, function(x)) if function else references.computed(task.which, task.name, x)
        off, subnormal = references.measure(task.which, task.name, x, got, task.wide)
        tally.add(off, subnormal, x)
        if task.dtype == "float32" and task.begin is not None:
            span = x.size * task.step
            first = int(x[:1].view(np.uint32)[0]) // BIN
            for i, most in enumerate(off.reshape(max(1, span // BIN), -1).max(axis=1)):
                tally.profile[first + i] = max(float(most), tally.profile.get(first + i, 0))
    tally.worst = sorted(tally.worst, reverse=True)[:KEPT]
    return tally


def tasks(which: str, name: str, dtype: str, amount: str) -> list[Task]:
    """All tasks of one function: ``amount`` is quick, sample or exhaustive."""
    wide = dtype == "float32" or references.wide_enough(which, name, dtype)
    hard = Task(which, name, dtype, None, 1, wide)
    if dtype == "float32":
        return [hard, *(Task(which, name, dtype, begin, STEPS[amount], wide) for begin in range(0, 2**32, BLOCK))]
    size = SIZE_64[amount] if wide else FEW_64[amount]
    return [hard, *(Task(which, name, dtype, i << 32, size, wide) for i in range(TASKS_64[amount]))]


def confirm(which: str, name: str, dtype: str, tally: Tally) -> tuple[float, float, float]:
    """The worst by arbitrary precision, at which input, and how far off the reference is there and on hard points."""
    worst = np.array([x for _, x in tally.worst], dtype)
    finite = np.isfinite(worst)
    off = np.array([off for off, _ in tally.worst])
    off[finite] = references.ulps_off_in_mpmath(which, name, worst[finite], references.computed(which, name, worst[finite]))
    reference = 0.0
    if dtype == "float32" or references.wide_enough(which, name, dtype):
        x = np.concatenate([worst[finite], references.hard_points(getattr(np, dtype))[::4]])
        reference = references.reference_off(which, name, x)
    i = int(off.argmax())
    return float(off[i]), float(worst[i]), reference


# ---- peers -----------------------------------------------------------------------------------------------------------


def _numpy(name: str) -> tuple[Function | None, Function | None]:
    """NumPy as people write it; f' from f where that is how it is done."""
    functions = {
        "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype)),
        "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: (y := 1 / (1 + np.exp(-x))) * (1 - y)),
        "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        "arctan": (np.arctan, lambda x: 1 / (1 + x * x)),
    }
    return functions.get(name, (None, None))


def _scipy(name: str) -> tuple[Function | None, Function | None]:
    import scipy.special

    return {"sigmoid": scipy.special.expit}.get(name), None


def _torch(name: str) -> tuple[Function | None, Function | None]:
    import torch

    torch.set_num_threads(1)
    function = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "arctan": torch.arctan}.get(name)
    if function is None:
        return None, None

    def f(x: Any) -> Any:
        with torch.inference_mode():
            return function(torch.from_numpy(x)).numpy()

    def derivative(x: Any) -> Any:
        z = torch.from_numpy(x).requires_grad_()
        function(z).backward(torch.ones_like(z))
        return z.grad.numpy()  # type: ignore[union-attr]

    return f, derivative


def _jax(name: str) -> tuple[Function | None, Function | None]:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp

    function = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "arctan": jnp.arctan}.get(name)
    if function is None:
        return None, None
    f, derivative = jax.jit(function), jax.jit(jax.vmap(jax.grad(function)))
    return lambda x: np.asarray(f(x)), lambda x: np.asarray(derivative(x))


def _onnx(name: str) -> tuple[Function | None, Function | None]:
    import onnx.parser
    import onnxruntime

    operator = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "arctan": "Atan"}.get(name)
    if operator is None:
        return None, None
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> net (float[N] x) => (float[N] y) {{ y = {operator}(x) }}'
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0], None


# What each needs, and f and f' of an activation in float32, from array to array; None what it lacks.
PEERS: dict[str, tuple[tuple[str, ...], Callable[[str], tuple[Function | None, Function | None]]]] = {
    "NumPy": (("numpy",), _numpy),
    "SciPy": (("scipy",), _scipy),
    "torch": (("torch",), _torch),
    "JAX": (("jax",), _jax),
    "ONNX Runtime": (("onnxruntime", "onnx"), _onnx),
}


def _pynn(name: str) -> tuple[Function, Function]:
    return (lambda x: references.computed("f", name, x)), (lambda x: references.computed("derivative", name, x))


def _beside(options: argparse.Namespace, amount: str) -> report.Table:
    """pynn and its peers: how far off on the same inputs, and nanoseconds per element, one thread, in turn."""
    columns = ["activation", "library", "f", "f, subnormal", "f'", "f', subnormal", "f, ns", "f', ns"]
    table = report.Table("float32 beside other libraries: worst ULP, and time per element", columns)
    pynn.set_num_threads(1)
    x = np.random.default_rng(0).standard_normal(TIMED).astype(np.float32) * 2
    for name in options.activations:
        pairs = {"pynn": _pynn(name), **{peer: PEERS[peer][1](name) for peer in options.peers}}
        if not any(f for peer, (f, _) in pairs.items() if peer != "pynn"):
            continue
        slots, tallies = {}, {}
        for peer, pair in pairs.items():
            for which, function in zip(references.WHICH, pair, strict=True):
                if function is None:
                    continue
                report.progress(f"{which} of {name} by {peer}")
                slots[which, peer] = timing.calls_of(function, x, clock=time.process_time)
                tally = tallies[which, peer] = Tally()
                with np.errstate(all="ignore"):
                    for task in tasks(which, name, "float32", amount):
                        tally.join(sweep(task, function), CONFIRMED)
        rounds, seconds = (3, 0.001) if options.quick else (9, 0.01)
        with np.errstate(all="ignore"):
            times = timing.in_turn({str(slot): run for slot, run in slots.items()}, rounds, seconds)
        for peer, pair in pairs.items():
            if pair[0] is None:
                continue
            row: list[report.Cell] = [name, peer]
            for which in references.WHICH:
                tally = tallies.get((which, peer))
                row += [tally.normal, tally.subnormal] if tally else [None, None]
            for which in references.WHICH:
                slot = times.get(str((which, peer)))
                row.append(median(slot) / TIMED * 1e9 if slot else None)
            table.rows.append(row)
    return table


# ---- the report ------------------------------------------------------------------------------------------------------


@dataclass
class AccuracyReport(report.Report):
    """A report whose picture is the worst error over the input, and which goes into a document of its own."""

    def deliver(self, options: argparse.Namespace) -> None:
        """Print it, and write the files that the options ask for; exit with status 1 if something is not as promised."""
        if options.update:
            text = "\n".join([report.kept(options.update), *self.lines(markdown=True)])
            options.update.write_text(text.rstrip() + "\n", encoding="utf-8")
        super().deliver(options)

    def draw(self, path: Path) -> None:
        """One panel for each activation that rounds at all: the worst of each eighth of an octave, f and f', over x."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        drawn = [each for each in self.measured if each["dtype"] == "float32" and each["worst"]]
        names = list(dict.fromkeys(each["activation"] for each in drawn))
        across = min(3, max(1, len(names)))
        down = -(-max(1, len(names)) // across)
        figure, axes = plt.subplots(
            down, across, figsize=(4.6 * across, 3 * down), squeeze=False, sharey=True, layout="constrained"
        )
        for axis, name in zip(axes.flat, names, strict=False):
            for each in drawn:
                if each["activation"] == name:
                    bits = np.array([int(place) for place in each["profile"]], np.uint64) * BIN + BIN // 2
                    x = bits.astype(np.uint32).view(np.float32)
                    off = np.array(list(each["profile"].values()))
                    order = np.argsort(x)
                    shown = order[np.isfinite(x[order]) & (np.abs(x[order]) < 200)]
                    axis.plot(x[shown], off[shown], label=PRIME[each["function"]], linewidth=0.8)
            axis.axhline(0.5, color="black", linewidth=0.6, linestyle=":")  # what rounding alone takes
            axis.set_xscale("symlog", linthresh=2**-6)
            axis.set_title(name, fontsize=10)
            axis.legend(fontsize=7, loc="upper left")
        axes.flat[0].set_ylim(0, 1.05 * max((each["worst"] for each in drawn), default=1))  # of all, since they share it
        for axis in list(axes.flat)[len(names) :]:
            axis.set_axis_off()
        figure.suptitle("float32: worst error in units in the last place, over x", fontsize=10)
        figure.savefig(path, dpi=80)
        plt.close(figure)


def _all_tallies(options: argparse.Namespace, amount: str) -> dict[tuple[str, str, str], Tally]:
    """The tally of every function, (dtype, name, which), its tasks shared out over processes."""
    todo = [
        task
        for dtype in options.dtypes
        for name in options.activations
        for which in references.WHICH
        for task in tasks(which, name, dtype, amount)
    ]
    tallies: dict[tuple[str, str, str], Tally] = {}

    def collect(found: Iterable[Tally]) -> None:
        for i, (task, tally) in enumerate(zip(todo, found, strict=True)):
            report.progress(f"{task.which} of {task.name}, {task.dtype}: {100 * i // len(todo)} %")
            tallies.setdefault((task.dtype, task.name, task.which), Tally()).join(tally, CONFIRMED)

    if options.processes == 1:
        collect(map(sweep, todo))
    else:
        with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
            collect(pool.map(sweep, todo, chunksize=4))
    return tallies


def run(options: argparse.Namespace) -> AccuracyReport:
    """``python -m bench accuracy``."""
    amount = "exhaustive" if options.exhaustive else "quick" if options.quick else "sample"
    options.peers = [peer for peer in options.peers if all(map(importlib.util.find_spec, PEERS[peer][0]))]
    if options.quick:
        options.peers = [peer for peer in options.peers if peer == "NumPy"]
    if options.update:
        report.kept(options.update)  # better now than after minutes
    before = pynn.get_num_threads()
    result = AccuracyReport("accuracy", report.header("1 in each process", options.peers))
    result.header["inputs"] = {
        "exhaustive": "float32: each of the 2^32 numbers, NaN and infinities included; float64: 6 times 2^24",
        "sample": "float32: one of each 256 neighbours; float64: 2^22",
        "quick": "float32: one of each 16384 neighbours; float64: 2^16",
    }[amount] + ", and hard points"
    began = time.perf_counter()
    tables: dict[str, report.Table] = {}
    for (dtype, name, which), tally in _all_tallies(options, amount).items():
        report.progress(f"{which} of {name}, {dtype}, in arbitrary precision")
        table = tables.setdefault(dtype, report.Table(f"{dtype}: units in the last place", COLUMNS))
        _judge(result, table, dtype, name, which, tally)
    specials = [
        wrong
        for dtype in options.dtypes
        for name in options.activations
        for wrong in references.wrong_specials(name, getattr(np, dtype))
    ]
    result.header["took"] = f"{time.perf_counter() - began:.0f} s with {options.processes} processes, peers not counted"
    result.tables = list(tables.values())
    if options.peers:
        result.tables.append(_beside(options, "quick" if options.quick else "sample"))
    report.progress("")
    pynn.set_num_threads(before)
    result.failures += specials
    result.summary = _summary(result.measured, specials, options)
    return result


def _judge(result: AccuracyReport, table: report.Table, dtype: str, name: str, which: str, tally: Tally) -> None:
    """A row of the table, the same as numbers, and whether it is as promised."""
    worst, at, reference = confirm(which, name, dtype, tally)
    place = (f"{at:.9g}" if dtype == "float32" else f"{at:.17g}") if worst else ""
    shares = ["100 %" if not n else f"{100 * (1 - n / tally.count):.5f} %" for n in tally.above]
    measured = [f"{tally.count:,}", f"{worst:.4f}", place, f"{tally.subnormal:.4f}"]
    table.rows.append([name, PRIME[which], *measured, *shares, tally.above[-1], f"{reference:.0e}" if reference else "exact"])
    result.measured.append(
        {
            "dtype": dtype,
            "activation": name,
            "function": which,
            "count": tally.count,
            "worst": worst,
            "at": at.hex(),
            "subnormal": tally.subnormal,
            "above": dict(zip(map(str, THRESHOLDS), tally.above, strict=True)),
            "reference": reference,
            "profile": {str(place): tally.profile[place] for place in sorted(tally.profile)},
        }
    )
    what = f"{PRIME[which]} of {name}, {dtype},"
    bar = references.LIMITS[which]
    if not worst <= bar:
        result.failures.append(f"{what} is {worst:.4f} ULP off at {at!r} ({at.hex()}), more than {bar:g}")
    if not reference <= references.REFERENCE_LIMIT:
        result.failures.append(
            f"{what} has a reference that is itself {reference:.2g} ULP off, more than {references.REFERENCE_LIMIT:g}"
        )


def _summary(measured: Sequence[dict[str, Any]], specials: Sequence[str], options: argparse.Namespace) -> list[str]:
    lines = []
    for dtype in options.dtypes:
        for which, bar in references.LIMITS.items():
            most = max(
                (each for each in measured if (each["dtype"], each["function"]) == (dtype, which)), key=lambda each: each["worst"]
            )
            lines.append(f"{dtype}, {PRIME[which]}: at most {most['worst']:.4f} ULP ({most['activation']}), bar {bar:g}")
    checked = len(options.activations) * len(options.dtypes)
    if not specials:
        lines.append(f"special values: NaN, infinities and zeros are right for all of {checked} activations and dtypes")
    return lines


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to sweep, and how densely."""
    names = list(pynn.kernels.ACTIVATIONS)
    parser.add_argument("--exhaustive", action="store_true", help="all 2^32 numbers of float32, 10^8 of float64 (minutes)")
    parser.add_argument("--activations", nargs="+", choices=names, default=names, metavar="NAME", help=f"of: {', '.join(names)}")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES, help="(default: both)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="(default: as many as there are processors)"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=list(PEERS), default=list(PEERS), metavar="NAME",
        help=f"of: {', '.join(PEERS)}; those not installed are left out",
    )  # fmt: skip
    parser.add_argument("--update", type=Path, metavar="FILE", help="put the results into docs/accuracy.md, or a file like it")
    report.add_output_options(parser)
