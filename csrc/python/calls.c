/* calls.c: the module pynn._arrays, and its functions, by which CPython itself calls the kernels of pynn.h on arrays.
 *
 * Each is given all its arguments; `out` may be None, for a new array. It answers None where it does not take them as they are
 * (arrays.h), and has then done nothing.
 *
 * A call by cffi takes some 330 ns more, if that has to make a tuple of the arrays and np.empty the result.
 */
#include "arrays.h"

#include <math.h>

/* Multiply-adds that take as long as an element of an activation, a cost or a normalisation, or so */
enum { ELEMENT_WORK = 16 };

/* A result (rows, columns), each element of which is a sum */
static double product_work(size_t rows, size_t columns, size_t terms) { return (double)rows * (double)columns * ((double)terms + 1); }
static double elements_work(const matrix *m) { return ELEMENT_WORK * (double)m->rows * (double)m->columns; }

/* ---- a dense layer ------------------------------------------------------------------------------------------------------ */

/* weight, x, bias or None, out: Y = X Wᵀ + B */
static PyObject *affine(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 4)) return NULL;
    PyObject *const weight = of[0], *const x = of[1], *const bias = of[2], *const out = of[3];
    const int dtype = dtype_of(weight);
    matrix w, in, b, y;
    if (as_matrix(weight, dtype, 1, &w) || as_matrix(x, dtype, 0, &in) || in.columns != w.columns) Py_RETURN_NONE;
    if (as_features(bias, dtype, w.rows, &b) || as_output(out, dtype, in.nd, in.rows, w.rows, &y)) Py_RETURN_NONE;
    if (!apart(&y, &w) || !apart(&y, &in) || !apart(&y, &b)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &y);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(product_work(in.rows, w.rows, w.columns));
    const int status = pynn_affine(dtype, in.rows, w.columns, w.rows, w.data, w.ld, w.order, in.data, in.ld, b.data, y.data, y.ld);
    return finish(thread, status, result, "affine");
}

/* y_gradient, x, out (as a weight may lie): dC/dW = dC/dYᵀ X */
static PyObject *weight_gradient(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 3)) return NULL;
    PyObject *const y_gradient = of[0], *const x = of[1], *const out = of[2];
    const int dtype = dtype_of(y_gradient);
    matrix dy, in, dw;
    if (as_matrix(y_gradient, dtype, 0, &dy) || as_matrix(x, dtype, 0, &in) || dy.nd != in.nd || dy.rows != in.rows) Py_RETURN_NONE;
    if (out == Py_None) as_new(2, dy.columns, in.columns, &dw);
    else if (as_matrix(out, dtype, 1, &dw) || !writeable(out, 0) || dw.rows != dy.columns || dw.columns != in.columns) Py_RETURN_NONE;
    if (dw.ld < (dw.order == PYNN_IN_MAJOR ? dw.rows : dw.columns) || !apart(&dw, &dy) || !apart(&dw, &in)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &dw);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(product_work(dy.columns, in.columns, dy.rows));
    const int status =
        pynn_weight_gradient(dtype, dy.rows, in.columns, dy.columns, dy.data, dy.ld, in.data, in.ld, dw.data, dw.ld, dw.order);
    return finish(thread, status, result, "weight_gradient");
}

/* y_gradient, out: dC/dB = dC/dY, summed over rows */
static PyObject *bias_gradient(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 2)) return NULL;
    PyObject *const y_gradient = of[0], *const out = of[1];
    const int dtype = dtype_of(y_gradient);
    matrix dy, db;
    if (as_matrix(y_gradient, dtype, 0, &dy) || as_output(out, dtype, 1, 1, dy.columns, &db) || !apart(&db, &dy)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &db);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(product_work(1, dy.columns, dy.rows));
    const int status = pynn_bias_gradient(dtype, dy.rows, dy.columns, dy.data, dy.ld, db.data);
    return finish(thread, status, result, "bias_gradient");
}

