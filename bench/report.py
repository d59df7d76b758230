"""Reports: a header that says what ran where, tables as text or Markdown, JSON, and plots of ratios."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

# The packages of contestants, where versions are asked for.
PACKAGES = {
    "torch": "torch",
    "JAX": "jax",
    "Optax": "optax",
    "ONNX Runtime": "onnxruntime",
    "scikit-learn": "scikit-learn",
    "Numba": "numba",
    "SciPy": "scipy",
}
# What --update leaves as it is ends with this line.
MARK = "<!-- From here on: written by python -m bench --update. -->\n"

Cell = str | int | float | None


@dataclass
class Table:
    """Rows of cells under named columns; numbers are kept as numbers and formatted when printed."""

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)

    def lines(self, markdown: bool) -> list[str]:
        """The table as text."""
        cells = [self.columns, *([_text(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        numeric = [any(isinstance(row[i], (int, float)) for row in self.rows) for i in range(len(self.columns))]
        padded = [
            [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(row, widths, numeric, strict=True)]
            for row in cells
        ]
        if not markdown:
            return [self.title, *("  ".join(row).rstrip() for row in padded)]
        rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)]
        return [f"### {self.title}", "", *(f"| {' | '.join(row)} |" for row in (padded[0], rule, *padded[1:]))]


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:#.3g}".rstrip(".")
    return str(cell)


@dataclass
class Report:
    """One run of one benchmark."""

    command: str
    header: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)
    ratios: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)  # panel -> line -> point -> ratio, to plot
    measured: list[dict[str, Any]] = field(default_factory=list)  # each cell with the times of all rounds, for --json
    failures: list[str] = field(default_factory=list)  # what ends the program with status 1, of benchmarks that are a proof

    def lines(self, markdown: bool = False) -> list[str]:
        """All of it as text: what came out of it last on a terminal, where one looks first, and first on a page."""
        bullet = "- " if markdown else ""
        head = [f"{bullet}{key}: {value}" for key, value in self.header.items()]
        title = ["What came out:", ""] if markdown else []
        said = [*self.summary, *(f"FAILED: {failure}" for failure in self.failures)]
        summary = [[*title, *(f"{bullet}{line}" for line in said)]] if said else []
        tables = [table.lines(markdown) for table in self.tables]
        parts = [head, *(summary if markdown else []), *tables, *([] if markdown else summary)]
        return [line for part in parts for line in (*part, "")]

    def deliver(self, options: argparse.Namespace) -> None:
        """Print the report, and write the files that the options ask for; exit with status 1 if something failed."""
        print("\n".join(self.lines(options.markdown)))
        if options.json:
            options.json.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        if options.plot:
            self.draw(options.plot)
        if self.failures:
            raise SystemExit(1)

    def draw(self, path: Path) -> None:
        """The picture that ``--plot`` asks for."""
        plot_ratios(self.ratios, f"python -m bench {self.command}: times faster", path)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """``--json``, ``--plot``, ``--markdown`` and ``--quick``, which all benchmarks have."""
    parser.add_argument("--quick", action="store_true", help="a small selection, to see that all works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the results into FILE.png (needs matplotlib)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown, as in docs/performance.md")


def kept(document: Path) -> str:
    """What ``--update`` leaves as it is of a document; an error if it has no place for results."""
    before, mark, _ = document.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise SystemExit(f"--update: {document} has no line {MARK.strip()!r}")
    return before + mark


def progress(text: str) -> None:
    """Show on a terminal what is being measured."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def header(threads: str, contestants: Sequence[str] = ()) -> dict[str, str]:
    """What the numbers depend on: processor, instruction set, compiler, versions, threads."""
    import threadpoolctl

    from pynn.info import information

    facts = information()
    blas = [each for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"]
    libraries = [f"{name} {metadata.version(PACKAGES[name])}" for name in contestants if name in PACKAGES]
    versions = [f"pynn {facts['pynn']}", facts["python"], f"numpy {facts['numpy']}", *libraries]
    result = {
        "processor": f"{processor()}, {platform.system()}, {platform.machine()}",
        "instruction set": f"{facts['instruction set']} of {', '.join(facts['instruction sets'])}",
        "compiler": facts["compiler"],
        "versions": ", ".join(versions),
        "NumPy's BLAS": ", ".join(
            f"{each['internal_api']} {each['version']} for {each.get('architecture', 'unknown')}" for each in blas
        )
        or "unknown",
        "threads": threads,
    }
    if hasattr(os, "getloadavg"):
        result["load before"] = f"{os.getloadavg()[0]:.2f}"
    if unset := os.environ.get("PYNN_BENCH_UNSET"):
        result["environment"] = (
            f"{unset} was set, and was unset for this run: it chooses other kernels of NumPy's BLAS than the processor asks for"
        )
    return result


def plot_ratios(panels: Mapping[str, Mapping[str, Mapping[str, float]]], title: str, path: Path) -> None:
    """One panel for each kernel or table, one line for each dtype and batch; above 1 pynn is faster."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    across = min(3, max(1, len(panels)))
    down = -(-max(1, len(panels)) // across)
    figure, axes = plt.subplots(down, across, figsize=(6 * across, 3.6 * down), squeeze=False, layout="constrained")
    for axis, (name, lines) in zip(axes.flat, panels.items(), strict=False):
        ticks = list(dict.fromkeys(point for line in lines.values() for point in line))  # in order of appearance
        for label, line in lines.items():
            axis.plot([ticks.index(point) for point in line], list(line.values()), ".-", label=label, linewidth=1)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_yscale("log", base=2)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_xticks(range(len(ticks)), ticks, rotation=60, ha="right", fontsize=7)
        axis.set_title(name, fontsize=10)
        axis.legend(fontsize=6)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_axis_off()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)
