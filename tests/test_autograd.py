"""PyTorch's automatic differentiation beside pynn's backpropagation, in float64, on random networks.

Two ways to sum differ by rounding alone. Whatever its order, a sum of n rounded products is within γ(n) = n u / (1 - n u) times
the sum of absolute values of the exact one (Higham, Accuracy and Stability of Numerical Algorithms, 3.1), so that an entry that
cancels may lose any number of its own digits, and has no bound relative to itself. Elements are therefore held to a bound
relative to sums of absolute values (`magnitudes`), and arrays as a whole to 1e-12 of their norm.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ACTIVATIONS, unit, values
from test_layers import layer_of

import pynn
from pynn import reference
from pynn.kernels import ACTIVATIONS as ACTIVATION_ROWS

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch, to compare gradients with its autograd")

# What PyTorch calls each activation of pynn; one that has a parameter takes it as its second argument.
FUNCTIONS = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "arctan": torch.arctan,
    "tanh": torch.tanh,
    "identity": lambda x: x,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "elu": torch.nn.functional.elu,
    "selu": torch.nn.functional.selu,
    "softplus": lambda x, beta=1.0: torch.nn.functional.softplus(
        x, beta, threshold=700
    ),  # above its threshold PyTorch takes x for it
    "softsign": torch.nn.functional.softsign,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "hard_sigmoid": lambda x: torch.nn.functional.relu6(x + 3) / 6,  # the slope of its hardsigmoid is 1/6 in float32, even here
    "hard_tanh": torch.nn.functional.hardtanh,
    "mish": torch.nn.functional.mish,
}
OF_NORM = 1e-12
# Sums of at most 40 terms, so 2 γ(42) apart, in at most 4 layers forward and 4 back: 672 at worst. Of 15,795 arrays none
# needed more than 5.
ROUNDINGS = 100
CURVATURE = 2  # at least the largest |f''| of any of them
LEAST_LEFT = (
    1e-4  # of the norm of the magnitudes: an array whose elements all cancel, such as one bias gradient, has a smaller norm
)


def test_every_activation_has_its_counterpart():
    missing = set(ACTIVATIONS) - set(FUNCTIONS)
    assert not missing, f"add what PyTorch calls {', '.join(sorted(missing))} to FUNCTIONS in tests/test_autograd.py"


@st.composite
def networks(draw):
    """(layers: (in, out, bias) or (activation, parameter or None for its default); batch, None for one sample; seed)."""
    widths = draw(st.lists(st.integers(1, 40), min_size=2, max_size=5))
    layers = []
    for before, after in itertools.pairwise(widths):
        layers.append((before, after, draw(st.booleans())))
        layers += draw(st.lists(st.tuples(st.sampled_from(ACTIVATIONS), st.sampled_from([None, 0.3])), max_size=2))
    return layers, draw(st.none() | st.integers(1, 40)), draw(st.integers(0, 2**32 - 1))


def activation_of(name, parameter):
    layer = layer_of(name)
    return layer if parameter is None or not ACTIVATION_ROWS[name].parameter else type(layer)(parameter)


def built(layers, batch, seed):
    """The network, x and y."""
    net = pynn.Network(
        [activation_of(*layer) if isinstance(layer[0], str) else pynn.Dense(*layer) for layer in layers],
        optimizer=pynn.SGD(0.05),
        dtype="float64",
        seed=seed,
    )
    dense = [layer for layer in net.layers if isinstance(layer, pynn.Dense)]
    for i, layer in enumerate(dense):
        if layer.has_bias:
            layer.bias = values(layer.out_features, "float64", i) / 4
    shape = () if batch is None else (batch,)
    return net, values((*shape, dense[0].in_features), "float64", 1), values((*shape, dense[-1].out_features), "float64", 2)


class Twin:
    """The same network in PyTorch, by nothing but matrix products, sums and its own activations."""

    def __init__(self, net, layers):
        self.steps = []
        self.parameters = []  # one tensor for each array of the network, in order, with the array's name
        for number, (layer, kind) in enumerate(zip(net.layers, layers, strict=True)):
            if isinstance(layer, pynn.Dense):
                own = {name: torch.tensor(getattr(layer, name).copy(), requires_grad=True) for name in layer.shapes()}
                self.parameters += [(number, name, tensor) for name, tensor in own.items()]
                self.steps.append(lambda x, own=own: x @ own["weight"].T + own.get("bias", 0.0))
            else:
                shape = [layer.parameter] if ACTIVATION_ROWS[kind[0]].parameter else []
                self.steps.append(lambda x, kind=kind, shape=shape: FUNCTIONS[kind[0]](x, *shape))

    def __call__(self, x):
        for step in self.steps:
            x = step(x)
        return x

    def descend(self, rate):
        with torch.no_grad():
            for _, _, tensor in self.parameters:
                tensor -= rate * tensor.grad
                tensor.grad = None


def magnitudes(net, x, y):
    """What rounding errors of (predictions, cost, {(layer, name): gradient}, input gradient) are multiples of.

    For sums they are the same sums of absolute values. An activation passes an error of its input on times f', and errs by u
    times f and x (as 1 + erf does, where it is nearly 0); its derivative errs by f'' times that of its input, and by u.
    """
    real, sums, given = x, abs(x), []
    for layer in net.layers:
        given.append((real, sums))
        if isinstance(layer, pynn.Dense):
            real = reference.affine(layer.weight, real, layer.bias)
            sums = sums @ abs(layer.weight).T + (abs(layer.bias) if layer.has_bias else 0.0)
        else:
            slope = abs(reference.activation_gradient(layer.name, real, np.ones_like(real), parameter=layer.parameter))
            sums = slope * sums + abs(real)
            real = reference.activation(layer.name, real, parameter=layer.parameter)
            sums += abs(real)
    predictions, errors = sums, sums + abs(y)
    gradient, sums = reference.mean_squared_error_gradient(real, y), 2 / y.size * errors
    found = {}
    for number, layer in reversed(list(enumerate(net.layers))):
        before, before_sums = given[number]
        if isinstance(layer, pynn.Dense):
            found[number, "weight"] = np.atleast_2d(sums).T @ np.atleast_2d(before_sums)
            found[number, "bias"] = np.atleast_2d(sums).sum(axis=0)
            gradient, sums = reference.input_gradient(layer.weight, gradient), sums @ abs(layer.weight)
        else:
            slope = abs(reference.activation_gradient(layer.name, before, np.ones_like(before), parameter=layer.parameter))
            sums = sums * slope + abs(gradient) * (1 + CURVATURE * before_sums)
            gradient = reference.activation_gradient(layer.name, before, gradient, parameter=layer.parameter)
    return predictions, float(np.mean(errors**2)), found, sums


def close(mine, theirs, magnitude):
    mine, theirs = np.asarray(mine), theirs.detach().numpy()
    assert mine.shape == theirs.shape
    off = abs(mine - theirs)
    assert (off <= ROUNDINGS * unit("float64") * magnitude).all(), f"{off} where rounding explains a multiple of {magnitude}"
    assert np.linalg.norm(off) <= OF_NORM * max(np.linalg.norm(theirs), LEAST_LEFT * np.linalg.norm(magnitude))


@given(networks())
def test_predictions_costs_and_gradients_are_those_of_autograd(network):
    layers, batch, seed = network
    net, x, y = built(layers, batch, seed)
    twin = Twin(net, layers)
    their_x = torch.tensor(x, requires_grad=True)
    theirs = twin(their_x)
    their_cost = ((theirs - torch.tensor(y)) ** 2).mean()
    their_cost.backward()

    predictions, cost, gradients, input_gradient = magnitudes(net, x, y)
    close(net.predict(x), theirs, predictions)
    close(net.evaluate(x, y), their_cost, cost)
    dx = net.backward(net.cost.gradient(net.forward(x), y))
    close(dx, their_x.grad, input_gradient)
    for number, name, tensor in twin.parameters:
        close(getattr(net.layers[number], name + "_gradient"), tensor.grad, gradients[number, name])


@given(networks())
def test_steps_in_c_are_those_by_autograd(network):
    layers, batch, seed = network
    net, x, y = built(layers, batch, seed)
    twin = Twin(net, layers)
    for _ in range(3):
        _, magnitude, gradients, _ = magnitudes(net, x, y)
        cost = ((twin(torch.tensor(x)) - torch.tensor(y)) ** 2).mean()
        cost.backward()
        close(net.train_step(x, y), cost, magnitude)
        twin.descend(net.optimizer.learning_rate)
        for number, name, tensor in twin.parameters:
            mine = getattr(net.layers[number], name)
            close(mine, tensor, abs(mine) + net.optimizer.learning_rate * gradients[number, name])
            with torch.no_grad():
                tensor.copy_(
                    torch.tensor(mine.copy())
                )  # each step is compared on its own: a network may enlarge a difference at will


def test_training_for_a_while_ends_at_the_same_parameters():
    layers = [(6, 12, True), ("tanh", None), (12, 5, True), ("sigmoid", None), (5, 2, True)]
    net, x, y = built(layers, 16, 1)
    twin = Twin(net, layers)
    start = [tensor.detach().clone() for _, _, tensor in twin.parameters]
    history = net.fit(x, y, epochs=200, batch_size=16, shuffle=False)
    for wanted in history.cost:
        cost = ((twin(torch.tensor(x)) - torch.tensor(y)) ** 2).mean()
        assert abs(cost.item() - wanted) <= 1e-12 * wanted
        cost.backward()
        twin.descend(net.optimizer.learning_rate)
    for (number, name, tensor), first in zip(twin.parameters, start, strict=True):
        theirs = tensor.detach().numpy()
        assert np.linalg.norm(getattr(net.layers[number], name) - theirs) <= 1e-12 * np.linalg.norm(theirs)
        assert not torch.equal(tensor, first)
    assert history.cost[-1] < history.cost[0]


def test_a_wrong_gradient_is_found():
    layers = [(3, 4, True), ("tanh", None), (4, 1, True)]
    net, x, y = built(layers, 5, 2)
    twin = Twin(net, layers)
    ((twin(torch.tensor(x)) - torch.tensor(y)) ** 2).mean().backward()
    net.backward(net.cost.gradient(net.forward(x), y))
    _, _, gradients, _ = magnitudes(net, x, y)
    weight_gradient = net.layers[0].weight_gradient.copy()
    close(weight_gradient, twin.parameters[0][2].grad, gradients[0, "weight"])
    weight_gradient[1, 2] *= 1 + 1e-9
    with pytest.raises(AssertionError):
        close(weight_gradient, twin.parameters[0][2].grad, gradients[0, "weight"])
