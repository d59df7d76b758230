/* arrays.c: reads NumPy arrays where they lie; see arrays.h. */
#include <Python.h>

#include <math.h>
#include <string.h>

#include "pynn.h"

#include "arrays.h"

/* The head of a numpy.ndarray, fixed by NumPy's binary interface: extensions compiled against any NumPy read these fields. */
typedef struct {
    PyObject object;
    char *data;
    int nd;
    Py_ssize_t *sizes;
    Py_ssize_t *strides; /* in bytes */
    PyObject *base;
    PyObject *dtype;
    int flags;
} array;

enum { ALIGNED_FLAG = 0x0100, WRITEABLE_FLAG = 0x0400, C_CONTIGUOUS_FLAG = 0x0001 };

/* A float */
typedef struct {
    PyObject object;
    double value;
} number;

static size_t ndarray_type, dtypes[2], none, tuple_head;

void arrays_know(size_t ndarray, size_t float32, size_t float64, size_t none_, size_t tuple_head_)
{
    ndarray_type = ndarray;
    dtypes[PYNN_F32] = float32;
    dtypes[PYNN_F64] = float64;
    none = none_;
    tuple_head = tuple_head_;
}

/* The addresses of what is in a tuple */
static const size_t *elements(size_t tuple) { return (const size_t *)(tuple + tuple_head); }

static double value_of(size_t address) { return ((const number *)address)->value; }

void arrays_describe(size_t arrays, size_t d[9])
{
    const size_t *const of = elements(arrays);
    const array *const a = (const array *)of[0];
    d[0] = (size_t)a->data;
    d[1] = (size_t)a->nd;
    d[2] = (size_t)a->flags;
    d[3] = (size_t)a->dtype;
    for (int axis = 0; axis < 2; axis++) {
        d[4 + 2 * axis] = axis < a->nd ? (size_t)a->sizes[axis] : 0;
        d[5 + 2 * axis] = axis < a->nd ? (size_t)a->strides[axis] : 0;
    }
    d[8] = (size_t)value_of(of[1]);
}

/* An array as the kernels take it */
typedef struct {
    char *data;
    size_t rows, columns, ld, bytes; /* bytes: from data to the end of the last row */
    int nd, order;
} matrix;

static const array *as_array(size_t address)
{
    array *const a = (array *)address;
    return (size_t)Py_TYPE(&a->object) == ndarray_type && (a->flags & ALIGNED_FLAG) ? a : NULL;
}

/* The head of a numpy.dtype, the same from NumPy 1 on */
typedef struct {
    PyObject object;
    PyTypeObject *scalar;
    char kind, character, byte_order, flags_of_old;
    int number;
} dtype_head;

/* An array that was unpickled, or made by newbyteorder, has a dtype object of its own, which may name the native byte order. */
static int same_dtype(const PyObject *dtype, size_t known)
{
    static const int one = 1;
    const char native = *(const char *)&one ? '<' : '>';
    const dtype_head *const a = (const dtype_head *)dtype, *const b = (const dtype_head *)known;
    return a == b || (a->number == b->number && (a->byte_order == b->byte_order || a->byte_order == native));
}

/* dtype of the array, or -1 */
static int dtype_of(size_t address)
{
    const array *const a = as_array(address);
    if (!a) return -1;
    return same_dtype(a->dtype, dtypes[PYNN_F32]) ? PYNN_F32 : same_dtype(a->dtype, dtypes[PYNN_F64]) ? PYNN_F64 : -1;
}

static size_t size_of(int dtype) { return dtype == PYNN_F32 ? sizeof(float) : sizeof(double); }

/* Distance in elements between `n` things `stride` bytes apart; `close` where it does not matter. -1: not a plain one */
static int leading(Py_ssize_t stride, size_t n, size_t close, size_t size, size_t *ld)
{
    *ld = close;
    if (n < 2) return 0;
    if (stride < 0 || (size_t)stride % size) return -1;
    *ld = (size_t)stride / size;
    return 0;
}

