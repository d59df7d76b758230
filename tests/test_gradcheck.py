"""pynn/gradient_check.py: right gradients pass, each kind of wrong one is found and named, and the network stays as it was."""

import copy
import itertools
import math

import numpy as np
import pytest
from support import output, same_bits, values
from test_layers import layer_of
from test_rows import LAYERS

import pynn


def network(*layers, dtype="float64", seed=3, **options):
    net = pynn.Network(list(layers), dtype=dtype, seed=seed, **options)
    net.parameters[:] = values(net.parameters.size, dtype, 5)
    return net


def check(net, width=3, rows=4, **options):
    x = values((rows, width), "float64", 1)
    return pynn.gradcheck(net, x, values(net.predict(x).shape, "float64", 2), **options)


# ---- right ones ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(3, 1), (3, 8, 1), (3, 40, 2), (3, 5, 6, 4), (33, 3, 17)], ids=str)
def test_pynns_own_gradients_pass(dtype, activation, widths):
    layers = [
        part
        for i, (before, after) in enumerate(itertools.pairwise(widths))
        for part in (pynn.Dense(before, after, bias=i != 0), layer_of(activation))
    ]
    report = check(network(*layers, dtype=dtype), widths[0])
    assert report, str(report)
    names = [(array.layer, array.name) for array in report.arrays]
    assert names[0] == (None, "prediction")
    assert {(i, "weight") for i, layer in enumerate(layers) if isinstance(layer, pynn.Dense)} < set(names)
    entries = [entry for array in report.arrays for entry in array.entries]
    resolved = [entry for entry in entries if entry.verdict == "right"]
    assert len(resolved) >= 0.99 * len(entries)  # kinks are rare at random places
    assert max(entry.relative_error for entry in resolved if abs(entry.analytic) > 1e-6) < 1e-6
    assert any("float32" in note for note in report.notes) == (dtype == "float32")


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_of_layers_on_rows_pass(dtype, kind):
    report = check(network(pynn.Dense(3, 6), LAYERS[kind](), pynn.Tanh(), LAYERS[kind](), pynn.Dense(6, 2), dtype=dtype))
    assert report, str(report)
    assert all(entry.verdict == "right" for array in report.arrays for entry in array.entries), str(report)


@pytest.mark.parametrize("cost", sorted(set(pynn.costs.__all__) - {"Cost"}))
def test_gradients_of_every_cost_pass(dtype, cost):
    net = network(pynn.Dense(3, 6), pynn.Tanh(), pynn.Dense(6, 4), dtype=dtype, cost=getattr(pynn, cost)())
    x, y = values((5, 3), dtype, 1), np.abs(values((5, 4), dtype, 2))
    targets = [y, *([np.arange(5) % 4] if getattr(net.cost, "takes_labels", False) else [])]
    for target in targets:
        report = pynn.gradcheck(net, x, target)
        assert report, str(report)
        assert all(entry.verdict == "right" for array in report.arrays for entry in array.entries), str(report)


def test_one_sample_and_targets_without_an_axis():
    net = network(pynn.Dense(3, 4), pynn.Tanh(), pynn.Dense(4, 1))
    one = pynn.gradcheck(net, np.array([0.5, -0.25, 1.0]), np.array([1.0]))
    assert one
    assert one.arrays[-3].shape == (3,)  # ∂C/∂X of the network
    assert pynn.gradcheck(net, values((6, 3), "float32"), values(6, "float32"))
    assert pynn.gradcheck(net, [[1, 2, 3]], [1])


def test_derivatives_are_known_numbers():
    net = network(pynn.Dense(1, 1))
    net.layers[0].weight[:], net.layers[0].bias[:] = 2.0, 1.0
    report = pynn.gradcheck(net, [[3.0]], [[5.0]])  # C = (w x + b - y)², so dC/dw = 2 · 2 · 3
    found = {array.name: (array.entries[0].analytic, array.entries[0].numeric) for array in report.arrays}
    for name, wanted in {"prediction": 4.0, "x": 8.0, "weight": 12.0, "bias": 4.0}.items():
        assert found[name] == (wanted, pytest.approx(wanted, rel=1e-9))


