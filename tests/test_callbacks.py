"""pynn/callbacks.py and pynn/display.py: what callbacks are told, what they may do, and what people are shown."""

import importlib.util
import io
import math
import pickle
import sys

import numpy as np
import pytest
from support import digest, same_bits, values

import pynn
from pynn import display
from pynn.training import HOOKS, State


def network(dtype="float32", rate=0.1):
    return pynn.Network([pynn.Dense(3, 5), pynn.Tanh(), pynn.Dense(5, 2)], optimizer=pynn.SGD(rate), dtype=dtype, seed=1)


def task(rows=31, dtype="float32"):
    x = values((rows, 3), dtype, 1)
    return x, np.tanh(x[:, :2]) + x[:, 1:2]


class Witness:
    """Notes all it is told."""

    def __init__(self, *hooks):
        self.seen = []
        for name in hooks:
            setattr(self, name, lambda network, state, name=name: self.note(name, network, state))

    def note(self, name, network, state):
        self.seen.append((name, state.epoch, state.row, state.step, digest(network.parameters), len(state.history)))


# ---- the protocol ----------------------------------------------------------------------------------------------------


def test_callbacks_are_told_in_order():
    witness = Witness(*HOOKS)
    net = network()
    history = net.fit(*task(), epochs=2, batch_size=10, callbacks=[witness])
    names = [name for name, *_ in witness.seen]
    batch = ["on_progress", "on_batch_end"]
    assert names == ["on_train_begin", *["on_epoch_begin", *batch * 4, "on_epoch_end"] * 2, "on_train_end"]
    assert [each[1:4] for each in witness.seen if each[0] == "on_batch_end"] == [
        (1, 10, 1), (1, 20, 2), (1, 30, 3), (1, 31, 4), (2, 10, 5), (2, 20, 6), (2, 30, 7), (2, 31, 8),
    ]  # fmt: skip
    assert [each[5] for each in witness.seen if each[0] == "on_epoch_end"] == [1, 2]
    assert witness.seen[-1][4] == digest(net.parameters)
    assert len({each[4] for each in witness.seen if each[0] == "on_batch_end"}) == 8
    assert len(history) == 2


def test_callbacks_do_not_change_what_is_computed(dtype):
    x, y = task(500, dtype)
    plain = network(dtype)
    cost = plain.fit(x, y, epochs=3, batch_size=2).cost
    for hooks in (["on_train_end"], ["on_epoch_end"], HOOKS):
        net = network(dtype)
        assert net.fit(x, y, epochs=3, batch_size=2, callbacks=[Witness(*hooks)]).cost == cost
        assert same_bits(net.parameters, plain.parameters)


def test_c_takes_single_batches_only_for_a_callback_that_wants_them(monkeypatch):
    calls = []
    train = pynn.Network._train
    monkeypatch.setattr(pynn.Network, "_train", lambda *arguments: (calls.append(1), train(*arguments)))
    x, y = task(4096)
    network().fit(x, y, batch_size=1, callbacks=[Witness("on_epoch_end", "on_progress")])
    assert len(calls) < 200
    calls.clear()
    network().fit(x, y, batch_size=1, callbacks=[Witness("on_batch_end")])
    assert len(calls) == 4096


def test_a_callback_may_stop_within_an_epoch(dtype):
    class Stop:
        def on_batch_end(self, network, state):
            state.stop = state.step == 6

    x, y = task(dtype=dtype)
    witness = Witness("on_epoch_end", "on_train_end")
    net, other = network(dtype), network(dtype)
    history = net.fit(x, y, epochs=5, batch_size=10, shuffle=False, callbacks=[Stop(), witness])
    costs = [other.train_step(x[at : at + 10], y[at : at + 10]) for at in (0, 10, 20, 30, 0, 10)]
    assert same_bits(net.parameters, other.parameters)
    assert len(history) == 2
    assert history.cost[-1] == math.fsum([costs[4] * 10, costs[5] * 10]) / 20
    assert [each[:3] for each in witness.seen] == [("on_epoch_end", 1, 31), ("on_epoch_end", 2, 20), ("on_train_end", 2, 20)]


