/*
 * control.c - the control block of control.h: who writes it and who reads it.
 *
 * Requests are carried out by one thread at a time (the watcher).  The program's own
 * threads write requests one after the other, behind `writer`; somebody outside may
 * write at any time, so nothing that stands in the block is believed unchecked.
 */
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "scope.h"
#include "state.h"

#define PATIENCE_MSEC 10000 /* of configure(), until its request is carried out */

__attribute__((visibility("default"), used)) struct pyusdt_control pyusdt_control = {
    .magic = {'p', 'y', 'u', 's', 'd', 't', 'C', 'B'},
    .version = PYUSDT_CONTROL_VERSION,
    .size = sizeof(struct pyusdt_control),
};

_Static_assert(offsetof(struct pyusdt_control, settings.filter.include) == 56, "see control.h");
_Static_assert(offsetof(struct pyusdt_control, settings.filter.exclude) == 2104, "see control.h");

/* The settings in force: what the block says once a request is done, but out of
 * reach of others.  Only the thread that carries out requests touches it. */
static struct pyusdt_settings in_force;

static pthread_mutex_t writer = PTHREAD_MUTEX_INITIALIZER;

/* ---- carrying out ---- */

void
pyusdt_control_init(const struct pyusdt_settings *settings)
{
    in_force = *settings;
    pyusdt_control.settings = *settings;
    pyusdt_config_set(settings->number);
    pyusdt_scope_set(&settings->filter);
}

bool
pyusdt_control_pending(void)
{
    uint32_t request = atomic_load(&pyusdt_control.request);
    return request % 2 == 0 && request != atomic_load(&pyusdt_control.applied);
}

/* Patterns from the block, if they can be used. */
static bool
take_patterns(char *into, const char *from)
{
    size_t length = strnlen(from, PYUSDT_PATTERNS_SIZE);
    if (length == PYUSDT_PATTERNS_SIZE || pyusdt_filter_check(from, length) != NULL) {
        return false;
    }
    memcpy(into, from, length + 1);
    return true;
}

bool
pyusdt_control_take(void)
{
    uint32_t request = atomic_load(&pyusdt_control.request);
    if (!pyusdt_control_pending()) {
        return false;
    }
    struct pyusdt_settings wanted = pyusdt_control.settings;
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load(&pyusdt_control.request) != request) {
        return false; /* somebody writes again: at the next look */
    }
    uint32_t refused = 0;
    for (int i = 0; i < PYUSDT_INCLUDE; i++) {
        if (wanted.number[i] < pyusdt_ranges[i].smallest ||
            wanted.number[i] > pyusdt_ranges[i].largest) {
            refused |= 1u << i;
            continue;
        }
        in_force.number[i] = wanted.number[i];
    }
    struct pyusdt_filter filter = in_force.filter;
    refused |= take_patterns(filter.include, wanted.filter.include) ? 0 : 1u << PYUSDT_INCLUDE;
    refused |= take_patterns(filter.exclude, wanted.filter.exclude) ? 0 : 1u << PYUSDT_EXCLUDE;
    pyusdt_config_set(in_force.number);
    if (strcmp(filter.include, in_force.filter.include) != 0 ||
        strcmp(filter.exclude, in_force.filter.exclude) != 0) {
        in_force.filter = filter;
        pyusdt_scope_set(&filter);
    }
    if (refused != 0) {
        pyusdt_control.settings = in_force;
    }
    atomic_store(&pyusdt_control.refused, refused);
    return true;
}

void
pyusdt_control_done(void)
{
    atomic_store(&pyusdt_control.applied, atomic_load(&pyusdt_control.request) & ~1u);
}

void
pyusdt_control_after_fork_child(void)
{
    (void)pthread_mutex_init(&writer, NULL);
    if (atomic_load(&pyusdt_control.request) % 2 != 0) {
        pyusdt_control.settings = in_force;
        atomic_store(&pyusdt_control.request, atomic_load(&pyusdt_control.applied));
    }
}

/* ---- asking, from within ---- */

static void
pause_msec(int msec)
{
    struct timespec pause = {0, msec * 1000000L};
    (void)nanosleep(&pause, NULL);
}