class Scale(pynn.Layer):
    """Y = factor X, with a parameter that has no elements beside it."""

    def shapes(self):
        return {"nothing": (0, 3), "factor": (1,)}

    def initial(self, name, random):
        return np.full(self.shapes()[name], 1.5)

    def forward(self, x):
        self.x = x
        return self.factor * x

    def backward(self, y_gradient):
        self.factor_gradient[:] = (y_gradient * self.x).sum()
        return self.factor * y_gradient

    def __repr__(self):
        return f"{type(self).__name__}()"


class FourthPower:
    """A cost of one's own: C = Σ (p - t)⁴."""

    def __call__(self, prediction, target):
        return float(((prediction - target) ** 4).sum())

    def gradient(self, prediction, target):
        return 4 * (prediction - target) ** 3

    def __repr__(self):
        return "FourthPower()"


def test_layers_and_costs_of_ones_own_pass(dtype):
    report = check(network(pynn.Dense(3, 4), Scale(), pynn.Sigmoid(), pynn.Dense(4, 2), dtype=dtype, cost=FourthPower()))
    assert report, str(report)
    sizes = {array.name: (array.shape, len(array.entries)) for array in report.arrays if array.layer == 1}
    assert sizes == {"x": ((4, 4), 16), "nothing": ((0, 3), 0), "factor": ((1,), 1)}


# ---- wrong ones --------------------------------------------------------------------------------------------------------


class Sign(Scale):
    def backward(self, y_gradient):
        return -super().backward(y_gradient)


class OffByAFactor(Scale):
    def backward(self, y_gradient):
        super().backward(y_gradient)
        self.factor_gradient[:] *= 1 + 1e-5
        return self.factor * y_gradient


class OneEntry(Scale):
    def backward(self, y_gradient):
        x_gradient = super().backward(y_gradient)
        x_gradient[2, 1] *= 1.001
        return x_gradient


class NoGradient(Scale):
    def backward(self, y_gradient):
        return self.factor * y_gradient


class NotANumber(Scale):
    def backward(self, y_gradient):
        return super().backward(y_gradient) * np.nan


class NoBiasGradient(pynn.Dense):
    def backward(self, y_gradient):
        x_gradient = super().backward(y_gradient)
        self.bias_gradient[:] = 0
        return x_gradient


class Transposed(pynn.Dense):
    def backward(self, y_gradient):
        super().backward(y_gradient)
        return y_gradient @ self.weight.T


class MeanOverTheBatch(pynn.Dense):
    def backward(self, y_gradient):
        x_gradient = super().backward(y_gradient)
        self.weight_gradient[:] /= len(y_gradient)
        return x_gradient


@pytest.mark.parametrize(
    ("layer", "name", "wrong"),
    [
        (Sign(), "x", 16),
        (OffByAFactor(), "factor", 1),
        (OneEntry(), "x", 1),
        (NoGradient(), "factor", 1),
        (NotANumber(), "x", 16),
        (NoBiasGradient(4, 4), "bias", 4),
        (Transposed(4, 4), "x", 16),
        (MeanOverTheBatch(4, 4), "weight", 16),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, pynn.Layer) else str(value),
)
def test_a_wrong_backward_is_named_with_its_layer_and_entry(layer, name, wrong, dtype):
    net = network(pynn.Dense(3, 4), copy.deepcopy(layer), pynn.Tanh(), pynn.Dense(4, 2), dtype=dtype)
    report = check(net)
    assert not report
    worst = report.worst
    assert (worst.layer, worst.owner, worst.name, worst.verdict) == (1, repr(layer), name, "wrong")
    assert {(array.layer, array.name): array.count("wrong") for array in report.arrays if array.layer != 0} == {
        (array.layer, array.name): wrong if (array.layer, array.name) == (1, name) else 0
        for array in report.arrays
        if array.layer != 0
    }
    if isinstance(layer, OneEntry):
        assert worst.index == (2, 1)
        assert worst.relative_error == pytest.approx(0.001 / 1.001, rel=1e-3)
    text = str(report)
    assert f"layer 1, {layer!r}: {name}[{', '.join(map(str, worst.index))}] is wrong" in text
    assert repr(layer) in repr(report)


