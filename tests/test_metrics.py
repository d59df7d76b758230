"""pynn/metrics.py: by hand, beside scikit-learn, and what is refused."""

import functools
import math

import numpy as np
import pytest
from support import output

import pynn
from pynn import metrics

try:
    import sklearn.metrics as theirs
except ModuleNotFoundError:
    theirs = None

beside_scikit_learn = pytest.mark.skipif(theirs is None, reason="scikit-learn is not installed: nothing to compare with")


def random(seed):
    return np.random.Generator(np.random.PCG64(seed))


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_the_forms_of_prediction_and_target_mean_the_same(dtype):
    scores = random(0).random((50, 4)).astype(dtype)
    labels = random(1).integers(0, 4, 50)
    one_hot = np.eye(4, dtype=dtype)[labels]
    answers = scores.argmax(axis=1)
    wanted = np.count_nonzero(answers == labels) / 50
    for prediction in (scores, answers):
        for target in (labels, labels[:, None], labels.astype(dtype), labels.tolist(), one_hot):
            if prediction is answers and target is one_hot:
                continue
            assert metrics.accuracy(prediction, target) == wanted
    assert metrics.accuracy(one_hot, one_hot) == 1.0


def test_one_score_is_compared_with_the_threshold():
    scores, truth = np.array([[-1.0], [0.2], [0.5], [0.7]]), np.array([0, 1, 0, 1])
    assert metrics.accuracy(scores, truth) == 0.75  # 0.5 itself is class 0
    assert metrics.accuracy(scores[:, 0], truth[:, None], threshold=0) == 0.75
    assert metrics.recall(scores, truth) == 0.5
    assert metrics.precision(scores, truth) == 1.0
    assert metrics.f1(scores, truth) == pytest.approx(2 / 3)
    assert metrics.confusion_matrix(scores, truth).tolist() == [[2, 0], [1, 1]]


def test_nothing_found_counts_as_zero():
    assert metrics.precision(np.array([0, 0]), np.array([0, 1])) == 0.0
    assert metrics.recall(np.array([1, 0]), np.array([0, 0])) == 0.0
    assert metrics.f1(np.array([0, 0]), np.array([0, 0])) == 0.0


def test_regression_by_hand():
    assert metrics.mean_absolute_error([[1.0, 2.0], [3.0, 4.0]], [[0.0, 2.0], [3.0, 7.0]]) == 1.0
    assert metrics.r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
    assert metrics.r2([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) == 0.0
    assert metrics.r2([5.0, 5.0], [5.0, 5.0]) == 1.0
    assert metrics.r2([5.0, 4.0], [5.0, 5.0]) == 0.0
    assert math.isnan(metrics.r2([1.0], [1.0]))
    assert math.isnan(metrics.r2([1.0, math.inf], [1.0, 2.0]))
    assert math.isnan(metrics.mean_absolute_error([1.0, math.nan], [1.0, 2.0]))


# ---- beside scikit-learn ---------------------------------------------------------------------------------------------


@beside_scikit_learn
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_classification_is_that_of_scikit_learn(classes, seed):
    scores = random(seed).random((40, classes))
    truth = random(seed + 100).integers(0, classes, 40)
    if seed == 3:
        truth[:] = truth % 2  # some classes are missing
    answers = scores.argmax(axis=1)
    assert metrics.accuracy(scores, truth) == theirs.accuracy_score(truth, answers)
    assert (
        metrics.confusion_matrix(scores, truth).tolist()
        == theirs.confusion_matrix(truth, answers, labels=range(classes)).tolist()
    )
    for average in ("macro", "micro", *(["binary"] if classes == 2 else [])):
        for mine, other in (
            (metrics.precision, theirs.precision_score),
            (metrics.recall, theirs.recall_score),
            (metrics.f1, theirs.f1_score),
        ):
            wanted = other(truth, answers, average=average, zero_division=0)
            assert mine(scores, truth, average=average) == pytest.approx(wanted, abs=1e-15)
    if classes > 2:
        for k in range(1, classes):
            wanted = theirs.top_k_accuracy_score(truth, scores, k=k, labels=range(classes))
            assert metrics.top_k_accuracy(scores, truth, k=k) == pytest.approx(wanted, abs=1e-15)


@beside_scikit_learn
@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_regression_is_that_of_scikit_learn(shape, seed):
    target = random(seed).random(shape)
    prediction = target + 0.3 * random(seed + 50).random(shape)
    assert metrics.r2(prediction, target) == pytest.approx(theirs.r2_score(target, prediction), rel=1e-13)
    wanted = theirs.mean_absolute_error(target, prediction)
    assert metrics.mean_absolute_error(prediction, target) == pytest.approx(wanted, rel=1e-13)


# ---- in a network ----------------------------------------------------------------------------------------------------


def net():
    return pynn.Network([pynn.Dense(3, 4), pynn.Tanh(), pynn.Dense(4, 2)], seed=0)


def test_evaluate_gives_a_dict():
    x, y = random(0).random((9, 3)), np.eye(2)[random(1).integers(0, 2, 9)]
    network = net()

    def spread(prediction, target):
        return np.abs(prediction - target).max()

    answer = network.evaluate(x, y, metrics=["accuracy", metrics.r2, spread])
    assert list(answer) == ["cost", "accuracy", "r2", "spread"]
    assert answer["cost"] == network.evaluate(x, y)
    assert answer["accuracy"] == metrics.accuracy(network.predict(x), y)
    assert all(type(number) is float for number in answer.values())
    assert list(network.evaluate(x, y, metrics={"top": functools.partial(metrics.top_k_accuracy, k=1)})) == ["cost", "top"]
    assert list(network.evaluate(x, y, metrics=[functools.partial(metrics.top_k_accuracy, k=1)])) == ["cost", "top_k_accuracy"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["acuracy"], ValueError, "evaluate: no metric 'acuracy'; there are accuracy, f1"),
        (["confusion_matrix"], ValueError, "no metric 'confusion_matrix'"),
        ("accuracy", TypeError, "wanted a list"),
        (metrics.accuracy, TypeError, "wanted a list"),
        ([3], TypeError, "the metric 3 is not a function"),
        (["r2", metrics.r2], ValueError, "two metrics named 'r2'"),
        ({"cost": metrics.r2}, ValueError, "two metrics named 'cost'"),
    ],
)
def test_metrics_that_are_none_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        net().evaluate(np.ones((2, 3)), np.ones((2, 2)), metrics=given)


