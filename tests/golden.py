"""The golden runs: small trainings whose every bit is written down in golden.sha256, for every machine to reproduce.

    python tests/golden.py rewrite    write golden.sha256 anew, where a change of the bits is meant
    python tests/golden.py check      compare this machine with it
    python tests/golden.py runs       the runs as text, for tests/c/golden.c

golden.sha256 is in the format of sha256sum, with a line for each result, <run>.<dtype>.<what>. All numbers are little-endian:

    parameters     after training: of each layer its weight (out, in), row by row, or scale, then its bias
    predictions    of the trained network for its own inputs (rows, out), row by row
    costs          float64: of each batch of each epoch, before its update

A run is a line in RUNS; each activation, cost and optimizer has one of its own.
"""

import copy
import sys
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from support import DTYPES, values

import pynn
from pynn import Arctan, Dense, Identity, LeakyReLU, ReLU, Sigmoid, Tanh, datasets, demo

FILE = Path(__file__).with_suffix(".sha256")


class Run(NamedTuple):
    """How a network is made, its data and its training; ``scale`` multiplies inputs and targets."""

    layers: Callable[[], list[Any]]
    rows: int
    batch: int
    epochs: int = 2
    rate: float = 0.25
    shuffle: bool = True
    seed: int = 1
    scale: Callable[[str], float] = lambda dtype: 1.0
    data: Callable[[int], tuple[Any, Any]] | None = None  # of a seed; None: numbers that fill their mantissa
    cost: Callable[[], Any] = pynn.MSE
    optimizer: Callable[[float], Any] = pynn.SGD  # of a learning rate
    weighted: bool = False  # whether samples have weights

    @property
    def reorders(self) -> bool:
        """Whether the rows come in an order of each epoch's own."""
        return self.shuffle and self.batch < self.rows


def stack(*widths, activation=Sigmoid, bias=True):
    """Dense layers of these widths, an activation after each but the last."""
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [Dense(inputs, outputs, bias=bias), activation()]
    return layers[:-1]


def digits(seed):
    """The data of the demonstration."""
    loaded = datasets.load_digits()
    x, _, label, _ = datasets.train_test_split(*loaded, test_size=demo.TEST_SIZE, seed=seed, stratify=loaded.label)
    return x, datasets.one_hot(label, 10)


def classes(seed):
    """Classes of samples, as probabilities of 0 and 1."""
    return values((21, 6), "float64", 3), datasets.one_hot(np.arange(21) * 7 % 5, 5)


def on_rows(last):
    """Layers that work on whole rows, in front, between and behind others."""
    front = pynn.Standardize(7)
    front.mean, front.deviation = values(7, "float64", 6), np.abs(values(7, "float64", 7)) + 0.5
    middle = [Dense(7, 19), pynn.LayerNorm(19), Tanh(), pynn.Dropout(0.3), Dense(19, 33), pynn.Dropout(0.5, seed=2**63 + 5)]
    return [front, *middle, pynn.LayerNorm(33, epsilon=0.01), Dense(33, 5), last()]


MIXED = [Dense(20, 40), Sigmoid(), Dense(40, 33), Tanh(), Dense(33, 9), Arctan(), Dense(9, 5), ReLU(), Dense(5, 3), Identity()]

OPTIMIZERS = {
    "momentum": partial(pynn.SGD, momentum=0.9),
    "nesterov": partial(pynn.SGD, momentum=0.9, nesterov=True),
    "rmsprop": partial(pynn.RMSProp, rho=0.9),
    "rmsprop_momentum": partial(pynn.RMSProp, momentum=0.5),
    "adagrad": pynn.Adagrad,
    "adam": pynn.Adam,
    "adamw": partial(pynn.AdamW, weight_decay=0.1),
    "nadam": pynn.NAdam,
    "rprop": pynn.Rprop,
}
PENALIZED = [Dense(7, 19), Tanh(), Dense(19, 6, l1=0.02, weight_decay=0.1), Tanh(), Dense(6, 3, regularize_bias=True)]
EXTRAS = {"l1": 0.01, "l2": 0.03, "clip_value": 0.01, "clip_norm": 0.1}

