"""pynn/samples.py, and Network.fit beyond epochs: weights, labels, validation, iterables, files, divergence, histories."""

import importlib.util
import math
import pickle

import numpy as np
import pytest
from support import digest, output, same_bits, values

import pynn
from pynn import samples, training
from pynn.training import History


class Squares:
    """Mean squared error that takes weights, in NumPy: Σ wᵢ cᵢ / Σ wᵢ."""

    @staticmethod
    def weights(prediction, weights):
        weights = np.ones(len(prediction)) if weights is None else weights.astype(np.float64)
        return weights / (weights.sum() or 1.0)

    def __call__(self, prediction, target, weights=None):
        return float(self.weights(prediction, weights) @ ((prediction - target) ** 2).mean(axis=1))

    def gradient(self, prediction, target, weights=None):
        gradient = 2 * (prediction - target) / prediction.shape[1] * self.weights(prediction, weights)[:, None]
        return gradient.astype(prediction.dtype)


class CrossEntropy:
    """Of softmax(logits) against labels (samples,), in NumPy."""

    takes_labels = True

    def __init__(self):
        self.seen = []

    @staticmethod
    def softmax(logits):
        e = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def __call__(self, prediction, target, weights=None):
        self.seen.append((target.dtype, target.shape))
        weights = np.ones(len(target)) if weights is None else weights
        return float(np.average(-np.log(self.softmax(prediction)[np.arange(len(target)), target]), weights=weights))

    def gradient(self, prediction, target, weights=None):
        weights = np.ones(len(target), prediction.dtype) if weights is None else weights
        gradient = self.softmax(prediction)
        gradient[np.arange(len(target)), target] -= 1
        return gradient * (weights / weights.sum())[:, None]


def network(dtype="float64", rate=0.1, outputs=2, cost=None):
    layers = [pynn.Dense(3, 5), pynn.Tanh(), pynn.Dense(5, outputs)]
    return pynn.Network(layers, cost=cost, optimizer=pynn.SGD(rate), dtype=dtype, seed=1)


def task(rows=31, dtype="float64"):
    x = values((rows, 3), dtype, 1)
    return x, np.tanh(x[:, :2]) + x[:, 1:2]


# ---- weights of samples and classes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [Squares, pynn.MSE, pynn.Huber], ids=lambda cost: cost.__name__)
def test_a_weight_is_worth_as_many_rows(cost):
    x, y = task()
    weight = np.arange(31) % 4
    weighted, repeated = network(cost=cost()), network(cost=cost())
    one = weighted.fit(x, y, epochs=20, batch_size=31, shuffle=False, sample_weight=weight)
    other = repeated.fit(x.repeat(weight, axis=0), y.repeat(weight, axis=0), epochs=20, batch_size=1000, shuffle=False)
    assert one.cost == pytest.approx(other.cost, rel=1e-12)
    np.testing.assert_allclose(weighted.parameters, repeated.parameters, rtol=1e-11)
    assert weighted.evaluate(x, y, weight) == pytest.approx(
        repeated.evaluate(x.repeat(weight, 0), y.repeat(weight, 0)), rel=1e-12
    )


def test_weights_go_with_their_rows_when_these_are_shuffled(dtype):
    x, y = task(dtype=dtype)
    weight = values(31, dtype, 3) + 1
    net, other = network(dtype, cost=Squares()), network(dtype, cost=Squares())
    history = net.fit(x, y, epochs=3, batch_size=8, sample_weight=weight)
    for cost in history.cost:
        order = other._random.permutation(31)
        sums, costs = [], []
        for begin in range(0, 31, 8):
            chosen = order[begin : begin + 8]
            prediction = other.forward(x[chosen])
            costs.append(other.cost(prediction, y[chosen], weight[chosen]))
            sums.append(weight[chosen].astype(np.float64).sum())
            other.backward(other.cost.gradient(prediction, y[chosen], weight[chosen]))
            other.optimizer.step(other.parameters, other.gradients)
        assert cost == pytest.approx(np.average(costs, weights=sums), rel=1e-12)
    assert same_bits(net.parameters, other.parameters)


