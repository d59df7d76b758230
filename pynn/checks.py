"""What is given, as what is wanted of it; or an exception that says what was given, what was wanted, and where.

Every check is told ``where`` it stands, a function or a class, and the ``name`` of what it judges, for its message. Plain arrays
are checked in C (csrc/python/), and come here only if it declines them.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # numpy.typing would be a fifth of the time that pynn takes to import
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[Any]  # float32 or float64

F32 = np.dtype(np.float32)
F64 = np.dtype(np.float64)

# ---- arrays ----------------------------------------------------------------------------------------------------------------


def as_floats(value: ArrayLike, where: str, name: str, dtype: np.dtype[Any] | None = None) -> Array:
    """``value`` as an array of ``dtype`` (or of the float dtype that suits it), itself if it is one already.

    Raises ``TypeError`` for what is not real numbers, naming ``where`` and ``name``.

    >>> as_floats([1, 2], "example", "x")
    array([1., 2.])
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(
            f"{where}: {name} has dtype {array.dtype}, wanted float32 or float64 (integers and booleans are converted)"
        )
    if dtype is None:
        dtype = F32 if array.dtype.kind == "f" and array.dtype.itemsize < 8 else F64
    return array.astype(dtype, copy=False)


def same_shape(where: str, **arrays: Array) -> None:
    """``ValueError`` unless the two arrays have one shape."""
    (name, a), (other, b) = arrays.items()
    if a.shape != b.shape:
        raise ValueError(f"{where}: {name} has shape {a.shape}, {other} has shape {b.shape}; they must be the same")


def changeable(parameters: Array, where: str) -> None:
    """``TypeError`` or ``ValueError`` unless ``parameters`` is an array of float32 or float64 that may be written to."""
    if not isinstance(parameters, np.ndarray) or parameters.dtype not in (F32, F64):
        kind = parameters.dtype if isinstance(parameters, np.ndarray) else type(parameters).__name__
        raise TypeError(f"{where}: parameters are {kind}, wanted an array of float32 or float64, which is changed in place")
    if not parameters.flags.writeable:
        raise ValueError(f"{where}: parameters are read-only")


def checked_gradients(parameters: Array, gradients: ArrayLike, where: str) -> Array:
    """``gradients`` in the dtype of ``parameters``; ``TypeError`` for what is not numbers, ``ValueError`` for another shape."""
    gradients = as_floats(gradients, where, "gradients", F32 if parameters.dtype == F32 else F64)
    same_shape(where, parameters=parameters, gradients=gradients)
    return gradients


def as_rates(given: Any, first: int, count: int, where: str) -> Array:
    """What a schedule gave as the learning rates of ``count`` steps from ``first`` on, as the engine reads them."""
    array = given if type(given) is np.ndarray else np.asarray(given)
    if array.dtype.kind not in "fiu" or array.shape != (count,):
        got = f"{array.dtype} of shape {array.shape}" if type(given) is np.ndarray else repr(given)
        raise (ValueError if array.dtype.kind in "fiu" else TypeError)(
            f"{where}, gave {got} for {count} steps from step {first} on, wanted a float64 array ({count},)"
        )
    rates = np.ascontiguousarray(array, F64)
    if count and not 0 <= rates.min() <= rates.max() < np.inf:
        at = int((~((rates >= 0) & (rates < np.inf))).argmax())
        raise ValueError(f"{where}, gave {rates[at]} for step {first + at}, wanted a finite number from 0 up")
    return rates


def deliver(result: Array, out: Array | None, where: str, name: str = "out") -> Array:
    """``result``, in ``out`` if there is one. Written only now that all inputs have been read, so overlap does no harm."""
    if out is None:
        return result
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{where}: {name} is a {type(out).__name__}, wanted a numpy.ndarray")
    if out.dtype != result.dtype:
        raise TypeError(f"{where}: {name} has dtype {out.dtype}, wanted {result.dtype}")
    if out.shape != result.shape:
        raise ValueError(f"{where}: {name} has shape {out.shape}, wanted {result.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{where}: {name} is read-only")
    np.copyto(out, result)
    return out


