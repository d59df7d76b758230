"""What the test files share: values, memory layouts, bits, error bounds, and programs run in an interpreter of their own."""

import gc
import hashlib
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import pynn
from pynn import _core

ROOT = Path(__file__).resolve().parent.parent
INSTRUCTION_SETS = pynn.instruction_sets()
DTYPES = ["float32", "float64"]
ACTIVATIONS = list(pynn.kernels.ACTIVATIONS)


@contextmanager
def using(instruction_set):
    """Run the kernels of one instruction set; no other thread may compute meanwhile."""
    before = pynn.instruction_set()
    assert _core.lib.pynn_use_instruction_set(instruction_set.encode()) == 0
    try:
        yield
    finally:
        assert _core.lib.pynn_use_instruction_set(before.encode()) == 0


@contextmanager
def threads(number):
    """Let a call use up to ``number`` threads."""
    before = pynn.get_num_threads()
    pynn.set_num_threads(number)
    try:
        yield
    finally:
        pynn.set_num_threads(before)


# ---- values ----------------------------------------------------------------------------------------------------------


def values(shape, dtype, seed=0):
    """Numbers between -1 and 1 that fill the mantissa, so that any change in the order of a sum shows in its bits."""
    random = np.random.Generator(np.random.PCG64([seed, *np.atleast_1d(shape)]))
    return (2 * random.random(shape) - 1).astype(dtype)


# ---- memory ----------------------------------------------------------------------------------------------------------


def _padded(array):
    room = np.full((*array.shape[:-1], array.shape[-1] + 3), np.nan, array.dtype)
    room[..., : array.shape[-1]] = array
    return room[..., : array.shape[-1]]


def _every_second(array):
    room = np.full(tuple(2 * n for n in array.shape), np.nan, array.dtype)
    view = room[tuple(slice(0, 2 * n, 2) for n in array.shape)]
    view[...] = array
    return view


def _shifted(array, step):
    room = np.empty(array.nbytes + 64 + step, np.uint8)
    start = -room.ctypes.data % 64 + step
    view = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


class Subclass(np.ndarray):
    """A subclass that any accidental arithmetic in Python would go through."""

    def __array_ufunc__(self, *arguments, **options):
        raise AssertionError("arithmetic on a subclass")


LAYOUTS = {
    "c_order": lambda array: np.array(array, order="C"),
    "fortran_order": lambda array: np.array(array, order="F"),
    "padded_rows": _padded,
    "every_second": _every_second,
    "backwards": lambda array: np.flip(np.flip(array).copy()),
    "off_cache_line": lambda array: _shifted(array, array.itemsize),
    "unaligned": lambda array: _shifted(array, 1),
    "byte_swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "read_only": _read_only,
    "unpickled": lambda array: pickle.loads(pickle.dumps(array)),  # has a dtype object of its own
    "subclass": lambda array: array.copy().view(Subclass),
}


class Fenced:
    """An output array with NaNs around it in the same allocation, which nothing may overwrite."""

    FENCE = 64

    def __init__(self, shape, dtype):
        size = int(np.prod(shape))
        self._room = np.full(size + 2 * self.FENCE, np.nan, dtype)
        self.array = self._room[self.FENCE : self.FENCE + size].reshape(shape)

    def intact(self):
        return bool(np.isnan(self._room[: self.FENCE]).all() and np.isnan(self._room[-self.FENCE :]).all())


# ---- bits ------------------------------------------------------------------------------------------------------------


def same_bits(a, b):
    """Whether shape, dtype and bits are the same, where all NaNs count as one (IEEE 754 leaves their payload open)."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    word = np.dtype(f"u{a.itemsize}")
    same = np.ascontiguousarray(a).view(word) == np.ascontiguousarray(b).view(word)
    return bool((same | (np.isnan(a) & np.isnan(b))).all())


def digest(*arrays):
    """SHA-256 of the arrays' bytes in C order."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


# ---- error bounds ----------------------------------------------------------------------------------------------------


def unit(dtype):
    """Unit roundoff u: the largest relative error of one rounded operation."""
    return float(np.finfo(dtype).eps) / 2


def sum_bound(terms, magnitude, dtype):
    """How far two ways to sum ``terms`` rounded products may lie apart; ``magnitude`` is the same sum of absolute values.

    Each way is within n u / (1 - n u) times that of the exact sum, where it takes n operations (Higham, Accuracy and Stability
    of Numerical Algorithms, 3.1).
    """
    n = terms + 2
    gamma = n * unit(dtype) / (1 - n * unit(dtype))
    return 2 * gamma * np.asarray(magnitude, np.float64) + float(np.finfo(dtype).smallest_subnormal)


# ---- references ------------------------------------------------------------------------------------------------------


def assert_references_stay(calls, held):
    """Calling it over and over leaves the reference counts of these objects as they were, but for what others do."""
    calls()
    gc.collect()
    before = [sys.getrefcount(each) for each in held]
    for _ in range(200):
        calls()
    gc.collect()
    changes = [sys.getrefcount(each) - count for each, count in zip(held, before, strict=True)]
    assert all(abs(change) < 100 for change in changes), changes


# ---- other processes -------------------------------------------------------------------------------------------------


def python(program, *arguments, timeout=120, **environment):
    """Run a program in a new interpreter, warnings as errors; the environment loses pynn's own variables, unless given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYNN_")}
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    return subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, timeout=timeout, check=False)


def output(program, *arguments, **options):
    """What a program prints; it must succeed and have nothing to complain about."""
    result = python(program, *arguments, **options)
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert result.stderr == ""
    return result.stdout.strip()
