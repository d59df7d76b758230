"""pynn/training.py and Network.fit: epochs, batches, shuffling, convergence, progress, interruption."""

import math
import signal

import numpy as np
import pytest
from support import digest, output, python, same_bits, values

import pynn
from pynn.training import History, Progress, mean_cost


def network(dtype="float32", rate=0.1, outputs=2):
    return pynn.Network([pynn.Dense(3, 5), pynn.Tanh(), pynn.Dense(5, outputs)], optimizer=pynn.SGD(rate), dtype=dtype, seed=1)


def task(rows=31, dtype="float32", outputs=2):
    x = values((rows, 3), dtype, 1)
    return x, np.tanh(x[:, :outputs]) + x[:, 1:2]


def joined(lists):
    return [each for one in lists for each in one]


# ---- epochs and batches ----------------------------------------------------------------------------------------------


def test_an_epoch_takes_every_row_once_in_batches_the_last_of_which_may_be_smaller():
    seen = []

    class Witness:
        def forward(self, x):
            seen.append(x[:, 0].tolist())
            return x

        def backward(self, y_gradient):
            return y_gradient

    x = np.arange(31.0)[:, None] * np.ones((1, 3))
    net = pynn.Network([Witness(), pynn.Dense(3, 1)], optimizer=pynn.SGD(0), seed=0)
    net.fit(x, x[:, 0], epochs=2, batch_size=8, shuffle=False)
    assert [len(batch) for batch in seen] == [8, 8, 8, 7] * 2
    assert joined(seen[:4]) == joined(seen[4:]) == list(range(31))
    seen.clear()
    net.fit(x, x[:, 0], epochs=2, batch_size=8)
    assert [len(batch) for batch in seen] == [8, 8, 8, 7] * 2
    first, second = joined(seen[:4]), joined(seen[4:])
    assert sorted(first) == sorted(second) == list(range(31))
    assert first != second != list(range(31)) != first


def test_fit_in_c_and_in_python_take_rows_in_the_same_shuffled_order(dtype):
    class MySGD(pynn.SGD):
        """The network cannot know that it is the same."""

    x, y = task(dtype=dtype)
    in_c, in_python = network(dtype), network(dtype)
    in_python.optimizer = MySGD(0.1)
    assert in_c.fit(x, y, epochs=3, batch_size=8).cost == in_python.fit(x, y, epochs=3, batch_size=8).cost
    assert same_bits(in_c.parameters, in_python.parameters)


def test_a_batch_larger_than_the_data_is_all_of_it(dtype):
    x, y = task(dtype=dtype)
    one, other = network(dtype), network(dtype)
    assert one.fit(x, y, batch_size=10**9, shuffle=False).cost == [other.train_step(x, y)]
    assert same_bits(one.parameters, other.parameters)


def test_fits_go_on_where_the_last_one_ended(dtype):
    x, y = task(dtype=dtype)
    one, other = network(dtype), network(dtype)
    whole = one.fit(x, y, epochs=5, batch_size=4).cost
    pieces = [other.fit(x, y, epochs=epochs, batch_size=4).cost for epochs in (1, 3, 1)]
    assert joined(pieces) == whole
    assert same_bits(one.parameters, other.parameters)


def test_no_epochs_change_nothing(dtype):
    x, y = task(dtype=dtype)
    net = network(dtype)
    before = digest(net.parameters)
    history = net.fit(x, y, epochs=0)
    assert (history.cost, len(history), history.converged) == ([], 0, False)
    assert digest(net.parameters) == before


def test_one_epoch_is_the_default():
    assert len(network().fit(*task())) == 1


def test_rows_of_padded_data_are_trained_on_where_they_lie(dtype):
    x, y = task(dtype=dtype)
    room = np.full((31, 9), np.nan, dtype)
    room[:, :3], room[:, 4:6] = x, y
    one, other = network(dtype), network(dtype)
    assert one.fit(room[:, :3], room[:, 4:6], epochs=2, batch_size=8).cost == other.fit(x, y, epochs=2, batch_size=8).cost
    assert same_bits(one.parameters, other.parameters)


def test_training_learns_and_does_not_write_to_its_data(dtype):
    x, y = task(200, dtype)
    x.flags.writeable = y.flags.writeable = False
    before = digest(x, y)
    net = network(dtype)
    history = net.fit(x, y, epochs=200, batch_size=10)
    assert history.cost[-1] < history.cost[0] / 100
    assert net.evaluate(x, y) < history.cost[0] / 100
    assert digest(x, y) == before


@pytest.mark.parametrize("name", ["float16", "int64", "bool", ">f8", "list"])
def test_data_of_other_dtypes_is_converted_once(dtype, name):
    x = np.arange(12).reshape(4, 3) % 2
    given = x.tolist() if name == "list" else x.astype(name)
    one, other = network(dtype), network(dtype)
    assert one.fit(given, x[:, :2], epochs=2).cost == other.fit(x.astype(dtype), x[:, :2].astype(dtype), epochs=2).cost
    assert same_bits(one.parameters, other.parameters)


