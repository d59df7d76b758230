"""Costs: how far a prediction is from its target, and the gradient that backpropagation starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pynn import kernels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pynn.kernels import Array


class MSE:
    """Mean squared error, C = 1/n Σ (ŷ - y)² over all samples and outputs (Cost Function).

    A cost is any object that can be called with a prediction and a target, of the same shape, and has ``gradient``. Shapes that
    differ are a ``ValueError``, anything but real numbers a ``TypeError``.

    >>> import numpy as np, pynn
    >>> cost = pynn.MSE()
    >>> cost(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    2.5
    """

    def __call__(self, prediction: ArrayLike, target: ArrayLike) -> float:
        """The cost as a float."""
        return kernels.mean_squared_error(prediction, target)

    def gradient(self, prediction: ArrayLike, target: ArrayLike) -> Array:
        """∂C/∂Y = (2/n) (Y - Ŷ), of the prediction's shape and dtype.

        >>> import numpy as np, pynn
        >>> pynn.MSE().gradient(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
        array([1., 2.])
        """
        return kernels.mean_squared_error_gradient(prediction, target)

    def __repr__(self) -> str:
        return "MSE()"
