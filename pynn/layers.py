"""Layers: each a name, its shapes and its mathematics.

A layer is any object with ``forward(x)`` and ``backward(y_gradient)``; a layer of one's own works in a network as it is, and
one that has parameters to learn derives from :class:`Layer`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn import checks, engine, kernels
from pynn.initializers import INITIALIZERS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from pynn.checks import Array
    from pynn.initializers import Initializer


def network_dtype(dtype: DTypeLike, where: str) -> np.dtype[Any]:
    """float32 or float64 as a dtype; ``ValueError`` for any other."""
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise ValueError(f"{where}: dtype is {dtype!r}, wanted 'float32' or 'float64'") from None
    if wanted == checks.F32:
        return checks.F32
    if wanted == checks.F64:
        return checks.F64
    raise ValueError(f"{where}: dtype is {dtype!r}, wanted 'float32' or 'float64'")


def random_generator(seed: int | None) -> np.random.Generator:
    """The source of all randomness: a stream of NumPy's PCG64, named because ``default_rng`` may become another one."""
    return np.random.Generator(np.random.PCG64(seed))


# ---- layers -----------------------------------------------------------------------------------------------------------------


class Layer:
    """What a layer of one's own derives from if it has parameters.

    Such a layer lists the shapes of its parameters in ``shapes`` and draws their first values in ``initial``; a network then
    keeps them with all others, in ``network.parameters``, as attributes of these names, and gradients as attributes
    ``<name>_gradient``, which ``backward`` fills. ``in_features`` and ``out_features`` are numbers, or None where any will do
    (then the layer gives as many features as it takes).

    A layer that does one thing in training and another in prediction has a method ``infer(x)`` besides, which gives Y for a
    prediction and keeps nothing; without it, prediction is ``forward(x)`` of a copy.

    >>> import numpy as np, pynn
    >>> class Scale(pynn.Layer):
    ...     def shapes(self):
    ...         return {"factor": (1,)}
    ...     def initial(self, name, random):
    ...         return np.ones(1)
    ...     def forward(self, x):
    ...         self.x = x
    ...         return self.factor * x
    ...     def backward(self, y_gradient):
    ...         self.factor_gradient[:] = (y_gradient * self.x).sum()
    ...         return self.factor * y_gradient
    >>> net = pynn.Network([pynn.Dense(3, 2), Scale()], dtype="float64", seed=0)
    >>> net.parameters.size
    9
    """

    in_features: int | None = None
    out_features: int | None = None
    _fixed: tuple[str, ...] = ()  # attributes that parameters and a network's plan go by: assigned once
    _bound = False  # to a network's arena
    _network: Any = None  # a weak reference to that network
    _x: Array | None = None  # of the last forward
    _kept: Any = None  # what else backward needs of it

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter by name, in the order in which they are kept; none here.

        >>> import pynn
        >>> pynn.Dense(3, 2).shapes()
        {'weight': (2, 3), 'bias': (2,)}
        """
        return {}

    def initial(self, name: str, random: np.random.Generator) -> ArrayLike:
        """First values of a parameter: zeros, unless a layer says otherwise.

        >>> import numpy as np, pynn
        >>> pynn.Dense(3, 2).initial("bias", np.random.default_rng(0))
        array([0., 0.])
        """
        return np.zeros(self.shapes()[name])

    def prepare(self, random: np.random.Generator) -> None:
        """Draw what is random in a layer and no parameter, such as a seed; a network calls it, layer by layer, when it takes the
        layers in and has drawn their parameters. Nothing, unless a layer says otherwise.

        >>> import numpy as np, pynn
        >>> layer = pynn.Dropout(0.5)
        >>> layer.prepare(np.random.default_rng(0))
        >>> layer.seed is None
        False
        """

    def take(self, values: dict[str, Array]) -> None:
        """Keep these arrays, one for each parameter and each ``<name>_gradient``; a network calls it with views into its arenas.

        >>> import numpy as np, pynn
        >>> layer = pynn.Dense(1, 1, bias=False)
        >>> layer.take({"weight": np.ones((1, 1)), "weight_gradient": np.zeros((1, 1))})
        >>> layer.weight
        array([[1.]])
        """
        self.__dict__["_values"] = values
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        """Write into the array of a parameter, or of its gradient, rather than put another one in its place."""
        if name in self._fixed and name in self.__dict__:
            raise AttributeError(f"{self}: {name} is {self.__dict__[name]} and cannot become {value!r}; make another layer")
        if name in self.__dict__.get("_values", ()) and name in self.__dict__:
            self.__dict__[name][...] = value
        else:
            super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """All but what belongs to a network or to the last ``forward``."""
        mine: dict[str, Array] = self.__dict__.get("_values", {})
        state = {
            key: value
            for key, value in self.__dict__.items()
            if key not in mine and key not in ("_bound", "_network", "_x", "_kept")
        }
        if mine:
            state["_values"] = {name: mine[name] for name in self.shapes()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The parameters in an arena of their own, until a network takes the layer in."""
        self.__dict__.update(state)
        if values := state.get("_values"):
            bind_layers([self], next(iter(values.values())).dtype, random_generator(None))
            self._bound = False

    def planned(self, dtype: np.dtype[Any]) -> dict[str, Any] | None:
        """What the engine needs to run this layer (``engine.new_plan``), but for widths and places of parameters; None if it
        cannot: then the network runs layer by layer.

        >>> import pynn
        >>> pynn.Layer().planned(pynn.checks.F32) is None
        True
        """
        return None

    def _plan_again(self) -> None:
        """After a change of what ``planned`` says."""
        network = self._network() if self._network is not None else None
        if network is not None:
            network._make_plan()

    def penalties(self, name: str, optimizer: Any) -> tuple[float, float, float]:
        """(l1, l2, weight_decay) of a parameter: the optimizer's, and none for biases unless it regularizes them.

        >>> import pynn
        >>> pynn.Dense(3, 2).penalties("weight", pynn.SGD(0.1, l2=0.5))
        (0.0, 0.5, 0.0)
        """
        penalties: tuple[float, float, float] = optimizer.penalties()
        return penalties if name != "bias" or optimizer.regularize_bias else (0.0, 0.0, 0.0)

    def forward(self, x: Array) -> Array:
        """Y from X, (features,) or (samples, features); keeps what ``backward`` needs."""
        raise TypeError(f"{type(self).__name__} has no forward(x)")

    def backward(self, y_gradient: Array) -> Array:
        """∂C/∂X from ∂C/∂Y, for the last ``forward``; fills the gradients of the parameters."""
        raise TypeError(f"{type(self).__name__} has no backward(y_gradient)")


