/*
 * state.h - who owns what, and who locks what.
 *
 * Two lives are kept apart:
 *
 * struct pyusdt_state   one an interpreter; it lives in the module object.
 *     Its fields are read and written with that interpreter's GIL held, except
 *     `next` and `interp`, which belong to the process's list.  Where there is no
 *     GIL they are still touched by one thread at a time: start() runs before the
 *     watcher knows of the interpreter, and from then on only the watcher does.
 *
 * the process           one watcher thread, one list of interpreters, one set
 *     of semaphores (the kernel counts tracers per process, not per
 *     interpreter).  All of it is static in watcher.c and guarded by the
 *     mutex there; the list changes only while the watcher is stopped, so the
 *     watcher walks it without a lock.
 *
 * Order of locks: the process's mutex is taken first, a GIL after it.  Whoever
 * holds a GIL lets it go before it asks for the mutex.
 */
#ifndef PYUSDT_STATE_H
#define PYUSDT_STATE_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "probes.h"
#include "python_provider.h"

/* In a pyusdt_set the probes of provider "python" stand behind ours. */
#define PYUSDT_SET_SIZE (PYUSDT_PROBE_COUNT + PYUSDT_PYTHON_COUNT)
#define PYUSDT_PYTHON_BIT(id) ((pyusdt_set)1 << (PYUSDT_PROBE_COUNT + PYUSDT_PYTHON_##id))

_Static_assert(PYUSDT_SET_SIZE <= 64, "a pyusdt_set has 64 bits");

struct pyusdt_state {
    PyInterpreterState *interp;
    struct pyusdt_state *next; /* the process's list */
    bool listed;               /* in that list */

    /* Functions of sys.monitoring, as they were when we were imported. */
    PyObject *use_tool_id;
    PyObject *free_tool_id;
    PyObject *register_callback;
    PyObject *set_events;
    PyObject *set_local_events;
    PyObject *restart_events;

    int event[PYUSDT_EVENT_COUNT];          /* bit of sys.monitoring.events */
    int needs[PYUSDT_EVENT_COUNT];          /* bits to set: more for C_RETURN, C_RAISE */
    PyObject *callback[PYUSDT_EVENT_COUNT]; /* C functions of events.c */
    PyObject *scope_object;                 /* owns `scope`, and is self of the callbacks */
    struct pyusdt_scope *scope;

    PyObject *import_code; /* of the function that loads a module, or NULL */
    PyObject *gc_callback; /* C function of extras.c */
    PyObject *gc_list;     /* gc.callbacks while it stands there, else NULL */

    int tool_id;                   /* ours while traced, else -1 */
    pyusdt_set callbacks;          /* events whose callbacks are registered */
    _Atomic pyusdt_set registered; /* probes that are served; the watcher reads
                                      it without the GIL */
    _Atomic bool complained;       /* a failure was reported and lasts; same */
};

/* Longest text of a value with its final NUL: PYUSDT_VALUE_MAX at most 4096. */
#define PYUSDT_VALUE_SIZE 4097

/* config.c: settings of the process. */
struct pyusdt_config {
    _Atomic int check_msec; /* longest time between two looks at the semaphores, ms */
    _Atomic int value_max;  /* longest text of a value, bytes without the final NUL */
    int python_provider;    /* 1: all of the provider "python", 0: none of it, -1: what
                               the interpreter lacks */
    bool verbose;           /* three messages on stderr, for people */
    bool disable;           /* do nothing at all */
};

/* Reads the settings at the first call; later calls change nothing.  A bad
 * value is reported by one line on stderr and its default is used.  The GIL of
 * any interpreter is held. */
void pyusdt_config_load(void);
/* Any thread, after pyusdt_config_load(). */
const struct pyusdt_config *pyusdt_config(void);
/* control.c: the numbers of control.h have changed. */
void pyusdt_config_set(const int64_t *numbers);

