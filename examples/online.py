"""Learning from more data than memory holds: from an endless stream, and from a file.

    python examples/online.py --plot docs/online.png

The stream's function changes once, halfway. The cost of an epoch is that of batches which the network had not seen before, so
that it says how good predictions are. A pass over a file of rows (features, target) converts some 16 MiB of it at a time.
"""

import argparse
import resource
import sys
import tempfile
from itertools import count
from pathlib import Path

import numpy as np

import pynn

FEATURES, ROWS = 20, 256


def stream(change_after, seed=0):
    """Endless batches of ROWS rows and targets, which follow another function after so many batches."""
    random = np.random.default_rng(seed)
    before, after = random.standard_normal((2, FEATURES), np.float32) / np.float32(np.sqrt(FEATURES))
    for batch in count():
        x = random.standard_normal((ROWS, FEATURES), np.float32)
        yield x, np.sin(2 * x @ (before if batch < change_after else after))


def network():
    """A network that has learnt nothing yet."""
    layers = [pynn.Dense(FEATURES, 64), pynn.Tanh(), pynn.Dense(64, 1)]
    return pynn.Network(layers, optimizer=pynn.Adam(0.003), seed=0)


class Memory:
    """A callback that keeps the peak of the process's memory, in MiB, beside the costs."""

    def on_epoch_end(self, network, state):
        """Add the number of this epoch."""
        unit = 2**20 if sys.platform == "darwin" else 2**10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        state.history.metrics.setdefault("memory_MiB", []).append(peak)


def from_stream(epochs, steps):
    """The history of a network on ``epochs`` times ``steps`` batches."""
    batches = stream(change_after=epochs * steps // 2)
    return network().fit(batches, epochs=epochs, steps_per_epoch=steps, callbacks=[Memory()])


def write(file, rows):
    """Write rows of features and target, a batch at a time."""
    table = np.memmap(file, np.float32, "w+", shape=(rows, FEATURES + 1))
    for begin, (x, y) in zip(range(0, rows, ROWS), stream(rows), strict=False):
        table[begin : begin + ROWS] = np.column_stack([x, y])[: rows - begin]
    table.flush()


def from_file(file, epochs=1):
    """The history of a network on the rows of ``file``, in a new order in each epoch."""
    table = np.memmap(file, np.float32, "r").reshape(-1, FEATURES + 1)
    return network().fit(table[:, :-1], table[:, -1], epochs, ROWS)


def main(arguments=None):
    """Learn from the stream, then from a file in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a hundredth of the stream, a tenth of the file")
    parser.add_argument("--plot", metavar="FILE", help="draw costs and memory by epoch of the stream (needs matplotlib)")
    options = parser.parse_args(arguments)

    epochs, steps, rows = (10, 40, 500_000) if options.short else (40, 1000, 5_000_000)
    history = from_stream(epochs, steps)
    for epoch in (1, epochs // 2, epochs // 2 + 1, epochs):
        cost, peak = history.cost[epoch - 1], history["memory_MiB"][epoch - 1]
        print(f"after {epoch * steps * ROWS:>12,} rows of the stream: cost {cost:.4f}, at most {peak:.0f} MiB in use")
    if options.plot:
        history.plot().savefig(options.plot, dpi=60)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        write(file, rows)
        print(f"a file of {file.stat().st_size / 1e6:,.0f} MB: cost {from_file(file).cost[-1]:.4f} in one pass")


if __name__ == "__main__":
    main()
