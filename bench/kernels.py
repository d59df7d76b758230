"""Every function of pynn.kernels against the function of the same name in pynn.reference (plain NumPy), one thread each.

And a step of every optimizer against its formula in NumPy (``InNumPy``).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

import pynn
from bench import report, roofline, timing

SQUARES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
SIZES = [(n, n) for n in SQUARES] + [(17, 33), (784, 128), (100, 1), (1, 100)]
BATCHES = (1, 32, 256)
DTYPES = ("float32", "float64")
PRODUCTS = ("affine", "weight_gradient", "input_gradient")
OF_COSTS = ("cost", "cost_gradient")
ELEMENTWISE = ("activation", "activation_gradient", *OF_COSTS, "mean_squared_error", "mean_squared_error_gradient")
ROWS: dict[str, Callable[..., tuple[Any, ...]]] = {  # what each kernel on rows is given, of random x, g and positive numbers
    "softmax": lambda x, g, some: (x,),
    "log_softmax": lambda x, g, some: (x,),
    "softmax_gradient": lambda x, g, some: (pynn.reference.softmax(x), g),
    "log_softmax_gradient": lambda x, g, some: (pynn.reference.log_softmax(x), g),
    "layer_norm": lambda x, g, some: (x, some, g[0] if g.ndim == 2 else g),
    "layer_norm_gradient": lambda x, g, some: (x, _statistics(x), g, some),
    "layer_norm_scale_gradient": lambda x, g, some: (x, _statistics(x), g),
    "standardize": lambda x, g, some: (x, g[0] if g.ndim == 2 else g, some),
    "dropout": lambda x, g, some: (x, 0.25, 7),
    "softmax_cross_entropy": lambda x, g, some: (x, np.argmax(g, axis=-1)),
    "softmax_cross_entropy_gradient": lambda x, g, some: (x, np.argmax(g, axis=-1)),
}
KERNELS = (*PRODUCTS, "bias_gradient", *ELEMENTWISE, "gradient_descent", *ROWS)
UPDATE = "update"  # a step of an optimizer that keeps state
ALL = (*KERNELS, UPDATE)
OPTIMIZERS = tuple(name for name in pynn.optimizers.__all__ if name != "Optimizer")
# A table each: affine, activation[tanh], update[Adam] and so on.
LISTS: dict[str, Sequence[str]] = {
    **dict.fromkeys(("activation", "activation_gradient"), tuple(pynn.kernels.ACTIVATIONS)),
    **dict.fromkeys(OF_COSTS, tuple(pynn.kernels.COSTS)),
    UPDATE: OPTIMIZERS,
}
TABLES = tuple(f"{kernel}[{name}]" if name else kernel for kernel in ALL for name in LISTS.get(kernel, ("",)))

LEARNING_RATE = 1e-6  # so small that parameters stay what they are through many timed steps
LARGEST_HELD = 512 * 512  # above this size of weight a batch has no bar to clear
BAR_ALONE, BAR_BATCH = 1.0, 0.95
COPY = "activation[identity]"  # a copy here, and nothing at all in the reference


@dataclass
class Case:
    """One kernel on one size: its arguments, and what they cost."""

    kernel: str  # a row's name, such as "activation[tanh]"
    function: str
    dtype: str
    size: str
    weights: int  # in x out
    batch: int | None
    order: str
    arguments: tuple[Any, ...]
    operations: float
    touched: float  # bytes read and written
    tolerance: Any  # absolute, elementwise
    times: dict[str, list[float]] = field(default_factory=dict)

    @property
    def bar(self) -> float | None:
        """The ratio that is asked of this case, if one is."""
        if self.kernel == COPY:
            return None
        if self.batch in (None, 1):
            return BAR_ALONE
        return BAR_BATCH if self.weights <= LARGEST_HELD else None

    @property
    def label(self) -> str:
        """What it differs by from others of the same kernel and size."""
        batch = "" if self.batch is None else f", batch {self.batch}"
        return self.dtype + batch + (", C order" if self.order == "c" else "")

    @property
    def ratio(self) -> float:
        """How many times faster than the reference."""
        return timing.ratio(self.times["pynn"], self.times["reference"])

    def __str__(self) -> str:
        """A line of the summary."""
        parts = [
            self.kernel,
            self.dtype,
            self.size,
            "" if self.batch is None else f"batch {self.batch}",
            f"order {self.order}" if self.order else "",
        ]
        return " ".join(filter(None, parts))


# ---- optimizers ------------------------------------------------------------------------------------------------------


def _optimizer(name: str) -> Any:
    """One of the list, with momentum if it has none by itself; its rate is large enough for a wrong step to show."""
    return getattr(pynn, name)(0.01, **({"momentum": 0.9} if name in ("SGD", "RMSProp") else {}))


class InNumPy:
    """A step of an optimizer as its docstring has it; state is changed in place."""

    def __init__(self, optimizer: Any) -> None:
        """Take hyperparameters from ``optimizer``; ``m`` and ``v`` are made in the first step."""
        self.o, self.t, self.product = optimizer, 0, 1.0
        self.m = self.v = np.zeros(0)

    def step(self, theta: Any, g: Any) -> None:
        """Change ``theta``."""
        if not self.t:
            self.m, self.v = np.zeros_like(theta), np.zeros_like(theta)
        self.t += 1
        if self.o.weight_decay:
            theta *= 1 - self.o.learning_rate * self.o.weight_decay
        theta -= getattr(self, self.o._name)(g)

    def sgd(self, g: Any) -> Any:  # noqa: D102 - the formulas of the list
        self.m *= self.o.momentum
        self.m += g
        return self.o.learning_rate * self.m

    def rmsprop(self, g: Any) -> Any:  # noqa: D102
        self.v *= self.o.rho
        self.v += (1 - self.o.rho) * g * g
        self.m *= self.o.momentum
        self.m += g / (np.sqrt(self.v) + self.o.epsilon)
        return self.o.learning_rate * self.m

    def adagrad(self, g: Any) -> Any:  # noqa: D102
        self.v += g * g
        return self.o.learning_rate * g / (np.sqrt(self.v) + self.o.epsilon)

    def _moments(self, g: Any) -> Any:
        """Adam's m and v; √v̂ + ε."""
        self.m *= self.o.beta_1
        self.m += (1 - self.o.beta_1) * g
        self.v *= self.o.beta_2
        self.v += (1 - self.o.beta_2) * g * g
        return np.sqrt(self.v) / (1 - self.o.beta_2**self.t) ** 0.5 + self.o.epsilon

    def adam(self, g: Any) -> Any:  # noqa: D102
        below = self._moments(g)
        return self.o.learning_rate / (1 - self.o.beta_1**self.t) * self.m / below

    def nadam(self, g: Any) -> Any:  # noqa: D102
        now, then = (self.o.beta_1 * (1 - 0.5 * 0.96 ** (t * self.o.momentum_decay)) for t in (self.t, self.t + 1))
        self.product *= now
        below = self._moments(g)
        return self.o.learning_rate * ((1 - now) / (1 - self.product) * g + then / (1 - self.product * then) * self.m) / below

    def rprop(self, g: Any) -> Any:  # noqa: D102
        turn = g * self.m
        if self.t == 1:
            self.v += self.o.learning_rate
        self.v *= np.where(turn > 0, self.o.eta_plus, np.where(turn < 0, self.o.eta_minus, 1)).astype(g.dtype)
        np.clip(self.v, self.o.least_step, self.o.most_step, out=self.v)
        self.m[...] = np.where(turn < 0, 0, g)
        return np.sign(self.m) * self.v