/* A vector (one row) or rows whose elements lie side by side; with `weight`, columns may instead */
static int as_matrix(size_t address, int dtype, int weight, matrix *m)
{
    const size_t size = size_of(dtype);
    if (dtype < 0 || dtype_of(address) != dtype) return ARRAYS_NOT_PLAIN;
    const array *const a = (const array *)address;
    m->data = a->data;
    m->nd = a->nd;
    m->order = PYNN_OUT_MAJOR;
    if (a->nd == 1 && !weight) {
        m->rows = 1;
        m->columns = m->ld = (size_t)a->sizes[0];
        m->bytes = m->columns * size;
        return m->columns > 1 && a->strides[0] != (Py_ssize_t)size ? ARRAYS_NOT_PLAIN : PYNN_OK;
    }
    if (a->nd != 2) return ARRAYS_NOT_PLAIN;
    m->rows = (size_t)a->sizes[0];
    m->columns = (size_t)a->sizes[1];
    if (!m->rows || !m->columns) { /* NumPy gives arrays without elements strides of 0 */
        m->ld = m->columns;
        m->bytes = 0;
        return PYNN_OK;
    }
    size_t lines = m->rows, length = m->columns;
    int failed;
    if (m->columns < 2 || a->strides[1] == (Py_ssize_t)size) failed = leading(a->strides[0], m->rows, m->columns, size, &m->ld);
    else if (weight && (m->rows < 2 || a->strides[0] == (Py_ssize_t)size)) {
        m->order = PYNN_IN_MAJOR;
        lines = m->columns;
        length = m->rows;
        failed = leading(a->strides[1], m->columns, m->rows, size, &m->ld);
    } else return ARRAYS_NOT_PLAIN;
    if (failed) return ARRAYS_NOT_PLAIN;
    m->bytes = ((lines - 1) * m->ld + length) * size;
    return PYNN_OK;
}

/* Rows close together, so that all elements are one run */
static int as_run(size_t address, int dtype, matrix *m)
{
    if (as_matrix(address, dtype, 0, m)) return ARRAYS_NOT_PLAIN;
    return m->ld != m->columns && m->rows > 1;
}

static int writeable(size_t address, int contiguous)
{
    const int wanted = WRITEABLE_FLAG | (contiguous ? C_CONTIGUOUS_FLAG : 0);
    return (((const array *)address)->flags & wanted) == wanted;
}

static int apart(const matrix *a, const matrix *b)
{
    return !a->bytes || !b->bytes || a->data + a->bytes <= b->data || b->data + b->bytes <= a->data;
}

/* Elementwise, an output may be an input, or lie apart from it */
static int apart_or_same(const matrix *a, const matrix *b) { return a->data == b->data || apart(a, b); }

static int same_shape(const matrix *a, const matrix *b) { return a->nd == b->nd && a->rows == b->rows && a->columns == b->columns; }

static int as_output(size_t address, int dtype, int nd, size_t rows, size_t columns, matrix *m)
{
    if (as_matrix(address, dtype, 0, m) || !writeable(address, 1)) return ARRAYS_NOT_PLAIN;
    m->ld = columns;
    return m->nd != nd || m->rows != rows || m->columns != columns;
}

int arrays_affine(size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t weight = of[0], x = of[1], bias = of[2], out = of[3];
    const int dtype = dtype_of(weight);
    matrix w, in, b = {0}, y;
    if (as_matrix(weight, dtype, 1, &w) || as_matrix(x, dtype, 0, &in) || in.columns != w.columns) return ARRAYS_NOT_PLAIN;
    if (bias != none && (as_matrix(bias, dtype, 0, &b) || b.nd != 1 || b.columns != w.rows)) return ARRAYS_NOT_PLAIN;
    if (as_output(out, dtype, in.nd, in.rows, w.rows, &y) || !apart(&y, &w) || !apart(&y, &in) || !apart(&y, &b)) return ARRAYS_NOT_PLAIN;
    return pynn_affine(dtype, in.rows, w.columns, w.rows, w.data, w.ld, w.order, in.data, in.ld, bias == none ? NULL : b.data, y.data,
                       y.ld);
}

int arrays_weight_gradient(size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t y_gradient = of[0], x = of[1], out = of[2];
    const int dtype = dtype_of(y_gradient);
    matrix dy, in, dw;
    if (as_matrix(y_gradient, dtype, 0, &dy) || as_matrix(x, dtype, 0, &in) || dy.nd != in.nd || dy.rows != in.rows)
        return ARRAYS_NOT_PLAIN;
    if (as_matrix(out, dtype, 1, &dw) || !writeable(out, 0) || dw.rows != dy.columns || dw.columns != in.columns) return ARRAYS_NOT_PLAIN;
    if (dw.ld < (dw.order == PYNN_IN_MAJOR ? dw.rows : dw.columns) || !apart(&dw, &dy) || !apart(&dw, &in)) return ARRAYS_NOT_PLAIN;
    return pynn_weight_gradient(dtype, dy.rows, in.columns, dy.columns, dy.data, dy.ld, in.data, in.ld, dw.data, dw.ld, dw.order);
}

