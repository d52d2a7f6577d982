/*
 * module.c - what Python sees: the module pyusdt.libpyusdt, its life in each
 * interpreter, at fork and at exit.
 *
 * Importing it starts nothing; start() does.  All functions run with the GIL of
 * their interpreter held.
 */
#include <Python.h>

#include <stdio.h>
#include <string.h>

#include "compat.h"
#include "control.h"
#include "extras.h"
#include "layout.h"
#include "marks.h"
#include "probes.h"
#include "python_provider.h"
#include "scope.h"
#include "state.h"

/* Interpreter-wide: a second module object in the same interpreter (a reload)
 * must not trace everything twice. */
#define STARTED_KEY "pyusdt.started"

static struct pyusdt_state *
state_of(PyObject *module)
{
    return PyModule_GetState(module);
}

/* ---- fork and exit ---- */

static PyObject *
before_fork(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    pyusdt_watcher_before_fork();
    Py_RETURN_NONE;
}

static PyObject *
after_fork_parent(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    pyusdt_watcher_after_fork_parent();
    Py_RETURN_NONE;
}

static PyObject *
after_fork_child(PyObject *module, PyObject *unused)
{
    (void)unused;
    pyusdt_watcher_after_fork_child(state_of(module));
    Py_RETURN_NONE;
}

/* Registered at import, so it runs after the program's own exit functions.
 * Events stay registered: the program's last code is traced, too. */
static PyObject *
at_exit(PyObject *module, PyObject *unused)
{
    struct pyusdt_state *state = state_of(module);
    (void)unused;
    if (state->listed) {
        pyusdt_watcher_leave(state);
        state->listed = false;
    }
    Py_RETURN_NONE;
}

static PyMethodDef before_fork_def = {"before_fork", before_fork, METH_NOARGS, NULL};
static PyMethodDef after_fork_parent_def = {"after_fork_parent", after_fork_parent, METH_NOARGS,
                                            NULL};
static PyMethodDef after_fork_child_def = {"after_fork_child", after_fork_child, METH_NOARGS, NULL};
static PyMethodDef at_exit_def = {"at_exit", at_exit, METH_NOARGS, NULL};

/* Adds a new C function bound to the module to a dict.  0 or -1. */
static int
add_function(PyObject *dict, const char *key, PyMethodDef *def, PyObject *module)
{
    PyObject *function = PyCFunction_New(def, module);
    if (function == NULL) {
        return -1;
    }
    int err = PyDict_SetItemString(dict, key, function);
    Py_DECREF(function);
    return err;
}

static int
register_hooks(PyObject *module)
{
    int err = -1;
    PyObject *posix = NULL, *at_fork = NULL, *nothing = NULL, *hooks = NULL, *done = NULL;
    PyObject *atexit_module = NULL, *exit_hook = NULL;

    if ((atexit_module = PyImport_ImportModule("atexit")) == NULL ||
        (exit_hook = PyCFunction_New(&at_exit_def, module)) == NULL ||
        (done = PyObject_CallMethod(atexit_module, "register", "O", exit_hook)) == NULL) {
        goto end;
    }
    Py_CLEAR(done);
    if ((posix = PyImport_ImportModule("posix")) == NULL ||
        (at_fork = PyObject_GetAttrString(posix, "register_at_fork")) == NULL ||
        (nothing = PyTuple_New(0)) == NULL || (hooks = PyDict_New()) == NULL ||
        add_function(hooks, "before", &before_fork_def, module) < 0 ||
        add_function(hooks, "after_in_parent", &after_fork_parent_def, module) < 0 ||
        add_function(hooks, "after_in_child", &after_fork_child_def, module) < 0 ||
        (done = PyObject_Call(at_fork, nothing, hooks)) == NULL) {
        goto end;
    }
    err = 0;
end:
    Py_XDECREF(done);
    Py_XDECREF(hooks);
    Py_XDECREF(nothing);
    Py_XDECREF(at_fork);
    Py_XDECREF(posix);
    Py_XDECREF(exit_hook);
    Py_XDECREF(atexit_module);
    return err;
}

/* ---- start ---- */

/* 1 for the first call in an interpreter, of whichever thread, else 0.  -1 with an
 * exception set. */
static int
mark_started(PyObject *interp_dict)
{
    int first = -1;
    PyObject *key = PyUnicode_FromString(STARTED_KEY);
    PyObject *mark = PyList_New(0);

    if (key != NULL && mark != NULL) {
        PyObject *found = PyDict_SetDefault(interp_dict, key, mark); /* borrowed */
        if (found != NULL) {
            first = found == mark;
        }
    }
    Py_XDECREF(mark);
    Py_XDECREF(key);
    return first;
}