# ---- cases -----------------------------------------------------------------------------------------------------------


def _weight(inputs: int, outputs: int, dtype: str, order: str, random: np.random.Generator) -> tuple[Any, Any]:
    """Weight and bias of a layer, the weight in the order that the layer keeps it in, or in C order."""
    layer = pynn.Network([pynn.Dense(inputs, outputs)], dtype=dtype, seed=0).layers[0]
    layer.weight = random.uniform(-1, 1, (outputs, inputs))
    layer.bias = random.uniform(-1, 1, outputs)
    return (np.ascontiguousarray(layer.weight) if order == "c" else layer.weight), layer.bias


def _cases(
    kernel: str,
    inputs: int,
    outputs: int,
    batch: int,
    dtype: str,
    order: str,
    activations: Sequence[str],
    costs: Sequence[str] = ("huber",),
) -> Iterator[Case]:
    """The cases of one kernel for a layer of this size, with inputs of their own."""
    random = np.random.default_rng([inputs, outputs, batch])
    item, eps = np.dtype(dtype).itemsize, float(np.finfo(dtype).eps)
    shape = (lambda width: (width,)) if batch == 1 else (lambda width: (batch, width))

    def draw(width: int) -> Any:
        return random.standard_normal(shape(width)).astype(dtype)

    size, weights = f"{inputs}x{outputs}", inputs * outputs
    rows = item * batch  # bytes of one feature of all rows
    if kernel in PRODUCTS:
        weight, bias = _weight(inputs, outputs, dtype, order, random)
        x, dy = draw(inputs), draw(outputs)
        arguments, depth = {
            "affine": ((weight, x, bias), inputs),
            "input_gradient": ((weight, dy), outputs),
            "weight_gradient": ((dy, x), batch),
        }[kernel]
        # Each of two sums of `depth` products may be off by depth x eps/2 x the sum of their magnitudes.
        tolerance = (depth + 2) * eps * getattr(pynn.reference, kernel)(*map(np.abs, arguments))
        touched = item * weights + rows * (inputs + outputs)
        yield Case(
            kernel,
            kernel,
            dtype,
            size,
            weights,
            batch,
            "" if kernel == "weight_gradient" else order,
            arguments,
            2.0 * weights * batch,
            touched,
            tolerance,
        )
    elif kernel == "bias_gradient":
        dy = draw(outputs)
        tolerance = (batch + 2) * eps * pynn.reference.bias_gradient(np.abs(dy))
        yield Case(
            kernel,
            kernel,
            dtype,
            f"{outputs}",
            weights,
            batch,
            "",
            (dy,),
            float(batch * outputs),
            rows * outputs + item * outputs,
            tolerance,
        )
    elif kernel in ("activation", "activation_gradient"):
        for name in activations:
            x, dy = draw(outputs), draw(outputs)
            arguments = (name, x) if kernel == "activation" else (name, x, dy)
            # NumPy's functions are good to 4 ULP, and formulas take a few of them.
            tolerance = 16 * eps * np.abs(getattr(pynn.reference, kernel)(*arguments))
            if kernel == "activation_gradient":
                tolerance = tolerance + 16 * eps * np.abs(dy)  # where f' crosses zero, formulas have but an absolute accuracy
            touched = rows * outputs * len(arguments)
            yield Case(
                f"{kernel}[{name}]",
                kernel,
                dtype,
                f"{outputs}",
                weights,
                batch,
                "",
                arguments,
                float(batch * outputs),
                touched,
                tolerance,
            )
    elif kernel in OF_COSTS:
        for name in costs:
            prediction, target = draw(outputs), np.abs(draw(outputs))
            arguments, n = (name, prediction, target), prediction.size
            wanted = np.abs(getattr(pynn.reference, kernel)(*arguments))
            # NumPy sums in pairs of short runs, and its formulas lose digits where terms cancel: of log 2, or of e^p.
            terms = np.exp(np.abs(prediction))
            tolerance = (32 + math.log2(n)) * eps * ((wanted + terms.mean()) if kernel == "cost" else (wanted + terms / n))
            touched = (2 if kernel == "cost" else 3) * rows * outputs
            row = f"{kernel}[{name}]"
            yield Case(row, kernel, dtype, f"{outputs}", weights, batch, "", arguments, 3.0 * n, touched, tolerance)
    elif kernel in ROWS:
        x, dy = draw(outputs), draw(outputs)
        arguments = ROWS[kernel](x, dy, (1 + random.random(outputs)).astype(dtype))
        wanted = getattr(pynn.reference, kernel)(*arguments)
        # Sums along a row, each within outputs x eps, in results that are divided by a row's deviation.
        tolerance = 64 * (16 + outputs) * eps * max(1.0, float(np.abs(wanted).max()))
        touched = float(sum(np.asarray(each).nbytes for each in arguments) + np.asarray(wanted).nbytes)
        yield Case(kernel, kernel, dtype, f"{outputs}", weights, batch, "", arguments, 8.0 * x.size, touched, tolerance)
    elif kernel == UPDATE:
        n = weights + outputs
        for name in OPTIMIZERS:
            parameters, gradients = (random.standard_normal(n).astype(dtype) for _ in range(2))
            tolerance = 32 * eps * (1 + np.abs(parameters))  # of three steps, none of them longer than 1
            touched, row = (3.0 + 2 * _optimizer(name)._state_count()) * item * n, f"{kernel}[{name}]"
            yield Case(row, kernel, dtype, f"{n}", weights, None, "", (parameters, gradients), 10.0 * n, touched, tolerance)
    elif kernel == "gradient_descent":
        n = weights + outputs
        parameters, gradients = (random.standard_normal(n).astype(dtype) for _ in range(2))
        tolerance = 2 * eps * np.abs(parameters)
        yield Case(
            kernel,
            kernel,
            dtype,
            f"{n}",
            weights,
            None,
            "",
            (parameters, gradients, LEARNING_RATE),
            2.0 * n,
            3.0 * item * n,
            tolerance,
        )
    else:
        prediction, target = draw(outputs), draw(outputs)
        n = prediction.size
        if kernel == "mean_squared_error":
            tolerance = (
                (32 + math.log2(n)) * eps * pynn.reference.mean_squared_error(prediction, target)
            )  # NumPy sums in pairs of short runs
            touched = 2 * rows * outputs
        else:
            tolerance = 4 * eps * np.abs(pynn.reference.mean_squared_error_gradient(prediction, target))
            touched = 3 * rows * outputs
        yield Case(kernel, kernel, dtype, f"{outputs}", weights, batch, "", (prediction, target), 3.0 * n, touched, tolerance)


