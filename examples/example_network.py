"""One step of learning, written out: a dense layer, a sigmoid and a dense layer (docs/mathematics.md, section 8).

Each line of ``by_hand`` is an equation of the text, in NumPy's plainest words. ``with_pynn`` takes the same step by one call of
``train_step``, and by ``forward`` and ``backward`` to see the gradients. Run it to see both side by side:

    python examples/example_network.py
"""

import numpy as np

import pynn

ALPHA = 0.5


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def sigmoid_derivative(x):
    """The derivative of the sigmoid, e^-x / (1 + e^-x)^2."""
    return np.exp(-x) / (1 + np.exp(-x)) ** 2


def by_hand(w0, b0, w2, b2, x0, target):
    """Cost, gradients and updated parameters by name; all vectors are columns, 2-D, as in the text."""
    # forward: the outputs of a layer are the inputs of the next
    y0 = w0 @ x0 + b0
    x1 = y0
    y1 = sigmoid(x1)
    x2 = y1
    y2 = w2 @ x2 + b2

    n = y2.size
    cost = np.sum((y2 - target) ** 2) / n

    # layer 2, dense
    dy2 = 2 / n * (y2 - target)
    dw2 = dy2 @ x2.T
    db2 = dy2
    dx2 = w2.T @ dy2
    # layer 1, sigmoid
    dy1 = dx2
    dx1 = dy1 * sigmoid_derivative(x1)
    # layer 0, dense; nobody asks for its dC/dX
    dy0 = dx1
    dw0 = dy0 @ x0.T
    db0 = dy0

    return {
        "cost": cost,
        "dC/dW2": dw2,
        "dC/dB2": db2,
        "dC/dW0": dw0,
        "dC/dB0": db0,
        "W2": w2 - ALPHA * dw2,
        "B2": b2 - ALPHA * db2,
        "W0": w0 - ALPHA * dw0,
        "B0": b0 - ALPHA * db0,
    }


def with_pynn(w0, b0, w2, b2, x0, target):
    """The same by pynn: vectors 1-D, as it takes them, made columns again for the eye."""
    layers = [pynn.Dense(w0.shape[1], w0.shape[0]), pynn.Sigmoid(), pynn.Dense(w2.shape[1], w2.shape[0])]
    net = pynn.Network(layers, optimizer=pynn.SGD(ALPHA), dtype="float64")
    first, _, second = layers
    first.weight, first.bias, second.weight, second.bias = w0, b0[:, 0], w2, b2[:, 0]

    # the gradients, layer by layer
    prediction = net.forward(x0[:, 0])
    net.backward(net.cost.gradient(prediction, target[:, 0]))
    gradients = {
        "dC/dW2": second.weight_gradient.copy(),
        "dC/dB2": second.bias_gradient[:, None].copy(),
        "dC/dW0": first.weight_gradient.copy(),
        "dC/dB0": first.bias_gradient[:, None].copy(),
    }

    # the whole step in one call
    cost = net.train_step(x0[:, 0], target[:, 0])
    updated = {"W2": second.weight, "B2": second.bias[:, None], "W0": first.weight, "B0": first.bias[:, None]}
    return {"cost": cost, **gradients, **updated}


def column(*numbers):
    """A column vector."""
    return np.array(numbers, dtype=float)[:, None]


# Inputs of the sigmoid are all 0 here, where it is 1/2 and its derivative 1/4. So every number of the step is whole over a
# power of two, nothing is rounded, and both ways must agree in every bit.
EXACT = (
    np.array([[1.0, 2.0], [-3.0, 0.5], [0.25, -1.0]]),
    column(-5.0, 2.0, 1.75),
    np.array([[1.0, -2.0, 4.0], [0.5, 3.0, -1.0]]),
    column(0.25, -0.5),
    column(1.0, 2.0),
    column(1.0, -1.0),
)

# And numbers as they come.
ROUNDED = (
    np.array([[0.1, 0.7], [-0.3, 0.2], [0.9, -0.4]]),
    column(0.05, -0.1, 0.3),
    np.array([[0.6, -0.8, 0.4], [0.2, 0.5, -0.7]]),
    column(0.1, -0.2),
    column(0.8, -0.6),
    column(1.3, -0.9),
)


def units_apart(a, b):
    """The largest distance of two arrays, element by element, in units in the last place of the second."""
    return float(np.max(np.abs(np.asarray(a) - b) / np.spacing(np.abs(b))))


def main():
    """Print both ways of both examples."""
    for title, example in (("nothing is rounded", EXACT), ("numbers as they come", ROUNDED)):
        print(f"-- {title} --")
        hand, engine = by_hand(*example), with_pynn(*example)
        for name, value in hand.items():
            print(f"{name:>6} by hand  {np.asarray(value).ravel()}")
            print(f"{'':>6} by pynn  {np.asarray(engine[name]).ravel()}   {units_apart(engine[name], value):g} ulp apart")


if __name__ == "__main__":
    main()
