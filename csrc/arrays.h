/* arrays.h: the kernels on NumPy arrays, as cffi calls them. The only C here that knows of Python; what CPython itself calls, a network's
 * methods, is at the end of arrays.c.
 *
 * The arrays of a call are a tuple, named by its id(): one number that Python makes and cffi converts, instead of one for each array. The
 * comment beside a function says what the tuple holds.
 *
 * An array is taken as it is when it is plain: exactly a numpy.ndarray, of native float32 or float64 (the same as the first
 * one), aligned, of the shape that is wanted, with the elements of a row side by side (of a weight: those of a row or of a column), and, as
 * an output, writeable, contiguous and apart from every input (as parameters are from what a network trains on). Everything else is ARRAYS_NOT_PLAIN, and nothing has been done:
 * kernels.py then makes plain arrays of it or says what is wrong. So a good call costs no Python but its own, and errors are
 * written once, in Python. The tuple must be kept alive by the caller for the call, and hold as much as the comment says.
 *
 * Reading an object's fields from its address is what NumPy's own macros compile to; arrays_describe lets Python check at import
 * that the layout is the expected one. Shapes are those of pynn.h.
 */
enum { ARRAYS_NOT_PLAIN = 1 };

void arrays_know(size_t ndarray, size_t float32, size_t float64, size_t none, size_t tuple_head);
/* data, nd, flags, dtype object, sizes and strides of up to two axes, then the number */
void arrays_describe(size_t arrays, size_t description[9]); /* array, number */

int arrays_affine(size_t arrays); /* weight, x, bias or None, out */
int arrays_weight_gradient(size_t arrays); /* y_gradient, x, out */
int arrays_bias_gradient(size_t arrays); /* y_gradient, out */
int arrays_input_gradient(size_t arrays); /* weight, y_gradient, out */
/* function: a tuple of two floats, the activation's number and its parameter */
int arrays_activation(size_t arrays); /* function, x, out */
int arrays_activation_gradient(size_t arrays); /* function, x, y_gradient, out */
/* weights: one for each row */
int arrays_cost(const pynn_objective *objective, double *cost, size_t arrays); /* prediction, target, weights or None */
int arrays_cost_gradient(const pynn_objective *objective, size_t arrays); /* prediction, target, weights or None, out */
int arrays_gradient_descent(double learning_rate, size_t arrays); /* parameters, gradients */
int arrays_optimize(pynn_optimizer *optimizer, double learning_rate, size_t arrays); /* parameters, gradients */

/* statistics: (rows, 2), or (2,) beside one sample. In and out of the same place will do where pynn.h says so. */
int arrays_softmax(int log, size_t arrays); /* x, out */
int arrays_softmax_gradient(int log, size_t arrays); /* y, y_gradient, out */
int arrays_layer_norm(double epsilon, size_t arrays); /* x, scale or None, bias or None, out, statistics or None */
int arrays_layer_norm_gradient(size_t arrays); /* x, statistics, scale or None, y_gradient, out */
int arrays_layer_norm_scale_gradient(size_t arrays); /* x, statistics, y_gradient, out */
int arrays_standardize(size_t arrays); /* x, mean or None, deviation, out */
int arrays_dropout(double rate, uint64_t seed, uint64_t step, uint64_t first_row, size_t arrays); /* x, out */