RUNS = {
    "xor": Run(partial(stack, 2, 8, 1), rows=4, batch=4, epochs=20, rate=1.0),
    "one_weight": Run(lambda: [Dense(1, 1, bias=False)], rows=3, batch=2),
    "mixed": Run(lambda: copy.deepcopy(MIXED), rows=70, batch=16, epochs=3),
    "in_a_row": Run(lambda: [Tanh(), Dense(7, 9), Dense(9, 6, bias=False), ReLU(), Sigmoid(), Dense(6, 5), Tanh()],
                    rows=19, batch=6),
    "borders": Run(partial(stack, 15, 16, 17, 31, 32, 33, 1, 2), rows=40, batch=7),
    "borders_without_bias": Run(partial(stack, 33, 16, 65, 3, 64, 8, bias=False), rows=33, batch=32),
    "single_samples": Run(partial(stack, 16, 31, 32, 17, 2, activation=Tanh), rows=11, batch=1),
    "single_samples_without_bias": Run(partial(stack, 33, 15, 48, 5, bias=False), rows=9, batch=1),
    "batch_of_all": Run(partial(stack, 9, 24, 4, activation=Arctan), rows=33, batch=1000, epochs=4),
    "large_batch": Run(partial(stack, 12, 40, 3), rows=150, batch=64),
    "blocks": Run(partial(stack, 5, 33, 16, 3, activation=Tanh), rows=901, batch=700),
    "blocks_of_rows": Run(partial(on_rows, pynn.Softmax), rows=301, batch=301, optimizer=pynn.Adam, rate=0.01),
    "one_row_left_over": Run(partial(stack, 12, 40, 3, activation=ReLU), rows=65, batch=32),
    "in_order": Run(partial(stack, 5, 18, 7, 2), rows=25, batch=4, shuffle=False),
    "few_outputs": Run(partial(stack, 130, 2, 66, 1), rows=20, batch=9),
    "shared_out": Run(partial(stack, 30, 300, 40, 5, activation=Tanh), rows=41, batch=30, epochs=1),
    "shared_out_single_samples": Run(partial(stack, 40, 530, 500, 3), rows=2, batch=1, epochs=1),
    "slopes": Run(lambda: [Dense(8, 16), LeakyReLU(0.3), Dense(16, 11), LeakyReLU(-0.2), Dense(11, 2), LeakyReLU()],
                  rows=23, batch=10),
    "saturated": Run(lambda: [Dense(6, 20), Sigmoid(), Dense(20, 20), Tanh(), Dense(20, 2), Arctan()],
                     rows=20, batch=8, scale=lambda dtype: 300.0, rate=1e-3),
    "subnormal": Run(partial(stack, 6, 20, 3, activation=Tanh), rows=20, batch=8,
                     scale=lambda dtype: 4 * float(np.finfo(dtype).smallest_normal)),
    "demo": Run(lambda: [Dense(64, 96), Sigmoid(), Dense(96, 10)], rows=1437, batch=8, epochs=3, rate=0.3, seed=0, data=digits),
    **{
        f"activation_{row.name}": Run(partial(stack, 6, 17, 33, 5, activation=getattr(pynn, row.class_name)), rows=21, batch=8)
        for row in pynn.kernels.ACTIVATIONS.values()
    },
    **{
        f"cost_{row.name}{'_weighted' * weighted}": Run(partial(stack, 6, 18, 33, 5, activation=Tanh), rows=21, batch=8,
                                                        cost=getattr(pynn, row.class_name), weighted=weighted)
        for row in pynn.kernels.COSTS.values() for weighted in (False, True)
    },
    "cost_softmax_cross_entropy": Run(partial(stack, 6, 18, 33, 5, activation=Tanh), rows=21, batch=8, data=classes,
                                      cost=partial(pynn.SoftmaxCrossEntropy, label_smoothing=0.1)),
    "cost_softmax_cross_entropy_weighted": Run(partial(stack, 6, 18, 33, 5, activation=Tanh), rows=21, batch=8, data=classes,
                                               cost=pynn.SoftmaxCrossEntropy, weighted=True),
    "rows_softmax": Run(partial(on_rows, pynn.Softmax), rows=21, batch=8),
    "rows_log_softmax": Run(partial(on_rows, pynn.LogSoftmax), rows=21, batch=8, optimizer=pynn.Adam, rate=0.01),
    "rows_single_samples": Run(partial(on_rows, pynn.Softmax), rows=7, batch=1),
    "cost_parameters": Run(partial(stack, 6, 17, 1), rows=21, batch=8, cost=partial(pynn.Huber, 0.3)),
    "weighted_single_samples": Run(partial(stack, 6, 17, 3), rows=7, batch=1, cost=partial(pynn.Quantile, 0.8), weighted=True),
    **{
        f"optimizer_{name}{what}": Run(layers, rows=37, batch=8, rate=0.02, optimizer=partial(make, **options))
        for name, make in OPTIMIZERS.items()
        for what, layers, options in (("", partial(stack, 7, 19, 6, 3, activation=Tanh), {}),
                                      ("_penalized", lambda: copy.deepcopy(PENALIZED), EXTRAS))
    },
    "optimizer_of_single_samples": Run(partial(stack, 9, 20, 4), rows=11, batch=1, rate=0.01, optimizer=pynn.Adam),
    "optimizer_shared_out": Run(partial(stack, 30, 700, 40, 5, activation=Tanh), rows=41, batch=30, epochs=1, rate=0.01,
                                optimizer=partial(pynn.NAdam, clip_norm=0.1)),
}  # fmt: skip


