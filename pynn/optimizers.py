"""Optimizers: how parameters follow their gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pynn import kernels

if TYPE_CHECKING:
    from pynn.kernels import Array


def positive_rate(value: float, where: str) -> float:
    """``value`` as a finite float that is not negative; ``TypeError`` or ``ValueError`` otherwise."""
    try:
        rate = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{where}: learning_rate is {value!r}, wanted a number") from None
    except OverflowError:
        rate = math.inf
    if isinstance(value, str):
        raise TypeError(f"{where}: learning_rate is {value!r}, wanted a number")
    if not math.isfinite(rate) or rate < 0:
        raise ValueError(f"{where}: learning_rate is {value!r}, wanted a finite number from 0 up")
    return rate


class SGD:
    """Gradient descent, θ := θ - α ∂C/∂θ (Gradient Descent).

    ``learning_rate`` α is a finite number from 0 up, else a ``ValueError``; it may be assigned between steps. An optimizer is
    any object with ``step(parameters, gradients)``, which changes the parameters in place.

    >>> import numpy as np, pynn
    >>> optimizer = pynn.SGD(learning_rate=0.5)
    >>> theta = np.array([1.0, 2.0])
    >>> optimizer.step(theta, np.array([1.0, 1.0]))
    >>> theta
    array([0.5, 1.5])
    """

    def __init__(self, learning_rate: float = 0.01) -> None:
        self.learning_rate = learning_rate

    @property
    def learning_rate(self) -> float:
        """The learning rate α.

        >>> import pynn
        >>> pynn.SGD(0.1).learning_rate
        0.1
        """
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = positive_rate(value, type(self).__name__)

    def step(self, parameters: Array, gradients: Array) -> None:
        """Update ``parameters`` in place; ``gradients`` has their shape.

        >>> import numpy as np, pynn
        >>> theta = np.array([1.0])
        >>> pynn.SGD(0.25).step(theta, np.array([2.0]))
        >>> theta
        array([0.5])
        """
        kernels.gradient_descent(parameters, gradients, self._learning_rate)

    def __repr__(self) -> str:
        return f"SGD(learning_rate={self._learning_rate!r})"