int arrays_bias_gradient(size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t y_gradient = of[0], out = of[1];
    const int dtype = dtype_of(y_gradient);
    matrix dy, db;
    if (as_matrix(y_gradient, dtype, 0, &dy) || as_output(out, dtype, 1, 1, dy.columns, &db) || !apart(&db, &dy)) return ARRAYS_NOT_PLAIN;
    return pynn_bias_gradient(dtype, dy.rows, dy.columns, dy.data, dy.ld, db.data);
}

int arrays_input_gradient(size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t weight = of[0], y_gradient = of[1], out = of[2];
    const int dtype = dtype_of(weight);
    matrix w, dy, dx;
    if (as_matrix(weight, dtype, 1, &w) || as_matrix(y_gradient, dtype, 0, &dy) || dy.columns != w.rows) return ARRAYS_NOT_PLAIN;
    if (as_output(out, dtype, dy.nd, dy.rows, w.columns, &dx) || !apart(&dx, &w) || !apart(&dx, &dy)) return ARRAYS_NOT_PLAIN;
    return pynn_input_gradient(dtype, dy.rows, w.columns, w.rows, w.data, w.ld, w.order, dy.data, dy.ld, dx.data, dx.ld);
}

int arrays_activation(size_t arrays)
{
    const size_t *const of = elements(arrays), *const f = elements(of[0]);
    const size_t x = of[1], out = of[2];
    const int dtype = dtype_of(x);
    matrix in, y;
    if (as_run(x, dtype, &in) || as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !apart_or_same(&y, &in)) return ARRAYS_NOT_PLAIN;
    return pynn_activation(dtype, (int)value_of(f[0]), value_of(f[1]), in.rows * in.columns, in.data, y.data);
}

int arrays_activation_gradient(size_t arrays)
{
    const size_t *const of = elements(arrays), *const f = elements(of[0]);
    const size_t x = of[1], y_gradient = of[2], out = of[3];
    const int dtype = dtype_of(x);
    matrix in, dy, dx;
    if (as_run(x, dtype, &in) || as_run(y_gradient, dtype, &dy) || !same_shape(&in, &dy)) return ARRAYS_NOT_PLAIN;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &dx) || !apart_or_same(&dx, &in) || !apart_or_same(&dx, &dy))
        return ARRAYS_NOT_PLAIN;
    return pynn_activation_gradient(dtype, (int)value_of(f[0]), value_of(f[1]), in.rows * in.columns, in.data, dy.data, dx.data);
}

/* Weights of rows, if there are any: a vector as long as there are rows */
static int as_weights(size_t address, int dtype, size_t rows, matrix *m)
{
    m->data = NULL;
    return address != none && (as_run(address, dtype, m) || m->nd != 1 || m->columns != rows);
}

/* A target for predictions: of their shape, or a label for each row */
static int as_target(const pynn_objective *objective, size_t address, int dtype, const matrix *p, matrix *t)
{
    if (as_run(address, dtype, t)) return ARRAYS_NOT_PLAIN;
    return objective->labels ? t->nd != 1 || t->columns != p->rows : !same_shape(p, t);
}

int arrays_cost(const pynn_objective *objective, double *cost, size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t prediction = of[0], target = of[1], weights = of[2];
    const int dtype = dtype_of(prediction);
    matrix p, t, w;
    if (as_run(prediction, dtype, &p) || as_target(objective, target, dtype, &p, &t)) return ARRAYS_NOT_PLAIN;
    if (as_weights(weights, dtype, p.rows, &w)) return ARRAYS_NOT_PLAIN;
    *cost = pynn_cost(dtype, objective, p.rows, p.columns, p.data, t.data, w.data);
    return PYNN_OK;
}

int arrays_cost_gradient(const pynn_objective *objective, size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t prediction = of[0], target = of[1], weights = of[2], out = of[3];
    const int dtype = dtype_of(prediction);
    matrix p, t, w, g;
    if (as_run(prediction, dtype, &p) || as_target(objective, target, dtype, &p, &t)) return ARRAYS_NOT_PLAIN;
    if (as_weights(weights, dtype, p.rows, &w)) return ARRAYS_NOT_PLAIN;
    if (as_output(out, dtype, p.nd, p.rows, p.columns, &g) || !apart_or_same(&g, &p)) return ARRAYS_NOT_PLAIN;
    if (!(objective->labels ? apart(&g, &t) : apart_or_same(&g, &t)) || (w.data && !apart(&g, &w))) return ARRAYS_NOT_PLAIN;
    return pynn_cost_gradient(dtype, objective, p.rows, p.columns, p.data, t.data, w.data, g.data);
}

