"""What a network is given to learn from and to be judged by: x, y and weights as users have them, as arrays that its plan takes.

Every function takes the network, for its dtype, its widths, its cost and, in errors, its layers. Whatever is wrong with data is
said here before anything has changed; :mod:`pynn.checks` has what needs no network, :mod:`pynn.training` the loop over what
comes out. Rows in a file larger than memory are converted a part at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pynn import checks, training
from pynn.layers import check_features

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pynn.checks import Array
    from pynn.network import Network

CHUNK = 2**24  # bytes of a file that are converted at once

# ---- arrays ----------------------------------------------------------------------------------------------------------------


def features(network: Network, x: ArrayLike) -> Array:
    """x in the network's dtype, of as many features as it takes."""
    first = f"Network, {network.layers[0]!r}"
    array = checks.as_floats(x, first, "x", network._dtype)
    if network._in is not None:
        check_features(array, first, "x", network._in)
    elif array.ndim not in (1, 2):
        raise ValueError(f"{first}: x has shape {array.shape}, wanted (features,) or (samples, features)")
    return array


def pair(network: Network, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """x and its target in the network's dtype, with rows side by side in memory, and as many of one as of the other."""
    x = features(network, x)
    y = _target(network, y, x.shape)
    x, y = _plain(x), _plain(y)
    if np.may_share_memory(x, network._parameters) or np.may_share_memory(y, network._parameters):
        return x.copy(), y.copy()  # training would change them
    return x, y


def kept(network: Network, x: Any, y: Any) -> tuple[Any, Any]:
    """The same for many passes over x and y; one over a file has to read it once more, so they stay as they are."""
    return (x, y) if _in_file(x, network._dtype) else pair(network, x, y)


def weights(
    network: Network,
    sample_weight: ArrayLike | None,
    x: ArrayLike,
    where: str,
    y: ArrayLike | None = None,
    class_weight: Mapping[int, float] | str | None = None,
) -> Array:
    """The weights (samples,) of the rows of x, times those of their classes, in the network's dtype, checked."""
    import inspect

    shape = np.shape(x)
    if len(shape) != 2:
        raise ValueError(f"{where}: x has shape {shape}, wanted (samples, features) where samples have weights")
    rows = shape[0]
    try:
        inspect.signature(network.cost).bind(None, None, None)
    except TypeError:
        raise TypeError(f"{where}: sample_weight or class_weight with a cost that takes none, {network.cost!r}") from None
    product = np.ones(rows) if sample_weight is None else training.checked_weights(sample_weight, rows, where)
    given = ["sample_weight"] if sample_weight is not None else []
    with np.errstate(over="ignore"):
        if class_weight is not None and y is not None:
            product = product * training.class_weights(y, class_weight, where)
            given.append("class_weight")
        rounded = product.astype(network._dtype)
    training.checked_weights(rounded, rows, where, f"{' times '.join(given)}, in {network._dtype},")
    return rounded


def _target(network: Network, y: ArrayLike, x_shape: tuple[int, ...]) -> Array:
    """The target of an x of this shape: numbers in the network's dtype, or classes if the cost takes those."""
    out = network._out if network._plan is not None else None
    if getattr(network.cost, "takes_labels", False):
        labels = np.asarray(y)
        if labels.dtype.kind in "iub" and labels.shape == x_shape[:-1]:
            labels = labels.astype(np.int64, copy=False)
            if labels.size and (labels.min() < 0 or (out is not None and labels.max() >= out)):
                there = "0 up" if out is None else f"0 to {out - 1}, for the last layer gives {out}"
                there += "; pynn.BinaryCrossEntropy() is for one number that tells two classes apart" if out == 1 else ""
                raise ValueError(f"Network: y has classes from {labels.min()} to {labels.max()}, wanted {there}")
            return labels
    y = checks.as_floats(y, "Network", "y", network._dtype)
    if y.ndim == len(x_shape) - 1 and out in (1, None):
        y = y[..., None]  # one number for each sample
    wanted = (*x_shape[:-1], y.shape[-1] if out is None and y.ndim else out)
    if y.shape != wanted:
        if y.ndim == len(x_shape) == 2:
            _as_many(x_shape, y)
        raise ValueError(
            f"Network, {network.layers[-1]!r}: y has shape {y.shape}, wanted {wanted} for x of shape {x_shape}"
            + _advice_on_classes(network, y, x_shape)
        )
    return y


def _as_many(x_shape: tuple[int, ...], y: Array) -> None:
    if len(y) != x_shape[0]:
        raise ValueError(f"Network: x has {x_shape[0]} rows and y {len(y)} (shapes {x_shape} and {y.shape})")


def _advice_on_classes(network: Network, y: Array, x_shape: tuple[int, ...]) -> str:
    """What to do about a y that does not fit but may be classes, one for each sample."""
    if y.size != math.prod(x_shape[:-1]) or not (y == np.floor(y)).all():
        return ""
    if getattr(network.cost, "takes_labels", False):
        return f"; if it is classes, {x_shape[:-1]} of integers"
    return "; if it is classes, pynn.SoftmaxCrossEntropy() takes them as they are, other costs want pynn.datasets.one_hot(y)"


def _plain(array: Array) -> Array:
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.require(array, requirements=["C", "A"])


def _in_file(array: Any, dtype: np.dtype[Any]) -> bool:
    """Whether it lies in a file, perhaps larger than memory, that C cannot read as it is."""
    if not isinstance(array, np.ndarray) or (array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned):
        return False
    owner: Any = array
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    return isinstance(owner, np.memmap)


# ---- to learn from ---------------------------------------------------------------------------------------------------------


def step_on_rows(network: Network, x: Any, y: Any, weights: Array | None) -> tuple[training.Step, int]:
    """How to train on rows of x and y, and how many there are."""
    if _in_file(x, network._dtype) or _in_file(y, network._dtype):
        return _step_on_rows_in_file(network, x, y, weights)
    x, y = pair(network, x, y)
    if x.ndim != 2:
        raise ValueError(f"fit: x has shape {x.shape}, wanted (samples, features)")
    if network._trains_in_c():
        y = y.astype(network._dtype, copy=False)  # classes, once for all epochs

    def step(order: NDArray[np.int64] | None, first: int, rows: int, batch: int, costs: NDArray[np.float64]) -> None:
        network._train(x, y, order, first, rows, batch, costs, weights)

    return step, len(x)


def _step_on_rows_in_file(network: Network, x: Any, y: Any, weights: Array | None) -> tuple[training.Step, int]:
    """The same where x or y is a file whose numbers C does not take as they lie: a part of it is converted at a time."""
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or not y.ndim:
        raise ValueError(f"fit: x has shape {x.shape}, wanted (samples, features); y has shape {y.shape}")
    _as_many(x.shape, y)
    pair(network, x[:1], y[:1])
    of_a_row = network._dtype.itemsize * (x.shape[1] + y[:1].size)

    def step(order: NDArray[np.int64] | None, first: int, rows: int, batch: int, costs: NDArray[np.float64]) -> None:
        at_once = batch * max(1, CHUNK // (batch * of_a_row))
        for begin in range(first, first + rows, at_once):
            end = min(begin + at_once, first + rows)
            chosen: Any = slice(begin, end) if order is None else order[begin:end]
            some_x, some_y = pair(network, x[chosen], y[chosen])
            some = costs[begin // batch : -(-end // batch)]
            network._train(some_x, some_y, None, 0, end - begin, batch, some, None if weights is None else weights[chosen])

    return step, len(x)


def step_on_batch(
    network: Network, batches: Any, sample_weight: ArrayLike | None, class_weight: Mapping[int, float] | str | None
) -> Callable[[Any], tuple[float, int, float]]:
    """How to train on one of an iterable of batches, (x, y) or (x, y, sample_weight) each: gives its cost, rows and weight."""
    if isinstance(batches, np.ndarray) or not isinstance(batches, Iterable):
        advice = f"; a {type(batches).__name__} is to be called for them" if callable(batches) else ""
        raise TypeError(f"fit: y has dtype object (None), wanted numbers; without y, x is an iterable of batches (x, y){advice}")
    if sample_weight is not None or isinstance(class_weight, str):
        raise ValueError("fit: weights of batches come with them, as (x, y, sample_weight); class_weight may be a dict")

    def step(batch: Any) -> tuple[float, int, float]:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise TypeError(f"fit: a batch is a {type(batch).__name__}, wanted (x, y) or (x, y, sample_weight)")
        given = batch[2] if len(batch) == 3 else None
        x, y = pair(network, batch[0], batch[1])
        rows = len(x)
        if x.ndim != 2 or not rows:
            raise ValueError(f"fit: a batch's x has shape {x.shape}, wanted (samples, features) with at least one sample")
        costs = np.empty(1)
        if given is None and class_weight is None:
            network._train(x, y, None, 0, rows, rows, costs)
            return costs.item(), rows, float(rows)
        of_rows = weights(network, given, x, "fit", batch[1], class_weight)
        network._train(x, y, None, 0, rows, rows, costs, of_rows)
        return costs.item(), rows, training.batch_weights(of_rows, rows)[0]

    return step


# ---- to be judged by -------------------------------------------------------------------------------------------------------


def split(x: Any, y: Any, sample_weight: Any, part: float) -> tuple[Any, Any]:
    """(x, y, sample_weight) without the last ``part`` of their rows, and these."""
    if isinstance(part, bool) or not isinstance(part, (float, np.floating)) or not 0 < part < 1:
        raise ValueError(f"fit: validation_split is {part!r}, wanted a number between 0 and 1")
    arrays: list[Any] = [
        each if isinstance(each, np.ndarray) or each is None else np.asarray(each) for each in (x, y, sample_weight)
    ]
    sizes = {each.shape[:1] for each in arrays if each is not None}
    if len(sizes) > 1 or () in sizes:
        shapes = ", ".join(str(each.shape) for each in arrays if each is not None)
        raise ValueError(f"fit: validation_split wants as many rows of each, got shapes {shapes}")
    rows = len(arrays[0])
    remaining = int(rows * (1.0 - part))
    if not 0 < remaining < rows:
        raise ValueError(f"fit: validation_split is {part!r}, which leaves {remaining} of {rows} rows to train on")
    return (
        [None if each is None else each[:remaining] for each in arrays],
        [None if each is None else each[remaining:] for each in arrays],
    )


def validation(network: Network, data: Sequence[Any]) -> tuple[Any, Any, Array | None]:
    """(x, y) or (x, y, sample_weight), with None for no weights, for many passes over them."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise TypeError(f"fit: validation_data is a {type(data).__name__}, wanted (x, y) or (x, y, sample_weight)")
    x, y = kept(network, data[0], data[1])
    if np.ndim(x) != 2 or not len(x):
        raise ValueError(f"fit: validation_data has x of shape {np.shape(x)}, wanted (samples, features), at least one sample")
    return x, y, None if len(data) == 2 or data[2] is None else weights(network, data[2], x, "fit")


def judged(network: Network, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """The predictions for x, and the target they are compared with."""
    if not _in_file(x, network._dtype):
        x, target = pair(network, x, y)
        return network.predict(x), target
    rows = np.asarray(x)
    target = _target(network, y, rows.shape)
    prediction = network.predict(features(network, rows[:0]))
    prediction = np.empty((len(rows), *prediction.shape[1:]), network._dtype)
    at_once = max(1, CHUNK // (network._dtype.itemsize * max(1, rows.shape[-1])))
    for begin in range(0, len(rows), at_once):  # a row has the same bits in any batch
        prediction[begin : begin + at_once] = network.predict(rows[begin : begin + at_once])
    return prediction, target
