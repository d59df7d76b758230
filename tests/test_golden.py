"""The golden runs give the bits written down for them on every instruction set, any threads, by every path, in any memory."""

import functools
import math
import os
import subprocess
import sys

import golden
import numpy as np
import pytest
from golden import RUNS
from support import DTYPES, INSTRUCTION_SETS, ROOT, threads, using

import pynn
from pynn.training import batch_weights, mean_cost, weighted_mean


@pytest.fixture(params=RUNS)
def name(request):
    return request.param


@functools.cache
def batch_costs(name, dtype):
    """The costs of the batches, whose digest is known to be the golden one."""
    run, (x, y) = RUNS[name], golden.data(RUNS[name], dtype)
    costs = golden.train(run, golden.network(run, dtype), x, y)
    assert golden.digest(costs) == golden.written(name, dtype)["costs"]
    return costs


def by_fit(run, net, x, y, **options):
    """One call; a history has the mean cost of an epoch, in which the order of summing does not matter."""
    weights, orders = golden.weights(run, net.dtype), golden.orders(run, net)
    history = net.fit(x, y, epochs=run.epochs, batch_size=run.batch, shuffle=run.shuffle, sample_weight=weights, **options)
    name = next(name for name, other in RUNS.items() if other is run)
    costs = batch_costs(name, net.dtype.name)
    if weights is None:
        assert history.cost == [mean_cost(epoch, run.rows, min(run.batch, run.rows)) for epoch in costs]
    else:
        of_batches = [batch_weights(weights[order], run.batch) for order in orders]
        means = zip(costs, of_batches, strict=True)
        assert history.cost == [weighted_mean(epoch.tolist(), each, math.fsum(each)) for epoch, each in means]
    return costs


def by_hand(net, x, *target):
    """A step of which Python does every part."""
    prediction = net.forward(x)
    net.backward(net.cost.gradient(prediction, *target))
    net.optimizer.step(net.parameters, net.gradients)
    return net.cost(prediction, *target)


class OwnDense(pynn.Dense):
    """A subclass, which may do anything: a network with it goes layer by layer."""


def subclassed(run):
    """The network's layers, where every Dense is of the subclass."""
    return [
        eval("Own" + repr(layer), {"OwnDense": OwnDense}) if isinstance(layer, pynn.Dense) else layer for layer in run.layers()
    ]


def leave_dirt(dtype):
    """Free arrays full of NaNs and large networks that have become NaNs, for what comes next to be made of their memory."""
    for exponent in range(6, 21):
        for _ in range(3):
            np.full(1 << exponent, 0xFF, np.uint8)
    net = pynn.Network([pynn.Dense(90, 400), pynn.Tanh(), pynn.Dense(400, 60)], dtype=dtype)
    with using(INSTRUCTION_SETS[0]):  # a NaN is one by any; the portable set takes eight times as long for it
        net.fit(np.full((70, 90), np.nan), np.full((70, 60), np.nan), batch_size=33, on_divergence="ignore")
        net.backward(net.forward(np.full((70, 90), np.nan)))
    assert np.isnan(net.parameters).all()


PATHS = {
    "one fit": lambda run, net, x, y: by_fit(run, net, x, y),
    "fit in pieces": lambda run, net, x, y: by_fit(run, net, x, y, progress=lambda _: None),
    "train_step": golden.train,
    "forward, backward, step": lambda run, net, x, y: golden.train(run, net, x, y, by_hand),
}


@pytest.mark.parametrize("path", PATHS)
def test_every_path_on_any_number_of_threads_gives_the_golden_bits(instruction_set, dtype, name, path):
    run, (x, y) = RUNS[name], golden.data(RUNS[name], dtype)
    # A path differs in what it calls, not in how a call shares out its work; and the demonstration has tests of its own.
    for number in (1, 2, 3, 4) if name.startswith("shared_out") or (path == "one fit" and name != "demo") else (2,):
        with threads(number):
            net = golden.network(run, dtype)
            costs = PATHS[path](run, net, x, y)
            assert golden.digests(net, x, costs) == golden.written(name, dtype)


@pytest.mark.parametrize("path", ["one fit", "train_step"])
def test_a_network_that_goes_layer_by_layer_gives_the_golden_bits(instruction_set, dtype, name, path):
    run, (x, y) = RUNS[name], golden.data(RUNS[name], dtype)
    net = golden.network(run, dtype, subclassed(run))
    assert net._plan is None  # or this would test the other path twice
    costs = PATHS[path](run, net, x, y)
    assert golden.digests(net, x, costs) == golden.written(name, dtype)


