"""Handwritten digits: whole numbers as labels, softmax cross-entropy, Adam, dropout, early stopping, and a confusion matrix.

    python examples/digits.py --plot docs/digits.png

A fifth is held out, for seed 0 the one that the demonstration holds out; a tenth of the rest decides when to stop.
"""

import argparse
import statistics

import pynn
from pynn import metrics
from pynn.datasets import load_digits, train_test_split


def train(seed, epochs=400):
    """The trained network, its history, and the held-out images with their labels."""
    digits = load_digits()
    x, x_test, label, label_test = train_test_split(*digits, test_size=0.2, seed=seed, stratify=digits.label)
    x, x_stop, label, label_stop = train_test_split(x, label, test_size=0.1, seed=seed, stratify=label)
    network = pynn.Network(
        [pynn.Dense(64, 256), pynn.ReLU(), pynn.Dropout(0.5), pynn.Dense(256, 10)],
        cost=pynn.SoftmaxCrossEntropy(label_smoothing=0.1),
        optimizer=pynn.Adam(0.001),
        seed=seed,
    )
    history = network.fit(
        x,
        label,
        epochs,
        validation_data=(x_stop, label_stop),
        metrics=["accuracy"],
        callbacks=[pynn.EarlyStopping(patience=20)],
    )
    return network, history, x_test, label_test


def draw(history, confusion, file):
    """The learning curves and the confusion matrix."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    history.plot(["cost", "validation_cost"], axes=left)
    right.imshow(confusion, cmap="Blues")
    right.set(xlabel="answer", ylabel="label", xticks=range(10), yticks=range(10))
    for (i, j), count in ((at, confusion[at]) for at in zip(*confusion.nonzero(), strict=True)):
        right.text(j, i, count, ha="center", va="center", color="white" if i == j else "crimson", fontsize=9)
    figure.savefig(file, dpi=72)


def main(arguments=None):
    """Train on seed 0, then on others, and say how many of the held-out digits each reads."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="five epochs, two seeds")
    parser.add_argument("--plot", metavar="FILE", help="draw learning curves and confusion matrix (needs matplotlib)")
    options = parser.parse_args(arguments)
    epochs, seeds = (5, 2) if options.short else (400, 10)

    network, history, x_test, label_test = train(0, epochs)
    prediction = network.predict(x_test)
    confusion = metrics.confusion_matrix(prediction, label_test)
    scores = [metrics.accuracy(prediction, label_test)]
    print(f"{len(history)} epochs, {scores[0]:.2%} of {len(label_test)} held-out digits; label by row, answer by column:")
    print(confusion)
    if options.plot:
        draw(history, confusion, options.plot)
    for seed in range(1, seeds):
        network, _, x_test, label_test = train(seed, epochs)
        scores.append(network.evaluate(x_test, label_test, metrics=["accuracy"])["accuracy"])
    print(f"seeds 0 to {seeds - 1}: mean {statistics.mean(scores):.2%}, from {min(scores):.2%} to {max(scores):.2%}")


if __name__ == "__main__":
    main()