def test_a_callback_may_stop_after_an_epoch_or_before_the_first():
    class Stop:
        def on_epoch_end(self, network, state):
            state.stop = state.epoch == 3

    class Never:
        def on_train_begin(self, network, state):
            state.stop = True

    assert len(network().fit(*task(), epochs=9, callbacks=[Stop()])) == 3
    net = network()
    before = digest(net.parameters)
    assert len(net.fit(*task(), epochs=9, callbacks=[Never()])) == 0
    assert digest(net.parameters) == before


@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_in_a_callback_leaves_a_completed_step(hook, dtype):
    class Fails(Witness):
        def note(self, name, network, state):
            super().note(name, network, state)
            if name == hook and state.step >= 5 * (hook != "on_train_begin"):
                raise LookupError("enough")

    x, y = task(dtype=dtype)
    net, other = network(dtype), network(dtype)
    fails = Fails(*HOOKS)
    with pytest.raises(LookupError, match="enough"):
        net.fit(x, y, epochs=3, batch_size=10, shuffle=False, callbacks=[fails])
    name, _, _, step, seen, _ = fails.seen[-1]
    assert name == hook
    for i in range(step):
        at = i % 4 * 10
        other.train_step(x[at : at + 10], y[at : at + 10])
    assert seen == digest(net.parameters) == digest(other.parameters)
    net.fit(x, y)


def test_a_state_has_what_it_says():
    state = State(None, pynn.History())
    assert (state.epoch, state.row, state.rows, state.step, state.stop) == (0, 0, None, 0, False)
    assert math.isnan(state.cost)


def test_costs_of_a_state_are_those_of_the_batches_so_far():
    costs, means = [], []

    class Costs:
        def on_batch_end(self, network, state):
            costs.append(state.batch_cost)
            means.append(state.cost)

    x, y = task()
    history = network().fit(x, y, batch_size=10, shuffle=False, callbacks=[Costs()])
    other = network()
    assert costs == [other.train_step(x[at : at + 10], y[at : at + 10]) for at in (0, 10, 20, 30)]
    assert means[:2] == [costs[0] * 10 / 10, math.fsum([costs[0] * 10, costs[1] * 10]) / 20]
    assert means[-1:] == history.cost


@pytest.mark.parametrize("callbacks", [[print], [pynn.EarlyStopping], [object()], pynn.EarlyStopping("cost"), "abc", 3])
def test_what_is_told_nothing_is_refused(callbacks):
    net = network()
    before = digest(net.parameters)
    with pytest.raises(TypeError, match="fit: callback"):
        net.fit(*task(), callbacks=callbacks)
    assert digest(net.parameters) == before


# ---- EarlyStopping ---------------------------------------------------------------------------------------------------


class Scripted:
    """Writes given numbers into the history, and marks each epoch in the parameters."""

    def __init__(self, numbers, name="number"):
        self.numbers, self.name = numbers, name

    def on_train_begin(self, network, state):
        state.history.metrics[self.name] = []

    def on_epoch_end(self, network, state):
        network.parameters[0] = state.epoch
        state.history.metrics[self.name].append(self.numbers[state.epoch - 1])


@pytest.mark.parametrize(
    ("numbers", "options", "epochs", "best"),
    [
        ([5, 4, 3, 3, 3, 3], {"mode": "min", "patience": 2}, 5, 3),
        ([5, 4, 3, 3.5, 2.9, 3, 3, 3], {"mode": "min", "patience": 3}, 8, 5),
        ([5, 4, 3, 2, 1], {"mode": "min", "patience": 1}, 5, 5),
        ([5, 4.5, 4.1, 3.9, 3.9], {"mode": "min", "patience": 2, "min_delta": 0.6}, 5, 3),
        ([1, 2, 3, 1, 1], {"mode": "max", "patience": 2}, 5, 3),
        ([math.nan, 2, math.nan, 1, math.nan, math.nan, 0], {"mode": "min", "patience": 2}, 6, 4),
        ([math.inf, 2, 3, 3], {"mode": "min", "patience": 2}, 4, 2),
        ([math.nan] * 5, {"mode": "min", "patience": 3}, 3, 0),
    ],
)
def test_early_stopping_stops_after_patience_and_restores_the_best(numbers, options, epochs, best):
    stopping = pynn.EarlyStopping("number", **options)
    net = network(rate=0)
    history = net.fit(*task(), epochs=len(numbers), callbacks=[Scripted(numbers), stopping])
    assert (len(history), stopping.best_epoch) == (epochs, best)
    assert net.parameters[0] == (best or epochs)
    assert stopping.stopped_epoch in (0, epochs)
    if best:
        assert stopping.best == numbers[best - 1]


