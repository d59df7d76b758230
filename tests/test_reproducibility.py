"""The contract on order: neither threads nor instruction set, memory, batch or path can change a bit.

Which sequence of operations it is that gives them, test_specification.py says.
"""

import itertools

import numpy as np
import pytest
from support import ACTIVATIONS, INSTRUCTION_SETS, LAYOUTS, Subclass, digest, same_bits, threads, using, values

import pynn
from pynn import kernels

# ---- networks to try it on -------------------------------------------------------------------------------------------


def architecture(widths, activation, bias=True):
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [pynn.Dense(inputs, outputs, bias=bias), getattr(pynn, kernels.ACTIVATIONS[activation].class_name)()]
    return layers[:-1]


def network(widths, activation="sigmoid", dtype="float32", bias=True, layers=None):
    net = pynn.Network(layers or architecture(widths, activation, bias), optimizer=pynn.SGD(0.1), dtype=dtype, seed=7)
    for i, layer in enumerate(net.layers):
        if bias and isinstance(layer, pynn.Dense):
            layer.bias = values(layer.out_features, dtype, i)  # zeros would hide a bias added at another moment
    return net


# Small and odd ones, ones with few outputs (dot products) and few inputs, and ones whose work is shared out among threads.
WIDTHS = [(2, 8, 1), (3, 5, 7, 2), (1, 1), (37, 65, 3), (64, 31, 33, 16), (100, 17, 1), (300, 260, 10), (16, 600, 520)]
SMALL = WIDTHS[:6]


def task(widths, rows, dtype):
    return values((rows, widths[0]), dtype, 11), values((rows, widths[-1]), dtype, 12)


def trained(net, x, y):
    """Everything that training and prediction compute, as one digest."""
    history = net.fit(x, y, epochs=2, batch_size=50, shuffle=True)
    return digest(net.parameters, net.predict(x), net.predict(x[0]), np.array(history.cost))


# ---- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_any_number_of_threads_gives_the_same_bits(instruction_set, dtype, widths):
    if instruction_set == "portable" and widths == WIDTHS[-1]:
        widths = (16, 300, 260)  # as shared out, but quick enough without vectors
    x, y = task(widths, 150, dtype)
    seen = set()
    for number in (1, 2, 3, 4):
        with threads(number):
            seen.add(trained(network(widths, dtype=dtype), x, y))
    assert len(seen) == 1


def test_kernels_give_the_same_bits_on_any_number_of_threads(instruction_set, dtype, activation):
    weight, bias = values((200, 300), dtype, 1), values(200, dtype, 2)
    x, dy = values((150, 300), dtype, 3), values((150, 200), dtype, 4)
    long = values(70001, dtype, 5)
    seen = set()
    for number in (1, 2, 3, 4):
        with threads(number):
            theta = long.copy()
            kernels.gradient_descent(theta, long, 0.1)
            seen.add(
                digest(
                    kernels.affine(weight, x, bias),
                    kernels.input_gradient(weight, dy),
                    kernels.weight_gradient(dy, x),
                    kernels.bias_gradient(dy),
                    kernels.activation(activation, long),
                    kernels.activation_gradient(activation, long, long),
                    kernels.mean_squared_error_gradient(long, 2 * long),
                    np.array(kernels.mean_squared_error(long, 2 * long)),
                    theta,
                )
            )
    assert len(seen) == 1


# ---- instruction sets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_every_instruction_set_gives_the_same_bits(dtype, activation, widths):
    x, y = task(widths, 60, dtype)
    seen = {}
    for name in INSTRUCTION_SETS:
        with using(name):
            seen[name] = trained(network(widths, activation, dtype), x, y)
    assert len(set(seen.values())) == 1, seen


def test_large_batches_give_the_same_bits_on_every_instruction_set(dtype):
    # Layers whose products are all packed in blocks where there are few registers, one of them in parts of its depth.
    widths, rows = (1030, 310, 290, 70), 300
    x, y = task(widths, rows, dtype)
    seen = {}
    for name in INSTRUCTION_SETS:
        for number in (1,) if name == "portable" else (1, 2):
            with using(name), threads(number):
                net = network(widths, "tanh", dtype)
                cost = net.train_step(x, y)
                seen[name, number] = digest(net.parameters, net.predict(x), net.predict(x[:70]), np.array(cost))
    assert len(set(seen.values())) == 1, seen