class Dense(Layer):
    """Y = W X + B, one weighted sum of the inputs for each output (Forward Pass).

    ``in_features`` and ``out_features`` are integers from 1 up. ``initializer`` draws the first weight (out_features,
    in_features): the name of a function in :mod:`pynn.initializers`, such as "glorot_uniform", "he_normal", "orthogonal" or
    "zeros"; a function of that shape and a ``numpy.random.Generator``, such as ``constant(0.5)``; or an array of that shape. The
    first bias is zero. ``weight``, ``bias`` and their gradients are arrays to read, and to assign to or write into. Until it is
    first looked at, a layer has no values: the network that it becomes part of draws them by its own seed, but values that it
    has by then stay. ``l1``, ``l2``, ``weight_decay`` (numbers from 0 up) and ``regularize_bias`` are what the optimizer's are
    (:class:`pynn.optimizers.Optimizer`), for this layer alone; None leaves them to the optimizer. On its own a layer computes in
    float32, in a network in the network's dtype.

    Raises ``ValueError`` or ``TypeError`` for arguments that make no sense, and for an ``x`` that does not fit.

    >>> import numpy as np, pynn
    >>> layer = pynn.Dense(2, 1)
    >>> layer.weight = [[2.0, 3.0]]
    >>> layer.forward(np.array([1.0, 1.0], "float32"))
    array([5.], dtype=float32)
    """

    in_features: int
    out_features: int
    _fixed = ("in_features", "out_features", "has_bias")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        initializer: str | Initializer | Array = "glorot_uniform",
        *,
        l1: float | None = None,
        l2: float | None = None,
        weight_decay: float | None = None,
        regularize_bias: bool | None = None,
    ) -> None:
        for name, number in (("in_features", in_features), ("out_features", out_features)):
            if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
                raise TypeError(f"Dense: {name} is {number!r}, wanted an integer")
            if number < 1:
                raise ValueError(f"Dense: {name} is {number}, wanted at least 1")
        if not isinstance(bias, (bool, np.bool_)):
            raise TypeError(f"Dense: bias is {bias!r}, wanted True or False")
        if isinstance(initializer, np.ndarray):
            initializer = checks.as_floats(initializer, "Dense", "initializer").copy()
            if initializer.shape != (out_features, in_features):
                raise ValueError(
                    f"Dense: initializer has shape {initializer.shape}, wanted {(int(out_features), int(in_features))}, "
                    "(out_features, in_features)"
                )
        elif not callable(initializer) and initializer not in list(INITIALIZERS):
            raise ValueError(
                f"Dense: initializer is {initializer!r}, wanted one of {', '.join(map(repr, INITIALIZERS))}, "
                "a function or an array"
            )
        self.in_features = int(in_features)
        self.out_features = int(out_features)
        self.has_bias = bool(bias)
        self.initializer: Any = initializer
        self._penalties: dict[str, float] = {
            name: checks.as_number(number, "Dense", name)
            for name, number in (("l1", l1), ("l2", l2), ("weight_decay", weight_decay))
            if number is not None
        }
        self._regularize_bias = None if regularize_bias is None else checks.as_flag(regularize_bias, "Dense", "regularize_bias")

    @property
    def l1(self) -> float | None:
        """Its own factor of |w| in the penalty, or None: the optimizer's; ``l2`` and ``weight_decay`` likewise.

        >>> import pynn
        >>> pynn.Dense(3, 2, l1=1e-4).l1
        0.0001
        """
        return self._penalties.get("l1")

    @property
    def l2(self) -> float | None:
        """Its own factor of w²/2 in the penalty, or None: the optimizer's.

        >>> import pynn
        >>> pynn.Dense(3, 2).l2 is None
        True
        """
        return self._penalties.get("l2")

    @property
    def weight_decay(self) -> float | None:
        """Its own weight decay, or None: the optimizer's.

        >>> import pynn
        >>> pynn.Dense(3, 2, weight_decay=0.01).weight_decay
        0.01
        """
        return self._penalties.get("weight_decay")

    @property
    def regularize_bias(self) -> bool | None:
        """Whether these hold for the bias too, or None: as the optimizer says.

        >>> import pynn
        >>> pynn.Dense(3, 2).regularize_bias is None
        True
        """
        return self._regularize_bias

    @property
    def has_penalties(self) -> bool:
        """Whether it has penalties of its own, which may be 0.

        >>> import pynn
        >>> pynn.Dense(3, 2, l2=0).has_penalties
        True
        """
        return bool(self._penalties) or self._regularize_bias is not None

    def penalties(self, name: str, optimizer: Any) -> tuple[float, float, float]:  # noqa: D102 - Layer says it
        if name == "bias" and not (optimizer.regularize_bias if self._regularize_bias is None else self._regularize_bias):
            return 0.0, 0.0, 0.0
        l1, l2, weight_decay = optimizer.penalties()
        own = self._penalties
        return own.get("l1", l1), own.get("l2", l2), own.get("weight_decay", weight_decay)

    def take(self, values: dict[str, Array]) -> None:  # noqa: D102
        self._values = values  # no attributes: they are properties

    def shapes(self) -> dict[str, tuple[int, ...]]:  # noqa: D102 - Layer says it
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.out_features, self.in_features)}
        if self.has_bias:
            shapes["bias"] = (self.out_features,)
        return shapes

    def planned(self, dtype: np.dtype[Any]) -> dict[str, Any] | None:  # noqa: D102 - Layer says it
        if type(self) is not Dense:
            return None
        in_c_order = engine.weight_in_c_order(self.in_features, self.out_features)
        return {"kind": "PYNN_DENSE", "order": engine.OUT_MAJOR if in_c_order else engine.IN_MAJOR}

    def initial(self, name: str, random: np.random.Generator) -> ArrayLike:  # noqa: D102
        if name == "bias":
            return np.zeros(self.out_features)
        if isinstance(self.initializer, np.ndarray):
            return self.initializer
        draw = self.initializer if callable(self.initializer) else INITIALIZERS[self.initializer]
        values = np.asarray(draw((self.out_features, self.in_features), random))
        if values.shape != (self.out_features, self.in_features):
            raise ValueError(f"{self}: the initializer gave shape {values.shape}, wanted {(self.out_features, self.in_features)}")
        return values

    def _arrays(self) -> dict[str, Array]:
        """The arrays, drawn now if nobody has needed them before."""
        if "_values" not in self.__dict__:
            bind_layers([self], checks.F32, random_generator(None))
            self._bound = False
        return self._values

    def _assign(self, name: str, values: ArrayLike) -> None:
        array = self._arrays()[name]
        given = checks.as_floats(values, str(self), name.replace("_", " "), array.dtype)
        if given.shape != array.shape:
            raise ValueError(f"{self}: {name} has shape {array.shape}, got {given.shape}")
        array[...] = given

    @property
    def weight(self) -> Array:
        """W (out_features, in_features); ``weight[m, n]`` weighs input n in output m. Its memory order is the kernels' choice.

        >>> import pynn
        >>> pynn.Dense(3, 2).weight.shape
        (2, 3)
        """
        return self._arrays()["weight"]

    @weight.setter
    def weight(self, values: ArrayLike) -> None:
        self._assign("weight", values)

    @property
    def bias(self) -> Array | None:
        """B (out_features,), or None for a layer without.

        >>> import pynn
        >>> pynn.Dense(3, 2).bias
        array([0., 0.], dtype=float32)
        """
        return self._arrays()["bias"] if self.has_bias else None

    @bias.setter
    def bias(self, values: ArrayLike) -> None:
        if not self.has_bias:
            raise ValueError(f"{self} has no bias")
        self._assign("bias", values)

    @property
    def weight_gradient(self) -> Array:
        """∂C/∂W (out_features, in_features), as the last ``backward`` left it.

        >>> import pynn
        >>> pynn.Dense(3, 2).weight_gradient.shape
        (2, 3)
        """
        return self._arrays()["weight_gradient"]

    @property
    def bias_gradient(self) -> Array | None:
        """∂C/∂B (out_features,), as the last ``backward`` left it, or None for a layer without bias.

        >>> import pynn
        >>> pynn.Dense(3, 2).bias_gradient.shape
        (2,)
        """
        return self._arrays()["bias_gradient"] if self.has_bias else None

    def infer(self, x: ArrayLike) -> Array:
        """Y for a prediction; keeps nothing.

        >>> import numpy as np, pynn
        >>> pynn.Dense(3, 2).infer(np.zeros((5, 3))).shape
        (5, 2)
        """
        arrays = self._arrays()
        return kernels.affine(arrays["weight"], self._fitting(x, "x", self.in_features, "takes"), arrays.get("bias"))

    def forward(self, x: ArrayLike) -> Array:
        """Y = W X + B. ``x`` (in_features,) or (samples, in_features), converted to the layer's dtype; keeps it for ``backward``.

        >>> import numpy as np, pynn
        >>> pynn.Dense(3, 2).forward(np.zeros((5, 3))).shape
        (5, 2)
        """
        arrays = self._arrays()
        x = self._fitting(x, "x", self.in_features, "takes")
        y = kernels.affine(arrays["weight"], x, arrays.get("bias"))
        self._x = x
        return y

    def backward(self, y_gradient: ArrayLike) -> Array:
        """∂C/∂W = ∂C/∂Y Xᵀ, ∂C/∂B = ∂C/∂Y, and returns ∂C/∂X = Wᵀ ∂C/∂Y (Backpropagation 1), for the last ``forward``.

        ``y_gradient`` has the shape of that Y, else a ``ValueError``; before any ``forward`` it is a ``RuntimeError``.

        >>> import numpy as np, pynn
        >>> layer = pynn.Dense(3, 2)
        >>> y = layer.forward(np.zeros((5, 3)))
        >>> layer.backward(np.ones((5, 2))).shape
        (5, 3)
        >>> layer.bias_gradient
        array([5., 5.], dtype=float32)
        """
        if self._x is None:
            raise RuntimeError(f"{self}: backward before forward")
        arrays = self._arrays()
        y_gradient = self._fitting(y_gradient, "y_gradient", self.out_features, "gives")
        if y_gradient.shape[:-1] != self._x.shape[:-1]:
            raise ValueError(
                f"{self}: y_gradient has shape {y_gradient.shape}, "
                f"wanted {(*self._x.shape[:-1], self.out_features)}, as forward gave"
            )
        kernels.weight_gradient(y_gradient, self._x, out=arrays["weight_gradient"])
        if self.has_bias:
            kernels.bias_gradient(y_gradient, out=arrays["bias_gradient"])
        return kernels.input_gradient(arrays["weight"], y_gradient)

    def _fitting(self, value: ArrayLike, name: str, features: int, verb: str) -> Array:
        array = checks.as_floats(value, str(self), name, self._arrays()["weight"].dtype)
        check_features(array, str(self), name, features, verb)
        return array

    def __repr__(self) -> str:
        options = "" if self.has_bias else ", bias=False"
        if isinstance(self.initializer, np.ndarray):
            options += ", initializer=<array>"
        elif self.initializer != "glorot_uniform":
            options += f", initializer={self.initializer!r}"
        options += "".join(f", {name}={number!r}" for name, number in self._penalties.items())
        if self._regularize_bias is not None:
            options += f", regularize_bias={self._regularize_bias}"
        return f"{type(self).__name__}({self.in_features}, {self.out_features}{options})"


