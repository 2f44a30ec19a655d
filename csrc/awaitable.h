/* Makes a class awaitable without an exception for each result: fills tp_iternext and am_send.
 *
 * `step(self, &result)` returns 0 with a future to wait for, 1 with the value, -1 with an error set;
 * `result` is a new reference. One class for each module that includes this. */
#ifndef DENOAGENTS_AWAITABLE_H
#define DENOAGENTS_AWAITABLE_H

#include <Python.h>

typedef int (*denoagents_step_t)(PyObject *self, PyObject **result);

static denoagents_step_t denoagents_step;

static PySendResult denoagents_am_send(PyObject *self, PyObject *argument, PyObject **result)
{
    (void)argument;
    *result = NULL;
    switch (denoagents_step(self, result)) {
    case 0: return PYGEN_NEXT;
    case 1: return PYGEN_RETURN;
    default: return PYGEN_ERROR;
    }
}

static PyObject *denoagents_iternext(PyObject *self)
{
    PyObject *result = NULL;
    switch (denoagents_step(self, &result)) {
    case 0: return result;
    case 1:
        if (result == Py_None) {
            Py_DECREF(result);
            return NULL;
        }
        if (PyTuple_Check(result) || PyExceptionInstance_Check(result)) {
            PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
        } else {
            PyErr_SetObject(PyExc_StopIteration, result);
        }
        Py_DECREF(result);
        return NULL;
    default: return NULL;
    }
}

static void denoagents_make_awaitable(PyTypeObject *type, denoagents_step_t step)
{
    denoagents_step = step;
    type->tp_iternext = denoagents_iternext;
    type->tp_as_async->am_send = denoagents_am_send;
    PyType_Modified(type);
}

#endif
