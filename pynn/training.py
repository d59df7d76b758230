"""The training loop: epochs of mini-batches until there have been enough, until the cost converges, or until a callback stops."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn.checks import as_number

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Step = Callable[[NDArray[np.int64] | None, int, int, int, NDArray[np.float64]], None]

SECONDS_PER_CALL = 0.05  # of C between two looks at Ctrl-C and two reports of progress
HOOKS = ("on_train_begin", "on_epoch_begin", "on_batch_end", "on_progress", "on_epoch_end", "on_train_end")


class History:
    """What ``fit`` saw: one number for each epoch under each name.

    ``cost`` is the mean, over an epoch's rows, of each batch's cost before its update; ``validation_cost`` the cost of the
    validation data after the epoch. ``metrics`` has all lists but ``cost`` by name; ``history[name]`` is any of them.
    ``converged`` tells whether ``tol`` ended the training. Histories pickle, and ``dict(history)`` is one of plain lists.

    >>> import pynn
    >>> history = pynn.History([0.5, 0.25], metrics={"validation_cost": [0.6, 0.5]})
    >>> history
    History(cost=[0.5, 0.25], converged=False, metrics={'validation_cost': [0.6, 0.5]})
    >>> history["validation_cost"], list(history)
    ([0.6, 0.5], ['cost', 'validation_cost'])
    """

    def __init__(
        self, cost: list[float] | None = None, converged: bool = False, metrics: dict[str, list[float]] | None = None
    ) -> None:
        self.cost: list[float] = cost if cost is not None else []
        self.converged = converged
        self.metrics: dict[str, list[float]] = metrics if metrics is not None else {}

    @property
    def validation_cost(self) -> list[float]:
        """The cost of the validation data after each epoch; empty without such data.

        >>> import pynn
        >>> pynn.History([0.5]).validation_cost
        []
        """
        return self.metrics.get("validation_cost", [])

    def __len__(self) -> int:
        """The number of epochs."""
        return len(self.cost)

    def keys(self) -> list[str]:
        """The names: ``"cost"``, then those of ``metrics``.

        >>> import pynn
        >>> pynn.History([0.5]).keys()
        ['cost']
        """
        return ["cost", *self.metrics]

    def __getitem__(self, name: str) -> list[float]:
        if name not in self:
            raise KeyError(f"{name}: the history has {', '.join(self)}")
        return self.cost if name == "cost" else self.metrics[name]

    def __contains__(self, name: object) -> bool:
        return name == "cost" or name in self.metrics

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def as_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Every list as a float64 array (epochs,), by name.

        >>> import pynn
        >>> pynn.History([0.5, 0.25]).as_arrays()
        {'cost': array([0.5 , 0.25])}
        """
        return {name: np.array(self[name], np.float64) for name in self}

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame``: a column for each name, a row for each epoch, counted from 1. Needs pandas.

        >>> import importlib.util, pynn
        >>> if importlib.util.find_spec("pandas"):
        ...     assert pynn.History([0.5, 0.25]).to_frame()["cost"].tolist() == [0.5, 0.25]
        """
        import importlib

        pandas: Any = importlib.import_module("pandas")
        return (
            pandas.DataFrame({name: pandas.Series(self[name], dtype=float) for name in self}, index=range(len(self)))
            .rename(index=lambda epoch: epoch + 1)
            .rename_axis("epoch")
        )

    def plot(self, names: Sequence[str] | None = None, file: Any = None, axes: Any = None) -> Any:
        """A ``matplotlib.figure.Figure`` of ``names`` (all of them) by epoch; costs have an axis of their own, which is
        logarithmic. ``file``, a path, takes it as a picture; ``axes``, matplotlib's, take all curves, in the figure that they
        belong to. Needs matplotlib; an unknown name is a ``KeyError``.

        >>> import pynn
        >>> figure = pynn.History([0.5, 0.25]).plot()
        >>> [line.get_label() for line in figure.axes[0].get_lines()]
        ['cost']
        """
        from pynn import display

        return display.history_figure(self, self.keys() if names is None else list(names), file, axes)

    def __repr__(self) -> str:
        metrics = f", metrics={self.metrics!r}" if self.metrics else ""
        return f"History(cost={self.cost!r}, converged={self.converged!r}{metrics})"


class Progress:
    """Where ``fit`` is, as told to its ``progress`` function.

    ``epoch`` counts from 1, ``epochs`` is how many there will be at most, or None; ``row`` of ``rows`` of this epoch are done;
    ``cost`` is their mean cost so far. ``rows`` is None before the end of an epoch of batches whose number nobody knows.

    >>> import pynn
    >>> pynn.training.Progress(1, 20, 320, 1000, 0.5)
    Progress(epoch=1, epochs=20, row=320, rows=1000, cost=0.5)
    """

    __slots__ = ("cost", "epoch", "epochs", "row", "rows")

    def __init__(self, epoch: int, epochs: int | None, row: int, rows: int | None, cost: float) -> None:
        self.epoch, self.epochs, self.row, self.rows, self.cost = epoch, epochs, row, rows, cost

    def __repr__(self) -> str:
        return f"Progress({', '.join(f'{name}={getattr(self, name)!r}' for name in ('epoch', 'epochs', 'row', 'rows', 'cost'))})"


class State:
    """Where ``fit`` is, as told to callbacks (:mod:`pynn.callbacks`); one object for the whole of a ``fit``.

    ``epoch``, ``epochs``, ``row``, ``rows`` and ``cost`` are as in ``Progress``; ``batch_cost`` is that of the last batch before
    its update; ``step`` counts the updates that this ``fit`` has made; ``history`` is what it will return. A callback that sets
    ``stop`` to True ends the training: after this batch, if within an epoch, which then counts as it is.

    >>> import pynn
    >>> state = pynn.training.State(20, pynn.History())
    >>> state.epoch, state.epochs, state.step, state.stop
    (0, 20, 0, False)
    """

    epoch = row = step = 0
    rows: int | None = None
    batch_cost = math.nan
    stop = False
    _mean: Callable[[], float] | None = None  # asked only if someone wants to know: it takes time for each batch of the epoch
    _cost = math.nan

    def __init__(self, epochs: int | None, history: History) -> None:
        self.epochs = epochs
        self.history = history

    @property
    def cost(self) -> float:
        """The mean cost of this epoch's rows so far; NaN before the first.

        >>> import pynn
        >>> pynn.training.State(20, pynn.History()).cost
        nan
        """
        if self._mean is not None:
            self._cost, self._mean = self._mean(), None
        return self._cost


class DivergenceError(ArithmeticError):
    """The cost became NaN or infinite.

    ``epoch`` and ``batch`` of it (both from 1) had the cost ``cost``; ``step`` is the number of updates before; ``history`` has
    the epochs before. The parameters are as the last completed step left them.

    >>> import numpy as np, pynn
    >>> net = pynn.Network([pynn.Dense(1, 1)], optimizer=pynn.SGD(1e30), seed=0)
    >>> try:
    ...     net.fit(np.ones((8, 1)), np.ones(8), epochs=9, batch_size=4)
    ... except pynn.DivergenceError as error:
    ...     print(error.epoch, error.batch, error.step, error.cost)
    2 1 2 inf
    """

    epoch: int
    batch: int
    step: int
    cost: float
    history: History

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)


def checked_callbacks(callbacks: Any, where: str) -> list[Any]:
    """``callbacks`` as a list; a ``TypeError`` for what is told nothing."""
    if not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"{where}: callbacks is {callbacks!r}, wanted a list")
    for each in callbacks:
        if isinstance(each, type) or not any(callable(getattr(each, name, None)) for name in HOOKS):
            raise TypeError(f"{where}: callback {each!r}, wanted an object with some of {', '.join(HOOKS)}")
    return list(callbacks)


# ---- costs and weights -------------------------------------------------------------------------------------------------------


def weighted_mean(costs: list[float], weights: list[float], total: float) -> float:
    """Σ wᵢ cᵢ / ``total``, products rounded, the sum exact, so that no order of summing matters."""
    try:
        return math.fsum([cost * weight for cost, weight in zip(costs, weights, strict=True)]) / total
    except (OverflowError, ValueError):  # infinities of both signs, or a sum beyond the largest float
        return math.nan if any(map(math.isnan, costs)) else math.inf


def mean_cost(costs: NDArray[np.float64], rows: int, batch_size: int) -> float:
    """The mean over ``rows`` rows of the costs of their batches, rounded once (so that no order of summing matters)."""
    if len(costs) == 1:
        cost: float = costs.item()
        return cost * rows / rows  # what follows, in a tenth of its time
    full = len(costs) - 1
    weights: list[float] = [batch_size] * full
    weights.append(rows - batch_size * full)
    return weighted_mean(costs.tolist(), weights, rows)


def batch_weights(weights: NDArray[Any], batch_size: int) -> list[float]:
    """The sum of the weights of each batch, one after another in double precision."""
    batches = -(-len(weights) // batch_size)
    padded = np.zeros(batches * batch_size)
    padded[: len(weights)] = weights
    sums: list[float] = padded.reshape(batches, batch_size).cumsum(axis=1)[:, -1].tolist()
    return sums


def checked_weights(weights: ArrayLike, rows: int, where: str, name: str = "sample_weight") -> NDArray[np.float64]:
    """``weights`` (rows,) as float64: finite, from 0 up, not all 0; ``ValueError`` or ``TypeError`` otherwise.

    >>> import pynn
    >>> pynn.training.checked_weights([1, 2], 2, "fit")
    array([1., 2.])
    """
    array = np.asarray(weights)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{where}: {name} has dtype {array.dtype}, wanted real numbers")
    array = array.astype(np.float64)
    if array.shape != (rows,):
        raise ValueError(f"{where}: {name} has shape {array.shape}, wanted ({rows},), one for each sample")
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError(f"{where}: {name} has numbers that are negative, NaN or infinite")
    if rows and not array.any():
        raise ValueError(f"{where}: {name} is 0 everywhere")
    return array


def class_weights(y: ArrayLike, class_weight: Mapping[int, float] | str, where: str) -> NDArray[np.float64]:
    """The weight (samples,) of each sample by its class: ``class_weight[class]``, 1 for classes that it does not name.

    ``y`` is (samples,) or (samples, 1) of whole numbers, or (samples, classes) with a single 1 in each row. ``"balanced"`` is
    n / (k nᵢ) for the nᵢ of all n samples that are of class i, one of the k that occur (King and Zeng, 2001).

    >>> import pynn
    >>> pynn.training.class_weights([0, 0, 0, 1], "balanced", "fit")
    array([0.66666667, 0.66666667, 0.66666667, 2.        ])
    >>> pynn.training.class_weights([[1, 0], [0, 1]], {1: 3.0}, "fit")
    array([1., 3.])
    """
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        if not (((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()):
            raise ValueError(f"{where}: class_weight wants a single 1 in each row of y and 0 elsewhere, or (samples,) of classes")
        labels = array.argmax(axis=1)
    elif array.ndim == 1 and array.dtype.kind in "fiub" and (array == np.floor(array)).all():
        labels = array.astype(np.int64)
    else:
        raise ValueError(f"{where}: class_weight wants y of whole numbers (samples,), got {array.dtype} of shape {array.shape}")
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f'{where}: class_weight is {class_weight!r}, wanted a dict or "balanced"')
        return np.asarray(len(labels) / (len(classes) * counts))[inverse]
    if not isinstance(class_weight, Mapping):
        raise TypeError(f'{where}: class_weight is {class_weight!r}, wanted a dict or "balanced"')
    numbers: dict[int, float] = {}
    for name, weight in class_weight.items():
        if isinstance(name, bool) or not isinstance(name, (int, np.integer)):
            raise TypeError(f"{where}: class_weight has the class {name!r}, wanted whole numbers")
        numbers[int(name)] = as_number(weight, where, f"class_weight[{name}]")
    return np.array([numbers.get(int(name), 1.0) for name in classes], np.float64)[inverse]


# ---- what an epoch goes through ----------------------------------------------------------------------------------------------


class Rows:
    """Epochs over ``rows`` rows: ``step(order, first, number of rows, batch_size, costs)`` takes as many batches at once as
    fit into SECONDS_PER_CALL, or one if ``singly``. ``weights`` (rows,) are those of the samples, or None.
    """

    def __init__(
        self,
        step: Step,
        random: np.random.Generator,
        rows: int,
        batch_size: int,
        shuffle: bool,
        weights: NDArray[Any] | None = None,
        singly: bool = False,
    ) -> None:
        self.step, self.random, self.weights, self.singly = step, random, weights, singly
        self.rows: int | None = rows
        self.length = rows
        self.batch_size = max(1, min(batch_size, rows))
        self.batches = -(-rows // self.batch_size)
        self.shuffle = shuffle and self.batches > 1  # the order of the rows of one batch changes nothing but rounding
        self.costs = np.empty(self.batches)
        self.at_once = 1  # batches in one call; grows until a call takes SECONDS_PER_CALL
        self.done = self.row = 0  # batches and rows of this epoch
        self.order: NDArray[np.int64] | None = None
        self.sums: list[float] = []

    def begin(self) -> None:
        """Begin an epoch."""
        self.order = self.random.permutation(self.length) if self.shuffle else None
        if self.weights is not None:
            self.sums = batch_weights(self.weights if self.order is None else self.weights[self.order], self.batch_size)
        self.done = self.row = 0

    def advance(self) -> bool:
        """Train on some batches; whether there are more of them in this epoch."""
        batch, size = self.done, self.batch_size
        now = min(self.at_once, self.batches - batch)
        first, end = batch * size, min(self.length, (batch + now) * size)
        began = perf_counter()
        self.step(self.order, first, end - first, size, self.costs)
        seconds = perf_counter() - began
        if now == self.at_once and not self.singly:
            self.at_once = max(1, min(8 * now, int(now * SECONDS_PER_CALL / max(seconds, 1e-9))))
        self.done, self.row = batch + now, end
        return end < self.length

    def mean(self) -> float:
        """The mean cost of this epoch so far."""
        if self.weights is not None:
            sums = self.sums[: self.done]
            return weighted_mean(self.costs[: self.done].tolist(), sums, math.fsum(sums) or 1.0)
        costs = self.costs if self.done == self.batches else self.costs[: self.done]
        return mean_cost(costs, self.row, self.batch_size)


class Batches:
    """Epochs over an iterable of batches: ``step(batch)`` trains on one, and gives its cost, its rows and their weight.

    An epoch is a pass over ``batches``, or, with ``steps``, as many of them, going on where the last epoch ended and beginning
    anew where they end (an iterator does not).
    """

    def __init__(
        self, step: Callable[[Any], tuple[float, int, float]], batches: Iterable[Any], steps: int | None, singly: bool = False
    ) -> None:
        self.step, self.given, self.steps, self.singly = step, batches, steps, singly
        self.iterator: Iterator[Any] = iter(batches)
        self.once = self.iterator is batches
        self.fresh = True
        self.rows: int | None = None
        self.row = self.done = 0
        self.costs: list[float] = []
        self.weights: list[float] = []

    def begin(self) -> None:
        """Begin an epoch."""
        self.rows, self.row, self.done, self.costs, self.weights = None, 0, 0, [], []
        if self.steps is None and not self.fresh:
            self.iterator = iter(self.given)
        self.fresh = False

    def advance(self) -> bool:
        """Train on batches until SECONDS_PER_CALL have passed; whether there may be more of them in this epoch."""
        end = object()
        began = perf_counter()
        while self.steps is None or self.done < self.steps:
            batch = next(self.iterator, end)
            if batch is end and self.steps is not None and not self.once:
                self.iterator = iter(self.given)
                batch = next(self.iterator, end)
            if batch is end:
                break
            cost, rows, weight = self.step(batch)
            self.costs.append(cost)
            self.weights.append(weight)
            self.row += rows
            self.done += 1
            if self.singly or perf_counter() - began > SECONDS_PER_CALL:
                return True
        self.rows = self.row
        return False

    def mean(self) -> float:
        """The mean cost of this epoch so far."""
        return weighted_mean(self.costs, self.weights, math.fsum(self.weights) or 1.0)


# ---- the loop ----------------------------------------------------------------------------------------------------------------


def fit(
    source: Rows | Batches,
    network: Any,
    epochs: int | None,
    tol: float | None,
    patience: int,
    progress: Callable[[Progress], object] | None = None,
    callbacks: Sequence[Any] = (),
    names: Sequence[str] = (),
    judge: Callable[[], Mapping[str, float]] | None = None,
    check: bool = True,
) -> History:
    """Train through epochs of ``source``; see ``Network.fit``, which has checked the arguments.

    ``judge()`` gives the numbers ``names`` after each epoch. ``check`` lets a cost that is not finite end the training. An
    interrupt, or an error in ``progress`` or a callback, leaves the parameters as the last completed step made them.
    """
    history = History(metrics={name: [] for name in names})
    if source.rows == 0:
        return history
    state = State(epochs, history)
    hooks: dict[str, list[Callable[[Any, State], object]]] = {}
    for name in HOOKS if callbacks else ():
        hooks[name] = [getattr(each, name) for each in callbacks if callable(getattr(each, name, None))]
    watched = bool(callbacks) or progress is not None

    def tell(name: str) -> None:
        for hook in hooks.get(name, ()):
            hook(network, state)

    def report(before: int) -> None:
        new = state.step < before + source.done
        state.row, state.rows, state.step, state._mean = source.row, source.rows, before + source.done, source.mean
        state.batch_cost = float(source.costs[source.done - 1])
        if progress is not None:
            progress(Progress(state.epoch, epochs, state.row, state.rows, state.cost))
        tell("on_progress")
        if new:
            tell("on_batch_end")

    best, waited, steps, epoch = math.inf, 0, 0, 0  # steps: before this epoch
    if watched:
        tell("on_train_begin")
    while not state.stop and (epochs is None or epoch < epochs):
        epoch += 1
        checked = 0
        source.begin()
        if watched:
            state.epoch, state.row, state.rows = epoch, 0, source.rows
            tell("on_epoch_begin")
        while source.advance():
            if check and not np.isfinite(source.costs[checked : source.done]).all():
                raise diverged(source, checked, epoch, steps, history)
            checked = source.done
            if watched:
                report(steps)
                if state.stop:
                    break
        if not source.done:
            state.epoch -= 1
            warnings.warn(f"fit: the batches ended after {epoch - 1} epochs", RuntimeWarning, stacklevel=3)
            break
        cost = source.mean()
        if check and not math.isfinite(cost):
            raise diverged(source, checked, epoch, steps, history)
        if watched and not (state.stop and state.row):
            report(steps)
        steps += source.done
        history.cost.append(cost)
        if judge is not None:
            for name, number in judge().items():
                history.metrics[name].append(number)
        if watched:
            tell("on_epoch_end")
        if tol is not None:
            waited = 0 if best - cost > tol else waited + 1
            best = min(best, cost)
            if waited >= patience:
                history.converged = math.isfinite(cost)
                break
    if watched:
        tell("on_train_end")
    return history


def diverged(source: Rows | Batches, checked: int, epoch: int, steps: int, history: History) -> DivergenceError:
    """The error that says where among the costs from ``checked`` on one is not finite."""
    costs = np.asarray(source.costs[checked : source.done])
    finite = np.isfinite(costs)
    at = checked + int((costs if finite.all() else ~finite).argmax())  # all finite: their sum was too large
    cost, step = float(source.costs[at]), steps + at
    advice = (
        "the first parameters, x or y hold NaN, infinity or very large numbers"
        if step == 0
        else "try a smaller learning rate, inputs scaled to about 1, or clipped gradients; if none helps, look for NaN in x and y"
    )
    where = f"epoch {epoch}, batch {at + 1} (after {step} updates)"
    return DivergenceError(
        f"fit: the cost became {cost} in {where}: {advice}", epoch=epoch, batch=at + 1, step=step, cost=cost, history=history
    )
