/*
 * scope.c - the patterns in force, what they say of each code object, and the frames
 * that were running when they changed.
 *
 * The patterns are static memory, two sets in turns: while some interpreters still go
 * by the old ones, the new ones are written.  What they say of a code object is
 * remembered in a small table, a word an entry, which all threads read and write.
 */
#include <Python.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compat.h"
#include "frame.h"
#include "probes.h"
#include "scope.h"
#include "text.h"

/* The interpreter cannot disable these for one place (before 3.15), or does so
 * together with CALL. */
#define NEVER_DISABLED                                                                             \
    (PYUSDT_BIT(PY_UNWIND) | PYUSDT_BIT(PY_THROW) | PYUSDT_BIT(RAISE) | PYUSDT_BIT(RERAISE) |      \
     PYUSDT_BIT(EXCEPTION_HANDLED) | PYUSDT_BIT(C_RETURN) | PYUSDT_BIT(C_RAISE))

#define NAME_SEARCH 16 /* entries of a module's dict; __name__ is the first */

static struct pyusdt_filter filters[2]; /* of an even and of an odd epoch */
static _Atomic uint32_t newest;

/* What is known of code objects: the upper 63 bits tell which, by which patterns. */
#define KNOWN_BITS 12
static _Atomic uint64_t known[1 << KNOWN_BITS];

/* ---- the patterns ---- */

static bool
filters_at(uint32_t epoch)
{
    return filters[epoch & 1].include[0] != '\0' || filters[epoch & 1].exclude[0] != '\0';
}

void
pyusdt_scope_set(const struct pyusdt_filter *filter)
{
    uint32_t next = atomic_load(&newest) + 1;
    filters[next & 1] = *filter;
    atomic_store(&newest, next);
}

bool
pyusdt_scope_filters(void)
{
    return filters_at(atomic_load(&newest));
}

uint32_t
pyusdt_scope_epoch(void)
{
    return atomic_load(&newest);
}

/* ---- what they say of a code object ---- */

/* __name__ of the module that the frame's globals are of, NULL if it cannot be told.
 * No key's own __eq__ is asked: no code of the program is run. */
static PyObject *
module_name(uint64_t frame)
{
    PyObject *key, *item, *name = NULL;
    Py_ssize_t position = 0;

    if (frame == 0 || pyusdt_frame_owner(frame) >= PYUSDT_OWNER_INTERPRETER) {
        return NULL; /* of a thread that runs no Python: the callback was called by hand */
    }
    PyObject *globals = pyusdt_frame_globals(frame);
    if (globals == NULL || !PyDict_Check(globals) || !pyusdt_try_lock(globals)) {
        return NULL;
    }
    for (int i = 0; i < NAME_SEARCH && PyDict_Next(globals, &position, &key, &item); i++) {
        if (PyUnicode_CheckExact(key) && PyUnicode_CompareWithASCIIString(key, "__name__") == 0) {
            name = PyUnicode_Check(item) ? item : NULL;
            break;
        }
    }
    pyusdt_unlock(globals);
    return name;
}

/* The names that patterns are for: the qualified name, with and without the module
 * before it, and the file. */
static bool
passes(uint32_t epoch, PyCodeObject *code, uint64_t frame)
{
    char module[PYUSDT_NAME_SIZE], qualname[PYUSDT_NAME_SIZE], file[PYUSDT_FILE_SIZE];
    char dotted[2 * PYUSDT_NAME_SIZE];
    const char *names[3];

    names[0] = pyusdt_name(code->co_qualname, qualname, sizeof(qualname));
    names[1] = pyusdt_name(code->co_filename, file, sizeof(file));
    const char *prefix = pyusdt_name(module_name(frame), module, sizeof(module));
    (void)snprintf(dotted, sizeof(dotted), "%s.%s", prefix, names[0]);
    names[2] = dotted;
    return pyusdt_filter_passes(&filters[epoch & 1], names, *prefix != '\0' ? 3 : 2);
}

/* A free code object's address is soon another's; together with the version, which
 * is a new one for each, it tells them apart. */
static uint64_t
identity(uint32_t epoch, const PyCodeObject *code)
{
    uint64_t mixed = (uint64_t)(uintptr_t)code * 0x9E3779B97F4A7C15u;
    mixed ^= ((uint64_t)epoch << 32 | code->co_version) * 0xC2B2AE3D27D4EB4Fu;
    mixed ^= mixed >> 29;
    return mixed * 0xBF58476D1CE4E5B9u;
}

static bool
passes_quickly(uint32_t epoch, PyCodeObject *code, uint64_t frame)
{
    uint64_t which = identity(epoch, code) | 1;
    _Atomic uint64_t *place = &known[which >> (64 - KNOWN_BITS)];
    uint64_t word = atomic_load_explicit(place, memory_order_relaxed);

    if ((word | 1) == which) {
        return word & 1;
    }
    bool pass = passes(epoch, code, frame);
    atomic_store_explicit(place, pass ? which : which - 1, memory_order_relaxed);
    return pass;
}

/* ---- pins ---- */

static struct pyusdt_pin *
find_pin(struct pyusdt_scope *scope, uint64_t frame)
{
    for (size_t i = scope->pin_count; i > 0; i--) {
        if (scope->pins[i - 1].frame == frame) {
            return &scope->pins[i - 1];
        }
    }
    return NULL;
}

static bool
code_is_pinned(const struct pyusdt_scope *scope, PyObject *code)
{
    for (size_t i = 0; i < scope->pin_count; i++) {
        if ((const PyObject *)scope->pins[i].code == code) {
            return true;
        }
    }
    return false;
}