def test_weights_in_c_and_in_python_are_the_same(dtype):
    class Own(pynn.MSE):
        """The network cannot know that it is the same."""

    x, y = task(dtype=dtype)
    weight = values(31, dtype, 3) + 1
    in_c, in_python = network(dtype), network(dtype, cost=Own())
    options = {"epochs": 3, "batch_size": 8, "sample_weight": weight, "validation_data": (x, y, weight)}
    assert dict(in_c.fit(x, y, **options)) == dict(in_python.fit(x, y, **options))
    assert same_bits(in_c.parameters, in_python.parameters)


def test_equal_weights_change_nothing(dtype):
    x, y = task(dtype=dtype)
    one, other = network(dtype, cost=Squares()), network(dtype, cost=Squares())
    weighted = one.fit(x, y, epochs=3, batch_size=8, sample_weight=np.ones(31)).cost
    assert weighted == pytest.approx(other.fit(x, y, epochs=3, batch_size=8).cost, rel=1e-6)


@pytest.mark.parametrize("cost", [Squares, pynn.MSE], ids=lambda cost: cost.__name__)
def test_the_cost_of_an_epoch_with_weights_whose_batches_have_none(cost):
    x, y = task(8)
    net = network(cost=cost())
    weight = np.array([0, 0, 0, 0, 1, 2, 0, 1])
    history = net.fit(x, y, batch_size=4, shuffle=False, sample_weight=weight)
    assert history.cost == [network(cost=cost()).evaluate(x[4:], y[4:], weight[4:])]


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.random.Generator(np.random.PCG64(0)).choice([0, 1, 1, 1, 3], 50)
    wanted = {0: 50 / (3 * (labels == 0).sum()), 1: 50 / (3 * (labels == 1).sum()), 3: 50 / (3 * (labels == 3).sum())}
    by_class = np.array([wanted[label] for label in labels.tolist()])
    for y in (labels, labels[:, None], labels.astype(float), np.eye(4)[labels], labels.tolist()):
        assert same_bits(training.class_weights(y, "balanced", "fit"), by_class)
        weights = training.class_weights(y, {0: 2.0, np.int64(3): 5}, "fit")
        assert weights.tolist() == [{0: 2.0, 1: 1.0, 3: 5.0}[label] for label in labels.tolist()]
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("scikit-learn is not installed: compared with the formula alone")
    from sklearn.utils.class_weight import compute_sample_weight

    np.testing.assert_allclose(by_class, compute_sample_weight("balanced", labels), rtol=1e-15)


def test_class_weights_multiply_sample_weights(dtype):
    x, _ = task(dtype=dtype)
    y = np.eye(2)[(np.arange(31) % 3 == 0).astype(int)]
    weight = np.arange(31) % 2 + 1.0
    one, other = network(dtype, cost=Squares()), network(dtype, cost=Squares())
    one.fit(x, y, epochs=2, sample_weight=weight, class_weight={1: 3.0})
    other.fit(x, y, epochs=2, sample_weight=np.where(y[:, 1] == 1, 3 * weight, weight))
    assert same_bits(one.parameters, other.parameters)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sample_weight": np.ones(30)}, ValueError, r"sample_weight has shape \(30,\), wanted \(31,\)"),
        ({"sample_weight": np.ones((31, 1))}, ValueError, r"sample_weight has shape \(31, 1\)"),
        ({"sample_weight": -np.ones(31)}, ValueError, "negative, NaN or infinite"),
        ({"sample_weight": np.full(31, np.nan)}, ValueError, "negative, NaN or infinite"),
        ({"sample_weight": np.zeros(31)}, ValueError, "0 everywhere"),
        ({"sample_weight": ["a"] * 31}, TypeError, "sample_weight has dtype"),
        ({"class_weight": "even"}, ValueError, "class_weight is 'even'"),
        ({"class_weight": [1, 2]}, TypeError, "class_weight is"),
        ({"class_weight": {"a": 1}}, TypeError, "class 'a'"),
        ({"class_weight": {0: -1}}, ValueError, r"^fit: class_weight\[0\] is -1, wanted a finite number from 0 up"),
        ({"class_weight": {5: np.nan}}, ValueError, r"^fit: class_weight\[5\] is nan, wanted a finite number from 0 up"),
        ({"class_weight": {1: "2"}}, TypeError, r"^fit: class_weight\[1\] is '2', wanted a number"),
        ({"class_weight": {1: None}}, TypeError, r"^fit: class_weight\[1\] is None, wanted a number"),
        ({"class_weight": {0: 0, 1: 0}}, ValueError, r"^fit: class_weight, in float64, is 0 everywhere"),
        (
            {"class_weight": {0: 1e300}, "sample_weight": np.full(31, 1e300)},
            ValueError,
            r"^fit: sample_weight times class_weight, in float64, has numbers that are .* infinite",
        ),
        (
            {"class_weight": {0: 0}, "sample_weight": np.arange(31) % 2 == 0},
            ValueError,
            r"^fit: sample_weight times class_weight, in float64, is 0 everywhere",
        ),
    ],
)
def test_weights_that_make_no_sense_are_refused_before_anything_has_changed(options, error, message):
    x, _ = task()
    y = np.eye(2)[np.arange(31) % 2]
    net = network(cost=Squares())
    before = digest(net.parameters), net._random.bit_generator.state
    with pytest.raises(error, match=message):
        net.fit(x, y, **options)
    assert (digest(net.parameters), net._random.bit_generator.state) == before


