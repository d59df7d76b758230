"""What people look at: progress on a terminal, a network as a table or a picture, a history as curves."""

from __future__ import annotations

import html as markup
import importlib
import math
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from pynn.layers import Layer

if TYPE_CHECKING:
    from pynn.network import Network
    from pynn.training import History, State

LINES = 10  # of progress, where there is no bar

# ---- progress -----------------------------------------------------------------------------------------------------------


def bar_maker(stream: TextIO) -> Any:
    """``tqdm.tqdm`` if ``stream`` is a terminal and tqdm is there, else None."""
    if not stream.isatty():
        return None
    try:
        return importlib.import_module("tqdm").tqdm
    except ModuleNotFoundError:
        return None


class Display:
    r"""A callback that shows how a training goes: a moving bar if it has a ``make_bar``, else ``lines`` lines, or one for each
    epoch if that is None.

    >>> import io, pynn, pynn.display
    >>> import numpy as np
    >>> text = io.StringIO()
    >>> net = pynn.Network([pynn.Dense(1, 1, initializer="zeros")], optimizer=pynn.SGD(0))
    >>> history = net.fit(np.ones((8, 1)), np.ones(8), epochs=1, callbacks=[pynn.display.Display(text)])
    >>> text.getvalue()
    'epoch 1  cost 1.000000\n'
    """

    def __init__(self, stream: TextIO, make_bar: Any = None, lines: int | None = None) -> None:
        self.stream, self.make_bar, self.lines = stream, make_bar, lines
        self.bar: Any = None

    def on_train_begin(self, network: Network, state: State) -> None:
        """Open the bar."""
        self.every = 1 if self.lines is None or state.epochs is None else max(1, math.ceil(state.epochs / self.lines))
        if self.make_bar is not None:
            size = shutil.get_terminal_size()  # tqdm by itself shows nothing on a terminal that does not know its size
            columns = min(100, size.columns)
            self.bar = self.make_bar(total=state.epochs, unit=" epochs", file=self.stream, ncols=columns, nrows=size.lines)

    def on_progress(self, network: Network, state: State) -> None:
        """Show the cost within an epoch."""
        if self.bar is not None and state.row != state.rows:
            self.bar.set_postfix_str(f"cost {state.cost:.6f}", refresh=False)
            self.bar.update(0)

    def on_epoch_end(self, network: Network, state: State) -> None:
        """Move the bar, or write a line."""
        history = state.history
        numbers = "  ".join(f"{name} {history[name][-1]:.6f}" for name in history if history[name])
        if self.bar is not None:
            self.bar.set_postfix_str(numbers, refresh=state.epoch == state.epochs)
            self.bar.update(1)
        elif state.epoch in (1, state.epochs) or state.epoch % self.every == 0 or state.stop:
            number = str(state.epoch).rjust(len(str(state.epochs or 0)))
            print(f"epoch {number}  {numbers}", file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def for_verbose(verbose: int | str) -> Display | None:
    """What ``fit`` shows on standard output for its argument ``verbose``."""
    if not (verbose in (1, 2) or verbose == "auto"):
        raise ValueError(f'fit: verbose is {verbose!r}, wanted 0, 1, 2 or "auto"')
    bar = bar_maker(sys.stdout) if verbose != 2 else None
    if verbose == "auto":
        return Display(sys.stdout, bar) if bar is not None else None
    return Display(sys.stdout, bar, None if verbose == 2 else LINES)


# ---- a network as a table ------------------------------------------------------------------------------------------------


def widths(network: Network) -> list[int | None]:
    """How many features go into the first layer, and come out of each; None where only the data would tell."""
    width: int | None = getattr(network.layers[0], "in_features", None)
    result = [width]
    for layer in network.layers:
        gives = getattr(layer, "out_features", None)
        width = gives if gives is not None else width if isinstance(layer, Layer) else None
        result.append(width)
    return result


def table(network: Network) -> list[tuple[str, str, str, str, str]]:
    """The rows of a summary: head, one for each layer, sums."""
    rows = [("layer", "output", "parameters", "number", "bytes")]
    total = 0
    for layer, width in zip(network.layers, widths(network)[1:], strict=True):
        shapes = layer.shapes() if isinstance(layer, Layer) else {}
        number = sum(math.prod(shape) for shape in shapes.values())
        total += number
        parts = ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in shapes.items())
        rows.append(
            (repr(layer), "?" if width is None else f"{width:,}", parts, f"{number:,}", f"{number * network.dtype.itemsize:,}")
        )
    rows.append(("total", "", "", f"{total:,}", f"{total * network.dtype.itemsize:,}"))
    return rows


