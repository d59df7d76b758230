"""Layers that work on rows as stages of the engine's plan: the bits of layer by layer, in training and prediction."""

import copy
import pickle

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from support import same_bits, threads, values

import pynn


class Strange(pynn.Dense):
    """A Dense that the engine does not know, so that Python runs the network."""


OPTIMIZERS = {
    "sgd": lambda: pynn.SGD(0.05),
    "adam": lambda: pynn.Adam(0.01, clip_norm=1.0, l2=0.01),
}
LAYERS = {
    "all": lambda kind: [
        pynn.Standardize(5, mean=np.arange(5.0), deviation=np.full(5, 2.0)),
        kind(5, 17),
        pynn.LayerNorm(17),
        pynn.Tanh(),
        pynn.Dropout(0.3),
        pynn.Dense(17, 4),
        pynn.LayerNorm(4, scale=False),
        pynn.Softmax(),
    ],
    "first and last": lambda kind: [pynn.LayerNorm(5), kind(5, 4, bias=False), pynn.LogSoftmax(), pynn.Dropout(0.1)],
    "without parameters": lambda kind: [
        pynn.Dropout(0.2),
        kind(5, 33),
        pynn.LayerNorm(33, scale=False, bias=False),
        pynn.Dense(33, 4),
    ],
    "after activations": lambda kind: [
        kind(5, 40),
        pynn.ReLU(),
        pynn.LayerNorm(40, bias=False),
        pynn.Dropout(0.5),
        pynn.Dense(40, 4),
    ],
    "narrow": lambda kind: [
        kind(5, 1),
        pynn.Tanh(),
        pynn.Dense(1, 40),
        pynn.ReLU(),
        pynn.Dense(40, 4),
        pynn.Sigmoid(),
        pynn.Tanh(),
        pynn.Dense(4, 4),
    ],
}


@pytest.fixture(params=LAYERS)
def layers(request):
    return LAYERS[request.param]


def network(layers, kind, optimizer, dtype):
    net = pynn.Network(layers(kind), optimizer=OPTIMIZERS[optimizer](), dtype=dtype, seed=3)
    assert net._trains_in_c() is (kind is pynn.Dense)
    return net


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_and_prediction_have_the_bits_of_layer_by_layer(layers, optimizer, dtype, instruction_set):
    x, y = values((50, 5), dtype, 1), np.abs(values((50, 4), dtype, 2))
    for batch_size in (1, 7, 50):
        seen = []
        for kind in (pynn.Dense, Strange):
            net = network(layers, kind, optimizer, dtype)
            costs = net.fit(x, y, epochs=2, batch_size=batch_size, shuffle=batch_size > 1).cost
            costs += [net.train_step(x, y), net.train_step(x[0], y[0]), net.train_step(x[::2], y[::2])]
            alone = np.stack([net.predict(row) for row in x])
            assert same_bits(alone, net.predict(x))
            seen.append((costs, net.parameters.tobytes(), alone.tobytes()))
        assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("inputs", "outputs"), [(9, 33), (20, 50), (37, 71), (64, 64), (19, 500), (19, 601), (18, 1008), (41, 1024), (17, 2061)]
)
def test_steps_on_one_sample_have_the_bits_of_layer_by_layer(inputs, outputs, dtype, instruction_set):
    # Rows of a weight whole and with some left over, as many as are read at a time and fewer, close together and far apart.
    x, y = values((3, 5), dtype, 1), values((3, 3), dtype, 2)
    seen = []
    for kind in (Strange, pynn.Dense):
        layers = [kind(5, inputs), pynn.Tanh(), pynn.Dense(inputs, outputs), pynn.Sigmoid(), pynn.Dense(outputs, 3)]
        net = pynn.Network(layers, optimizer=pynn.SGD(0.05), dtype=dtype, seed=3)
        costs = [net.train_step(x[i], y[i]) for i in range(3)]
        seen.append((costs, net.parameters))
    assert seen[0][0] == seen[1][0]
    assert same_bits(seen[0][1], seen[1][1])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [(1, 1), (2, 8), (6, 5), (15, 15), (31, 17), (31, 8457), (38, 257), (40, 33), (67, 16), (512, 512), (513, 1024), (8200, 32)],
)
def test_an_epoch_of_single_samples_has_the_bits_of_its_steps(inputs, outputs, bias, dtype, instruction_set):
    # The first weight takes its step as the next sample reads it: in one chain, in four, and where threads share its rows.
    x, y = values((5, inputs), dtype, 1), values((5, max(outputs, 3)), dtype, 2)

    def network(kind, deep):
        layers = [kind(inputs, outputs, bias=bias), pynn.Tanh()] + [pynn.Dense(outputs, 3)] * deep
        return pynn.Network(layers, optimizer=pynn.SGD(pynn.schedules.ExponentialDecay(0.05, 0.5, 2)), dtype=dtype, seed=3)

    for deep in (True, False):
        wanted = y[:, : 3 if deep else outputs]
        for samples in (2, 5):
            seen = []
            for kind, number in ((Strange, 1), *((pynn.Dense, number) for number in (1, 2, 3, 4))):
                net = network(kind, deep)
                with threads(number):
                    costs = net.fit(x[:samples], wanted[:samples], epochs=2, batch_size=1, shuffle=samples > 2).cost
                seen.append((costs, net.parameters.tobytes()))
            assert seen == seen[:1] * len(seen)


