/*
 * watcher.c - one native thread a process that notices tracers come and go.
 *
 * It looks at the semaphores every PYUSDT_CHECK_MSEC, and every millisecond for
 * two seconds after the listener has heard that somebody opened the library's
 * file.  It has no Python thread state and takes a GIL only when the set of
 * raised semaphores differs from what an interpreter has registered.
 *
 * The functions below are called by threads of the program.  They stop the
 * watcher before they change the list of interpreters, so the watcher itself
 * reads that list without a lock.
 */
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "compat.h"
#include "control.h"
#include "extras.h"
#include "frame.h"
#include "probes.h"
#include "runs.h"
#include "scope.h"
#include "slow.h"
#include "state.h"
#include "usdt.h"

#define FAST_LOOK_MSEC 1
#define FAST_PERIOD_MSEC 2000
/* The kernel takes some 10 ms to end a listener, which a fork has to wait for.
 * So there is none until the watcher has lived for a while without a fork. */
#define LISTEN_AFTER_MSEC 2000
/* How long a count that a child inherited is believed without a breakpoint. */
#define INHERITED_MSEC 1000

#define PROBE(name, event, shape, about) USDT_DECLARE_SEMAPHORE(pyusdt, name);
PYUSDT_PROBES(PROBE)
#undef PROBE

static const volatile uint16_t *const semaphores[PYUSDT_PROBE_COUNT] = {
#define PROBE(name, event, shape, about) &USDT_SEMAPHORE(pyusdt, name),
    PYUSDT_PROBES(PROBE)
#undef PROBE
};

/* Of any probe of a pyusdt_set. */
static uint16_t
semaphore_of(int i)
{
    return i < PYUSDT_PROBE_COUNT ? *semaphores[i]
                                  : *pyusdt_python_semaphore(i - PYUSDT_PROBE_COUNT);
}

/* What a forked child found in a semaphore: see doubt_inherited().  Written by
 * the watcher, and at fork while there is none. */
static struct {
    uint16_t count;           /* not yet known whether somebody will lower it */
    int64_t since;            /* ms; the last sign of a tracer, 0 before the first look */
    _Atomic uint16_t ignored; /* nobody will: counts for nothing; read by all */
} inherited[PYUSDT_SET_SIZE];

/* `lock` guards all but what stands after it. */
static struct {
    pthread_mutex_t lock;
    struct pyusdt_state *first; /* interpreters that imported pyusdt */
    int forks;                  /* under way: no watcher meanwhile */
    bool start_pending;         /* start_later() is queued */
    bool running;
    pthread_t thread;

    /* Between the watcher and those who wake it; `wake_lock` guards it. */
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool wake_ready; /* the condition variable was initialised */
    bool stop;
    bool heard;
    bool look_again; /* settings have changed */

    _Atomic pid_t thread_id;
} process = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake_lock = PTHREAD_MUTEX_INITIALIZER,
};

pyusdt_set
pyusdt_raised(void)
{
    pyusdt_set raised = 0;
    for (int i = 0; i < PYUSDT_SET_SIZE; i++) {
        if (semaphore_of(i) > inherited[i].ignored) {
            raised |= (pyusdt_set)1 << i;
        }
    }
    return raised;
}

pyusdt_set
pyusdt_armed(void)
{
    pyusdt_set armed = ((pyusdt_set)1 << PYUSDT_PROBE_COUNT) - 1;
    for (const struct usdt_site *site = __start_usdt_sites; site < __stop_usdt_sites; site++) {
        for (int i = 0; i < PYUSDT_PROBE_COUNT; i++) {
            if (site->semaphore == semaphores[i] && !usdt_site_armed(site)) {
                armed &= ~((pyusdt_set)1 << i);
            }
        }
    }
    for (int i = 0; i < PYUSDT_PYTHON_COUNT; i++) {
        if (pyusdt_python_armed(i)) {
            armed |= (pyusdt_set)1 << (PYUSDT_PROBE_COUNT + i);
        }
    }
    return armed;
}

/* ---- the watcher thread ---- */