/* weight, y_gradient, out: dC/dX = dC/dY W */
static PyObject *input_gradient(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 3)) return NULL;
    PyObject *const weight = of[0], *const y_gradient = of[1], *const out = of[2];
    const int dtype = dtype_of(weight);
    matrix w, dy, dx;
    if (as_matrix(weight, dtype, 1, &w) || as_matrix(y_gradient, dtype, 0, &dy) || dy.columns != w.rows) Py_RETURN_NONE;
    if (as_output(out, dtype, dy.nd, dy.rows, w.columns, &dx) || !apart(&dx, &w) || !apart(&dx, &dy)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &dx);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(product_work(dy.rows, w.columns, w.rows));
    const int status = pynn_input_gradient(dtype, dy.rows, w.columns, w.rows, w.data, w.ld, w.order, dy.data, dy.ld, dx.data, dx.ld);
    return finish(thread, status, result, "input_gradient");
}

/* ---- activations -------------------------------------------------------------------------------------------------------- */

/* function, x, out: Y = f(X) */
static PyObject *activation(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    int number;
    double parameter;
    if (wrong_count(count, 3) || as_function(of[0], &number, &parameter)) return NULL;
    PyObject *const x = of[1], *const out = of[2];
    const int dtype = dtype_of(x);
    matrix in, y;
    if (as_run(x, dtype, &in) || as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !apart_or_same(&y, &in)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &y);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&in));
    const int status = pynn_activation(dtype, number, parameter, in.rows * in.columns, in.data, y.data);
    return finish(thread, status, result, "activation");
}

/* function, x, y_gradient, out: dC/dX = dC/dY f'(X) */
static PyObject *activation_gradient(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    int number;
    double parameter;
    if (wrong_count(count, 4) || as_function(of[0], &number, &parameter)) return NULL;
    PyObject *const x = of[1], *const y_gradient = of[2], *const out = of[3];
    const int dtype = dtype_of(x);
    matrix in, dy, dx;
    if (as_run(x, dtype, &in) || as_run(y_gradient, dtype, &dy) || !same_shape(&in, &dy)) Py_RETURN_NONE;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &dx) || !apart_or_same(&dx, &in) || !apart_or_same(&dx, &dy)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &dx);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&in));
    const int status = pynn_activation_gradient(dtype, number, parameter, in.rows * in.columns, in.data, dy.data, dx.data);
    return finish(thread, status, result, "activation_gradient");
}

/* ---- rows: statistics are (rows, 2), or (2,) beside one sample ------------------------------------------------------------ */

static int as_statistics(PyObject *object, int dtype, const matrix *of, matrix *m)
{
    return as_run(object, dtype, m) || m->nd != of->nd || m->rows != of->rows || m->columns != 2;
}

/* log, x, out: y_j = e^x_j / sum_k e^x_k, or its logarithm */
static PyObject *softmax(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 3)) return NULL;
    const int log = of[0] == Py_True;
    PyObject *const x = of[1], *const out = of[2];
    const int dtype = dtype_of(x);
    matrix in, y;
    if (as_matrix(x, dtype, 0, &in) || as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !rows_apart_or_same(&y, &in))
        Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &y);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&in));
    const int status = pynn_softmax(dtype, log, in.rows, in.columns, in.data, in.ld, y.data, y.ld);
    return finish(thread, status, result, log ? "log_softmax" : "softmax");
}

/* log, y, y_gradient, out: dC/dX = Y (dC/dY - sum_k y_k dC/dy_k), or of its logarithm */
static PyObject *softmax_gradient(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 4)) return NULL;
    const int log = of[0] == Py_True;
    PyObject *const y = of[1], *const y_gradient = of[2], *const out = of[3];
    const int dtype = dtype_of(y);
    matrix in, dy, dx;
    if (as_matrix(y, dtype, 0, &in) || as_matrix(y_gradient, dtype, 0, &dy) || !same_shape(&in, &dy)) Py_RETURN_NONE;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &dx) || !rows_apart_or_same(&dx, &in) || !rows_apart_or_same(&dx, &dy))
        Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &dx);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&in));
    const int status = pynn_softmax_gradient(dtype, log, in.rows, in.columns, in.data, in.ld, dy.data, dy.ld, dx.data, dx.ld);
    return finish(thread, status, result, log ? "log_softmax_gradient" : "softmax_gradient");
}

