/* cost_list.h: every elementwise cost: X(name, class in Python, parameter, its default, c(p, t), dc/dp, its source), where cost_<name> in
 * costs.h computes both, of a prediction p and a target t. The cost of a batch is the mean of c over samples and outputs. Formulas are
 * written as NumPy reads them: documentation prints them, with the source, and pynn.reference evaluates them. */
#ifndef PYNN_COST_LIST_H
#define PYNN_COST_LIST_H

#define COSTS(X) \
    X(mse, "MSE", "", 0, "(p - t) ** 2", "2 * (p - t)", "Legendre, 1805") \
    X(mae, "MAE", "", 0, "abs(p - t)", "sign(p - t)", "Boscovich, 1757") \
    X(huber, "Huber", "delta", 1, "where(abs(p - t) <= delta, (p - t) ** 2 / 2, delta * (abs(p - t) - delta / 2))", \
      "clip(p - t, -delta, delta)", "Huber, 1964") \
    X(quantile, "Quantile", "quantile", 0.5, "maximum(quantile * (t - p), (quantile - 1) * (t - p))", \
      "where(p > t, 1 - quantile, where(p < t, -quantile, p - t))", "Koenker and Bassett, 1978") \
    X(log_cosh, "LogCosh", "", 0, "abs(p - t) + log1p(exp(-2 * abs(p - t))) - log(2)", "tanh(p - t)", "Green, 1990") \
    X(poisson, "Poisson", "", 0, "exp(p) - t * p", "exp(p) - t", "Nelder and Wedderburn, 1972") \
    X(binary_cross_entropy, "BinaryCrossEntropy", "", 0, "p * (heaviside(p, 0) - t) + log1p(exp(-abs(p)))", \
      "where(p > 0, (1 - t) - exp(-abs(p)) / (1 + exp(-abs(p))), exp(-abs(p)) / (1 + exp(-abs(p))) - t)", "Cox, 1958")

#endif