int
pyusdt_start(PyObject *module)
{
    struct pyusdt_state *state = state_of(module);
    PyObject *interp_dict = PyInterpreterState_GetDict(state->interp); /* borrowed */

    if (interp_dict == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "pyusdt: this interpreter has no dict");
        return -1;
    }
    if (pyusdt_config()->disable) {
        return 0;
    }
    int first = mark_started(interp_dict);
    if (first <= 0) {
        return first;
    }
    if (register_hooks(module) < 0) {
        return -1;
    }
    pyusdt_python_load();
    if (pyusdt_config()->verbose) {
        fprintf(stderr, "pyusdt: ready (monitoring will enable when tracer attaches)\n");
    }
    /* A tracer that is there already is served from here on. */
    pyusdt_set raised = pyusdt_raised();
    pyusdt_prepare(raised);
    pyusdt_dispatch_more(raised, pyusdt_scope_filters());
    (void)pyusdt_monitor_apply(state, pyusdt_served(raised));
    state->listed = true;
    pyusdt_watcher_join(state);
    return 0;
}

void
pyusdt_apply_settings(PyObject *module)
{
    struct pyusdt_state *state = state_of(module);
    pyusdt_dispatch_more(state->registered, pyusdt_scope_filters());
    (void)pyusdt_monitor_apply(state, state->registered);
}

