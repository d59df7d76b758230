"""``python -m bench``: picks a benchmark. Imports none of them, nor NumPy, before the environment is in order."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

from bench import report

BENCHMARKS = {
    "startup": "time to import, time to the first result, and memory, in fresh processes",
    "kernels": "every function of pynn.kernels against plain NumPy (pynn.reference), one thread each",
    "peers": "whole networks against NumPy, PyTorch, JAX, ONNX Runtime, scikit-learn, Numba and FANN, as far as installed",
    "roofline": "what this machine can do at most, and each kernel's share of it",
    "accuracy": "how many units in the last place each activation is off, over all of float32 and a sample of float64",
}
ALONE = ("accuracy",)  # has a document of its own, docs/accuracy.md
# What runs without a name, in turn: title and arguments.
RUNS = {f"{name}: {purpose}": [name] for name, purpose in BENCHMARKS.items() if name not in ALONE}
RUNS["peers with Adam: the same networks, and a full batch of 10,000 rows"] = ["peers", "--optimizer", "adam"]
# What --update shows of the tables of kernels, which has one for each function.
SHOWN = (
    *("affine", "weight_gradient", "input_gradient", "bias_gradient", "activation[sigmoid]", "activation[tanh]"),
    *("mean_squared_error", "mean_squared_error_gradient", "gradient_descent", "update[Adam]"),
)
# Would make OpenBLAS run kernels for another processor, and NumPy slower than it is.
UNWANTED = "OPENBLAS_CORETYPE"


def run_all(options: argparse.Namespace) -> None:
    """Run each benchmark in a process of its own, print that, and keep it in a document if asked to, with pictures."""
    kept = report.kept(options.update) if options.update else ""
    markdown = options.markdown or options.update is not None
    parts = []
    for title, (name, *more) in RUNS.items():
        wanted = {"--quick": options.quick, "--markdown": markdown, "--cpu-time": options.cpu_time and name == "peers"}
        shown = ""
        if options.update and name == "peers":
            picture = options.update.with_name(f"{options.update.stem}{'-adam' if more else ''}.png")
            more = [*more, "--plot", str(picture)]
            shown = f"![Times faster than each peer, over networks and batches]({picture.name})\n\n"
        if options.update and name == "kernels":
            more = [*more, "--tables", *SHOWN]
        command = [sys.executable, "-m", "bench", name, *more, *(option for option, given in wanted.items() if given)]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
        parts.append(f"{'## ' if markdown else ''}{title}\n\n{shown}{text}")
        print(parts[-1], flush=True)
    if options.update:
        options.update.write_text("\n".join([kept, *parts]).rstrip() + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Run the benchmark that the command line names."""
    if UNWANTED in os.environ:
        value = os.environ.pop(UNWANTED)
        os.environ["PYNN_BENCH_UNSET"] = f"{UNWANTED}={value}"
        os.execv(sys.executable, [sys.executable, "-m", "bench", *arguments])
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Benchmarks of pynn. All contestants of a comparison run in turn in one run, and medians are compared.",
        epilog="python -m bench NAME --help tells the options of one. Without NAME, all but accuracy run, in turn.",
    )
    benchmarks = parser.add_subparsers(dest="benchmark", metavar="NAME")
    # Options belong to the benchmarks' own modules; only the one that is asked for is imported.
    asked = next((each for each in arguments if each in BENCHMARKS), None)
    for name, purpose in BENCHMARKS.items():
        benchmark = benchmarks.add_parser(name, help=purpose, description=f"{name}: {purpose}.")
        if name == asked:
            importlib.import_module(f"bench.{name}").add_options(benchmark)
    if asked is None:
        parser.add_argument("--quick", action="store_true", help="a small selection of each")
        parser.add_argument("--markdown", action="store_true", help="print Markdown")
        parser.add_argument("--cpu-time", action="store_true", help="peers by processor time, one thread each, on a busy machine")
        parser.add_argument(
            "--update", type=Path, metavar="FILE", help="put the results into docs/performance.md, or a file like it"
        )
    options = parser.parse_args(arguments)
    if options.benchmark is None:
        run_all(options)
    else:
        importlib.import_module(f"bench.{options.benchmark}").run(options).deliver(options)


if __name__ == "__main__":
    main(sys.argv[1:])