/* x, scale or None, bias or None, epsilon (a finite float above 0), out, statistics or None, which are filled: y_j = h_j scale_j + bias_j */
static PyObject *layer_norm(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 6)) return NULL;
    PyObject *const x = of[0], *const scale = of[1], *const bias = of[2], *const out = of[4], *const statistics = of[5];
    const double epsilon = PyFloat_CheckExact(of[3]) ? PyFloat_AsDouble(of[3]) : 0;
    const int dtype = dtype_of(x);
    matrix in, a, b, y, s = {0};
    if (!(epsilon > 0 && epsilon < (double)INFINITY) || as_matrix(x, dtype, 0, &in)) Py_RETURN_NONE;
    if (as_features(scale, dtype, in.columns, &a) || as_features(bias, dtype, in.columns, &b)) Py_RETURN_NONE;
    if (statistics != Py_None && (as_statistics(statistics, dtype, &in, &s) || !writeable(statistics, 1))) Py_RETURN_NONE;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !rows_apart_or_same(&y, &in)) Py_RETURN_NONE;
    if (!apart(&y, &a) || !apart(&y, &b)) Py_RETURN_NONE;
    if (!apart(&s, &in) || !apart(&s, &a) || !apart(&s, &b) || !apart(&s, &y)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &y);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&in));
    const int status = pynn_layer_norm(dtype, in.rows, in.columns, epsilon, in.data, in.ld, a.data, b.data, y.data, y.ld, s.data);
    return finish(thread, status, result, "layer_norm");
}

/* x, statistics, y_gradient, scale or None, out: dC/dX = (Q - mean(Q) - H mean(Q H)) / sqrt(variance + epsilon), Q = dC/dY scale */
static PyObject *layer_norm_gradient(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 5)) return NULL;
    PyObject *const x = of[0], *const statistics = of[1], *const y_gradient = of[2], *const scale = of[3], *const out = of[4];
    const int dtype = dtype_of(x);
    matrix in, s, a, dy, dx;
    if (as_matrix(x, dtype, 0, &in) || as_statistics(statistics, dtype, &in, &s)) Py_RETURN_NONE;
    if (as_matrix(y_gradient, dtype, 0, &dy) || !same_shape(&in, &dy) || as_features(scale, dtype, in.columns, &a)) Py_RETURN_NONE;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &dx) || !rows_apart_or_same(&dx, &in) || !rows_apart_or_same(&dx, &dy))
        Py_RETURN_NONE;
    if (!apart(&dx, &s) || !apart(&dx, &a)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &dx);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&in));
    const int status = pynn_layer_norm_gradient(dtype, in.rows, in.columns, in.data, in.ld, s.data, a.data, dy.data, dy.ld, dx.data, dx.ld);
    return finish(thread, status, result, "layer_norm_gradient");
}

/* x, statistics, y_gradient, out: dC/dscale = dC/dY H, summed over rows */
static PyObject *layer_norm_scale_gradient(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 4)) return NULL;
    PyObject *const x = of[0], *const statistics = of[1], *const y_gradient = of[2], *const out = of[3];
    const int dtype = dtype_of(x);
    matrix in, s, dy, da;
    if (as_matrix(x, dtype, 0, &in) || as_statistics(statistics, dtype, &in, &s)) Py_RETURN_NONE;
    if (as_matrix(y_gradient, dtype, 0, &dy) || !same_shape(&in, &dy) || as_output(out, dtype, 1, 1, in.columns, &da)) Py_RETURN_NONE;
    if (!apart(&da, &in) || !apart(&da, &s) || !apart(&da, &dy)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &da);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&in));
    const int status = pynn_layer_norm_scale_gradient(dtype, in.rows, in.columns, in.data, in.ld, s.data, dy.data, dy.ld, da.data);
    return finish(thread, status, result, "layer_norm_scale_gradient");
}

