"""Callbacks: what ``fit`` tells, and what may end a training.

A callback is any object that has some of these methods; ``fit`` calls them with the network and one ``pynn.training.State``, in
the order of the list that it was given:

================  ==================================================================================================
on_train_begin    before the first step; the lists of ``state.history`` are there, empty. The place to refuse to work
on_epoch_begin    before each epoch
on_progress       after each call of C: after an epoch, and within long ones some twenty times a second
on_batch_end      after each update; C then takes one batch in each call, which is slow for small networks
on_epoch_end      after each epoch, when all its numbers are at the end of the lists of ``state.history``
on_train_end      after the last epoch, however the training ended, unless by an error or Ctrl-C
================  ==================================================================================================

A callback may set ``state.stop``, change the network's parameters or its optimizer's learning rate, and keep lists of its own in
``state.history.metrics``. An exception that it raises ends ``fit``, with the parameters as the last completed step left them.

>>> import numpy as np, pynn
>>> class Enough:
...     def on_epoch_end(self, network, state):
...         state.stop = state.cost < 1e-3
>>> net = pynn.Network([pynn.Dense(1, 1)], optimizer=pynn.SGD(0.1), seed=0)
>>> history = net.fit(np.ones((8, 1)), np.ones(8), epochs=1000, callbacks=[Enough()])
>>> len(history) < 20
True
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn.checks import as_flag, as_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynn.network import Network
    from pynn.training import State

__all__ = ["EarlyStopping", "ReduceOnPlateau"]


class _Monitor:
    """Whether a number of the history still gets better."""

    def __init__(self, monitor: str, patience: int, min_delta: float, mode: str) -> None:
        where = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{where}: monitor is {monitor!r}, wanted the name of a list of the history")
        if isinstance(patience, bool) or not isinstance(patience, (int, np.integer)) or patience < 1:
            raise ValueError(f"{where}: patience is {patience!r}, wanted a whole number from 1 up")
        if not isinstance(mode, str) or mode not in ("auto", "min", "max"):
            raise ValueError(f'{where}: mode is {mode!r}, wanted "auto", "min" or "max"')
        self.monitor, self.patience, self.mode = monitor, int(patience), mode
        self.min_delta = as_number(min_delta, where, "min_delta")
        self._begin()

    def _begin(self) -> None:
        self.best, self.best_epoch, self.waited = math.nan, 0, 0

    def _sign(self) -> float:
        from pynn import metrics

        name = self.monitor.removeprefix("validation_")
        if self.mode == "auto" and name not in ("cost", *metrics.set_of_numbers()):
            raise ValueError(f'{type(self).__name__}: mode for {self.monitor!r} wanted, "min" or "max"')
        return -1.0 if self.mode == "min" or (self.mode == "auto" and name in metrics.LOWER_IS_BETTER) else 1.0

    def on_train_begin(self, network: Network, state: State) -> None:
        """Begin anew; a ``ValueError`` if the history has no such number."""
        if self.monitor not in state.history:
            from pynn import metrics

            there = ", ".join(map(repr, state.history))
            name = self.monitor.removeprefix("validation_")
            advice = ["validation_data or validation_split"] if name != self.monitor else []
            advice += [f"metrics=[{name!r}]"] if name in metrics.set_of_numbers() else []
            known = bool(advice) and name in ("cost", *metrics.set_of_numbers())
            raise ValueError(
                f"{type(self).__name__}: nothing to monitor as {self.monitor!r}; the history has {there}"
                + (f"; it would with {' and '.join(advice)} of fit" if known else "")
            )
        self._begin()
        self._factor = self._sign()

    def _better(self, state: State) -> bool:
        """Whether this epoch is the best so far, by more than ``min_delta``; counts the epochs since."""
        value = state.history[self.monitor][-1]
        gain = self._factor * (value - self.best)
        if gain > self.min_delta or (math.isnan(self.best) and not math.isnan(value)):
            self.best, self.best_epoch, self.waited = value, state.epoch, 0
            return True
        self.waited += 1
        return False


class EarlyStopping(_Monitor):
    """End the training once a number has not got better for ``patience`` epochs in a row (Prechelt, 1998).

    ``monitor`` names a list of the history, as ``"validation_cost"`` or ``"validation_accuracy"``. Better is more than
    ``min_delta`` below the best so far, or above it, by ``mode`` ``"min"`` or ``"max"``; ``"auto"`` knows which for costs and
    for the metrics of :mod:`pynn.metrics`. With ``restore_best`` the network gets the parameters of the best epoch when the
    training ends, for whatever reason but an error; they are also in ``best_parameters``. An optimizer's state stays as it is.

    ``best`` and ``best_epoch`` (from 1) are that number and its epoch, ``stopped_epoch`` the one that ended the training, or 0.

    >>> import numpy as np, pynn
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> net = pynn.Network([pynn.Dense(1, 1)], optimizer=pynn.SGD(0.1), seed=0)
    >>> stopping = pynn.EarlyStopping(patience=3, min_delta=1e-6)
    >>> history = net.fit(x, 2 * x, epochs=1000, validation_data=(x, 2 * x), callbacks=[stopping])
    >>> len(history) == stopping.stopped_epoch == stopping.best_epoch + 3
    True
    >>> net.evaluate(x, 2 * x) == stopping.best
    True
    """

    def __init__(
        self,
        monitor: str = "validation_cost",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str = "auto",
    ) -> None:
        self.restore_best = as_flag(restore_best, "EarlyStopping", "restore_best")
        super().__init__(monitor, patience, min_delta, mode)

    def _begin(self) -> None:
        super()._begin()
        self.stopped_epoch = 0
        self.best_parameters: NDArray[Any] | None = None

    def on_epoch_end(self, network: Network, state: State) -> None:
        """Keep the parameters of the best epoch, stop after too many others."""
        if self._better(state):
            if self.restore_best:
                self.best_parameters = network.parameters.copy()
        elif self.waited >= self.patience:
            self.stopped_epoch = state.epoch
            state.stop = True

    def on_train_end(self, network: Network, state: State) -> None:
        """Give the network the best parameters."""
        if self.best_parameters is not None:
            network.parameters = self.best_parameters

    def __repr__(self) -> str:
        return (
            f"EarlyStopping(monitor={self.monitor!r}, patience={self.patience}, min_delta={self.min_delta!r}, "
            f"restore_best={self.restore_best}, mode={self.mode!r})"
        )


class ReduceOnPlateau(_Monitor):
    """Multiply the optimizer's learning rate by ``factor`` whenever a number has not got better for ``patience`` epochs in a row.

    ``monitor``, ``min_delta`` and ``mode`` are as in ``EarlyStopping``. After a reduction, ``cooldown`` epochs do not count. The
    rate does not fall below ``min_learning_rate``. The history gets a list ``"learning_rate"``: that of each epoch.

    >>> import numpy as np, pynn
    >>> x = np.ones((4, 1))
    >>> net = pynn.Network([pynn.Dense(1, 1)], optimizer=pynn.SGD(0.25), seed=0)
    >>> history = net.fit(x, x, epochs=6, callbacks=[pynn.ReduceOnPlateau("cost", factor=0.5, patience=2, min_delta=100.0)])
    >>> history["learning_rate"]
    [0.25, 0.25, 0.25, 0.125, 0.125, 0.0625]
    """

    def __init__(
        self,
        monitor: str = "validation_cost",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_learning_rate: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        self.factor = as_number(factor, "ReduceOnPlateau", "factor")
        if not 0 < self.factor < 1:
            raise ValueError(f"ReduceOnPlateau: factor is {factor!r}, wanted a number between 0 and 1")
        if isinstance(cooldown, bool) or not isinstance(cooldown, (int, np.integer)) or cooldown < 0:
            raise ValueError(f"ReduceOnPlateau: cooldown is {cooldown!r}, wanted a whole number from 0 up")
        self.cooldown = int(cooldown)
        self.min_learning_rate = as_number(min_learning_rate, "ReduceOnPlateau", "min_learning_rate")

    def _begin(self) -> None:
        super()._begin()
        self._resting = 0

    def on_train_begin(self, network: Network, state: State) -> None:
        """Begin anew; a ``TypeError`` if the learning rate is not a number that can be reduced."""
        super().on_train_begin(network, state)
        rate = getattr(network.optimizer, "learning_rate", None)
        if not isinstance(rate, (int, float)):
            raise TypeError(f"ReduceOnPlateau: the optimizer's learning_rate is {rate!r}, wanted a number")
        state.history.metrics.setdefault("learning_rate", [])

    def on_epoch_end(self, network: Network, state: State) -> None:
        """Note the learning rate; reduce it after too many epochs that were no better."""
        optimizer: Any = network.optimizer
        state.history.metrics["learning_rate"].append(float(optimizer.learning_rate))
        better = self._better(state)
        if self._resting:
            self._resting -= 1
            self.waited = 0
        if not better and self.waited >= self.patience:
            optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_learning_rate)
            self._resting, self.waited = self.cooldown, 0

    def __repr__(self) -> str:
        return (
            f"ReduceOnPlateau(monitor={self.monitor!r}, factor={self.factor!r}, patience={self.patience}, "
            f"min_delta={self.min_delta!r}, cooldown={self.cooldown}, min_learning_rate={self.min_learning_rate!r}, "
            f"mode={self.mode!r})"
        )
