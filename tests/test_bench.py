"""The benchmarks: each runs, measures what it says, and knows a wrong answer. Nothing here depends on how fast anything is."""

import argparse
import inspect
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from support import ROOT

import pynn

pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed, which the benchmarks need")
sys.path.insert(0, str(ROOT))  # the benchmarks belong to the repository, not to the package
from bench import accuracy, contestants, kernels, peers, references, report, timing
from bench.__main__ import RUNS, main
from bench.report import MARK


def bench(*arguments, **environment):
    """``python -m bench``: what it prints, and what it writes as JSON if asked to."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYNN_")} | environment
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(path):
    return json.loads(path.read_text(encoding="utf-8"))


def column(table, name):
    return [row[table["columns"].index(name)] for row in table["rows"]]


def test_help_names_every_benchmark():
    text = bench("--help")
    for name in ("kernels", "peers", "roofline", "startup", "accuracy"):
        assert f"\n    {name} " in text
        assert "--json" in bench(name, "--help")


def test_kernels_times_every_kernel_and_every_activation(tmp_path):
    text = bench("kernels", "--quick", "--json", tmp_path / "kernels.json")
    result = written(tmp_path / "kernels.json")
    activations = [f"{kernel}[{name}]" for kernel in ("activation", "activation_gradient") for name in pynn.kernels.ACTIVATIONS]
    costs = [f"{kernel}[{name}]" for kernel in kernels.OF_COSTS for name in pynn.kernels.COSTS]
    rest = [name for name in kernels.KERNELS if not name.startswith("activation") and name not in kernels.OF_COSTS]
    updates = [f"update[{name}]" for name in pynn.optimizers.__all__ if name != "Optimizer"]
    assert {table["title"] for table in result["tables"]} == {*activations, *costs, *rest, *updates} == set(kernels.TABLES)
    for table in result["tables"]:
        assert set(column(table, "dtype")) == {"float32", "float64"}
        assert all(value > 0 for name in ("pynn µs", "NumPy µs", "ratio", "% of limit") for value in column(table, name))
    assert all(len(set(map(len, case["times"].values()))) == 1 for case in result["measured"])
    assert "cells clear the bar" in text
    for fact in ("processor", "instruction set", "compiler", "versions", "threads", "limits"):
        assert f"{fact}: " in text


def test_every_function_of_the_kernels_module_has_its_benchmark():
    public = {name for name, value in vars(pynn.reference).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert public == set(kernels.KERNELS)


def test_kernels_takes_a_selection_and_both_orders(tmp_path):
    bench(
        "kernels", "--kernels", "affine", "--sizes", "3x5", "--batches", "1", "7", "--dtypes", "float64", "--order", "both",
        "--rounds", 1, "--turn", 1e-4, "--json", tmp_path / "kernels.json",
    )  # fmt: skip
    (table,) = written(tmp_path / "kernels.json")["tables"]
    cells = [["float64", "3x5", batch, order] for batch in (1, 7) for order in ("layer", "c")]
    assert [row[:4] for row in table["rows"]] == cells


@pytest.mark.parametrize("markdown", [[], ["--markdown"]])
def test_kernels_shows_the_tables_that_are_asked_for_and_sums_up_all(tmp_path, markdown):
    options = ["--kernels", "activation", "bias_gradient", "--sizes", "3x5", "--batches", "1", "--rounds", 1, "--turn", 1e-4]
    shown = ["activation[tanh]", "bias_gradient"]
    text = bench("kernels", *options, "--tables", *shown, *markdown, "--json", tmp_path / "kernels.json")
    assert [table["title"].split(":")[0] for table in written(tmp_path / "kernels.json")["tables"]] == shown
    assert all(f"activation[{name}]: median " in text for name in pynn.kernels.ACTIVATIONS)


def test_markdown_of_kernels_is_one_row_for_each_size():
    options = ["--kernels", "affine", "gradient_descent", "--sizes", "3x5", "2", "--batches", "1", "--rounds", 1, "--turn", 1e-4]
    text = bench("kernels", *options, "--markdown")
    firsts = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert [first for first in firsts if not set(first) <= set("-:")] == ["in x out", "3x5", "2x2", "parameters", "20", "6"]


def test_all_run_without_a_name_and_their_results_go_into_a_document(tmp_path):
    pytest.importorskip("matplotlib")
    document = tmp_path / "performance.md"
    document.write_text(f"# Performance\n\nkept\n\n{MARK}gone\n", encoding="utf-8")
    bench("--quick", "--update", document)
    text = document.read_text(encoding="utf-8")
    assert text.startswith(f"# Performance\n\nkept\n\n{MARK}")
    assert "gone" not in text
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == list(RUNS)
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert re.findall("^### .*", text, re.MULTILINE) == re.findall("^### .*", page, re.MULTILINE)
    for picture in ("performance.png", "performance-adam.png"):
        assert f"({picture})" in text
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    document.write_text("# Another page\n", encoding="utf-8")
    command = [sys.executable, "-m", "bench", "--update", document]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has no line" in done.stderr


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_kernels_refuses_to_time_a_wrong_answer(monkeypatch, kernel):
    right = getattr(pynn.kernels, kernel)

    def wrong(*arguments):
        if kernel == "gradient_descent":
            right(*arguments)
            arguments[0][-1] += 0.001
            return None
        return right(*arguments) * 1.001 + 0.001

    (case,) = kernels._cases(kernel, 5, 3, 4, "float32", "layer", ["tanh"])
    kernels._check(case)
    monkeypatch.setattr(pynn.kernels, kernel, wrong)
    with pytest.raises(AssertionError, match=kernel):
        kernels._check(case)


@pytest.mark.parametrize("name", kernels.OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_refuses_to_time_a_wrong_step(monkeypatch, name, dtype):
    (case,) = [each for each in kernels._cases(kernels.UPDATE, 50, 3, 1, dtype, "layer", []) if each.kernel == f"update[{name}]"]
    kernels._check(case)
    right = pynn.optimizers.Optimizer.step
    monkeypatch.setattr(pynn.optimizers.Optimizer, "step", lambda self, theta, g: right(self, theta, 0.5 * (g + abs(g))))
    with pytest.raises(AssertionError, match=name):
        kernels._check(case)


def test_a_bare_formula_says_what_the_reference_says():
    for name in pynn.kernels.ACTIVATIONS:
        for kernel in ("activation", "activation_gradient"):
            (case,) = kernels._cases(kernel, 5, 3, 4, "float32", "layer", [name])
            bare = np.asarray(kernels._formula(case, None)(*case.arguments)).astype(case.dtype)  # sqrt(2) makes float64 of it
            np.testing.assert_allclose(bare, getattr(pynn.reference, kernel)(*case.arguments), rtol=2.0**-22)


def test_peers_compares_with_numpy(tmp_path):
    text = bench("peers", "--quick", "--json", tmp_path / "peers.json")
    result = written(tmp_path / "peers.json")
    titles = [table["title"].split(",")[0] for table in result["tables"]]
    assert titles == ["Predict", "One training step", "A step within an epoch"]
    for table in result["tables"]:
        assert set(column(table, "net")) == {"2-8-1", "8-64-64-4"}
        assert set(column(table, "best peer")) == {"NumPy"}
        assert all(value > 0 for value in column(table, "pynn is faster"))
    assert "cells" in text


def test_peers_with_adam_has_a_full_batch_too(tmp_path):
    options = ["--peers", "NumPy", "Numba", "--nets", "3-5-2", "--batches", 1, 4, "--rounds", 1, "--turn", 1e-4, "--pause", 0]
    text = bench("peers", "--optimizer", "adam", *options, "--cpu-time", "--json", tmp_path / "peers.json")
    *tables, full = written(tmp_path / "peers.json")["tables"]
    assert [(len(table["rows"]), column(table, "net")) for table in tables] == [(2, ["3-5-2", "3-5-2"])] * 3
    assert full["title"].startswith("Full batch")
    assert (column(full, "net"), column(full, "batch")) == (["4-32-16-4"], [10_000])
    assert all(value > 0 for name in ("pynn", "NumPy") for value in column(full, name))
    assert "mean squared error, Adam, float32" in text


def test_tasks_of_peers_are_those_asked_for(tmp_path):
    bench("peers", "--quick", "--tasks", "full-batch", "--json", tmp_path / "peers.json")
    (table,) = written(tmp_path / "peers.json")["tables"]
    assert column(table, "net") == ["4-32-16-4"]


class Uncorrected(contestants.NumPy):
    """Adam whose moments are taken for unbiased."""

    def _update(self):
        self.steps = 10**6
        super()._update()


class Slower(contestants.NumPy):
    """Adam with another memory of the squares."""

    def _update(self):
        steps, g = self.steps, self.gradients.copy()
        super()._update()
        self.v -= 0.0005 * g * g
        assert self.steps == steps + 1


@pytest.mark.parametrize("wrong", [Uncorrected, Slower])
@pytest.mark.parametrize("widths", [(2, 8, 1), (8, 64, 64, 4)])
@pytest.mark.parametrize("batch", [1, 32])
def test_peers_refuses_to_time_another_adam(monkeypatch, wrong, widths, batch):
    net = contestants.Net(widths, optimizer="adam")

    def check():
        ours, theirs = multiprocessing.Pipe()
        thread = threading.Thread(target=contestants.serve, args=(theirs, "NumPy", 1))
        thread.start()
        entry = object.__new__(peers.Entry)
        entry.name, entry.threads, entry.pipe = "NumPy", 1, ours
        try:
            return peers._check([entry], net, batch, [])
        finally:
            ours.close()
            thread.join()

    assert len(check()) == 1
    monkeypatch.setitem(contestants.CONTESTANTS, "NumPy", wrong)
    with pytest.raises(AssertionError, match="prediction after"):
        check()


@pytest.mark.parametrize("activation", pynn.kernels.ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", contestants.OPTIMIZERS)
def test_contestants_agree(activation, dtype, optimizer):
    """The benchmark's NumPy network, written by hand, and pynn's give the same, in a step and in an epoch."""
    net = contestants.Net((5, 7, 6, 2), activation, dtype, optimizer)
    ours, theirs = contestants.Pynn(net, 4, 1), contestants.NumPy(net, 4, 1)
    tolerance = {"rtol": 200 * np.finfo(dtype).eps, "atol": 50 * np.finfo(dtype).eps}
    if optimizer == "adam" and dtype == "float32":
        tolerance["atol"] += 1e-5  # a thousandth of what the steps change: gradients may be all rounding
    x, y = net.data(12)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), **tolerance)
    np.testing.assert_allclose(ours.step(x[:4], y[:4]), theirs.step(x[:4], y[:4]), **tolerance)
    for each in (ours, theirs):
        each.epoch(each.prepare(x, y))
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", contestants.OPTIMIZERS)
@pytest.mark.parametrize("peer", ["NumPy", "torch"])  # JAX in a process of its own, below
def test_contestants_agree_on_the_cross_entropy(peer, dtype, optimizer):
    """Costs of steps, and what comes of them."""
    kind = contestants.CONTESTANTS[peer]
    if not kind.installed():
        pytest.skip(f"{peer} is not installed")
    net = contestants.Net((5, 7, 6, 4), "tanh", dtype, optimizer, "softmax_cross_entropy")
    ours, theirs = contestants.Pynn(net, 4, 1), kind(net, 4, 1)
    tolerance = {"rtol": 200 * np.finfo(dtype).eps, "atol": 50 * np.finfo(dtype).eps + (optimizer == "adam") * 1e-5}
    x, y = net.data(12)
    for some in (slice(0, 4), slice(4, 8)):
        np.testing.assert_allclose(ours.step(x[some], y[some]), theirs.step(x[some], y[some]), **tolerance)
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), **tolerance)
    for each in (ours, theirs):
        each.epoch(each.prepare(x, y))
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), **tolerance)
    assert np.abs(ours.predict(x) - contestants.Pynn(net, 4, 1).predict(x)).max() > 1e-3  # they have learnt


def test_peers_with_classes_leaves_out_who_cannot(tmp_path):
    options = ["--peers", "NumPy", "Numba", "JAX", "--nets", "3-5-1", "3-5-2", "--batches", 4, "--rounds", 1, "--turn", 1e-4]
    text = bench(
        "peers", "--cost", "softmax_cross_entropy", *options, "--pause", 0, "--cpu-time", "--json", tmp_path / "peers.json"
    )
    tables = written(tmp_path / "peers.json")["tables"]
    assert [column(table, "net") for table in tables] == [["3-5-2"]] * 3
    able = ["NumPy", *["JAX"] * contestants.JAX.installed()]  # whose costs and predictions agreed, or there would be no table
    assert all(column(table, name)[0] > 0 for table in tables for name in able)
    assert "softmax cross-entropy of classes, gradient descent, float32" in text
    assert ("Numba (1): NotImplementedError: has no softmax cross-entropy" in text) == contestants.Numba.installed()


def test_roofline_measures_limits_and_shares(tmp_path):
    bench("roofline", "--quick", "--json", tmp_path / "roofline.json", XDG_CACHE_HOME=str(tmp_path))
    limits, *shares = written(tmp_path / "roofline.json")["tables"]
    assert {f"multiply-adds, {dtype}" for dtype in ("float32", "float64")} < set(column(limits, "what"))
    assert {f"reads from {level}" for level in ("L1", "L2", "L3", "DRAM")} < set(column(limits, "what"))
    assert all(value > 0 for value in column(limits, "rate"))
    assert all(len(table["rows"]) > 0 for table in shares)
    assert list((tmp_path / "pynn-bench").glob("roofline-*.so"))


def test_startup_measures_a_fresh_process(tmp_path):
    bench("startup", "--quick", "--json", tmp_path / "startup.json")
    (table,) = written(tmp_path / "startup.json")["tables"]
    assert column(table, "library") == ["NumPy itself", "pynn"]
    assert column(table, "memory, MiB")[0] > 0


def test_an_environment_that_would_slow_numpy_down_is_put_right_and_said():
    text = bench("startup", "--quick", OPENBLAS_CORETYPE="Prescott")
    assert "OPENBLAS_CORETYPE=Prescott was set, and was unset" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["kernels", "--sizes", "3by5"],
        ["peers", "--nets", "8"],
        ["kernels", "--kernels", "convolution"],
        ["kernels", "--tables", "activation[cubic]"],
    ],
)
def test_options_that_make_no_sense_are_refused(arguments):
    done = subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert arguments[-1] in done.stderr


# ---- accuracy --------------------------------------------------------------------------------------------------------


def test_accuracy_sweeps_every_activation_and_writes_its_document(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing to draw with")
    document, plot, numbers = tmp_path / "accuracy.md", tmp_path / "accuracy.png", tmp_path / "accuracy.json"
    document.write_text(f"# Accuracy\n\n{MARK}gone\n", encoding="utf-8")
    text = bench("accuracy", "--quick", "--processes", 2, "--update", document, "--plot", plot, "--json", numbers)
    assert "FAILED" not in text
    assert "special values: NaN, infinities and zeros are right" in text
    result = written(numbers)
    functions = [[name, prime] for name in pynn.kernels.ACTIVATIONS for prime in ("f", "f'")]
    *sweeps, beside = result["tables"]
    assert [table["title"].split(":")[0] for table in sweeps] == ["float32", "float64"]
    for table in sweeps:
        assert [row[:2] for row in table["rows"]] == functions
    for each in result["measured"]:
        assert each["worst"] <= references.LIMITS[each["function"]]
        assert each["count"] > 2**10
        assert len(each["profile"]) == (2**32 // accuracy.BIN if each["dtype"] == "float32" else 0)
    assert {"pynn", "NumPy"} == set(column(beside, "library"))
    page = document.read_text(encoding="utf-8")
    assert page.startswith(f"# Accuracy\n\n{MARK}\n- processor: ")
    assert "gone" not in page
    assert "### float64: " in page
    assert plot.read_bytes().startswith(b"\x89PNG")


def sweep_of_tanh(capsys, dtype="float32"):
    """Exit status and output of a sweep in this process, in which a test may have put something wrong."""
    references._formula.cache_clear()
    with pytest.raises(SystemExit) as ended:
        main(["accuracy", "--quick", "--activations", "tanh", "--dtypes", dtype, "--processes", "1", "--peers"])
    references._formula.cache_clear()
    return ended.value.code, capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("which", references.WHICH)
def test_accuracy_fails_a_function_that_is_off_by_units_in_the_last_place(monkeypatch, capsys, which, dtype):
    right = references.computed

    def wrong(asked, name, x):
        y = right(asked, name, x)
        if asked != which:
            return y
        y[(x > 1.4) & (x < 1.6)] *= 1 + 4 * np.finfo(dtype).eps
        return y

    monkeypatch.setattr(references, "computed", wrong)
    status, text = sweep_of_tanh(capsys, dtype)
    assert status == 1
    assert text.count("FAILED") == 1
    assert f"FAILED: {accuracy.PRIME[which]} of tanh, {dtype}, is" in text


def test_accuracy_fails_a_reference_that_is_off_by_units_in_the_last_place(monkeypatch, capsys):
    monkeypatch.setitem(references.STABLE, ("f", "tanh"), "tanh(x) * (1 + 2 * 2.0 ** -23)")
    status, text = sweep_of_tanh(capsys)
    assert status == 1
    assert "FAILED: f of tanh, float32, has a reference that is itself" in text


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x, y: np.where(np.abs(y) < np.finfo("float32").smallest_normal, 0, y), "is 8388607.0000 ULP"),
        (lambda x, y: np.where(np.abs(x) > 1e38, np.inf, y), "is inf"),
        (lambda x, y: np.where(np.isnan(x), 0, y), "is inf"),
        (lambda x, y: np.where(np.isinf(x), np.nan, y), "at inf is nan, wanted 1.0"),
        (lambda x, y: np.where(x == 0, 0, y), "at -0.0 is 0.0, wanted 0.0"),
    ],
    ids=["subnormal results flushed", "overflow", "NaN lost", "infinity", "sign of zero"],
)
def test_accuracy_fails_what_is_wrong_at_the_ends(monkeypatch, capsys, spoil, said):
    right = references.computed
    monkeypatch.setattr(references, "computed", lambda which, name, x: spoil(x, right(which, name, x)).astype(x.dtype))
    status, text = sweep_of_tanh(capsys)
    assert status == 1
    assert said in "".join(line for line in text.splitlines() if line.startswith("FAILED"))


def test_accuracy_counts_what_is_off_by_how_much():
    tally = accuracy.Tally()
    off, x = np.array([0.1, 0.55, 0.7, 1.5, 3.0]), np.arange(5.0)
    tally.add(off, x == 3, x)
    assert (tally.count, tally.worst, tally.subnormal, tally.normal) == (5, [(3.0, 4.0)], 1.5, 3.0)
    assert tally.above == [4, 3, 2, 2, 1]
    other = accuracy.Tally()
    other.add(off[:1], x[:1] == 3, x[:1])
    other.join(tally, 1)
    assert (other.count, other.worst, other.above) == (6, [(3.0, 4.0)], [4, 3, 2, 2, 1])


def test_accuracy_sees_every_float32_once_if_asked_for_all():
    begins = [task.begin for task in accuracy.tasks("f", "tanh", "float32", "exhaustive") if task.begin is not None]
    assert begins == list(range(0, 2**32, accuracy.BLOCK))
    slices = list(accuracy._slices(accuracy.Task("f", "tanh", "float32", begins[1], 1, True)))
    bits = np.concatenate(slices).view(np.uint32)
    assert np.array_equal(bits, np.arange(accuracy.BLOCK, 2 * accuracy.BLOCK, dtype=np.uint32))


# ---- timing and reports ------------------------------------------------------------------------------------------------


def test_a_slot_calls_with_the_arguments_as_often_as_told():
    seen = []
    slot = timing.calls_of(lambda *arguments: seen.append(arguments), 1, "two")
    assert slot(3) >= 0
    assert seen == [(1, "two")] * 3


def test_contestants_take_turns():
    turns = []

    def slot(name, seconds):
        def run(calls):
            turns.append(name)
            return calls * seconds

        return run

    times = timing.in_turn({"a": slot("a", 1e-3), "b": slot("b", 3e-3)}, rounds=4, seconds=1e-2)
    assert turns[-16:] == ["a", "a", "b", "b"] * 4  # each time one call that is not timed before those that are
    assert times == {"a": [pytest.approx(1e-3)] * 4, "b": [pytest.approx(3e-3)] * 4}
    assert timing.ratio(times["a"], times["b"]) == pytest.approx(3)


def test_a_round_without_cores_of_its_own_is_measured_again(monkeypatch):
    answers = iter([2.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0])  # before and after each round; waits once before the first
    monkeypatch.setattr(timing, "slowdown", lambda threads: next(answers))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    took = iter(range(100))

    def slot(calls):
        return calls * next(took)

    cores = timing.Cores(2)
    monkeypatch.setattr(timing, "calls_within", lambda slot, seconds: 1)
    assert timing.in_turn({"a": slot}, 2, 1e-3, cores=cores) == {"a": [3.0, 5.0]}  # not 1.0, and not the untimed calls
    assert (cores.again, cores.shared, next(answers, "none left")) == (1, 0, "none left")
    assert str(cores) == "1 rounds measured again, in which 2 threads lacked cores of their own"


def test_rounds_count_once_patience_is_at_its_end(monkeypatch):
    monkeypatch.setattr(timing, "slowdown", lambda threads: 2.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    cores = timing.Cores(2, patience=1.0)
    assert len(timing.in_turn({"a": lambda calls: calls * 1e-3}, 3, 1e-3, cores=cores)["a"]) == 3
    assert cores.shared == 3
    assert "3 such rounds count" in str(cores)


def test_rounds_that_always_end_badly_come_to_an_end(monkeypatch):
    monkeypatch.setattr(timing.Cores, "wait", lambda self: None)
    monkeypatch.setattr(timing.Cores, "own", lambda self: False)
    cores = timing.Cores(2, patience=3.0)
    assert len(timing.in_turn({"a": lambda calls: calls * 1e-3}, 2, 1e-3, cores=cores)["a"]) == 2
    assert (cores.again, cores.shared) == (3, 2)


def test_slowdown_compares_threads_with_one_alone():
    assert 0 < min(timing.slowdown(2) for _ in range(5)) < 20
    assert timing.Cores(1).own()


def test_the_clock_of_a_thread_stands_still_while_it_sleeps():
    assert timing.calls_of(time.sleep, 0.05, clock=time.thread_time)(1) < 0.04 <= timing.calls_of(time.sleep, 0.05)(1)


def test_a_report_prints_writes_and_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing to draw with")
    table = report.Table("t", ["name", "µs"], [["a", 1.234], ["b", None]])
    result = report.Report("kernels", {"processor": "one"}, [table], ["all said"])
    result.ratios = {"panel": {"line": {"2x2": 1.5, "4x4": 0.5}}}
    files = {"json": tmp_path / "r.json", "plot": tmp_path / "r.png"}
    result.deliver(argparse.Namespace(markdown=True, **files))
    text = capsys.readouterr().out
    assert "| a    | 1.23 |" in text
    assert "- all said" in text
    assert written(files["json"])["tables"][0]["rows"] == [["a", 1.234], ["b", None]]
    assert files["plot"].read_bytes().startswith(b"\x89PNG")
