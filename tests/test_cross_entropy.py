"""csrc/kernels/cross_entropy.h and pynn.SoftmaxCrossEntropy: of probabilities and of classes, smoothed and weighted."""

import math
import pickle

import numpy as np
import pytest
from support import same_bits, threads, unit, values

import pynn
from pynn import kernels, reference

CLASSES = (1, 2, 3, 15, 16, 17, 33, 300)


def example(classes, dtype, rows=9):
    logits = (5 * values((rows, classes), dtype, 1)).astype(dtype)
    labels = np.arange(rows) * 7 % classes
    some = np.abs(values((rows, classes), "float64", 2)) + 0.01
    return logits, labels, some / some.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_it_is_what_the_formula_says(instruction_set, dtype, smoothing):
    for classes in CLASSES:
        logits, labels, probabilities = example(classes, dtype)
        for target in (labels, probabilities.astype(dtype)):
            wide = logits.astype(np.float64), np.asarray(target, np.float64) if target is not labels else labels
            wanted = reference.softmax_cross_entropy(*wide, label_smoothing=smoothing)
            # In double precision from what is given; each of the terms is within a few roundings of it.
            got = kernels.softmax_cross_entropy(logits, target, label_smoothing=smoothing)
            assert got == pytest.approx(wanted, rel=64 * unit("float64"), abs=1e-15)
            slope = reference.softmax_cross_entropy_gradient(*wide, label_smoothing=smoothing)
            got = kernels.softmax_cross_entropy_gradient(logits, target, label_smoothing=smoothing)
            # e^d is within |d| + 1 units, d up to 10 here; sums add a unit for each of 16 chains' terms, and the tree's four.
            np.testing.assert_allclose(got, slope, rtol=0, atol=(30 + classes / 16) * unit(dtype) / len(logits))


def test_classes_count_as_rows_with_a_single_one(dtype):
    for classes in CLASSES:
        logits, labels, _ = example(classes, dtype)
        rows = np.eye(classes, dtype=dtype)[labels]
        assert kernels.softmax_cross_entropy(logits, labels) == kernels.softmax_cross_entropy(logits, rows)
        assert same_bits(
            kernels.softmax_cross_entropy_gradient(logits, labels), kernels.softmax_cross_entropy_gradient(logits, rows)
        )


def test_its_gradient_is_the_slope_of_the_cost():
    logits, labels, probabilities = example(5, "float64", rows=3)
    cost, h = pynn.SoftmaxCrossEntropy(0.2), 1e-6
    for target in (labels, probabilities):
        gradient = cost.gradient(logits, target)
        for at in np.ndindex(logits.shape):
            step = np.zeros_like(logits)
            step[at] = h
            # Central differences: h²/6 times a third derivative below 1, and the rounding of two costs below 16.
            slope = (cost(logits + step, target) - cost(logits - step, target)) / (2 * h)
            assert slope == pytest.approx(gradient[at], abs=h * h / 6 + 32 * unit("float64") / h)


def test_a_weight_counts_as_so_many_rows(dtype):
    logits, labels, _ = example(4, dtype, rows=3)
    times = np.array([2, 0, 3])
    cost = pynn.SoftmaxCrossEntropy()
    many = np.repeat(np.arange(3), times)
    assert cost(logits, labels, times) == pytest.approx(cost(logits[many], labels[many]), rel=8 * unit("float64"))
    summed = np.zeros_like(logits)
    np.add.at(summed, many, cost.gradient(logits[many], labels[many]))
    np.testing.assert_allclose(cost.gradient(logits, labels, times), summed, rtol=8 * unit(dtype), atol=0)
    assert cost(logits, labels, np.zeros(3)) == 0
    assert not cost.gradient(logits, labels, np.zeros(3)).any()


def test_extreme_logits_cost_what_their_limit_says(dtype):
    cost = pynn.SoftmaxCrossEntropy()

    def of(logits, label):
        return cost(np.array([logits], dtype), [label])

    assert of([1e30, -1e30], 0) == 0
    assert of([1e30, -1e30], 1) == pytest.approx(2e30, rel=2 * unit(dtype))
    assert of([np.inf, 0], 0) == 0
    assert of([np.inf, 0], 1) == np.inf
    assert of([-np.inf, 0], 1) == 0
    assert of([-104, 0], 1) == pytest.approx(math.exp(-104), rel=1e-14)
    assert math.isnan(of([np.nan, 0], 1))
    # A probability of 0 for what is impossible costs nothing.
    assert cost(np.array([[-np.inf, 0]], dtype), [[0, 1]]) == 0
    assert cost.gradient(np.array([[1000, 0]], dtype), [1]).tolist() == [[1, -1]]


