/* activation_list.h: every activation: X(name, class in Python, f(x), f'(x)), where act_<name> in activations.h computes both. */
#ifndef PYNN_ACTIVATION_LIST_H
#define PYNN_ACTIVATION_LIST_H

#define ACTIVATIONS(X)                                                                                                 \
    X(relu, "ReLU", "max(0, x)", "1 if x > 0 else 0")                                                                  \
    X(sigmoid, "Sigmoid", "1 / (1 + exp(-x))", "exp(-|x|) / (1 + exp(-|x|))^2")                                        \
    X(arctan, "Arctan", "arctan(x)", "1 / (1 + x^2)")                                                                  \
    X(tanh, "Tanh", "tanh(x)", "4 exp(-2|x|) / (1 + exp(-2|x|))^2")                                                    \
    X(identity, "Identity", "x", "1")

#endif