def test_weights_that_the_dtype_rounds_to_nothing_are_refused():
    for weight in (1e-300, 1e300):
        with pytest.raises(ValueError, match="sample_weight"):
            network("float32").fit(*task(), sample_weight=np.full(31, weight))
        network("float64").fit(*task(), sample_weight=np.full(31, weight))


def test_weights_want_samples_in_rows():
    for call in (network(cost=Squares()).fit, network(cost=Squares()).evaluate):
        with pytest.raises(ValueError, match=r"x has shape \(3,\), wanted \(samples, features\)"):
            call(np.zeros(3), np.zeros(2), sample_weight=[1.0])


def test_weights_by_class_want_classes():
    with pytest.raises(ValueError, match="a single 1 in each row"):
        network(cost=Squares()).fit(*task(), class_weight="balanced")
    with pytest.raises(ValueError, match="whole numbers"):
        network(cost=Squares(), outputs=1).fit(task()[0], task()[1][:, 0], class_weight="balanced")


def test_a_cost_that_takes_no_weights_says_so():
    class Plain(Squares):
        def __call__(self, prediction, target):
            return super().__call__(prediction, target)

    for call in (network(cost=Plain()).fit, network(cost=Plain()).evaluate):
        with pytest.raises(TypeError, match="sample_weight or class_weight with a cost that takes none"):
            call(*task(), sample_weight=np.ones(31))


# ---- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["int64", "uint8", "int32", "bool", "list"])
def test_labels_are_handed_to_a_cost_that_takes_them(dtype, name):
    x = values((40, 3), dtype, 1)
    labels = (x[:, 0] > x[:, 1]).astype(int)
    net = network(dtype, rate=0.5, cost=CrossEntropy())
    given = labels.tolist() if name == "list" else labels.astype(name)
    history = net.fit(x, given, epochs=60, batch_size=8, metrics=["accuracy"], class_weight="balanced")
    assert history["accuracy"][-1] > 0.9
    assert {(np.dtype(np.int64), 1)} == {(kind, len(shape)) for kind, shape in net.cost.seen}
    assert net.evaluate(x, given) < math.log(2) / 2


def test_labels_that_are_no_classes_are_refused():
    x = values((4, 3), "float64", 1)
    net = network(cost=CrossEntropy())
    for labels in ([0, 1, 2, 0], [0, -1, 1, 0]):
        with pytest.raises(ValueError, match="y has classes from"):
            net.fit(x, labels)
    with pytest.raises(ValueError, match="y has shape"):
        net.fit(x, [0, 1, 1])


@pytest.mark.parametrize(
    ("cost", "labels", "message"),
    [
        (
            pynn.MSE(),
            [0, 1, 2, 0],
            r"pynn.SoftmaxCrossEntropy\(\) takes them as they are, other costs want pynn.datasets.one_hot",
        ),
        (pynn.SoftmaxCrossEntropy(), [0.0, 1.0, 2.0, 0.0], r"wanted \(4, 3\) .*; if it is classes, \(4,\) of integers"),
        (pynn.SoftmaxCrossEntropy(), [[0], [1], [2], [0]], r"; if it is classes, \(4,\) of integers"),
        (pynn.SoftmaxCrossEntropy(), [0, 1, 3, 0], "classes from 0 to 3, wanted 0 to 2, for the last layer gives 3"),
        (pynn.MSE(), [0.5, 1.0, 2.0, 0.0], r"wanted \(4, 3\) for x of shape \(4, 2\)$"),
    ],
)
def test_labels_that_do_not_fit_come_with_advice(cost, labels, message):
    net = pynn.Network([pynn.Dense(2, 3)], cost=cost, seed=0)
    with pytest.raises(ValueError, match=message):
        net.fit(np.ones((4, 2)), labels)


