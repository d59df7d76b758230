"""``python -m bench``: picks a benchmark. Imports none of them, nor NumPy, before the environment is in order."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys

BENCHMARKS = {
    "startup": "time to import, time to the first result, and memory, in fresh processes",
    "kernels": "every function of pynn.kernels against plain NumPy (pynn.reference), one thread each",
    "peers": "whole networks against NumPy, PyTorch, JAX, ONNX Runtime, scikit-learn, Numba and FANN, as far as installed",
    "roofline": "what this machine can do at most, and each kernel's share of it",
}
# Would make OpenBLAS run kernels for another processor, and NumPy slower than it is.
UNWANTED = "OPENBLAS_CORETYPE"


def main(arguments: list[str]) -> None:
    """Run the benchmark that the command line names."""
    if UNWANTED in os.environ:
        value = os.environ.pop(UNWANTED)
        os.environ["PYNN_BENCH_UNSET"] = f"{UNWANTED}={value}"
        os.execv(sys.executable, [sys.executable, "-m", "bench", *arguments])
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Benchmarks of pynn. All contestants of a comparison run in turn in one run, and medians are compared.",
        epilog="python -m bench NAME --help tells the options of one. Without NAME, all run, one after the other.",
    )
    benchmarks = parser.add_subparsers(dest="benchmark", metavar="NAME")
    # Options belong to the benchmarks' own modules; only the one that is asked for is imported.
    wanted = next((each for each in arguments if each in BENCHMARKS), None)
    for name, purpose in BENCHMARKS.items():
        benchmark = benchmarks.add_parser(name, help=purpose, description=f"{name}: {purpose}.")
        if name == wanted:
            importlib.import_module(f"bench.{name}").add_options(benchmark)
    shared = ("--quick", "--markdown")
    for option in shared:
        parser.add_argument(option, action="store_true", help="for all, without NAME" if wanted is None else argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.benchmark is None:
        for name in BENCHMARKS:
            heading = f"## {name}" if options.markdown else f"==== {name}: {BENCHMARKS[name]}"
            print(heading, end="\n\n", flush=True)
            subprocess.run([sys.executable, "-m", "bench", name, *arguments], check=True)
    else:
        module = importlib.import_module(f"bench.{options.benchmark}")
        module.run(options).deliver(options)


if __name__ == "__main__":
    main(sys.argv[1:])
