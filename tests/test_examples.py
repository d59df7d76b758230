"""The examples: each runs in its short form, as a program, and does what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def run(*command, status=0, **environment):
    """What ``python`` with these arguments prints, in a process of its own, where warnings are errors."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLES)]), "MPLBACKEND": "agg", **environment}
    command = [sys.executable, "-W", "error", *map(str, command)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def drawn(name, folder):
    """Options that have the example draw a picture, if there is something to draw with, and the picture's file."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing to draw with")
    file = folder / name
    return ["--plot", file], file


@pytest.fixture
def sklearn():
    return pytest.importorskip("sklearn", reason="scikit-learn is not installed, whose data and regressor the example takes")


def test_digits_learns_counts_and_draws(tmp_path):
    options, file = drawn("digits.png", tmp_path)
    output = run(EXAMPLES / "digits.py", "--short", *options)
    epochs, accuracy, images = re.match(r"(\d+) epochs, ([\d.]+)% of (\d+) held-out digits", output).groups()
    assert (epochs, images) == ("5", "360")
    assert float(accuracy) > 90
    rows = [[int(n) for n in re.findall(r"\d+", line)] for line in output.splitlines() if line.startswith((" [", "[["))]
    assert [len(row) for row in rows] == [10] * 10
    assert sum(map(sum, rows)) == 360
    assert f"{sum(rows[i][i] for i in range(10)) / 360:.2%}" == f"{accuracy}%"
    assert "seeds 0 to 1: mean " in output
    assert file.read_bytes().startswith(b"\x89PNG")


def test_digits_reads_at_least_98_of_100_on_the_split_of_the_demonstration():
    code = """
import digits
from pynn import demo
network, history, x, label = digits.train(0)
assert (x == demo.train(epochs=0, seed=0).x_test).all()
assert len(history) < 400
print(network.evaluate(x, label, metrics=["accuracy"])["accuracy"])
"""
    assert float(run("-c", code)) >= 0.98


def test_diabetes_is_at_least_as_good_as_scikit_learn(tmp_path, sklearn):
    options, file = drawn("diabetes.png", tmp_path)
    output = run(EXAMPLES / "diabetes.py", "--short", *options)
    rows = dict(re.findall(r"^(\S+) +R² (\S+) in the mean of 5 folds, \d+\.\d\d s$", output, re.MULTILINE))
    assert float(rows["pynn"]) >= float(rows["scikit-learn"]) > 0.4
    assert file.read_bytes().startswith(b"\x89PNG")


def test_diabetes_without_scikit_learn_says_what_it_wants():
    code = f"import runpy, sys; sys.modules['sklearn'] = None; runpy.run_path({str(EXAMPLES / 'diabetes.py')!r})"
    message = run("-c", code, status=1)
    assert "pip install scikit-learn" in message
    assert "Traceback" not in message


def test_online_learns_and_its_memory_stays_flat(tmp_path):
    options, file = drawn("online.png", tmp_path)
    output = run(EXAMPLES / "online.py", "--short", *options)
    rows = re.findall(r"^after +([\d,]+) rows of the stream: cost ([\d.]+), at most (\d+) MiB in use$", output, re.MULTILINE)
    costs, peaks = [float(row[1]) for row in rows], [int(row[2]) for row in rows]
    assert costs[1] < costs[0] / 2, "it learns"
    assert costs[2] > 2 * costs[1], "and the stream changes"
    assert costs[3] < costs[2] / 2, "and it learns again"
    assert peaks[-1] - peaks[0] < 8
    assert float(re.search(r"a file of 42 MB: cost ([\d.]+) in one pass", output)[1]) < 0.1
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform != "linux", reason="how much memory a process has is read from /proc")
def test_online_learns_from_a_file_larger_than_the_memory_it_may_have(tmp_path):
    code = """
import re, resource, sys
from pathlib import Path
import numpy as np
import online
online.write(sys.argv[1], 1_500_000)
had = int(re.search(r"VmData:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (had + 2**26, had + 2**26))
try:
    np.fromfile(sys.argv[1], np.float32)
except MemoryError:
    print("too large", online.from_file(sys.argv[1]).cost[0])
"""
    file = tmp_path / "rows"
    output = run("-c", code, file, PYNN_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    assert file.stat().st_size > 2**26
    assert re.match(r"too large 0\.0\d+$", output)