def network(run, dtype, layers=None):
    """The network before its training; its biases are not zero, as they would be by themselves."""
    layers = run.layers() if layers is None else layers
    net = pynn.Network(layers, cost=run.cost(), optimizer=run.optimizer(run.rate), dtype=dtype, seed=run.seed)
    if run.data is None:
        for i, layer in enumerate(dense_layers(net)):
            if layer.has_bias:
                layer.bias = values(layer.out_features, dtype, i) * run.scale(dtype)
    return net


def dense_layers(net):
    return [layer for layer in net.layers if isinstance(layer, Dense)]


def data(run, dtype):
    """Inputs (rows, in) and targets (rows, out)."""
    dense = [layer for layer in run.layers() if isinstance(layer, Dense)]
    if run.data is not None:
        x, y = run.data(run.seed)
        return np.asarray(x, dtype), np.asarray(y, dtype)
    x, y = values((run.rows, dense[0].in_features), dtype, 3), values((run.rows, dense[-1].out_features), dtype, 4)
    return (x * run.scale(dtype)).astype(dtype), (y * run.scale(dtype)).astype(dtype)


def weights(run, dtype):
    """Weights of samples (rows,), some of them 0, or None."""
    return (np.arange(run.rows) % 4 * np.abs(values(run.rows, dtype, 5))).astype(dtype) if run.weighted else None


def orders(run, net):
    """The rows of each epoch in the order in which ``fit`` will take them."""
    random = copy.deepcopy(net._random)
    return [random.permutation(run.rows) if run.reorders else np.arange(run.rows) for _ in range(run.epochs)]


def one_step(net, x, y, weights=None):
    """A step on a batch; the cost before it."""
    if weights is None:
        return net.train_step(x, y)
    cost = net.evaluate(x, y, weights) if weights.any() else 0.0  # a history has means, which round once more
    if weights.any():
        net.fit(x, y, batch_size=len(x), shuffle=False, sample_weight=weights)
    return cost


def train(run, net, x, y, step=one_step):
    """Train batch by batch, by ``step(net, x, y)``, with a third array if samples have weights; the costs (epochs, batches)."""
    arrays = (x, y, weights(run, net.dtype)) if run.weighted else (x, y)
    return np.array(
        [[step(net, *(array[order[i : i + run.batch]] for array in arrays)) for i in range(0, run.rows, run.batch)]
         for order in orders(run, net)]
    )  # fmt: skip


def digest(array):
    """SHA-256 of the numbers of an array in C order, little-endian."""
    return sha256(np.asarray(array).astype(array.dtype.newbyteorder("<"), order="C").tobytes()).hexdigest()


def digests(net, x, costs):
    """What golden.sha256 says of a trained network."""
    return {"parameters": demo.fingerprint(net), "predictions": digest(net.predict(x)), "costs": digest(costs)}