@pytest.mark.parametrize("rows", [6, 16, 23, 31])
def test_few_rows_of_wide_layers_have_the_bits_of_layer_by_layer_and_of_each_row_alone(rows, dtype, instruction_set):
    # So few that rows are packed and not the weight, which then lies along the sums going back, and across them forward.
    x, y = values((rows, 5), dtype, 1), values((rows, 3), dtype, 2)
    seen = []
    for kind in (Strange, pynn.Dense):
        layers = [kind(5, 517), pynn.Tanh(), pynn.Dense(517, 1030), pynn.Sigmoid(), pynn.Dense(1030, 3)]
        net = pynn.Network(layers, optimizer=pynn.SGD(0.05), dtype=dtype, seed=3)
        costs = [net.train_step(x, y) for _ in range(2)]
        together = net.predict(x)
        assert same_bits(np.stack([net.predict(row) for row in x]), together)
        seen.append((costs, net.parameters.tobytes(), together.tobytes()))
    assert seen[0] == seen[1]


@pytest.mark.filterwarnings("ignore:Network. SoftmaxCrossEntropy")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_batch_that_goes_through_in_blocks_has_the_bits_of_layer_by_layer(layers, optimizer, dtype, instruction_set):
    """By one thread and by more, whose blocks differ; the last one of 833 or 849 rows of the narrow net has one row."""
    for rows in (1301, 833, 849):
        x, y = values((rows, 5), dtype, 1), np.abs(values((rows, 4), dtype, 2))
        weights = np.abs(values(rows, dtype, 3))
        labels = np.argmax(y, axis=1)

        def trained(kind, x=x, y=y, labels=labels, weights=weights, rows=rows):
            net = network(layers, kind, optimizer, dtype)
            costs = net.fit(x, y, epochs=2, batch_size=rows).cost
            costs += net.fit(x, y, epochs=1, batch_size=700, sample_weight=weights).cost
            net.cost = pynn.SoftmaxCrossEntropy()
            costs += net.fit(x, labels, epochs=1, batch_size=rows).cost
            return costs, net.parameters.tobytes()

        wanted = trained(Strange)
        for number in (1, 2, 3, 4):
            with threads(number):
                assert trained(pynn.Dense) == wanted, f"{rows} rows, {number} threads"


