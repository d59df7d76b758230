"""Whole networks, pynn beside other libraries, each in processes of its own: one with one thread, one with all processors.

The tables: ``predict`` (one call), ``step`` (one training step, one call) and ``epoch`` (one step within a whole epoch,
compiled where the library can: pynn's fit, JAX's lax.scan, Numba's loop, scikit-learn's partial_fit; a Python loop over steps
elsewhere); with Adam also ``full-batch`` (an epoch that is one step on all rows of a data set of its own).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

import pynn
from bench import report, timing
from bench.contestants import CONTESTANTS, COSTS, OPTIMIZERS, Net, NumPy, serve

NETS = ((2, 8, 1), (8, 64, 64, 4), (784, 128, 10), (64, 256, 256, 1), (1024, 1024, 1024, 1024))
BATCHES = (1, 32, 256)
TASKS = {
    "predict": "Predict, µs a call",
    "step": "One training step, µs a call",
    "epoch": "A step within an epoch, µs a step",
    "full-batch": "Full batch: an epoch of one step, µs",
}
FULL_BATCH = (4, 32, 16, 4), "tanh", 10_000  # widths, activation and rows
NAMES = {"sgd": "gradient descent", "adam": "Adam"}
HOPELESS = 5.0  # so many times slower than the fastest in a first trial: not timed further


class Failure(RuntimeError):
    """A contestant that gave an error instead of a number."""


@dataclass(eq=False)
class Entry:
    """A contestant with so many threads, in a process of its own."""

    name: str
    threads: int

    def __post_init__(self) -> None:
        """Start the process, in an environment that tells its libraries how many threads to use."""
        environment = CONTESTANTS[self.name].environment(self.threads)
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs, self.name, self.threads), daemon=True)
            self.process.start()
            theirs.close()  # so that the end of the process closes the pipe
        finally:
            os.environ.clear()
            os.environ.update(before)

    def __str__(self) -> str:
        """Name and threads."""
        return f"{self.name} ({self.threads})"

    def send(self, *command: Any) -> None:
        """Tell it to do something."""
        self.pipe.send(command)

    def receive(self) -> Any:
        """What came of it."""
        try:
            status, answer = self.pipe.recv()
        except (EOFError, OSError):
            raise Failure(f"{self}: its process ended") from None
        if status == "cannot":
            raise NotImplementedError(f"{self}: {answer}")
        if status == "failed":
            raise Failure(f"{self}: {answer}")
        return answer

    def slot(self, task: str, clock: str) -> timing.Slot:
        """Its turn at a task, timed by a clock of the module ``time``."""

        def run(calls: int) -> float:
            self.send("time", task, calls, clock)
            return float(self.receive())

        return run

    def end(self) -> None:
        """End its process."""
        self.pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.terminate()


@dataclass
class Result:
    """One cell: seconds per call (or step) of the better entry of each contestant."""

    net: str
    batch: int
    task: str
    seconds: dict[str, float] = field(default_factory=dict)
    threads: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, list[float]] = field(default_factory=dict)  # of those that were timed to the end
    best: str = ""
    ratio: float = float("nan")


# ---- the same answer from all ----------------------------------------------------------------------------------------


def _check(entries: list[Entry], net: Net, batch: int, notes: list[str]) -> list[Entry]:
    """Those that can compute this network, after comparing what they say with NumPy in double precision."""
    double = NumPy(replace(net, dtype="float64"), batch, 1)
    double.setup([(weight.astype("float64"), bias.astype("float64")) for weight, bias in net.parameters()])

    def data(rows: int, seed: int) -> tuple[Any, Any]:
        x, y = net.data(rows, seed)
        return x.astype("float64"), y.astype("float64") if net.cost == "mse" else y

    x, y = data(batch, 1)
    wanted: list[Any] = [double.predict(x), double.step(x, y), double.predict(x)]
    double.epoch(data(2 * batch, 2))
    wanted.append(double.predict(x))
    # Rounding of sums as long as all layers together; three steps add theirs. Adam divides a gradient by its own size, so that
    # one that is all rounding moves its parameter as far as any other: a hundredth of what its steps change is for those.
    rounding = 4 * float(np.finfo(net.dtype).eps) * (sum(net.widths) + 16)
    changed = [0.0, 0.0, *(float(np.max(np.abs(after - wanted[0]))) for after in wanted[2:])]
    tolerances = [rounding + (0.01 * change if net.optimizer == "adam" else 0.0) for change in changed]

    def ask(entries: list[Entry], *command: Any) -> dict[int, Any]:
        answers = {}
        for entry in entries:
            entry.send(*command)  # all at once: nothing is timed here
        for i, entry in enumerate(entries):
            try:
                answers[i] = entry.receive()
            except NotImplementedError as error:
                notes.append(f"not in {net}, {net.dtype}: {error}")
        return answers

    able = [entries[i] for i in ask(entries, "build", net, batch)]
    for i, answer in ask(able, "check").items():
        whats = "prediction", "cost", "prediction after a step", "prediction after an epoch"
        for what, theirs, ours, tolerance in zip(whats, answer, wanted, tolerances, strict=False):
            error = float(np.max(np.abs(theirs - ours))) / max(1.0, float(np.max(np.abs(ours))))
            if np.shape(theirs) != np.shape(ours) or not error <= tolerance:
                raise AssertionError(
                    f"{able[i]}: {net}, batch {batch}: {what} is off by {error:.2g}, wanted at most {tolerance:.2g}"
                )
    return able


# ---- timing ----------------------------------------------------------------------------------------------------------


def _steps(net: Net, batch: int, quick: bool) -> int:
    """How many steps an epoch has: enough to forget what an epoch itself costs, not so many that it takes seconds."""
    most = 64 if quick else 4096
    return max(4, min(most, 65536 // batch, int(4e8 / (6 * net.weights * batch))))


def _measure(entries: list[Entry], result: Result, options: argparse.Namespace, calls_per_unit: int, cores: timing.Cores) -> None:
    """Try all once, then time the better entry of each contestant in turn, but for the hopeless ones."""
    time.sleep(options.pause)
    cores.wait()
    slots = {entry: entry.slot(result.task, "process_time" if options.cpu_time else "perf_counter") for entry in entries}
    trial = {}
    for entry, slot in slots.items():
        slot(1)  # compiles
        took = slot(1)
        calls = max(1, min(10000, int(options.turn / max(took, 1e-9))))
        time.sleep(options.pause)
        trial[entry] = took if took > 0.5 else min(slot(calls) / calls for _ in range(3))
    better: dict[str, Entry] = {}
    for entry in entries:
        if entry.name not in better or trial[entry] < trial[better[entry.name]]:
            better[entry.name] = entry
    fastest = min(trial.values())
    finalists = {name: slots[entry] for name, entry in better.items() if name == "pynn" or trial[entry] <= HOPELESS * fastest}
    times = timing.in_turn(finalists, options.rounds, options.turn, options.pause, cores)
    typical = min if options.minimum else median
    for name, entry in better.items():
        result.threads[name] = entry.threads
        result.seconds[name] = (typical(times[name]) if name in times else trial[entry]) / calls_per_unit
    result.rounds = {name: [each / calls_per_unit for each in rounds] for name, rounds in times.items()}
    peers = [name for name in result.seconds if name != "pynn"]
    if peers:
        result.best = min(peers, key=result.seconds.__getitem__)
        if options.minimum or result.best not in times:
            result.ratio = result.seconds[result.best] / result.seconds["pynn"]
        else:
            result.ratio = timing.ratio(times["pynn"], times[result.best])


def _table(task: str, results: list[Result], names: list[str]) -> report.Table:
    table = report.Table(TASKS[task], ["net", "batch", *names, "threads", "best peer", "its threads", "pynn is faster"])
    for result in results:
        if result.task == task:
            times: list[report.Cell] = [1e6 * result.seconds[name] if name in result.seconds else None for name in names]
            peer: list[report.Cell] = (
                [result.best, result.threads.get(result.best), result.ratio] if result.best else ["", None, None]
            )
            table.rows.append([result.net, result.batch, *times, result.threads["pynn"], *peer])
    return table


def run(options: argparse.Namespace) -> report.Report:
    """``python -m bench peers``."""
    if options.quick:
        options.nets, options.batches, options.peers = [(2, 8, 1), (8, 64, 64, 4)], [1, 32], ["NumPy"]
        options.rounds, options.turn, options.pause = 3, 0.0005, 0.0
    names = ["pynn", *(name for name in options.peers if CONTESTANTS[name].installed())]
    if options.torch_compile and "torch" in names:
        names.insert(names.index("torch") + 1, "torch.compile")
    most = pynn.get_num_threads()
    threads = [1] if options.quick or options.cpu_time else sorted({1, most})
    tasks = options.tasks or [task for task in TASKS if task != "full-batch" or options.optimizer == "adam"]
    choice = (
        "1 each" if threads == [1] else f"{' or '.join(map(str, threads))}, whichever is faster for each library in each cell"
    )
    head = report.header(choice, [*names, *(["Optax"] if options.optimizer == "adam" and "JAX" in names else [])])
    statistic = ("minima" if options.minimum else "medians") + (" of each process's own time" if options.cpu_time else "")
    head["timing"] = (
        f"{statistic} of {options.rounds} rounds in turn, {options.turn * 1e3:g} ms or one call each; "
        f"what is {HOPELESS:g} times slower than the fastest, in a first trial alone"
    )
    head["nets"] = (
        f"{options.activation} hidden layers, {COSTS[options.cost]}, {NAMES[options.optimizer]}, {options.dtype}; "
        "NumPy arrays in and out"
    )
    cores = timing.Cores(max(threads))
    entries = [Entry(name, n) for name in names for n in threads if n == 1 or CONTESTANTS[name].threaded]
    results: list[Result] = []
    notes: list[str] = []
    try:
        for net, batch, tasks_of_it in _cases(options, tasks):
            report.progress(f"{net} batch {batch}: check")
            able = _check(entries, net, batch, notes)
            for task in tasks_of_it:
                report.progress(f"{net} batch {batch}: {task}")
                taking = [entry for entry in able if task in CONTESTANTS[entry.name].tasks]
                steps = _steps(net, batch, options.quick) if task == "epoch" else 1
                if task in ("epoch", "full-batch"):
                    for entry in taking:
                        entry.send("prepare", steps)
                        entry.receive()
                results.append(Result(str(net), batch, task))
                _measure(taking, results[-1], options, steps, cores)
    finally:
        for entry in entries:
            entry.end()
    report.progress("")
    head["cores"] = str(cores)
    ratios: dict[str, Mapping[str, Mapping[str, float]]] = {}
    for task in tasks:
        lines: dict[str, dict[str, float]] = {}
        for result in results:
            if result.task == task:
                for name, seconds in result.seconds.items():
                    if name != "pynn":
                        lines.setdefault(name, {})[f"{result.net}, {result.batch}"] = seconds / result.seconds["pynn"]
        ratios[TASKS[task]] = lines
    summary = _summary(results) + list(dict.fromkeys(notes))
    tables = [_table(task, results, names) for task in tasks]
    return report.Report("peers", head, tables, summary, ratios, [vars(result) for result in results])  # type: ignore[arg-type]


def _cases(options: argparse.Namespace, tasks: list[str]) -> Iterator[tuple[Net, int, list[str]]]:
    """Networks, batches, and what to measure of each."""
    usual = [task for task in tasks if task != "full-batch"]
    for widths in options.nets if usual else ():
        if options.cost != "mse" and widths[-1] == 1:  # a single class costs nothing
            continue
        for batch in options.batches:
            yield Net(widths, options.activation, options.dtype, options.optimizer, options.cost), batch, usual
    if "full-batch" in tasks:
        widths, activation, rows = FULL_BATCH
        yield Net(widths, activation, options.dtype, options.optimizer, options.cost), rows, ["full-batch"]


def _summary(results: list[Result]) -> list[str]:
    """How many cells pynn wins, and every one that it does not."""
    compared: Mapping[int, Result] = {i: result for i, result in enumerate(results) if result.best}
    lost = sorted((result for result in compared.values() if result.ratio < 1), key=lambda result: result.ratio)
    lines = [f"pynn is the fastest in {len(compared) - len(lost)} of {len(compared)} cells"]
    for each in lost:
        ours, theirs = each.seconds["pynn"] * 1e6, each.seconds[each.best] * 1e6
        lines.append(
            f"behind: {each.net} batch {each.batch} {each.task}: {ours:.3g} µs, {each.best} {theirs:.3g} µs: {each.ratio:.2f}x"
        )
    return lines


def _net(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(width) for width in text.split("-"))
    except ValueError:
        widths = ()
    if len(widths) < 2 or min(widths) < 1:
        raise argparse.ArgumentTypeError(f"net is {text!r}, wanted widths such as 784-128-10")
    return widths


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to compare."""
    peers = [name for name in CONTESTANTS if name not in ("pynn", "torch.compile")]
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=peers,
        default=peers,
        metavar="PEER",
        help=f"of: {', '.join(peers)}; those not installed are left out",
    )
    parser.add_argument("--torch-compile", action="store_true", help="torch.compile too; slow to start, needs a C++ compiler")
    parser.add_argument("--nets", nargs="+", type=_net, default=list(NETS), metavar="WIDTHS", help="such as 784-128-10")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, metavar="N", help="(default: 1 32 256)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, help="(default: all; full-batch with adam alone)")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="(default: sgd)")
    parser.add_argument(
        "--cost", choices=COSTS, default="mse", help="(default: mse); classes are integers, and leave out nets of one output"
    )
    parser.add_argument(
        "--activation", choices=list(pynn.kernels.ACTIVATIONS), default="sigmoid", help="of hidden layers (default: sigmoid)"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="(default: 9)")
    parser.add_argument(
        "--turn", type=float, default=0.005, metavar="SECONDS", help="how long one takes its turn in a round (default: 0.005)"
    )
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="one thread each, by the processor time of each process: for a machine that is busy with other things",
    )
    parser.add_argument(
        "--pause",
        type=float,
        default=0.12,
        metavar="SECONDS",
        help="slept before each turn, since threads of OpenBLAS spin on for a tenth of a second (default: 0.12)",
    )
    parser.add_argument("--minimum", action="store_true", help="compare fastest rounds, not medians: the same, for two threads")
    report.add_output_options(parser)
