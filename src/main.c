/*
 * main.c - runs a program the way the interpreter's own main does.
 *
 * It is C so that no Python frame of ours is in the program's tracebacks, so
 * that the first event a tracer sees is the program's own, and so that the
 * parser, the handling of SystemExit and KeyboardInterrupt and the printing of
 * tracebacks are the interpreter's.  Called once, by the main thread.
 *
 * Each function first serves a tracer that is there already.  The result is 0,
 * or 1 after an unhandled exception was printed; SystemExit ends the process
 * here, as it does in python.
 */
#include <Python.h>

#include <errno.h>
#include <stdio.h>

#include "state.h"

static PyCompilerFlags
plain_flags(void)
{
    return (PyCompilerFlags){.cf_flags = 0, .cf_feature_version = PY_MINOR_VERSION};
}

/* The runner's own frames do not count: the program can recurse as deep as
 * under plain python.  Gives the number to take back with end_program(). */
static int
begin_program(PyObject *module, int *hidden)
{
    if (pyusdt_start(module) < 0) {
        return -1;
    }
    PyThreadState *ts = PyThreadState_Get();
    *hidden = ts->py_recursion_limit - ts->py_recursion_remaining;
    ts->py_recursion_remaining += *hidden;
    return 0;
}

static PyObject *
end_program(int hidden, bool failed)
{
    PyThreadState_Get()->py_recursion_remaining -= hidden;
    return PyLong_FromLong(failed ? 1 : 0);
}

PyObject *
pyusdt_run_file(PyObject *module, PyObject *path)
{
    PyCompilerFlags flags = plain_flags();
    PyObject *name = NULL;
    int hidden = 0;

    if (!PyUnicode_FSConverter(path, &name)) {
        return NULL;
    }
    FILE *file = fopen(PyBytes_AS_STRING(name), "rbe");
    if (file == NULL) {
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
        Py_DECREF(name);
        return NULL;
    }
    if (begin_program(module, &hidden) < 0) {
        fclose(file);
        Py_DECREF(name);
        return NULL;
    }
    int err = PyRun_AnyFileExFlags(file, PyBytes_AS_STRING(name), 1, &flags);
    Py_DECREF(name);
    return end_program(hidden, err != 0);
}

PyObject *
pyusdt_run_stdin(PyObject *module, PyObject *unused)
{
    PyCompilerFlags flags = plain_flags();
    int hidden = 0;

    (void)unused;
    if (begin_program(module, &hidden) < 0) {
        return NULL;
    }
    return end_program(hidden, PyRun_AnyFileExFlags(stdin, "<stdin>", 0, &flags) != 0);
}

PyObject *
pyusdt_run_command(PyObject *module, PyObject *source)
{
    PyCompilerFlags flags = plain_flags();
    int hidden = 0;
    PyObject *bytes = PyUnicode_AsEncodedString(source, "utf-8", "surrogateescape");

    if (bytes == NULL || begin_program(module, &hidden) < 0) {
        Py_XDECREF(bytes);
        return NULL;
    }
    flags.cf_flags |= PyCF_IGNORE_COOKIE;
    int err = PyRun_SimpleStringFlags(PyBytes_AS_STRING(bytes), &flags);
    Py_DECREF(bytes);
    return end_program(hidden, err != 0);
}

PyObject *
pyusdt_run_module(PyObject *module, PyObject *args)
{
    PyObject *name, *alter_argv;
    PyObject *runpy = NULL, *run = NULL, *result = NULL;
    PyObject *status = NULL;
    int hidden = 0;

    if (!PyArg_ParseTuple(args, "UO!:run_module", &name, &PyBool_Type, &alter_argv) ||
        (runpy = PyImport_ImportModule("runpy")) == NULL ||
        (run = PyObject_GetAttrString(runpy, "_run_module_as_main")) == NULL ||
        begin_program(module, &hidden) < 0) {
        goto end;
    }
    result = PyObject_CallFunctionObjArgs(run, name, alter_argv, NULL);
    if (result == NULL) {
        PyErr_Print();
    }
    status = end_program(hidden, result == NULL);
end:
    Py_XDECREF(result);
    Py_XDECREF(run);
    Py_XDECREF(runpy);
    return status;
}
