/* activation_list.h: every activation: X(name, class in Python, parameter, its default, f(x), f'(x)), where act_<name> in activations.h computes both.
 * f and f' are written as NumPy reads them: documentation prints them, and pynn.reference evaluates them. */
#ifndef PYNN_ACTIVATION_LIST_H
#define PYNN_ACTIVATION_LIST_H

#define ACTIVATIONS(X)                                                                                                 \
    X(relu, "ReLU", "", 0, "maximum(x, 0)", "heaviside(x, 0)")                                                                \
    X(sigmoid, "Sigmoid", "", 0, "1 / (1 + exp(-x))", "exp(-abs(x)) / (1 + exp(-abs(x))) ** 2")                               \
    X(arctan, "Arctan", "", 0, "arctan(x)", "1 / (1 + x * x)")                                                                \
    X(tanh, "Tanh", "", 0, "tanh(x)", "4 * exp(-2 * abs(x)) / (1 + exp(-2 * abs(x))) ** 2")                                   \
    X(identity, "Identity", "", 0, "x", "ones_like(x)") \
    X(leaky_relu, "LeakyReLU", "negative_slope", 0.01, "where(x > 0, x, negative_slope * x)", "heaviside(x, 0) + negative_slope * heaviside(-x, 1)")

#endif