# ---- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_changes_no_bit_of_a_kernel(instruction_set, dtype, layout):
    place = LAYOUTS[layout]
    for rows, inputs, outputs in [(1, 5, 3), (3, 40, 9), (21, 33, 50), (6, 64, 2)]:
        weight, bias = values((outputs, inputs), dtype, 1), values(outputs, dtype, 2)
        x, dy = values((rows, inputs), dtype, 3), values((rows, outputs), dtype, 4)
        calls = [
            ("affine", weight, x, bias),
            ("affine", weight, x[0], bias),
            ("input_gradient", weight, dy),
            ("weight_gradient", dy, x),
            ("weight_gradient", dy[0], x[0]),
            ("bias_gradient", dy),
            ("mean_squared_error", x, 2 * x),
            ("mean_squared_error_gradient", x, 2 * x),
        ]
        for name, *arguments in calls:
            kernel = getattr(kernels, name)
            wanted = kernel(*arguments)
            assert same_bits(kernel(*map(place, arguments)), wanted), name
            for i in range(len(arguments)):
                assert same_bits(kernel(*[place(each) if i == j else each for j, each in enumerate(arguments)]), wanted), name
            if layout not in ("byte_swapped", "read_only") and isinstance(wanted, np.ndarray):
                out = place(np.full_like(wanted, np.nan))
                assert kernel(*arguments, out=out) is out
                assert same_bits(out.view(np.ndarray) if isinstance(out, Subclass) else out, wanted), name
        for name in ACTIVATIONS:
            assert same_bits(kernels.activation(name, place(x)), kernels.activation(name, x))
            assert same_bits(
                kernels.activation_gradient(name, place(x), place(2 * x)), kernels.activation_gradient(name, x, 2 * x)
            )
        if layout not in ("byte_swapped", "read_only", "subclass"):
            theta, plain = place(weight), weight.copy()
            kernels.gradient_descent(theta, place(weight / 3), 0.1)
            kernels.gradient_descent(plain, weight / 3, 0.1)
            assert same_bits(theta, plain)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_changes_no_bit_of_training(dtype, layout):
    place = LAYOUTS[layout]
    for widths in SMALL:
        x, y = task(widths, 23, dtype)
        plain, other = network(widths, dtype=dtype), network(widths, dtype=dtype)
        assert same_bits(other.predict(place(x)), plain.predict(x))
        assert other.evaluate(place(x), place(y)) == plain.evaluate(x, y)
        assert other.train_step(place(x), place(y)) == plain.train_step(x, y)
        assert other.fit(place(x), place(y), epochs=2, batch_size=5).cost == plain.fit(x, y, epochs=2, batch_size=5).cost
        assert digest(other.parameters) == digest(plain.parameters)


def test_a_row_repeated_by_a_stride_of_zero_counts_as_often_as_it_is_seen(instruction_set, dtype):
    x, dy, weight, bias = values(40, dtype, 1), values(9, dtype, 2), values((9, 40), dtype, 3), values(9, dtype, 4)
    many_x, many_dy = np.broadcast_to(x, (20, 40)), np.broadcast_to(dy, (20, 9))
    assert same_bits(kernels.affine(weight, many_x, bias), kernels.affine(weight, many_x.copy(), bias))
    assert same_bits(kernels.input_gradient(weight, many_dy), kernels.input_gradient(weight, many_dy.copy()))
    assert same_bits(kernels.weight_gradient(many_dy, many_x), kernels.weight_gradient(many_dy.copy(), many_x.copy()))
    assert same_bits(kernels.bias_gradient(many_dy), kernels.bias_gradient(many_dy.copy()))
    same_weights = np.broadcast_to(x, (9, 40))
    assert same_bits(kernels.affine(same_weights, many_x, bias), kernels.affine(same_weights.copy(), many_x, bias))
    one_number = np.broadcast_to(dy[:1], (20, 9))
    assert same_bits(kernels.bias_gradient(one_number), kernels.bias_gradient(one_number.copy()))
    assert same_bits(kernels.activation("tanh", one_number), kernels.activation("tanh", one_number.copy()))


