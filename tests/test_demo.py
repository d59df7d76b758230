"""The command line: the demonstration learns, says so, draws it, and gives the same bits however it is run."""

import importlib
import io
import json
import os
import re
import subprocess
import sys

import golden
import numpy as np
import pytest
from support import DTYPES

import pynn
from pynn import demo
from pynn.__main__ import main

SHORT = ["demo", "--epochs", "3", "--no-picture"]
# SHA-256 of what SHORT learns. It changes only with the order of operations, the settings of the demonstration or its data.
SHORT_LEARNS = {dtype: golden.written("demo", dtype)["parameters"] for dtype in DTYPES}


def run(*arguments, **environment):
    """Standard output of ``python -m pynn`` in a process of its own, where only the environment chooses what runs the kernels."""
    command = [sys.executable, "-m", "pynn", *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def fingerprint_in(output):
    return re.search(r"SHA-256 ([0-9a-f]{64})$", output, re.MULTILINE).group(1)


@pytest.fixture(autouse=True)
def threads():
    before = pynn.get_num_threads()
    yield
    pynn.set_num_threads(before)


# ---- what it learns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_it_reads_at_least_97_of_100_digits_it_never_saw(seed):
    trained = demo.train(seed=seed)
    assert trained.accuracy >= 0.97
    assert trained.history.cost[-1] < trained.history.cost[0] / 20
    assert len(trained.history) == 1000


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", SHORT_LEARNS)
@pytest.mark.parametrize("isa", pynn.instruction_sets())
def test_the_same_seed_learns_the_same_bits(isa, dtype, threads):
    output = run(*SHORT, "--dtype", dtype, "--threads", str(threads), PYNN_INSTRUCTION_SET=isa)
    assert f"{dtype}, {isa}, at most {threads} threads" in output
    assert fingerprint_in(output) == SHORT_LEARNS[dtype]


def test_another_seed_learns_other_bits():
    assert fingerprint_in(run(*SHORT, "--seed", "1")) != SHORT_LEARNS["float32"]


def test_the_fingerprint_is_of_values_not_of_their_place_in_memory():
    """The arena keeps a weight in whichever order suits the kernels; here one of each."""
    net = pynn.Network([pynn.Dense(40, 2), pynn.Dense(2, 40, bias=False)], seed=0)
    digest = demo.hashlib.sha256()
    for array in (net.layers[0].weight, net.layers[0].bias, net.layers[1].weight):
        for number in array.flat:
            digest.update(np.array(number, "<f4").tobytes())
    assert demo.fingerprint(net) == digest.hexdigest()


def test_each_parameter_of_any_layer_changes_the_fingerprint():
    class Shift(pynn.Layer):
        def shapes(self):
            return {"amount": (1,)}

        def forward(self, x):
            return x + self.amount

        def backward(self, y_gradient):
            self.amount_gradient[:] = y_gradient.sum()
            return y_gradient

    class Twice:
        def forward(self, x):
            return 2 * x

        def backward(self, y_gradient):
            return 2 * y_gradient

    layers = [pynn.Dense(2, 3), pynn.LayerNorm(3), pynn.Tanh(), Twice(), Shift(), pynn.LayerNorm(3, bias=False), pynn.Dense(3, 1)]
    net = pynn.Network(layers, seed=0)
    seen = {demo.fingerprint(net)}
    for i in range(net.parameters.size):
        net.parameters[i] += 1
        seen.add(demo.fingerprint(net))
    assert len(seen) == net.parameters.size + 1 == 9 + 6 + 1 + 3 + 4 + 1


# ---- what it says -------------------------------------------------------------------------------------------------------


def test_in_a_pipe_it_writes_a_line_every_few_epochs_and_costs_fall():
    output = run("demo", "--epochs", "40", "--no-picture")
    lines = re.findall(r"^epoch +(\d+)  cost (\d\.\d+)$", output, re.MULTILINE)
    assert [int(epoch) for epoch, _ in lines] == [1, *range(4, 41, 4)]
    costs = [float(cost) for _, cost in lines]
    assert costs == sorted(costs, reverse=True)
    for word in ("images per second", "of the fifth that was held out", "SHA-256"):
        assert word in output
    assert "picture" not in output


class Terminal(io.StringIO):
    """Standard output as a terminal would be."""

    def isatty(self):
        return True


def test_on_a_terminal_it_moves_a_bar_and_ends_at_its_end():
    pytest.importorskip("tqdm", reason="tqdm is not installed: there is no bar")
    stream = Terminal()
    demo.main(None, stream, epochs=30)
    assert "\r" in stream.getvalue()
    assert "30/30" in stream.getvalue()
    assert "cost 0.0" in stream.getvalue()
    assert "epoch 30" not in stream.getvalue()


def test_on_a_terminal_without_tqdm_it_writes_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    stream = Terminal()
    demo.main(None, stream, epochs=3)
    assert "epoch 3  cost" in stream.getvalue()


# ---- what it draws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 60], ids=["mostly wrong", "mostly right"])
def test_it_draws_a_png_where_it_is_told_to(tmp_path, epochs):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing to draw with")
    file = tmp_path / "some picture"
    stream = io.StringIO()
    demo.main(file, stream, epochs=epochs)
    assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert f"picture     {file}" in stream.getvalue()


def test_a_picture_of_no_mistake_and_of_one(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing to draw with")
    trained = demo.train(epochs=1)
    sizes = []
    for wrong in (0, 1):
        answer = trained.label_test.copy()
        answer[:wrong] = (answer[:wrong] + 1) % 10
        demo.draw(trained._replace(answer=answer), tmp_path / "demo.png")
        sizes.append((tmp_path / "demo.png").stat().st_size)
    assert sizes[0] != sizes[1]


def test_drawing_starts_no_display_and_leaves_matplotlib_as_it_was(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing to draw with")
    program = (
        "import sys, pathlib, pynn.demo\n"
        "pynn.demo.draw(pynn.demo.train(epochs=1), pathlib.Path(sys.argv[1]))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.png")], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_matplotlib_it_says_how_to_get_it_and_goes_on(tmp_path, monkeypatch, capsys):
    real = importlib.import_module

    def missing(name, *rest):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")
        return real(name, *rest)

    monkeypatch.setattr(demo.importlib, "import_module", missing)
    assert main(["demo", "--epochs", "1", "--picture", str(tmp_path / "demo.png")]) == 0
    assert 'matplotlib is not installed: pip install "pynn[demo]"' in capsys.readouterr().out
    assert not (tmp_path / "demo.png").exists()


# ---- arguments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "0"], "'0', wanted a whole number from 1 up"),
        (["--epochs", "x"], "'x', wanted a whole number from 1 up"),
        (["--batch-size", "-1"], "wanted a whole number from 1 up"),
        (["--hidden", "1.5"], "'1.5', wanted a whole number from 1 up"),
        (["--threads", "0"], "'0', wanted a whole number from 1 up"),
        (["--seed", "-1"], "wanted a whole number from 0 up"),
        (["--learning-rate", "nan"], "'nan', wanted a number from 0 up"),
        (["--learning-rate", "fast"], "'fast', wanted a number from 0 up"),
        (["--dtype", "float16"], "invalid choice"),
        (["--picture", "/no such folder/demo.png"], "there is no folder"),
        (["--picture", "/"], "is a folder, wanted a file"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_done(arguments, said, capsys):
    with pytest.raises(SystemExit) as exit_of_argparse:
        main(["demo", *arguments])
    assert exit_of_argparse.value.code == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_an_interrupt_ends_it_quietly(monkeypatch, capsys):
    def interrupted(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "main", interrupted)
    assert main(SHORT) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_failure_is_one_line(monkeypatch, capsys):
    def failing(**options):
        raise OSError("no space left")

    monkeypatch.setattr(demo, "main", failing)
    assert main(SHORT) == 1
    assert capsys.readouterr().err == "demo: no space left\n"


def test_a_command_is_required(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "{demo,info}" in capsys.readouterr().err


# ---- info ---------------------------------------------------------------------------------------------------------------


def test_info_tells_what_runs_the_kernels():
    facts = json.loads(run("info", "--json", PYNN_INSTRUCTION_SET="portable", PYNN_NUM_THREADS="3"))
    assert facts["pynn"] == pynn.__version__
    assert facts["instruction set"] == "portable"
    assert facts["instruction sets"] == pynn.instruction_sets()
    assert facts["threads"] == 3
    assert facts["compiler"] == pynn.kernels.compiler()
    assert facts["numpy"] == np.__version__


def test_info_has_a_line_for_each_fact(capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(facts)
    for line, (name, fact) in zip(lines, facts.items(), strict=True):
        assert line.startswith(name)
        assert line.endswith(str(fact[-1] if isinstance(fact, list) else fact))


def test_a_training_that_diverges_ends_with_a_message(capsys):
    assert main(["demo", "--learning-rate", "1e30", "--epochs", "5", "--no-picture"]) == 1
    assert re.search(r"^demo: fit: the cost became (inf|nan) in epoch 1, batch \d+", capsys.readouterr().err)
