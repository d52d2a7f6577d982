/*
 * slow.h - the probe FUNC_SLOW: every activation is timed in the process, and the
 * probe fires for those that took long.
 */
#ifndef PYUSDT_SLOW_H
#define PYUSDT_SLOW_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

/* From how many microseconds on.  Any thread. */
void pyusdt_slow_set(int64_t usec);
/* Before FUNC_SLOW is first served: the clock must run.  Any thread, may take 2 ms. */
void pyusdt_slow_prepare(void);

/* In callbacks: a run of a function begins, or ends.  `args` and `event` are the
 * callback's. */
void pyusdt_slow_begin(int event, PyObject *code, uint64_t frame);
void pyusdt_slow_end(int event, PyObject *const *args, uint64_t frame);

#endif
