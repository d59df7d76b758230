"""Metrics: how good predictions are, in numbers that people read.

A metric is a function of a prediction and its target that gives a float; ``fit`` and ``evaluate`` of a network take a list of
them, of one's own too. Here a prediction is what a network gives: (samples, classes) scores, the greatest of which is the answer;
(samples,) or (samples, 1) scores of class 1, which is the answer above ``threshold``; or (samples,) classes as whole numbers.
A target is (samples,) or (samples, 1) classes, or (samples, classes) with the greatest number at the class. For scores that are
logits, ``threshold`` is 0.

Wrong shapes, no samples at all, or classes that are not whole numbers from 0 up are a ``ValueError``, anything but real numbers
a ``TypeError``. Counts are whole numbers and sums are exact, so that a metric is the same on every machine.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Metric = Callable[[Any, Any], float]

__all__ = [
    "accuracy",
    "confusion_matrix",
    "f1",
    "mean_absolute_error",
    "precision",
    "r2",
    "recall",
    "top_k_accuracy",
]


def _real(values: ArrayLike, where: str, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{where}: {name} has dtype {array.dtype}, wanted real numbers")
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(f"{where}: {name} has shape {array.shape}, wanted (samples,) or (samples, outputs), at least one sample")
    return array


def _whole(array: NDArray[Any], where: str, name: str) -> NDArray[np.int64]:
    with np.errstate(invalid="ignore"):
        labels = array.astype(np.int64)
    if not (labels == array).all() or labels.min() < 0:
        raise ValueError(f"{where}: {name} has classes that are not whole numbers from 0 up")
    return labels


def _classes(
    prediction: ArrayLike, target: ArrayLike, threshold: float, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """The classes (samples,) of a prediction and of its target, and whether there are only classes 0 and 1 of one score."""
    scores, truth = _real(prediction, where, "prediction"), _real(target, where, "target")
    if len(scores) != len(truth):
        raise ValueError(f"{where}: prediction has {len(scores)} samples and target {len(truth)}")
    columns = scores.shape[1] if scores.ndim == 2 else 1
    if truth.ndim == 2 and truth.shape[1] > 1:
        if truth.shape[1] != columns:
            raise ValueError(f"{where}: prediction has shape {scores.shape} and target {truth.shape}")
        truth = truth.argmax(axis=1)
    labels = _whole(truth.reshape(-1), where, "target")
    if columns > 1:
        if labels.max() >= columns:
            raise ValueError(f"{where}: target has the class {labels.max()}, prediction {columns} columns")
        return scores.argmax(axis=1), labels, False
    scores = scores.reshape(-1)
    if scores.dtype.kind == "f":
        if labels.max() > 1:
            raise ValueError(f"{where}: target has the class {labels.max()}, a prediction of one score has classes 0 and 1")
        return (scores > threshold).astype(np.int64), labels, True
    answers = _whole(scores, where, "prediction")
    return answers, labels, bool(answers.max() <= 1 and labels.max() <= 1)


def accuracy(prediction: ArrayLike, target: ArrayLike, threshold: float = 0.5) -> float:
    """A = 1/n Σ [y = ŷ], the fraction of the n samples whose class y is the right one ŷ (Finley, 1884).

    >>> import numpy as np
    >>> accuracy(np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]), np.array([0, 1, 1]))
    0.6666666666666666
    >>> accuracy(np.array([[0.9], [0.4]]), np.array([[1.0], [0.0]]))
    1.0
    """
    answer, truth, _ = _classes(prediction, target, threshold, "accuracy")
    return int((answer == truth).sum()) / len(truth)


def top_k_accuracy(prediction: ArrayLike, target: ArrayLike, k: int = 5) -> float:
    """A_k = 1/n Σ [rank of ŷ <= ``k``], the fraction of samples whose class ŷ is among the ``k`` of the greatest scores
    (Russakovsky et al., 2015); of equal scores the later class goes before. ``prediction`` is (samples, classes).

    >>> import numpy as np
    >>> top_k_accuracy(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]), k=2)
    0.5
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"top_k_accuracy: k is {k!r}, wanted a whole number from 1 up")
    scores = _real(prediction, "top_k_accuracy", "prediction")
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(f"top_k_accuracy: prediction has shape {scores.shape}, wanted (samples, classes)")
    _, truth, _ = _classes(scores, target, 0.5, "top_k_accuracy")
    best = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]
    return int((best == truth[:, None]).any(axis=1).sum()) / len(truth)


