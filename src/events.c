/*
 * events.c - the callbacks that CPython calls for each event, and the probe
 * sites they fire: the hot path and nothing else.
 *
 * They run in the traced thread, with its GIL held (if there is one), between
 * two instructions of the user's program, perhaps with an exception set.  So they
 * allocate nothing, run no user code, raise nothing, and return None.  They wait
 * for nobody, with one exception: on a free-threaded build PyCode_Addr2Line()
 * takes the code object's lock, as the interpreter itself does at the same place.
 *
 * Each probe of probes.h gets a callback of its own, and with it a site and a
 * note of its own; they differ only by name and shape.
 */
#include <Python.h>

#include "compat.h"
#include "probes.h"
#include "state.h"
#include "text.h"
#include "usdt.h"

#define PROBE(name, event, shape, about) USDT_DEFINE_SEMAPHORE(pyusdt, name);
PYUSDT_PROBES(PROBE)
#undef PROBE

/* What a probe says, and the memory behind its strings: it lives in the
 * callback's frame, so it is valid for the whole trap. */
struct event {
    const char *function;
    const char *file;
    const char *value;   /* in all shapes but JUMP */
    int64_t destination; /* in JUMP */
    const char *qualname;
    uint64_t code;
    uint64_t frame;
    int64_t offset;
    int line;
};

struct name_buffers {
    char function[PYUSDT_NAME_SIZE];
    char qualname[PYUSDT_NAME_SIZE];
    char file[PYUSDT_FILE_SIZE];
};

/* Most events are the interpreter's own, with a code object and ints of its
 * making.  But from 3.13 on an extension can fire events, too, of objects that
 * are only like code and with numbers as it likes (PyMonitoring_FireLineEvent
 * and so on), and a program can get at a callback and call it with anything
 * (sys.monitoring.register_callback returns the old one).  So all are checked.
 *
 * Compact ints, all that the interpreter passes, are read in place: right after
 * a trap a call is a dear one. */
static inline int64_t
index_of(PyObject *number)
{
    const PyLongObject *exact = (const PyLongObject *)number;
    int overflow;

    if (!PyLong_Check(number)) {
        return 0;
    }
    return PyUnstable_Long_IsCompact(exact) ? PyUnstable_Long_CompactValue(exact)
                                            : PyLong_AsLongAndOverflow(number, &overflow);
}

static inline void
describe_code(struct event *event, PyObject *object, struct name_buffers *names)
{
    PyCodeObject *code = (PyCodeObject *)object;

    event->code = (uint64_t)(uintptr_t)code;
    event->frame = pyusdt_current_frame(PyThreadState_Get());
    event->offset = 0;
    event->value = "";
    if (!PyCode_Check(object)) {
        pyusdt_text(object, names->function, sizeof(names->function));
        event->function = event->qualname = names->function;
        event->file = "";
        event->line = 0;
        return;
    }
    event->function = pyusdt_name(code->co_name, names->function, sizeof(names->function));
    event->file = pyusdt_name(code->co_filename, names->file, sizeof(names->file));
    event->qualname = pyusdt_name(code->co_qualname, names->qualname, sizeof(names->qualname));
    event->line = code->co_firstlineno;
}

#define CODE_UNIT 2 /* bytes; Py_SIZE() of a code object counts these */

/* The line of event->offset.  PyCode_Addr2Line() walks the code's table of
 * lines and allocates nothing; it must be given no offset beyond the code. */
static inline int
current_line(const struct event *event, PyObject *object)
{
    if (!PyCode_Check(object) || event->offset < 0 ||
        event->offset / CODE_UNIT >= Py_SIZE(object)) {
        return event->line;
    }
    return PyCode_Addr2Line((PyCodeObject *)object, (int)event->offset);
}

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

/* While the semaphore is 0 (the tracer has gone, the watcher has not yet
 * dropped the event) nothing is computed. */
#define PROBE(name, event_name, shape, about)                                                      \
    static __attribute__((noinline, noclone)) PyObject *on_##name(                                 \
        PyObject *self, PyObject *const *args, Py_ssize_t count)                                   \
    {                                                                                              \
        struct event event;                                                                        \
        (void)self;                                                                                \
        if (USDT_SEMAPHORE(pyusdt, name) != 0 && count >= COUNT_##shape) {                         \
            DESCRIBE_##shape;                                                                      \
            USDT_PROBE8(pyusdt, name, event.function, event.file, event.line, event.offset,        \
                        ARGUMENT_4_##shape, event.qualname, event.code, event.frame);              \
        }                                                                                          \
        Py_RETURN_NONE;                                                                            \
    }
PYUSDT_PROBES(PROBE)
#undef PROBE

PyMethodDef pyusdt_callbacks[PYUSDT_PROBE_COUNT] = {
#define PROBE(name, event, shape, about)                                                           \
    {#name, (PyCFunction)(void (*)(void))on_##name, METH_FASTCALL, about},
    PYUSDT_PROBES(PROBE)
#undef PROBE
};