int arrays_gradient_descent(double learning_rate, size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t parameters = of[0], gradients = of[1];
    const int dtype = dtype_of(parameters);
    matrix p, g;
    if (as_run(parameters, dtype, &p) || !writeable(parameters, 1) || as_run(gradients, dtype, &g) || !same_shape(&p, &g))
        return ARRAYS_NOT_PLAIN;
    if (!apart_or_same(&p, &g)) return ARRAYS_NOT_PLAIN;
    return pynn_gradient_descent(dtype, p.rows * p.columns, p.data, g.data, learning_rate);
}

int arrays_optimize(pynn_optimizer *optimizer, double learning_rate, size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t parameters = of[0], gradients = of[1];
    const int dtype = dtype_of(parameters);
    matrix p, g;
    if (as_run(parameters, dtype, &p) || !writeable(parameters, 1) || as_run(gradients, dtype, &g) || !same_shape(&p, &g))
        return ARRAYS_NOT_PLAIN;
    if (!apart(&p, &g)) return ARRAYS_NOT_PLAIN;
    return pynn_optimize(dtype, optimizer, p.rows * p.columns, p.data, g.data, learning_rate);
}

/* Row by row, an output may be an input whose rows lie as its own do, or lie apart from it */
static int rows_apart_or_same(const matrix *a, const matrix *b)
{
    return apart(a, b) || (a->data == b->data && (a->ld == b->ld || a->rows < 2));
}

/* One number for each feature, or None (data NULL) */
static int as_features(size_t address, int dtype, size_t features, matrix *m)
{
    *m = (matrix){0};
    if (address == none) return PYNN_OK;
    return as_matrix(address, dtype, 0, m) || m->nd != 1 || m->columns != features;
}

static int as_statistics(size_t address, int dtype, const matrix *of, matrix *m)
{
    return as_run(address, dtype, m) || m->nd != of->nd || m->rows != of->rows || m->columns != 2;
}

int arrays_softmax(int log, size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t x = of[0], out = of[1];
    const int dtype = dtype_of(x);
    matrix in, y;
    if (as_matrix(x, dtype, 0, &in) || as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !rows_apart_or_same(&y, &in))
        return ARRAYS_NOT_PLAIN;
    return pynn_softmax(dtype, log, in.rows, in.columns, in.data, in.ld, y.data, y.ld);
}

int arrays_softmax_gradient(int log, size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t y = of[0], y_gradient = of[1], out = of[2];
    const int dtype = dtype_of(y);
    matrix in, dy, dx;
    if (as_matrix(y, dtype, 0, &in) || as_matrix(y_gradient, dtype, 0, &dy) || !same_shape(&in, &dy)) return ARRAYS_NOT_PLAIN;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &dx) || !rows_apart_or_same(&dx, &in) || !rows_apart_or_same(&dx, &dy))
        return ARRAYS_NOT_PLAIN;
    return pynn_softmax_gradient(dtype, log, in.rows, in.columns, in.data, in.ld, dy.data, dy.ld, dx.data, dx.ld);
}

int arrays_layer_norm(double epsilon, size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t x = of[0], scale = of[1], bias = of[2], out = of[3], statistics = of[4];
    const int dtype = dtype_of(x);
    matrix in, a, b, y, s = {0};
    if (as_matrix(x, dtype, 0, &in) || as_features(scale, dtype, in.columns, &a) || as_features(bias, dtype, in.columns, &b))
        return ARRAYS_NOT_PLAIN;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !rows_apart_or_same(&y, &in) || !apart(&y, &a) || !apart(&y, &b))
        return ARRAYS_NOT_PLAIN;
    if (statistics != none && (as_statistics(statistics, dtype, &in, &s) || !writeable(statistics, 1))) return ARRAYS_NOT_PLAIN;
    if (!apart(&s, &in) || !apart(&s, &a) || !apart(&s, &b) || !apart(&s, &y)) return ARRAYS_NOT_PLAIN;
    return pynn_layer_norm(dtype, in.rows, in.columns, epsilon, in.data, in.ld, a.data, b.data, y.data, y.ld, s.data);
}