# ---- numbers ---------------------------------------------------------------------------------------------------------------

_BETWEEN = {"delta": (0.0, np.inf), "quantile": (0.0, 1.0)}  # the ends excluded; parameters that are not here may be any number


def _one_number(value: Any, where: str, name: str) -> float:
    """``value`` as a float, infinite if too large; ``TypeError`` for what is not one real number, as bools and arrays are not."""
    kind = getattr(getattr(value, "dtype", None), "kind", "O")  # NumPy's bools, texts and complex numbers have a __float__
    if isinstance(value, bool) or kind not in "fiuO" or not hasattr(value, "__float__") or np.ndim(value):
        raise TypeError(f"{where}: {name} is {value!r}, wanted a number")
    try:
        return float(value)
    except OverflowError:
        return np.inf
    except (TypeError, ValueError):
        raise TypeError(f"{where}: {name} is {value!r}, wanted a number") from None


def as_parameter(value: float, where: str, name: str) -> float:
    """``value`` as a finite float; ``TypeError`` for what is not a number, ``ValueError`` for what is not finite, or outside of
    what a parameter of that name may be.

    >>> as_parameter(1, "example", "delta")
    1.0
    """
    number = _one_number(value, where, name)
    if not np.isfinite(number):
        raise ValueError(f"{where}: {name} is {value!r}, wanted a finite number")
    least, most = _BETWEEN.get(name, (-np.inf, np.inf))
    if not least < number < most:
        raise ValueError(f"{where}: {name} is {value!r}, wanted {bounds(name)}")
    return number


def bounds(name: str) -> str:
    """What the parameter of that name may be, in words.

    >>> bounds("quantile"), bounds("delta"), bounds("alpha")
    ('a number above 0 and below 1', 'a number above 0', 'a finite number')
    """
    least, most = _BETWEEN.get(name, (-np.inf, np.inf))
    text = "a finite number" if least == -np.inf else f"a number above {least:g}"
    return text if most == np.inf else f"{text} and below {most:g}"


def as_number(value: Any, where: str, name: str, least: float = 0, below: float = np.inf) -> float:
    """``value`` as a float from ``least`` up to, but not, ``below``; ``TypeError`` or ``ValueError`` otherwise.

    >>> as_number(1, "example", "rate", 0)
    1.0
    """
    number = _one_number(value, where, name)
    if not least <= number < below:
        end = "up" if below == np.inf else f"up to below {below:g}"
        raise ValueError(f"{where}: {name} is {value!r}, wanted a finite number from {least:g} {end}")
    return number


def as_rate(value: float, where: str) -> float:
    """``value`` as the rate of a dropout, from 0 up and below 1; ``TypeError`` or ``ValueError`` for any other.

    >>> as_rate(0.5, "example")
    0.5
    """
    rate = as_parameter(value, where, "rate")
    if not 0 <= rate < 1:
        raise ValueError(f"{where}: rate is {value!r}, wanted a number from 0 up and below 1")
    return rate


def as_counter(value: int, where: str, name: str) -> int:
    """``value`` as a whole number of 64 bits; ``TypeError`` or ``ValueError`` for any other.

    >>> as_counter(7, "example", "seed")
    7
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}: {name} is {value!r}, wanted an integer")
    if not 0 <= value < 2**64:
        raise ValueError(f"{where}: {name} is {value}, wanted an integer from 0 up and below 2^64")
    return int(value)


def as_integer(value: int, where: str, name: str, least: int) -> int:
    """``value`` as an integer from ``least`` up; ``TypeError`` or ``ValueError`` for any other.

    >>> as_integer(7, "example", "epochs", 1)
    7
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}: {name} is {value!r}, wanted an integer") from None
    if isinstance(value, bool) or number < least:
        raise (TypeError if isinstance(value, bool) else ValueError)(
            f"{where}: {name} is {value!r}, wanted an integer from {least} up"
        )
    return number


def as_flag(value: Any, where: str, name: str) -> bool:
    """``value`` as a bool; ``TypeError`` for what is none.

    >>> as_flag(True, "example", "nesterov")
    True
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{where}: {name} is {value!r}, wanted True or False")
    return bool(value)
