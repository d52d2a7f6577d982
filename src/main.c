/*
 * main.c - runs a program the way the interpreter's own main does.
 *
 * It is C so that the parser, the handling of SystemExit and KeyboardInterrupt
 * and the printing of tracebacks are the interpreter's, and so that the first
 * event a tracer sees is the program's own.  While the program runs, the frames
 * of the runner below it are hidden: no stack dump, profiler or recursion limit
 * meets them.  Called once, by the main thread.
 *
 * Each function first serves a tracer that is there already.  The program's end
 * is the end of the process, with python's exit code.  Only if python is to
 * show its prompt then (-i, PYTHONINSPECT) does the function return: 0, or 1
 * after an unhandled exception was printed.
 */
#include <Python.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compat.h"
#include "state.h"

/* ---- begin and end ---- */

/* Keeps for ever what the frames of this thread refer to: once they are hidden, the
 * garbage collector does not see that they do. */
static int
keep_frames(void)
{
    PyFrameObject *frame = PyEval_GetFrame(); /* borrowed */

    Py_XINCREF(frame);
    while (frame != NULL) {
        PyObject *globals = PyFrame_GetGlobals(frame);
        PyObject *locals = PyFrame_GetLocals(frame);
        PyObject *kept = PyDict_Copy(globals);
        PyObject *more = locals != NULL ? PyDict_New() : NULL;
        int err = kept == NULL || more == NULL ? -1 : PyDict_Update(more, locals);
        Py_XDECREF(globals);
        Py_XDECREF(locals);
        if (err < 0) {
            Py_XDECREF(kept);
            Py_XDECREF(more);
            Py_DECREF(frame);
            return -1;
        }
        (void)PyFrame_GetCode(frame); /* kept, as are the two dicts */
        Py_SETREF(frame, PyFrame_GetBack(frame));
    }
    return 0;
}

/* Hides the runner and serves tracers.  Gives what program_end() takes back. */
static int
program_begin(PyObject *module, struct pyusdt_calls *runner)
{
    PyThreadState *ts = PyThreadState_Get();

    if (PYUSDT_FRAMES_DEFER_REFERENCES && keep_frames() < 0) {
        return -1;
    }
    *runner = pyusdt_calls_now(ts);
    pyusdt_calls_set(ts, pyusdt_calls_none(ts));
    if (pyusdt_start(module) < 0) {
        pyusdt_calls_set(ts, *runner);
        return -1;
    }
    return 0;
}

/* One of sys.flags; the program may have broken them. */
static bool
flag(const char *name)
{
    PyObject *flags = PySys_GetObject("flags"); /* borrowed */
    PyObject *value = flags != NULL ? PyObject_GetAttrString(flags, name) : NULL;
    bool on = value != NULL && PyObject_IsTrue(value) > 0;

    Py_XDECREF(value);
    PyErr_Clear();
    return on;
}

/* The program itself may set PYTHONINSPECT, so this is asked at its end. */
static bool
prompt_follows(void)
{
    const char *inspect = flag("ignore_environment") ? NULL : getenv("PYTHONINSPECT");

    if (!flag("inspect") && (inspect == NULL || *inspect == '\0')) {
        return false;
    }
    return flag("interactive") || isatty(STDIN_FILENO);
}

/* After an unhandled KeyboardInterrupt python dies of SIGINT, so that a shell
 * knows. */
static void
exit_interrupted(void)
{
    (void)Py_FinalizeEx();
    (void)signal(SIGINT, SIG_DFL);
    (void)kill(getpid(), SIGINT);
    exit(128 + SIGINT);
}

static PyObject *
program_end(struct pyusdt_calls runner, bool failed)
{
    PyObject *last = failed ? PySys_GetObject("last_exc") : NULL; /* borrowed */

    if (!prompt_follows()) {
        if (last != NULL && PYUSDT_IS_INTERRUPT(last)) {
            exit_interrupted();
        }
        Py_Exit(failed ? 1 : 0);
    }
    pyusdt_calls_set(PyThreadState_Get(), runner);
    return PyLong_FromLong(failed ? 1 : 0);
}

/* The audit event that the interpreter's main raises for this kind of program.
 * A hook that objects is told of, and the program does not run. */
static bool
permitted(const char *event, PyObject *what)
{
    if ((what != NULL ? PySys_Audit(event, "O", what) : PySys_Audit(event, NULL)) == 0) {
        return true;
    }
    PyErr_Print();
    return false;
}

static PyCompilerFlags
plain_flags(void)
{
    return (PyCompilerFlags){.cf_flags = 0, .cf_feature_version = PY_MINOR_VERSION};
}

/* ---- the four kinds of program ---- */