def _statistics(x: Any) -> Any:
    """Mean and 1 / √(variance + epsilon) of each row, as ``layer_norm`` keeps them."""
    statistics = np.empty((*x.shape[:-1], 2), x.dtype)
    pynn.reference.layer_norm(x, statistics=statistics)
    return statistics


def _all_cases(options: argparse.Namespace) -> Iterator[Case]:
    """All that the options select, the largest of them not before its turn: one case's arrays at a time."""
    orders = ("layer", "c") if options.order == "both" else (options.order,)
    for kernel in options.kernels:
        seen = set()
        for dtype in options.dtypes:
            for inputs, outputs in options.sizes:
                for batch in options.batches:
                    for order in orders if kernel in ("affine", "input_gradient") else ("layer",):
                        # Elementwise kernels see only the outputs, the update no batch.
                        key = (
                            dtype,
                            order,
                            inputs if kernel in (*PRODUCTS, "gradient_descent", UPDATE) else 0,
                            outputs,
                            batch if kernel not in ("gradient_descent", UPDATE) else 0,
                        )
                        if key not in seen:
                            seen.add(key)
                            yield from _cases(kernel, inputs, outputs, batch, dtype, order, options.activations, options.costs)


# ---- checking and timing ---------------------------------------------------------------------------------------------


