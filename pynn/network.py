"""A network: layers in a row, a cost and an optimizer."""

from __future__ import annotations

import copy
import math
import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from pynn import checks, costs, engine, training
from pynn.costs import Cost
from pynn.layers import Dense, Layer, Sigmoid, bind_layers, check_features, network_dtype, random_generator
from pynn.optimizers import SGD, Optimizer
from pynn.rows import Dropout, Softmax
from pynn.training import History, Progress

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from pynn.checks import Array

    Metric = Callable[[Array, Array], float]
    Metrics = Sequence[Metric | str] | Mapping[str, Metric]

CHUNK = 2**24  # bytes of a file that are converted at once

_empty = np.empty
_ndarray = np.ndarray
_plan_predict = engine.plan_predict
_plan_train = engine.plan_train
_plan_step = engine.plan_step
_plan_declined = engine.plan_declined


class Network:
    """Layers in a row, trained by gradient descent on a cost.

    ``layers`` is a sequence of layers, each taking as many features as the one before gives (else a ``ValueError`` that names
    both); a layer belongs to one network. ``cost`` and ``optimizer`` default to mean squared error and plain gradient descent.
    All arrays have ``dtype``, float32 or float64; what goes in is converted. ``seed``, an integer from 0 up, fixes the initial
    weights and the shuffling, on every machine; None draws new ones.

    Networks pickle, copy and deepcopy. ``predict`` and ``evaluate`` may be called from many threads at once.

    >>> import numpy as np, pynn
    >>> net = pynn.Network([pynn.Dense(2, 8), pynn.Tanh(), pynn.Dense(8, 1)], optimizer=pynn.SGD(0.2), dtype="float64", seed=0)
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> history = net.fit(x, [0, 1, 1, 0], epochs=1000, batch_size=4)
    >>> net.predict(x).round().ravel().tolist() == [0.0, 1.0, 1.0, 0.0]
    True
    """

    def __init__(
        self,
        layers: Sequence[Any],
        cost: Any = None,
        optimizer: Any = None,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
    ) -> None:
        if not isinstance(layers, Iterable):
            raise TypeError(f"Network: layers is {layers!r}, wanted a list of layers")
        self._layers: tuple[Any, ...] = tuple(layers)
        self._seed = seed if seed is None else checks.as_integer(seed, "Network", "seed", 0)
        self._dtype = network_dtype(dtype, "Network")
        self._check_layers()
        self._set_cost(costs.MSE() if cost is None else cost)
        self._warn_of_logits()
        self._check_optimizer(optimizer := SGD() if optimizer is None else optimizer)
        self._random, self._process = random_generator(self._seed), os.getpid()
        self._bind()
        self._set_optimizer(optimizer)

    def _check_layers(self) -> None:
        if not self.layers:
            raise ValueError("Network: no layers")
        width: int | None = None
        before = ""
        seen: set[int] = set()
        for i, layer in enumerate(self.layers):
            name = f"layer {i}, {layer!r}"
            if isinstance(layer, type) or not (
                callable(getattr(layer, "forward", None)) and callable(getattr(layer, "backward", None))
            ):
                raise TypeError(f"Network: {name}, is not a layer: it wants forward(x) and backward(y_gradient)")
            if id(layer) in seen:
                raise ValueError(f"Network: {name}, comes twice; copy.deepcopy makes another one of it")
            if getattr(layer, "_bound", False):
                raise ValueError(f"Network: {name}, belongs to another network; copy.deepcopy makes another one of it")
            seen.add(id(layer))
            takes, gives = getattr(layer, "in_features", None), getattr(layer, "out_features", None)
            if takes is not None and width is not None and takes != width:
                raise ValueError(f"Network: {name}, takes {takes} features, but {before} gives {width}")
            if gives is not None:
                width, before = gives, name
            elif not isinstance(layer, Layer):
                width = None  # a stranger may give any number

    @property
    def cost(self) -> Any:
        """The cost; another one may be assigned between steps, which is a ``TypeError`` if it is none.

        >>> import pynn
        >>> pynn.Network([pynn.Dense(2, 1)]).cost
        MSE()
        """
        return self._cost

    @cost.setter
    def cost(self, cost: Any) -> None:
        self._set_cost(cost)
        self._warn_of_logits()

    def _warn_of_logits(self) -> None:
        """Warn of a cost that applies the function of the last layer once more."""
        for cost, layer in ((costs.SoftmaxCrossEntropy, Softmax), (costs.BinaryCrossEntropy, Sigmoid)):
            if isinstance(self._cost, cost) and isinstance(self.layers[-1], layer):
                warnings.warn(
                    f"Network: {self._cost!r} takes logits, and applies the last layer, {self.layers[-1]!r}, once more: "
                    "leave that out",
                    UserWarning,
                    stacklevel=3,
                )

    def _set_cost(self, cost: Any) -> None:
        if isinstance(cost, type) or not callable(cost) or not callable(getattr(cost, "gradient", None)):
            raise TypeError(
                f"Network: cost is {cost!r}, "
                "wanted an object to call with (prediction, target) that has gradient(prediction, target), as pynn.MSE()"
            )
        self._cost = cost
        built_in = isinstance(cost, Cost) and type(cost).__module__ == Cost.__module__
        self._objective = engine.objective(cost.name, cost.parameter) if built_in else None
        labels = built_in and getattr(cost, "takes_labels", False)
        self._objective_of_labels = engine.objective(cost.name, cost.parameter, labels=True) if labels else None

    @property
    def optimizer(self) -> Any:
        """The optimizer; another one may be assigned between steps, which is a ``TypeError`` if it is none.

        >>> import pynn
        >>> pynn.Network([pynn.Dense(2, 1)]).optimizer
        SGD(learning_rate=0.01)
        """
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Any) -> None:
        self._check_optimizer(optimizer)
        self._set_optimizer(optimizer)

    def _check_optimizer(self, optimizer: Any) -> None:
        if isinstance(optimizer, type) or not callable(getattr(optimizer, "step", None)):
            raise TypeError(
                f"Network: optimizer is {optimizer!r}, wanted an object with step(parameters, gradients), as pynn.Adam()"
            )
        if isinstance(optimizer, Optimizer):
            if optimizer.follows_others(getattr(self, "_parameters", None)):
                raise ValueError(
                    f"Network: optimizer, {optimizer!r}, belongs to another network; copy.deepcopy makes another one of it"
                )
            shapes = [shape for layer in self.layers if isinstance(layer, Layer) for shape in layer.shapes().values()]
            if problem := optimizer.does_not_fit(sum(map(math.prod, shapes)), self._dtype):
                raise ValueError(f"Network: optimizer, {optimizer!r}: {problem}")
            return
        for layer in self.layers:
            if isinstance(layer, Dense) and layer.has_penalties:
                raise ValueError(f"Network: {layer!r} has penalties, which want an optimizer of pynn's, not {optimizer!r}")

    def _set_optimizer(self, optimizer: Any) -> None:
        if isinstance(optimizer, Optimizer):
            optimizer.follow(self._parameters, self._runs)
        self._optimizer = optimizer
        built_in = isinstance(optimizer, Optimizer) and type(optimizer).__module__ == Optimizer.__module__
        self._updater = optimizer._updater.handle if built_in else None

    def _bind(self) -> None:
        """Lay out the arenas, and make the plan that C runs if all layers are pynn's own."""
        own = [layer for layer in self.layers if isinstance(layer, Layer)]
        self._parameters, self._gradients, offsets = bind_layers(own, self._dtype, self._random)
        self._runs = [
            (layer, name, offsets[i, name], offsets[i, name] + math.prod(shape))
            for i, layer in enumerate(own)
            for name, shape in layer.shapes().items()
        ]
        self._offsets = offsets
        self._in: int | None = None
        for layer in self.layers:
            self._in = getattr(layer, "in_features", None)
            if self._in is not None or not isinstance(layer, Layer):
                break  # behind a stranger, who may make of its input what it likes, a width says nothing of the network's
        for layer in own:
            layer._network = weakref.ref(self)
        self._make_plan()

    def _make_plan(self) -> None:
        """Make the plan that C runs, if all layers are such as it knows, and the first width is said."""
        self._plan: engine.Plan | None = None
        width = self._in
        rows: list[dict[str, Any]] = []
        for i, layer in enumerate(self.layers):
            row = layer.planned(self._dtype) if isinstance(layer, Layer) and width is not None else None
            if row is None:
                return
            gives = width if layer.out_features is None else layer.out_features
            weight = self._offsets.get((i, "weight"), self._offsets.get((i, "scale")))
            rows.append({**row, "in": width, "out": gives, "weight": weight, "bias": self._offsets.get((i, "bias"))})
            width = gives
        self._plan = engine.Plan(rows, self._parameters)
        self._out: int = width  # type: ignore[assignment]  # as the first layer has said
        self._handle = self._plan.handle

    # ---- what it is ----------------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> tuple[Any, ...]:
        """The layers; assigning others is an ``AttributeError``.

        >>> import pynn
        >>> pynn.Network([pynn.Dense(2, 8), pynn.Tanh()]).layers
        (Dense(2, 8), Tanh())
        """
        return self._layers

    @layers.setter
    def layers(self, layers: Sequence[Any]) -> None:
        raise AttributeError(
            f"Network: layers is {layers!r}, but a network keeps its own; pynn.Network(layers) makes another one"
        )

    @property
    def seed(self) -> int | None:
        """What the first weights and the shuffling were drawn from; assigning another one is an ``AttributeError``.

        >>> import pynn
        >>> pynn.Network([pynn.Dense(2, 1)], seed=3).seed
        3
        """
        return self._seed

    @seed.setter
    def seed(self, seed: int | None) -> None:
        raise AttributeError(
            f"Network: seed is {seed!r}, but a network's is fixed; pynn.Network(layers, seed=...) makes another one"
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of all arrays.

        >>> import pynn
        >>> pynn.Network([pynn.Dense(2, 1)]).dtype
        dtype('float32')
        """
        return self._dtype

    @property
    def parameters(self) -> Array:
        """All parameters, 1-D, layer by layer: the layers' arrays are views into it, and it may be written to.

        >>> import pynn
        >>> pynn.Network([pynn.Dense(2, 8), pynn.Sigmoid(), pynn.Dense(8, 1)]).parameters.shape
        (33,)
        """
        return self._parameters[:]

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        given = checks.as_floats(values, "Network", "parameters", self._dtype)
        if given.shape != self._parameters.shape:
            raise ValueError(f"Network: parameters have shape {self._parameters.shape}, got {given.shape}")
        self._parameters[...] = given

    @property
    def gradients(self) -> Array:
        """All gradients, as ``parameters`` are laid out. ``backward`` fills them; ``train_step`` and ``fit`` update without them.

        >>> import pynn
        >>> pynn.Network([pynn.Dense(2, 1)]).gradients.shape
        (3,)
        """
        return self._gradients[:]

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        seed = "" if self.seed is None else f", seed={self.seed!r}"
        return f"Network([{layers}], cost={self.cost!r}, optimizer={self.optimizer!r}, dtype={self._dtype.name!r}{seed})"

    def __getstate__(self) -> dict[str, Any]:
        state = {
            key: value
            for key, value in self.__dict__.items()
            if key
            not in (
                "_plan",
                "_handle",
                "_parameters",
                "_gradients",
                "_runs",
                "_offsets",
                "_objective",
                "_objective_of_labels",
                "_updater",
            )
        }
        state["gradients"] = self._gradients.copy()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        gradients = state.pop("gradients")
        self.__dict__.update(state)
        random, self._random = self._random, random_generator(0)  # all values are there; binding draws nothing
        self._bind()
        self._random = random
        self._gradients[:] = gradients
        self._set_cost(self._cost)
        self._set_optimizer(self._optimizer)

    def __copy__(self) -> Network:
        """A network with arrays of its own, and copies of each layer and of the optimizer; the cost is shared."""
        state = self.__getstate__()
        state["_optimizer"] = copy.copy(self._optimizer)
        state["_layers"] = tuple(copy.copy(layer) for layer in self.layers)
        state["_random"] = copy.deepcopy(self._random)
        other = type(self).__new__(type(self))
        other.__setstate__(state)
        return other

    # ---- using it ------------------------------------------------------------------------------------------------------------

    def predict(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Y for ``x`` (in_features,) or (samples, in_features); keeps nothing.

        ``out``, an array of the result's shape and the network's dtype, takes the result instead of a new array. Row i of a
        batch has the bits that it has alone. Raises ``ValueError`` for a shape that does not fit, ``TypeError`` for what is not
        real numbers.

        >>> import numpy as np, pynn
        >>> net = pynn.Network([pynn.Dense(2, 8), pynn.Sigmoid(), pynn.Dense(8, 1)], seed=0)
        >>> net.predict(np.zeros((5, 2))).shape
        (5, 1)
        """
        if self._plan is not None and type(x) is _ndarray and x.ndim:
            y = out
            if y is None:
                y = _empty(self._out if x.ndim == 1 else (x.shape[0], self._out), self._dtype)
            if not _plan_predict(self._handle, id(x), id(y)):
                return y
        x = self._converted(x, "x")
        if self._plan is None:
            for layer in self.layers:
                x = _apply(layer, x)
            return checks.deliver(checks.as_floats(x, "predict", "the last layer's output", self._dtype), out, "predict")
        x = np.require(x, requirements=["C", "A"])
        y = _empty((*x.shape[:-1], self._out), self._dtype)
        if status := _plan_predict(self._handle, id(x), id(y)):
            engine.fail(status, "predict")
        return checks.deliver(y, out, "predict")

    @overload
    def evaluate(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float: ...
    @overload
    def evaluate(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, metrics: Metrics
    ) -> dict[str, float]: ...
    def evaluate(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, metrics: Metrics | None = None
    ) -> float | dict[str, float]:
        """The cost of the predictions for ``x`` against ``y`` (out_features,) or (samples, out_features).

        ``sample_weight`` (samples,) weighs the samples' costs, not the metrics. With ``metrics``, as ``fit`` takes them, the
        result is a dict of ``"cost"`` and a number for each metric.

        >>> import numpy as np, pynn
        >>> net = pynn.Network([pynn.Dense(2, 1, initializer="zeros")])
        >>> net.evaluate(np.ones((4, 2)), np.ones((4, 1)))
        1.0
        >>> net.evaluate(np.ones((4, 2)), np.ones((4, 1)), metrics=["mean_absolute_error"])
        {'cost': 1.0, 'mean_absolute_error': 1.0}
        """
        weights = None if sample_weight is None else self._weights(sample_weight, x, "evaluate")
        if metrics is None:
            prediction, target = self._judged(x, y)
            return self._cost_of(prediction, target, weights)
        return self._measures(x, y, weights, self._named(metrics, "evaluate"), "")

    def forward(self, x: ArrayLike) -> Array:
        """Y for ``x`` as in ``predict``, layer by layer, each keeping what its ``backward`` needs.

        >>> import numpy as np, pynn
        >>> net = pynn.Network([pynn.Dense(2, 1)])
        >>> net.forward(np.zeros((5, 2))).shape
        (5, 1)
        """
        y = self._converted(x, "x")
        for layer in self.layers:
            y = layer.forward(y)
        return y

    def backward(self, y_gradient: ArrayLike) -> Array:
        """∂C/∂X from ∂C/∂Y for the last ``forward``; fills ``gradients``.

        Raises ``RuntimeError`` before any ``forward``, ``ValueError`` for a shape that is not its result's.

        >>> import numpy as np, pynn
        >>> net = pynn.Network([pynn.Dense(2, 1)])
        >>> y = net.forward(np.ones((5, 2)))
        >>> net.backward(np.ones((5, 1))).shape
        (5, 2)
        >>> net.gradients
        array([5., 5., 5.], dtype=float32)
        """
        gradient = checks.as_floats(y_gradient, "Network", "y_gradient", self._dtype)
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        return gradient

    def train_step(self, x: ArrayLike, y: ArrayLike) -> float:
        """One step of the optimizer on a batch ``x`` (samples, in_features), ``y`` (samples, out_features), or on one sample;
        returns the cost before it.

        Raises ``ValueError`` for shapes that do not fit, ``TypeError`` for what is not real numbers, before anything has changed.

        >>> import numpy as np, pynn
        >>> net = pynn.Network([pynn.Dense(2, 1, initializer="zeros")], optimizer=pynn.SGD(0.1))
        >>> net.train_step(np.ones((4, 2)), np.ones((4, 1)))
        1.0
        """
        if type(x) is _ndarray and self._plan is not None and self._objective is not None and self._updater is not None:
            rate = self._optimizer._learning_rate
            if type(rate) is float and self._optimizer._followed is self._parameters:
                cost: float = _plan_step(self._handle, self._objective, self._updater, id(x), id(y), rate, id(self._gradients))
                if cost == cost or not _plan_declined(cost):
                    return cost
        x, y = self._pair(x, y)
        rows = 1 if x.ndim == 1 else len(x)
        if not rows:
            return 0.0
        costs = _empty(1)
        self._train(x, y, None, 0, rows, rows, costs)
        return costs.item()

    def fit(
        self,
        x: Any,
        y: ArrayLike | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        tol: float | None = None,
        patience: int = 10,
        progress: Callable[[Progress], object] | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        validation_data: Sequence[Any] | None = None,
        validation_split: float = 0.0,
        metrics: Metrics | None = None,
        callbacks: Sequence[Any] | None = None,
        verbose: int | str = 0,
        steps_per_epoch: int | None = None,
        on_divergence: str = "raise",
    ) -> History:
        """Train on ``x`` (samples, in_features), ``y`` (samples, out_features), or (samples,) if there is one output or if the
        cost takes classes as whole numbers (its attribute ``takes_labels``), in mini-batches.

        Each of ``epochs`` passes takes the rows in a new order (or as they are, if not ``shuffle``), ``batch_size`` at a time;
        the last batch may be smaller. With ``tol``, training ends once the cost has not fallen by more than ``tol`` below its
        best for ``patience`` epochs in a row. ``epochs`` defaults to 1, or, with ``tol``, to as many as that takes.
        ``progress`` is called with a ``Progress`` after each epoch, and within long ones some twenty times a second. Ctrl-C
        leaves the parameters at a completed step. Another ``fit`` goes on where the last one ended. Returns a ``History``.

        ``sample_weight`` (samples,), from 0 up, makes the cost of a batch Σ wᵢ cᵢ / Σ wᵢ over its rows' costs cᵢ, so that a
        weight of 2 is worth the row twice. ``class_weight``, a dict from class to weight or ``"balanced"``
        (:func:`pynn.training.class_weights`), multiplies these weights by that of each sample's class; validation knows it not.

        ``validation_data`` is (x, y) or (x, y, sample_weight); ``validation_split`` between 0 and 1 takes it off the end of x
        and y, before any shuffling. After each epoch its cost goes into ``history.validation_cost``.

        ``metrics`` are functions of (prediction, target) that give a number, names of those in :mod:`pynn.metrics`, or a dict
        from name to function. They are evaluated after each epoch on the validation data, as ``history["validation_<name>"]``,
        or, only where there are none, on the training data, as ``history["<name>"]``. By name, those that have a ``threshold``
        take 0 with ``BinaryCrossEntropy``, whose predictions are logits, else 0.5.

        ``callbacks`` are told what happens and may stop the training (:mod:`pynn.callbacks`). ``verbose`` 0 prints nothing, 1 a
        moving bar on a terminal (with tqdm) or else some ten lines, 2 a line for each epoch, ``"auto"`` the bar or nothing.

        Without ``y``, ``x`` is an iterable of batches, (x, y) or (x, y, sample_weight) each, with at least one sample in each; an
        epoch is a pass over it, or ``steps_per_epoch`` batches of it; they come in their own order.

        A ``numpy.memmap`` is never converted or copied as a whole.

        Raises ``DivergenceError`` once a batch's cost is NaN or infinite, unless ``on_divergence`` is ``"ignore"``;
        ``ValueError`` or ``TypeError`` for arguments that make no sense, before anything has changed (batches of an iterable
        are looked at one by one).

        >>> import numpy as np, pynn
        >>> net = pynn.Network([pynn.Dense(1, 1)], optimizer=pynn.SGD(0.1), dtype="float64", seed=0)
        >>> x = np.linspace(-1, 1, 32)[:, None]
        >>> history = net.fit(x, 3 * x + 1, tol=1e-12)
        >>> history.converged, net.layers[0].weight.round(3), net.layers[0].bias.round(3)
        (True, array([[3.]]), array([1.]))
        >>> history = net.fit(x, 3 * x + 1, epochs=2, validation_split=0.25, metrics=["r2"])
        >>> list(history)
        ['cost', 'validation_cost', 'validation_r2']
        """
        batch_size = checks.as_integer(batch_size, "fit", "batch_size", 1)
        if epochs is not None:
            epochs = checks.as_integer(epochs, "fit", "epochs", 0)
        elif tol is None:
            epochs = 1
        if tol is not None:
            if isinstance(tol, bool) or not isinstance(tol, (int, float, np.integer, np.floating)):
                raise TypeError(f"fit: tol is {tol!r}, wanted a number or None")
            if not 0 <= tol < float("inf"):
                raise ValueError(f"fit: tol is {tol!r}, wanted a finite number from 0 up, or None")
        patience = checks.as_integer(patience, "fit", "patience", 1)
        if progress is not None and not callable(progress):
            raise TypeError(f"fit: progress is {progress!r}, wanted a function or None")
        if on_divergence not in ("raise", "ignore"):
            raise ValueError(f'fit: on_divergence is {on_divergence!r}, wanted "raise" or "ignore"')
        named = self._named(metrics, "fit") if metrics is not None else {}
        if steps_per_epoch is not None:
            steps_per_epoch = checks.as_integer(steps_per_epoch, "fit", "steps_per_epoch", 1)
        callbacks = [] if callbacks is None else training.checked_callbacks(callbacks, "fit")
        singly = bool(callbacks) and any(callable(getattr(each, "on_batch_end", None)) for each in callbacks)

        if validation_data is not None and validation_split:
            raise ValueError("fit: validation_data and validation_split, wanted one of them at most")
        if validation_split:
            if y is None:
                raise ValueError("fit: validation_split wants x and y as arrays, not batches")
            (x, y, sample_weight), validation_data = _split(x, y, sample_weight, validation_split)
        weights: Array | None = None
        source: training.Rows | training.Batches
        if y is None:
            source = self._batches(x, sample_weight, class_weight, steps_per_epoch, singly)
        else:
            if steps_per_epoch is not None:
                raise ValueError("fit: steps_per_epoch is for an iterable of batches, without y")
            if sample_weight is not None or class_weight is not None:
                weights = self._weights(sample_weight, x, "fit", y, class_weight)
            source = training.Rows(*self._rows(x, y, weights), batch_size, bool(shuffle), weights, singly)

        judge: Callable[[], Mapping[str, float]] | None = None
        names: list[str] = []
        if validation_data is not None:
            judge, names = self._judge(validation_data, named)
        elif named:
            if y is None:
                raise ValueError("fit: metrics of batches want validation_data")
            own_x, own_y = self._pair(x, y) if not _in_file(x, self._dtype) else (x, y)
            names = list(named)

            def judge() -> Mapping[str, float]:
                measures = self._measures(own_x, own_y, None, named, "")
                return {name: measures[name] for name in names}

        bar: Any = None
        if verbose:
            from pynn import display

            bar = display.for_verbose(verbose)
            callbacks = [*callbacks, bar]
        try:
            return training.fit(source, self, epochs, tol, patience, progress, callbacks, names, judge, on_divergence == "raise")
        finally:
            if bar is not None:
                bar.close()

    def partial_fit(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, batch_size: int = 32) -> Network:
        """One pass over ``x`` and ``y``, as ``fit`` takes them, in their order, ``batch_size`` rows at a time; gives the network.

        >>> import numpy as np, pynn
        >>> net = pynn.Network([pynn.Dense(1, 1)], seed=0)
        >>> x = np.ones((8, 1))
        >>> before = net.evaluate(x, x)
        >>> net.partial_fit(x, x).evaluate(x, x) < before
        True
        """
        self.fit(x, y, 1, batch_size, shuffle=False, sample_weight=sample_weight)
        return self

    # ---- looking at it -------------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """A table as text: each layer's output features, the shapes of its parameters, their number and bytes, and the sums.

        >>> import pynn
        >>> print(pynn.Network([pynn.Dense(2, 8), pynn.Tanh(), pynn.Dense(8, 1)]).summary())
        layer        output  parameters               number  bytes
        Dense(2, 8)       8  weight (8, 2), bias (8)      24     96
        Tanh()            8                                0      0
        Dense(8, 1)       1  weight (1, 8), bias (1)       9     36
        total                                             33    132
        """
        from pynn import display

        return display.summary(self)

    def _repr_html_(self) -> str:
        """The summary as a table, for notebooks."""
        from pynn import display

        return display.html(self)

    def plot(self, file: Any = None) -> Any:
        """A ``matplotlib.figure.Figure`` of layers and their sizes; ``file``, a path, takes it as a picture. Needs matplotlib.

        >>> import pynn
        >>> figure = pynn.Network([pynn.Dense(2, 8), pynn.Tanh(), pynn.Dense(8, 1)]).plot()
        >>> [text.get_text() for text in figure.axes[0].texts][:2]
        ['2', '8']
        """
        from pynn import display

        return display.network_figure(self, file)

    # ---- within ----------------------------------------------------------------------------------------------------------------

    def _converted(self, x: ArrayLike, name: str) -> Array:
        first = f"Network, {self.layers[0]!r}"
        array = checks.as_floats(x, first, name, self._dtype)
        if self._in is None:
            if array.ndim not in (1, 2):
                raise ValueError(f"{first}: {name} has shape {array.shape}, wanted (features,) or (samples, features)")
        else:
            check_features(array, first, name, self._in)
        return array

    def _pair(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """x and its target in the network's dtype, with rows side by side in memory, and as many of one as of the other."""
        x = self._converted(x, "x")
        y = self._target(y, x.shape)
        x, y = _plain(x), _plain(y)
        if np.may_share_memory(x, self._parameters) or np.may_share_memory(y, self._parameters):
            return x.copy(), y.copy()  # training would change them
        return x, y

    def _target(self, y: ArrayLike, x_shape: tuple[int, ...]) -> Array:
        """The target of an x of this shape: numbers in the network's dtype, or classes if the cost takes those."""
        out = self._out if self._plan is not None else None
        if getattr(self.cost, "takes_labels", False):
            labels = np.asarray(y)
            if labels.dtype.kind in "iub" and labels.shape == x_shape[:-1]:
                labels = labels.astype(np.int64, copy=False)
                if labels.size and (labels.min() < 0 or (out is not None and labels.max() >= out)):
                    there = "0 up" if out is None else f"0 to {out - 1}, for the last layer gives {out}"
                    there += "; pynn.BinaryCrossEntropy() is for one number that tells two classes apart" if out == 1 else ""
                    raise ValueError(f"Network: y has classes from {labels.min()} to {labels.max()}, wanted {there}")
                return labels
        y = checks.as_floats(y, "Network", "y", self._dtype)
        if y.ndim == len(x_shape) - 1 and out in (1, None):
            y = y[..., None]  # one number for each sample
        wanted = (*x_shape[:-1], y.shape[-1] if out is None and y.ndim else out)
        if y.shape != wanted:
            if y.ndim == len(x_shape) == 2 and len(y) != x_shape[0]:
                raise ValueError(f"Network: x has {x_shape[0]} rows and y {len(y)} (shapes {x_shape} and {y.shape})")
            raise ValueError(
                f"Network, {self.layers[-1]!r}: y has shape {y.shape}, wanted {wanted} for x of shape {x_shape}"
                + self._advice_on_classes(y, x_shape)
            )
        return y

    def _advice_on_classes(self, y: Array, x_shape: tuple[int, ...]) -> str:
        """What to do about a y that does not fit but may be classes, one for each sample."""
        if y.size != math.prod(x_shape[:-1]) or not (y == np.floor(y)).all():
            return ""
        if getattr(self.cost, "takes_labels", False):
            return f"; if it is classes, {x_shape[:-1]} of integers"
        return "; if it is classes, pynn.SoftmaxCrossEntropy() takes them as they are, other costs want pynn.datasets.one_hot(y)"

    def _weights(
        self,
        sample_weight: ArrayLike | None,
        x: ArrayLike,
        where: str,
        y: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
    ) -> Array:
        """The weights (samples,) of the rows of x, times those of their classes, in the network's dtype, checked."""
        import inspect

        shape = np.shape(x)
        if len(shape) != 2:
            raise ValueError(f"{where}: x has shape {shape}, wanted (samples, features) where samples have weights")
        rows = shape[0]
        try:
            inspect.signature(self.cost).bind(None, None, None)
        except TypeError:
            raise TypeError(f"{where}: sample_weight or class_weight with a cost that takes none, {self.cost!r}") from None
        weights = np.ones(rows) if sample_weight is None else training.checked_weights(sample_weight, rows, where)
        given = ["sample_weight"] if sample_weight is not None else []
        with np.errstate(over="ignore"):
            if class_weight is not None and y is not None:
                weights = weights * training.class_weights(y, class_weight, where)
                given.append("class_weight")
            rounded = weights.astype(self._dtype)
        training.checked_weights(rounded, rows, where, f"{' times '.join(given)}, in {self._dtype},")
        return rounded

    def _cost_of(self, prediction: Array, target: Array, weights: Array | None) -> float:
        cost: Any = self.cost
        return float(cost(prediction, target) if weights is None else cost(prediction, target, weights))

    def _rows(self, x: Any, y: Any, weights: Array | None) -> tuple[training.Step, np.random.Generator, int]:
        """How to train on rows of x and y, with what random numbers, and how many rows there are."""
        if self._process != os.getpid():  # a thread of the parent may have held the generator's lock at the fork, for ever
            self._random, self._process = copy.deepcopy(self._random), os.getpid()
        if _in_file(x, self._dtype) or _in_file(y, self._dtype):
            return self._rows_in_file(x, y, weights)
        x, y = self._pair(x, y)
        if x.ndim != 2:
            raise ValueError(f"fit: x has shape {x.shape}, wanted (samples, features)")
        if self._trains_in_c():
            y = y.astype(self._dtype, copy=False)  # classes, once for all epochs

        def step(order: NDArray[np.int64] | None, first: int, rows: int, batch: int, costs: NDArray[np.float64]) -> None:
            self._train(x, y, order, first, rows, batch, costs, weights)

        return step, self._random, len(x)

    def _rows_in_file(self, x: Any, y: Any, weights: Array | None) -> tuple[training.Step, np.random.Generator, int]:
        """The same where x or y is a file whose numbers C does not take as they lie: a part of it is converted at a time."""
        x, y = np.asarray(x), np.asarray(y)
        if x.ndim != 2 or not y.ndim:
            raise ValueError(f"fit: x has shape {x.shape}, wanted (samples, features); y has shape {y.shape}")
        if len(x) != len(y):
            raise ValueError(f"Network: x has {len(x)} rows and y {len(y)} (shapes {x.shape} and {y.shape})")
        self._pair(x[:1], y[:1])
        of_a_row = self._dtype.itemsize * (x.shape[1] + y[:1].size)

        def step(order: NDArray[np.int64] | None, first: int, rows: int, batch: int, costs: NDArray[np.float64]) -> None:
            at_once = batch * max(1, CHUNK // (batch * of_a_row))
            for begin in range(first, first + rows, at_once):
                end = min(begin + at_once, first + rows)
                chosen: Any = slice(begin, end) if order is None else order[begin:end]
                some_x, some_y = self._pair(x[chosen], y[chosen])
                some = costs[begin // batch : -(-end // batch)]
                self._train(some_x, some_y, None, 0, end - begin, batch, some, None if weights is None else weights[chosen])

        return step, self._random, len(x)

    def _batches(
        self,
        batches: Any,
        sample_weight: ArrayLike | None,
        class_weight: Mapping[int, float] | str | None,
        steps: int | None,
        singly: bool,
    ) -> training.Batches:
        """How to train on an iterable of batches."""
        if isinstance(batches, np.ndarray) or not isinstance(batches, Iterable):
            advice = f"; a {type(batches).__name__} is to be called for them" if callable(batches) else ""
            raise TypeError(
                f"fit: y has dtype object (None), wanted numbers; without y, x is an iterable of batches (x, y){advice}"
            )
        if sample_weight is not None or isinstance(class_weight, str):
            raise ValueError("fit: weights of batches come with them, as (x, y, sample_weight); class_weight may be a dict")

        def step(batch: Any) -> tuple[float, int, float]:
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise TypeError(f"fit: a batch is a {type(batch).__name__}, wanted (x, y) or (x, y, sample_weight)")
            given, weights = batch[2] if len(batch) == 3 else None, None
            x, y = self._pair(batch[0], batch[1])
            rows = len(x)
            if x.ndim != 2 or not rows:
                raise ValueError(f"fit: a batch's x has shape {x.shape}, wanted (samples, features) with at least one sample")
            if given is not None or class_weight is not None:
                weights = self._weights(given, x, "fit", batch[1], class_weight)
            costs = _empty(1)
            self._train(x, y, None, 0, rows, rows, costs, weights)
            return costs.item(), rows, float(rows) if weights is None else training.batch_weights(weights, rows)[0]

        return training.Batches(step, batches, steps, singly)

    def _named(self, metrics: Metrics, where: str) -> dict[str, Metric]:
        from pynn.metrics import named

        return named(metrics, where, 0.0 if isinstance(self.cost, costs.BinaryCrossEntropy) else 0.5)

    def _judged(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """The predictions for x, and the target they are compared with."""
        if not _in_file(x, self._dtype):
            x, target = self._pair(x, y)
            return self.predict(x), target
        rows = np.asarray(x)
        target = self._target(y, rows.shape)
        prediction = self.predict(self._converted(rows[:0], "x"))
        prediction = np.empty((len(rows), *prediction.shape[1:]), self._dtype)
        at_once = max(1, CHUNK // (self._dtype.itemsize * max(1, rows.shape[-1])))
        for begin in range(0, len(rows), at_once):  # a row has the same bits in any batch
            prediction[begin : begin + at_once] = self.predict(rows[begin : begin + at_once])
        return prediction, target

    def _measures(
        self, x: ArrayLike, y: ArrayLike, weights: Array | None, metrics: Mapping[str, Metric], prefix: str
    ) -> dict[str, float]:
        prediction, target = self._judged(x, y)
        measures = {prefix + "cost": self._cost_of(prediction, target, weights)}
        for name, metric in metrics.items():
            number = metric(prediction, target)
            if np.ndim(number):
                raise TypeError(f"the metric {name!r} gave an array of shape {np.shape(number)}, wanted a number")
            measures[prefix + name] = float(number)
        return measures

    def _judge(self, data: Sequence[Any], metrics: Mapping[str, Metric]) -> tuple[Callable[[], Mapping[str, float]], list[str]]:
        """What measures the validation data after an epoch, and the names of its numbers."""
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise TypeError(f"fit: validation_data is a {type(data).__name__}, wanted (x, y) or (x, y, sample_weight)")
        x, y = data[:2]
        if not _in_file(x, self._dtype):
            x, y = self._pair(x, y)
        if np.ndim(x) != 2 or not len(x):
            raise ValueError(
                f"fit: validation_data has x of shape {np.shape(x)}, wanted (samples, features), at least one sample"
            )
        weights = None if len(data) == 2 or data[2] is None else self._weights(data[2], x, "fit")
        return (
            lambda: self._measures(x, y, weights, metrics, "validation_"),
            ["validation_cost", *("validation_" + name for name in metrics)],
        )

    def _trains_in_c(self) -> bool:
        return self._plan is not None and self._objective is not None and self._updater is not None

    def _train(
        self,
        x: Array,
        y: Array,
        order: NDArray[np.int64] | None,
        first: int,
        rows: int,
        batch_size: int,
        costs: NDArray[np.float64],
        sample_weight: Array | None = None,
    ) -> None:
        """Steps on the batches of rows first .. first + rows - 1 of an epoch, in C if all of the network is pynn's own."""
        optimizer = self._optimizer
        if isinstance(optimizer, Optimizer) and optimizer._followed is not self._parameters:  # it has served another network
            self._check_optimizer(optimizer)
            optimizer.follow(self._parameters, self._runs)
        if self._trains_in_c():
            rates = self._optimizer.rates(-(-rows // batch_size))
            rate = self._optimizer.learning_rate if rates is None else 0.0
            objective = self._objective if y.ndim == x.ndim else self._objective_of_labels
            if objective is None:  # a callback has changed it
                raise ValueError(f"Network: y is classes, which {self._cost!r} does not take; the cost before it did")
            y = y.reshape(-1) if objective is not self._objective and y.ndim == 0 else y
            y = y.astype(self._dtype, copy=False)
            # fmt: off
            if status := _plan_train(
                self._handle, objective, self._updater, id(x), id(y), id(sample_weight), id(order), first, rows, batch_size,
                rate, id(rates), id(self._gradients), id(costs),
            ):
                engine.fail(status, "Network")
            # fmt: on
            return
        for begin in range(first, first + rows, batch_size):
            end = min(begin + batch_size, first + rows)
            if x.ndim == 1:
                some_x, some_y, weights = x, y, sample_weight
            else:
                chosen: Any = slice(begin, end) if order is None else order[begin:end]
                some_x, some_y, weights = x[chosen], y[chosen], None if sample_weight is None else sample_weight[chosen]
            optimizer = self._optimizer
            before = getattr(optimizer, "steps", None), [(each, each.step) for each in self.layers if isinstance(each, Dropout)]
            try:
                prediction = self.forward(some_x)
                given = (prediction, some_y) if weights is None else (prediction, some_y, weights)
                costs[begin // batch_size] = self._cost(*given)
                self.backward(self._cost.gradient(*given))
                optimizer.step(self._parameters, self._gradients)
            except BaseException:
                if getattr(optimizer, "steps", None) == before[0]:  # a step that did not come to its end is none
                    for dropout, step in before[1]:
                        dropout.step = step
                raise


def _plain(array: Array) -> Array:
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.require(array, requirements=["C", "A"])


def _in_file(array: Any, dtype: np.dtype[Any]) -> bool:
    """Whether it lies in a file, perhaps larger than memory, that C cannot read as it is."""
    if not isinstance(array, _ndarray) or (array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned):
        return False
    owner: Any = array
    while isinstance(owner, _ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    return owner is not None and isinstance(owner, np.memmap)


def _split(x: Any, y: Any, sample_weight: Any, part: float) -> tuple[Any, Any]:
    """(x, y, sample_weight) without the last ``part`` of their rows, and these."""
    if isinstance(part, bool) or not isinstance(part, (float, np.floating)) or not 0 < part < 1:
        raise ValueError(f"fit: validation_split is {part!r}, wanted a number between 0 and 1")
    arrays: list[Any] = [
        each if isinstance(each, np.ndarray) or each is None else np.asarray(each) for each in (x, y, sample_weight)
    ]
    sizes = {each.shape[:1] for each in arrays if each is not None}
    if len(sizes) > 1 or () in sizes:
        shapes = ", ".join(str(each.shape) for each in arrays if each is not None)
        raise ValueError(f"fit: validation_split wants as many rows of each, got shapes {shapes}")
    rows = len(arrays[0])
    kept = int(rows * (1.0 - part))
    if not 0 < kept < rows:
        raise ValueError(f"fit: validation_split is {part!r}, which leaves {kept} of {rows} rows to train on")
    return [None if each is None else each[:kept] for each in arrays], [None if each is None else each[kept:] for each in arrays]


def _apply(layer: Any, x: Array) -> Array:
    """``layer.infer(x)``, or ``layer.forward(x)`` where no ``infer`` belongs to it; what its last ``forward`` kept stays."""
    for each in type(layer).__mro__:
        if "infer" in each.__dict__:
            y: Array = layer.infer(x)
            return y
        if "forward" in each.__dict__:
            break  # a class with a forward of its own, whose base's infer would be another function
    result: Array = copy.copy(layer).forward(x)
    return result