def confusion_matrix(
    prediction: ArrayLike, target: ArrayLike, classes: int | None = None, threshold: float = 0.5
) -> NDArray[np.int64]:
    """M_ij = Σ [ŷ = i] [y = j], how many samples of class i (row) were taken for class j (column) (Miller and Nicely, 1955):
    (classes, classes) of int64.

    ``classes`` defaults to the columns of the prediction, or else to the greatest class there is plus one, at least 2.

    >>> import numpy as np
    >>> confusion_matrix(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    array([[2, 1],
           [0, 1]])
    """
    answer, truth, _ = _classes(prediction, target, threshold, "confusion_matrix")
    shape = np.shape(prediction)
    least = int(max(answer.max(), truth.max())) + 1
    size = classes if classes is not None else shape[1] if len(shape) == 2 and shape[1] > 1 else max(2, least)
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < least:
        raise ValueError(f"confusion_matrix: classes is {classes!r}, wanted at least {least}")
    return np.bincount(truth * size + answer, minlength=size * size).reshape(size, size)


def _ratio(hits: int, of: int) -> float:
    return hits / of if of else 0.0


def _averaged(
    prediction: ArrayLike, target: ArrayLike, average: str, threshold: float, where: str, of: Callable[[int, int, int], float]
) -> float:
    """``of(true positives, false positives, false negatives)`` of class 1, of all classes together, or the mean of each one's."""
    answer, truth, binary = _classes(prediction, target, threshold, where)
    if average not in ("auto", "binary", "macro", "micro"):
        raise ValueError(f'{where}: average is {average!r}, wanted "auto", "binary", "macro" or "micro"')
    if average == "auto":
        average = "binary" if binary else "macro"
    if average == "binary" and max(answer.max(), truth.max()) > 1:
        raise ValueError(f'{where}: average is "binary", but there are more than two classes')
    size = max(2, int(max(answer.max(), truth.max())) + 1)
    hits = np.bincount(truth[answer == truth], minlength=size)
    wrong, missed = np.bincount(answer, minlength=size) - hits, np.bincount(truth, minlength=size) - hits
    if average == "micro":
        return of(int(hits.sum()), int(wrong.sum()), int(missed.sum()))
    each = [of(int(hits[i]), int(wrong[i]), int(missed[i])) for i in range(size)]
    if average == "binary":
        return each[1]
    there = [value for value, count in zip(each, hits + wrong + missed, strict=True) if count]
    return math.fsum(there) / len(there)


def precision(prediction: ArrayLike, target: ArrayLike, average: str = "auto", threshold: float = 0.5) -> float:
    """P = TP / (TP + FP), of true and false positives (Kent et al., 1955); 0 where nothing was taken for the class.

    ``average`` is ``"binary"``, for class 1 of two; ``"macro"``, the mean over the classes that occur in prediction or target;
    ``"micro"``, of all classes' counts together; or ``"auto"``: binary for one score, or classes 0 and 1, else macro.

    >>> import numpy as np
    >>> precision(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))
    0.5
    """
    return _averaged(prediction, target, average, threshold, "precision", lambda hits, wrong, missed: _ratio(hits, hits + wrong))


def recall(prediction: ArrayLike, target: ArrayLike, average: str = "auto", threshold: float = 0.5) -> float:
    """R = TP / (TP + FN), of true positives and false negatives (Kent et al., 1955); 0 where the class is not in the target.
    ``average`` is as in ``precision``.

    >>> import numpy as np
    >>> recall(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]))
    1.0
    """
    return _averaged(prediction, target, average, threshold, "recall", lambda hits, wrong, missed: _ratio(hits, hits + missed))