def check_features(array: Array, where: str, name: str, features: int, verb: str = "takes") -> None:
    """``ValueError`` unless ``array`` is (features,) or (samples, features)."""
    if array.ndim not in (1, 2) or array.shape[-1] != features:
        samples = array.shape[0] if array.ndim == 2 else "samples"
        count = f"{array.shape[-1]} features" if array.ndim in (1, 2) else f"{array.ndim} dimensions"
        raise ValueError(
            f"{where}: {name} has {count}, the layer {verb} {features} "
            f"(got shape {array.shape}, wanted ({samples}, {features}) or ({features},))"
        )


class Activation(Layer):
    """Y = f(X), elementwise (Activation Layers). The classes derived from it follow from the list of activations in the C core.

    >>> import pynn
    >>> isinstance(pynn.ReLU(), pynn.Activation)
    True
    """

    name: str = ""
    _parameter: float | None = None

    def __init__(self, parameter: float | None = None) -> None:
        if not self.name:
            raise TypeError("Activation is the base of " + ", ".join(row.class_name for row in engine.ACTIVATIONS.values()))
        if parameter is not None:
            self._parameter = checks.as_parameter(parameter, type(self).__name__, engine.ACTIVATIONS[self.name].parameter)

    @property
    def parameter(self) -> float | None:
        """The number that shapes f, also under a name of its own; None where there is none.

        >>> import pynn
        >>> pynn.ReLU().parameter is None
        True
        """
        return self._parameter

    def infer(self, x: ArrayLike) -> Array:
        """Y for a prediction; keeps nothing.

        >>> import numpy as np, pynn
        >>> pynn.ReLU().infer(np.array([-1.0, 2.0]))
        array([0., 2.])
        """
        return kernels.activation(self.name, checks.as_floats(x, str(self), "x"), parameter=self.parameter)

    def forward(self, x: ArrayLike) -> Array:
        """Y = f(X), of the shape and dtype of ``x``; keeps ``x`` for ``backward`` (Activation Layers).

        >>> import numpy as np, pynn
        >>> pynn.ReLU().forward(np.array([-1.0, 2.0]))
        array([0., 2.])
        """
        x = checks.as_floats(x, str(self), "x")
        y = kernels.activation(self.name, x, parameter=self.parameter)
        self._x = x
        return y

    def backward(self, y_gradient: ArrayLike) -> Array:
        """∂C/∂X = ∂C/∂Y ⊙ f′(X) (Backpropagation 2), for the last ``forward``, whose shape ``y_gradient`` has, else a
        ``ValueError``.

        Before any ``forward`` it is a ``RuntimeError``.

        >>> import numpy as np, pynn
        >>> layer = pynn.ReLU()
        >>> y = layer.forward(np.array([-1.0, 2.0]))
        >>> layer.backward(np.array([5.0, 5.0]))
        array([0., 5.])
        """
        if self._x is None:
            raise RuntimeError(f"{self}: backward before forward")
        y_gradient = checks.as_floats(y_gradient, str(self), "y_gradient", self._x.dtype)
        if y_gradient.shape != self._x.shape:
            raise ValueError(f"{self}: y_gradient has shape {y_gradient.shape}, wanted {self._x.shape}, as forward gave")
        return kernels.activation_gradient(self.name, self._x, y_gradient, parameter=self.parameter)

    def planned(self, dtype: np.dtype[Any]) -> dict[str, Any] | None:  # noqa: D102 - Layer says it
        built_in = type(self).__bases__ == (Activation,) and type(self).__module__ == Activation.__module__
        return {"kind": self.name, "parameter": self.parameter} if built_in and self.name in engine.ACTIVATIONS else None

    def __repr__(self) -> str:
        row = engine.ACTIVATIONS[self.name]
        given = "" if self.parameter in (None, row.default) else f"{row.parameter}={self.parameter!r}"
        return f"{type(self).__name__}({given})"


