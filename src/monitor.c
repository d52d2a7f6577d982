/*
 * monitor.c - sys.monitoring of one interpreter: the tool id, the callbacks
 * and the set of events; and which events each probe needs.
 *
 * Called with that interpreter's GIL held, by the watcher or by the thread that
 * imports pyusdt.  The tool id is held only while something is traced.
 */
#include <Python.h>

#include <stdatomic.h>

#include "compat.h"
#include "extras.h"
#include "scope.h"
#include "slow.h"
#include "state.h"

/* Ids 3 and 4 are nobody's.  The others have a meaning (0 debugger, 1 coverage,
 * 2 profiler, 5 optimizer) and are taken only when those two are in use. */
static const int preferred_ids[] = {4, 3, 5, 1, 0, 2};

#define TOOL_NAME "pyusdt"

/* The events that each probe is fed by, besides those of the import system's code.
 * (IMPORTS: an exception cannot be noticed in one function only.) */
#define FEEDS_PY_START PYUSDT_BIT(PY_START)
#define FEEDS_RUNS PYUSDT_RUNS
#define FEEDS_IMPORTS PYUSDT_BIT(PY_UNWIND)
#define FEEDS_GC 0
#define FEEDS_MARKS 0

static const pyusdt_set feeds[PYUSDT_SET_SIZE] = {
#define PROBE(name, event, shape, about) PYUSDT_BIT(name),
    PYUSDT_EVENT_PROBES(PROBE)
#undef PROBE
/* clang-format off */
#define PROBE(name, event, shape, about) FEEDS_##event,
    PYUSDT_OTHER_PROBES(PROBE)
#undef PROBE
#define PYTHON(id) [PYUSDT_PROBE_COUNT + PYUSDT_PYTHON_##id]
    PYTHON(FUNCTION_ENTRY) = PYUSDT_STARTS,
    PYTHON(FUNCTION_RETURN) = PYUSDT_ENDS,
    PYTHON(LINE) = PYUSDT_BIT(LINE),
    PYTHON(GC_START) = FEEDS_GC,
    PYTHON(GC_DONE) = FEEDS_GC,
    PYTHON(IMPORT_FIND_LOAD_START) = FEEDS_IMPORTS,
    PYTHON(IMPORT_FIND_LOAD_DONE) = FEEDS_IMPORTS,
#undef PYTHON
    /* clang-format on */
};

pyusdt_set
pyusdt_served(pyusdt_set probes)
{
    pyusdt_set served = PYUSDT_GC | PYUSDT_IMPORTS;
    for (int i = 0; i < PYUSDT_SET_SIZE; i++) {
        served |= feeds[i] != 0 ? (pyusdt_set)1 << i : 0;
    }
    return probes & served;
}

pyusdt_set
pyusdt_events_of(pyusdt_set probes)
{
    pyusdt_set events = 0;
    for (int i = 0; i < PYUSDT_SET_SIZE; i++) {
        events |= probes & ((pyusdt_set)1 << i) ? feeds[i] : 0;
    }
    return events;
}

/* The events that dispatch.c has to see: those that feed another probe than their
 * own, and all when functions are filtered. */
static pyusdt_set
dispatched(pyusdt_set probes, bool filtering)
{
    pyusdt_set own = ((pyusdt_set)1 << PYUSDT_EVENT_COUNT) - 1;
    pyusdt_set events = pyusdt_events_of(probes & ~own);
    if (probes & PYUSDT_IMPORTS) {
        events |= PYUSDT_BIT(PY_START) | PYUSDT_BIT(PY_RETURN);
    }
    return filtering ? own : events;
}

void
pyusdt_dispatch_more(pyusdt_set probes, bool filtering)
{
    pyusdt_set events = dispatched(probes, filtering);
    for (int i = 0; i < PYUSDT_EVENT_COUNT; i++) {
        if (events & ((pyusdt_set)1 << i)) {
            atomic_store(&pyusdt_also[i], true);
        }
    }
}