def test_classes_of_one_number_come_with_advice():
    net = pynn.Network([pynn.Dense(2, 1)], cost=pynn.SoftmaxCrossEntropy(), seed=0)
    with pytest.raises(ValueError, match=r"from 0 to 1, wanted 0 to 0, for the last layer gives 1; pynn.BinaryCrossEntropy\(\)"):
        net.fit(np.ones((2, 2)), [0, 1])


def test_a_metric_that_gives_no_number_is_named():
    net = pynn.Network([pynn.Dense(2, 1)], seed=0)
    with pytest.raises(TypeError, match=r"the metric 'error' gave an array of shape \(4, 1\), wanted a number"):
        net.evaluate(np.ones((4, 2)), np.ones(4), metrics={"error": lambda prediction, target: prediction - target})


def test_metrics_of_logits_ask_for_their_sign():
    """Of one score, class 1 is the answer above 0 with binary cross-entropy, above 1/2 otherwise; a function is as it is."""
    x, y = np.array([[0.25], [-0.25]]), np.array([1, 0])
    net = pynn.Network([pynn.Dense(1, 1, initializer=np.ones((1, 1)))], cost=pynn.BinaryCrossEntropy(), optimizer=pynn.SGD(0))
    names = ["accuracy", "precision", "recall", "f1"]
    assert [net.evaluate(x, y, metrics=names)[name] for name in names] == [1.0] * 4
    assert net.fit(x, y, metrics=names).metrics == {name: [1.0] for name in names}
    assert net.evaluate(x, y, metrics=[pynn.metrics.accuracy])["accuracy"] == 0.5
    net.cost = pynn.MSE()
    assert net.evaluate(x, y, metrics=["accuracy"])["accuracy"] == 0.5


# ---- validation ------------------------------------------------------------------------------------------------------


def test_validation_is_evaluate_after_each_epoch(dtype):
    x, y = task(dtype=dtype)
    held = values((9, 3), dtype, 7), values((9, 2), dtype, 8)
    one, other = network(dtype), network(dtype)

    def worst(prediction, target):
        return np.abs(prediction - target).max()

    history = one.fit(x, y, epochs=4, batch_size=8, validation_data=held, metrics=["r2", worst])
    wanted = []
    for _ in range(4):
        other.fit(x, y, batch_size=8)
        wanted.append(other.evaluate(*held, metrics=["r2", worst]))
    assert same_bits(one.parameters, other.parameters)
    assert history.validation_cost == [each["cost"] for each in wanted]
    assert history["validation_r2"] == [each["r2"] for each in wanted]
    assert history["validation_worst"] == [each["worst"] for each in wanted]
    assert "r2" not in history


def test_without_validation_metrics_are_of_the_training_data_after_the_epoch(dtype):
    x, y = task(dtype=dtype)
    net = network(dtype)
    history = net.fit(x, y, epochs=3, metrics=["r2"])
    assert list(history) == ["cost", "r2"]
    assert history["r2"][-1] == net.evaluate(x, y, metrics=["r2"])["r2"]
    assert history.validation_cost == []