def test_a_gradient_off_by_less_than_the_tolerance_is_right_only_then():
    net = network(pynn.Dense(3, 4), OffByAFactor(), pynn.Dense(4, 2))
    assert not check(net)
    assert check(net, tolerance=2e-5)
    assert not check(net, tolerance=5e-6)


def test_a_wrong_gradient_of_a_cost_is_named():
    class Half(FourthPower):
        def gradient(self, prediction, target):
            return super().gradient(prediction, target) / 2

        def __repr__(self):
            return "Half()"

    report = check(network(pynn.Dense(3, 2), pynn.Tanh(), cost=Half()))
    assert (report.worst.layer, report.worst.owner, report.worst.name) == (None, "Half()", "prediction")
    assert report.worst.relative_error == pytest.approx(0.5)
    assert "cost, Half(): prediction[" in str(report)


# ---- where there is no derivative ----------------------------------------------------------------------------------------


def test_a_kink_is_reported_and_is_no_fault():
    net = network(pynn.Dense(2, 3, bias=False), pynn.ReLU(), pynn.Dense(3, 1))
    report = pynn.gradcheck(net, [[0.0, 0.0], [0.5, 1.0]], [1.0, 0.0])
    assert report, str(report)
    relu = next(array for array in report.arrays if (array.layer, array.name) == (1, "x"))
    verdicts = {entry.index: entry.verdict for entry in relu.entries}
    assert {verdicts[0, i] for i in range(3)} == {"kink"}
    assert {verdicts[1, i] for i in range(3)} == {"right"}
    assert "not differentiable here" in str(report)


@pytest.mark.parametrize("distance", [2.0**-k for k in range(1, 60, 3)])
def test_a_kink_nearby_is_passed_by_or_reported(distance):
    net = network(pynn.Dense(1, 1), pynn.ReLU())
    net.layers[0].weight[:], net.layers[0].bias[:] = 1.0, 0.0
    for x in (distance, -distance):
        report = pynn.gradcheck(net, [[x]], [[-1.0]])
        assert report, str(report)
        if distance > 2.0**-20:
            assert {entry.verdict for array in report.arrays for entry in array.entries} == {"right"}


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_inputs_of_any_size_are_resolved(scale):
    net = network(pynn.Dense(3, 4), pynn.Tanh(), pynn.Dense(4, 1))
    net.layers[0].weight = net.layers[0].weight / scale
    x = scale * values((5, 3), "float64", 1)
    report = pynn.gradcheck(net, x, values((5, 1), "float64", 2))
    assert report, str(report)
    assert not sum(array.count("unresolved") for array in report.arrays), str(report)
    wrong = network(pynn.Dense(3, 4), Sign(), pynn.Dense(4, 1))
    wrong.layers[0].weight = wrong.layers[0].weight / scale
    assert pynn.gradcheck(wrong, x, values((5, 1), "float64", 2)).worst.owner == "Sign()"


def test_a_layer_that_computes_in_float32_is_checked_as_precisely_as_that_allows():
    class Single:
        def forward(self, x):
            self.x = np.asarray(x, "float32")
            return self.x**2

        def backward(self, y_gradient):
            return 2 * self.x * np.asarray(y_gradient, "float32") * np.float32(self.factor)

        factor = 1.0

        def __repr__(self):
            return "Single()"

    net = network(pynn.Dense(3, 4), Single(), pynn.Dense(4, 1))
    report = check(net)
    assert report, str(report)
    assert report.notes == [
        "Layer 1, Single(), answers in float32 when asked in float64: differences are only as precise as that."
    ]
    net.layers[1].factor = 0.9
    assert check(net).worst.owner == "Single()"


# ---- what it leaves alone, takes and refuses -------------------------------------------------------------------------------


