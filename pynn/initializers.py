"""First weights: functions of a shape (out_features, in_features) and a ``numpy.random.Generator``.

All of them draw uniform numbers alone and compute with +, -, ×, ÷ and √, which IEEE 754 rounds exactly, in a fixed order: the
same seed gives the same bits on every machine. (NumPy's own normal numbers do not: their tail asks the system's library for
logarithms.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn import checks, kernels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pynn.checks import Array

    Initializer = Callable[[tuple[int, int], np.random.Generator], ArrayLike]

__all__ = [
    "INITIALIZERS",
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "orthogonal",
    "zeros",
]


# ---- uniform -------------------------------------------------------------------------------------------------------------


def _uniform(limit: float, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    return (2.0 * random.random(shape) - 1.0) * limit


def glorot_uniform(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """w ~ U(-a, a), a = √(6 / (in + out)) (Glorot and Bengio, 2010).

    >>> import numpy as np
    >>> bool(np.abs(glorot_uniform((3, 3), np.random.default_rng(0))).max() <= 1.0)
    True
    """
    return _uniform(math.sqrt(6.0 / max(1, sum(shape))), shape, random)


def he_uniform(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """w ~ U(-a, a), a = √(6 / in) (He et al., 2015), for layers before a ReLU.

    >>> import numpy as np
    >>> bool(np.abs(he_uniform((3, 6), np.random.default_rng(0))).max() <= 1.0)
    True
    """
    return _uniform(math.sqrt(6.0 / max(1, shape[1])), shape, random)


def lecun_uniform(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """w ~ U(-a, a), a = √(3 / in) (LeCun et al., 1998), for layers before a SELU (Klambauer et al., 2017).

    >>> import numpy as np
    >>> bool(np.abs(lecun_uniform((3, 3), np.random.default_rng(0))).max() <= 1.0)
    True
    """
    return _uniform(math.sqrt(3.0 / max(1, shape[1])), shape, random)


# ---- normal ----------------------------------------------------------------------------------------------------------------

_LN2 = 0.6931471805599453


def _logarithm(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log x of normal x > 0: x = 2^k m, √½ <= m < √2, log m = 2 artanh s, s = (m - 1) / (m + 1), by its series."""
    m, k = np.frexp(x)
    small = m < 0.7071067811865476
    m = np.where(small, 2.0 * m, m)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    total = np.full_like(z, 1.0 / 23.0)
    for n in range(21, 0, -2):
        total = total * z + 1.0 / n
    result: NDArray[np.float64] = (k - small) * _LN2 + 2.0 * s * total
    return result


# Algorithm AS 241, PPND16 (Wichura, The percentage points of the normal distribution, 1988): numerators and denominators of the
# middle and both parts of a tail, from the highest power down.
_MIDDLE = (
    (2.50908092873012267270e3, 3.34305755835881281050e4, 6.72657709270087008530e4, 4.59219539315498714570e4,
     1.37316937655094611250e4, 1.97159095030655144270e3, 1.33141667891784377450e2, 3.38713287279636660800e0),
    (5.22649527885285456100e3, 2.87290857357219426740e4, 3.93078958000927106100e4, 2.12137943015865958670e4,
     5.39419602142475110770e3, 6.87187007492057908300e2, 4.23133307016009112520e1, 1.0),
)  # fmt: skip
_NEAR = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: NDArray[np.float64]) -> NDArray[np.float64]:
    above, below = np.zeros_like(r), np.zeros_like(r)
    for a, b in zip(*coefficients, strict=True):
        above, below = above * r + a, below * r + b
    return above / below


def normal(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float64]:
    """w ~ N(0, 1) as Φ⁻¹(u), u ~ U(0, 1), the inverse of its distribution (Wichura, 1988); relative error below 1e-15.

    One uniform number of 53 bits each; the largest that can come out is 8.3.

    >>> import numpy as np
    >>> normal((2,), np.random.Generator(np.random.PCG64(0))).round(6)
    array([ 0.350349, -0.613458])
    """
    q = random.random(shape) - 0.5
    middle = 0.180625 - q * q
    tail = np.maximum(0.5 - np.abs(q), 2.0**-54)  # exact
    r = np.sqrt(-_logarithm(tail))
    with np.errstate(all="ignore"):  # each formula is evaluated everywhere
        far = np.where(r <= 5.0, _ratio(_NEAR, r - 1.6), _ratio(_FAR, r - 5.0))
        return np.where(np.abs(q) <= 0.425, q * _ratio(_MIDDLE, middle), np.where(q < 0.0, -far, far))