int arrays_layer_norm_gradient(size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t x = of[0], statistics = of[1], scale = of[2], y_gradient = of[3], out = of[4];
    const int dtype = dtype_of(x);
    matrix in, s, a, dy, dx;
    if (as_matrix(x, dtype, 0, &in) || as_features(scale, dtype, in.columns, &a) || as_statistics(statistics, dtype, &in, &s))
        return ARRAYS_NOT_PLAIN;
    if (as_matrix(y_gradient, dtype, 0, &dy) || !same_shape(&in, &dy)) return ARRAYS_NOT_PLAIN;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &dx) || !rows_apart_or_same(&dx, &in) || !rows_apart_or_same(&dx, &dy))
        return ARRAYS_NOT_PLAIN;
    if (!apart(&dx, &s) || !apart(&dx, &a)) return ARRAYS_NOT_PLAIN;
    return pynn_layer_norm_gradient(dtype, in.rows, in.columns, in.data, in.ld, s.data, a.data, dy.data, dy.ld, dx.data, dx.ld);
}

int arrays_layer_norm_scale_gradient(size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t x = of[0], statistics = of[1], y_gradient = of[2], out = of[3];
    const int dtype = dtype_of(x);
    matrix in, s, dy, c;
    if (as_matrix(x, dtype, 0, &in) || as_statistics(statistics, dtype, &in, &s)) return ARRAYS_NOT_PLAIN;
    if (as_matrix(y_gradient, dtype, 0, &dy) || !same_shape(&in, &dy)) return ARRAYS_NOT_PLAIN;
    if (as_output(out, dtype, 1, 1, in.columns, &c) || !apart(&c, &in) || !apart(&c, &s) || !apart(&c, &dy)) return ARRAYS_NOT_PLAIN;
    return pynn_layer_norm_scale_gradient(dtype, in.rows, in.columns, in.data, in.ld, s.data, dy.data, dy.ld, c.data);
}

int arrays_standardize(size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t x = of[0], mean = of[1], deviation = of[2], out = of[3];
    const int dtype = dtype_of(x);
    matrix in, m, d, y;
    if (as_matrix(x, dtype, 0, &in) || as_features(mean, dtype, in.columns, &m)) return ARRAYS_NOT_PLAIN;
    if (deviation == none || as_features(deviation, dtype, in.columns, &d)) return ARRAYS_NOT_PLAIN;
    if (as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !rows_apart_or_same(&y, &in) || !apart(&y, &m) || !apart(&y, &d))
        return ARRAYS_NOT_PLAIN;
    return pynn_standardize(dtype, in.rows, in.columns, in.data, in.ld, m.data, d.data, y.data, y.ld);
}

int arrays_dropout(double rate, uint64_t seed, uint64_t step, uint64_t first_row, size_t arrays)
{
    const size_t *const of = elements(arrays);
    const size_t x = of[0], out = of[1];
    const int dtype = dtype_of(x);
    matrix in, y;
    if (as_run(x, dtype, &in) || as_output(out, dtype, in.nd, in.rows, in.columns, &y) || !apart_or_same(&y, &in)) return ARRAYS_NOT_PLAIN;
    return pynn_dropout(dtype, rate, seed, step, first_row * in.columns, in.rows * in.columns, in.data, y.data);
}

/* ---- pynn._arrays: a network, called by CPython itself --------------------------------------------------------------
 *
 * A call by cffi takes some 250 ns more than one of the methods below, which are given the arrays, and np.empty some 140 ns more than making
 * the result here: several times what a small network takes. The module is in the same file as pynn._core; engine.py loads it from there.
 *
 * A method answers None where it does not take its arguments as they are, and has then done nothing. A call holds its object, and that all it
 * points to: another thread may let go of a network's plan or optimizer meanwhile.
 */

/* NumPy's functions for extensions, at places in a table that all of NumPy 2 has */
enum { ABI_VERSION_OF = 0, NEW_FROM_DTYPE = 94, ABI_VERSION = 2 };
typedef unsigned version_function(void);
typedef PyObject *new_function(PyTypeObject *type, PyObject *dtype, int nd, const Py_ssize_t *sizes, const Py_ssize_t *strides, void *data,
                               int flags, PyObject *like);
static new_function *new_from_dtype;

/* An array (rows, columns), or (columns,), not filled */
static PyObject *new_array(int dtype, int nd, size_t rows, size_t columns)
{
    const Py_ssize_t sizes[2] = {(Py_ssize_t)rows, (Py_ssize_t)columns};
    PyObject *const type = (PyObject *)dtypes[dtype];
    Py_INCREF(type); /* which the call takes over */
    return new_from_dtype((PyTypeObject *)ndarray_type, type, nd, nd == 1 ? sizes + 1 : sizes, NULL, NULL, 0, NULL);
}