def test_import_of_pynn_does_not_import_them():
    names = ["pynn.metrics", "pynn.callbacks", "pynn.schedules", "pynn.display", "dataclasses", "inspect"]
    program = "import sys, numpy\nbefore = set(sys.modules)\nimport pynn\nprint((set(sys.modules) - before) & set(sys.argv[1:]))"
    assert output(program, *names) == "set()"


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.accuracy(["a"], [0]), TypeError, "accuracy: prediction has dtype <U1"),
        (lambda: metrics.accuracy([], []), ValueError, r"prediction has shape \(0,\)"),
        (lambda: metrics.accuracy(np.zeros((3, 2)), [0, 1]), ValueError, "prediction has 3 samples and target 2"),
        (lambda: metrics.accuracy(np.zeros((2, 2)), [0, 2]), ValueError, "target has the class 2, prediction 2 columns"),
        (lambda: metrics.accuracy(np.zeros((2, 2)), [0, 0.5]), ValueError, "target has classes that are not whole"),
        (lambda: metrics.accuracy(np.zeros((2, 2)), [0, math.nan]), ValueError, "target has classes that are not whole"),
        (lambda: metrics.accuracy(np.zeros((2, 2)), [0, -1]), ValueError, "target has classes that are not whole"),
        (lambda: metrics.accuracy(np.zeros((2, 2)), np.zeros((2, 3))), ValueError, r"shape \(2, 2\) and target \(2, 3\)"),
        (lambda: metrics.accuracy(np.zeros(2), [0, 2]), ValueError, "a prediction of one score has classes 0 and 1"),
        (lambda: metrics.precision([0, 2], [0, 1], average="binary"), ValueError, "more than two classes"),
        (lambda: metrics.f1([0, 1], [0, 1], average="weighted"), ValueError, "average is 'weighted'"),
        (lambda: metrics.top_k_accuracy(np.zeros((2, 3)), [0, 1], k=0), ValueError, "k is 0"),
        (lambda: metrics.top_k_accuracy([0.1, 0.2], [0, 1]), ValueError, r"wanted \(samples, classes\)"),
        (lambda: metrics.confusion_matrix([0, 3], [0, 1], classes=2), ValueError, "classes is 2, wanted at least 4"),
        (lambda: metrics.r2([1.0, 2.0], [1.0]), ValueError, r"prediction has shape \(2,\) and target \(1,\)"),
        (lambda: metrics.mean_absolute_error([1j], [1.0]), TypeError, "prediction has dtype complex128"),
    ],
)
def test_what_makes_no_sense_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