static PyObject *
start(PyObject *module, PyObject *unused)
{
    (void)unused;
    if (pyusdt_start(module) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- what can be asked ---- */

static PyObject *
in_main_interpreter(PyObject *module, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(state_of(module)->interp == PyInterpreterState_Main());
}

static PyObject *
tracing(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return Py_BuildValue("(kk)", (unsigned long)pyusdt_raised(), (unsigned long)pyusdt_armed());
}

static PyObject *
enabled(PyObject *module, PyObject *name)
{
    (void)module;
    if (!PyUnicode_Check(name)) {
        return PyErr_Format(PyExc_TypeError, "enabled: give the name of a probe, not a %s",
                            Py_TYPE(name)->tp_name);
    }
#define PROBE(probe, event, shape, about)                                                          \
    if (PyUnicode_CompareWithASCIIString(name, #probe) == 0) {                                     \
        return PyBool_FromLong((pyusdt_raised() & PYUSDT_BIT(probe)) != 0);                        \
    }
    PYUSDT_PROBES(PROBE)
#undef PROBE
    return PyErr_Format(PyExc_ValueError, "there is no probe %R; see pyusdt.probes()", name);
}

static PyObject *
probes(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return Py_BuildValue("["
#define PROBE(name, event, shape, about) "(ssss)"
                         PYUSDT_PROBES(PROBE)
#undef PROBE
                             "]"
#define PROBE(name, event, shape, about) , #name, #event, #shape, about
                         PYUSDT_PROBES(PROBE)
#undef PROBE
    );
}

/* Adds (index, name, type, about) to a list, in place of an item with that index.
 * 0 or -1. */
static int
add_argument(PyObject *list, int index, const char *name, const char *type, const char *about)
{
    PyObject *item = Py_BuildValue("(isss)", index, name, type, about);
    if (item == NULL) {
        return -1;
    }
    int err = index < PyList_GET_SIZE(list) ? PyList_SetItem(list, index, Py_NewRef(item))
                                            : PyList_Append(list, item);
    Py_DECREF(item);
    return err;
}

/* Shapes whose list is all that the probe has; the others begin with the usual one. */
#define OWN_LIST_ARGS 0
#define OWN_LIST_SLOW 0
#define OWN_LIST_GC_START 1
#define OWN_LIST_GC_DONE 1
#define OWN_LIST_IMPORT_START 1
#define OWN_LIST_IMPORT_DONE 1
#define OWN_LIST_MARK 1
#define OWN_LIST_SPAN 1
#define PYUSDT_ARGUMENTS_ARGS(ARGUMENT)

static PyObject *
arguments(PyObject *module, PyObject *args)
{
    const char *probe = "PY_START";
    PyObject *list = NULL;

    (void)module;
    if (!PyArg_ParseTuple(args, "|s:arguments", &probe) || (list = PyList_New(0)) == NULL) {
        return NULL;
    }
    bool known = false;
    bool usual = true;
#define PROBE(name, event, shape, about) known |= strcmp(probe, #name) == 0;
    PYUSDT_EVENT_PROBES(PROBE)
#undef PROBE
#define PROBE(name, event, shape, about)                                                           \
    if (strcmp(probe, #name) == 0) {                                                               \
        known = true;                                                                              \
        usual = !OWN_LIST_##shape;                                                                 \
    }
    PYUSDT_OTHER_PROBES(PROBE)
#undef PROBE
    if (!known) {
        PyErr_Format(PyExc_ValueError, "there is no probe '%s'; see pyusdt.probes()", probe);
        goto fail;
    }
#define ARGUMENT(index, name, type, about)                                                         \
    if (add_argument(list, index, #name, type, about) < 0) {                                       \
        goto fail;                                                                                 \
    }
    if (usual) {
        PYUSDT_ARGUMENTS(ARGUMENT)
    }
#define PROBE(name, event, shape, about)                                                           \
    if (strcmp(probe, #name) == 0) {                                                               \
        PYUSDT_ARGUMENTS_##shape(ARGUMENT)                                                         \
    }
    PYUSDT_OTHER_PROBES(PROBE)
#undef PROBE
#undef ARGUMENT
    return list;
fail:
    Py_DECREF(list);
    return NULL;
}

static PyMethodDef module_methods[] = {
    {"start", start, METH_NOARGS,
     "start()\n--\n\nBegin to serve tracers in this interpreter.  Once is enough."},
    {"in_main_interpreter", in_main_interpreter, METH_NOARGS,
     "in_main_interpreter()\n--\n\nFalse in a subinterpreter."},
    {"tracing", tracing, METH_NOARGS,
     "tracing()\n--\n\n(raised, armed): two sets of probes as ints, bit i = probes()[i]: those\n"
     "whose semaphore a tracer has raised, those whose breakpoint is in place."},
    {"probes", probes, METH_NOARGS,
     "probes()\n--\n\nThe table of probes: [(name, event, shape, about), ...]."},
    {"arguments", arguments, METH_VARARGS,
     "arguments(probe='PY_START')\n--\n\nA probe's arguments: [(index, name, C type, about), "
     "...]."},
    {"mark", (PyCFunction)(void (*)(void))pyusdt_mark, METH_FASTCALL | METH_KEYWORDS,
     "mark(name, value=...)\n--\n\n"
     "Fires the probe MARK(name, text of the value), if a tracer is attached to it.  The name\n"
     "is a str.  The text is \"\" without a value; no code of the program is run to make it."},
    {"enabled", enabled, METH_O,
     "enabled(probe)\n--\n\nTrue while a tracer is attached to that probe of this process."},
    {"configure", (PyCFunction)(void (*)(void))pyusdt_configure, METH_VARARGS | METH_KEYWORDS,
     "configure(*, check_msec=None, value_max=None, slow_usec=None, include=None, exclude=None)\n"
     "--\n\n"
     "Change settings of this process; None leaves one as it is.  Returns all, as a dict.\n"
     "ValueError for a bad value: nothing is changed then."},
    {"run_file", pyusdt_run_file, METH_O,
     "run_file(path)\n--\n\nRun a script in sys.modules['__main__'] as `python path` does.\n"
     "0, or 1 after its traceback was printed; OSError if it cannot be opened."},
    {"run_command", pyusdt_run_command, METH_O,
     "run_command(source)\n--\n\nThe same as `python -c source`."},
    {"run_stdin", pyusdt_run_stdin, METH_NOARGS, "run_stdin()\n--\n\nThe same as `python -`."},
    {"run_module", pyusdt_run_module, METH_VARARGS,
     "run_module(name, alter_argv)\n--\n\nThe same as `python -m name`; with name '__main__' and\n"
     "alter_argv False, the directory or zip file in sys.path[0]."},
    {NULL, NULL, 0, NULL},
};

/* ---- the module ---- */

static int
module_exec(PyObject *module)
{
    struct pyusdt_state *state = state_of(module);
    state->interp = PyInterpreterState_Get();
    pyusdt_config_load();
    pyusdt_layout_init();
    PyObject *span = pyusdt_span_type();
    int err = PyModule_AddObjectRef(module, "span", span); /* NULL: the exception is set */
    Py_XDECREF(span);
    return err < 0 ? -1 : pyusdt_monitor_init(state);
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct pyusdt_state *state = state_of(module);
    Py_VISIT(state->use_tool_id);
    Py_VISIT(state->free_tool_id);
    Py_VISIT(state->register_callback);
    Py_VISIT(state->set_events);
    Py_VISIT(state->set_local_events);
    Py_VISIT(state->restart_events);
    Py_VISIT(state->scope_object);
    Py_VISIT(state->import_code);
    Py_VISIT(state->gc_callback);
    Py_VISIT(state->gc_list);
    for (int i = 0; i < PYUSDT_EVENT_COUNT; i++) {
        Py_VISIT(state->callback[i]);
    }
    return 0;
}

static int
module_clear(PyObject *module)
{
    struct pyusdt_state *state = state_of(module);
    Py_CLEAR(state->use_tool_id);
    Py_CLEAR(state->free_tool_id);
    Py_CLEAR(state->register_callback);
    Py_CLEAR(state->set_events);
    Py_CLEAR(state->set_local_events);
    Py_CLEAR(state->restart_events);
    Py_CLEAR(state->import_code);
    Py_CLEAR(state->gc_callback);
    Py_CLEAR(state->gc_list);
    for (int i = 0; i < PYUSDT_EVENT_COUNT; i++) {
        Py_CLEAR(state->callback[i]);
    }
    /* The watcher does not know of the interpreter any more, or never did. */
    state->scope = NULL;
    Py_CLEAR(state->scope_object);
    return 0;
}

/* The watcher left at exit; if the exit functions were not run, now. */
static void
module_free(void *module)
{
    struct pyusdt_state *state = state_of(module);
    if (state != NULL) {
        if (state->listed) {
            pyusdt_watcher_leave(state);
            state->listed = false;
        }
        (void)module_clear(module);
    }
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    PYUSDT_SLOTS{0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "libpyusdt",
    .m_doc = "USDT probes fed by sys.monitoring.  Use it through the package pyusdt.",
    .m_size = sizeof(struct pyusdt_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit_libpyusdt(void);

PyMODINIT_FUNC
PyInit_libpyusdt(void)
{
    return PyModuleDef_Init(&module_def);
}