/* Raises what a status means, which engine.py says. */
static PyObject *failed(int status, const char *where)
{
    PyObject *const engine = PyImport_ImportModule("pynn.engine");
    PyObject *const none_given = engine ? PyObject_CallMethod(engine, "fail", "is", status, where) : NULL;
    Py_XDECREF(engine);
    Py_XDECREF(none_given);
    return NULL;
}

static int wrong_count(Py_ssize_t count, Py_ssize_t wanted)
{
    if (count != wanted) PyErr_Format(PyExc_TypeError, "pynn._arrays: %zd arguments, wanted %zd", count, wanted);
    return count != wanted;
}

static void free_object(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* Work that keeps the GIL, in multiply-adds: one or two microseconds with vectors. Letting go of it takes 30 ns, and longer where others
 * want it. */
enum { SHORT_WORK = 1 << 14, STEP_WORK = 4 /* of a step, beside a prediction's */ };

/* A network, which it owns */
typedef struct {
    PyObject object;
    pynn_network *network;
    PyObject *kept; /* holds what the network points to */
    size_t short_rows; /* a prediction of so many keeps the GIL */
} plan;

/* What Python gives as a number; NULL with an exception */
static void *pointer_of(PyObject *address)
{
    void *const pointer = PyLong_AsVoidPtr(address);
    if (!pointer && !PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "pynn._arrays: an address of nothing");
    return pointer;
}

static void plan_free(PyObject *self)
{
    pynn_network_free(((plan *)self)->network);
    Py_XDECREF(((plan *)self)->kept);
    free_object(self);
}

/* The address of a pynn_network, which it takes over, and what that points to */
static PyObject *plan_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    PyObject *address, *kept;
    (void)names;
    if (!PyArg_ParseTuple(arguments, "OO", &address, &kept)) return NULL;
    pynn_network *const network = pointer_of(address);
    if (!network) return NULL;
    plan *const self = (plan *)PyType_GenericAlloc(type, 0);
    if (!self) {
        pynn_network_free(network);
        return NULL;
    }
    const double work = pynn_network_work(network);
    self->network = network;
    self->kept = kept;
    self->short_rows = work < SHORT_WORK ? SHORT_WORK / ((size_t)work + 1) : 0;
    Py_INCREF(kept);
    return &self->object;
}

/* x, out or None: the result */
static PyObject *plan_predict(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    const plan *const p = (const plan *)self;
    if (wrong_count(count, 2)) return NULL;
    PyObject *out = arguments[1];
    const int dtype = pynn_network_dtype(p->network);
    const size_t columns = pynn_network_out(p->network);
    matrix in, y;
    if (as_matrix((size_t)arguments[0], dtype, 0, &in) || in.columns != pynn_network_in(p->network)) Py_RETURN_NONE;
    if (out == Py_None) {
        out = new_array(dtype, in.nd, in.rows, columns);
        if (!out) return NULL;
        y.data = ((const array *)out)->data;
    } else {
        if (as_output((size_t)out, dtype, in.nd, in.rows, columns, &y) || !apart(&y, &in)) Py_RETURN_NONE;
        if (pynn_network_overlaps(p->network, y.data, y.bytes)) Py_RETURN_NONE;
        Py_INCREF(out);
    }
    PyThreadState *const thread = in.rows > p->short_rows ? PyEval_SaveThread() : NULL;
    const int status = pynn_network_predict(p->network, in.rows, in.data, in.ld, y.data);
    if (thread) PyEval_RestoreThread(thread);
    if (status == PYNN_OK) return out;
    Py_DECREF(out);
    return failed(status, "predict");
}

/* A network, what it makes small, and its optimizer */
typedef struct {
    PyObject object;
    plan *plan;
    pynn_objective objective;
    pynn_optimizer *optimizer;
    void *gradients;
    PyObject *kept; /* holds the optimizer and the gradients */
} trainer;

