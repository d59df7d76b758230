/* arrays.h: the kernels on NumPy arrays, each named by its id(): what cffi calls. The only C here that knows of Python.
 *
 * An array is taken as it is when it is plain: exactly a numpy.ndarray, of native float32 or float64 (the same as the first
 * one), aligned, of the shape that is wanted, with the elements of a row side by side (of a weight: those of a row or of a column), and, as
 * an output, writeable, contiguous and apart from every input (as parameters are from what a network trains on). Everything else is ARRAYS_NOT_PLAIN, and nothing has been done:
 * kernels.py then makes plain arrays of it or says what is wrong. So a good call costs no Python but its own, and errors are
 * written once, in Python. Every array must be kept alive by the caller for the call. None may stand for a bias or gradients.
 *
 * Reading an object's fields from its address is what NumPy's own macros compile to; arrays_describe lets Python check at import
 * that the layout is the expected one. Shapes are those of pynn.h.
 */
enum { ARRAYS_NOT_PLAIN = 1 };

void arrays_know(size_t ndarray, size_t float32, size_t float64, size_t none);
/* data, nd, flags, dtype object, then sizes and strides of up to two axes */
void arrays_describe(size_t array, size_t description[8]);

int arrays_affine(size_t weight, size_t x, size_t bias, size_t out);
int arrays_weight_gradient(size_t y_gradient, size_t x, size_t out);
int arrays_bias_gradient(size_t y_gradient, size_t out);
int arrays_input_gradient(size_t weight, size_t y_gradient, size_t out);
int arrays_activation(int activation, double parameter, size_t x, size_t out);
int arrays_activation_gradient(int activation, double parameter, size_t x, size_t y_gradient, size_t out);
/* weights: one for each row, or None */
int arrays_cost(const pynn_objective *objective, size_t prediction, size_t target, size_t weights, double *cost);
int arrays_cost_gradient(const pynn_objective *objective, size_t prediction, size_t target, size_t weights, size_t out);
int arrays_gradient_descent(size_t parameters, size_t gradients, double learning_rate);
int arrays_optimize(pynn_optimizer *optimizer, size_t parameters, size_t gradients, double learning_rate);

/* statistics: (rows, 2), or (2,) beside one sample. In and out of the same place will do where pynn.h says so. */
int arrays_softmax(int log, size_t x, size_t out);
int arrays_softmax_gradient(int log, size_t y, size_t y_gradient, size_t out);
int arrays_layer_norm(size_t x, size_t scale, size_t bias, double epsilon, size_t out,
                      size_t statistics); /* scale, bias and statistics may be None */
int arrays_layer_norm_gradient(size_t x, size_t statistics, size_t scale, size_t y_gradient, size_t out);
int arrays_layer_norm_scale_gradient(size_t x, size_t statistics, size_t y_gradient, size_t out);
int arrays_standardize(size_t x, size_t mean, size_t deviation, size_t out); /* mean may be None */
int arrays_dropout(size_t x, double rate, uint64_t seed, uint64_t step, uint64_t first_row, size_t out);

int arrays_predict(const pynn_network *network, size_t x, size_t out);
/* Rows first .. first + rows - 1 of an epoch. costs: float64, one for each batch of the epoch; weights: one for each row, or None; order: int64,
 * one for each row, every one of which is the number of a row (not checked), or None; learning_rates: float64, one for each batch of these
 * rows, or None. first is a multiple of batch. */
int arrays_train(pynn_network *network, const pynn_objective *objective, pynn_optimizer *optimizer, size_t x, size_t target, size_t weights,
                 size_t order, size_t first, size_t rows, size_t batch, double learning_rate, size_t learning_rates, size_t gradients,
                 size_t costs);
/* The same for one step on all rows, without what that has no use for: the cost before it, or ARRAYS_NOT_PLAIN as a NaN that no cost is,
 * which arrays_declined tells from others. */
double arrays_step(pynn_network *network, const pynn_objective *objective, pynn_optimizer *optimizer, size_t x, size_t target,
                   double learning_rate, size_t gradients);
int arrays_declined(double cost);
