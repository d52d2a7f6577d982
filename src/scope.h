/*
 * scope.h - which functions of an interpreter are traced: the include and exclude
 * patterns, applied to code objects.
 *
 * The patterns are the process's.  Each interpreter moves to new ones by itself, with
 * its GIL held, so that starts and ends stay paired: a frame that runs at that moment
 * is pinned, and its end is traced if its start was.  (Not on a free-threaded build,
 * where frames of other threads cannot be looked at, nor for the frames of greenlets
 * that are switched out: there an end goes by the new patterns.)
 */
#ifndef PYUSDT_SCOPE_H
#define PYUSDT_SCOPE_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "filter.h"

/* A frame that was running when the patterns changed. */
struct pyusdt_pin {
    uint64_t frame;
    const PyCodeObject *code; /* compared, never followed */
    bool traced;              /* its start was, or would have been */
    bool calling;             /* perhaps in a C function: the next C_RETURN is its */
};

/* What the callbacks of an interpreter know of it.  Its GIL guards it; on a
 * free-threaded build callbacks of all threads read it, and write `disabled`. */
struct pyusdt_scope {
    _Atomic uint32_t epoch;   /* of the patterns in force */
    _Atomic bool filtering;   /* ask pyusdt_scope_answer() */
    _Atomic bool disabled;    /* it has answered PYUSDT_DISABLE */
    _Atomic uintptr_t import; /* address of the code that loads a module; 0: not traced */
    struct pyusdt_pin *pins;
    size_t pin_count;
    PyObject *disable; /* sys.monitoring.DISABLE */
};

enum pyusdt_answer {
    PYUSDT_PASS,    /* traced */
    PYUSDT_SKIP,    /* not traced */
    PYUSDT_DISABLE, /* not traced, and the interpreter need not ask again */
};

/* An object that owns a scope with the patterns in force, or NULL with an exception.
 * GIL held. */
PyObject *pyusdt_scope_new(PyObject *disable);
struct pyusdt_scope_object {
    PyObject_HEAD struct pyusdt_scope scope;
};
/* Of such an object, without a check: for callbacks, whose self it is. */
static inline struct pyusdt_scope *
pyusdt_scope_of(PyObject *object)
{
    return &((struct pyusdt_scope_object *)object)->scope;
}

/* New patterns for the process.  Every scope must have moved to those before.  One
 * thread at a time. */
void pyusdt_scope_set(const struct pyusdt_filter *filter);
/* Of those that were set last: whether there are any, and their number. */
bool pyusdt_scope_filters(void);
uint32_t pyusdt_scope_epoch(void);

/* The interpreter goes on with the patterns that were set last.  Its GIL is held;
 * `traced`: events are registered, so that frames have to be pinned. */
void pyusdt_scope_move(struct pyusdt_scope *scope, PyInterpreterState *interp, bool traced);

/* Whether an event of this code, in this frame, is traced.  In a callback. */
enum pyusdt_answer pyusdt_scope_answer(struct pyusdt_scope *scope, int event, PyObject *code,
                                       uint64_t frame);

#endif