def test_a_large_weight_of_few_outputs_has_its_sums_go_from_block_to_block(dtype, instruction_set):
    # 100 x 49: in float32, rows go through in six blocks by one thread, each deep enough to be packed in its turn.
    x, y = values((1584, 100), dtype, 1), values((1584, 49), dtype, 2)
    seen = set()
    for kind in (Strange, pynn.Dense):
        for number in (1, 2):
            with threads(number):
                net = pynn.Network([kind(100, 49)], optimizer=pynn.SGD(0.05), dtype=dtype, seed=3)
                seen.add((net.train_step(x, y), net.parameters.tobytes()))
    assert len(seen) == 1


def test_blocks_that_are_not_worth_sharing_find_room_when_workers_take_them(dtype):
    """Little work, in two blocks: a worker that is quick takes the first one, whose place is then behind that of the second."""
    x, y = values((1800, 4), dtype, 1), values((1800, 4), dtype, 2)

    def trained(kind):
        net = pynn.Network([kind(4, 8), pynn.Dense(8, 4)], dtype=dtype, seed=1)
        return [net.train_step(x, y) for _ in range(200)], net.parameters.tobytes()

    wanted = trained(Strange)
    for number in (2, 3, 6):
        with threads(number):
            for _ in range(4):
                assert trained(pynn.Dense) == wanted, f"{number} threads"


@pytest.mark.parametrize("layout", ["a window that slides", "by two", "one row for all", "between others"])
def test_blocks_of_samples_wherever_they_lie_have_the_bits_of_layer_by_layer(layout, dtype, instruction_set):
    """Samples one number apart are a matrix that lies along both of its axes."""
    rows, width = 2000, 5
    some = values(rows * width, dtype, 1)
    x = {
        "a window that slides": sliding_window_view(some, width)[:rows],
        "by two": sliding_window_view(some, width)[: 2 * rows : 2],
        "one row for all": np.broadcast_to(some[:width], (rows, width)),
        "between others": np.repeat(some.reshape(rows, width), 2, axis=1)[:, 3 : 3 + width],
    }[layout]
    y = values((rows, 4), dtype, 2)
    for first in (4, 40):  # a weight that lies the one way, and the other
        seen = []
        for kind in (Strange, pynn.Dense):
            net = pynn.Network([kind(width, first), pynn.Tanh(), pynn.Dense(first, 4)], dtype=dtype, seed=1)
            seen.append(([net.train_step(x, y) for _ in range(2)], net.parameters.tobytes()))
        assert seen[0] == seen[1]


def test_any_number_of_threads_gives_the_same_bits(dtype):
    x, y = values((300, 5), dtype, 1), np.abs(values((300, 4), dtype, 2))
    seen = set()
    for number in (1, 2, 4):
        with threads(number):
            net = pynn.Network(
                [pynn.Dense(5, 200), pynn.LayerNorm(200), pynn.ReLU(), pynn.Dropout(0.3), pynn.Dense(200, 4), pynn.Softmax()],
                optimizer=pynn.Adam(),
                dtype=dtype,
                seed=1,
            )
            costs = net.fit(x, y, epochs=2, batch_size=128).cost
            seen.add((tuple(costs), net.parameters.tobytes(), net.predict(x).tobytes()))
    assert len(seen) == 1


def test_blocks_have_the_same_bits_whichever_way_weights_lie(dtype, instruction_set, monkeypatch):
    """The engine takes either order of any weight, also those that Dense does not choose: one column, one row."""
    x, y = values((1301, 5), dtype, 1), values((1301, 4), dtype, 2)

    def trained(kind):
        layers = [kind(5, 1), pynn.Tanh(), pynn.Dense(1, 40), pynn.ReLU(), pynn.Dense(40, 1), pynn.Tanh(), pynn.Dense(1, 4)]
        net = pynn.Network(layers, dtype=dtype, seed=1)
        costs = [net.train_step(x, y) for _ in range(2)]
        return costs, [np.ascontiguousarray(array).tobytes() for layer in layers[::2] for array in (layer.weight, layer.bias)]

    wanted = trained(Strange)
    for in_c_order in (True, False):
        monkeypatch.setattr(pynn.engine, "weight_in_c_order", lambda *_, answer=in_c_order: answer)
        assert trained(pynn.Dense) == wanted


