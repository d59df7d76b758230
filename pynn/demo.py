"""The demonstration that ``python -m pynn demo`` runs: a small network learns to read handwritten digits."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from pynn import datasets, display
from pynn.engine import get_num_threads, instruction_set
from pynn.layers import Dense, Layer, Sigmoid
from pynn.network import Network
from pynn.optimizers import SGD
from pynn.training import History

if TYPE_CHECKING:
    from pynn.checks import Array

TEST_SIZE = 0.2


class Trained(NamedTuple):
    """What the demonstration learnt: the network, its history, how long ``fit`` took, and how it did on the rows it never saw."""

    network: Network
    history: History
    seconds: float
    images: int
    x_test: Array
    label_test: NDArray[np.int64]
    answer: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """The fraction of held-out images that it reads right."""
        return float((self.answer == self.label_test).mean())


def train(
    epochs: int = 1000,
    seed: int = 0,
    hidden: int = 96,
    batch_size: int = 8,
    learning_rate: float = 0.3,
    dtype: str = "float32",
    callbacks: Sequence[Any] = (),
) -> Trained:
    """Train Dense(64, hidden), Sigmoid, Dense(hidden, 10) on four fifths of the digits.

    ``seed`` fixes which fifth is held out, the first weights and the order of the images.

    >>> import pynn.demo
    >>> trained = pynn.demo.train(epochs=50)
    >>> trained.accuracy > 0.9
    True
    """
    digits = datasets.load_digits()
    x, x_test, label, label_test = datasets.train_test_split(*digits, test_size=TEST_SIZE, seed=seed, stratify=digits.label)
    network = Network([Dense(64, hidden), Sigmoid(), Dense(hidden, 10)], optimizer=SGD(learning_rate), dtype=dtype, seed=seed)
    target = datasets.one_hot(label, 10)
    began = perf_counter()
    history = network.fit(x, target, epochs=epochs, batch_size=batch_size, callbacks=callbacks)
    seconds = perf_counter() - began
    answer = network.predict(x_test).argmax(axis=1)
    return Trained(network, history, seconds, len(history) * len(x), x_test, label_test, answer)


def fingerprint(network: Network) -> str:
    """SHA-256 of all parameters, layer by layer, in the order of the layer's ``shapes``, row by row, as little-endian numbers.

    It is the same wherever the same network was trained on the same data. What is no :class:`pynn.Layer` has no parameters.

    >>> import pynn, pynn.demo
    >>> pynn.demo.fingerprint(pynn.Network([pynn.Dense(2, 1, initializer="zeros")]))[:16]
    '15ec7bf0b50732b4'
    """
    digest = hashlib.sha256()
    for layer in network.layers:
        for name in layer.shapes() if isinstance(layer, Layer) else ():
            array = getattr(layer, name)
            digest.update(array.astype(array.dtype.newbyteorder("<"), order="C").tobytes())
    return digest.hexdigest()


# ---- the picture --------------------------------------------------------------------------------------------------------

INK, MISTAKE, FAINT, FRAME = "#1f3a5f", "#c8102e", "#8a94a3", "#c9cfd8"
ROWS, COLUMNS = 5, 9  # of digits


def draw(trained: Trained, file: Path) -> None:
    """Draw the cost of each epoch, and held-out digits with what the network took them for, as a PNG. Needs matplotlib."""
    # A figure made without pyplot needs no display and leaves the program's own settings alone
    figures: Any = importlib.import_module("matplotlib.figure")
    backend: Any = importlib.import_module("matplotlib.backends.backend_agg")
    figure = figures.Figure(figsize=(13, 5.6), facecolor="white")
    backend.FigureCanvasAgg(figure)
    left, right = figure.add_gridspec(1, 2, width_ratios=(1, 1.5), left=0.055, right=0.985, top=0.79, bottom=0.11, wspace=0.09)

    tests = len(trained.answer)
    layers = ", ".join(map(repr, trained.network.layers))
    title = f"{trained.accuracy:.2%} of {tests} handwritten digits that it never saw"
    figure.text(0.055, 0.935, title, fontsize=17, weight="bold", color=INK)
    work = f"{layers}: {trained.images:,} images in {trained.seconds:.2f} s"
    figure.text(0.055, 0.885, work, fontsize=10.5, color=FAINT)

    axes = figure.add_subplot(left)
    axes.plot(range(1, len(trained.history) + 1), trained.history.cost, color=INK, linewidth=1.6)
    axes.set_yscale("log")
    axes.set_xlabel("epoch", color=FAINT)
    axes.grid(True, which="major", color="#e5e8ed", linewidth=0.8)
    axes.tick_params(which="both", colors=FAINT)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FRAME)

    wrong = np.flatnonzero(trained.answer != trained.label_test)
    shown = np.concatenate([wrong, np.setdiff1d(np.arange(tests), wrong)])[: ROWS * COLUMNS]
    mistakes = {0: "no mistake", 1: "1 mistake, in red"}.get(len(wrong), f"{len(wrong)} mistakes, in red")
    box = right.get_position(figure)
    figure.text(0.055, 0.835, "Mean squared error in training", fontsize=11, color=INK)
    figure.text(box.x0, 0.835, f"What it took them for: {mistakes}", fontsize=11, color=INK)
    cells = right.subgridspec(ROWS, COLUMNS, wspace=0.12, hspace=0.42)
    for cell, i in zip(cells, shown, strict=False):
        answer, label = trained.answer[i], trained.label_test[i]
        axes = figure.add_subplot(cell)
        axes.imshow(trained.x_test[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        if answer == label:
            axes.set_title(f"{answer}", fontsize=10, color=INK, pad=3)
        else:
            axes.set_title(f"{answer}, is {label}", fontsize=10, color=MISTAKE, pad=3)
        for spine in axes.spines.values():
            spine.set(color=FRAME, linewidth=0.8) if answer == label else spine.set(color=MISTAKE, linewidth=2)
    figure.savefig(file, format="png", dpi=110)


# ---- the command --------------------------------------------------------------------------------------------------------


def main(picture: Path | None, stream: TextIO, epochs: int, **options: Any) -> Trained:
    """``train``, say on ``stream`` how it goes, and ``draw`` the result into ``picture`` unless that is None."""
    dtype = options.get("dtype", "float32")
    print(f"Reading handwritten digits: {dtype}, {instruction_set()}, at most {get_num_threads()} threads", file=stream)
    progress = display.Display(stream, display.bar_maker(stream), display.LINES)
    try:
        trained = train(epochs=epochs, callbacks=[progress], **options)
    finally:
        progress.close()
    right, tests = int((trained.answer == trained.label_test).sum()), len(trained.answer)
    rate = trained.images / max(trained.seconds, 1e-9)
    print(f"trained     {trained.images:,} images in {trained.seconds:.2f} s, {rate:,.0f} images per second", file=stream)
    print(f"accuracy    {trained.accuracy:.2%} of the fifth that was held out ({right} of {tests})", file=stream)
    print(f"parameters  {trained.network.parameters.size:,}, SHA-256 {fingerprint(trained.network)}", file=stream)
    if picture is not None:
        try:
            draw(trained, picture)
            print(f"picture     {picture}", file=stream)
        except ModuleNotFoundError as error:
            print(f'picture     none, for {error.name} is not installed: pip install "pynn[demo]"', file=stream)
    return trained
