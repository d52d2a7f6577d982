/*
 * textmodule.c - text.c for the tests, as a Python module: text(value, size)
 * and name(str, size) give the text as a str.  AssertionError when the call has
 * broken a promise of text.h.
 *
 * The tests build it for the interpreter under test (conftest.py); nobody
 * installs it.  The GIL is held.
 */
#include "text_check.h"

static PyObject *
call(text_function function, PyObject *args)
{
    PyObject *value;
    Py_ssize_t size;

    if (!PyArg_ParseTuple(args, "On", &value, &size)) {
        return NULL;
    }
    if (size < 8) {
        PyErr_SetString(PyExc_ValueError, "text.h asks for a buffer of 8 bytes or more");
        return NULL;
    }
    return text_or_raise(function, value, (size_t)size);
}

static PyObject *
text(PyObject *module, PyObject *args)
{
    (void)module;
    return call(text_of, args);
}

static PyObject *
name(PyObject *module, PyObject *args)
{
    (void)module;
    return call(pyusdt_name, args);
}

static PyMethodDef methods[] = {
    {"text", text, METH_VARARGS, NULL},
    {"name", name, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "textmodule",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_textmodule(void);

PyMODINIT_FUNC
PyInit_textmodule(void)
{
    return PyModuleDef_Init(&definition);
}
