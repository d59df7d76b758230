"""Gradients by backpropagation against gradients by differences: is the ``backward`` of a layer of one's own right?"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn import checks
from pynn.layers import Layer, random_generator
from pynn.network import Network
from pynn.rows import Dropout
from pynn.samples import pair

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pynn.checks import Array

MOST_SAMPLES = 500  # entries of an array, unless the caller says otherwise
STEPS = [2.0**-k for k in range(4, 31, 2)]  # of a parameter below 1; times its size, of a larger one
MARGIN = 8  # by how much the error of a difference may be underestimated


@dataclass(frozen=True)
class GradientEntry:
    """One derivative, computed twice.

    ``layer`` is the layer's number, or None for the cost; ``owner`` its repr; ``name`` the parameter, or "x" for the layer's
    input, or "prediction" for the cost's; ``index`` the place in that array. ``analytic`` is what backpropagation gives,
    ``numeric`` what differences give, ``relative_error`` their distance over the larger of both, and ``bound`` how far apart
    they may be. ``verdict`` is "right", "wrong", "kink" (the cost has no derivative here) or "unresolved" (no difference is
    precise enough to tell).

    >>> import numpy as np, pynn
    >>> net = pynn.Network([pynn.Dense(2, 1)], dtype="float64", seed=0)
    >>> pynn.gradcheck(net, np.ones((3, 2)), np.ones(3)).worst.verdict
    'right'
    """

    layer: int | None
    owner: str
    name: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    relative_error: float
    bound: float
    verdict: str

    @property
    def excess(self) -> float:
        """The distance of both derivatives, in bounds: above 1 it is too far."""
        distance = abs(self.analytic - self.numeric)
        return 0.0 if distance == 0 else distance / self.bound if math.isfinite(distance) and self.bound > 0 else math.inf

    def __str__(self) -> str:
        place = f"{self.name}[{', '.join(map(str, self.index))}]"
        where = f"cost, {self.owner}" if self.layer is None else f"layer {self.layer}, {self.owner}"
        return (
            f"{where}: {place} is {self.verdict}: backpropagation gives {self.analytic:.10g}, differences {self.numeric:.10g} "
            f"(relative error {self.relative_error:.1e}, they may differ by {self.bound:.1e})"
        )


@dataclass(frozen=True)
class GradientArray:
    """The entries of one array that were compared; ``shape`` is the whole array's.

    >>> import numpy as np, pynn
    >>> net = pynn.Network([pynn.Dense(2, 1)], dtype="float64", seed=0)
    >>> [(array.name, array.shape, len(array.entries)) for array in pynn.gradcheck(net, np.ones((3, 2)), np.ones(3)).arrays]
    [('prediction', (3, 1), 3), ('x', (3, 2), 6), ('weight', (1, 2), 2), ('bias', (1,), 1)]
    """

    layer: int | None
    owner: str
    name: str
    shape: tuple[int, ...]
    entries: list[GradientEntry]

    @property
    def worst(self) -> GradientEntry | None:
        """The entry that is furthest off, a wrong one if there is any; None of an array without elements."""
        return max(self.entries, key=lambda entry: (entry.verdict == "wrong", entry.excess), default=None)

    def count(self, verdict: str) -> int:
        """How many entries have this verdict."""
        return sum(entry.verdict == verdict for entry in self.entries)


class GradientReport:
    """What ``gradcheck`` found: true if no entry is wrong, so that ``assert pynn.gradcheck(...)`` is a test.

    ``arrays`` has one ``GradientArray`` for the cost and for each layer's input and parameters, in the order of
    backpropagation; ``worst`` is the entry that is furthest off, of the first layer in that order that has a wrong one, since
    those below inherit its error; ``notes`` say under which conditions it was checked. ``str`` gives it all as a table.

    >>> import numpy as np, pynn
    >>> net = pynn.Network([pynn.Dense(2, 3), pynn.Tanh(), pynn.Dense(3, 1)], dtype="float64", seed=0)
    >>> report = pynn.gradcheck(net, [[0.5, 0.25]], [1.0])
    >>> print(report)
    The gradients are right: 22 of 22 entries.
    where                array       shape   checked  wrong  kinks  unresolved  largest relative error
    cost, MSE()          prediction  (1, 1)        1      0      0           0                     ...
    layer 2, Dense(3, 1) x           (1, 3)        3      0      0           0                     ...
    ...
    """

    def __init__(self, arrays: list[GradientArray], notes: list[str]) -> None:
        self.arrays = arrays
        self.notes = notes

    @property
    def passed(self) -> bool:
        """Whether no entry is wrong."""
        return not any(array.count("wrong") for array in self.arrays)

    def __bool__(self) -> bool:
        return self.passed

    @property
    def worst(self) -> GradientEntry | None:
        """The entry to look at first; None where nothing was compared."""
        found = [array.worst for array in self.arrays]
        entries = [entry for entry in found if entry is not None]
        first = next((entry for entry in entries if entry.verdict == "wrong"), None)
        if first is not None:
            entries = [entry for entry in entries if entry.verdict == "wrong" and entry.layer == first.layer]
        return max(entries, key=lambda entry: entry.excess, default=None)

    def _summary(self) -> str:
        checked = sum(len(array.entries) for array in self.arrays)
        size = sum(math.prod(array.shape) for array in self.arrays)
        wrong, kinks, unresolved = (
            sum(array.count(verdict) for array in self.arrays) for verdict in ("wrong", "kink", "unresolved")
        )
        found = "right" if self.passed else "wrong"
        text = f"The gradients are {found}: {checked} of {size} entries"
        if wrong:
            text += f", {wrong} wrong"
        if kinks:
            text += f", {kinks} not differentiable here"
        if unresolved:
            text += f", {unresolved} not resolved by differences"
        return text + "."

    def __repr__(self) -> str:
        return f"<GradientReport: {self._summary()}" + ("" if self.passed else f" {self.worst}") + ">"

    def __str__(self) -> str:
        head = ["where", "array", "shape", "checked", "wrong", "kinks", "unresolved", "largest relative error"]
        rows = [head]
        for array in self.arrays:
            off = max((entry.relative_error for entry in array.entries if entry.verdict in ("right", "wrong")), default=0.0)
            where = f"cost, {array.owner}" if array.layer is None else f"layer {array.layer}, {array.owner}"
            counts = [str(array.count(verdict)) for verdict in ("wrong", "kink", "unresolved")]
            rows.append([where, array.name, str(array.shape), str(len(array.entries)), *counts, f"{off:.1e}"])
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        table = [
            (f"{row[0]:<{widths[0]}} {row[1]:<{widths[1]}}  " + "  ".join(f"{row[i]:>{widths[i]}}" for i in range(2, len(head))))
            for row in rows
        ]
        table[0] = f"{head[0]:<{widths[0]}} {head[1]:<{widths[1]}}  {head[2]:<{widths[2]}}  " + "  ".join(head[3:])
        worst = [] if self.passed else [str(self.worst)]
        return "\n".join([self._summary(), *worst, *table, *self.notes])


def gradcheck(
    network: Network,
    x: ArrayLike,
    y: ArrayLike,
    *,
    tolerance: float = 1e-6,
    samples: int | None = None,
    seed: int = 0,
) -> GradientReport:
    """Compare backpropagation with central differences of the cost of ``x`` (samples, in_features), or (in_features,), against
    ``y`` (samples, out_features), or (out_features,); classes (samples,) for a cost that takes them. Dropout drops the same in
    all of it.

    Each derivative is taken twice: ∂C/∂Y of the cost, ∂C/∂X of each layer, and ∂C/∂θ of each of its parameters, in the order of
    backpropagation, so that a wrong ``backward`` is told from those that inherit its error. All entries of an array are
    compared, or ``samples`` (500 if None) drawn by ``seed`` of a larger one. Layers and cost may be anyone's.

    A difference D(h) = (C(θ + h) - C(θ - h)) / 2h is off by a multiple of h² and by the rounding of C, over h. Of two of them
    (16 D(h/4) - D(h)) / 15 is free of h² (Richardson, 1911); its change from one h to the next, and 4 u |C| / h for a unit
    roundoff u, estimate what is left. h falls from 2⁻⁴ to 2⁻³⁰ (times θ, of a θ above 1) until that is below ``tolerance``.
    An entry is right if both derivatives differ by at most ``tolerance`` times the larger plus 8 times that estimate. Where they
    differ by more and the slopes to both sides do too, as of a ReLU at 0, the entry is a kink, and no fault.

    All is done on a copy of the network in float64, and the network is left as it is. A layer that answers in float32 all the
    same is checked as precisely as that allows, and a note of the report says so.

    Raises ``TypeError`` if ``network`` is none or cannot be copied, or for numbers that are none; ``ValueError`` for shapes that
    do not fit, a batch without rows, a cost that is not finite or not twice the same, or a gradient of another shape than its
    array.

    >>> import numpy as np, pynn
    >>> class Cube:
    ...     def forward(self, x):
    ...         self.x = x
    ...         return x**3
    ...     def backward(self, y_gradient):
    ...         return y_gradient * 2 * self.x**2
    >>> net = pynn.Network([pynn.Dense(2, 3), Cube(), pynn.Dense(3, 1)], seed=0)
    >>> report = pynn.gradcheck(net, [[0.5, 0.25]], [1.0])
    >>> bool(report), report.worst.layer, report.worst.name
    (False, 1, 'x')
    """
    if not isinstance(network, Network):
        raise TypeError(f"gradcheck: network is {network!r}, wanted a pynn.Network")
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float, np.integer, np.floating)):
        raise TypeError(f"gradcheck: tolerance is {tolerance!r}, wanted a number")
    if not 0 < tolerance < 1:
        raise ValueError(f"gradcheck: tolerance is {tolerance!r}, wanted a number between 0 and 1")
    most = MOST_SAMPLES if samples is None else checks.as_integer(samples, "gradcheck", "samples", 1)
    random = random_generator(checks.as_integer(seed, "gradcheck", "seed", 0))
    check = _Check(network, x, y)
    arrays = []
    for layer, owner, name, point, gradient, cost in check.arrays():
        with np.errstate(all="ignore"):  # what overflows at a large step is not finite, and passed over
            entries = list(_compare(layer, owner, name, point, gradient, cost, float(tolerance), check.unit, most, random))
        arrays.append(GradientArray(layer, owner, name, point.shape, entries))
    return GradientReport(arrays, check.notes)


class _Check:
    """A copy of the network in float64, what went into each of its layers, and what backpropagation makes of it."""

    def __init__(self, network: Network, x: ArrayLike, y: ArrayLike) -> None:
        try:
            self.network = copy.deepcopy(network)
        except Exception as error:
            raise TypeError(f"gradcheck: {network!r} cannot be copied, so checking would change it: {error}") from error
        self.notes: list[str] = []
        if network.dtype != checks.F64:
            self.network._dtype = checks.F64
            self.network._bind()  # keeps the values
            self.notes.append(f"The network computes in {network.dtype}; its gradients were checked in float64.")
        self.layers, self.cost = self.network.layers, self.network.cost
        given, self.target = pair(self.network, x, y)
        if not given.size or not self.target.size:
            raise ValueError(f"gradcheck: x has shape {given.shape} and y {self.target.shape}: there is nothing to differentiate")
        self.unit = float(np.finfo(np.float64).eps) / 2
        self.steps = {i: layer.step for i, layer in enumerate(self.layers) if isinstance(layer, Dropout)}
        self.inputs: list[Array] = []
        value = given.copy()
        for i, layer in enumerate(self.layers):
            self.inputs.append(np.array(value, np.float64))
            value = self._forward(i, value)
            self._see(value, f"Layer {i}, {layer!r}")
        self.prediction = np.array(value, np.float64)
        classes = getattr(self.cost, "takes_labels", False) and self.target.shape == self.prediction.shape[:-1]
        if self.prediction.shape != self.target.shape and not classes:
            raise ValueError(f"gradcheck: y has shape {self.target.shape}, wanted {self.prediction.shape}, as the network gives")
        self._see(self.cost(value, self.target), f"The cost, {self.cost!r}")
        gradient = self.cost.gradient(value, self.target)
        self.gradients = [self._gradient(gradient, self.prediction, f"the gradient of the cost, {self.cost!r},")]
        gradient = checks.as_floats(gradient, "gradcheck", "the gradient of the cost", checks.F64)
        for i, layer in reversed(list(enumerate(self.layers))):
            gradient = layer.backward(gradient)
            self.gradients.append(self._gradient(gradient, self.inputs[i], f"backward of layer {i}, {layer!r},"))
        self.gradients.reverse()
        self.parameters = [
            (i, name, np.array(getattr(layer, name + "_gradient"), np.float64))
            for i, layer in enumerate(self.layers)
            if isinstance(layer, Layer)
            for name in layer.shapes()
        ]
        costs = [self._cost_from(0, self.inputs[0]) for _ in range(2)]
        if not math.isfinite(costs[0]):
            raise ValueError(f"gradcheck: the cost of x against y is {costs[0]}, which has no derivatives")
        if costs[0] != costs[1]:
            raise ValueError(
                f"gradcheck: the cost was {costs[0]!r} and then, of the same numbers, {costs[1]!r}; "
                "a layer, or the cost, that draws random numbers must draw the same ones each time"
            )

    def _see(self, value: Any, where: str) -> None:
        """What answers in float32 has rounded to it."""
        dtype = np.asarray(value).dtype
        if dtype.kind == "f" and dtype.itemsize < 8:
            self.unit = max(self.unit, float(np.finfo(dtype).eps) / 2)
            self.notes.append(f"{where}, answers in {dtype} when asked in float64: differences are only as precise as that.")

    @staticmethod
    def _gradient(gradient: Any, of: Array, where: str) -> Array:
        found = np.array(gradient, np.float64)
        if found.shape != of.shape:
            raise ValueError(f"gradcheck: {where} has shape {found.shape}, wanted {of.shape}")
        return found

    def _forward(self, i: int, value: Any) -> Any:
        layer = self.layers[i]
        if isinstance(layer, Dropout):
            layer.step = self.steps[i]  # drops the same each time
        return layer.forward(value)

    def _cost_from(self, first: int, value: Array) -> float:
        """The cost, of what goes into layer ``first``."""
        value = value.copy()  # a layer may write to its input
        for i in range(first, len(self.layers)):
            value = self._forward(i, value)
        return float(self.cost(value, self.target))

    def arrays(self) -> Iterator[tuple[int | None, str, str, Array, Array, Callable[[], float]]]:
        """(layer, its repr, name, array, ∂C/∂array by backpropagation, the cost as that array now is), from the cost down."""
        end = len(self.layers)
        yield None, repr(self.cost), "prediction", self.prediction, self.gradients[end], self._cost_of(end, self.prediction)
        for i, layer in reversed(list(enumerate(self.layers))):
            cost = self._cost_of(i, self.inputs[i])
            yield i, repr(layer), "x", self.inputs[i], self.gradients[i], cost
            for number, name, gradient in self.parameters:
                if number == i:
                    yield i, repr(layer), name, getattr(layer, name), gradient, cost

    def _cost_of(self, first: int, value: Array) -> Callable[[], float]:
        return lambda: self._cost_from(first, value)


def _compare(
    layer: int | None,
    owner: str,
    name: str,
    point: Array,
    gradient: Array,
    cost: Callable[[], float],
    tolerance: float,
    unit: float,
    most: int,
    random: np.random.Generator,
) -> Iterator[GradientEntry]:
    places = np.arange(point.size) if point.size <= most else np.sort(random.permutation(point.size)[:most])
    if not len(places):
        return
    middle = cost()
    largest = float(np.abs(gradient).max())
    for place in places:
        index = tuple(int(i) for i in np.unravel_index(place, point.shape))
        analytic = float(gradient[index])
        numeric, error, jumps = _differentiate(cost, point, index, middle, analytic, tolerance, largest, unit)
        larger = max(abs(analytic), abs(numeric))
        bound = tolerance * larger + MARGIN * error
        distance = abs(analytic - numeric)
        if not math.isfinite(analytic):
            verdict = "wrong"
        elif not math.isfinite(numeric):
            verdict = "unresolved"
        elif distance > bound:
            verdict = "kink" if jumps else "wrong"
        else:
            verdict = "right" if error <= max(0.01 * larger, tolerance * max(largest, abs(middle))) else "unresolved"
        relative = distance / larger if larger > 0 else distance
        yield GradientEntry(layer, owner, name, index, analytic, numeric, relative, bound, verdict)


def _differentiate(
    cost: Callable[[], float],
    point: Array,
    index: tuple[int, ...],
    middle: float,
    analytic: float,
    tolerance: float,
    largest: float,
    unit: float,
) -> tuple[float, float, bool]:
    """The derivative by ``point[index]``, its estimated error, and whether the slopes to both sides differ."""
    here = float(point[index])
    before: tuple[float, float, float, float] | None = None  # difference, extrapolated difference, jump, its scale
    best, least, jumps = math.nan, math.inf, False
    try:
        for step in STEPS:
            h = step * max(1.0, abs(here))
            up, down = here + h, here - h
            point[index] = up
            above = cost()
            point[index] = down
            below = cost()
            difference = (above - below) / (up - down)
            forward, backward = (above - middle) / (up - here), (middle - below) / (here - down)
            if not (math.isfinite(forward) and math.isfinite(backward)):
                before = None
                continue
            noise = 4 * unit * max(abs(above), abs(below), abs(middle)) / h
            jump, extrapolated = forward - backward, math.nan
            if before is not None:
                extrapolated = (16 * difference - before[0]) / 15
                error = abs(extrapolated - before[1]) + noise
                if error < least:  # not of a NaN
                    best, least = extrapolated, error
                    # h times the curvature, which a fourth of h makes a fourth of
                    left = abs(4 * jump - before[2]) / 3
                    jumps = left > 1e-3 * max(abs(forward), abs(backward)) + MARGIN * noise
                larger = max(abs(analytic), abs(best))
                small = least <= 0.1 * tolerance * max(larger, 1e-3 * largest)
                if small and abs(analytic - best) <= tolerance * larger + MARGIN * least:
                    break
            before = difference, extrapolated, jump, noise
    finally:
        point[index] = here
    return best, least, jumps