_DOCUMENTATION = """y = f(x), elementwise ({source}), in NumPy's words:

    f(x)  = {formula}
    f'(x) = {derivative}

    Takes and gives (features,) or (samples, features). f is within 1 unit in the last place,
    f' within 2.

    >>> import numpy as np, pynn
    >>> layer = pynn.{class_name}()
    >>> layer.forward(np.zeros(3)).shape
    (3,)
    >>> layer.backward(np.ones(3)).shape
    (3,)
    """


def _activation_class(row: engine.FunctionInfo) -> type[Activation]:
    """The layer that a row of C's list describes; a parameter is an argument and a property under its own name."""
    own = engine.parameter_members(row, Activation)
    own["__doc__"], own["__module__"] = _DOCUMENTATION.format(**row._asdict()), __name__
    return type(row.class_name, (Activation,), own)


for _row in engine.ACTIVATIONS.values():
    globals()[_row.class_name] = _activation_class(_row)

__all__ = ["Activation", "Dense", "Layer", *(row.class_name for row in engine.ACTIVATIONS.values())]


def __getattr__(name: str) -> type[Activation]:
    """Tell type checkers that the names made above exist; at run time it is asked for names that do not."""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# ---- arenas -------------------------------------------------------------------------------------------------------------------


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """``size`` zeros, the first at a multiple of 64 bytes (a cache line). Pages nobody writes to take no memory."""
    memory = np.zeros(size * dtype.itemsize + 64, np.uint8)
    start = -memory.__array_interface__["data"][0] % 64
    return memory[start : start + size * dtype.itemsize].view(dtype)