def _sides(case: Case) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What computes it, pynn's and the reference."""
    if case.function == UPDATE:
        name = case.kernel.removeprefix(f"{UPDATE}[").removesuffix("]")
        return _optimizer(name).step, InNumPy(_optimizer(name)).step
    return getattr(pynn.kernels, case.function), getattr(pynn.reference, case.function)


def _check(case: Case) -> None:
    """Raise unless pynn and the reference agree; what is not right need not be timed."""
    pair = []
    for function in _sides(case):
        arguments = case.arguments
        if case.function in ("gradient_descent", UPDATE):
            arguments = (arguments[0].copy(), *arguments[1:])
        for _ in range(3 if case.function == UPDATE else 1):
            answer = function(*arguments)
        pair.append(arguments[0] if answer is None else answer)
    got, wanted = pair
    if np.shape(got) != np.shape(wanted):
        raise AssertionError(f"{case}: pynn gave shape {np.shape(got)}, the reference {np.shape(wanted)}")
    wrong = ~(np.abs(np.subtract(got, wanted, dtype=np.float64)) <= case.tolerance)
    if wrong.any():
        i = np.unravel_index(np.argmax(wrong), np.shape(got)) if np.shape(got) else ()
        raise AssertionError(f"{case}: at {i} pynn gave {np.asarray(got)[i]!r}, the reference {np.asarray(wanted)[i]!r}")