@pytest.mark.parametrize(("part", "kept"), [(0.1, 27), (0.5, 15), (0.9, 3)])
def test_the_split_takes_the_last_rows(dtype, part, kept):
    x, y = task(dtype=dtype)
    weight = np.arange(1, 32)
    one, other = network(dtype, cost=Squares()), network(dtype, cost=Squares())
    split = one.fit(x.tolist(), y, epochs=3, validation_split=part, sample_weight=weight)
    held = x[kept:], y[kept:], weight[kept:]
    given = other.fit(x[:kept], y[:kept], epochs=3, validation_data=held, sample_weight=weight[:kept])
    assert same_bits(one.parameters, other.parameters)
    assert dict(split) == dict(given)
    assert split.validation_cost[-1] == one.evaluate(*held)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"validation_split": 1.0}, ValueError, "validation_split is 1.0"),
        ({"validation_split": -0.1}, ValueError, "validation_split is -0.1"),
        ({"validation_split": 1}, ValueError, "validation_split is 1"),
        ({"validation_split": 0.99}, ValueError, "leaves 0 of 31 rows"),
        ({"validation_split": 0.1, "validation_data": task()}, ValueError, "one of them"),
        ({"validation_data": task()[0]}, TypeError, "validation_data is a ndarray"),
        ({"validation_data": (np.zeros((2, 4)), np.zeros((2, 2)))}, ValueError, "x has 4 features"),
        ({"validation_data": (np.zeros((0, 3)), np.zeros((0, 2)))}, ValueError, "at least one sample"),
        ({"steps_per_epoch": 2}, ValueError, "steps_per_epoch is for"),
        ({"on_divergence": "stop"}, ValueError, "on_divergence is 'stop'"),
        ({"metrics": ["loss"]}, ValueError, "fit: no metric 'loss'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_anything_has_changed(options, error, message):
    net = network()
    before = digest(net.parameters), net._random.bit_generator.state
    with pytest.raises(error, match=message):
        net.fit(*task(), **options)
    assert (digest(net.parameters), net._random.bit_generator.state) == before


# ---- iterables of batches --------------------------------------------------------------------------------------------


def cut(x, y, size):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def test_batches_train_as_rows_do(dtype):
    x, y = task(dtype=dtype)
    one, other = network(dtype), network(dtype)
    of_batches = one.fit(cut(x, y, 8), epochs=4)
    assert of_batches.cost == other.fit(x, y, epochs=4, batch_size=8, shuffle=False).cost
    assert same_bits(one.parameters, other.parameters)


def test_batches_may_have_weights_and_lists():
    x, y = task()
    weight = np.arange(31) + 1.0
    one, other = network(cost=Squares()), network(cost=Squares())
    batches = [[x[i : i + 8].tolist(), y[i : i + 8], weight[i : i + 8]] for i in range(0, 31, 8)]
    history = one.fit(batches, epochs=2)
    assert history.cost == other.fit(x, y, epochs=2, batch_size=8, shuffle=False, sample_weight=weight).cost
    assert same_bits(one.parameters, other.parameters)


def test_steps_per_epoch_go_on_where_the_last_epoch_ended():
    x, y = task()
    batches = cut(x, y, 8)  # 4 of them
    one, other = network(), network()
    history = one.fit(batches, epochs=3, steps_per_epoch=3)
    costs = [other.train_step(*batches[i % 4]) for i in range(9)]
    rows = [len(batches[i % 4][0]) for i in range(9)]
    assert same_bits(one.parameters, other.parameters)
    assert history.cost == pytest.approx([np.average(costs[i : i + 3], weights=rows[i : i + 3]) for i in (0, 3, 6)], rel=1e-15)


def test_a_generator_feeds_epochs_until_it_ends():
    x, y = task()

    def forever():
        while True:
            yield from cut(x, y, 8)

    one, other = network(), network()
    one.fit(forever(), epochs=2, steps_per_epoch=4)
    other.fit(cut(x, y, 8), epochs=2)
    assert same_bits(one.parameters, other.parameters)
    with pytest.warns(RuntimeWarning, match="the batches ended after 1 epochs"):
        assert len(network().fit(iter(cut(x, y, 8)), epochs=3)) == 1
    with pytest.warns(RuntimeWarning, match="the batches ended after 2 epochs"):
        assert len(network().fit(iter(cut(x, y, 8)), epochs=3, steps_per_epoch=2)) == 2
    with pytest.warns(RuntimeWarning, match="the batches ended after 0 epochs"):
        assert len(network().fit([], epochs=3)) == 0


def test_progress_and_validation_of_batches():
    x, y = task()
    seen = []
    history = network().fit(
        cut(x, y, 8), epochs=2, progress=seen.append, validation_data=(x, y), metrics=["r2"], class_weight=None
    )
    ends = [each for each in seen if each.rows is not None]
    assert [(each.epoch, each.row, each.rows, each.cost) for each in ends] == [
        (1, 31, 31, history.cost[0]),
        (2, 31, 31, history.cost[1]),
    ]
    assert list(history) == ["cost", "validation_cost", "validation_r2"]


def test_callbacks_of_batches_hear_of_each_once():
    class Count:
        seen = ()

        def on_batch_end(self, network, state):
            self.seen += (state.step,)
            state.stop = state.step == 6

    count = Count()
    x, y = task()
    assert len(network().fit(cut(x, y, 8), epochs=3, callbacks=[count])) == 2
    assert count.seen == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    ("batches", "options", "error", "message"),
    [
        (3, {}, TypeError, "not an iterable|is an iterable"),
        (np.zeros((4, 3)), {}, TypeError, "y has dtype object"),
        ([np.zeros((4, 3))], {}, TypeError, "a batch is a ndarray"),
        ([(np.zeros((4, 3)),)], {}, TypeError, "a batch is a tuple"),
        ([(np.zeros((0, 3)), np.zeros((0, 2)))], {}, ValueError, "at least one sample"),
        ([(np.zeros(3), np.zeros(2))], {}, ValueError, "a batch's x has shape"),
        ([(np.zeros((4, 3)), np.zeros((3, 2)))], {}, ValueError, "x has 4 rows and y 3"),
        ([], {"validation_split": 0.5}, ValueError, "validation_split wants x and y"),
        ([], {"metrics": ["r2"]}, ValueError, "want validation_data"),
        ([], {"sample_weight": [1]}, ValueError, "weights of batches"),
        ([], {"class_weight": "balanced"}, ValueError, "weights of batches"),
        ([], {"steps_per_epoch": 0}, ValueError, "steps_per_epoch is 0"),
    ],
)
def test_batches_that_make_no_sense_are_refused(batches, options, error, message):
    net = network()
    before = digest(net.parameters)
    with pytest.raises(error, match=message):
        net.fit(batches, **options)
    assert digest(net.parameters) == before