static int64_t
now_msec(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
on_heard(void)
{
    (void)pthread_mutex_lock(&process.wake_lock);
    process.heard = true;
    (void)pthread_cond_signal(&process.wake);
    (void)pthread_mutex_unlock(&process.wake_lock);
}

void
pyusdt_watcher_wake(void)
{
    (void)pthread_mutex_lock(&process.wake_lock);
    process.look_again = true;
    if (process.wake_ready) {
        (void)pthread_cond_signal(&process.wake);
    }
    (void)pthread_mutex_unlock(&process.wake_lock);
}

/* Waits for the listener, the order to stop, or the time.  False: stop. */
static bool
wait_for_news(int msec, bool *heard)
{
    struct timespec until;
    int err = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += msec / 1000;
    until.tv_nsec += (long)(msec % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&process.wake_lock);
    while (!process.stop && !process.heard && !process.look_again && err == 0) {
        err = pthread_cond_timedwait(&process.wake, &process.wake_lock, &until);
    }
    *heard = process.heard;
    process.heard = false;
    process.look_again = false;
    bool go_on = !process.stop;
    (void)pthread_mutex_unlock(&process.wake_lock);
    return go_on;
}

static void
apply_in(struct pyusdt_state *state, pyusdt_set wanted)
{
    PyThreadState *ts = PyThreadState_New(state->interp);
    if (ts == NULL) {
        return; /* no memory: at the next look */
    }
    PyEval_RestoreThread(ts);
    (void)pyusdt_monitor_apply(state, wanted);
    PyThreadState_Clear(ts);
    PyThreadState_DeleteCurrent();
}

/* A tracer that raises the semaphore by writing into the memory of one process
 * has written, without knowing, into the copy that a child gets by fork, and will
 * never lower it there.  So a count that a child was born with is ignored when
 * none of the probe's breakpoints has been in place for a while: the kernel takes
 * those away from a process that nobody traces. */
static void
doubt_inherited(int64_t now)
{
    for (int i = 0; i < PYUSDT_SET_SIZE; i++) {
        int value = semaphore_of(i);
        int ignored = inherited[i].ignored;
        if (value < ignored + inherited[i].count) { /* somebody lowers it after all */
            inherited[i].ignored = (uint16_t)(value < ignored ? value : ignored);
            inherited[i].count = (uint16_t)(value - inherited[i].ignored);
        }
        if (inherited[i].count == 0) {
            continue;
        }
        if (inherited[i].since == 0 || (pyusdt_armed() & ((pyusdt_set)1 << i))) {
            inherited[i].since = now;
        }
        else if (now - inherited[i].since >= INHERITED_MSEC) {
            inherited[i].ignored = (uint16_t)(ignored + inherited[i].count);
            inherited[i].count = 0;
        }
    }
}

/* Probes that use the table of runs.h. */
#define TIMED (PYUSDT_BIT(FUNC_SLOW) | PYUSDT_IMPORTS)

void
pyusdt_prepare(pyusdt_set raised)
{
    static _Atomic pyusdt_set before;
    pyusdt_set old = atomic_exchange(&before, raised & TIMED);

    if ((old != 0) != ((raised & TIMED) != 0)) {
        if (raised & TIMED) {
            pyusdt_slow_prepare();
        }
        if (!pyusdt_runs_prepare()) {
            fprintf(stderr, "pyusdt: FUNC_SLOW and IMPORT_DONE see nothing: out of memory\n");
        }
    }
}

/* Whether some interpreter filters, or is about to. */
static bool
somebody_filters(void)
{
    bool filters = pyusdt_scope_filters();
    for (struct pyusdt_state *state = process.first; state != NULL; state = state->next) {
        filters |= atomic_load(&state->scope->filtering);
    }
    return filters;
}

/* Patterns may be replaced when all go by the last ones. */
static bool
all_moved(void)
{
    bool moved = true;
    for (struct pyusdt_state *state = process.first; state != NULL; state = state->next) {
        moved &= atomic_load(&state->scope->epoch) == pyusdt_scope_epoch();
    }
    return moved;
}

/* Gives every interpreter the events and patterns it should have.  One that has failed
 * is tried again at the slow pace only.  An interpreter that serves nothing goes over
 * to new patterns without its GIL: none of its callbacks can run. */
static void
look(bool fast)
{
    pyusdt_set raised = pyusdt_raised();
    pyusdt_set wanted = pyusdt_served(raised);
    bool asked = all_moved() && pyusdt_control_take();

    pyusdt_dispatch_more(raised, somebody_filters());
    for (struct pyusdt_state *state = process.first; state != NULL; state = state->next) {
        if (pyusdt_monitor_is_current(state, wanted)) {
            continue;
        }
        if (wanted == 0 && state->registered == 0) {
            pyusdt_scope_move(state->scope, state->interp, false);
        }
        else if (!(fast && state->complained)) {
            pyusdt_prepare(raised);
            apply_in(state, wanted);
        }
    }
    pyusdt_prepare(raised);
    pyusdt_dispatch_only(raised, somebody_filters());
    if (asked || (pyusdt_control_pending() && all_moved())) {
        pyusdt_control_done();
    }
}

static void *
watch(void *unused)
{
    int64_t started = now_msec();
    int64_t fast_until = 0;
    bool listening = false;
    bool heard = false;

    (void)unused;
    (void)prctl(PR_SET_NAME, "pyusdt");
    atomic_store(&process.thread_id, (pid_t)syscall(SYS_gettid));
    do {
        int64_t now = now_msec();
        if (heard) {
            fast_until = now + FAST_PERIOD_MSEC;
        }
        bool fast = now < fast_until;
        if (!listening && now - started >= LISTEN_AFTER_MSEC) {
            (void)pyusdt_listener_start(on_heard);
            listening = true;
        }
        doubt_inherited(now);
        look(fast);
        int msec = pyusdt_config()->check_msec;
        if (fast && msec > FAST_LOOK_MSEC) {
            msec = FAST_LOOK_MSEC;
        }
        if (!listening && msec > LISTEN_AFTER_MSEC) {
            msec = LISTEN_AFTER_MSEC;
        }
        if (!wait_for_news(msec, &heard)) {
            break;
        }
    } while (true);
    pyusdt_listener_stop();
    return NULL;
}

/* ---- its life; process.lock is held, the GIL is not ---- */

static void
create_watcher(void)
{
    sigset_t all, old;
    int err = 0;

    if (process.running || process.first == NULL || process.forks > 0) {
        return;
    }
    if (!process.wake_ready) {
        pthread_condattr_t clock;
        (void)pthread_condattr_init(&clock);
        (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
        err = pthread_cond_init(&process.wake, &clock);
        (void)pthread_condattr_destroy(&clock);
        process.wake_ready = err == 0;
    }
    if (err == 0) {
        process.stop = false;
        process.heard = false;
        atomic_store(&process.thread_id, 0);
        /* Signals are for the program's own threads. */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &old);
        err = pthread_create(&process.thread, NULL, watch, NULL);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (err != 0) {
        fprintf(stderr, "pyusdt: no tracer will be noticed: cannot start a thread: %s\n",
                strerror(err));
        return;
    }
    process.running = true;
}

/* If there is to be one.  Says whether somebody looks at requests, or is about to. */
static void
start_watcher(void)
{
    create_watcher();
    atomic_store(&pyusdt_control.serving, process.running || process.forks > 0);
}

static void
stop_watcher(void)
{
    if (!process.running) {
        return;
    }
    (void)pthread_mutex_lock(&process.wake_lock);
    process.stop = true;
    (void)pthread_cond_signal(&process.wake);
    (void)pthread_mutex_unlock(&process.wake_lock);
    (void)pthread_join(process.thread, NULL);
    process.running = false;
}

/* ---- called by the program's threads, GIL held ---- */

void
pyusdt_watcher_join(struct pyusdt_state *state)
{
    PyThreadState *ts = PyEval_SaveThread();
    (void)pthread_mutex_lock(&process.lock);
    stop_watcher();
    state->next = process.first;
    process.first = state;
    start_watcher();
    (void)pthread_mutex_unlock(&process.lock);
    PyEval_RestoreThread(ts);
}

void
pyusdt_watcher_leave(struct pyusdt_state *state)
{
    PyThreadState *ts = PyEval_SaveThread();
    (void)pthread_mutex_lock(&process.lock);
    stop_watcher();
    struct pyusdt_state **link = &process.first;
    while (*link != NULL && *link != state) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = state->next;
    }
    start_watcher();
    (void)pthread_mutex_unlock(&process.lock);
    PyEval_RestoreThread(ts);
}

/* os.fork() counts the native threads and warns when there is more than one. */
void
pyusdt_watcher_before_fork(void)
{
    PyThreadState *ts = PyEval_SaveThread();
    (void)pthread_mutex_lock(&process.lock);
    process.forks++;
    if (process.running) {
        stop_watcher();
        pid_t tid = atomic_load(&process.thread_id);
        if (tid != 0) {
            (void)pyusdt_thread_wait_gone(tid);
        }
        pyusdt_listener_wait_gone();
    }
    (void)pthread_mutex_unlock(&process.lock);
    PyEval_RestoreThread(ts);
}

/* The frame that has called os.fork(), and where: it stays there until that returns. */
static uint64_t fork_frame;
static const void *fork_instruction;

/* Whether this thread is still in os.fork(): in a hook that is Python code, which has
 * a frame of its own.  In the frame of the fork itself, os.fork() has returned. */
static bool
is_in_fork(uint64_t current)
{
    uint64_t frame = current;
    while (frame != 0 && frame != fork_frame) {
        frame = pyusdt_frame_previous(frame);
    }
    return frame != 0 && frame != current && pyusdt_frame_instruction(frame) == fork_instruction;
}

/* A pending call: the interpreter's main thread runs it between two bytecodes, which
 * may be those of other hooks. */
static int
start_later(void *unused)
{
    if (is_in_fork(pyusdt_current_frame(PyThreadState_Get())) &&
        Py_AddPendingCall(start_later, unused) == 0) {
        return 0;
    }
    PyThreadState *ts = PyEval_SaveThread();
    (void)pthread_mutex_lock(&process.lock);
    process.start_pending = false;
    start_watcher();
    (void)pthread_mutex_unlock(&process.lock);
    PyEval_RestoreThread(ts);
    return 0;
}

/* Where CPython counts the threads after this has run, the main thread starts the
 * watcher only when os.fork() has returned.  In another thread the start must not
 * wait for the main one, which may be blocked, and need not: there are two threads
 * at least, with us or without. */
void
pyusdt_watcher_after_fork_parent(void)
{
    bool later = pyusdt_fork_counts_threads_late() && (pid_t)syscall(SYS_gettid) == getpid();

    if (later) {
        fork_frame = pyusdt_current_frame(PyThreadState_Get());
        fork_instruction = fork_frame != 0 ? pyusdt_frame_instruction(fork_frame) : NULL;
    }
    PyThreadState *ts = PyEval_SaveThread();
    (void)pthread_mutex_lock(&process.lock);
    if (process.forks > 0) {
        process.forks--;
    }
    if (later && !process.start_pending) {
        process.start_pending = Py_AddPendingCall(start_later, NULL) == 0;
    }
    if (!process.start_pending) {
        start_watcher();
    }
    (void)pthread_mutex_unlock(&process.lock);
    PyEval_RestoreThread(ts);
}

/* The child has one thread and one interpreter.  The locks may have been held
 * by threads that are not here any more: they are made anew. */
void
pyusdt_watcher_after_fork_child(struct pyusdt_state *state)
{
    (void)pthread_mutex_init(&process.lock, NULL);
    (void)pthread_mutex_init(&process.wake_lock, NULL);
    process.wake_ready = false;
    process.running = false;
    process.forks = 0;
    process.start_pending = false;
    for (int i = 0; i < PYUSDT_SET_SIZE; i++) {
        inherited[i].count = (uint16_t)(semaphore_of(i) - inherited[i].ignored);
        inherited[i].since = 0;
    }
    pyusdt_listener_after_fork_child();
    pyusdt_control_after_fork_child();
    state->next = NULL;
    process.first = state->listed ? state : NULL;
    start_watcher();
}
