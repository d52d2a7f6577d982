/*
 * slow.c - times runs of functions by the table of runs.h and fires FUNC_SLOW.
 *
 * Called in callbacks, see events.c; the threshold is an atomic number that the
 * thread which carries out settings writes.
 */
#include <Python.h>

#include <stdatomic.h>

#include "clock.h"
#include "event.h"
#include "probes.h"
#include "runs.h"
#include "slow.h"
#include "usdt.h"

USDT_DEFINE_SEMAPHORE(pyusdt, FUNC_SLOW);

static _Atomic int64_t threshold_nsec;
static _Atomic int64_t threshold_ticks; /* a little less, so that none is missed */

void
pyusdt_slow_set(int64_t usec)
{
    int64_t ticks = (int64_t)((double)usec * 1000 / pyusdt_clock_rate());
    atomic_store(&threshold_nsec, usec * 1000);
    atomic_store(&threshold_ticks, ticks - ticks / 1000);
}

void
pyusdt_slow_prepare(void)
{
    pyusdt_clock_start();
    pyusdt_slow_set(atomic_load(&threshold_nsec) / 1000);
}

static __attribute__((noinline, noclone)) void
fire(PyObject *const *args, struct pyusdt_run run, bool ended)
{
    struct event event;
    struct name_buffers names;
    double rate = pyusdt_clock_rate();
    int64_t took = (int64_t)((double)run.ticks * rate);
    int64_t total = (int64_t)((double)run.total * rate);
    int64_t least = atomic_load_explicit(&threshold_nsec, memory_order_relaxed);

    if (took < least && !(ended && total >= least)) {
        return;
    }
    describe_code(&event, args[0], &names);
    event.offset = index_of(args[1]);
    USDT_PROBE10(pyusdt, FUNC_SLOW, event.function, event.file, event.line, event.offset, took,
                 event.qualname, event.code, event.frame, total, (int)ended);
}

void
pyusdt_slow_begin(int event, PyObject *code, uint64_t frame)
{
    pyusdt_runs_begin(frame, (uint64_t)(uintptr_t)code, event == PYUSDT_PROBE_PY_START);
}

void
pyusdt_slow_end(int event, PyObject *const *args, uint64_t frame)
{
    struct pyusdt_run run;
    bool ended = event != PYUSDT_PROBE_PY_YIELD;

    if (pyusdt_runs_end(frame, (uint64_t)(uintptr_t)args[0], ended, &run)) {
        int64_t least = atomic_load_explicit(&threshold_ticks, memory_order_relaxed);
        if (run.ticks >= least || (ended && run.total >= least)) {
            fire(args, run, ended);
        }
    }
}
