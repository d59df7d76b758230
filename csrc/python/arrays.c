/* arrays.c: reads NumPy arrays where they lie, and makes new ones; see arrays.h. */
#include "arrays.h"

#include <string.h>

/* The head of a numpy.ndarray, fixed by NumPy's binary interface: extensions compiled against any NumPy read these fields, by macros that
 * compile to the same. Python checks at import that what `describe` reads is so. */
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

/* The head of a numpy.dtype, the same from NumPy 1 on */
typedef struct {
    PyObject object;
    PyTypeObject *scalar;
    char kind, character, byte_order, flags_of_old;
    int number;
} dtype_head;

/* NumPy's functions for extensions, at places in a table that all of NumPy 2 has */
enum {
    ABI_VERSION_OF = 0,
    NDARRAY_TYPE = 2,
    DTYPE_OF_NUMBER = 45,
    NEW_FROM_DTYPE = 94,
    ABI_VERSION = 2,
    FLOAT_NUMBER = 11,
    DOUBLE_NUMBER = 12
};
typedef unsigned version_function(void);
typedef PyObject *dtype_function(int number);
typedef PyObject *new_function(PyTypeObject *type, PyObject *dtype, int nd, const Py_ssize_t *sizes, const Py_ssize_t *strides, void *data,
                               int flags, PyObject *like);

static new_function *new_from_dtype;
static PyTypeObject *ndarray_type;
static PyObject *dtypes[2];

int know_numpy(void)
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
    dtype_function *dtype_of_number;
    memcpy(&dtype_of_number, table + DTYPE_OF_NUMBER, sizeof dtype_of_number);
    memcpy(&new_from_dtype, table + NEW_FROM_DTYPE, sizeof new_from_dtype);
    ndarray_type = table[NDARRAY_TYPE];
    dtypes[PYNN_F32] = dtype_of_number(FLOAT_NUMBER); /* of which there is one each, for as long as there is NumPy */
    dtypes[PYNN_F64] = dtype_of_number(DOUBLE_NUMBER);
    return dtypes[PYNN_F32] && dtypes[PYNN_F64] ? 0 : -1;
}

static const array *as_array(PyObject *object)
{
    const array *const a = (const array *)object;
    return Py_TYPE(object) == ndarray_type && (a->flags & ALIGNED_FLAG) ? a : NULL;
}

PyObject *describe(PyObject *module, PyObject *object)
{
    (void)module;
    const array *const a = as_array(object);
    if (!a || a->nd != 2) Py_RETURN_NONE;
    return Py_BuildValue("NiiNi(nn)(nn)", PyLong_FromVoidPtr(a->data), a->nd, a->flags, PyLong_FromVoidPtr(a->dtype), dtype_of(object),
                         a->sizes[0], a->sizes[1], a->strides[0], a->strides[1]);
}

/* An array that was unpickled, or made by newbyteorder, has a dtype object of its own, which may name the native byte order. */
static int same_dtype(const PyObject *dtype, const PyObject *known)
{
    static const int one = 1;
    const char native = *(const char *)&one ? '<' : '>';
    const dtype_head *const a = (const dtype_head *)dtype, *const b = (const dtype_head *)known;
    return a == b || (a->number == b->number && (a->byte_order == b->byte_order || a->byte_order == native));
}