# ---- the cost it tells -----------------------------------------------------------------------------------------------


def test_the_cost_of_an_epoch_is_the_mean_over_its_rows(dtype):
    x, y = task(31, dtype)
    one, other = network(dtype), network(dtype)
    history = one.fit(x, y, epochs=1, batch_size=8, shuffle=False)
    costs = [other.train_step(x[i : i + 8], y[i : i + 8]) for i in range(0, 31, 8)]
    assert history.cost == [math.fsum([8 * costs[0], 8 * costs[1], 8 * costs[2], 7 * costs[3]]) / 31]
    assert type(history.cost[0]) is float


def test_with_a_rate_of_zero_the_cost_is_that_of_evaluate(dtype):
    x, y = task(31, dtype)
    net = network(dtype, rate=0)
    assert net.fit(x, y, epochs=3, batch_size=7).cost == pytest.approx([net.evaluate(x, y)] * 3)


def test_the_mean_of_costs_survives_infinities_and_overflow():
    assert mean_cost(np.array([1.0, 2.0]), 3, 2) == 4 / 3
    assert mean_cost(np.array([np.inf, 2.0]), 3, 2) == np.inf
    assert math.isnan(mean_cost(np.array([np.nan, 2.0]), 3, 2))
    assert mean_cost(np.array([1.7e308, 1.7e308, 1.7e308]), 6, 2) == np.inf


def test_diverging_training_that_is_let_go_gives_infinite_or_nan_costs(dtype):
    x, y = task(dtype=dtype)
    history = network(dtype, rate=1e30).fit(x * 1e6, y, epochs=20, on_divergence="ignore")
    assert not math.isfinite(history.cost[-1])
    assert len(history) == 20


# ---- convergence -----------------------------------------------------------------------------------------------------


def test_training_ends_when_the_cost_falls_no_more():
    x = np.linspace(-1, 1, 32)[:, None]
    net = pynn.Network([pynn.Dense(1, 1)], optimizer=pynn.SGD(0.1), dtype="float64", seed=0)
    history = net.fit(x, 3 * x + 1, tol=1e-9, patience=4)
    assert history.converged
    assert net.layers[0].weight.item() == pytest.approx(3, abs=1e-3)
    best, waited = math.inf, 0
    for epoch, cost in enumerate(history.cost):  # the rule, as documented
        waited = 0 if cost < best - 1e-9 else waited + 1
        best = min(best, cost)
        assert (waited == 4) is (epoch == len(history) - 1)


def test_patience_is_the_number_of_epochs_without_progress():
    for patience in (1, 2, 7):
        history = network(rate=0).fit(*task(), tol=0.0, patience=patience, batch_size=100, shuffle=False)
        assert history.converged
        assert len(history) == patience + 1


def test_epochs_bound_a_training_that_does_not_converge():
    history = network().fit(*task(), epochs=3, tol=0.0, patience=50)
    assert (len(history), history.converged) == (3, False)


def test_a_training_that_may_diverge_ends_by_patience_and_has_not_converged():
    history = network(rate=1e30).fit(*task(), tol=0.0, patience=3, epochs=1000, on_divergence="ignore")
    assert len(history) < 1000
    assert not history.converged


# ---- arguments -------------------------------------------------------------------------------------------------------

BAD = [
    ({"batch_size": 0}, ValueError),
    ({"batch_size": -1}, ValueError),
    ({"batch_size": 2.0}, TypeError),
    ({"batch_size": None}, TypeError),
    ({"batch_size": "8"}, TypeError),
    ({"batch_size": True}, TypeError),
    ({"epochs": -1}, ValueError),
    ({"epochs": 1.5}, TypeError),
    ({"epochs": "2"}, TypeError),
    ({"epochs": True}, TypeError),
    ({"tol": -1e-9}, ValueError),
    ({"tol": math.nan}, ValueError),
    ({"tol": math.inf}, ValueError),
    ({"tol": "small"}, (TypeError, ValueError)),
    ({"tol": 1j}, TypeError),
    ({"patience": 0, "tol": 1}, ValueError),
    ({"patience": 1.5, "tol": 1}, TypeError),
    ({"progress": 3}, TypeError),
    ({"progress": "print"}, TypeError),
]


