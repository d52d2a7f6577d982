/*
 * monitor.c - sys.monitoring of one interpreter: the tool id, the callbacks
 * and the set of events.
 *
 * Called with that interpreter's GIL held, by the watcher or by the thread that
 * imports pyusdt.  The tool id is held only while something is traced.
 */
#include <Python.h>

#include "compat.h"
#include "state.h"

/* Ids 3 and 4 are nobody's.  The others have a meaning (0 debugger, 1 coverage,
 * 2 profiler, 5 optimizer) and are taken only when those two are in use. */
static const int preferred_ids[] = {4, 3, 5, 1, 0, 2};

#define TOOL_NAME "pyusdt"

/* The bit of an event in sys.monitoring.events.  -1 with an exception set. */
static int
event_bit(PyObject *events, const char *name)
{
    PyObject *bit = PyObject_GetAttrString(events, name);
    if (bit == NULL) {
        return -1;
    }
    int value = (int)PyLong_AsLong(bit);
    Py_DECREF(bit);
    return value == -1 && PyErr_Occurred() ? -1 : value;
}

int
pyusdt_monitor_init(struct pyusdt_state *state)
{
    int err = -1;
    PyObject *monitoring = NULL;
    PyObject *events = NULL;

    state->tool_id = -1;
    monitoring = PySys_GetObject("monitoring"); /* borrowed */
    if (monitoring == NULL) {
        PyErr_SetString(PyExc_ImportError, "pyusdt needs sys.monitoring, which this Python lacks");
        goto end;
    }
    Py_INCREF(monitoring);
    if ((state->use_tool_id = PyObject_GetAttrString(monitoring, "use_tool_id")) == NULL ||
        (state->free_tool_id = PyObject_GetAttrString(monitoring, "free_tool_id")) == NULL ||
        (state->set_events = PyObject_GetAttrString(monitoring, "set_events")) == NULL ||
        (state->register_callback = PyObject_GetAttrString(monitoring, "register_callback")) ==
            NULL ||
        (events = PyObject_GetAttrString(monitoring, "events")) == NULL) {
        goto end;
    }

    static const char *const event_names[] = {
#define PROBE(name, event, shape, about) #event,
        PYUSDT_PROBES(PROBE)
#undef PROBE
    };
    /* C_RETURN and C_RAISE can be set together with each other and CALL only;
     * an event without a callback costs next to nothing. */
    int c_return = event_bit(events, "C_RETURN");
    int c_raise = event_bit(events, "C_RAISE");
    int call = event_bit(events, "CALL");
    if (c_return < 0 || c_raise < 0 || call < 0) {
        goto end;
    }
    for (int i = 0; i < PYUSDT_PROBE_COUNT; i++) {
        int event = event_bit(events, event_names[i]);
        if (event < 0) {
            goto end;
        }
        state->event[i] = event;
        state->needs[i] = event & (c_return | c_raise) ? c_return | c_raise | call : event;
        state->callback[i] = PyCFunction_New(&pyusdt_callbacks[i], NULL);
        if (state->callback[i] == NULL) {
            goto end;
        }
    }
    err = 0;
end:
    Py_XDECREF(events);
    Py_XDECREF(monitoring);
    return err;
}

/* Takes the first tool id that is free.  -1 with an exception set if none is. */
static int
take_tool_id(struct pyusdt_state *state)
{
    for (size_t i = 0; i < sizeof(preferred_ids) / sizeof(preferred_ids[0]); i++) {
        PyObject *done =
            PyObject_CallFunction(state->use_tool_id, "is", preferred_ids[i], TOOL_NAME);
        if (done != NULL) {
            Py_DECREF(done);
            state->tool_id = preferred_ids[i];
            return 0;
        }
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return -1;
        }
        PyErr_Clear();
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "every sys.monitoring tool id is taken; stop a debugger, profiler or "
                    "coverage tool to trace this process");
    return -1;
}

static int
register_callback(struct pyusdt_state *state, int probe, PyObject *callback)
{
    PyObject *old = PyObject_CallFunction(state->register_callback, "iiO", state->tool_id,
                                          state->event[probe], callback);
    Py_XDECREF(old);
    return old == NULL ? -1 : 0;
}

static int
set_events(struct pyusdt_state *state, int events)
{
    PyObject *done = PyObject_CallFunction(state->set_events, "ii", state->tool_id, events);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
apply(struct pyusdt_state *state, pyusdt_set wanted)
{
    int events = 0;

    if (wanted != 0 && state->tool_id < 0 && take_tool_id(state) < 0) {
        return -1;
    }
    for (int i = 0; i < PYUSDT_PROBE_COUNT; i++) {
        if (wanted & ((pyusdt_set)1 << i)) {
            events |= state->needs[i];
            if (register_callback(state, i, state->callback[i]) < 0) {
                return -1;
            }
        }
    }
    if (set_events(state, events) < 0) {
        return -1;
    }
    for (int i = 0; i < PYUSDT_PROBE_COUNT; i++) {
        pyusdt_set dropped = state->registered & ~wanted;
        if ((dropped & ((pyusdt_set)1 << i)) && register_callback(state, i, Py_None) < 0) {
            return -1;
        }
    }
    if (wanted == 0) {
        PyObject *done = PyObject_CallFunction(state->free_tool_id, "i", state->tool_id);
        if (done == NULL) {
            return -1;
        }
        Py_DECREF(done);
        state->tool_id = -1;
    }
    return 0;
}

/* One line on stderr, once until things work again; clears the exception.
 * Written past sys.stderr, which may be a user's object. */
static void
complain(struct pyusdt_state *state)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *text = error != NULL ? PyObject_Str(error) : NULL;
    const char *message = text != NULL ? PyUnicode_AsUTF8(text) : NULL;

    /* An interpreter that ends has taken its tools away. */
    if (!state->complained && !pyusdt_is_finalizing()) {
        fprintf(stderr, "pyusdt: cannot trace: %s\n", message != NULL ? message : "unknown error");
        state->complained = true;
    }
    Py_XDECREF(text);
    Py_XDECREF(error);
    PyErr_Clear();
}

/* After a failure: gives back what can be given back, so that the next look
 * begins anew.  Errors are expected here (the id may be gone). */
static void
reset(struct pyusdt_state *state)
{
    if (state->tool_id >= 0) {
        if (set_events(state, 0) < 0) {
            PyErr_Clear();
        }
        PyObject *done = PyObject_CallFunction(state->free_tool_id, "i", state->tool_id);
        Py_XDECREF(done);
        PyErr_Clear();
    }
    state->tool_id = -1;
    state->registered = 0;
}

int
pyusdt_monitor_apply(struct pyusdt_state *state, pyusdt_set wanted)
{
    int err = -1;
    PyObject *pending = PyErr_GetRaisedException();
    bool was_on = state->registered != 0;

    if (wanted != state->registered) {
        if (apply(state, wanted) < 0) {
            complain(state);
            reset(state);
            goto end;
        }
        state->registered = wanted;
        state->complained = false;
        if (pyusdt_config()->verbose && was_on != (wanted != 0)) {
            fprintf(stderr, "pyusdt: monitoring %s\n", wanted != 0 ? "enabled" : "disabled");
        }
    }
    err = 0;
end:
    PyErr_SetRaisedException(pending);
    return err;
}