def test_what_memory_held_before_changes_no_bit(instruction_set, dtype):
    def dirty():
        for size in (100, 3000, 20_000, 100_000, 2_000_000):
            for _ in range(3):
                np.full(size, np.nan, np.float32)  # freed at once: what malloc hands out next is full of NaNs

    seen = set()
    for prepare in (lambda: None, dirty, dirty):
        prepare()
        for widths in [(3, 5, 7, 2), (300, 130, 10), (16, 300, 260)]:
            x, y = task(widths, 65, dtype)
            net = network(widths, dtype=dtype)
            prepare()
            out = np.full((65, widths[-1]), np.nan, dtype)
            net.predict(x, out=out)
            seen.add((widths, trained(net, x, y), digest(out)))
    assert len(seen) == 3


# ---- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [*SMALL, (70, 300, 20)], ids=str)
def test_a_row_of_a_batch_has_the_bits_of_that_row_alone(instruction_set, dtype, activation, widths):
    net = network(widths, activation, dtype)
    most = 300 if activation == "sigmoid" and widths in SMALL[:2] else 70
    x = values((most, widths[0]), dtype)
    alone = np.array([net.predict(row) for row in x])
    sizes = range(1, most + 1) if activation == "sigmoid" else (1, 2, 3, 4, 7, 8, 16, 33, 70)
    for rows in sizes:
        assert same_bits(net.predict(x[:rows]), alone[:rows]), f"batch of {rows}"
    assert same_bits(net.predict(x[5:]), alone[5:])