@pytest.mark.parametrize(("options", "error"), BAD, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_arguments_that_make_no_sense_are_refused_before_anything_has_changed(options, error):
    net = network()
    before = digest(net.parameters), net._random.bit_generator.state
    with pytest.raises(error):
        net.fit(*task(), **{"epochs": 2, **options})
    assert (digest(net.parameters), net._random.bit_generator.state) == before


def test_a_single_sample_is_for_train_step():
    with pytest.raises(ValueError, match=r"fit: x has shape \(3,\), wanted \(samples, features\)"):
        network().fit(np.zeros(3), np.zeros(2))


def test_whole_numbers_of_numpy_will_do():
    assert len(network().fit(*task(), epochs=np.int64(2), batch_size=np.uint8(4), tol=np.float32(0), patience=np.int8(5))) == 2


# ---- progress --------------------------------------------------------------------------------------------------------


def test_progress_tells_where_training_is():
    x, y = task(31)
    seen = []
    history = network().fit(x, y, epochs=3, batch_size=8, progress=seen.append)
    assert {type(each) for each in seen} == {Progress}
    assert {(each.epochs, each.rows) for each in seen} == {(3, 31)}
    places = [(each.epoch, each.row) for each in seen]
    assert places == sorted(set(places))  # ever onward
    ends = [each for each in seen if each.row == 31]
    assert [each.epoch for each in ends] == [1, 2, 3]
    assert [each.cost for each in ends] == history.cost
    assert all(each.row % 8 == 0 or each.row == 31 for each in seen)
    assert repr(Progress(1, None, 2, 3, 0.5)) == "Progress(epoch=1, epochs=None, row=2, rows=3, cost=0.5)"


def test_progress_does_not_change_what_is_computed(dtype):
    x, y = task(500, dtype)
    one, other = network(dtype), network(dtype)
    assert one.fit(x, y, epochs=3, batch_size=2, progress=lambda _: None).cost == other.fit(x, y, epochs=3, batch_size=2).cost
    assert same_bits(one.parameters, other.parameters)


def test_progress_may_use_the_network():
    x, y = task(300)
    net = network()
    costs = []
    net.fit(x, y, epochs=2, batch_size=8, shuffle=False, progress=lambda _: costs.append(net.evaluate(x, y)))
    assert costs[-1] < costs[0]
    # A step of its own within a step is as good as one between two calls.
    net.fit(x, y, batch_size=8, progress=lambda _: net.train_step(x[:1], y[:1]))


def test_a_history_prints_and_has_a_length():
    history = History([0.5, 0.25], True)
    assert len(history) == 2
    assert repr(history) == "History(cost=[0.5, 0.25], converged=True)"
    assert eval(repr(history), vars(pynn)).cost == history.cost


# ---- interruption ----------------------------------------------------------------------------------------------------


def states_after_each_step(net, x, y, batch, epochs):
    seen = [digest(net.parameters)]
    for _ in range(epochs):
        for begin in range(0, len(x), batch):
            net.train_step(x[begin : begin + batch], y[begin : begin + batch])
            seen.append(digest(net.parameters))
    return seen


@pytest.mark.parametrize("how", ["an error", "ctrl-c"])
def test_an_interruption_leaves_the_parameters_of_a_completed_step(dtype, how):
    x, y = task(64, dtype)
    net, calls = network(dtype), []

    def stop(progress):
        calls.append(progress)
        if len(calls) == 4:
            if how == "an error":
                raise LookupError("enough")
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt if how == "ctrl-c" else LookupError):
        net.fit(x, y, epochs=5, batch_size=3, shuffle=False, progress=stop)
    states = states_after_each_step(network(dtype), x, y, 3, 5)
    steps = (calls[-1].epoch - 1) * 22 + -(-calls[-1].row // 3)
    assert digest(net.parameters) == states[steps]
    net.fit(x, y)  # and goes on


INTERRUPTED = """
import hashlib, os, signal, sys, threading, time
import numpy as np, pynn

def network():
    return pynn.Network([pynn.Dense(20, 200), pynn.Tanh(), pynn.Dense(200, 2)], seed=1)

def digest(net):
    return hashlib.sha256(net.parameters.tobytes()).hexdigest()

x = np.random.default_rng(0).random((400, 20), dtype=np.float32)
y = x[:, :2].copy()
net = network()
main = threading.main_thread().ident
threading.Timer(0.4, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
began = time.monotonic()
try:
    net.fit(x, y, epochs=10**9, batch_size=4, shuffle=False)
except KeyboardInterrupt:
    pass
assert time.monotonic() - began < 30, "Ctrl-C was not heard"
wanted, other, steps = digest(net), network(), 0
while digest(other) != wanted:
    begin = steps * 4 % 400
    other.train_step(x[begin : begin + 4], y[begin : begin + 4])
    steps += 1
    assert steps < 10**6, "no completed step has these parameters"
print(steps > 0)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system cannot send a signal to a thread")
def test_ctrl_c_in_the_middle_of_training_is_heard_and_leaves_a_completed_step():
    assert output(INTERRUPTED) == "True"


def test_ctrl_c_ends_a_program_as_python_ends_one():
    program = "import pynn, numpy as np, signal\nn = pynn.Network([pynn.Dense(2, 1)])\n"
    program += "n.fit(np.ones((9, 2)), np.ones(9), epochs=9, progress=lambda _: signal.raise_signal(signal.SIGINT))"
    result = python(program)
    assert result.returncode in (-signal.SIGINT, 130, 1)
    assert "KeyboardInterrupt" in result.stderr