def summary(network: Network) -> str:
    """The summary as text; words to the left, numbers to the right."""
    rows = table(network)
    wide = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = (
        "  ".join(
            cell.ljust(size) if i in (0, 2) else cell.rjust(size) for i, (cell, size) in enumerate(zip(row, wide, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def html(network: Network) -> str:
    """The summary as HTML."""
    rows = [[markup.escape(cell) for cell in row] for row in table(network)]
    head = "".join(f"<th>{cell}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows[1:])
    about = markup.escape(f"Network, {network.dtype.name}, {network.cost!r}, {network.optimizer!r}")
    return f"<table><caption>{about}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


# ---- pictures ------------------------------------------------------------------------------------------------------------

INK, FAINT, PALE = "#1f3a5f", "#8a94a3", "#e5e8ed"


def figure_of(width: float, height: float) -> Any:
    """A figure made without pyplot, which needs no display and leaves the program's own settings alone."""
    figures: Any = importlib.import_module("matplotlib.figure")
    backend: Any = importlib.import_module("matplotlib.backends.backend_agg")
    figure = figures.Figure(figsize=(width, height), facecolor="white", layout="constrained")
    backend.FigureCanvasAgg(figure)
    return figure


def network_figure(network: Network, file: Any = None) -> Any:
    """The layers from left to right, each a bar as high as the logarithm of its output features."""
    sizes = widths(network)
    labels = ["input", *map(repr, network.layers)]
    figure = figure_of(max(3.0, 1.3 * len(sizes)), 3.2)
    axes = figure.add_subplot()
    top = max(math.log2(1 + (size or 1)) for size in sizes)
    for i, (size, label) in enumerate(zip(sizes, labels, strict=True)):
        high = math.log2(1 + (size or 1)) / top
        axes.bar(i, high, width=0.5, bottom=-high / 2, color=INK if size else FAINT)
        axes.text(i, high / 2 + 0.03, "?" if size is None else f"{size:,}", ha="center", va="bottom", color=INK)
        if i:
            axes.text(i, -0.62, label, ha="right", va="top", rotation=25, fontsize=9, color=INK)
    axes.set_ylim(-0.6, 0.75)
    axes.set_xlim(-0.6, len(sizes) - 0.4)
    axes.set_axis_off()
    if file is not None:
        figure.savefig(file, dpi=110)
    return figure


def history_figure(history: History, names: Sequence[str], file: Any = None, axes: Any = None) -> Any:
    """Costs on one axis, all else on another beside it; or all of it on the ``axes`` given."""
    curves = {name: history[name] for name in names}
    groups = [[name for name in curves if axes is not None or name.endswith("cost") is costs] for costs in (True, False)]
    groups = [group for group in groups if group][: 1 if axes is not None else 2]
    figure = figure_of(6.4 * max(1, len(groups)), 4) if axes is None else axes.figure
    for i, group in enumerate(groups):
        area = figure.add_subplot(1, len(groups), i + 1) if axes is None else axes
        for name in group:
            area.plot(range(1, len(curves[name]) + 1), curves[name], label=name, linewidth=1.6)
        numbers = [value for name in group for value in curves[name]]
        if all(name.endswith("cost") for name in group) and numbers and all(0 < value < math.inf for value in numbers):
            area.set_yscale("log")
        area.set_xlabel("epoch")
        area.grid(True, which="major", color=PALE, linewidth=0.8)
        area.legend()
    if file is not None:
        figure.savefig(file, dpi=110)
    return figure