void
pyusdt_dispatch_only(pyusdt_set probes, bool filtering)
{
    pyusdt_set events = dispatched(probes, filtering);
    for (int i = 0; i < PYUSDT_EVENT_COUNT; i++) {
        atomic_store(&pyusdt_also[i], (events & ((pyusdt_set)1 << i)) != 0);
    }
}

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
    PyObject *disable = NULL;

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
        (state->set_local_events = PyObject_GetAttrString(monitoring, "set_local_events")) ==
            NULL ||
        (state->restart_events = PyObject_GetAttrString(monitoring, "restart_events")) == NULL ||
        (disable = PyObject_GetAttrString(monitoring, "DISABLE")) == NULL ||
        (state->scope_object = pyusdt_scope_new(disable)) == NULL ||
        (events = PyObject_GetAttrString(monitoring, "events")) == NULL) {
        goto end;
    }
    state->scope = pyusdt_scope_of(state->scope_object);

    static const char *const event_names[] = {
#define PROBE(name, event, shape, about) #event,
        PYUSDT_EVENT_PROBES(PROBE)
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
    for (int i = 0; i < PYUSDT_EVENT_COUNT; i++) {
        int event = event_bit(events, event_names[i]);
        if (event < 0) {
            goto end;
        }
        state->event[i] = event;
        state->needs[i] = event & (c_return | c_raise) ? c_return | c_raise | call : event;
        state->callback[i] = PyCFunction_New(&pyusdt_callbacks[i], state->scope_object);
        if (state->callback[i] == NULL) {
            goto end;
        }
    }
    err = pyusdt_extras_init(state);
end:
    Py_XDECREF(disable);
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
register_callback(struct pyusdt_state *state, int event, PyObject *callback)
{
    PyObject *old = PyObject_CallFunction(state->register_callback, "iiO", state->tool_id,
                                          state->event[event], callback);
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

/* Starts and returns of the code that loads a module, of no other code. */
static int
watch_imports(struct pyusdt_state *state, bool on)
{
    bool is_on = atomic_load(&state->scope->import) != 0;
    if (on == is_on || state->import_code == NULL) {
        return 0;
    }
    int events =
        on ? state->event[PYUSDT_PROBE_PY_START] | state->event[PYUSDT_PROBE_PY_RETURN] : 0;
    PyObject *done = PyObject_CallFunction(state->set_local_events, "iOi", state->tool_id,
                                           state->import_code, events);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    atomic_store(&state->scope->import, on ? (uintptr_t)state->import_code : 0);
    return 0;
}

/* Places that were disabled come back, those of other tools too: there is no other
 * way, and they must not stay silent for the next tool that gets our id. */
static int
restart_events(struct pyusdt_state *state)
{
    if (!atomic_load(&state->scope->disabled)) {
        return 0;
    }
    PyObject *done = PyObject_CallNoArgs(state->restart_events);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    atomic_store(&state->scope->disabled, false);
    return 0;
}

/* The events whose callbacks are registered: those that probes need, and CALL where
 * C functions are filtered by it. */
static pyusdt_set
callbacks_for(pyusdt_set wanted, bool filtering)
{
    pyusdt_set events = pyusdt_events_of(wanted);
    if (wanted & PYUSDT_IMPORTS) {
        events |= PYUSDT_BIT(PY_START) | PYUSDT_BIT(PY_RETURN);
    }
    if (filtering && (events & (PYUSDT_BIT(C_RETURN) | PYUSDT_BIT(C_RAISE)))) {
        events |= PYUSDT_BIT(CALL);
    }
    return events;
}

static int
apply(struct pyusdt_state *state, pyusdt_set wanted)
{
    bool filtering = pyusdt_scope_filters();
    pyusdt_set callbacks = callbacks_for(wanted, filtering);
    pyusdt_set events = pyusdt_events_of(wanted);
    int bits = 0;

    if (callbacks != 0 && state->tool_id < 0 && take_tool_id(state) < 0) {
        return -1;
    }
    for (int i = 0; i < PYUSDT_EVENT_COUNT; i++) {
        if (events & ((pyusdt_set)1 << i)) {
            bits |= state->needs[i];
        }
        if ((callbacks & ((pyusdt_set)1 << i)) &&
            register_callback(state, i, state->callback[i]) < 0) {
            return -1;
        }
    }
    if (state->tool_id >= 0 &&
        (watch_imports(state, (wanted & PYUSDT_IMPORTS) != 0) < 0 || set_events(state, bits) < 0)) {
        return -1;
    }
    for (int i = 0; i < PYUSDT_EVENT_COUNT; i++) {
        pyusdt_set dropped = state->callbacks & ~callbacks;
        if ((dropped & ((pyusdt_set)1 << i)) && register_callback(state, i, Py_None) < 0) {
            return -1;
        }
    }
    state->callbacks = callbacks;
    if (pyusdt_gc_watch(state, (wanted & PYUSDT_GC) != 0) < 0) {
        return -1;
    }
    /* Those that run now are pinned by what was in force until now. */
    bool moves = atomic_load(&state->scope->epoch) != pyusdt_scope_epoch();
    if (moves || callbacks == 0) {
        pyusdt_scope_move(state->scope, state->interp, callbacks != 0 && state->registered != 0);
    }
    if ((moves || callbacks == 0) && restart_events(state) < 0) {
        return -1;
    }
    if (callbacks == 0 && state->tool_id >= 0) {
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
    if (pyusdt_gc_watch(state, false) < 0) {
        PyErr_Clear();
    }
    if (state->tool_id >= 0) {
        if (watch_imports(state, false) < 0) {
            PyErr_Clear();
        }
        if (set_events(state, 0) < 0) {
            PyErr_Clear();
        }
        if (restart_events(state) < 0) {
            PyErr_Clear();
        }
        PyObject *done = PyObject_CallFunction(state->free_tool_id, "i", state->tool_id);
        Py_XDECREF(done);
        PyErr_Clear();
    }
    state->tool_id = -1;
    state->callbacks = 0;
    state->registered = 0;
    atomic_store(&state->scope->import, 0);
}

bool
pyusdt_monitor_is_current(const struct pyusdt_state *state, pyusdt_set wanted)
{
    return state->registered == wanted && atomic_load(&state->scope->epoch) == pyusdt_scope_epoch();
}

int
pyusdt_monitor_apply(struct pyusdt_state *state, pyusdt_set wanted)
{
    int err = -1;
    PyObject *pending = PyErr_GetRaisedException();
    bool was_on = state->registered != 0;

    if (!pyusdt_monitor_is_current(state, wanted)) {
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
