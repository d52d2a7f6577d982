/*
 * dispatch.c - events that are more than their own probe: functions that are filtered
 * out, and the other probes that an event feeds.
 *
 * Called by the callbacks of events.c, by their rules: nothing is allocated, nobody
 * waited for, no code of the program run, no exception left.
 */
#include <Python.h>

#include <stdatomic.h>

#include "args.h"
#include "compat.h"
#include "event.h"
#include "extras.h"
#include "frame.h"
#include "probes.h"
#include "python_provider.h"
#include "scope.h"
#include "slow.h"
#include "state.h"
#include "usdt.h"

USDT_DEFINE_SEMAPHORE(pyusdt, PY_START_ARGS);
USDT_DECLARE_SEMAPHORE(pyusdt, FUNC_SLOW);

/* A program that calls the callback itself is in another frame than the code says: its
 * locals are not to be looked at. */
static bool
runs(uint64_t frame, PyObject *code)
{
    return frame != 0 && (PyObject *)pyusdt_frame_code(frame) == code;
}

static __attribute__((noinline, noclone)) void
fire_start_args(PyObject *const *args)
{
    struct event event;
    struct name_buffers names;
    char value[PYUSDT_VALUE_SIZE];

    describe_code(&event, args[0], &names);
    event.offset = index_of(args[1]);
    value[0] = '\0';
    if (runs(event.frame, args[0])) {
        pyusdt_args_text((PyCodeObject *)args[0], event.frame, value,
                         (size_t)pyusdt_config()->value_max + 1);
    }
    USDT_PROBE8(pyusdt, PY_START_ARGS, event.function, event.file, event.line, event.offset, value,
                event.qualname, event.code, event.frame);
}

/* What CPython's own probes say: co_filename, co_name, the current line. */
static __attribute__((noinline)) void
fire_place(void (*fire)(const char *, const char *, int), int event_index, PyObject *const *args)
{
    struct event event;
    struct name_buffers names;

    describe_code(&event, args[0], &names);
    if (event_index == PYUSDT_PROBE_LINE) {
        event.line = (int)index_of(args[1]);
    }
    else {
        event.offset = index_of(args[1]);
        int line = current_line(&event, args[0]);
        event.line = line >= 0 ? line : event.line; /* an instruction of no line */
    }
    fire(event.file, event.function, event.line);
}

static inline void
on_start(int event, PyObject *const *args, uint64_t frame)
{
    if (event == PYUSDT_PROBE_PY_START && USDT_SEMAPHORE(pyusdt, PY_START_ARGS) != 0) {
        fire_start_args(args);
    }
    if (USDT_SEMAPHORE(pyusdt, FUNC_SLOW) != 0) {
        pyusdt_slow_begin(event, args[0], frame);
    }
    if (pyusdt_python_raised(PYUSDT_PYTHON_FUNCTION_ENTRY)) {
        fire_place(pyusdt_python_fire_FUNCTION_ENTRY, event, args);
    }
}

static inline void
on_end(int event, PyObject *const *args, uint64_t frame)
{
    if (USDT_SEMAPHORE(pyusdt, FUNC_SLOW) != 0) {
        pyusdt_slow_end(event, args, frame);
    }
    if (pyusdt_python_raised(PYUSDT_PYTHON_FUNCTION_RETURN)) {
        fire_place(pyusdt_python_fire_FUNCTION_RETURN, event, args);
    }
}

PyObject *
pyusdt_dispatch(PyObject *self, int event, PyObject *const *args)
{
    struct pyusdt_scope *scope = pyusdt_scope_of(self);
    uint64_t frame = pyusdt_current_frame(PyThreadState_Get());
    pyusdt_set bit = (pyusdt_set)1 << event;
    bool import = (uintptr_t)args[0] == atomic_load_explicit(&scope->import, memory_order_relaxed);

    if (import && runs(frame, args[0])) {
        pyusdt_import_event(event, args[0], frame);
    }
    if (atomic_load_explicit(&scope->filtering, memory_order_relaxed)) {
        switch (pyusdt_scope_answer(scope, event, args[0], frame)) {
        case PYUSDT_PASS:
            break;
        case PYUSDT_DISABLE:
            if (import) { /* its own events are still wanted */
                Py_RETURN_NONE;
            }
            return Py_NewRef(scope->disable);
        case PYUSDT_SKIP:
            Py_RETURN_NONE;
        }
    }
    if (bit & PYUSDT_STARTS) {
        on_start(event, args, frame);
    }
    else if (bit & PYUSDT_ENDS) {
        on_end(event, args, frame);
    }
    else if (event == PYUSDT_PROBE_LINE && pyusdt_python_raised(PYUSDT_PYTHON_LINE)) {
        fire_place(pyusdt_python_fire_LINE, event, args);
    }
    return NULL;
}
