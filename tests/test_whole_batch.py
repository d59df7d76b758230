"""pynn/whole_batch.py: L-BFGS by SciPy over a network's parameters."""

import sys

import numpy as np
import pytest
from support import same_bits, values

import pynn

pytest.importorskip("scipy", reason="SciPy is not installed")


def small(dtype="float64", **options):
    return pynn.Network([pynn.Dense(2, 6), pynn.Tanh(), pynn.Dense(6, 1)], dtype=dtype, seed=0, **options)


def data(dtype="float64"):
    x = values((60, 2), dtype)
    return x, np.sin(3 * x[:, 0]) + x[:, 1] ** 2


def test_it_finds_a_smaller_cost_than_it_began_with(dtype):
    x, y = data(dtype)
    net = small(dtype)
    before = net.evaluate(x, y)
    history = pynn.fit_lbfgs(net, x, y, max_iterations=100)
    assert net.evaluate(x, y) == pytest.approx(history.cost[-1], rel=1e-5)
    assert history.cost[-1] < before / 50
    assert all(after <= earlier for earlier, after in zip(history.cost, history.cost[1:], strict=False))
    assert len(history.cost) <= 100


def test_a_linear_network_ends_at_the_least_squares_solution():
    x = values((40, 3), "float64")
    y = x @ [1.0, -2.0, 0.5] + 0.25
    net = pynn.Network([pynn.Dense(3, 1)], dtype="float64", seed=0)
    history = pynn.fit_lbfgs(net, x, y, tolerance=1e-10)
    assert history.converged
    np.testing.assert_allclose(net.layers[0].weight, [[1.0, -2.0, 0.5]], atol=1e-8)
    np.testing.assert_allclose(net.layers[0].bias, [0.25], atol=1e-8)


def test_a_penalty_is_ridge_regression():
    x, l2 = values((40, 3), "float64"), 0.3
    y = x @ [1.0, -2.0, 0.5]
    net = pynn.Network([pynn.Dense(3, 1, bias=False)], dtype="float64", seed=0)
    pynn.fit_lbfgs(net, x, y, tolerance=1e-12, l2=l2)
    # The gradient of 1/n |Xw - y|² + l2/2 |w|² vanishes at (2/n XᵀX + l2) w = 2/n Xᵀy.
    wanted = np.linalg.solve(2 / 40 * x.T @ x + l2 * np.eye(3), 2 / 40 * x.T @ y)
    np.testing.assert_allclose(net.layers[0].weight[0], wanted, atol=1e-8)


def test_labels_weights_and_costs_of_every_kind():
    x, _ = data()
    labels = (x[:, 0] > 0).astype(int)
    net = pynn.Network(
        [pynn.Dense(2, 8), pynn.SiLU(), pynn.Dense(8, 2)], cost=pynn.SoftmaxCrossEntropy(), dtype="float64", seed=0
    )
    pynn.fit_lbfgs(net, x, labels, max_iterations=100, sample_weight=np.ones(60))
    assert (net.predict(x).argmax(axis=1) == labels).all()


def test_an_interrupt_leaves_the_parameters_of_the_last_iteration():
    x, y = data()

    class Interrupting(pynn.MSE):
        calls = 0

        def gradient(self, prediction, target):
            Interrupting.calls += 1
            if Interrupting.calls == 20:
                raise KeyboardInterrupt
            return super().gradient(prediction, target)

    net, other = small(cost=Interrupting()), small()
    with pytest.raises(KeyboardInterrupt):
        pynn.fit_lbfgs(net, x, y)
    costs = pynn.fit_lbfgs(other, x, y).cost
    assert pytest.approx(net.evaluate(x, y), rel=1e-12) in costs


def test_what_makes_no_sense_is_refused_before_anything_changes():
    x, y = data()
    net = small()
    before = net.parameters.copy()
    for error, message, call in (
        (ValueError, r"x has shape \(0, 2\)", lambda: pynn.fit_lbfgs(net, x[:0], y[:0])),
        (ValueError, "l2 is -1", lambda: pynn.fit_lbfgs(net, x, y, l2=-1)),
        (ValueError, "y has shape|rows", lambda: pynn.fit_lbfgs(net, x, y[:3])),
        (pynn.DivergenceError, "cost is nan", lambda: pynn.fit_lbfgs(net, np.full_like(x, np.nan), y)),
    ):
        with pytest.raises(error, match=message):
            call()
        assert same_bits(net.parameters, before)
    dropping = pynn.Network([pynn.Dense(2, 1), pynn.Dropout(0.5)])
    with pytest.raises(ValueError, match="Dropout"):
        pynn.fit_lbfgs(dropping, x, y)


def test_without_scipy_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match="pip install scipy"):
        pynn.fit_lbfgs(small(), *data())
