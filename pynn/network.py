"""A network: layers in a row, a cost and an optimizer; its arenas, its plan, its steps.

Data go through :mod:`pynn.samples`, epochs through :mod:`pynn.training`.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from pynn import checks, costs, engine, samples, training
from pynn.costs import Cost
from pynn.layers import Dense, Layer, Sigmoid, bind_layers, network_dtype, random_generator
from pynn.optimizers import SGD, Optimizer
from pynn.rows import Dropout, Softmax
from pynn.training import History, Progress

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from pynn.checks import Array

    Metric = Callable[[Array, Array], float]
    Metrics = Sequence[Metric | str] | Mapping[str, Metric]

_empty = np.empty


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

    # What C runs, None where it cannot: the plan, and from it, the cost and the optimizer, what trains on targets and on classes
    _plan: Any = None
    _objective: Any = None
    _objective_of_labels: Any = None
    _updater: Any = None
    _trainer: Any = None
    _trainer_of_labels: Any = None

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
        self._make_trainers()

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
        self._updater = optimizer._updater.pointer if built_in else None
        self._make_trainers()

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
        self._plan = self._planned()
        self._make_trainers()

    def _planned(self) -> Any:
        width = self._in
        rows: list[dict[str, Any]] = []
        for i, layer in enumerate(self.layers):
            row = layer.planned(self._dtype) if isinstance(layer, Layer) and width is not None else None
            if row is None:
                return None
            gives = width if layer.out_features is None else layer.out_features
            weight = self._offsets.get((i, "weight"), self._offsets.get((i, "scale")))
            rows.append({**row, "in": width, "out": gives, "weight": weight, "bias": self._offsets.get((i, "bias"))})
            width = gives
        self._out: int = width  # type: ignore[assignment]  # as the first layer has said
        return engine.new_plan(rows, self._parameters)

    def _make_trainers(self) -> None:
        def made(objective: Any) -> Any:
            if self._plan is None or objective is None or self._updater is None:
                return None
            return engine.new_trainer(self._plan, objective, self._updater, self._gradients)

        self._trainer, self._trainer_of_labels = made(self._objective), made(self._objective_of_labels)

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
                "_parameters",
                "_gradients",
                "_runs",
                "_offsets",
                "_objective",
                "_objective_of_labels",
                "_updater",
                "_trainer",
                "_trainer_of_labels",
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
        plan = self._plan
        if plan is not None:
            y: Array | None = plan.predict(x, out)
            if y is not None:
                return y
        x = samples.features(self, x)
        if plan is None:
            for layer in self.layers:
                x = _apply(layer, x)
            return checks.deliver(checks.as_floats(x, "predict", "the last layer's output", self._dtype), out, "predict")
        y = plan.predict(np.require(x, requirements=["C", "A"]), None)
        if y is None:
            engine.fail(engine.NOT_PLAIN, "predict")
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
        weights = None if sample_weight is None else samples.weights(self, sample_weight, x, "evaluate")
        measures = self._measures(x, y, weights, {} if metrics is None else self._named(metrics, "evaluate"))
        return measures["cost"] if metrics is None else measures

    def forward(self, x: ArrayLike) -> Array:
        """Y for ``x`` as in ``predict``, layer by layer, each keeping what its ``backward`` needs.

        >>> import numpy as np, pynn
        >>> net = pynn.Network([pynn.Dense(2, 1)])
        >>> net.forward(np.zeros((5, 2))).shape
        (5, 1)
        """
        y = samples.features(self, x)
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
        trainer = self._trainer
        if trainer is not None:
            optimizer = self._optimizer
            if optimizer._followed is self._parameters:
                cost: float | None = trainer.step(x, y, optimizer._learning_rate)
                if cost is not None:
                    return cost
        x, y = samples.pair(self, x, y)
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

        Each of ``epochs`` passes takes the rows in a new order (or as they are, if not ``shuffle`` or if one batch has them
        all), ``batch_size`` at a time; the last batch may be smaller. With ``tol``, training ends once the cost has not fallen
        by more than ``tol`` below its best for ``patience`` epochs in a row. ``epochs`` defaults to 1, or, with ``tol``, to as
        many as that takes.
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
            (x, y, sample_weight), validation_data = samples.split(x, y, sample_weight, validation_split)
        weights: Array | None = None
        source: training.Rows | training.Batches
        if y is None:
            step_on_batch = samples.step_on_batch(self, x, sample_weight, class_weight)
            source = training.Batches(step_on_batch, x, steps_per_epoch, singly)
        else:
            if steps_per_epoch is not None:
                raise ValueError("fit: steps_per_epoch is for an iterable of batches, without y")
            if sample_weight is not None or class_weight is not None:
                weights = samples.weights(self, sample_weight, x, "fit", y, class_weight)
            step, rows = samples.step_on_rows(self, x, y, weights)
            source = training.Rows(step, self._generator(), rows, batch_size, bool(shuffle), weights, singly)

        judged: tuple[Any, Any, Array | None]
        names: dict[str, str] = {}  # from those in the history to those of what is measured
        if validation_data is not None:
            judged = samples.validation(self, validation_data)
            names = {"validation_" + name: name for name in ("cost", *named)}
        elif named:
            if y is None:
                raise ValueError("fit: metrics of batches want validation_data")
            judged = (*samples.kept(self, x, y), None)
            names = {name: name for name in named}

        def measure() -> Mapping[str, float]:
            measures = self._measures(*judged, named)
            return {name: measures[measured] for name, measured in names.items()}

        bar: Any = None
        if verbose:
            from pynn import display

            bar = display.for_verbose(verbose)
            callbacks = [*callbacks, bar]
        try:
            judge, check = measure if names else None, on_divergence == "raise"
            return training.fit(source, self, epochs, tol, patience, progress, callbacks, list(names), judge, check)
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

    def _generator(self) -> np.random.Generator:
        """What shuffles, with a lock of this process's own."""
        if self._process != os.getpid():  # a thread of the parent may have held the generator's lock at the fork, for ever
            self._random, self._process = copy.deepcopy(self._random), os.getpid()
        return self._random

    def _named(self, metrics: Metrics, where: str) -> dict[str, Metric]:
        from pynn.metrics import named

        return named(metrics, where, 0.0 if isinstance(self.cost, costs.BinaryCrossEntropy) else 0.5)

    def _measures(self, x: ArrayLike, y: ArrayLike, weights: Array | None, metrics: Mapping[str, Metric]) -> dict[str, float]:
        prediction, target = samples.judged(self, x, y)
        given = (prediction, target) if weights is None else (prediction, target, weights)
        measures = {"cost": float(self._cost(*given))}
        for name, metric in metrics.items():
            number = metric(prediction, target)
            if np.ndim(number):
                raise TypeError(f"the metric {name!r} gave an array of shape {np.shape(number)}, wanted a number")
            measures[name] = float(number)
        return measures

    def _trains_in_c(self) -> bool:
        return self._trainer is not None

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
            trainer = self._trainer if y.ndim == x.ndim else self._trainer_of_labels
            if trainer is None:  # a callback has changed it
                raise ValueError(f"Network: y is classes, which {self._cost!r} does not take; the cost before it did")
            y = (y.reshape(-1) if y.ndim == 0 else y).astype(self._dtype, copy=False)
            if not trainer.train(x, y, sample_weight, order, rates, costs, first, rows, batch_size, rate):
                engine.fail(engine.NOT_PLAIN, "Network")
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