/* x, mean or None, deviation, out: y_j = (x_j - mean_j) / deviation_j */
static PyObject *standardize(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 4)) return NULL;
    PyObject *const x = of[0], *const mean = of[1], *const deviation = of[2], *const out = of[3];
    const int dtype = dtype_of(x);
    matrix in, m, d, y;
    if (as_matrix(x, dtype, 0, &in) || as_features(mean, dtype, in.columns, &m)) Py_RETURN_NONE;
    if (deviation == Py_None || as_features(deviation, dtype, in.columns, &d)) Py_RETURN_NONE;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !rows_apart_or_same(&y, &in)) Py_RETURN_NONE;
    if (!apart(&y, &m) || !apart(&y, &d)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &y);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&in));
    const int status = pynn_standardize(dtype, in.rows, in.columns, in.data, in.ld, m.data, d.data, y.data, y.ld);
    return finish(thread, status, result, "standardize");
}

/* An int from 0 up and below 2^64 */
static int as_counter(PyObject *object, uint64_t *number)
{
    if (!PyLong_CheckExact(object)) return NOT_PLAIN;
    *number = PyLong_AsUnsignedLongLong(object);
    if (*number != UINT64_MAX || !PyErr_Occurred()) return 0;
    PyErr_Clear();
    return NOT_PLAIN;
}

/* x, rate (a float), seed, step, first row, out: y_k = 0 with probability rate, else x_k / (1 - rate) */
static PyObject *dropout(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 6)) return NULL;
    PyObject *const x = of[0], *const out = of[5];
    const double rate = PyFloat_CheckExact(of[1]) ? PyFloat_AsDouble(of[1]) : -1;
    uint64_t seed, step, first_row;
    const int dtype = dtype_of(x);
    matrix in, y;
    if (!(rate >= 0 && rate < 1) || as_counter(of[2], &seed) || as_counter(of[3], &step) || as_counter(of[4], &first_row)) Py_RETURN_NONE;
    if (as_run(x, dtype, &in) || as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !apart_or_same(&y, &in)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &y);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&in));
    const int status = pynn_dropout(dtype, rate, seed, step, first_row * in.columns, in.rows * in.columns, in.data, y.data);
    return finish(thread, status, result, "dropout");
}

/* ---- cost and update: weights are one for each row ------------------------------------------------------------------------ */

/* Prediction, target (of its shape, or a label for each row), and weights or None */
static int as_pair(PyObject *const *of, const pynn_objective *objective, int dtype, matrix *p, matrix *t, matrix *w)
{
    if (as_run(of[0], dtype, p) || as_run(of[1], dtype, t)) return NOT_PLAIN;
    if (objective->labels ? t->nd != 1 || t->columns != p->rows : !same_shape(p, t)) return NOT_PLAIN;
    return as_features(of[2], dtype, p->rows, w);
}

/* objective, prediction, target, weights or None: C, a float */
static PyObject *cost(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    pynn_objective objective;
    if (wrong_count(count, 4) || as_objective(of[0], &objective)) return NULL;
    const int dtype = dtype_of(of[1]);
    matrix p, t, w;
    if (as_pair(of + 1, &objective, dtype, &p, &t, &w)) Py_RETURN_NONE;
    PyThreadState *const thread = let_go(elements_work(&p));
    const double c = pynn_cost(dtype, &objective, p.rows, p.columns, p.data, t.data, w.data);
    if (thread) PyEval_RestoreThread(thread);
    return PyFloat_FromDouble(c);
}

