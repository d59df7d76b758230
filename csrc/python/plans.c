/* plans.c: networks as objects of Python, whose methods CPython itself calls; see arrays.h.
 *
 * A call holds its object, and that all it points to: another thread may let go of a network's plan or optimizer meanwhile.
 */
#include "arrays.h"

static void free_object(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

enum { STEP_WORK = 4 }; /* of a step, beside a prediction's */

/* A network, which it owns */
typedef struct {
    PyObject object;
    pynn_network *network;
    PyObject *pointer; /* holds what the network points to */
    double row_work; /* of a prediction */
} plan;

static void plan_free(PyObject *self)
{
    pynn_network_free(((plan *)self)->network);
    Py_XDECREF(((plan *)self)->pointer);
    free_object(self);
}

/* A pointer to a pynn_network, which it takes over */
static PyObject *plan_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    PyObject *pointer;
    (void)names;
    if (!PyArg_ParseTuple(arguments, "O", &pointer)) return NULL;
    pynn_network *const network = as_pointer(pointer);
    if (!network) return NULL;
    plan *const self = (plan *)PyType_GenericAlloc(type, 0);
    if (!self) {
        pynn_network_free(network);
        return NULL;
    }
    self->network = network;
    self->pointer = pointer;
    self->row_work = pynn_network_work(network);
    Py_INCREF(pointer);
    return &self->object;
}

/* x, out or None: the result */
static PyObject *plan_predict(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    const plan *const p = (const plan *)self;
    if (wrong_count(count, 2)) return NULL;
    PyObject *const x = arguments[0], *const out = arguments[1];
    const int dtype = pynn_network_dtype(p->network);
    matrix in, y;
    if (as_matrix(x, dtype, 0, &in) || in.columns != pynn_network_in(p->network)) Py_RETURN_NONE;
    if (as_output(out, dtype, in.nd, in.rows, pynn_network_out(p->network), &y) || !apart(&y, &in)) Py_RETURN_NONE;
    if (out != Py_None && pynn_network_overlaps(p->network, y.data, y.bytes)) Py_RETURN_NONE;
    PyObject *const result = made(out, dtype, &y);
    if (!result) return NULL;
    PyThreadState *const thread = let_go((double)in.rows * p->row_work);
    const int status = pynn_network_predict(p->network, in.rows, in.data, in.ld, y.data);
    return finish(thread, status, result, "predict");
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

/* A plan, an objective, a pointer to a pynn_optimizer, and an array for gradients */
static PyObject *trainer_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    PyObject *of, *objective, *pointer, *gradients;
    (void)names;
    if (!PyArg_ParseTuple(arguments, "OOOO", &of, &objective, &pointer, &gradients)) return NULL;
    if (PyType_GetSlot(Py_TYPE(of), Py_tp_dealloc) != (void *)plan_free) {
        PyErr_SetString(PyExc_TypeError, "pynn._arrays: wanted a Plan");
        return NULL;
    }
    const pynn_network *const network = ((plan *)of)->network;
    pynn_objective what;
    pynn_optimizer *const optimizer = as_objective(objective, &what) ? NULL : as_pointer(pointer);
    matrix g;
    if (!optimizer) return NULL;
    if (as_run(gradients, pynn_network_dtype(network), &g) || g.nd != 1 || g.columns != pynn_network_parameters(network))
        return failed(NOT_PLAIN, "Network");
    trainer *const self = (trainer *)PyType_GenericAlloc(type, 0);
    if (!self) return NULL;
    self->plan = (plan *)of;
    Py_INCREF(of);
    self->objective = what;
    self->optimizer = optimizer;
    self->gradients = g.data;
    self->kept = PyTuple_Pack(2, gradients, pointer);
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
    if (as_matrix(x, dtype, 0, &in) || in.columns != pynn_network_in(network)) return NOT_PLAIN;
    if (as_matrix(target, dtype, 0, &t)) return NOT_PLAIN;
    if (self->objective.labels) {
        if (t.nd != 1 || t.columns != in.rows) return NOT_PLAIN;
        t.ld = 1;
    } else if (t.nd != in.nd || t.rows != in.rows || t.columns != pynn_network_out(network)) return NOT_PLAIN;
    if (pynn_network_overlaps(network, in.data, in.bytes) || pynn_network_overlaps(network, t.data, t.bytes)) return NOT_PLAIN;
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
    if (STEP_WORK * (double)t.rows * p->row_work <= SHORT_WORK) {
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
    if (as_training((const trainer *)self, x, target, &t) || as_features(weights, pynn_network_dtype(p->network), t.rows, &w))
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

int add_plan_types(PyObject *module)
{
    PyObject *const plan_type = PyType_FromSpec(&plan_spec), *const trainer_type = PyType_FromSpec(&trainer_spec);
    const int failed_to = !plan_type || !trainer_type || PyModule_AddObjectRef(module, "Plan", plan_type) ||
                          PyModule_AddObjectRef(module, "Trainer", trainer_type);
    Py_XDECREF(plan_type);
    Py_XDECREF(trainer_type);
    return failed_to ? -1 : 0;
}
