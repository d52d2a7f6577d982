/*
 * argsmodule.c - args.c and frame.c for the tests, as a Python module.
 *
 *     on_start    a callback for PY_START: keeps the text of the call's arguments,
 *                 once for every size
 *     sizes(list) what sizes
 *     take()      what was kept: a list of str for every size, a list for every call
 *     here(size)  the text of the caller's own arguments as they are now
 *     frames()    [(code, owner), ...] of the stack from the caller on
 *
 * AssertionError when a promise of args.h or frame.h is broken.  The tests build it
 * for the interpreter under test; nobody installs it.
 */
#include "text_check.h"

#include "args.h"
#include "frame.h"

static PyObject *kept;      /* list of lists */
static PyObject *all_sizes; /* list of int */

/* What text_check.h calls: a text of a "value", which is the code here. */
static const char *
args_of(PyObject *code, char *buffer, size_t size)
{
    uint64_t frame = pyusdt_current_frame(PyThreadState_Get());
    pyusdt_args_text((PyCodeObject *)code, frame, buffer, size);
    return buffer;
}

/* The texts of the current frame's arguments at all sizes. */
static PyObject *
texts(PyObject *code)
{
    PyObject *result = PyList_New(0);

    for (Py_ssize_t i = 0; result != NULL && i < PyList_GET_SIZE(all_sizes); i++) {
        size_t size = PyLong_AsSize_t(PyList_GET_ITEM(all_sizes, i));
        PyObject *text = text_or_raise(args_of, code, size);
        if (text == NULL || PyList_Append(result, text) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(text);
    }
    return result;
}

static PyObject *
on_start(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    uint64_t frame = pyusdt_current_frame(PyThreadState_Get());
    PyObject *pending = PyErr_GetRaisedException();

    (void)module;
    if (count < 1 || (PyObject *)pyusdt_frame_code(frame) != args[0]) {
        PyErr_SetString(PyExc_AssertionError, "pyusdt_frame_code() is not the event's");
        return NULL;
    }
    if (pyusdt_frame_globals(frame) != PyEval_GetGlobals()) {
        PyErr_SetString(PyExc_AssertionError, "pyusdt_frame_globals() is not the frame's");
        return NULL;
    }
    PyObject *result = texts(args[0]);
    if (result == NULL || PyList_Append(kept, result) < 0) {
        Py_XDECREF(result);
        return NULL;
    }
    Py_DECREF(result);
    PyErr_SetRaisedException(pending);
    Py_RETURN_NONE;
}

static PyObject *
sizes(PyObject *module, PyObject *list)
{
    (void)module;
    if (!PyList_CheckExact(list)) {
        PyErr_SetString(PyExc_TypeError, "a list of int");
        return NULL;
    }
    Py_XSETREF(all_sizes, Py_NewRef(list));
    Py_RETURN_NONE;
}

static PyObject *
take(PyObject *module, PyObject *unused)
{
    PyObject *result = kept;
    (void)module;
    (void)unused;
    kept = PyList_New(0);
    return kept == NULL ? NULL : result;
}

static PyObject *
here(PyObject *module, PyObject *size)
{
    PyCodeObject *code = pyusdt_frame_code(pyusdt_current_frame(PyThreadState_Get()));
    (void)module;
    return text_or_raise(args_of, (PyObject *)code, PyLong_AsSize_t(size));
}

static PyObject *
frames(PyObject *module, PyObject *unused)
{
    PyObject *result = PyList_New(0);
    uint64_t frame = pyusdt_current_frame(PyThreadState_Get());

    (void)module;
    (void)unused;
    for (; result != NULL && frame != 0; frame = pyusdt_frame_previous(frame)) {
        PyCodeObject *code = pyusdt_frame_code(frame);
        PyObject *item = NULL;
        if (code != NULL &&
            ((item = Py_BuildValue("(Oi)", code, pyusdt_frame_owner(frame))) == NULL ||
             PyList_Append(result, item) < 0)) {
            Py_CLEAR(result);
        }
        Py_XDECREF(item);
    }
    return result;
}

static PyMethodDef methods[] = {
    {"on_start", (PyCFunction)(void (*)(void))on_start, METH_FASTCALL, NULL},
    {"sizes", sizes, METH_O, NULL},
    {"take", take, METH_NOARGS, NULL},
    {"here", here, METH_O, NULL},
    {"frames", frames, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "argsmodule",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_argsmodule(void);

PyMODINIT_FUNC
PyInit_argsmodule(void)
{
    kept = PyList_New(0);
    all_sizes = PyList_New(0);
    return kept == NULL || all_sizes == NULL ? NULL : PyModule_Create(&definition);
}