def glorot_normal(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """w ~ N(0, σ²), σ² = 2 / (in + out) (Glorot and Bengio, 2010); not truncated.

    >>> import numpy as np
    >>> bool(abs(glorot_normal((200, 200), np.random.default_rng(0)).std() / 0.0707107 - 1) < 0.02)
    True
    """
    return normal(shape, random) * math.sqrt(2.0 / max(1, sum(shape)))


def he_normal(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """w ~ N(0, σ²), σ² = 2 / in (He et al., 2015), for layers before a ReLU; not truncated.

    >>> import numpy as np
    >>> bool(abs(he_normal((200, 200), np.random.default_rng(0)).std() / 0.1 - 1) < 0.02)
    True
    """
    return normal(shape, random) * math.sqrt(2.0 / max(1, shape[1]))


def lecun_normal(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """w ~ N(0, σ²), σ² = 1 / in (LeCun et al., 1998), for layers before a SELU (Klambauer et al., 2017); not truncated.

    >>> import numpy as np
    >>> bool(abs(lecun_normal((200, 200), np.random.default_rng(0)).std() / 0.0707107 - 1) < 0.02)
    True
    """
    return normal(shape, random) * math.sqrt(1.0 / max(1, shape[1]))


# ---- others ----------------------------------------------------------------------------------------------------------------


def orthogonal(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """W Wᵀ = 1, or Wᵀ W = 1 if there are fewer columns than rows, any such W as likely as another (Saxe et al., 2014).

    A matrix of normal numbers, made orthogonal by classical Gram-Schmidt in blocks of 32 rows, twice, which keeps the angles
    right to the last digits (Barlow and Smoktunowicz, 2013). In float64, with sums in the order of :mod:`pynn.kernels`.

    >>> import numpy as np
    >>> q = orthogonal((3, 5), np.random.default_rng(0))
    >>> np.abs(q @ q.T).round(12)
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    rows = normal((min(shape), max(shape)), random)
    for begin in range(0, len(rows), 32):  # blocks, since matrix products are faster (1024 x 1024: 2.6 s row by row)
        done, block = rows[:begin], rows[begin : begin + 32]
        for _ in range(2):
            if begin:
                block -= kernels.input_gradient(done, kernels.affine(done, block))
            for i, row in enumerate(block):
                if i:
                    row -= kernels.input_gradient(block[:i], kernels.affine(block[:i], row))
                row /= math.sqrt(float(kernels.affine(row[None], row)[0]))
    return rows if shape[0] <= shape[1] else rows.T


def zeros(shape: tuple[int, int], random: np.random.Generator) -> Array:
    """w = 0; draws nothing.

    >>> import numpy as np
    >>> zeros((1, 2), np.random.default_rng(0))
    array([[0., 0.]])
    """
    return np.zeros(shape)


class constant:
    """w = ``value``, a finite number; draws nothing. ``Dense(3, 2, initializer=constant(0.5))``.

    >>> import numpy as np
    >>> constant(0.5)((1, 2), np.random.default_rng(0))
    array([[0.5, 0.5]])
    """

    def __init__(self, value: float) -> None:
        self.value = checks.as_parameter(value, "constant", "value")

    def __call__(self, shape: tuple[int, int], random: np.random.Generator) -> Array:
        """An array of ``shape``."""
        return np.full(shape, self.value)

    def __repr__(self) -> str:
        return f"constant({self.value!r})"

    def __eq__(self, other: Any) -> bool:
        return type(other) is constant and other.value == self.value

    def __hash__(self) -> int:
        return hash((constant, self.value))


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "orthogonal": orthogonal,
    "zeros": zeros,
}