/* watcher.c: the semaphores, the process's list, the watcher thread. */
pyusdt_set pyusdt_raised(void); /* probes somebody traces; any thread */
pyusdt_set pyusdt_armed(void);  /* those whose breakpoints are all in place */
/* The following are called with the GIL held; all but the last let it go
 * meanwhile.  None can fail: a thread that cannot be started is reported by one
 * line on stderr. */
void pyusdt_watcher_join(struct pyusdt_state *state);  /* begin to serve it */
void pyusdt_watcher_leave(struct pyusdt_state *state); /* no more after this */
void pyusdt_watcher_before_fork(void);
void pyusdt_watcher_after_fork_parent(void);
void pyusdt_watcher_after_fork_child(struct pyusdt_state *state);
/* Something may have changed.  Any thread, with or without a GIL. */
void pyusdt_watcher_wake(void);
/* Before probes are served: what they need of the process, not of an interpreter. */
void pyusdt_prepare(pyusdt_set raised);

/* listener.c: a thread that waits for somebody to open this library's file, as
 * every tracer does before it attaches.  `heard` is called in that thread.
 * Start and stop are called by one thread at a time, with no GIL. */
bool pyusdt_listener_start(void (*heard)(void)); /* false: no such thing here */
void pyusdt_listener_stop(void);
/* Waits until the kernel, too, has forgotten the stopped listener: some 10 ms
 * that only a fork needs to spend. */
void pyusdt_listener_wait_gone(void);
void pyusdt_listener_after_fork_child(void);
/* True when the thread `tid` of this process is gone; waits up to 100 ms. */
bool pyusdt_thread_wait_gone(pid_t tid);

/* monitor.c: registers the events of the probes in `wanted` and no others, and goes
 * over to the newest patterns (scope.h).  The interpreter's GIL is held.  0, or -1
 * after one line on stderr; never leaves an exception set. */
int pyusdt_monitor_init(struct pyusdt_state *state);
int pyusdt_monitor_apply(struct pyusdt_state *state, pyusdt_set wanted);
/* True if that would change nothing.  The watcher, without the GIL. */
bool pyusdt_monitor_is_current(const struct pyusdt_state *state, pyusdt_set wanted);
/* Of some probes those that need an interpreter's help; the events that feed them. */
pyusdt_set pyusdt_served(pyusdt_set probes);
pyusdt_set pyusdt_events_of(pyusdt_set probes);
/* Sets pyusdt_also for these probes: adds to it, or sets it anew. */
void pyusdt_dispatch_more(pyusdt_set probes, bool filtering);
void pyusdt_dispatch_only(pyusdt_set probes, bool filtering);

/* events.c: callbacks of sys.monitoring, one an event, in the table's order; self is
 * the interpreter's scope_object.  pyusdt_also: whether an event's callback has to call
 * pyusdt_dispatch() first.  It is the process's; a true too many does no harm. */
extern PyMethodDef pyusdt_callbacks[PYUSDT_EVENT_COUNT];
extern _Atomic bool pyusdt_also[PYUSDT_EVENT_COUNT];

/* dispatch.c, in a callback: NULL, or what the callback has to return at once. */
PyObject *pyusdt_dispatch(PyObject *self, int event, PyObject *const *args);

/* main.c: runs a program as the interpreter's own main does.  METH_VARARGS. */
PyObject *pyusdt_run_file(PyObject *module, PyObject *path);
PyObject *pyusdt_run_command(PyObject *module, PyObject *source);
PyObject *pyusdt_run_stdin(PyObject *module, PyObject *unused);
PyObject *pyusdt_run_module(PyObject *module, PyObject *args);

/* module.c: starts to serve tracers in the interpreter of `module`.  GIL held.
 * 0, or -1 with an exception set. */
int pyusdt_start(PyObject *module);
/* New settings, in a process without a watcher: the interpreter goes by them. */
void pyusdt_apply_settings(PyObject *module);

#endif
