/* arrays.h: what the files in this folder share, the only C that knows of Python: NumPy arrays, read where they lie and made anew, and the
 * end of a call. What CPython calls is in calls.c, the kernels, and in plans.c, networks; both are the module pynn._arrays, which is in the
 * same file as cffi's pynn._core, since it calls the same C.
 *
 * An array is taken as it is when it is plain: exactly a numpy.ndarray, of native float32 or float64 (the same as the first
 * one), aligned, of the shape that is wanted, with the elements of a row side by side (of a weight: those of a row or of a column), and, as
 * an output, writeable, contiguous and apart from every input (as parameters are from what a network trains on). Everything else is NOT_PLAIN:
 * the call answers None, and nothing has been done. Python then makes plain arrays of it or says what is wrong. So a good call costs no
 * Python but its own, and errors are written once, in Python.
 *
 * Functions that look at an array return 0 if it is as they want it, else NOT_PLAIN, and raise nothing. Shapes are those of pynn.h.
 */
#ifndef PYNN_ARRAYS_H
#define PYNN_ARRAYS_H

#include <Python.h>

#include "pynn.h"

enum { NOT_PLAIN = 1 };

/* An array as the kernels take it */
typedef struct {
    char *data;
    size_t rows, columns, ld, bytes; /* bytes: from data to the end of the last row */
    int nd, order;
} matrix;

/* Finds what is wanted of NumPy, or raises what says that it is not where it was. */
int know_numpy(void);
/* What is read of an array, for Python to compare with what NumPy says of it; of what is no array, None */
PyObject *describe(PyObject *module, PyObject *object);

/* dtype of an array, or -1, which no array has */
int dtype_of(PyObject *object);
/* A vector (one row) or rows whose elements lie side by side; with `weight`, columns may instead */
int as_matrix(PyObject *object, int dtype, int weight, matrix *m);
/* Rows close together, so that all elements are one run */
int as_run(PyObject *object, int dtype, matrix *m);
/* One number for each feature, or None (data NULL) */
int as_features(PyObject *object, int dtype, size_t features, matrix *m);
int writeable(PyObject *object, int contiguous);
/* The data of a contiguous one-dimensional array of `length` elements of 8 bytes, or NULL */
void *run_of(PyObject *object, size_t length);

static inline int same_shape(const matrix *a, const matrix *b) { return a->nd == b->nd && a->rows == b->rows && a->columns == b->columns; }

static inline int apart(const matrix *a, const matrix *b)
{
    return !a->bytes || !b->bytes || a->data + a->bytes <= b->data || b->data + b->bytes <= a->data;
}

/* Elementwise, an output may be an input, or lie apart from it */
static inline int apart_or_same(const matrix *a, const matrix *b) { return a->data == b->data || apart(a, b); }

/* Row by row, it may be an input whose rows lie as its own do */
static inline int rows_apart_or_same(const matrix *a, const matrix *b)
{
    return apart(a, b) || (a->data == b->data && (a->ld == b->ld || a->rows < 2));
}

/* A result that is not there yet, and so apart from all others */
static inline void as_new(int nd, size_t rows, size_t columns, matrix *m)
{
    *m = (matrix){.rows = rows, .columns = columns, .ld = columns, .nd = nd, .order = PYNN_OUT_MAJOR};
}

/* What takes a result of this shape: an array, or None, for a new one */
int as_output(PyObject *out, int dtype, int nd, size_t rows, size_t columns, matrix *m);
/* That array, with a reference to it, or a new one of that shape, not filled; NULL with an exception */
PyObject *made(PyObject *out, int dtype, matrix *m);

/* Work that keeps the GIL, in multiply-adds: one or two microseconds with vectors. Letting go of it takes 30 ns, and longer where others
 * want it. */
enum { SHORT_WORK = 1 << 14 };
static inline PyThreadState *let_go(double work) { return work > SHORT_WORK ? PyEval_SaveThread() : NULL; }

/* What a status means (engine.py says it), as an exception, and NULL */
PyObject *failed(int status, const char *where);

/* The end of a call: takes the GIL back; the result, or what the status means as an exception */
static inline PyObject *finish(PyThreadState *thread, int status, PyObject *result, const char *where)
{
    if (thread) PyEval_RestoreThread(thread);
    if (status == PYNN_OK) return result;
    Py_DECREF(result);
    return failed(status, where);
}

int wrong_count(Py_ssize_t count, Py_ssize_t wanted);

/* A cost as Python has it, a tuple (number, parameter, labels), and an activation, (number, parameter); -1 with an exception */
int as_objective(PyObject *tuple, pynn_objective *objective);
int as_function(PyObject *tuple, int *number, double *parameter);
/* A pointer as Python has it, a tuple of the address and what keeps it; NULL with an exception */
void *as_pointer(PyObject *tuple);

/* plans.c */
int add_plan_types(PyObject *module);

#endif
