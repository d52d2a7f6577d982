/*
 * listener.c - a thread that waits for somebody to open a file that has probes of
 * ours: this library, and the objects of the provider "python".
 *
 * A tracer opens the file to read the probes' notes before it attaches, so that
 * an inotify watch tells of it within a millisecond, where the watcher's own
 * clock would take up to PYUSDT_CHECK_MSEC.
 *
 * The thread takes a file descriptor table of its own (close_range with
 * CLOSE_RANGE_UNSHARE, Linux 5.9).  So the program's descriptors keep their
 * numbers, a program that closes all descriptors it does not know does not
 * close ours, and the number of ours is never read after it has become
 * somebody else's.  Where that is refused there is no listener, and the watcher
 * goes by its clock.
 *
 * The thread never touches Python.  The other functions are called by the
 * watcher, or by the thread that has just stopped it: one at a time.
 */
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "python_provider.h"
#include "state.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define UNSHARE (1U << 1) /* CLOSE_RANGE_UNSHARE of linux/close_range.h */

static pthread_t thread;
static bool running;
static _Atomic pid_t thread_id; /* of the last listener; 0 before it runs */
static void (*when_heard)(void);

/* An inotify descriptor on the file this code was loaded from, and on those of the
 * provider "python"; or -1. */
static int
open_watch(void)
{
    Dl_info info;
    if (dladdr((void *)open_watch, &info) == 0 || info.dli_fname == NULL) {
        return -1;
    }
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd >= 0 && inotify_add_watch(fd, info.dli_fname, IN_OPEN) < 0) {
        close(fd);
        return -1;
    }
    for (int i = 0; fd >= 0 && i < PYUSDT_PYTHON_OBJECT_COUNT; i++) {
        const char *file = pyusdt_python_file(i);
        if (file != NULL) { /* not watched: it is noticed by the clock */
            (void)inotify_add_watch(fd, file, IN_OPEN);
        }
    }
    return fd;
}

static void *
listen_for_tracers(void *unused)
{
    char events[4096] __attribute__((aligned(8)));
    int fd;

    (void)unused;
    /* It may be cancelled while it waits, and nowhere else. */
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    (void)prctl(PR_SET_NAME, "pyusdt-listener");
    atomic_store(&thread_id, (pid_t)syscall(SYS_gettid));
    if (syscall(SYS_close_range, 0U, ~0U, UNSHARE) != 0 || (fd = open_watch()) < 0) {
        return NULL;
    }
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        (void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
        int ready = poll(&wait, 1, -1);
        (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        if (ready < 0 && errno != EINTR) {
            return NULL;
        }
        if (ready > 0) {
            while (read(fd, events, sizeof(events)) > 0) {
            }
            when_heard();
        }
    }
}

bool
pyusdt_listener_start(void (*heard)(void))
{
    if (!running) {
        when_heard = heard;
        atomic_store(&thread_id, 0);
        running = pthread_create(&thread, NULL, listen_for_tracers, NULL) == 0;
    }
    return running;
}

void
pyusdt_listener_stop(void)
{
    if (running) {
        (void)pthread_cancel(thread);
        (void)pthread_join(thread, NULL);
        running = false;
    }
}

void
pyusdt_listener_wait_gone(void)
{
    pid_t tid = atomic_load(&thread_id);
    if (tid != 0 && pyusdt_thread_wait_gone(tid)) {
        atomic_store(&thread_id, 0);
    }
}

void
pyusdt_listener_after_fork_child(void)
{
    running = false;
    atomic_store(&thread_id, 0);
}

bool
pyusdt_thread_wait_gone(pid_t tid)
{
    const struct timespec pause = {.tv_nsec = 50000};

    for (int i = 0; i < 1000; i++) { /* a pause takes 100 us or so */
        if (syscall(SYS_tgkill, getpid(), tid, 0) != 0 && errno == ESRCH) {
            return true;
        }
        if (i < 20) {
            (void)sched_yield();
        }
        else {
            (void)nanosleep(&pause, NULL);
        }
    }
    return false;
}
