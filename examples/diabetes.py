"""Regression on scikit-learn's diabetes data, beside scikit-learn's own MLPRegressor: one architecture, the same folds.

    python examples/diabetes.py --plot docs/diabetes.png

Both standardise inputs and target by the training data, take Adam with the same penalty in batches of 32, and stop after ten
epochs that were no better on a tenth of the training data.
"""

import argparse
from time import perf_counter

import pynn
from pynn.metrics import r2

try:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import RepeatedKFold
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ModuleNotFoundError as error:
    raise SystemExit(f"diabetes.py: {error}; data and comparison are scikit-learn's: pip install scikit-learn") from None

HIDDEN, BATCH, ALPHA, EPOCHS = 100, 32, 1.0, 200


def by_pynn(x, y, x_test, seed):
    """Predictions for ``x_test`` of a network trained on ``x`` and ``y``."""
    y = y[:, None]
    inputs, target = pynn.Standardize(x.shape[1]).fit(x), pynn.Standardize(1).fit(y)
    network = pynn.Network(
        [inputs, pynn.Dense(x.shape[1], HIDDEN), pynn.ReLU(), pynn.Dense(HIDDEN, 1)],
        optimizer=pynn.Adam(0.001, l2=2 * ALPHA / BATCH),  # scikit-learn's cost is half of MSE, its penalty by batch
        seed=seed,
    )
    stopping = pynn.EarlyStopping(patience=10)
    network.fit(x, target.infer(y), EPOCHS, BATCH, validation_split=0.1, callbacks=[stopping])
    return target.inverse(network.predict(x_test))


def by_sklearn(x, y, x_test, seed):
    """The same by scikit-learn."""
    network = MLPRegressor(
        hidden_layer_sizes=(HIDDEN,),
        alpha=ALPHA,
        batch_size=BATCH,
        max_iter=EPOCHS,
        early_stopping=True,
        n_iter_no_change=10,
        tol=0.0,
        random_state=seed,
    )
    regressor = TransformedTargetRegressor(make_pipeline(StandardScaler(), network), transformer=StandardScaler())
    return regressor.fit(x, y).predict(x_test)


def draw(results, file):
    """Each fold's R² by both."""
    from matplotlib import pyplot

    (name, ours, _), (other, theirs, _) = results
    figure, axes = pyplot.subplots(figsize=(4.6, 4.2), layout="constrained")
    axes.scatter(theirs, ours, s=18)
    axes.axline((0.5, 0.5), slope=1, color="gray", linewidth=0.8)
    axes.set(xlabel=f"R² by {other}", ylabel=f"R² by {name}", title="Each fold, held out")
    figure.savefig(file, dpi=72)


def main(arguments=None):
    """Cross-validate both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="five folds, once")
    parser.add_argument("--plot", metavar="FILE", help="draw the R² of each fold (needs matplotlib)")
    options = parser.parse_args(arguments)

    x, y = load_diabetes(return_X_y=True)
    folds = list(RepeatedKFold(n_splits=5, n_repeats=1 if options.short else 10, random_state=0).split(x))
    results = []
    for name, regress in (("pynn", by_pynn), ("scikit-learn", by_sklearn)):
        began = perf_counter()
        predictions = [regress(x[train], y[train], x[test], seed) for seed, (train, test) in enumerate(folds)]
        seconds = perf_counter() - began
        scores = [r2(prediction, y[test]) for prediction, (_, test) in zip(predictions, folds, strict=True)]
        results.append((name, scores, seconds))
        print(f"{name:12}  R² {sum(scores) / len(scores):.3f} in the mean of {len(folds)} folds, {seconds:.2f} s")
    if options.plot:
        draw(results, options.plot)


if __name__ == "__main__":
    main()
