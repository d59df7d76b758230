"""pynn.datasets: the digits are the published ones, and splitting and encoding lose nothing."""

import hashlib
import re
from importlib import resources

import numpy as np
import pytest

from pynn.datasets import Digits, load_digits, one_hot, train_test_split

DATA = resources.files("pynn") / "data"


def test_digits_have_the_shapes_dtypes_and_range_they_promise():
    digits = load_digits()
    assert isinstance(digits, Digits)
    assert (digits.x.shape, digits.x.dtype) == ((1797, 64), np.float32)
    assert (digits.label.shape, digits.label.dtype) == ((1797,), np.int64)
    assert (digits.x.min(), digits.x.max()) == (0, 1)
    assert np.array_equal(digits.x * 16, np.round(digits.x * 16))
    assert np.bincount(digits.label).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_file_is_the_one_whose_provenance_is_given():
    content = (DATA / "digits.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() in (DATA / "README.md").read_text(encoding="utf-8")
    assert len(content) < 60_000


def test_the_digits_are_those_of_scikit_learn():
    published = pytest.importorskip(
        "sklearn.datasets", reason="scikit-learn is not installed: nothing to compare with"
    ).load_digits()
    digits = load_digits()
    assert np.array_equal(digits.x, published.data / 16)
    assert np.array_equal(digits.label, published.target)


def test_each_call_gives_arrays_of_its_own():
    load_digits().x[:] = 7
    assert load_digits().x.max() == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
def test_one_hot_has_a_single_one_in_each_row_at_its_label(dtype):
    label = load_digits().label
    target = one_hot(label, 12, dtype=dtype)
    assert (target.shape, target.dtype) == ((1797, 12), dtype)
    assert np.array_equal(target.sum(axis=1), np.ones(1797))
    assert np.array_equal(target.argmax(axis=1), label)


def test_one_hot_counts_classes_by_itself_and_takes_no_labels_at_all():
    assert one_hot([2, 0]).shape == (2, 3)
    assert one_hot([]).shape == (0, 0)
    assert one_hot([], 4).shape == (0, 4)
    assert one_hot(np.array([1], np.uint8), 2).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("label", "classes", "error", "said"),
    [
        ([0, 3], 3, ValueError, "label goes from 0 to 3, wanted 0 to 2"),
        ([-1, 0], None, ValueError, "label goes from -1 to 0"),
        ([[0]], None, ValueError, "label has shape (1, 1), wanted (samples,)"),
        ([0.5], None, TypeError, "label has dtype float64, wanted integers"),
        ([True], None, TypeError, "label has dtype bool, wanted integers"),
        ([0], 2.0, TypeError, "classes is 2.0, wanted an integer"),
    ],
)
def test_one_hot_refuses(label, classes, error, said):
    with pytest.raises(error, match=re.escape(said)):
        one_hot(label, classes)


@pytest.mark.parametrize("stratified", [False, True])
def test_a_split_has_every_row_once_and_keeps_rows_together(stratified):
    digits = load_digits()
    stratify = digits.label if stratified else None
    numbers, labels = np.arange(1797), digits.label
    train, test, label_train, label_test = train_test_split(numbers, labels, seed=3, stratify=stratify)
    assert (len(train), len(test)) == (1437, 360)
    assert np.array_equal(np.sort(np.concatenate([train, test])), numbers)
    assert np.array_equal(labels[train], label_train)
    assert np.array_equal(labels[test], label_test)
    assert not np.array_equal(np.sort(test), test)


def test_a_stratified_split_gives_each_label_its_share_to_within_one_row():
    label = load_digits().label
    for seed in range(5):
        _, test = train_test_split(label, seed=seed, stratify=label)
        share = np.bincount(label) * 360 / 1797
        assert np.abs(np.bincount(test) - share).max() < 1


def test_a_split_depends_on_its_seed_alone():
    rows = np.arange(100)
    assert np.array_equal(train_test_split(rows, seed=1)[1], train_test_split(rows, seed=1)[1])
    assert not np.array_equal(train_test_split(rows, seed=1)[1], train_test_split(rows, seed=2)[1])
    # NumPy's stream of PCG64, which no version of it has changed
    assert train_test_split(np.arange(10), seed=0)[1].tolist() == [1, 3]


def test_a_split_copies():
    rows = np.arange(10)
    train, test = train_test_split(rows, seed=0)
    train[:] = test[:] = -1
    assert rows.tolist() == list(range(10))


@pytest.mark.parametrize(
    ("arrays", "options", "said"),
    [
        ((), {}, "no arrays"),
        (([1, 2], [1, 2, 3]), {}, "shapes (2,), (3,), wanted the same number of rows"),
        (([1, 2],), {"stratify": [1]}, "shapes (2,), (1,), wanted the same number of rows"),
        ((5,), {}, "shapes (), wanted the same number of rows"),
        (([1],), {}, "leaves one side empty"),
        (([1, 2],), {"test_size": 0.0}, "leaves one side empty"),
        (([1, 2],), {"test_size": 1}, "leaves one side empty"),
        (([1, 2],), {"test_size": float("nan")}, "leaves one side empty"),
        (([1, 2],), {"test_size": 0.9}, "leaves one side empty"),
    ],
)
def test_a_split_refuses(arrays, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        train_test_split(*arrays, **options)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"test_size": "half"}, TypeError, "train_test_split: test_size is 'half', wanted a number between 0 and 1"),
        ({"test_size": None}, TypeError, "train_test_split: test_size is None, wanted a number between 0 and 1"),
        ({"seed": "a"}, TypeError, "train_test_split: seed is 'a', wanted an integer"),
        ({"seed": -1}, ValueError, "train_test_split: seed is -1, wanted an integer from 0 up"),
    ],
    ids=str,
)
def test_an_argument_of_a_split_that_makes_no_sense_is_named(options, error, said):
    with pytest.raises(error, match=f"^{re.escape(said)}$"):
        train_test_split(np.arange(4), **options)