int dtype_of(PyObject *object)
{
    const array *const a = as_array(object);
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

int as_matrix(PyObject *object, int dtype, int weight, matrix *m)
{
    const size_t size = size_of(dtype);
    if (dtype < 0 || dtype_of(object) != dtype) return NOT_PLAIN;
    const array *const a = (const array *)object;
    m->data = a->data;
    m->nd = a->nd;
    m->order = PYNN_OUT_MAJOR;
    if (a->nd == 1 && !weight) {
        m->rows = 1;
        m->columns = m->ld = (size_t)a->sizes[0];
        m->bytes = m->columns * size;
        return m->columns > 1 && a->strides[0] != (Py_ssize_t)size ? NOT_PLAIN : 0;
    }
    if (a->nd != 2) return NOT_PLAIN;
    m->rows = (size_t)a->sizes[0];
    m->columns = (size_t)a->sizes[1];
    if (!m->rows || !m->columns) { /* NumPy gives arrays without elements strides of 0 */
        m->ld = m->columns;
        m->bytes = 0;
        return 0;
    }
    size_t lines = m->rows, length = m->columns;
    int wrong;
    if (m->columns < 2 || a->strides[1] == (Py_ssize_t)size) wrong = leading(a->strides[0], m->rows, m->columns, size, &m->ld);
    else if (weight && (m->rows < 2 || a->strides[0] == (Py_ssize_t)size)) {
        m->order = PYNN_IN_MAJOR;
        lines = m->columns;
        length = m->rows;
        wrong = leading(a->strides[1], m->columns, m->rows, size, &m->ld);
    } else return NOT_PLAIN;
    if (wrong) return NOT_PLAIN;
    m->bytes = ((lines - 1) * m->ld + length) * size;
    return 0;
}

int as_run(PyObject *object, int dtype, matrix *m)
{
    if (as_matrix(object, dtype, 0, m)) return NOT_PLAIN;
    return m->ld != m->columns && m->rows > 1;
}

int as_features(PyObject *object, int dtype, size_t features, matrix *m)
{
    *m = (matrix){0};
    if (object == Py_None) return 0;
    return as_matrix(object, dtype, 0, m) || m->nd != 1 || m->columns != features;
}

int writeable(PyObject *object, int contiguous)
{
    const int wanted = WRITEABLE_FLAG | (contiguous ? C_CONTIGUOUS_FLAG : 0);
    return (((const array *)object)->flags & wanted) == wanted;
}

void *run_of(PyObject *object, size_t length)
{
    const array *const a = as_array(object);
    const int fits = a && a->nd == 1 && (a->flags & C_CONTIGUOUS_FLAG) && (size_t)a->sizes[0] == length;
    return fits && (length < 2 || a->strides[0] == 8) ? a->data : NULL;
}

int as_output(PyObject *out, int dtype, int nd, size_t rows, size_t columns, matrix *m)
{
    if (out == Py_None) {
        as_new(nd, rows, columns, m);
        return 0;
    }
    if (as_matrix(out, dtype, 0, m) || !writeable(out, 1)) return NOT_PLAIN;
    m->ld = columns;
    return m->nd != nd || m->rows != rows || m->columns != columns;
}

PyObject *made(PyObject *out, int dtype, matrix *m)
{
    if (out != Py_None) {
        Py_INCREF(out);
        return out;
    }
    const Py_ssize_t sizes[2] = {(Py_ssize_t)m->rows, (Py_ssize_t)m->columns};
    Py_INCREF(dtypes[dtype]); /* which the call takes over */
    out = new_from_dtype(ndarray_type, dtypes[dtype], m->nd, m->nd == 1 ? sizes + 1 : sizes, NULL, NULL, 0, NULL);
    if (out) m->data = ((const array *)out)->data;
    return out;
}

/* What a status means, engine.py says. */
PyObject *failed(int status, const char *where)
{
    PyObject *const engine = PyImport_ImportModule("pynn.engine");
    PyObject *const none = engine ? PyObject_CallMethod(engine, "fail", "is", status, where) : NULL;
    Py_XDECREF(engine);
    Py_XDECREF(none);
    return NULL;
}

int wrong_count(Py_ssize_t count, Py_ssize_t wanted)
{
    if (count != wanted) PyErr_Format(PyExc_TypeError, "pynn._arrays: %zd arguments, wanted %zd", count, wanted);
    return count != wanted;
}

int as_function(PyObject *tuple, int *number, double *parameter)
{
    PyObject *const first = PyTuple_GetItem(tuple, 0), *const second = first ? PyTuple_GetItem(tuple, 1) : NULL;
    if (!second) return -1;
    *number = (int)PyLong_AsLong(first);
    *parameter = PyFloat_AsDouble(second);
    return PyErr_Occurred() ? -1 : 0;
}

int as_objective(PyObject *tuple, pynn_objective *objective)
{
    PyObject *const labels = PyTuple_GetItem(tuple, 2);
    if (!labels || as_function(tuple, &objective->cost, &objective->parameter)) return -1;
    objective->labels = labels == Py_True;
    return 0;
}

void *as_pointer(PyObject *tuple)
{
    PyObject *const address = PyTuple_GetItem(tuple, 0);
    void *const pointer = address ? PyLong_AsVoidPtr(address) : NULL;
    if (!pointer && !PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "pynn._arrays: an address of nothing");
    return pointer;
}