# ---- files larger than memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float32", "float64", ">f8", "uint8", "fortran"])
def test_a_file_trains_as_an_array_does(tmp_path, dtype, kind, monkeypatch):
    monkeypatch.setattr(samples, "CHUNK", 300)
    x, y = task(200)
    x = (100 * (x + 1)).astype(np.uint8) if kind == "uint8" else x
    order = "F" if kind == "fortran" else "C"
    file = np.memmap(tmp_path / "x", "float32" if kind == "fortran" else kind, "w+", shape=x.shape, order=order)
    file[:] = x
    file.flush()
    one, other = network(dtype, rate=0.01), network(dtype, rate=0.01)
    options = {"epochs": 3, "batch_size": 8, "validation_split": 0.2, "metrics": ["r2"]}
    from_file = one.fit(file if dtype == "float32" else np.asarray(file), y, **options)
    from_array = other.fit(np.array(file), y, **options)
    assert dict(from_file) == dict(from_array)
    assert same_bits(one.parameters, other.parameters)
    assert one.evaluate(file, y, metrics=["r2"]) == one.evaluate(np.array(file), y, metrics=["r2"])
    assert one.fit(file, y, metrics=["r2"])["r2"] == other.fit(np.array(file), y, metrics=["r2"])["r2"]
    with pytest.raises(ValueError, match="x has 200 rows and y 199"):
        one.fit(file, y[:-1])
    with pytest.raises(ValueError, match="y has shape"):
        one.fit(file, y[:, :1])


LARGER_THAN_MEMORY = """
import os, resource, sys, tempfile
import numpy as np, pynn
kind, rows, width = sys.argv[1], 300_000, 256
pynn.set_num_threads(1)
net = pynn.Network([pynn.Dense(width, 4), pynn.Tanh(), pynn.Dense(4, 1)], optimizer=pynn.SGD(0.01), seed=0)
net.fit(np.zeros((64, width), np.float32), np.zeros(64), batch_size=64)
with tempfile.NamedTemporaryFile() as name:
    x = np.memmap(name.name, kind, "w+", shape=(rows, width))
    for i in range(0, rows, 10_000):
        x[i : i + 10_000] = i // 10_000 % 2
    y = np.asarray(x[:, :1], np.float32)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    # What is mapped counts, so the file does; beside it there is room for a quarter of it in the network's dtype.
    resource.setrlimit(resource.RLIMIT_AS, (now + rows * width * 4 // 4,) * 2)
    try:
        np.array(x, np.float32)
        sys.exit("the limit limits nothing")
    except MemoryError:
        pass
    history = net.fit(x, y, epochs=2, batch_size=256, validation_split=0.3, metrics=["r2"])
    print(history.cost[1] < history.cost[0], len(history["validation_r2"]))
"""


