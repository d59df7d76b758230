"""What it costs to begin: time to import a library after NumPy, time to its first result, and memory, each in a fresh process."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from statistics import median

from bench import report

# The first result is a prediction of a 2-8-1 network with the library's own random weights.
FIRST_RESULTS = {
    "pynn": ("pynn", "net = pynn.Network([pynn.Dense(2, 8), pynn.Sigmoid(), pynn.Dense(8, 1)])\nnet.predict(x)"),
    "torch": (
        "torch",
        "net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Sigmoid(), torch.nn.Linear(8, 1))\n"
        "with torch.inference_mode(): net(torch.from_numpy(x)).numpy()",
    ),
    "JAX": (
        "jax",
        "w, v = numpy.ones((2, 8), 'float32'), numpy.ones((8, 1), 'float32')\n"
        "numpy.asarray(jax.jit(lambda x: jax.nn.sigmoid(x @ w) @ v)(x))",
    ),
    "ONNX Runtime": (
        "onnxruntime",
        "import onnx.parser\n"
        "text = '<ir_version: 8, opset_import: [\"\" : 17]> net (float[N, 2] x) => (float[N, 1] y) '\n"
        "text += '<float[2, 8] w = {' + ', '.join(['1.0'] * 16) + '}, float[8, 1] v = {' + ', '.join(['1.0'] * 8) + '}>'\n"
        "text += ' { h = MatMul(x, w) s = Sigmoid(h) y = MatMul(s, v) }'\n"
        "model = onnx.parser.parse_model(text).SerializeToString()\n"
        "onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider']).run(None, {'x': x})",
    ),
    "scikit-learn": (
        "sklearn.neural_network",
        "net = sklearn.neural_network.MLPRegressor(hidden_layer_sizes=(8,), activation='logistic')\n"
        "net.partial_fit(x, [0.0])\nnet.predict(x)",
    ),
    "Numba": ("numba", "numba.njit(lambda x: 1 / (1 + numpy.exp(-x)))(x)"),
}

PROGRAM = """
import json, time
from resource import RUSAGE_SELF, getrusage
def resident():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return getrusage(RUSAGE_SELF).ru_maxrss * 1024
began = time.perf_counter()
import numpy
x = numpy.ones((1, 2), "float32")
numpy_seconds, numpy_bytes = time.perf_counter() - began, resident()
began = time.perf_counter()
import {module}
imported = time.perf_counter() - began
{first}
first = time.perf_counter() - began
print(json.dumps([numpy_seconds, numpy_bytes, imported, first, resident() - numpy_bytes]))
"""


def _once(name: str) -> list[float]:
    module, first = FIRST_RESULTS[name]
    program = PROGRAM.format(module=module, first=first)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: its process ended with status {done.returncode}\n{done.stderr}")
    return [float(number) for number in json.loads(done.stdout)]


def run(options: argparse.Namespace) -> report.Report:
    """``python -m bench startup``."""
    names = [name for name in options.peers if importlib.util.find_spec(FIRST_RESULTS[name][0].partition(".")[0])]
    if options.quick:
        names, options.rounds = names[:1], 2
    result = report.Report("startup", report.header("each library's own choice", names))
    result.header["timing"] = f"medians of {options.rounds} fresh processes each, in turn; after one each that does not count"
    runs: dict[str, list[list[float]]] = {name: [] for name in names}
    for i in range(options.rounds + 1):
        for name in names:
            report.progress(f"{name}, {i} of {options.rounds}")
            measured = _once(name)
            if i:  # the first reads files from the disk
                runs[name].append(measured)
    report.progress("")
    numpy_seconds, numpy_bytes = (median(each[i] for rows in runs.values() for each in rows) for i in (0, 1))
    table = report.Table("Beyond NumPy", ["library", "import, ms", "import and first result, ms", "memory, MiB"])
    table.rows.append(["NumPy itself", numpy_seconds * 1e3, None, numpy_bytes / 2**20])
    for name, rows in runs.items():
        imported, first, memory = (median(each[i] for each in rows) for i in (2, 3, 4))
        table.rows.append([name, imported * 1e3, first * 1e3, memory / 2**20])
        result.measured.append({"library": name, "numpy_seconds, numpy_bytes, import, first result, bytes": rows})
        if name != "pynn" and "pynn" in runs:
            ours = median(each[3] for each in runs["pynn"])
            result.ratios.setdefault("import and first result", {}).setdefault("library", {})[name] = first / ours
    result.tables.append(table)
    return result


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to start, and how often."""
    names = list(FIRST_RESULTS)
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"of: {', '.join(names)}; those not installed are left out",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: 5)")
    report.add_output_options(parser)