/* A plan, the addresses of a pynn_objective and a pynn_optimizer, gradients, and what holds the optimizer */
static PyObject *trainer_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    PyObject *of, *objective_address, *optimizer_address, *gradients, *optimizer_kept;
    (void)names;
    if (!PyArg_ParseTuple(arguments, "OOOOO", &of, &objective_address, &optimizer_address, &gradients, &optimizer_kept)) return NULL;
    if (PyType_GetSlot(Py_TYPE(of), Py_tp_dealloc) != (void *)plan_free) {
        PyErr_SetString(PyExc_TypeError, "pynn._arrays: wanted a Plan");
        return NULL;
    }
    const pynn_network *const network = ((plan *)of)->network;
    const pynn_objective *const objective = pointer_of(objective_address);
    pynn_optimizer *const optimizer = objective ? pointer_of(optimizer_address) : NULL;
    matrix g;
    if (!optimizer) return NULL;
    if (as_run((size_t)gradients, pynn_network_dtype(network), &g) || g.nd != 1 || g.columns != pynn_network_parameters(network))
        return failed(ARRAYS_NOT_PLAIN, "Network");
    trainer *const self = (trainer *)PyType_GenericAlloc(type, 0);
    if (!self) return NULL;
    self->plan = (plan *)of;
    Py_INCREF(of);
    self->objective = *objective;
    self->optimizer = optimizer;
    self->gradients = g.data;
    self->kept = PyTuple_Pack(2, gradients, optimizer_kept);
    if (self->kept) return &self->object;
    Py_DECREF(&self->object);
    return NULL;
}

static void trainer_free(PyObject *self)
{
    Py_XDECREF((PyObject *)((trainer *)self)->plan);
    Py_XDECREF(((trainer *)self)->kept);
    free_object(self);
}

/* Training on all rows of x in one batch; more of how, is left to the caller */
static int as_training(const trainer *self, PyObject *x, PyObject *target, pynn_training *training)
{
    const pynn_network *const network = self->plan->network;
    const int dtype = pynn_network_dtype(network);
    matrix in, t;
    if (as_matrix((size_t)x, dtype, 0, &in) || in.columns != pynn_network_in(network)) return ARRAYS_NOT_PLAIN;
    if (as_matrix((size_t)target, dtype, 0, &t)) return ARRAYS_NOT_PLAIN;
    if (self->objective.labels) {
        if (t.nd != 1 || t.columns != in.rows) return ARRAYS_NOT_PLAIN;
        t.ld = 1;
    } else if (t.nd != in.nd || t.rows != in.rows || t.columns != pynn_network_out(network)) return ARRAYS_NOT_PLAIN;
    if (pynn_network_overlaps(network, in.data, in.bytes) || pynn_network_overlaps(network, t.data, t.bytes)) return ARRAYS_NOT_PLAIN;
    *training = (pynn_training){.objective = self->objective,
                                .optimizer = self->optimizer,
                                .rows = in.rows,
                                .batch = in.rows,
                                .x = in.data,
                                .target = t.data,
                                .ld_x = in.ld,
                                .ld_target = t.ld,
                                .gradients = self->gradients};
    return PYNN_OK;
}

/* x, target, learning rate: the cost before a step on all rows, of which there must be some */
static PyObject *trainer_step(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    const plan *const p = ((const trainer *)self)->plan;
    pynn_training t;
    double cost;
    if (wrong_count(count, 3)) return NULL;
    if (!PyFloat_CheckExact(arguments[2]) || as_training((const trainer *)self, arguments[0], arguments[1], &t) || !t.rows) Py_RETURN_NONE;
    t.learning_rate = PyFloat_AsDouble(arguments[2]);
    t.costs = &cost;
    int status = PYNN_BUSY;
    if (t.rows <= p->short_rows / STEP_WORK) {
        t.no_waiting = 1; /* another trainer of this network may take as long as an epoch of fit, which must not stop all other threads */
        status = pynn_network_train(p->network, &t);
        t.no_waiting = 0;
    }
    if (status == PYNN_BUSY) {
        PyThreadState *const thread = PyEval_SaveThread();
        status = pynn_network_train(p->network, &t);
        PyEval_RestoreThread(thread);
    }
    return status == PYNN_OK ? PyFloat_FromDouble(cost) : failed(status, "Network");
}

/* The data of a contiguous one-dimensional array of `length` elements of 8 bytes, or NULL */
static void *run_of(PyObject *object, size_t length)
{
    const array *const a = as_array((size_t)object);
    const int fits = a && a->nd == 1 && (a->flags & C_CONTIGUOUS_FLAG) && (size_t)a->sizes[0] == length;
    return fits && (length < 2 || a->strides[0] == 8) ? a->data : NULL;
}

/* Steps on rows first .. first + rows - 1 of an epoch, batch by batch. Arrays: x, target, weights or None (one for each row), order or None
 * (int64, one for each row, every one of which is the number of a row: not checked), learning rates or None (float64, one for each batch of
 * these rows), costs (float64, one for each batch of the epoch). Numbers: first, a multiple of batch; rows, batch, learning rate. True. */