def _formula(case: Case, reference: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's side without the reference's own overhead: an activation's formula as one compiled lambda."""
    if case.function not in ("activation", "activation_gradient"):  # costs are means, which the reference takes
        return reference
    row = pynn.kernels.ACTIVATIONS[case.arguments[0]]
    also = f", {row.parameter}={row.default!r}" if row.parameter else ""
    arguments, body = ("x", row.formula) if case.function == "activation" else ("x, dy", f"dy * ({row.derivative})")
    return eval(f"lambda name, {arguments}{also}: {body}", dict(pynn.reference.WORDS))  # type: ignore[no-any-return]  # a formula out of pynn's own list


def _time(case: Case, options: argparse.Namespace) -> None:
    """Fill ``case.times``; what comes out close to its bar, or below it, is measured again, longer, and that counts."""
    ours, theirs = _sides(case)
    if options.against == "formula":
        theirs = _formula(case, theirs)
    slots = {
        name: timing.calls_of(function, *case.arguments, clock=time.thread_time)
        for name, function in (("pynn", ours), ("reference", theirs))
    }
    case.times = timing.in_turn(slots, options.rounds, options.turn)
    if case.bar and case.ratio < 1.2 * case.bar:
        case.times = timing.in_turn(slots, 3 * options.rounds, options.turn)


# ---- the report ------------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> report.Report:
    """``python -m bench kernels``."""
    import threadpoolctl

    if options.quick:
        options.sizes, options.batches, options.rounds, options.turn = [(2, 2), (17, 33), (64, 64)], [1, 32], 3, 0.0005
    before = pynn.get_num_threads()
    pynn.set_num_threads(1)
    cases = []
    with threadpoolctl.threadpool_limits(1, user_api="blas"), np.errstate(all="ignore"):
        result = report.Report("kernels", report.header("1 each"))
        machine = roofline.measure(1, 0.02 if options.quick else 0.1)
        result.header["limits"] = str(machine)
        result.header["against"] = (
            "pynn.reference"
            if options.against == "reference"
            else "NumPy formulas as compiled lambdas (activations), pynn.reference (the rest)"
        )
        result.header["timing"] = (
            f"medians of {options.rounds} rounds in turn, {options.turn * 1e3:g} ms of the thread's own clock or one call each; "
            "three times as many near the bar and below"
        )
        columns = ["dtype", "in x out", "batch", "order", "pynn µs", "NumPy µs", "ratio", "rate", "unit", "% of limit"]
        tables: dict[str, report.Table] = {}
        for case in _all_cases(options):
            report.progress(str(case))
            _check(case)
            _time(case, options)
            took, theirs = median(case.times["pynn"]), median(case.times["reference"])
            counted = case.operations if case.function in PRODUCTS and case.batch != 1 else case.touched
            limit = 100 * machine.least_seconds(case.dtype, case.operations, case.touched) / took
            unit = "GFLOP/s" if counted is case.operations else "GB/s"
            table = tables.setdefault(case.kernel, report.Table(case.kernel, columns))
            table.rows.append(
                [
                    case.dtype,
                    case.size,
                    case.batch,
                    case.order,
                    took * 1e6,
                    theirs * 1e6,
                    case.ratio,
                    counted / took / 1e9,
                    unit,
                    limit,
                ]
            )
            result.ratios.setdefault(case.kernel, {}).setdefault(case.label, {})[case.size] = case.ratio
            case.arguments, case.tolerance = (), None  # the arrays have done their work
            cases.append(case)
            result.measured.append(vars(case))
    pynn.set_num_threads(before)
    report.progress("")
    shown = [case for case in cases if case.kernel in options.tables]
    result.tables = _ratios(shown) if options.markdown else [tables[name] for name in tables if name in options.tables]
    result.summary = _summary(cases)
    return result


def _ratios(cases: Sequence[Case]) -> list[report.Table]:
    """Ratios alone, a table for each kernel, a row for each size: a page's worth."""
    tables = []
    for kernel in dict.fromkeys(case.kernel for case in cases):
        of_kernel = [case for case in cases if case.kernel == kernel]
        labels = list(dict.fromkeys(case.label for case in of_kernel))
        rows: dict[str, list[report.Cell]] = {case.size: [case.size, *[None] * len(labels)] for case in of_kernel}
        for case in of_kernel:
            rows[case.size][1 + labels.index(case.label)] = case.ratio
        size = "in x out" if "x" in of_kernel[0].size else "width" if of_kernel[0].batch else "parameters"
        tables.append(report.Table(f"{kernel}: times faster than NumPy", [size, *labels], list(rows.values())))
    return tables


def _summary(cases: Sequence[Case]) -> list[str]:
    """How many cells clear the bar, by kernel, and every one that does not."""
    held = [case for case in cases if case.bar is not None]
    below = [case for case in held if case.bar is not None and case.ratio < case.bar]
    lines = [
        f"{len(held) - len(below)} of {len(held)} cells clear the bar: "
        f"{BAR_ALONE:g}x for one row, {BAR_BATCH:g}x for a batch and weights up to 512x512"
    ]
    for kernel in dict.fromkeys(case.kernel for case in cases):
        ratios = [case.ratio for case in cases if case.kernel == kernel]
        lines.append(f"{kernel}: median {median(ratios):.2f}x, least {min(ratios):.2f}x, most {max(ratios):.2f}x")
    if any(case.kernel == COPY for case in cases):
        lines.append(f"{COPY} has no bar: it is a copy here, and the reference returns its argument")
    lines += [f"below its bar of {case.bar:g}x: {case}: {case.ratio:.2f}x" for case in sorted(below, key=lambda case: case.ratio)]
    lines += [
        f"larger, without a bar, below 1x: {case}: {case.ratio:.2f}x"
        for case in cases
        if case.bar is None and case.kernel != COPY and case.ratio < 1
    ]
    return lines


def _size(text: str) -> tuple[int, int]:
    inputs, _, outputs = text.partition("x")
    try:
        return int(inputs), int(outputs or inputs)
    except ValueError:
        raise argparse.ArgumentTypeError(f"size is {text!r}, wanted IN or INxOUT, such as 784x128") from None


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to time, and how long."""
    names = list(pynn.kernels.ACTIVATIONS)
    parser.add_argument("--kernels", nargs="+", choices=ALL, default=ALL, metavar="KERNEL", help=f"of: {', '.join(ALL)}")
    parser.add_argument(
        "--tables",
        nargs="+",
        choices=TABLES,
        default=TABLES,
        metavar="TABLE",
        help="show these tables alone, such as activation[tanh]; all that is timed is in the summary (default: all)",
    )
    parser.add_argument("--activations", nargs="+", choices=names, default=names, metavar="NAME", help=f"of: {', '.join(names)}")
    costs = list(pynn.kernels.COSTS)
    parser.add_argument("--costs", nargs="+", choices=costs, default=costs, metavar="NAME", help=f"of: {', '.join(costs)}")
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=_size,
        default=SIZES,
        metavar="INxOUT",
        help="sizes of layers (default: 2x2 to 2048x2048 and odd ones)",
    )
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, metavar="N", help="rows (default: 1 32 256)")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES, help="(default: both)")
    parser.add_argument(
        "--order",
        choices=("layer", "c", "both"),
        default="layer",
        help="weights as a Dense layer keeps them (default), or in NumPy's C order",
    )
    parser.add_argument(
        "--against",
        choices=("reference", "formula"),
        default="reference",
        help="formula: activations as bare NumPy lambdas, without pynn.reference's bookkeeping",
    )
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="(default: 9)")
    parser.add_argument(
        "--turn", type=float, default=0.003, metavar="SECONDS", help="how long one takes its turn in a round (default: 0.003)"
    )
    report.add_output_options(parser)