def written(name, dtype):
    """What golden.sha256 says of a run."""
    lines = dict(line.split("  ")[::-1] for line in FILE.read_text(encoding="ascii").splitlines())
    return {what: lines.get(f"{name}.{dtype}.{what}") for what in ("parameters", "predictions", "costs")}


def computed(name, dtype):
    """The same, computed now."""
    run, (x, y) = RUNS[name], data(RUNS[name], dtype)
    net = network(run, dtype)
    costs = train(run, net, x, y)
    # IEEE 754 leaves the payload of a NaN open, and processors differ in it.
    assert all(np.isfinite(array).all() for array in (net.parameters, net.predict(x), costs)), name
    return digests(net, x, costs)


# ---- commands --------------------------------------------------------------------------------------------------------------


def rewrite():
    lines = [
        f"{number}  {name}.{dtype}.{what}\n"
        for name in RUNS
        for dtype in DTYPES
        for what, number in computed(name, dtype).items()
    ]
    FILE.write_text("".join(lines), encoding="ascii")
    print(f"{len(lines)} lines in {FILE}")


def check():
    other = [f"{name}.{dtype}" for name in RUNS for dtype in DTYPES if computed(name, dtype) != written(name, dtype)]
    if other:
        sys.exit(f"Other bits than in {FILE} on {pynn.instruction_set()}: {', '.join(other)}")
    print(f"{2 * len(RUNS)} runs on {pynn.instruction_set()} have the bits that are written down.")


def numbers(array):
    """Every bit of them, in a form that C reads."""
    return " ".join(map(float.hex, np.ravel(array).tolist()))


def parameter_of(cost):
    """Of a cost that has one; label smoothing."""
    if isinstance(cost, pynn.SoftmaxCrossEntropy):
        return float(cost.label_smoothing)
    return cost.parameter or pynn.kernels.COSTS[cost.name].default


# What a layer has besides its widths: one number, and dropout its seed too.
OF_LAYER = {
    Dense: lambda layer: [int(layer.has_bias)],
    pynn.LayerNorm: lambda layer: [layer.epsilon.hex()],
    pynn.Dropout: lambda layer: [layer.rate.hex(), layer.seed],
    **dict.fromkeys([pynn.Softmax, pynn.LogSoftmax, pynn.Standardize], lambda layer: [0]),
    **{
        getattr(pynn, row.class_name): lambda layer: [(layer.parameter or 0.0).hex()] for row in pynn.kernels.ACTIVATIONS.values()
    },
}


def arrays_of(layer):
    """What it computes with."""
    if isinstance(layer, pynn.Standardize):
        return [layer.mean, layer.deviation]
    return [layer.scale if isinstance(layer, pynn.LayerNorm) else getattr(layer, "weight", None), getattr(layer, "bias", None)]


def runs():
    for name, run in RUNS.items():
        for dtype in DTYPES:
            net, (x, y) = network(run, dtype), data(run, dtype)
            state = net.optimizer._updater.__getstate__()
            print("run", f"{name}.{dtype}", DTYPES.index(dtype), run.rate.hex(), run.rows, run.batch, run.epochs, len(net.layers))
            print(net.cost.name, parameter_of(net.cost).hex(), int(run.weighted))
            print(
                state["name"], len(state["states"]), numbers([*state["hyperparameters"], state["clip_value"], state["clip_norm"]])
            )
            print(len(state["runs"]))
            for begin, end, *penalties in state["runs"]:
                print(begin, end, numbers(penalties))
            width = dense_layers(net)[0].in_features
            for layer in net.layers:
                outputs = layer.out_features if isinstance(layer, Dense) else width
                print(getattr(layer, "name", type(layer).__name__), width, outputs, *OF_LAYER[type(layer)](layer))
                width = outputs
            for layer in net.layers:
                print(*(numbers(array) for array in arrays_of(layer) if array is not None))
            print(numbers(x))
            print(numbers(y))
            if run.weighted:
                print(numbers(weights(run, dtype)))
            print("shuffled" if run.reorders else "in_order")
            for order in orders(run, net) if run.reorders else []:
                print(*order)


if __name__ == "__main__":
    commands = {"rewrite": rewrite, "check": check, "runs": runs}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]]()