def test_a_bias_beside_a_weight_that_threads_share_takes_one_step(dtype):
    """Too many parameters for blocks: threads have rows of the weight, and one of them the sums of the bias."""
    x, y = values((300, 5), dtype, 1), values((300, 4), dtype, 2)

    def trained(kind):
        layers = [kind(5, 200), pynn.ReLU(), pynn.Dense(200, 60), pynn.Tanh(), pynn.Dense(60, 4)]
        net = pynn.Network(layers, optimizer=pynn.SGD(0.05), dtype=dtype, seed=1)
        return [net.train_step(x, y) for _ in range(3)], net.parameters.tobytes()

    wanted = trained(Strange)
    for number in (1, 2, 3, 4):
        with threads(number):
            assert trained(pynn.Dense) == wanted, f"{number} threads"


@pytest.mark.parametrize(
    "way", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "deepcopy", "pickle"]
)
def test_a_copy_goes_on_with_the_same_masks_and_apart(dtype, way):
    x, y = values((30, 5), dtype, 1), np.abs(values((30, 4), dtype, 2))
    net = network(LAYERS["all"], pynn.Dense, "adam", dtype)
    net.fit(x, y, epochs=1)
    other = way(net)
    before = net.parameters.copy()
    costs = other.fit(x, y, epochs=2, batch_size=8).cost
    assert same_bits(net.parameters, before)
    assert net.layers[4].step == 1
    assert net.fit(x, y, epochs=2, batch_size=8).cost == costs
    assert same_bits(net.parameters, other.parameters)
    assert net.layers[4].step == other.layers[4].step == 9


def test_what_changes_in_a_layer_changes_in_the_plan(dtype):
    x, y = values((20, 5), dtype, 1), values((20, 5), dtype, 2)
    net = pynn.Network([pynn.Standardize(5), pynn.Dropout(0.5, seed=1), pynn.Dense(5, 5)], dtype=dtype, seed=0)
    with pytest.raises(RuntimeError, match=r"Standardize\(5\): fit"):
        net.predict(x)
    with pytest.raises(RuntimeError, match=r"Standardize\(5\): fit"):
        net.train_step(x, y)
    net.layers[0].fit(x)
    assert net._trains_in_c()
    standardized = net.layers[0].infer(x)
    assert same_bits(net.predict(x), net.layers[2].infer(standardized))
    net.layers[0].fit(2 * x + 1)
    assert same_bits(net.predict(x), net.layers[2].infer(net.layers[0].infer(x)))
    other = copy.deepcopy(net)
    net.layers[1].rate = 0.0
    other.layers[1].seed = 2
    third = copy.deepcopy(other)
    third.layers[1].seed = 1
    assert len({each.train_step(x, y) for each in (net, other, third)}) == 3


def test_a_mask_is_a_function_of_seed_step_and_place(dtype):
    """What the engine drops is what the layer by itself drops at that step."""
    layer = pynn.Dropout(0.5, seed=7)
    net = pynn.Network([layer, pynn.Dense(9, 9, initializer="zeros")], optimizer=pynn.SGD(1.0), dtype=dtype, seed=0)
    x = 1 + np.abs(values((6, 9), dtype))
    target = values((6, 9), dtype, 2)
    net.train_step(x, target)
    alone = pynn.Dropout(0.5, seed=7)
    dropped = alone.forward(x)
    assert layer.step == alone.step == 1
    gradient = pynn.kernels.weight_gradient(pynn.MSE().gradient(np.zeros_like(target), target), dropped)
    assert same_bits(np.ascontiguousarray(net.layers[1].weight), np.ascontiguousarray(0 - gradient))