def test_any_number_of_threads_gives_the_same_bits(dtype):
    logits, labels, _ = example(100, dtype, rows=700)
    seen = set()
    for number in (1, 2, 3):
        with threads(number):
            seen.add(
                (kernels.softmax_cross_entropy(logits, labels), kernels.softmax_cross_entropy_gradient(logits, labels).tobytes())
            )
    assert len(seen) == 1


@pytest.mark.parametrize("labels", [[0, 3], [0, -1], [0, 0.5], [0, np.nan], [2**63 - 1, 0]], ids=str)
def test_a_class_that_there_is_not_is_refused(labels):
    for call in (kernels.softmax_cross_entropy, kernels.softmax_cross_entropy_gradient):
        with pytest.raises(ValueError, match=r"wanted whole numbers from 0 to 2"):
            call(np.zeros((2, 3)), labels)


def test_shapes_and_smoothing_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"target has shape \(3,\), wanted \(2, 3\), or classes of shape \(2,\)"):
        kernels.softmax_cross_entropy(np.zeros((2, 3)), [0, 1, 2])
    with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\), wanted \(2,\)"):
        kernels.softmax_cross_entropy(np.zeros((2, 3)), [0, 1], [1, 1, 1])
    for smoothing in (-0.1, 1, 2, np.nan):
        with pytest.raises(ValueError, match="label_smoothing"):
            pynn.SoftmaxCrossEntropy(smoothing)
        with pytest.raises(ValueError, match="label_smoothing"):
            kernels.softmax_cross_entropy([[0, 1]], [0], label_smoothing=smoothing)
    with pytest.raises(TypeError, match="label_smoothing"):
        pynn.SoftmaxCrossEntropy("0.1")


def test_it_pickles_and_prints_as_the_code_that_makes_it():
    for cost in (pynn.SoftmaxCrossEntropy(), pynn.SoftmaxCrossEntropy(0.25)):
        other = pickle.loads(pickle.dumps(cost))
        assert repr(other) == repr(cost)
        assert eval(repr(cost), vars(pynn)).label_smoothing == cost.label_smoothing


class Strange(pynn.Dense):
    """A Dense that the engine does not know, so that Python runs the network."""


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_the_engine_trains_on_classes_as_python_does(dtype, smoothing, instruction_set):
    x = values((50, 6), dtype)
    y = (3 * np.abs(x[:, 0])).astype(int)
    one_hot = np.eye(3)[y]
    results = []
    for kind in (pynn.Dense, Strange):
        for target in (y, one_hot):
            cost = pynn.SoftmaxCrossEntropy(smoothing)
            layers = [kind(6, 18), pynn.ReLU(), pynn.Dense(18, 3)]
            net = pynn.Network(layers, cost=cost, optimizer=pynn.SGD(0.1), dtype=dtype, seed=0)
            costs = net.fit(x, target, epochs=2, batch_size=7, class_weight={0: 1, 1: 2, 2: 3}).cost
            costs += [net.train_step(x, target), net.train_step(x[0], target[0]), net.evaluate(x, target)]
            results.append((costs, net.parameters.tobytes()))
    assert results[0] == results[2]
    assert results[1] == results[3]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)


def test_it_agrees_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for classes in CLASSES:
        logits, labels, probabilities = example(classes, "float64")
        for target in (labels, probabilities):
            for smoothing in (0.0, 0.1):
                theirs = torch.tensor(logits, requires_grad=True)
                cost = torch.nn.functional.cross_entropy(theirs, torch.tensor(target), label_smoothing=smoothing)
                cost.backward()
                ours = pynn.SoftmaxCrossEntropy(smoothing)
                assert ours(logits, target) == pytest.approx(cost.item(), rel=1e-13, abs=1e-15)
                np.testing.assert_allclose(ours.gradient(logits, target), theirs.grad.numpy(), rtol=0, atol=1e-15)
