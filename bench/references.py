"""What activations should give, to far more digits than their dtype holds, and how far off they are.

Used by ``python -m bench accuracy`` and by tests/test_activations.py, which therefore cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from pynn import kernels

WHICH = ("f", "derivative")
LIMITS = {"f": 1.0, "derivative": 2.0}  # how far a function may be off, in units in the last place
REFERENCE_LIMIT = 0.01  # units in the last place that a reference may be off
WIDE: dict[str, Any] = {"float32": np.float64, "float64": np.longdouble}
# (which, name) -> a formula that loses no digits in floating point, for activations of whose formula in the list (pynn.kernels.
# ACTIVATIONS) that is not true: where it subtracts what is nearly equal, or overflows on the way. Arbitrary precision always
# evaluates the formula in the list, so that each judges the other.
STABLE: dict[tuple[str, str], str] = {}


@cache
def _formula(which: str, name: str, stable: bool) -> CodeType:
    row = kernels.ACTIVATIONS[name]
    text = row.formula if which == "f" else row.derivative
    return compile(STABLE.get((which, name), text) if stable else text, f"{which} of {name}", "eval")


def computed(which: str, name: str, x: Any) -> Any:
    """What pynn gives: f(x), or f'(x) as the gradient for a gradient of ones from above."""
    return kernels.activation(name, x) if which == "f" else kernels.activation_gradient(name, x, np.ones_like(x))


def _variables(name: str, x: Any, dtype: Any) -> dict[str, Any]:
    """What a formula's variables stand for; a parameter is rounded to the dtype that the kernel computes in."""
    row = kernels.ACTIVATIONS[name]
    return {"x": x, row.parameter: float(np.dtype(dtype).type(row.default))}


# ---- references ------------------------------------------------------------------------------------------------------


def _erfc(x: Any) -> Any:
    """1 - erf(x) in double precision, whatever the dtype: NumPy has none."""
    try:
        from scipy.special import erfc
    except ImportError:
        erfc = np.vectorize(math.erfc, otypes=[np.float64])
    return erfc(x.astype(np.float64)).astype(x.dtype)


def in_numpy(which: str, name: str, x: Any) -> Any:
    """The formula in a wider dtype than that of ``x``; what is right at infinity is for ``limit`` to say."""
    dtype = WIDE[x.dtype.name]
    words = {**vars(np), "pi": 4 * np.arctan(dtype(1)), "erfc": _erfc, "sqrt": lambda value: np.sqrt(np.asarray(value, dtype))}
    with np.errstate(all="ignore"):
        variables = _variables(name, x.astype(dtype), x.dtype)
        return np.asarray(eval(_formula(which, name, True), words, variables)).astype(dtype, copy=False)


@cache
def _words() -> dict[str, Any]:
    """The words of NumPy that a formula may use, in arbitrary precision."""
    import mpmath

    def within(function: Any) -> Any:
        """Arguments limited to 2^16, where e^-x has long vanished beside any power of x; mpmath takes seconds for e^(10^300)."""
        return lambda x: function(min(max(x, -(2**16)), 2**16))

    return {
        "exp": within(mpmath.exp),
        "log": mpmath.log,
        "log1p": mpmath.log1p,
        "expm1": within(mpmath.expm1),
        "sqrt": mpmath.sqrt,
        "tanh": within(mpmath.tanh),
        "arctan": mpmath.atan,
        "erf": mpmath.erf,
        "erfc": lambda x: mpmath.erfc(x) if abs(x) < 2**30 else mpmath.mpf(2 * (x < 0)),  # mpmath fails far out
        "sin": mpmath.sin,
        "cos": mpmath.cos,
        "sinh": within(mpmath.sinh),
        "cosh": within(mpmath.cosh),
        "abs": abs,
        "maximum": max,
        "minimum": min,
        "sign": mpmath.sign,
        "heaviside": lambda x, at_zero: mpmath.mpf(x > 0) if x else mpmath.mpf(at_zero),
        "ones_like": lambda x: mpmath.mpf(1),
        "where": lambda condition, yes, no: yes if condition else no,
        "pi": mpmath.pi,
    }


def in_mpmath(which: str, name: str, x: Any) -> Any:
    """The list's formula in 200 bits, more for tiny and huge ``x``, a finite number of the dtype that is computed in."""
    import mpmath

    with mpmath.workprec(200 + abs(int(np.frexp(x)[1]))):
        variables = {key: mpmath.mpf(value) for key, value in _variables(name, float(x), x.dtype).items()}
        return mpmath.mpf(eval(_formula(which, name, False), _words(), variables))