def test_the_network_stays_as_it_was(dtype):
    class Counts(Scale):
        calls = 0

        def forward(self, x):
            self.calls += 1
            x *= 1.0  # writes to its input
            return super().forward(x)

    net = network(pynn.Dense(3, 4), Counts(), pynn.Tanh(), pynn.Dense(4, 2), dtype=dtype)
    x, y = values((4, 3), dtype, 1), values((4, 2), dtype, 2)
    kept = x.copy(), y.copy()
    before = net.forward(values((5, 3), dtype, 3))
    net.backward(before)
    calls = net.layers[1].calls
    parameters, gradients, random = net.parameters.copy(), net.gradients.copy(), copy.deepcopy(net._random.bit_generator.state)
    layer_x = [net.layers[i]._x for i in (0, 2, 3)], net.layers[1].x
    assert pynn.gradcheck(net, x, y)
    assert same_bits(net.parameters, parameters)
    assert same_bits(net.gradients, gradients)
    assert net._random.bit_generator.state == random
    assert all(a is b for a, b in zip([net.layers[i]._x for i in (0, 2, 3)], layer_x[0], strict=True))
    assert net.layers[1].x is layer_x[1]
    assert net.layers[1].calls == calls
    assert net.dtype == dtype
    assert same_bits(x, kept[0])
    assert same_bits(y, kept[1])


def test_large_arrays_are_sampled_the_same_way_for_one_seed():
    net = network(pynn.Dense(30, 40), pynn.Tanh(), pynn.Dense(40, 2))

    def places(**options):
        report = check(net, 30, 3, **options)
        assert report
        return {(array.layer, array.name): [entry.index for entry in array.entries] for array in report.arrays}

    all_by_default = places()
    assert len(all_by_default[0, "weight"]) == len(set(all_by_default[0, "weight"])) == 500
    assert len(all_by_default[2, "weight"]) == 80
    some = places(samples=7)
    assert {len(indices) for indices in some.values()} == {6, 7, 2}  # the prediction and a bias are smaller
    assert some == places(samples=7, seed=0) != places(samples=7, seed=1)


def test_errors_name_what_was_given():
    net = network(pynn.Dense(3, 2))
    x, y = values((4, 3), "float64"), values((4, 2), "float64")
    for arguments, options, error, message in [
        ((lambda x: x, x, y), {}, TypeError, "wanted a pynn.Network"),
        ((net, x, y), {"tolerance": 0}, ValueError, "tolerance is 0,"),
        ((net, x, y), {"tolerance": math.nan}, ValueError, "tolerance is nan,"),
        ((net, x, y), {"tolerance": "small"}, TypeError, "tolerance is 'small', wanted a number"),
        ((net, x, y), {"samples": 0}, ValueError, "samples is 0, wanted an integer from 1 up"),
        ((net, x, y), {"samples": 1.5}, TypeError, "samples is 1.5, wanted an integer"),
        ((net, x, y), {"seed": -1}, ValueError, "seed is -1, wanted an integer from 0 up"),
        ((net, x[:, :2], y), {}, ValueError, "x has 2 features, the layer takes 3"),
        ((net, x, y[:3]), {}, ValueError, "x has 4 rows and y 3"),
        ((net, x * 1j, y), {}, TypeError, "complex128"),
        ((net, x[:0], y[:0]), {}, ValueError, r"x has shape \(0, 3\) .* nothing to differentiate"),
        ((net, x * np.nan, y), {}, ValueError, "the cost of x against y is nan"),
        ((net, x, y * np.inf), {}, ValueError, "the cost of x against y is inf"),
    ]:
        with pytest.raises(error, match=message):
            pynn.gradcheck(*arguments, **options)


def test_layers_that_cannot_be_checked_are_named():
    class Wide(Scale):
        def backward(self, y_gradient):
            return super().backward(y_gradient)[:, :1]

    class Random(Scale):
        random = np.random.default_rng(0)

        def forward(self, x):
            return super().forward(x * self.random.random())

    class Once(Scale):
        def __deepcopy__(self, memo):
            raise RuntimeError("there is but one")

    with pytest.raises(ValueError, match=r"backward of layer 1, Wide\(\), has shape \(4, 1\), wanted \(4, 4\)"):
        check(network(pynn.Dense(3, 4), Wide()))
    with pytest.raises(ValueError, match="of the same numbers"):
        check(network(pynn.Dense(3, 4), Random()))
    with pytest.raises(TypeError, match="cannot be copied, so checking would change it: there is but one"):
        check(network(pynn.Dense(3, 4), Once()))


def test_it_is_imported_when_asked_for():
    program = (
        "import sys, pynn; print('pynn.gradient_check' in sys.modules, pynn.gradcheck.__module__, pynn.GradientReport.__name__)"
    )
    assert output(program) == "False pynn.gradient_check GradientReport"