def test_early_stopping_may_leave_the_last_parameters_and_begins_anew():
    stopping = pynn.EarlyStopping("number", patience=2, restore_best=False, mode="min")
    for _ in range(2):
        net = network(rate=0)
        assert len(net.fit(*task(), epochs=9, callbacks=[Scripted([3] * 9), stopping])) == stopping.stopped_epoch == 3
        assert net.parameters[0] == 3
        assert stopping.best_parameters is None


def test_early_stopping_on_validation_data_ends_at_its_best(dtype):
    x, y = task(60, dtype)
    net = network(dtype, rate=0.4)
    y = y + values(y.shape, dtype, 5)  # noise to fit
    stopping = pynn.EarlyStopping(patience=3)
    history = net.fit(x, y, epochs=2000, batch_size=5, validation_split=0.5, callbacks=[stopping])
    assert len(history) < 2000
    assert stopping.best == min(history.validation_cost) == net.evaluate(x[30:], y[30:])
    assert history.validation_cost.index(stopping.best) + 1 == stopping.best_epoch


def test_mode_auto_knows_costs_and_metrics_and_asks_for_others():
    x, y = task()
    for monitor, sign in (("cost", -1), ("validation_mean_absolute_error", -1), ("validation_accuracy", 1), ("validation_r2", 1)):
        stopping = pynn.EarlyStopping(monitor)
        metrics = {name: lambda p, t: 1.0 for name in ("mean_absolute_error", "accuracy", "r2", "mine")}
        net = network()
        net.fit(x, y, validation_data=(x, y), metrics=metrics, callbacks=[stopping])
        assert stopping._factor == sign
    before = digest(net.parameters)
    with pytest.raises(ValueError, match=r"EarlyStopping: mode for 'validation_mine' wanted"):
        net.fit(x, y, validation_data=(x, y), metrics=metrics, callbacks=[pynn.EarlyStopping("validation_mine")])
    with pytest.raises(ValueError, match="nothing to monitor as 'validation_cost'; the history has 'cost'"):
        net.fit(x, y, callbacks=[pynn.EarlyStopping()])
    assert digest(net.parameters) == before


@pytest.mark.parametrize(
    ("monitor", "advice"),
    [
        ("validation_cost", "; it would with validation_data or validation_split of fit"),
        ("validation_r2", r"; it would with validation_data or validation_split and metrics=\['r2'\] of fit"),
        ("r2", r"; it would with metrics=\['r2'\] of fit"),
        ("val_loss", ""),
        ("validation_mine", ""),
    ],
)
def test_what_is_missing_to_monitor_a_number_is_said(monitor, advice):
    x, y = task()
    with pytest.raises(ValueError, match=f"the history has 'cost'{advice}$"):
        network().fit(x, y, callbacks=[pynn.EarlyStopping(monitor)])


# ---- ReduceOnPlateau -------------------------------------------------------------------------------------------------


def rates(numbers, **options):
    net = network(rate=1.0)
    reducing = pynn.ReduceOnPlateau("number", mode="min", **options)
    history = net.fit(*task(), epochs=len(numbers), callbacks=[Scripted(numbers), reducing], on_divergence="ignore")
    return history["learning_rate"]


def test_a_plateau_reduces_the_rate():
    assert rates([3, 2, 2, 2, 2, 2, 1], factor=0.5, patience=2) == [1, 1, 1, 1, 0.5, 0.5, 0.25]
    assert rates([3, 2, 1, 0, -1], factor=0.5, patience=1) == [1] * 5
    assert rates([1] * 6, factor=0.5, patience=1, cooldown=2) == [1, 1, 0.5, 0.5, 0.5, 0.25]
    assert rates([1] * 5, factor=0.5, patience=1, min_learning_rate=0.4) == [1, 1, 0.5, 0.4, 0.4]
    assert rates([1, 0.99, 0.98], factor=0.5, patience=1, min_delta=0.1) == [1, 1, 0.5]