def limit(which: str, name: str, x: Any) -> Any:
    """The limit at infinity: the formula at 2^3000, far beyond all floating-point numbers."""
    import mpmath

    with mpmath.workprec(200):
        variables = {**_variables(name, None, x.dtype), "x": mpmath.ldexp(mpmath.sign(float(x)), 3000)}
        return mpmath.mpf(eval(_formula(which, name, False), _words(), variables))


def reference_off(which: str, name: str, x: Any) -> float:
    """How far off ``in_numpy`` is at most, in units in the last place of the dtype of ``x``, by arbitrary precision."""
    return float(ulps_off_in_mpmath(which, name, x, in_numpy(which, name, x)).max())


@cache
def wide_enough(which: str, name: str, dtype: str) -> bool:
    """Whether ``in_numpy`` is good to a hundredth of a unit on a part of the hard points.

    For float64 it is not where long double is no wider than double, as on most Arm systems, or where a formula has an exponential
    of a large product, or a word that NumPy lacks. Arbitrary precision has to do it then, on fewer points.
    """
    return reference_off(which, name, hard_points(getattr(np, dtype))[::7]) <= REFERENCE_LIMIT


# ---- the measure -----------------------------------------------------------------------------------------------------


def ulps_off(got: Any, exact: Any) -> Any:
    """Distance of ``got`` from ``exact`` in units in the last place of its dtype; infinite where only one is NaN or infinite.

    The unit is 2^(e - p + 1) for 2^e <= |exact| < 2^(e + 1), that of subnormals below them. It is half as large below a power of
    two, as which ``exact`` may have been rounded, for what comes out too small.
    """
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        off = got.astype(exact.dtype, copy=False) - exact
        mantissa, exponent = np.frexp(exact)
        power = np.abs(mantissa) == 0.5
        if power.any():
            exponent = exponent - (power & (off * mantissa < 0))
        off = np.ldexp(np.abs(off), (info.nmant + 1) - np.maximum(exponent, info.minexp + 1))
        if not np.isfinite(off.max(initial=0)):
            agree = (np.isnan(got) & np.isnan(exact)) | (got == exact.astype(got.dtype))
            off = np.where(agree & ~np.isfinite(got), 0, np.where(np.isnan(off), np.inf, off))
    return off


def ulps_off_in_mpmath(which: str, name: str, x: Any, got: Any) -> Any:
    """The same for finite ``x`` by arbitrary precision, in units of the dtype of ``x``; ``got`` may be of a wider one."""
    import mpmath

    info = np.finfo(x.dtype)
    off = np.empty(x.size)
    mantissas, exponents = np.frexp(got)
    for i in range(x.size):
        exact = in_mpmath(which, name, x[i])
        mantissa, exponent = mpmath.frexp(exact)
        if np.isfinite(got[i]):
            with mpmath.workprec(2400):
                high = float(mantissas[i])
                value = mpmath.ldexp(mpmath.mpf(high) + mpmath.mpf(float(mantissas[i] - high)), int(exponents[i]))
                exponent -= abs(mantissa) == 0.5 and abs(value) < abs(exact)
                last = max(exponent if exact else -np.inf, info.minexp + 1) - (info.nmant + 1)
                off[i] = float(mpmath.ldexp(abs(value - exact), -last))
        else:  # right where the exact value rounds to infinity
            off[i] = 0 if abs(exact) >= mpmath.mpf(float(info.max)) * (1 + mpmath.ldexp(1, -info.nmant - 2)) else np.inf
    return off


def measure(which: str, name: str, x: Any, got: Any, wide: bool = True) -> tuple[Any, Any]:
    """How many units in the last place each of ``got`` is off, and where the result is subnormal.

    By ``in_numpy`` if ``wide``, else by arbitrary precision. Infinite ``x`` are left out (0): formulas need not go through there.
    """
    exact = in_numpy(which, name, x)
    subnormal = (np.abs(exact) < np.finfo(x.dtype).smallest_normal) & (exact != 0)
    if not wide:
        finite = np.isfinite(x)
        off = np.where(np.isinf(x) | (np.isnan(got) == np.isnan(exact)), 0, np.inf)
        off[finite] = ulps_off_in_mpmath(which, name, x[finite], got[finite])
        return off, subnormal
    off = ulps_off(got, exact)
    if not np.isfinite(off.max(initial=0)):
        off[np.isinf(x)] = 0
    return off, subnormal


# ---- inputs ----------------------------------------------------------------------------------------------------------


def float32_patterns(begin: int, end: int, step: int) -> Any:
    """float32 by bits: one of each ``step`` neighbours from pattern ``begin`` to ``end``; every one if ``step`` is 1."""
    bits = np.arange(begin, end, step, dtype=np.uint32)
    if step > 1:
        bits += np.random.Generator(np.random.PCG64(begin)).integers(0, step, bits.size, dtype=np.uint32)
    return bits.view(np.float32)