def test_a_row_of_a_large_batch_has_the_bits_of_that_row_alone(instruction_set, dtype):
    for widths, rows in [((20, 64, 5), 5000), ((33, 500, 3), 700)]:
        net, x = network(widths, dtype=dtype), values((rows, widths[0]), dtype)
        chosen = [0, 1, 63, 64, 65, 127, 128, rows // 2, rows - 2, rows - 1]
        alone = np.array([net.predict(x[i]) for i in chosen])
        for number in (1, 2, 3):
            with threads(number):
                assert same_bits(net.predict(x)[chosen], alone)


def test_a_row_of_a_product_has_the_bits_of_that_row_alone(instruction_set, dtype):
    for inputs, outputs in [(5, 3), (31, 64), (32, 9), (40, 2), (65, 50), (4500, 32), (40, 3500)]:
        weight, bias = values((outputs, inputs), dtype, 1), values(outputs, dtype, 2)
        x, dy = values((33, inputs), dtype, 3), values((33, outputs), dtype, 4)
        for order in ("C", "F"):
            w = np.asarray(weight, order=order)
            y_alone = np.array([kernels.affine(w, row, bias) for row in x])
            dx_alone = np.array([kernels.input_gradient(w, row) for row in dy])
            for rows in (1, 2, 3, 4, 5, 8, 9, 33):
                assert same_bits(kernels.affine(w, x[:rows], bias), y_alone[:rows])
                assert same_bits(kernels.input_gradient(w, dy[:rows]), dx_alone[:rows])


# ---- paths -----------------------------------------------------------------------------------------------------------


class Unchanged:
    """A layer of a user's own, which a network must run layer by layer; it does what Identity does."""

    def forward(self, x):
        return x

    def backward(self, y_gradient):
        return y_gradient


class MyDense(pynn.Dense):
    """A subclass: the network cannot know that it changes nothing."""


class MyCost(pynn.MSE):
    """The same for a cost."""


class MyOptimizer(pynn.SGD):
    """And for an optimizer."""


def by_hand(net, x, y):
    """A training step, layer by layer, from Python."""
    prediction = x
    for layer in net.layers:
        prediction = layer.forward(prediction)
    cost = net.cost(prediction, y)
    gradient = net.cost.gradient(prediction, y)
    for layer in reversed(net.layers):
        gradient = layer.backward(gradient)
    net.optimizer.step(net.parameters, net.gradients)
    return cost


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("widths", SMALL, ids=str)
def test_every_path_of_training_gives_the_same_bits(instruction_set, dtype, activation, widths, bias):
    rows, batch = 27, 10  # the last batch is smaller
    x, y = task(widths, rows, dtype)
    batches = [slice(begin, begin + batch) for begin in range(0, rows, batch)]

    def in_one_fit(net):
        return net.fit(x, y, epochs=2, batch_size=batch, shuffle=False).cost

    def in_steps(step):
        def run(net):
            costs = [[step(net, x[each], y[each]) for each in batches] for _ in range(2)]
            return [pynn.training.mean_cost(np.array(epoch), rows, batch) for epoch in costs]

        return run

    def fresh(**changes):
        return network(widths, activation, dtype, bias, **changes)

    stranger = fresh(layers=[*architecture(widths, activation, bias), Unchanged()])
    subclassed = fresh(
        layers=[
            MyDense(each.in_features, each.out_features, bias=bias) if isinstance(each, pynn.Dense) else each
            for each in architecture(widths, activation, bias)
        ]
    )
    assert stranger._plan is subclassed._plan is None  # or this would test the fused path twice
    with_cost, with_optimizer = fresh(), fresh()
    with_cost.cost, with_optimizer.optimizer = MyCost(), MyOptimizer(0.1)
    runs = {
        "one fit": (fresh(), in_one_fit),
        "steps": (fresh(), in_steps(lambda net, *pair: net.train_step(*pair))),
        "layer by layer": (fresh(), in_steps(by_hand)),
        "a stranger's layer": (stranger, in_one_fit),
        "a subclass of Dense": (subclassed, in_one_fit),
        "a subclass of MSE": (with_cost, in_one_fit),
        "a subclass of SGD": (with_optimizer, in_one_fit),
        "in pieces of one step": (
            fresh(),
            lambda net: net.fit(x, y, epochs=2, batch_size=batch, shuffle=False, progress=lambda _: None).cost,
        ),
    }
    seen = {}
    for name, (net, run) in runs.items():
        costs = run(net)
        seen[name] = digest(net.parameters, net.predict(x), net.forward(x), np.array(costs), np.array(net.evaluate(x, y)))
    assert len(set(seen.values())) == 1, seen


def test_training_sample_by_sample_is_training_in_batches_of_one(instruction_set, dtype):
    for widths in SMALL:
        x, y = task(widths, 9, dtype)
        nets = [network(widths, dtype=dtype) for _ in range(3)]
        nets[0].fit(x, y, batch_size=1, shuffle=False)
        for i in range(len(x)):
            nets[1].train_step(x[i], y[i])
            nets[2].train_step(x[i : i + 1], y[i : i + 1])
        assert len({digest(net.parameters) for net in nets}) == 1


def test_gradients_by_layer_are_the_ones_the_step_applies(instruction_set, dtype):
    for widths in SMALL:
        x, y = task(widths, 13, dtype)
        by_layers, by_step = network(widths, dtype=dtype), network(widths, dtype=dtype)
        by_layers.backward(by_layers.cost.gradient(by_layers.forward(x), y))
        theta = by_layers.parameters.copy()
        kernels.gradient_descent(theta, by_layers.gradients, 0.1)
        by_step.train_step(x, y)
        assert same_bits(theta, by_step.parameters)


def test_shuffled_training_is_training_on_shuffled_rows(dtype):
    widths = (3, 5, 7, 2)
    x, y = task(widths, 31, dtype)
    shuffled, sorted_by_hand = network(widths, dtype=dtype), network(widths, dtype=dtype)
    orders = []
    generator = np.random.Generator(np.random.PCG64())
    generator.bit_generator.state = shuffled._random.bit_generator.state
    shuffled.fit(x, y, epochs=3, batch_size=8)
    for _ in range(3):
        orders.append(generator.permutation(31))
        sorted_by_hand.fit(x[orders[-1]], y[orders[-1]], batch_size=8, shuffle=False)
    assert digest(shuffled.parameters) == digest(sorted_by_hand.parameters)
    assert len({order.tobytes() for order in orders}) == 3


def test_rows_of_a_single_batch_keep_their_order(dtype):
    widths = (3, 5, 2)
    x, y = task(widths, 31, dtype)
    one, other = network(widths, dtype=dtype), network(widths, dtype=dtype)
    one.fit(x, y, epochs=2, batch_size=31)
    other.fit(x, y, epochs=2, batch_size=100, shuffle=False)
    assert same_bits(one.parameters, other.parameters)