PyObject *
pyusdt_run_file(PyObject *module, PyObject *path)
{
    PyCompilerFlags flags = plain_flags();
    PyObject *status = NULL, *name = NULL;
    FILE *file = NULL;
    struct pyusdt_calls runner;

    if (!PyUnicode_FSConverter(path, &name)) {
        return NULL;
    }
    file = fopen(PyBytes_AS_STRING(name), "rbe");
    if (file == NULL) {
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
        goto end;
    }
    if (program_begin(module, &runner) < 0) {
        goto end;
    }
    bool failed = true;
    if (permitted("cpython.run_file", path)) {
        failed = PyRun_AnyFileExFlags(file, PyBytes_AS_STRING(name), 1, &flags) != 0;
        file = NULL; /* it was closed before the first line ran */
    }
    status = program_end(runner, failed);
end:
    if (file != NULL) {
        fclose(file);
    }
    Py_DECREF(name);
    return status;
}

PyObject *
pyusdt_run_stdin(PyObject *module, PyObject *unused)
{
    PyCompilerFlags flags = plain_flags();
    struct pyusdt_calls runner;

    (void)unused;
    if (program_begin(module, &runner) < 0) {
        return NULL;
    }
    bool failed = !permitted("cpython.run_stdin", NULL) ||
                  PyRun_AnyFileExFlags(stdin, "<stdin>", 0, &flags) != 0;
    return program_end(runner, failed);
}

/* Tracebacks show the lines of a command.  linecache gets them after compiling,
 * so that a SyntaxWarning is shown without them as in python. */
static void
show_source(PyObject *code, PyObject *source)
{
    PyObject *file_name = ((PyCodeObject *)code)->co_filename;
    PyObject *linecache = PyImport_ImportModule("linecache");

    if (linecache != NULL) {
        /* The first releases of 3.13 took the file name for the code. */
        bool by_code = PyObject_HasAttrString(linecache, "_interactive_cache");
        Py_XDECREF(PyObject_CallMethod(linecache, "_register_code", "OOO",
                                       by_code ? code : file_name, source, file_name));
        Py_DECREF(linecache);
    }
    PyErr_Clear();
}

/* Runs a command in __main__.  False with an exception set. */
static bool
run_source(PyObject *source)
{
    PyCompilerFlags flags = plain_flags();
    PyObject *bytes = NULL, *code = NULL, *result = NULL;
    PyObject *main = PyImport_AddModule("__main__"); /* borrowed */

    flags.cf_flags |= PyCF_IGNORE_COOKIE;
    bytes = PyUnicode_AsUTF8String(source);
    if (bytes == NULL) {
        PySys_WriteStderr("Unable to decode the command from the command line:\n");
        goto end;
    }
    code = Py_CompileStringExFlags(PyBytes_AS_STRING(bytes), "<string>", Py_file_input, &flags, -1);
    if (code == NULL || main == NULL) {
        goto end;
    }
    if (PYUSDT_COMMANDS_HAVE_SOURCE) {
        show_source(code, source);
    }
    if (PySys_Audit("exec", "O", code) == 0) {
        PyObject *globals = PyModule_GetDict(main); /* borrowed */
        result = PyEval_EvalCode(code, globals, globals);
    }
end:
    Py_XDECREF(result);
    Py_XDECREF(code);
    Py_XDECREF(bytes);
    return result != NULL;
}

PyObject *
pyusdt_run_command(PyObject *module, PyObject *source)
{
    struct pyusdt_calls runner;

    if (program_begin(module, &runner) < 0) {
        return NULL;
    }
    bool failed = true;
    if (permitted("cpython.run_command", source)) {
        failed = !run_source(source);
        if (failed) {
            PyErr_Print();
        }
    }
    return program_end(runner, failed);
}

PyObject *
pyusdt_run_module(PyObject *module, PyObject *args)
{
    PyObject *name, *alter_argv;
    PyObject *status = NULL, *runpy = NULL, *run = NULL;
    struct pyusdt_calls runner;

    if (!PyArg_ParseTuple(args, "UO!:run_module", &name, &PyBool_Type, &alter_argv) ||
        (runpy = PyImport_ImportModule("runpy")) == NULL ||
        (run = PyObject_GetAttrString(runpy, "_run_module_as_main")) == NULL ||
        program_begin(module, &runner) < 0) {
        goto end;
    }
    bool failed = true;
    if (permitted("cpython.run_module", name)) {
        PyObject *result = PyObject_CallFunctionObjArgs(run, name, alter_argv, NULL);
        failed = result == NULL;
        if (failed) {
            PyErr_Print();
        }
        Py_XDECREF(result); /* the program's globals: they must not outlive it */
    }
    status = program_end(runner, failed);
end:
    Py_XDECREF(run);
    Py_XDECREF(runpy);
    return status;
}