def float64_sample(seed: int, count: int) -> Any:
    """Numbers of every exponent and sign, and as many again of each of four kinds where functions do something."""
    random = np.random.Generator(np.random.PCG64(seed))
    n = count // 5
    near = np.ldexp(random.uniform(0.5, 1, n), random.integers(-40, 11, n)) * random.choice([-1.0, 1.0], n)
    bits = random.integers(0, 2**64, count - 4 * n, dtype=np.uint64).view(np.float64)
    return np.concatenate([bits, near, 2 * random.standard_normal(n), random.uniform(-40, 40, n), random.uniform(-750, 750, n)])


def hard_points(dtype: Any) -> Any:
    """Where formulas change over, saturate or vanish, of both signs, and the neighbours of each."""
    info = np.finfo(dtype)
    edges = [0, info.smallest_subnormal, info.smallest_normal, 5e-324, 2.3e-308, 1e-300, 1e-160, 1e-38, 1e-20, 1e-9, 1e-4]
    edges += [2.0**k for k in (-149, -126, -64, -53, -40, -27, -26, -24, -13, -12, -11, -4)]
    edges += [0.01, 0.1, 0.25, 0.5, 0.549, 0.66, 1, 1.2785, 1.5, 2, 2.4, 3, 5, 6, 8.3178, 9.011, 10, 16.636, 17.33, 18, 19.06]
    edges += [20, 36, 36.7, 37, 40, 43.67, 44.36, 50, 51.64, 51.99, 52.75, 87.337, 88.0297, 88.7228, 100, 103.28, 103.97]
    edges += [104, 105.5, 300, 354, 355, 372, 373, 373.5, 374, 700, 708, 708.396, 709, 709.78, 710, 744, 745, 745.13, 745.2, 746]
    edges += [
        750,
        1000,
        1e5,
        2.0**40,
        2.0**53,
        2.0**64,
        2.0**80,
        1e19,
        1.8e19,
        1e38,
        3.4e38,
        1e100,
        1e153,
        1e154,
        1.34e154,
        1e155,
    ]
    edges += [2.0**1000, 1e305, 1.7e308, info.max]
    edges += [k * np.log(2) / 4 for k in range(1, 80)]
    edges += [
        k * np.log(2) / 2 for k in (64, 126, 127, 128, 149, 150, 151, 500, 537, 538, 1000, 1022, 1023, 1024, 1074, 1075, 1076)
    ]
    with np.errstate(over="ignore", under="ignore"):
        x = np.array(edges, np.float64).astype(dtype)
        x = x[np.isfinite(x)]
        near = [x * dtype(1 + 2.0**-k) for k in (10, 16, 20, 30) if 2.0**-k > info.eps]
    near.append(x)
    for to in (0, np.inf):
        each = x
        for _ in range(3):
            with np.errstate(over="ignore", under="ignore"):
                each = np.nextafter(each, dtype(to))
            near.append(each)
    random = np.random.Generator(np.random.PCG64(3))
    near += [(2 * random.standard_normal(200)).astype(dtype), random.uniform(0.9, 1.3, 200).astype(dtype)]
    x = np.unique(np.abs(np.concatenate(near)))
    x = x[np.isfinite(x)]
    return np.concatenate([x, -x])


# ---- special values --------------------------------------------------------------------------------------------------


def wrong_specials(name: str, dtype: Any) -> Iterator[str]:
    """What is wrong of: NaN gives NaN, infinity the limit, 0 the value there, and its sign is kept where f passes through."""
    for which in WHICH:
        x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
        got = computed(which, name, x)
        formula = in_numpy(which, name, x)
        for i in range(2):
            if np.isnan(got[i]) != (which == "f" or np.isnan(formula[i])):  # a constant derivative is a number everywhere
                yield f"{which} of {name} in {dtype.__name__} at {x[i]} is {got[i]}"
        least = np.finfo(dtype).smallest_subnormal
        odd = in_mpmath(which, name, least) > 0 > in_mpmath(which, name, -least)
        for each, value in zip(x[2:], got[2:], strict=True):
            exact = limit(which, name, each) if each else in_mpmath(which, name, each)
            with np.errstate(over="ignore"):
                wanted = dtype(float(exact))
            right = value == wanted or (wanted != 0 and abs(float(value) - exact) <= LIMITS[which] * np.spacing(abs(wanted)))
            if not right or (each == 0 and odd and np.signbit(value) != np.signbit(each)):
                yield f"{which} of {name} in {dtype.__name__} at {each} is {value}, wanted {wanted}"
