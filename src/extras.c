/*
 * extras.c - probes that are not events of sys.monitoring: garbage collections, by
 * a function in gc.callbacks, which stands there only while a tracer wants it; and
 * imports, by the events of one code object, importlib's _find_and_load_unlocked(),
 * which runs once for each module that is really loaded.
 *
 * What is called in the traced thread keeps the rules of events.c.
 */
#include <Python.h>

#include <stdatomic.h>

#include "clock.h"
#include "compat.h"
#include "extras.h"
#include "frame.h"
#include "python_provider.h"
#include "runs.h"
#include "text.h"
#include "usdt.h"

USDT_DEFINE_SEMAPHORE(pyusdt, GC_START);
USDT_DEFINE_SEMAPHORE(pyusdt, GC_DONE);
USDT_DEFINE_SEMAPHORE(pyusdt, IMPORT_START);
USDT_DEFINE_SEMAPHORE(pyusdt, IMPORT_DONE);

/* ---- the garbage collector ---- */

/* self of the callback: keys of the dict that it gets, and when a collection began.
 * Collections of an interpreter do not nest. */
struct collector {
    PyObject *generation, *collected, *uncollectable; /* str */
    int64_t began;                                    /* ns */
};

static void
collector_free(PyObject *capsule)
{
    struct collector *collector = PyCapsule_GetPointer(capsule, NULL);
    Py_XDECREF(collector->generation);
    Py_XDECREF(collector->collected);
    Py_XDECREF(collector->uncollectable);
    PyMem_Free(collector);
}

static int64_t
number_in(PyObject *info, PyObject *key)
{
    int overflow;
    PyObject *number = PyDict_GetItemWithError(info, key); /* borrowed */
    return number != NULL && PyLong_Check(number) ? PyLong_AsLongLongAndOverflow(number, &overflow)
                                                  : 0;
}

/* (phase, info), as the gc module's documentation has it. */
static __attribute__((noinline, noclone)) PyObject *
on_collection(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    struct collector *collector = PyCapsule_GetPointer(self, NULL);

    if (count != 2 || !PyUnicode_CheckExact(args[0]) || !PyDict_CheckExact(args[1])) {
        Py_RETURN_NONE;
    }
    int generation = (int)number_in(args[1], collector->generation);
    if (PyUnicode_CompareWithASCIIString(args[0], "start") == 0) {
        if (USDT_SEMAPHORE(pyusdt, GC_START) != 0) {
            USDT_PROBE1(pyusdt, GC_START, generation);
        }
        pyusdt_python_fire_GC_START(generation);
        collector->began = pyusdt_nsec_now();
    }
    else if (collector->began != 0) {
        int64_t took = pyusdt_nsec_now() - collector->began;
        int64_t collected = number_in(args[1], collector->collected);
        int64_t uncollectable = number_in(args[1], collector->uncollectable);
        collector->began = 0;
        if (USDT_SEMAPHORE(pyusdt, GC_DONE) != 0) {
            USDT_PROBE4(pyusdt, GC_DONE, generation, collected, uncollectable, took);
        }
        pyusdt_python_fire_GC_DONE((long)(collected + uncollectable));
    }
    Py_RETURN_NONE;
}

static PyMethodDef on_collection_def = {"pyusdt", (PyCFunction)(void (*)(void))on_collection,
                                        METH_FASTCALL, "Fires GC_START and GC_DONE."};