@pytest.mark.skipif(not importlib.util.find_spec("resource"), reason="this system has no limits on memory to test with")
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
def test_a_file_larger_than_memory_is_trained_on(kind):
    from pathlib import Path

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here, to tell how much memory is in use")
    assert output(LARGER_THAN_MEMORY, kind) == "True 2"


# ---- divergence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [4, 31])
def test_divergence_says_where(dtype, batch_size):
    x, y = task(dtype=dtype)
    x = x * 1e3
    net, other = network(dtype, rate=1e3), network(dtype, rate=1e3)
    with pytest.raises(pynn.DivergenceError, match="try a smaller learning rate") as caught:
        net.fit(x, y, epochs=1000, batch_size=batch_size, shuffle=False)
    error = caught.value
    batches = -(-31 // batch_size)
    step = 0
    while math.isfinite(
        cost := other.train_step(x[(at := step % batches * batch_size) : at + batch_size], y[at : at + batch_size])
    ):
        step += 1
    assert (error.step, error.epoch, error.batch) == (step, step // batches + 1, step % batches + 1)
    assert same_bits(error.cost, cost)
    assert f"in epoch {error.epoch}, batch {error.batch} (after {step} updates)" in str(error)
    assert len(error.history) == error.epoch - 1
    assert all(map(math.isfinite, error.history.cost))
    assert isinstance(error, ArithmeticError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.step, again.history.cost) == (str(error), step, error.history.cost)


def test_divergence_within_a_long_epoch_ends_it(monkeypatch):
    monkeypatch.setattr(training, "SECONDS_PER_CALL", 0.0)  # a batch in each call
    x, y = task(400)
    x[200, 0] = np.nan
    net, seen = network(), []
    with pytest.raises(pynn.DivergenceError) as caught:
        net.fit(x, y, batch_size=8, shuffle=False, progress=seen.append)
    assert (caught.value.batch, seen[-1].row) == (26, 200)
    assert np.isnan(caught.value.cost)


def test_nan_in_the_data_is_named_at_the_first_step():
    x, y = task()
    y[3] = np.inf
    with pytest.raises(pynn.DivergenceError, match="the first parameters, x or y hold NaN") as caught:
        network().fit(x, y, batch_size=31)
    assert caught.value.step == 0
    with pytest.raises(pynn.DivergenceError, match="epoch 1, batch 2"):
        network().fit([task(), (x, y)])


def test_divergence_may_be_ignored():
    x, y = task()
    history = network(rate=1e6).fit(x * 1e6, y, epochs=50, on_divergence="ignore")
    assert len(history) == 50
    assert not math.isfinite(history.cost[-1])


# ---- histories, partial_fit ------------------------------------------------------------------------------------------


def test_a_history_is_a_mapping_of_lists():
    history = History([2.0, 1.0], metrics={"validation_cost": [3.0, 2.5]})
    assert dict(history) == {"cost": [2.0, 1.0], "validation_cost": [3.0, 2.5]}
    assert ("cost" in history, "r2" in history, len(history)) == (True, False, 2)
    assert {name: array.tolist() for name, array in history.as_arrays().items()} == dict(history)
    assert eval(repr(history), vars(pynn)).metrics == history.metrics
    assert dict(pickle.loads(pickle.dumps(history))) == dict(history)
    with pytest.raises(KeyError):
        history["r2"]


def test_a_history_is_a_frame():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: no frames")
    frame = History([2.0, 1.0], metrics={"validation_cost": [3.0, 2.5]}).to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.to_dict("list") == {"cost": [2.0, 1.0], "validation_cost": [3.0, 2.5]}
    assert (frame.index.tolist(), frame.index.name) == ([1, 2], "epoch")


def test_partial_fit_is_a_pass_in_order(dtype):
    x, y = task(dtype=dtype)
    one, other = network(dtype), network(dtype)
    assert one.partial_fit(x, y).partial_fit(x, y, batch_size=8) is one
    other.fit(x, y, shuffle=False)
    other.fit(x, y, shuffle=False, batch_size=8)
    assert same_bits(one.parameters, other.parameters)
    one, other = network(dtype, cost=Squares()), network(dtype, cost=Squares())
    one.partial_fit(x, y, np.arange(31))
    other.fit(x, y, shuffle=False, sample_weight=np.arange(31))
    assert same_bits(one.parameters, other.parameters)