static void
set_filtering(struct pyusdt_scope *scope)
{
    atomic_store(&scope->filtering,
                 scope->pin_count != 0 || filters_at(atomic_load(&scope->epoch)));
}

static void
unpin(struct pyusdt_scope *scope, struct pyusdt_pin *pin)
{
    *pin = scope->pins[--scope->pin_count];
    if (scope->pin_count == 0) {
        set_filtering(scope);
    }
}

/* Whether a frame that runs now had its start traced. */
static bool
start_was_traced(struct pyusdt_scope *scope, PyCodeObject *code, uint64_t frame)
{
    uint32_t epoch = atomic_load(&scope->epoch);
    struct pyusdt_pin *pin = find_pin(scope, frame);
    if (pin != NULL) {
        return pin->traced;
    }
    return !filters_at(epoch) || passes_quickly(epoch, code, frame);
}

/* Visits the running frames of all threads: counts them, or pins them.  The innermost
 * come last: they end first, and are looked for from the end. */
static size_t
visit_frames(struct pyusdt_scope *scope, PyInterpreterState *interp, struct pyusdt_pin *pins,
             size_t room)
{
    size_t count = 0;
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts != NULL;
         ts = PyThreadState_Next(ts)) {
        for (uint64_t frame = pyusdt_current_frame(ts); frame != 0;
             frame = pyusdt_frame_previous(frame)) {
            PyCodeObject *code = pyusdt_frame_code(frame);
            if (code == NULL) {
                continue;
            }
            if (pins != NULL && count < room) {
                pins[room - 1 - count] = (struct pyusdt_pin){
                    .frame = frame,
                    .code = code,
                    .traced = start_was_traced(scope, code, frame),
                    .calling = true,
                };
            }
            count++;
        }
    }
    return pins != NULL && count > room ? room : count;
}

void
pyusdt_scope_move(struct pyusdt_scope *scope, PyInterpreterState *interp, bool traced)
{
    struct pyusdt_pin *pins = NULL;
    size_t count = 0;

    if (traced && !PYUSDT_FREE_THREADED) {
        count = visit_frames(scope, interp, NULL, 0);
        pins = count != 0 ? malloc(count * sizeof(*pins)) : NULL;
        count = pins != NULL ? visit_frames(scope, interp, pins, count) : 0;
    }
    free(scope->pins);
    scope->pins = pins;
    scope->pin_count = count;
    atomic_store(&scope->epoch, atomic_load(&newest));
    set_filtering(scope);
}

/* ---- events ---- */

enum pyusdt_answer
pyusdt_scope_answer(struct pyusdt_scope *scope, int event, PyObject *object, uint64_t frame)
{
    pyusdt_set bit = (pyusdt_set)1 << event;
    uint32_t epoch = atomic_load_explicit(&scope->epoch, memory_order_relaxed);

    if (scope->pin_count != 0 &&
        (bit & (PYUSDT_ENDS | PYUSDT_BIT(CALL) | PYUSDT_BIT(C_RETURN) | PYUSDT_BIT(C_RAISE)))) {
        struct pyusdt_pin *pin = find_pin(scope, frame);
        if (pin != NULL) {
            bool traced = pin->traced;
            bool calling = pin->calling;
            pin->calling = false;
            if (bit & PYUSDT_ENDS) {
                unpin(scope, pin);
            }
            if ((bit & PYUSDT_ENDS) || (calling && bit != PYUSDT_BIT(CALL))) {
                return traced ? PYUSDT_PASS : PYUSDT_SKIP;
            }
        }
    }
    if (!filters_at(epoch)) {
        return PYUSDT_PASS;
    }
    if (!PyCode_Check(object)) { /* of an extension's own making: it has no name */
        return filters[epoch & 1].include[0] == '\0' ? PYUSDT_PASS : PYUSDT_SKIP;
    }
    if (passes_quickly(epoch, (PyCodeObject *)object, frame)) {
        return PYUSDT_PASS;
    }
    if ((bit & NEVER_DISABLED) || ((bit & PYUSDT_ENDS) && code_is_pinned(scope, object))) {
        return PYUSDT_SKIP;
    }
    atomic_store_explicit(&scope->disabled, true, memory_order_relaxed);
    return PYUSDT_DISABLE;
}

/* ---- its life ---- */

static void
scope_dealloc(PyObject *object)
{
    struct pyusdt_scope *scope = pyusdt_scope_of(object);
    PyTypeObject *type = Py_TYPE(object);

    free(scope->pins);
    Py_XDECREF(scope->disable);
    type->tp_free(object);
    Py_DECREF(type);
}

/* No capsule: a callback gets at the scope without a call. */
static PyType_Slot slots[] = {{Py_tp_dealloc, scope_dealloc}, {0, NULL}};
static PyType_Spec spec = {
    .name = "pyusdt.Scope",
    .basicsize = sizeof(struct pyusdt_scope_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

PyObject *
pyusdt_scope_new(PyObject *disable)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(&spec);
    if (type == NULL) {
        return NULL;
    }
    PyObject *object = type->tp_alloc(type, 0); /* zeros; it owns a reference to its type */
    Py_DECREF(type);
    if (object == NULL) {
        return NULL;
    }
    struct pyusdt_scope *scope = pyusdt_scope_of(object);
    scope->disable = Py_NewRef(disable);
    atomic_store(&scope->epoch, atomic_load(&newest));
    set_filtering(scope);
    return object;
}