/* objective, prediction, target, weights or None, out: dC/dP */
static PyObject *cost_gradient(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    pynn_objective objective;
    if (wrong_count(count, 5) || as_objective(of[0], &objective)) return NULL;
    PyObject *const out = of[4];
    const int dtype = dtype_of(of[1]);
    matrix p, t, w, g;
    if (as_pair(of + 1, &objective, dtype, &p, &t, &w)) Py_RETURN_NONE;
    if (as_output(out, dtype, p.nd, p.rows, p.columns, &g) || !apart_or_same(&g, &p) || !apart(&g, &w)) Py_RETURN_NONE;
    if (objective.labels ? !apart(&g, &t) : !apart_or_same(&g, &t)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &g);
    if (!result) return NULL;
    PyThreadState *const thread = let_go(elements_work(&p));
    const int status = pynn_cost_gradient(dtype, &objective, p.rows, p.columns, p.data, t.data, w.data, g.data);
    return finish(thread, status, result, "cost_gradient");
}

/* Parameters, which a step changes in place, and gradients */
static int as_parameters(PyObject *const *of, int dtype, matrix *p, matrix *g)
{
    return as_run(of[0], dtype, p) || !writeable(of[0], 1) || as_run(of[1], dtype, g) || !same_shape(p, g);
}

/* parameters, gradients, learning rate: theta := theta - learning_rate * gradient; True */
static PyObject *gradient_descent(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 3)) return NULL;
    const double rate = PyFloat_AsDouble(of[2]); /* first, for it may call Python */
    if (rate == -1 && PyErr_Occurred()) return NULL;
    const int dtype = dtype_of(of[0]);
    matrix p, g;
    if (as_parameters(of, dtype, &p, &g) || !apart_or_same(&p, &g)) Py_RETURN_NONE;
    PyObject *const done = PyBool_FromLong(1);
    PyThreadState *const thread = let_go(elements_work(&p));
    const int status = pynn_gradient_descent(dtype, p.rows * p.columns, p.data, g.data, rate);
    return finish(thread, status, done, "gradient_descent");
}

/* parameters, gradients, learning rate, pointer to a pynn_optimizer: a step of it; True */
static PyObject *optimize(PyObject *module, PyObject *const *of, Py_ssize_t count)
{
    (void)module;
    if (wrong_count(count, 4)) return NULL;
    const double rate = PyFloat_AsDouble(of[2]);
    if (rate == -1 && PyErr_Occurred()) return NULL;
    pynn_optimizer *const optimizer = as_pointer(of[3]);
    if (!optimizer) return NULL;
    const int dtype = dtype_of(of[0]);
    matrix p, g;
    if (as_parameters(of, dtype, &p, &g) || !apart(&p, &g)) Py_RETURN_NONE;
    PyObject *const done = PyBool_FromLong(1);
    PyThreadState *const thread = let_go(elements_work(&p));
    const int status = pynn_optimize(dtype, optimizer, p.rows * p.columns, p.data, g.data, rate);
    return finish(thread, status, done, "Optimizer");
}

/* ---- the module ----------------------------------------------------------------------------------------------------------- */

#define CALL(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}
static PyMethodDef functions[] = {
    CALL(affine),
    CALL(weight_gradient),
    CALL(bias_gradient),
    CALL(input_gradient),
    CALL(activation),
    CALL(activation_gradient),
    CALL(softmax),
    CALL(softmax_gradient),
    CALL(layer_norm),
    CALL(layer_norm_gradient),
    CALL(layer_norm_scale_gradient),
    CALL(standardize),
    CALL(dropout),
    CALL(cost),
    CALL(cost_gradient),
    CALL(gradient_descent),
    CALL(optimize),
    {"describe", describe, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    return know_numpy() || PyModule_AddIntConstant(module, "NOT_PLAIN", NOT_PLAIN) || add_plan_types(module) ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};
static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "pynn._arrays", .m_methods = functions, .m_slots = slots};

PyMODINIT_FUNC PyInit__arrays(void);
PyMODINIT_FUNC PyInit__arrays(void) { return PyModuleDef_Init(&definition); }
