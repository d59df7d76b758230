/* activation_list.h: every activation: X(name, class in Python, f(x), f'(x)), where act_<name> in activations.h computes both.
 * f and f' are written as NumPy reads them: documentation prints them, and pynn.reference evaluates them. */
#ifndef PYNN_ACTIVATION_LIST_H
#define PYNN_ACTIVATION_LIST_H

#define ACTIVATIONS(X)                                                                                                 \
    X(relu, "ReLU", "maximum(x, 0)", "heaviside(x, 0)")                                                                \
    X(sigmoid, "Sigmoid", "1 / (1 + exp(-x))", "exp(-abs(x)) / (1 + exp(-abs(x))) ** 2")                               \
    X(arctan, "Arctan", "arctan(x)", "1 / (1 + x * x)")                                                                \
    X(tanh, "Tanh", "tanh(x)", "4 * exp(-2 * abs(x)) / (1 + exp(-2 * abs(x))) ** 2")                                   \
    X(identity, "Identity", "x", "ones_like(x)")

#endif