def test_a_rate_that_is_no_number_is_refused():
    net = network()
    net.optimizer = type("Own", (), {"step": lambda self, parameters, gradients: None})()
    with pytest.raises(TypeError, match="ReduceOnPlateau: the optimizer's learning_rate is None"):
        net.fit(*task(), callbacks=[pynn.ReduceOnPlateau("cost")])


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: pynn.EarlyStopping(patience=0), ValueError),
        (lambda: pynn.EarlyStopping(patience=1.5), ValueError),
        (lambda: pynn.EarlyStopping(min_delta=-1), ValueError),
        (lambda: pynn.EarlyStopping(min_delta=math.nan), ValueError),
        (lambda: pynn.EarlyStopping(mode="best"), ValueError),
        (lambda: pynn.ReduceOnPlateau(factor=1), ValueError),
        (lambda: pynn.ReduceOnPlateau(cooldown=-1), ValueError),
        (lambda: pynn.ReduceOnPlateau(min_learning_rate=-1), ValueError),
        (lambda: pynn.ReduceOnPlateau(factor=0), ValueError),
        (lambda: pynn.EarlyStopping(patience="a"), ValueError),
        (lambda: pynn.EarlyStopping(patience=-1), ValueError),
        (lambda: pynn.EarlyStopping(patience=True), ValueError),
        (lambda: pynn.EarlyStopping(min_delta=10**400), ValueError),
        (lambda: pynn.EarlyStopping(mode=np.array(["min", "max"])), ValueError),
        (lambda: pynn.EarlyStopping(monitor=None), TypeError),
        (lambda: pynn.EarlyStopping(restore_best="no"), TypeError),
        *(
            (lambda kind=kind, name=name, value=value: kind(**{name: value}), TypeError)
            for kind, name in (
                (pynn.EarlyStopping, "min_delta"),
                (pynn.ReduceOnPlateau, "min_delta"),
                (pynn.ReduceOnPlateau, "factor"),
                (pynn.ReduceOnPlateau, "min_learning_rate"),
            )
            for value in ("a", None, [1], 1j)
        ),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, error):
    with pytest.raises(error, match=r"(EarlyStopping|ReduceOnPlateau): \w+ is .*wanted"):
        make()


@pytest.mark.parametrize("callback", [pynn.EarlyStopping("cost", 3), pynn.ReduceOnPlateau("cost", 0.5)], ids=repr)
def test_callbacks_print_and_pickle(callback):
    assert repr(eval(repr(callback), vars(pynn) | {n: getattr(pynn, n) for n in ("EarlyStopping", "ReduceOnPlateau")})) == repr(
        callback
    )
    network().fit(*task(), callbacks=[callback])
    assert pickle.loads(pickle.dumps(callback)).best == callback.best


# ---- what people are shown -------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, verbose, epochs=25, **options):
    monkeypatch.setattr(sys, "stdout", stream)
    x, y = task()
    network().fit(x, y, epochs=epochs, verbose=verbose, validation_data=(x, y), **options)
    return stream.getvalue()


def test_by_default_and_in_a_pipe_nothing_is_printed_unless_asked(monkeypatch):
    assert shown(monkeypatch, io.StringIO(), 0) == shown(monkeypatch, io.StringIO(), "auto") == ""
    assert shown(monkeypatch, Terminal(), 0) == ""
    lines = shown(monkeypatch, io.StringIO(), 1).splitlines()
    assert [line.split()[1] for line in lines] == ["1", *map(str, range(3, 25, 3)), "25"]
    lines = shown(monkeypatch, io.StringIO(), 2).splitlines()
    assert [line.split()[1] for line in lines] == [*map(str, range(1, 26))]
    assert all(line.split()[2::2] == ["cost", "validation_cost"] for line in lines)


@pytest.mark.skipif(importlib.util.find_spec("tqdm") is None, reason="tqdm is not installed: there is no bar")
@pytest.mark.parametrize("verbose", [1, "auto"])
def test_a_terminal_gets_a_bar(monkeypatch, verbose):
    text = shown(monkeypatch, Terminal(), verbose)
    assert "\r" in text
    assert "25/25" in text
    assert "validation_cost 0." in text