def bind_layers(
    layers: list[Layer], dtype: np.dtype[Any], random: np.random.Generator
) -> tuple[Array, Array, dict[tuple[int, str], int]]:
    """Put all parameters of ``layers`` side by side in one arena, their gradients in another, and give each layer its views.

    Values that a layer has stay, others are drawn from ``random``, in order. Returns the arenas and where each (layer number,
    name) begins.
    """
    offsets: dict[tuple[int, str], int] = {}
    size = 0
    for i, layer in enumerate(layers):
        for name, shape in layer.shapes().items():
            offsets[i, name] = size
            size += math.prod(shape)
    first = {  # drawn before anything is bound: a function of the user's may fail
        (i, name): layer.__dict__["_values"][name]
        if "_values" in layer.__dict__
        else checks.as_floats(layer.initial(name, random), str(layer), name, dtype)
        for i, layer in enumerate(layers)
        for name in layer.shapes()
    }
    parameters, gradients = aligned_zeros(size, dtype), aligned_zeros(size, dtype)
    for i, layer in enumerate(layers):
        values: dict[str, Array] = {}
        for name, shape in layer.shapes().items():
            for key, arena in ((name, parameters), (name + "_gradient", gradients)):
                run = arena[offsets[i, name] : offsets[i, name] + math.prod(shape)]
                transposed = isinstance(layer, Dense) and name == "weight" and not engine.weight_in_c_order(shape[1], shape[0])
                values[key] = run.reshape(shape[::-1]).T if transposed else run.reshape(shape)
            values[name][...] = first[i, name]
        layer.take(values)
        layer._bound = True
    for layer in layers:
        layer.prepare(random)
    return parameters, gradients, offsets
