/* activation_list.h: every activation: X(name, class in Python, parameter, its default, f(x), f'(x), its source), where act_<name> in
 * activations.h computes both. f and f' are written as NumPy reads them: documentation prints them, with the source, and pynn.reference
 * evaluates them. It has one word of its own, erfc. Where a formula makes infinity times 0 of an infinite x, its limit stands beside it. */
#ifndef PYNN_ACTIVATION_LIST_H
#define PYNN_ACTIVATION_LIST_H

#define ACTIVATIONS(X) \
    X(relu, "ReLU", "", 0, "maximum(x, 0)", "heaviside(x, 0)", "Fukushima, 1969; Nair and Hinton, 2010") \
    X(sigmoid, "Sigmoid", "", 0, "1 / (1 + exp(-x))", "exp(-abs(x)) / (1 + exp(-abs(x))) ** 2", "Verhulst, 1845; Rumelhart, Hinton and Williams, 1986") \
    X(arctan, "Arctan", "", 0, "arctan(x)", "1 / (1 + x * x)", "Kamruzzaman, 2002") \
    X(tanh, "Tanh", "", 0, "tanh(x)", "4 * exp(-2 * abs(x)) / (1 + exp(-2 * abs(x))) ** 2", "LeCun et al., 1998") \
    X(identity, "Identity", "", 0, "x", "ones_like(x)", "Widrow and Hoff, 1960") \
    X(leaky_relu, "LeakyReLU", "negative_slope", 0.01, "where(x > 0, x, negative_slope * x)", "heaviside(x, 0) + negative_slope * heaviside(-x, 1)", "Maas, Hannun and Ng, 2013") \
    X(elu, "ELU", "alpha", 1, "where(x > 0, x, alpha * expm1(minimum(x, 0)))", "where(x > 0, 1, alpha * exp(minimum(x, 0)))", "Clevert, Unterthiner and Hochreiter, 2016") \
    X(selu, "SELU", "", 0, "1.0507009873554805 * where(x > 0, x, 1.6732632423543772 * expm1(minimum(x, 0)))", "1.0507009873554805 * where(x > 0, 1, 1.6732632423543772 * exp(minimum(x, 0)))", "Klambauer et al., 2017") \
    X(softplus, "Softplus", "", 0, "maximum(x, 0) + log1p(exp(-abs(x)))", "1 / (1 + exp(-x))", "Dugas et al., 2001") \
    X(softsign, "Softsign", "", 0, "where(abs(x) < 1e30, x / (1 + abs(x)), sign(x))", "1 / (1 + abs(x)) ** 2", "Turian, Bergstra and Bengio, 2009") \
    X(silu, "SiLU", "", 0, "where(abs(x) < 800, x / (1 + exp(-x)), maximum(x, 0))", "where(abs(x) < 800, (1 + x / (1 + exp(x))) / (1 + exp(-x)), heaviside(x, 0))", "Elfwing, Uchibe and Doya, 2018; as swish, Ramachandran, Zoph and Le, 2017") \
    X(gelu, "GELU", "", 0, "where(abs(x) < 40, x * erfc(-x / sqrt(2)) / 2, maximum(x, 0))", "where(abs(x) < 40, erfc(-x / sqrt(2)) / 2 + x * exp(-x * x / 2) / sqrt(2 * pi), heaviside(x, 0))", "Hendrycks and Gimpel, 2016") \
    X(gelu_tanh, "GELUTanh", "", 0, "where(abs(x) < 40, x / (1 + exp(-2 * sqrt(2 / pi) * (x + 0.044715 * x ** 3))), maximum(x, 0))", "where(abs(x) < 40, 1 / (1 + exp(-2 * sqrt(2 / pi) * (x + 0.044715 * x ** 3))) + x * sqrt(2 / pi) * (1 + 0.044715 * x * x * 3) / (2 * cosh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)) ** 2), heaviside(x, 0))", "Hendrycks and Gimpel, 2016") \
    X(hard_sigmoid, "HardSigmoid", "", 0, "minimum(maximum((x + 3) / 6, 0), 1)", "(heaviside(x + 3, 0) - heaviside(x - 3, 1)) / 6", "Courbariaux, Bengio and David, 2015, with the slope of Howard et al., 2019") \
    X(hard_tanh, "HardTanh", "", 0, "minimum(maximum(x, -1), 1)", "heaviside(x + 1, 0) - heaviside(x - 1, 1)", "Collobert, 2004") \
    X(mish, "Mish", "", 0, "where(abs(x) < 800, x * tanh(log1p(exp(x))), maximum(x, 0))", "where(abs(x) < 800, tanh(log1p(exp(x))) + x / (1 + exp(-x)) / cosh(log1p(exp(x))) ** 2, heaviside(x, 0))", "Misra, 2019")

#endif