@pytest.mark.skipif(importlib.util.find_spec("tqdm") is None, reason="tqdm is not installed: there is no bar")
def test_an_error_closes_the_bar(monkeypatch):
    class Fails:
        def on_epoch_end(self, network, state):
            raise LookupError

    closed = []
    monkeypatch.setattr(
        display.Display, "close", lambda self, close=display.Display.close: (closed.append(self.bar), close(self))
    )
    with pytest.raises(LookupError):
        shown(monkeypatch, Terminal(), 1, callbacks=[Fails()])
    assert len(closed) == 1
    assert closed[0].disable  # what tqdm's bars are once they are closed


def test_without_tqdm_a_terminal_gets_lines_if_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert shown(monkeypatch, Terminal(), "auto") == ""
    assert shown(monkeypatch, Terminal(), 1, epochs=1).startswith("epoch 1  cost 0.")


@pytest.mark.parametrize("verbose", [3, "loud", -1])
def test_another_verbose_is_refused(verbose):
    with pytest.raises(ValueError, match="fit: verbose is"):
        network().fit(*task(), verbose=verbose)


class Stranger:
    def forward(self, x):
        return x

    def backward(self, y_gradient):
        return y_gradient

    def __repr__(self):
        return "Stranger<&>"


def test_the_summary_counts_and_escapes():
    net = pynn.Network([pynn.Dense(1000, 300, bias=False), Stranger(), pynn.Dense(300, 1)], dtype="float64")
    lines = net.summary().splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "Dense(1000,", "Stranger<&>", "Dense(300,", "total"]
    assert "weight (300, 1000)" in lines[1]
    assert lines[1].split()[-2:] == ["300,000", "2,400,000"]
    assert lines[2].split()[1] == "?"
    assert lines[-1].split()[1:] == [f"{net.parameters.size:,}", f"{net.parameters.nbytes:,}"]
    assert len(set(map(len, lines))) == 1
    html = net._repr_html_()
    assert "Stranger&lt;&amp;&gt;" in html
    assert "<&>" not in html
    assert html.count("<tr>") == 5


def test_pictures_are_drawn_and_saved(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing to draw with")
    net = pynn.Network([pynn.Dense(3, 5), Stranger(), pynn.Dense(5, 2)])
    figure = net.plot(tmp_path / "net.png")
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    assert [text.get_text() for text in figure.axes[0].texts][:4] == ["3", "5", "Dense(3, 5)", "?"]
    x, y = task()
    history = net.fit(x, y, epochs=3, validation_data=(x, y), metrics=["r2"])
    figure = history.plot(file=tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    assert [[line.get_label() for line in axes.get_lines()] for axes in figure.axes] == [
        ["cost", "validation_cost"],
        ["validation_r2"],
    ]
    assert figure.axes[0].get_lines()[0].get_ydata().tolist() == history.cost
    assert len(history.plot(["validation_r2"]).axes) == 1
    with pytest.raises(KeyError, match="loss: the history has cost, validation_cost, validation_r2"):
        history.plot(["loss"])


def test_curves_are_drawn_beside_others_in_a_figure_of_the_callers():
    figures = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed: nothing to draw with")
    history = pynn.History([0.5, 0.25], metrics={"validation_cost": [0.6, 0.5], "validation_r2": [0.1, 0.2]})
    own = figures.Figure()
    left, right = own.subplots(1, 2)
    assert history.plot(["cost", "validation_cost"], axes=left) is own
    assert [line.get_label() for line in left.get_lines()] == ["cost", "validation_cost"]
    assert (left.get_yscale(), right.get_yscale(), len(own.axes), len(right.get_lines())) == ("log", "linear", 2, 0)
    history.plot(axes=right)
    assert len(right.get_lines()) == 3
    assert right.get_yscale() == "linear"


def test_a_cost_without_classes_in_place_of_one_that_takes_them_is_refused():
    class Change:
        def on_epoch_end(self, network, state):
            network.cost = pynn.MSE()

    net = pynn.Network([pynn.Dense(2, 3)], cost=pynn.SoftmaxCrossEntropy(), seed=0)
    with pytest.raises(ValueError, match=r"y is classes, which MSE\(\) does not take"):
        net.fit(np.ones((4, 2)), [0, 1, 2, 0], epochs=2, callbacks=[Change()])
