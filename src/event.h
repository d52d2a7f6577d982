/*
 * event.h - what a probe says of the code that runs: the arguments that the probes
 * of code share.  Inline, because it is the hot path; the GIL is held (if there
 * is one), in a callback of sys.monitoring.
 */
#ifndef PYUSDT_EVENT_H
#define PYUSDT_EVENT_H

#include <Python.h>
#include <stdint.h>

#include "compat.h"
#include "lines.h"
#include "text.h"

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

/* The line of event->offset, -1 if that instruction has none; the first one when the
 * offset is not in the code. */
static inline int
current_line(const struct event *event, PyObject *object)
{
    if (!PyCode_Check(object) || event->offset < 0 || event->offset / 2 >= Py_SIZE(object)) {
        return event->line;
    }
    return pyusdt_line_of((PyCodeObject *)object, event->offset);
}

#endif