def f1(prediction: ArrayLike, target: ArrayLike, average: str = "auto", threshold: float = 0.5) -> float:
    """F₁ = 2 P R / (P + R) = 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall (van Rijsbergen, 1979); 0 where
    there is nothing to count. ``average`` is as in ``precision``.

    >>> import numpy as np
    >>> f1(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]))
    0.6666666666666666
    """
    return _averaged(
        prediction, target, average, threshold, "f1", lambda hits, wrong, missed: _ratio(2 * hits, 2 * hits + wrong + missed)
    )


def _numbers(prediction: ArrayLike, target: ArrayLike, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as (samples, outputs) of float64."""
    arrays = [_real(values, where, name) for values, name in ((prediction, "prediction"), (target, "target"))]
    a, b = (array.astype(np.float64).reshape(len(array), -1) for array in arrays)
    if a.shape != b.shape:
        raise ValueError(f"{where}: prediction has shape {arrays[0].shape} and target {arrays[1].shape}")
    return a, b


def _sum(values: NDArray[np.float64]) -> float:
    return math.fsum(values.tolist()) if np.isfinite(values).all() else math.nan


def mean_absolute_error(prediction: ArrayLike, target: ArrayLike) -> float:
    """MAE = 1/n Σ |y - ŷ| over all n numbers (Boscovich, 1757); (samples,) or (samples, outputs). NaN where a difference is not
    finite.

    >>> import numpy as np
    >>> mean_absolute_error(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    1.5
    """
    given, wanted = _numbers(prediction, target, "mean_absolute_error")
    return _sum(np.abs(given - wanted).reshape(-1)) / given.size


def r2(prediction: ArrayLike, target: ArrayLike) -> float:
    """R² = 1 - Σ (y - ŷ)² / Σ (ŷ - mean ŷ)², the coefficient of determination (Wright, 1921), its mean over the outputs.

    An output whose target never changes counts 1 if it is met exactly, else 0. NaN for a single sample, or where a number is
    not finite.

    >>> import numpy as np
    >>> r2(np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    0.5
    """
    given, wanted = _numbers(prediction, target, "r2")
    if len(given) < 2:
        return math.nan
    each = []
    for y, t in zip(given.T, wanted.T, strict=True):
        left, all_of_it = _sum((y - t) ** 2), _sum((t - _sum(t) / len(t)) ** 2)
        each.append(1.0 - left / all_of_it if all_of_it else float(left == 0.0))
    return math.fsum(each) / len(each)


LOWER_IS_BETTER = ("cost", "mean_absolute_error")


def named(metrics: Sequence[Metric | str] | Mapping[str, Metric], where: str, threshold: float = 0.5) -> dict[str, Metric]:
    """The metrics by their names: ``__name__`` of a function, the key in a dict, the name of one in this module, which gets
    the ``threshold`` if it takes one.

    >>> list(named(["accuracy", r2], "fit"))
    ['accuracy', 'r2']
    """
    if isinstance(metrics, str) or callable(metrics):
        raise TypeError(f"{where}: metrics is {metrics!r}, wanted a list of functions or names, or a dict from name to function")
    pairs: list[tuple[Any, Any]] = list(metrics.items()) if isinstance(metrics, Mapping) else []
    for metric in () if isinstance(metrics, Mapping) else metrics:
        if isinstance(metric, str):
            if metric not in __all__ or metric == "confusion_matrix":
                raise ValueError(f"{where}: no metric {metric!r}; there are {', '.join(set_of_numbers())}")
            function = globals()[metric]
            takes = "threshold" in inspect.signature(function).parameters
            pairs.append((metric, functools.partial(function, threshold=threshold) if takes else function))
        else:
            function = getattr(metric, "func", metric)  # of a functools.partial
            pairs.append((getattr(function, "__name__", type(function).__name__), metric))
    result: dict[str, Metric] = {}
    for name, metric in pairs:
        if not callable(metric):
            raise TypeError(f"{where}: the metric {metric!r} is not a function of (prediction, target)")
        if name in result or name == "cost":
            raise ValueError(f"{where}: two metrics named {name!r}; a dict gives them names of your own")
        result[name] = metric
    return result


def set_of_numbers() -> list[str]:
    """The names of the metrics here that give one number.

    >>> "accuracy" in set_of_numbers()
    True
    """
    return [name for name in __all__ if name != "confusion_matrix"]