def test_predictions_of_a_batch_in_parts_have_the_golden_bits(instruction_set, dtype, name):
    run, (x, y) = RUNS[name], golden.data(RUNS[name], dtype)
    net = golden.network(run, dtype)
    golden.train(run, net, x, y)
    wanted = golden.written(name, dtype)["predictions"]
    assert golden.digest(np.array([net.predict(row) for row in x])) == wanted
    for size in range(1, run.rows + 1) if run.rows <= 41 else (2, 3, 7, 16, 33, 64, run.rows - 1):
        assert golden.digest(np.concatenate([net.predict(x[i : i + size]) for i in range(0, run.rows, size)])) == wanted, size


def test_memory_full_of_nans_gives_the_golden_bits(instruction_set, dtype, name):
    run, (x, y) = RUNS[name], golden.data(RUNS[name], dtype)
    leave_dirt(dtype)
    net = golden.network(run, dtype)
    leave_dirt(dtype)
    costs = by_fit(run, net, x, y)
    out = np.full((run.rows, y.shape[1]), np.nan, dtype)
    leave_dirt(dtype)
    assert golden.digest(net.predict(x, out=out)) == golden.written(name, dtype)["predictions"]
    assert golden.digests(net, x, costs) == golden.written(name, dtype)


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_memory_that_the_system_fills_with_garbage_gives_the_golden_bits(isa):
    # glibc then hands out bytes of 0xfe, and overwrites what it gets back with 0x01
    environment = {**os.environ, "MALLOC_PERTURB_": "1", "PYNN_INSTRUCTION_SET": isa}
    command = [sys.executable, "-W", "error", golden.__file__, "check"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{2 * len(RUNS)} runs on {isa} have the bits that are written down.\n"


# ---- the runs themselves -------------------------------------------------------------------------------------------------------


def test_the_file_has_a_line_for_each_result_and_no_other():
    wanted = [f"{name}.{dtype}.{what}" for name in RUNS for dtype in DTYPES for what in ("parameters", "predictions", "costs")]
    lines = [line.split("  ") for line in golden.FILE.read_text(encoding="ascii").splitlines()]
    assert [name for _, name in lines] == wanted, "python tests/golden.py rewrite"
    assert len({number for number, _ in lines}) == len(lines)  # no run is another one's double


def test_the_runs_have_both_orders_of_weights_all_layers_and_numbers_that_are_subnormal():
    layers = [layer for run in RUNS.values() for layer in run.layers()]
    assert {layer.name for layer in layers if isinstance(layer, pynn.layers.Activation)} == set(pynn.kernels.ACTIVATIONS)
    assert {pynn.Softmax, pynn.LogSoftmax, pynn.LayerNorm, pynn.Dropout, pynn.Standardize} < set(map(type, layers))
    dense = [layer for layer in layers if isinstance(layer, pynn.Dense)]
    assert {pynn.kernels.weight_in_c_order(layer.in_features, layer.out_features) for layer in dense} == {True, False}
    for dtype in DTYPES:
        run, (x, y) = RUNS["subnormal"], golden.data(RUNS["subnormal"], dtype)
        net = golden.network(run, dtype)
        golden.train(run, net, x, y)
        small = np.abs(np.concatenate([net.predict(x).ravel(), *(layer.bias for layer in golden.dense_layers(net))]))
        assert ((small > 0) & (small < np.finfo(dtype).smallest_normal)).sum() > 5


def test_the_runs_have_all_costs_and_optimizers_with_state_penalties_and_limits():
    made = [(run.cost(), run.optimizer(run.rate), run.weighted) for run in RUNS.values()]
    for weighted in (False, True):
        assert {cost.name for cost, _, each in made if each == weighted} == {*pynn.kernels.COSTS, "softmax_cross_entropy"}
    assert {optimizer._name for _, optimizer, _ in made} == set(pynn.engine.OPTIMIZERS)
    assert {type(optimizer).__name__ for _, optimizer, _ in made} == set(pynn.optimizers.__all__) - {"Optimizer"}
    assert any(optimizer.l1 and optimizer.l2 and optimizer.clip_value and optimizer.clip_norm for _, optimizer, _ in made)


def test_a_change_in_the_last_bits_is_seen(dtype):
    """Or all of the above would show nothing."""
    run, (x, y) = RUNS["mixed"], golden.data(RUNS["mixed"], dtype)
    net = golden.network(run, dtype)
    net.parameters = np.nextafter(net.parameters, np.inf, dtype=dtype)
    costs, wanted = golden.train(run, net, x, y), golden.written("mixed", dtype)
    assert all(number != wanted[what] for what, number in golden.digests(net, x, costs).items())
