"""A data set to try a network on, and the two things that every data set needs done to it. NumPy alone.

>>> import pynn
>>> digits = pynn.datasets.load_digits()
>>> x_train, x_test, label_train, label_test = pynn.datasets.train_test_split(*digits, seed=0, stratify=digits.label)
>>> x_train.shape, x_test.shape
((1437, 64), (360, 64))
>>> pynn.datasets.one_hot(label_train, 10).shape
(1437, 10)
"""

from __future__ import annotations

import operator
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from pynn import checks


class Digits(NamedTuple):
    """Images of handwritten digits and what they show.

    ``x`` is float32 (samples, 64), each sample 8 rows of 8 pixels from 0 (paper) to 1 (ink); ``label`` is int64 (samples,).

    >>> import pynn
    >>> pynn.datasets.load_digits().x[0].reshape(8, 8)[1]
    array([0.    , 0.    , 0.8125, 0.9375, 0.625 , 0.9375, 0.3125, 0.    ],
          dtype=float32)
    """

    x: NDArray[np.float32]
    label: NDArray[np.int64]


def load_digits() -> Digits:
    """The 1,797 digits of the test part of UCI's Optical Recognition of Handwritten Digits, in their order there.

    E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0; pynn/data/README.md says what was done to
    them. Every call reads the file anew, so the arrays are the caller's to change.

    >>> import pynn
    >>> x, label = pynn.datasets.load_digits()
    >>> x.shape, x.dtype, label.shape, label.dtype
    ((1797, 64), dtype('float32'), (1797,), dtype('int64'))
    >>> label[:10]
    array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    with resources.files("pynn").joinpath("data/digits.npz").open("rb") as file, np.load(file) as arrays:
        return Digits(arrays["images"] / np.float32(16), arrays["labels"].astype(np.int64))


def one_hot(label: ArrayLike, classes: int | None = None, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Targets (samples, classes) of ``dtype`` for labels (samples,): 1 in the label's column, 0 elsewhere.

    ``classes`` defaults to one more than the largest label. A label that is not from 0 to ``classes - 1``, or labels that are not
    1-D, are a ``ValueError``, labels that are not integers a ``TypeError``.

    >>> one_hot([0, 2, 1])
    array([[1., 0., 0.],
           [0., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    labels = np.asarray(label)
    if labels.ndim != 1:
        raise ValueError(f"one_hot: label has shape {labels.shape}, wanted (samples,)")
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"one_hot: label has dtype {labels.dtype}, wanted integers")
    largest = int(labels.max(initial=0))
    count = _integer(classes, "one_hot: classes") if classes is not None else (largest + 1 if labels.size else 0)
    if labels.size and (int(labels.min()) < 0 or largest >= count):
        raise ValueError(f"one_hot: label goes from {labels.min()} to {largest}, wanted 0 to {count - 1}")
    targets = np.zeros((len(labels), count), dtype)
    targets[np.arange(len(labels)), labels.astype(np.intp)] = 1
    return targets


def train_test_split(
    *arrays: ArrayLike, test_size: float = 0.2, seed: int | None = None, stratify: ArrayLike | None = None
) -> list[NDArray[Any]]:
    """Each array's rows, shuffled and shared out: ``[a_train, a_test, b_train, b_test, ...]``, as scikit-learn's function gives.

    All arrays have the same number of rows, of which the fraction ``test_size``, rounded up, is held out. One ``seed`` gives one
    split, on every machine; None gives a new one each time. With ``stratify``, a label for each row, each label's share of the
    held-out rows is its share of all, to within one row. The results are copies.

    Raises ``ValueError`` for arrays that differ in rows, for no arrays, and for a ``test_size`` that leaves a side empty.

    >>> import numpy as np
    >>> x_train, x_test = train_test_split(np.arange(10), seed=0)
    >>> len(x_train), len(x_test), sorted([*x_train, *x_test]) == list(range(10))
    (8, 2, True)
    >>> label = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    >>> train_test_split(label, test_size=0.4, seed=0, stratify=label)[1].sum()
    np.int64(2)
    """
    tables = [np.asarray(array) for array in arrays]
    if not tables:
        raise ValueError("train_test_split: no arrays")
    every = tables if stratify is None else [*tables, np.asarray(stratify)]
    if any(table.ndim == 0 for table in every) or len({len(table) for table in every}) > 1:
        shapes = ", ".join(str(table.shape) for table in every)
        raise ValueError(f"train_test_split: the arrays have shapes {shapes}, wanted the same number of rows")
    rows = len(tables[0])
    if isinstance(test_size, bool) or not isinstance(test_size, (int, float, np.integer, np.floating)):
        raise TypeError(f"train_test_split: test_size is {test_size!r}, wanted a number between 0 and 1")
    held_out = int(np.ceil(rows * test_size)) if 0 < test_size < 1 else 0
    if not 0 < held_out < rows:
        raise ValueError(f"train_test_split: test_size={test_size!r} of {rows} rows leaves one side empty")
    # Named rather than default_rng, which may become another generator
    random = np.random.Generator(
        np.random.PCG64(seed if seed is None else checks.as_integer(seed, "train_test_split", "seed", 0))
    )
    order = random.permutation(rows)
    if stratify is not None:
        order = order[np.argsort(np.asarray(stratify)[order], kind="stable")]
    # Every (rows / held_out)-th in that order: where labels lie side by side, each gives its share
    step = np.arange(rows + 1) * held_out // rows
    test = step[1:] > step[:-1]
    # and shuffled again, lest they come out by label
    train_rows, test_rows = random.permutation(order[~test]), random.permutation(order[test])
    return [table[chosen] for table in tables for chosen in (train_rows, test_rows)]


def _integer(value: Any, where: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{where} is {value!r}, wanted an integer") from None
