/*
 * events.c - the callbacks that CPython calls for each event, and the probe
 * sites they fire: the hot path and nothing else.
 *
 * They run in the traced thread, with its GIL held (if there is one), between
 * two instructions of the user's program, perhaps with an exception set.  So they
 * allocate nothing, wait for nobody, run no user code, raise nothing, and return
 * None.
 *
 * Each probe of probes.h gets a callback of its own, and with it a site and a
 * note of its own; they differ only by name and shape.
 */
#include <Python.h>

#include <stdatomic.h>

#include "compat.h"
#include "event.h"
#include "probes.h"
#include "state.h"
#include "text.h"
#include "usdt.h"

#define PROBE(name, event, shape, about) USDT_DEFINE_SEMAPHORE(pyusdt, name);
PYUSDT_EVENT_PROBES(PROBE)
#undef PROBE

_Atomic bool pyusdt_also[PYUSDT_EVENT_COUNT];

/* How each shape of probes.h reads the callback's arguments, and which field of
 * the event is the probe's argument 4. */
#define DESCRIBE_CODE                                                                              \
    struct name_buffers names;                                                                     \
    describe_code(&event, args[0], &names);                                                        \
    event.offset = index_of(args[1])
#define ARGUMENT_4_CODE event.value

#define DESCRIBE_VALUE                                                                             \
    char value[PYUSDT_VALUE_SIZE];                                                                 \
    DESCRIBE_CODE;                                                                                 \
    pyusdt_text(args[2], value, (size_t)pyusdt_config()->value_max + 1);                           \
    event.value = value
#define ARGUMENT_4_VALUE event.value

#define DESCRIBE_LINE                                                                              \
    struct name_buffers names;                                                                     \
    describe_code(&event, args[0], &names);                                                        \
    event.line = (int)index_of(args[1])
#define ARGUMENT_4_LINE event.value

#define DESCRIBE_PLACE                                                                             \
    DESCRIBE_CODE;                                                                                 \
    event.line = current_line(&event, args[0])
#define ARGUMENT_4_PLACE event.value

#define DESCRIBE_ERROR                                                                             \
    DESCRIBE_VALUE;                                                                                \
    event.line = current_line(&event, args[0])
#define ARGUMENT_4_ERROR event.value

#define DESCRIBE_JUMP                                                                              \
    DESCRIBE_PLACE;                                                                                \
    event.destination = index_of(args[2])
#define ARGUMENT_4_JUMP event.destination

/* How many arguments the interpreter passes at least. */
enum {
    COUNT_CODE = 2,
    COUNT_VALUE = 3,
    COUNT_LINE = 2,
    COUNT_PLACE = 2,
    COUNT_ERROR = 3,
    COUNT_JUMP = 3,
};

/* An event that feeds more than its own probe, or functions that are filtered, are
 * dispatch.c's business; it is asked for as long as pyusdt_also says so.
 *
 * While the semaphore is 0 (another probe wants the event, or the tracer has gone
 * and the watcher has not yet dropped the event) nothing is computed. */
#define PROBE(name, event_name, shape, about)                                                      \
    static __attribute__((noinline, noclone)) PyObject *on_##name(                                 \
        PyObject *self, PyObject *const *args, Py_ssize_t count)                                   \
    {                                                                                              \
        struct event event;                                                                        \
        if (atomic_load_explicit(&pyusdt_also[PYUSDT_PROBE_##name], memory_order_relaxed) &&       \
            count >= COUNT_##shape) {                                                              \
            PyObject *answer = pyusdt_dispatch(self, PYUSDT_PROBE_##name, args);                   \
            if (answer != NULL) {                                                                  \
                return answer;                                                                     \
            }                                                                                      \
        }                                                                                          \
        if (USDT_SEMAPHORE(pyusdt, name) != 0 && count >= COUNT_##shape) {                         \
            DESCRIBE_##shape;                                                                      \
            USDT_PROBE8(pyusdt, name, event.function, event.file, event.line, event.offset,        \
                        ARGUMENT_4_##shape, event.qualname, event.code, event.frame);              \
        }                                                                                          \
        Py_RETURN_NONE;                                                                            \
    }
PYUSDT_EVENT_PROBES(PROBE)
#undef PROBE

PyMethodDef pyusdt_callbacks[PYUSDT_EVENT_COUNT] = {
#define PROBE(name, event, shape, about)                                                           \
    {#name, (PyCFunction)(void (*)(void))on_##name, METH_FASTCALL, about},
    PYUSDT_EVENT_PROBES(PROBE)
#undef PROBE
};
