"""Costs: how far a prediction is from its target, and the gradient that backpropagation starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pynn import checks, engine, kernels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pynn.checks import Array
    from pynn.engine import FunctionInfo


class Cost:
    """C = 1/n Σ c(ŷ, y) over all samples and outputs (Cost Function). The classes derived from it follow from the list of costs
    in the C core.

    A cost is any object that can be called with a prediction and a target, of the same shape, and has ``gradient``; one that
    takes ``sample_weight`` as a third argument of both can be trained with weights.

    >>> import pynn
    >>> isinstance(pynn.MSE(), pynn.Cost)
    True
    """

    name: str = ""
    _parameter: float | None = None

    def __init__(self, parameter: float | None = None) -> None:
        if not self.name:
            raise TypeError("Cost is the base of " + ", ".join(row.class_name for row in engine.COSTS.values()))
        if parameter is not None:
            self._parameter = checks.as_parameter(parameter, type(self).__name__, engine.COSTS[self.name].parameter)

    @property
    def parameter(self) -> float | None:
        """The number that shapes c, also under a name of its own; None where there is none.

        >>> import pynn
        >>> pynn.MSE().parameter is None
        True
        """
        return self._parameter

    def __call__(self, prediction: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The cost as a float; with ``sample_weight`` (samples,), Σ wᵢ cᵢ / Σ wᵢ, where cᵢ is the mean over a sample's outputs.

        Shapes that differ are a ``ValueError``, anything but real numbers a ``TypeError``.

        >>> import pynn
        >>> pynn.MAE()([[1.0], [2.0]], [[0.0], [0.0]], sample_weight=[3, 1])
        1.25
        """
        return kernels.cost(self.name, prediction, target, sample_weight, parameter=self.parameter)

    def gradient(self, prediction: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> Array:
        """∂C/∂Y, of the prediction's shape and dtype.

        >>> import numpy as np, pynn
        >>> pynn.MSE().gradient(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
        array([1., 2.])
        """
        return kernels.cost_gradient(self.name, prediction, target, sample_weight, parameter=self.parameter)

    def __repr__(self) -> str:
        row = engine.COSTS[self.name]
        given = "" if self.parameter in (None, row.default) else f"{row.parameter}={self.parameter!r}"
        return f"{type(self).__name__}({given})"


_DOCUMENTATION = """The mean of c over samples and outputs ({source}), in NumPy's words:

    c(p, t) = {formula}
    ∂c/∂p   = {derivative}

    of a prediction p and a target t. {parameter_text}

    >>> import numpy as np, pynn
    >>> cost = pynn.{class_name}()
    >>> cost(np.zeros((4, 2)), np.zeros((4, 2))) >= 0
    True
    >>> cost.gradient(np.zeros((4, 2)), np.ones((4, 2))).shape
    (4, 2)
    """


def _cost_class(row: FunctionInfo) -> type[Cost]:
    """The cost that a row of C's list describes; a parameter is an argument and a property under its own name."""
    text = f"``{row.parameter}`` is {checks.bounds(row.parameter)}, else a ``ValueError``." if row.parameter else ""
    own = engine.parameter_members(row, Cost)
    own["__doc__"], own["__module__"] = _DOCUMENTATION.format(**row._asdict(), parameter_text=text), __name__
    return type(row.class_name, (Cost,), own)


for _row in engine.COSTS.values():
    globals()[_row.class_name] = _cost_class(_row)


class SoftmaxCrossEntropy(Cost):
    """The mean over samples of -Σⱼ uⱼ log softmax(x)ⱼ, u = (1 - a) t + a / classes (Szegedy et al., 2016): for one class of many.

    The prediction x is the logits: no Softmax layer goes before it. The target t is (samples, classes), probabilities such as
    one-hot rows, or (samples,), the number of each sample's class. ``label_smoothing`` a is from 0 up to below 1, else a
    ``ValueError``.

    >>> import numpy as np, pynn
    >>> cost = pynn.SoftmaxCrossEntropy()
    >>> cost(np.array([[0.0, 0.0], [1000.0, 0.0]]), [1, 0])
    0.34657359027997264
    >>> cost.gradient(np.array([[0.0, 0.0]]), [[0.0, 1.0]])
    array([[ 0.5, -0.5]])
    """

    name = "softmax_cross_entropy"
    takes_labels = True  # a network hands over classes as they are

    def __init__(self, label_smoothing: float = 0.0) -> None:
        number = checks.as_parameter(label_smoothing, "SoftmaxCrossEntropy", "label_smoothing")
        if not 0 <= number < 1:
            raise ValueError(f"SoftmaxCrossEntropy: label_smoothing is {number!r}, wanted a number from 0 up to below 1")
        self._parameter = number

    @property
    def label_smoothing(self) -> float:
        """The part of each target that goes to all classes alike.

        >>> import pynn
        >>> pynn.SoftmaxCrossEntropy(0.1).label_smoothing
        0.1
        """
        return self._parameter or 0.0

    def __call__(self, prediction: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The cost as a float; shapes that do not fit and classes that there are not are a ``ValueError``.

        >>> import pynn
        >>> pynn.SoftmaxCrossEntropy()([[0.0, 0.0]], [1])
        0.6931471805599453
        """
        return kernels.softmax_cross_entropy(prediction, target, sample_weight, self.label_smoothing)

    def gradient(self, prediction: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None) -> Array:
        """∂C/∂X, of the logits' shape and dtype.

        >>> import pynn
        >>> pynn.SoftmaxCrossEntropy().gradient([[0.0, 0.0]], [1])
        array([[ 0.5, -0.5]])
        """
        return kernels.softmax_cross_entropy_gradient(prediction, target, sample_weight, label_smoothing=self.label_smoothing)

    def __repr__(self) -> str:
        return f"SoftmaxCrossEntropy({f'label_smoothing={self._parameter!r}' if self._parameter else ''})"


__all__ = ["Cost", "SoftmaxCrossEntropy", *(row.class_name for row in engine.COSTS.values())]


def __getattr__(name: str) -> type[Cost]:
    """Tell type checkers that the names made above exist; at run time it is asked for names that do not."""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