static PyObject *trainer_train(PyObject *self, PyObject *arguments)
{
    const plan *const p = ((const trainer *)self)->plan;
    PyObject *x, *target, *weights, *order, *rates, *costs;
    Py_ssize_t first, rows, batch;
    double rate;
    matrix w;
    pynn_training t;
    if (!PyArg_ParseTuple(arguments, "OOOOOOnnnd", &x, &target, &weights, &order, &rates, &costs, &first, &rows, &batch, &rate))
        return NULL;
    if (as_training((const trainer *)self, x, target, &t) || as_weights((size_t)weights, pynn_network_dtype(p->network), t.rows, &w))
        Py_RETURN_NONE;
    if (first < 0 || rows < 0 || batch < 1 || first % batch || (size_t)first > t.rows || (size_t)rows > t.rows - (size_t)first)
        Py_RETURN_NONE;
    double *const cost = run_of(costs, t.rows / (size_t)batch + (t.rows % (size_t)batch != 0));
    t.order = order == Py_None ? NULL : run_of(order, t.rows);
    t.learning_rates = rates == Py_None ? NULL : run_of(rates, (size_t)(rows / batch + (rows % batch != 0)));
    if (!cost || (order != Py_None && !t.order) || (rates != Py_None && !t.learning_rates)) Py_RETURN_NONE;
    t.learning_rate = rate;
    t.first = (size_t)first;
    t.rows = (size_t)rows;
    t.batch = (size_t)batch;
    t.weights = w.data;
    t.costs = cost + first / batch;
    PyThreadState *const thread = PyEval_SaveThread();
    const int status = pynn_network_train(p->network, &t);
    PyEval_RestoreThread(thread);
    if (status) return failed(status, "Network");
    Py_RETURN_TRUE;
}

static PyMethodDef plan_methods[] = {{"predict", (PyCFunction)(void (*)(void))plan_predict, METH_FASTCALL, NULL}, {NULL, NULL, 0, NULL}};
static PyMethodDef trainer_methods[] = {{"step", (PyCFunction)(void (*)(void))trainer_step, METH_FASTCALL, NULL},
                                        {"train", trainer_train, METH_VARARGS, NULL},
                                        {NULL, NULL, 0, NULL}};
static PyType_Slot plan_slots[] = {{Py_tp_new, plan_new}, {Py_tp_dealloc, plan_free}, {Py_tp_methods, plan_methods}, {0, NULL}};
static PyType_Slot trainer_slots[] = {{Py_tp_new, trainer_new}, {Py_tp_dealloc, trainer_free}, {Py_tp_methods, trainer_methods}, {0, NULL}};
static PyType_Spec plan_spec = {"pynn._arrays.Plan", sizeof(plan), 0, Py_TPFLAGS_DEFAULT, plan_slots};
static PyType_Spec trainer_spec = {"pynn._arrays.Trainer", sizeof(trainer), 0, Py_TPFLAGS_DEFAULT, trainer_slots};

/* Finds NumPy's function, or raises what says that it is not where it was. */
static int know_numpy(void)
{
    PyObject *const numpy = PyImport_ImportModule("numpy._core._multiarray_umath");
    PyObject *const capsule = numpy ? PyObject_GetAttrString(numpy, "_ARRAY_API") : NULL;
    void **const table = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;
    Py_XDECREF(numpy);
    Py_XDECREF(capsule);
    if (!table) return -1;
    version_function *version;
    memcpy(&version, table + ABI_VERSION_OF, sizeof version);
    if (version() >> 24 != ABI_VERSION) {
        PyErr_SetString(PyExc_ImportError, "pynn: this build is for NumPy 2, whose functions for extensions this NumPy does not have");
        return -1;
    }
    memcpy(&new_from_dtype, table + NEW_FROM_DTYPE, sizeof new_from_dtype);
    return 0;
}

static int execute(PyObject *module)
{
    if (know_numpy()) return -1;
    PyObject *const plan_type = PyType_FromSpec(&plan_spec), *const trainer_type = PyType_FromSpec(&trainer_spec);
    const int failed_to = !plan_type || !trainer_type || PyModule_AddObjectRef(module, "Plan", plan_type) ||
                          PyModule_AddObjectRef(module, "Trainer", trainer_type);
    Py_XDECREF(plan_type);
    Py_XDECREF(trainer_type);
    return failed_to ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};
static struct PyModuleDef module = {.m_base = PyModuleDef_HEAD_INIT, .m_name = "pynn._arrays", .m_slots = module_slots};

PyMODINIT_FUNC PyInit__arrays(void);
PyMODINIT_FUNC PyInit__arrays(void) { return PyModuleDef_Init(&module); }
