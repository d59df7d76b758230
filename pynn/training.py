"""The training loop: epochs of mini-batches until there have been enough, or until the cost converges."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Step = Callable[[NDArray[np.int64] | None, int, int, int, NDArray[np.float64]], None]

SECONDS_PER_CALL = 0.05  # of C between two looks at Ctrl-C and two reports of progress


class History:
    """What ``fit`` saw.

    ``cost`` has one number for each epoch: the mean, over its rows, of each batch's cost before its update. ``converged`` tells
    whether ``tol`` ended the training.

    >>> import pynn
    >>> pynn.History([0.5, 0.25])
    History(cost=[0.5, 0.25], converged=False)
    """

    def __init__(self, cost: list[float] | None = None, converged: bool = False) -> None:
        self.cost: list[float] = cost if cost is not None else []
        self.converged = converged

    def __len__(self) -> int:
        """The number of epochs."""
        return len(self.cost)

    def __repr__(self) -> str:
        return f"History(cost={self.cost!r}, converged={self.converged!r})"


class Progress:
    """Where ``fit`` is, as told to its ``progress`` function.

    ``epoch`` counts from 1, ``epochs`` is how many there will be at most, or None; ``row`` of ``rows`` of this epoch are done;
    ``cost`` is their mean cost so far.

    >>> import pynn
    >>> pynn.training.Progress(1, 20, 320, 1000, 0.5)
    Progress(epoch=1, epochs=20, row=320, rows=1000, cost=0.5)
    """

    __slots__ = ("cost", "epoch", "epochs", "row", "rows")

    def __init__(self, epoch: int, epochs: int | None, row: int, rows: int, cost: float) -> None:
        self.epoch, self.epochs, self.row, self.rows, self.cost = epoch, epochs, row, rows, cost

    def __repr__(self) -> str:
        return f"Progress({', '.join(f'{name}={getattr(self, name)!r}' for name in ('epoch', 'epochs', 'row', 'rows', 'cost'))})"


def mean_cost(costs: NDArray[np.float64], rows: int, batch_size: int) -> float:
    """The mean over ``rows`` rows of the costs of their batches, rounded once (so that no order of summing matters)."""
    weights = [batch_size] * (len(costs) - 1) + [rows - batch_size * (len(costs) - 1)]
    try:
        return math.fsum(cost * weight for cost, weight in zip(costs.tolist(), weights, strict=True)) / rows
    except (OverflowError, ValueError):  # infinities of both signs, or a sum beyond the largest float
        return math.nan if np.isnan(costs).any() else math.inf


def fit(
    step: Step,
    random: np.random.Generator,
    rows: int,
    epochs: int | None,
    batch_size: int,
    shuffle: bool,
    tol: float | None,
    patience: int,
    progress: Callable[[Progress], object] | None,
) -> History:
    """Take ``step(order, first, number of rows, batch_size, costs)`` through epochs of ``rows`` rows; see ``Network.fit``,
    which has checked the rest.

    An interrupt, or an error in ``progress``, leaves the parameters as the last completed step made them.
    """
    history = History()
    if rows == 0:
        return history
    batch_size = min(batch_size, rows)
    batches = -(-rows // batch_size)
    costs = np.empty(batches)
    at_once = 1  # batches in one call; grows until a call takes SECONDS_PER_CALL
    best, waited, epoch = math.inf, 0, 0
    while epochs is None or epoch < epochs:
        epoch += 1
        order = random.permutation(rows) if shuffle else None
        batch = 0
        while batch < batches:
            now = min(at_once, batches - batch)
            first, end = batch * batch_size, min(rows, (batch + now) * batch_size)
            began = perf_counter()
            step(order, first, end - first, batch_size, costs)
            seconds = perf_counter() - began
            at_once = max(1, min(2 * now, int(now * SECONDS_PER_CALL / max(seconds, 1e-9)))) if now == at_once else at_once
            batch += now
            if progress is not None:
                progress(Progress(epoch, epochs, end, rows, mean_cost(costs[:batch], end, batch_size)))
        history.cost.append(mean_cost(costs, rows, batch_size))
        if tol is not None:
            waited = 0 if best - history.cost[-1] > tol else waited + 1
            best = min(best, history.cost[-1])
            if waited >= patience:
                history.converged = math.isfinite(history.cost[-1])
                break
    return history