static PyObject *
new_gc_callback(void)
{
    struct collector *collector = PyMem_Calloc(1, sizeof(*collector));
    if (collector == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(collector, NULL, collector_free);
    if (capsule == NULL) {
        PyMem_Free(collector);
        return NULL;
    }
    PyObject *callback = NULL;
    if ((collector->generation = PyUnicode_InternFromString("generation")) != NULL &&
        (collector->collected = PyUnicode_InternFromString("collected")) != NULL &&
        (collector->uncollectable = PyUnicode_InternFromString("uncollectable")) != NULL) {
        callback = PyCFunction_New(&on_collection_def, capsule);
    }
    Py_DECREF(capsule);
    return callback;
}

static int
gc_watch_on(struct pyusdt_state *state)
{
    int err = -1;
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *list = gc != NULL ? PyObject_GetAttrString(gc, "callbacks") : NULL;

    if (list != NULL && !PyList_Check(list)) {
        PyErr_SetString(PyExc_TypeError, "gc.callbacks is no list");
    }
    else if (list != NULL && PyList_Append(list, state->gc_callback) == 0) {
        state->gc_list = Py_NewRef(list);
        err = 0;
    }
    Py_XDECREF(list);
    Py_XDECREF(gc);
    return err;
}

int
pyusdt_gc_watch(struct pyusdt_state *state, bool on)
{
    if (on == (state->gc_list != NULL)) {
        return 0;
    }
    if (on) {
        return gc_watch_on(state);
    }
    int err = 0;
    for (Py_ssize_t i = PyList_GET_SIZE(state->gc_list); i > 0 && err == 0; i--) {
        if (PyList_GET_ITEM(state->gc_list, i - 1) == state->gc_callback) {
            err = PySequence_DelItem(state->gc_list, i - 1);
        }
    }
    Py_CLEAR(state->gc_list);
    return err;
}

/* ---- imports ---- */

/* The module's name: the first argument of the function. */
static const char *
import_name(uint64_t frame, char *buffer, size_t size)
{
    return pyusdt_name(pyusdt_frame_local(frame, 0), buffer, size);
}

static __attribute__((noinline, noclone)) void
fire_import_start(uint64_t frame)
{
    char buffer[PYUSDT_NAME_SIZE];
    const char *module = import_name(frame, buffer, sizeof(buffer));
    if (USDT_SEMAPHORE(pyusdt, IMPORT_START) != 0) {
        USDT_PROBE1(pyusdt, IMPORT_START, module);
    }
    pyusdt_python_fire_IMPORT_FIND_LOAD_START(module);
}

static __attribute__((noinline, noclone)) void
fire_import_done(uint64_t frame, int found, int64_t took)
{
    char buffer[PYUSDT_NAME_SIZE];
    const char *module = import_name(frame, buffer, sizeof(buffer));
    if (USDT_SEMAPHORE(pyusdt, IMPORT_DONE) != 0) {
        USDT_PROBE3(pyusdt, IMPORT_DONE, module, found, took);
    }
    pyusdt_python_fire_IMPORT_FIND_LOAD_DONE(module, found);
}

/* FUNC_SLOW may time the same frame: this is another key. */
#define RUN_OF(frame) ((frame) | 1)

void
pyusdt_import_event(int event, PyObject *code, uint64_t frame)
{
    struct pyusdt_run run;

    if (event == PYUSDT_PROBE_PY_START) {
        fire_import_start(frame);
        pyusdt_runs_begin(RUN_OF(frame), (uint64_t)(uintptr_t)code, true);
    }
    else if ((event == PYUSDT_PROBE_PY_RETURN || event == PYUSDT_PROBE_PY_UNWIND) &&
             pyusdt_runs_end(RUN_OF(frame), (uint64_t)(uintptr_t)code, true, &run)) {
        fire_import_done(frame, event == PYUSDT_PROBE_PY_RETURN,
                         (int64_t)((double)run.ticks * pyusdt_clock_rate()));
    }
}

/* The code of the function above, NULL if the program has replaced it. */
static PyObject *
find_import_code(void)
{
    PyObject *importlib = PyImport_ImportModule("_frozen_importlib");
    PyObject *function = NULL, *code = NULL;

    if (importlib != NULL) {
        function = PyObject_GetAttrString(importlib, "_find_and_load_unlocked");
    }
    if (function != NULL && PyFunction_Check(function)) {
        code = Py_NewRef(PyFunction_GET_CODE(function));
    }
    Py_XDECREF(function);
    Py_XDECREF(importlib);
    PyErr_Clear();
    return code;
}

int
pyusdt_extras_init(struct pyusdt_state *state)
{
    state->import_code = find_import_code();
    state->gc_callback = new_gc_callback();
    return state->gc_callback != NULL ? 0 : -1;
}