/* Waits for the watcher, or where there is none does its work.  No GIL is held. */
static bool
wait_until_applied(void)
{
    for (int waited = 0;
         atomic_load(&pyusdt_control.applied) != atomic_load(&pyusdt_control.request); waited++) {
        if (waited >= PATIENCE_MSEC) {
            return false;
        }
        pyusdt_watcher_wake();
        pause_msec(1);
    }
    return true;
}

/* One number of configure(): None leaves it as it is.  0, or -1 with an exception. */
static int
parse_number(PyObject *value, const struct pyusdt_range *range, int64_t *number)
{
    if (value == NULL || value == Py_None) {
        return 0;
    }
    int overflow = 0;
    long long given = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (given == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow != 0 || given < range->smallest || given > range->largest) {
        PyErr_Format(PyExc_ValueError, "%s: give a whole number from %lld to %lld", range->argument,
                     range->smallest, range->largest);
        return -1;
    }
    *number = given;
    return 0;
}

static int
parse_patterns(PyObject *value, const char *name, char *patterns)
{
    Py_ssize_t length;

    if (value == NULL || value == Py_None) {
        return 0;
    }
    const char *text = PyUnicode_AsUTF8AndSize(value, &length);
    if (text == NULL) {
        return -1;
    }
    const char *problem = pyusdt_filter_check(text, (size_t)length);
    if (problem != NULL) {
        PyErr_Format(PyExc_ValueError, "%s: the patterns are %s", name, problem);
        return -1;
    }
    memcpy(patterns, text, (size_t)length + 1);
    return 0;
}

static PyObject *
settings_as_dict(const struct pyusdt_settings *settings)
{
    return Py_BuildValue(
        "{sLsLsLssss}", pyusdt_ranges[PYUSDT_CHECK_MSEC].argument,
        (long long)settings->number[PYUSDT_CHECK_MSEC], pyusdt_ranges[PYUSDT_VALUE_MAX].argument,
        (long long)settings->number[PYUSDT_VALUE_MAX], pyusdt_ranges[PYUSDT_SLOW_USEC].argument,
        (long long)settings->number[PYUSDT_SLOW_USEC], "include", settings->filter.include,
        "exclude", settings->filter.exclude);
}

PyObject *
pyusdt_configure(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"check_msec", "value_max", "slow_usec", "include", "exclude", NULL};
    PyObject *given[PYUSDT_SETTING_COUNT] = {NULL};
    struct pyusdt_settings settings;
    bool applied = true;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOOO:configure", names, &given[0], &given[1],
                                     &given[2], &given[3], &given[4])) {
        return NULL;
    }
    PyThreadState *ts = PyEval_SaveThread();
    (void)pthread_mutex_lock(&writer);
    settings = pyusdt_control.settings;
    PyEval_RestoreThread(ts);

    bool changes = false;
    int err = 0;
    for (int i = 0; i < PYUSDT_INCLUDE && err == 0; i++) {
        err = parse_number(given[i], &pyusdt_ranges[i], &settings.number[i]);
    }
    if (err == 0) {
        err = parse_patterns(given[PYUSDT_INCLUDE], "include", settings.filter.include);
    }
    if (err == 0) {
        err = parse_patterns(given[PYUSDT_EXCLUDE], "exclude", settings.filter.exclude);
    }
    for (int i = 0; i < PYUSDT_SETTING_COUNT; i++) {
        changes |= given[i] != NULL && given[i] != Py_None;
    }
    if (err == 0 && changes) {
        uint32_t request = atomic_load(&pyusdt_control.request);
        atomic_store(&pyusdt_control.request, request | 1u);
        pyusdt_control.settings = settings;
        atomic_store(&pyusdt_control.request, (request | 1u) + 1);
        if (atomic_load(&pyusdt_control.serving)) {
            ts = PyEval_SaveThread();
            applied = wait_until_applied();
            PyEval_RestoreThread(ts);
        }
        else if (pyusdt_control_take()) {
            pyusdt_apply_settings(module);
            pyusdt_control_done();
        }
    }
    (void)pthread_mutex_unlock(&writer);
    if (err == 0 && !applied) {
        PyErr_SetString(PyExc_TimeoutError,
                        "an interpreter of this process was too busy to take the settings");
        err = -1;
    }
    return err == 0 ? settings_as_dict(&settings) : NULL;
}
