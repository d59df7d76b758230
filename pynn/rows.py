"""Layers that work on each row by itself: softmax, layer normalisation, dropout, standardisation.

Their ``infer(x)`` is what a prediction asks for: Y for ``x``, keeping nothing. Only for dropout is it another Y than in training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pynn import checks, kernels
from pynn.layers import Layer, bind_layers, check_features, random_generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pynn.checks import Array

__all__ = ["Dropout", "LayerNorm", "LogSoftmax", "Softmax", "Standardize"]


def _count(value: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}: features is {value!r}, wanted an integer")
    if value < 1:
        raise ValueError(f"{where}: features is {value}, wanted at least 1")
    return int(value)


def _flag(value: bool, where: str, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{where}: {name} is {value!r}, wanted True or False")
    return bool(value)


def _as_rows(x: ArrayLike, where: str) -> Array:
    array = checks.as_floats(x, where, "x")
    if array.ndim not in (1, 2):
        raise ValueError(f"{where}: x has shape {array.shape}, wanted (features,) or (samples, features)")
    return array


def _as_gradient(layer: Layer, y_gradient: ArrayLike, like: Array | None) -> Array:
    """∂C/∂Y in the dtype of ``like``, which has the shape that it must have and is None before any ``forward``."""
    if like is None:
        raise RuntimeError(f"{layer}: backward before forward")
    gradient = checks.as_floats(y_gradient, str(layer), "y_gradient", like.dtype)
    if gradient.shape != like.shape:
        raise ValueError(f"{layer}: y_gradient has shape {gradient.shape}, wanted {like.shape}, as forward gave")
    return gradient


class Softmax(Layer):
    """y_j = e^x_j / Σ_k e^x_k along each row: numbers that become probabilities (Bridle, 1990).

    Takes and gives (features,) or (samples, features). A row's largest number m is subtracted first, which changes nothing but
    that nothing overflows. Infinite numbers count as their limit, and a row with a NaN is NaN.

    >>> import numpy as np, pynn
    >>> layer = pynn.Softmax()
    >>> layer.forward(np.array([0.0, 0.0]))
    array([0.5, 0.5])
    >>> layer.backward(np.array([1.0, 0.0]))
    array([ 0.25, -0.25])
    """

    def planned(self, dtype: np.dtype[Any]) -> dict[str, Any] | None:  # noqa: D102 - Layer says it
        kinds = {Softmax: "PYNN_SOFTMAX", LogSoftmax: "PYNN_LOG_SOFTMAX"}
        return {"kind": kinds[type(self)]} if type(self) in kinds else None

    def infer(self, x: ArrayLike) -> Array:
        """Y for a prediction; keeps nothing.

        >>> import numpy as np, pynn
        >>> pynn.Softmax().infer(np.array([1000.0, 0.0]))
        array([1., 0.])
        """
        return kernels.softmax(_as_rows(x, str(self)))

    def forward(self, x: ArrayLike) -> Array:
        """Y = softmax(X), of the shape and dtype of ``x``; keeps Y for ``backward``.

        >>> import numpy as np, pynn
        >>> pynn.Softmax().forward(np.zeros((2, 4))).sum(axis=1)
        array([1., 1.])
        """
        y = self.infer(x)
        self._kept = y.copy()  # a caller may write into y
        return y

    def backward(self, y_gradient: ArrayLike) -> Array:
        """∂C/∂X = Y ⊙ (∂C/∂Y - Σ_k y_k ∂C/∂y_k), for the last ``forward``, whose shape ``y_gradient`` has, else a ``ValueError``.

        Before any ``forward`` it is a ``RuntimeError``.

        >>> import numpy as np, pynn
        >>> layer = pynn.Softmax()
        >>> y = layer.forward(np.zeros(2))
        >>> layer.backward(np.ones(2))
        array([0., 0.])
        """
        return kernels.softmax_gradient(self._kept, _as_gradient(self, y_gradient, self._kept))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class LogSoftmax(Softmax):
    """y_j = log(e^x_j / Σ_k e^x_k) along each row, as (x_j - m) - log Σ_k e^(x_k - m), m the largest
    (Bridle, 1990).

    So the logarithm is not lost where the probability vanishes. Otherwise as ``Softmax``.

    >>> import numpy as np, pynn
    >>> layer = pynn.LogSoftmax()
    >>> layer.forward(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    >>> layer.backward(np.array([1.0, 0.0]))
    array([ 1., -1.])
    """

    def infer(self, x: ArrayLike) -> Array:
        """Y for a prediction; keeps nothing.

        >>> import numpy as np, pynn
        >>> pynn.LogSoftmax().infer(np.array([1000.0, 0.0]))
        array([    0., -1000.])
        """
        return kernels.log_softmax(_as_rows(x, str(self)))

    def backward(self, y_gradient: ArrayLike) -> Array:
        """∂C/∂X = ∂C/∂Y - e^Y Σ_k ∂C/∂y_k, for the last ``forward``; errors are those of ``Softmax.backward``.

        >>> import numpy as np, pynn
        >>> layer = pynn.LogSoftmax()
        >>> y = layer.forward(np.zeros(1))
        >>> layer.backward(np.ones(1))
        array([0.])
        """
        return kernels.log_softmax_gradient(self._kept, _as_gradient(self, y_gradient, self._kept))


class LayerNorm(Layer):
    """y_j = h_j scale_j + bias_j, h_j = (x_j - mean) / √(variance + epsilon), of each row (Ba, Kiros and Hinton, 2016).

    ``features`` is an integer from 1 up, ``epsilon`` above 0. ``scale`` and ``bias``, both (features,), begin as ones and zeros
    and are learnt; without them (False) the layer has no such parameter. Takes and gives (features,) or (samples, features), in
    the network's dtype; on its own a layer computes in float32. A row's variance is divided by features.

    Raises ``ValueError`` or ``TypeError`` for arguments that make no sense, and for an ``x`` that does not fit.

    >>> import numpy as np, pynn
    >>> layer = pynn.LayerNorm(2, epsilon=1e-30)
    >>> layer.forward(np.array([1.0, 3.0]))
    array([-1.,  1.], dtype=float32)
    """

    in_features: int
    out_features: int
    scale: Any
    bias: Any
    _fixed = ("in_features", "out_features", "has_scale", "has_bias")

    def __init__(self, features: int, epsilon: float = 1e-5, scale: bool = True, bias: bool = True) -> None:
        self.in_features = self.out_features = _count(features, "LayerNorm")
        self.epsilon = epsilon
        self.has_scale, self.has_bias = _flag(scale, "LayerNorm", "scale"), _flag(bias, "LayerNorm", "bias")

    def planned(self, dtype: np.dtype[Any]) -> dict[str, Any] | None:  # noqa: D102 - Layer says it
        return {"kind": "PYNN_LAYER_NORM", "parameter": self.epsilon} if type(self) is LayerNorm else None

    def shapes(self) -> dict[str, tuple[int, ...]]:  # noqa: D102 - Layer says it
        named = (("scale", self.has_scale), ("bias", self.has_bias))
        return {name: (self.in_features,) for name, there in named if there}

    def initial(self, name: str, random: np.random.Generator) -> ArrayLike:  # noqa: D102
        return np.ones(self.in_features) if name == "scale" else np.zeros(self.in_features)

    def __getattr__(self, name: str) -> Any:
        """Parameters, made when they are first looked at; None where the layer has none."""
        if name in ("scale", "bias", "scale_gradient", "bias_gradient") and "has_bias" in self.__dict__:
            if not self.__dict__[f"has_{name.removesuffix('_gradient')}"]:
                return None
            if "_values" not in self.__dict__:
                bind_layers([self], checks.F32, random_generator(None))
                self._bound = False
                return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Write into a parameter's array, which is made if need be."""
        if name in ("scale", "bias", "scale_gradient", "bias_gradient") and getattr(self, name) is None:
            raise ValueError(f"{self} has no {name.removesuffix('_gradient')}")
        if name == "epsilon":
            number = checks.as_parameter(value, "LayerNorm", "epsilon")
            if number <= 0:
                raise ValueError(f"LayerNorm: epsilon is {value!r}, wanted a number above 0")
            value = number
        super().__setattr__(name, value)
        if name == "epsilon":
            self._plan_again()

    def _normalized(self, x: ArrayLike, statistics: bool) -> tuple[Array, Array, Array | None]:
        parameter = self.scale if self.has_scale else self.bias
        array = checks.as_floats(x, str(self), "x", None if parameter is None else parameter.dtype)
        check_features(array, str(self), "x", self.in_features)
        kept = np.empty((*array.shape[:-1], 2), array.dtype) if statistics else None
        return array, kernels.layer_norm(array, self.scale, self.bias, self.epsilon, statistics=kept), kept

    def infer(self, x: ArrayLike) -> Array:
        """Y for a prediction; keeps nothing.

        >>> import numpy as np, pynn
        >>> pynn.LayerNorm(3).infer(np.ones((5, 3))).shape
        (5, 3)
        """
        return self._normalized(x, False)[1]

    def forward(self, x: ArrayLike) -> Array:
        """Y for ``x`` (features,) or (samples, features); keeps ``x``, and mean and 1 / √(variance + epsilon) of each row.

        >>> import numpy as np, pynn
        >>> pynn.LayerNorm(3).forward(np.ones((5, 3))).shape
        (5, 3)
        """
        self._x, y, self._kept = self._normalized(x, True)
        return y

    def backward(self, y_gradient: ArrayLike) -> Array:
        """∂C/∂scale = Σ ∂C/∂Y ⊙ H and ∂C/∂bias = Σ ∂C/∂Y over the samples, and returns ∂C/∂X = (Q - mean(Q) - H mean(Q ⊙ H)) /
        √(variance + epsilon) with Q = ∂C/∂Y ⊙ scale, for the last ``forward``.

        ``y_gradient`` has the shape of that Y, else a ``ValueError``; before any ``forward`` it is a ``RuntimeError``.

        >>> import numpy as np, pynn
        >>> layer = pynn.LayerNorm(2)
        >>> y = layer.forward(np.array([[1.0, 3.0]]))
        >>> layer.backward(np.ones((1, 2)))
        array([[0., 0.]], dtype=float32)
        >>> layer.bias_gradient
        array([1., 1.], dtype=float32)
        """
        gradient = _as_gradient(self, y_gradient, self._x)
        x: Any = self._x
        if self.has_scale:
            kernels.layer_norm_scale_gradient(x, self._kept, gradient, out=self.scale_gradient)
        if self.has_bias:
            kernels.bias_gradient(gradient, out=self.bias_gradient)
        return kernels.layer_norm_gradient(x, self._kept, gradient, self.scale)

    def __repr__(self) -> str:
        options = "" if self.epsilon == 1e-5 else f", epsilon={self.epsilon!r}"
        options += "" if self.has_scale else ", scale=False"
        options += "" if self.has_bias else ", bias=False"
        return f"LayerNorm({self.in_features}{options})"


class Dropout(Layer):
    """In training, y = 0 with probability ``rate``, else x / (1 - rate) (Srivastava et al., 2014).

    In prediction all stay as they are. ``rate`` is from 0 up and below 1. Which numbers are dropped is a function of ``seed``, of
    ``step``, of the row's place in its batch, of the unit's place in its row and of the width alone. ``step`` counts calls of
    ``forward``, from 0, and may be assigned to. ``seed``, an integer from 0 up and below 2^64, is drawn from the network's random
    numbers, unless given. A pickled layer goes on where it was.

    Raises ``ValueError`` or ``TypeError`` for arguments that make no sense.

    >>> import numpy as np, pynn
    >>> layer = pynn.Dropout(0.5, seed=1)
    >>> layer.forward(np.ones(8))
    array([2., 2., 0., 2., 0., 0., 0., 0.])
    >>> layer.backward(np.ones(8))
    array([2., 2., 0., 2., 0., 0., 0., 0.])
    >>> layer.infer(np.ones(8))
    array([1., 1., 1., 1., 1., 1., 1., 1.])
    """

    def __init__(self, rate: float, seed: int | None = None) -> None:
        self._steps = np.zeros(1, np.uint64)  # the engine counts here
        self.rate = rate
        self.seed = seed
        self._seed_given = seed is not None

    def __getstate__(self) -> dict[str, Any]:  # a copy counts for itself
        return {**super().__getstate__(), "_steps": self._steps.copy()}

    @property
    def rate(self) -> float:
        """The probability that a number is dropped.

        >>> import pynn
        >>> pynn.Dropout(0.5).rate
        0.5
        """
        return self._rate

    @rate.setter
    def rate(self, value: float) -> None:
        self._rate = checks.as_rate(value, "Dropout")
        self._plan_again()

    @property
    def seed(self) -> int | None:
        """What the masks are drawn from; None before it is drawn itself.

        >>> import pynn
        >>> pynn.Dropout(0.5, seed=3).seed
        3
        """
        return self._seed

    @seed.setter
    def seed(self, value: int | None) -> None:
        self._seed = None if value is None else checks.as_counter(value, "Dropout", "seed")
        self._plan_again()

    @property
    def step(self) -> int:
        """How many batches it has seen in training.

        >>> import pynn
        >>> pynn.Dropout(0.5).step
        0
        """
        return int(self._steps[0])

    @step.setter
    def step(self, value: int) -> None:
        self._steps[0] = checks.as_counter(value, "Dropout", "step")

    def planned(self, dtype: np.dtype[Any]) -> dict[str, Any] | None:  # noqa: D102 - Layer says it
        if type(self) is not Dropout or self.seed is None:
            return None
        return {"kind": "PYNN_DROPOUT", "parameter": self.rate, "seed": self.seed, "step": self._steps}

    def prepare(self, random: np.random.Generator) -> None:  # noqa: D102 - Layer says it
        if self.seed is None:
            self.seed = int(random.integers(0, 2**64, dtype=np.uint64))

    def infer(self, x: ArrayLike) -> Array:
        """Y for a prediction: a copy of X.

        >>> import numpy as np, pynn
        >>> pynn.Dropout(0.9).infer(np.ones(3))
        array([1., 1., 1.])
        """
        return _as_rows(x, str(self)).copy()

    def forward(self, x: ArrayLike) -> Array:
        """Y for ``x`` (features,) or (samples, features) in training: some of it 0. ``step`` grows by 1.

        >>> import numpy as np, pynn
        >>> layer = pynn.Dropout(0.5, seed=1)
        >>> layer.forward(np.ones(8)).tolist() == layer.forward(np.ones(8)).tolist()
        False
        """
        x = _as_rows(x, str(self))
        if self.seed is None:
            self.prepare(random_generator(None))
        assert self.seed is not None
        y = kernels.dropout(x, self.rate, self.seed, self.step)
        self._kept = y.shape, y.dtype, self.step
        self.step += 1
        return y

    def backward(self, y_gradient: ArrayLike) -> Array:
        """∂C/∂X: ∂C/∂Y where X was kept, divided by 1 - rate, and 0 where it was dropped, for the last ``forward``, whose shape
        ``y_gradient`` has, else a ``ValueError``.

        Before any ``forward`` it is a ``RuntimeError``.

        >>> import numpy as np, pynn
        >>> layer = pynn.Dropout(0.0)
        >>> y = layer.forward(np.ones(2))
        >>> layer.backward(np.array([1.0, 2.0]))
        array([1., 2.])
        """
        if self._kept is None or self.seed is None:
            raise RuntimeError(f"{self}: backward before forward")
        shape, dtype, step = self._kept
        gradient = checks.as_floats(y_gradient, str(self), "y_gradient", dtype)
        if gradient.shape != shape:
            raise ValueError(f"{self}: y_gradient has shape {gradient.shape}, wanted {shape}, as forward gave")
        return kernels.dropout(gradient, self.rate, self.seed, step)

    def __repr__(self) -> str:
        return f"Dropout({self.rate!r}{f', seed={self.seed}' if self._seed_given else ''})"


class Standardize(Layer):
    """y_j = (x_j - mean_j) / deviation_j: each feature with mean 0 and standard deviation 1 over the data that ``fit`` saw
    (LeCun et al., 1998).

    ``features`` is an integer from 1 up. ``mean`` and ``deviation``, both float64 (features,), come from ``fit`` or are given.
    They are no parameters and not learnt, but belong to the layer, its copies and its pickles. They are rounded to the dtype of
    what comes in. Before it has them, a layer refuses to compute (``RuntimeError``).

    Raises ``ValueError`` or ``TypeError`` for arguments that make no sense, and for an ``x`` that does not fit.

    >>> import numpy as np, pynn
    >>> layer = pynn.Standardize(2).fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> layer.mean, layer.deviation
    (array([2., 5.]), array([1., 1.]))
    >>> layer.forward(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([[-1.,  0.],
           [ 1.,  0.]])
    """

    in_features: int
    out_features: int
    _fixed = ("in_features", "out_features")

    def __init__(self, features: int, mean: ArrayLike | None = None, deviation: ArrayLike | None = None) -> None:
        self.in_features = self.out_features = _count(features, "Standardize")
        self.mean: NDArray[np.float64] | None = None
        self.deviation: NDArray[np.float64] | None = None
        if (mean is None) != (deviation is None):
            raise TypeError("Standardize: mean and deviation go together, got one of them")
        if mean is not None and deviation is not None:
            self.mean, self.deviation = mean, deviation  # type: ignore[assignment]  # __setattr__ converts them

    def __setattr__(self, name: str, value: Any) -> None:
        """Check the numbers that the engine reads, and let it know of them."""
        if name in ("mean", "deviation") and value is not None:
            value = self._given(name, value)
        super().__setattr__(name, value)
        if name in ("mean", "deviation"):
            self._plan_again()

    def _given(self, name: str, values: ArrayLike) -> NDArray[np.float64]:
        array = np.array(checks.as_floats(values, "Standardize", name, checks.F64))
        if array.shape != (self.in_features,):
            raise ValueError(f"Standardize: {name} has shape {array.shape}, wanted {(self.in_features,)}")
        if not np.isfinite(array).all():
            raise ValueError(f"Standardize: {name} has elements that are not finite")
        if name == "deviation" and not (array > 0).all():
            raise ValueError("Standardize: deviation has elements that are not above 0")
        array.flags.writeable = False  # a network may have them in another dtype
        return array

    def fit(self, x: ArrayLike) -> Standardize:
        """Take ``mean`` and ``deviation`` from ``x`` (samples, features), and return the layer.

        In float64 and two passes, the second of which also sums what the rounding of the mean left over (Chan, Golub and LeVeque,
        1983); the variance is divided by the number of samples. A feature that is the same in all samples has the deviation 1.
        Raises ``ValueError`` for NaN, infinity, no samples, or a shape that does not fit, before anything has changed.

        >>> import numpy as np, pynn
        >>> pynn.Standardize(1).fit(np.array([[1.0], [2.0], [3.0]])).mean
        array([2.])
        """
        array = checks.as_floats(x, str(self), "x", checks.F64)
        if array.ndim != 2 or not len(array):
            advice = "; a single sample has no deviation to fit, though forward takes one" if array.ndim == 1 else ""
            raise ValueError(
                f"{self}: x has shape {array.shape}, wanted (samples, {self.in_features}) with samples from 1 up{advice}"
            )
        check_features(array, str(self), "x", self.in_features)
        low, high = array.min(axis=0), array.max(axis=0)
        if not (np.isfinite(low) & np.isfinite(high)).all():
            feature = int(np.argmin(np.isfinite(low) & np.isfinite(high)))
            raise ValueError(f"{self}: x has NaN or infinity in feature {feature}")
        # Powers of two, so that no sum or square overflows, or vanishes
        exponent = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
        rows = max(1, 2**20 // self.in_features)

        def totals(about: NDArray[np.float64] | None, spread: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            """Σ d and Σ d² in blocks of so many rows, each in the order of bias_gradient, then the blocks in order."""
            first, second = np.zeros(self.in_features), np.zeros(self.in_features)
            for begin in range(0, len(array), rows):
                d = np.ldexp(array[begin : begin + rows], -exponent)
                if about is not None:
                    d = np.ldexp(d - about, -spread)
                first += kernels.bias_gradient(d)
                if about is not None:
                    second += kernels.bias_gradient(d * d)
            return first, second

        count = len(array)
        about = totals(None, 0)[0] / count
        reach = np.maximum(np.abs(np.ldexp(low, -exponent) - about), np.abs(np.ldexp(high, -exponent) - about))
        spread = np.frexp(reach)[1]
        first, second = totals(about, spread)
        constant = low == high
        mean = np.ldexp(about + np.ldexp(first / count, spread), exponent)
        variance = np.maximum(second - first * (first / count), 0.0) / count
        deviation = np.ldexp(np.sqrt(variance), spread + exponent)
        if not np.isfinite(deviation).all():
            raise ValueError(f"{self}: x has a feature whose deviation is beyond float64")
        self.deviation, self.mean = np.where(constant, 1.0, deviation), np.where(constant, low, mean)
        return self

    def planned(self, dtype: np.dtype[Any]) -> dict[str, Any] | None:  # noqa: D102 - Layer says it
        if type(self) is not Standardize or self.mean is None or self.deviation is None:
            return None
        mean, deviation = self._numbers(dtype)
        return {"kind": "PYNN_STANDARDIZE", "mean": mean, "deviation": deviation}

    def _numbers(self, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        if self.mean is None or self.deviation is None:
            raise RuntimeError(f"{self}: fit(x) before use")
        return self.mean.astype(dtype, copy=False), self.deviation.astype(dtype, copy=False)

    def _fitting(self, x: ArrayLike) -> Array:
        array = checks.as_floats(x, str(self), "x")
        check_features(array, str(self), "x", self.in_features)
        return array

    def infer(self, x: ArrayLike) -> Array:
        """Y for a prediction; keeps nothing.

        >>> import numpy as np, pynn
        >>> pynn.Standardize(1, mean=[1.0], deviation=[2.0]).infer(np.array([5.0]))
        array([2.])
        """
        array = self._fitting(x)
        return kernels.standardize(array, *self._numbers(array.dtype))

    def inverse(self, y: ArrayLike) -> Array:
        """X = Y ⊙ deviation + mean: what ``infer`` undoes, as for predictions of standardised targets.

        >>> import numpy as np, pynn
        >>> pynn.Standardize(1, mean=[1.0], deviation=[2.0]).inverse(np.array([2.0]))
        array([5.])
        """
        array = self._fitting(y)
        mean, deviation = self._numbers(array.dtype)
        x: Array = array * deviation + mean
        return x

    def forward(self, x: ArrayLike) -> Array:
        """Y for ``x`` (features,) or (samples, features), of its shape and dtype.

        >>> import numpy as np, pynn
        >>> pynn.Standardize(1, mean=[1.0], deviation=[2.0]).forward(np.array([[5.0], [1.0]]))
        array([[2.],
               [0.]])
        """
        y = self.infer(x)
        self._kept = y.shape, y.dtype
        return y

    def backward(self, y_gradient: ArrayLike) -> Array:
        """∂C/∂X = ∂C/∂Y / deviation, for the last ``forward``, whose shape ``y_gradient`` has, else a ``ValueError``.

        Before any ``forward`` it is a ``RuntimeError``.

        >>> import numpy as np, pynn
        >>> layer = pynn.Standardize(1, mean=[1.0], deviation=[2.0])
        >>> y = layer.forward(np.array([5.0]))
        >>> layer.backward(np.array([1.0]))
        array([0.5])
        """
        if self._kept is None:
            raise RuntimeError(f"{self}: backward before forward")
        shape, dtype = self._kept
        gradient = checks.as_floats(y_gradient, str(self), "y_gradient", dtype)
        if gradient.shape != shape:
            raise ValueError(f"{self}: y_gradient has shape {gradient.shape}, wanted {shape}, as forward gave")
        return kernels.standardize(gradient, None, self._numbers(dtype)[1])

    def __repr__(self) -> str:
        return f"Standardize({self.in_features})"
