/*
 * runs.h - when did this frame start?  A table of what is running, by the address of
 * the frame, so that an end finds its start under recursion, in generators that go
 * from thread to thread, and in greenlets.
 *
 * Called in callbacks: nothing is allocated and nobody waited for.  Frames of
 * different threads may be put in and taken out at the same time.  Times are ticks
 * of clock.h.
 */
#ifndef PYUSDT_RUNS_H
#define PYUSDT_RUNS_H

#include <stdbool.h>
#include <stdint.h>

/* An empty table: before a tracer comes, and after it has left, for the memory goes back
 * then.  False: there is no memory, and nothing will be timed.  Not in a callback. */
bool pyusdt_runs_prepare(void);

/* A frame begins to run: `start` for the first time (else it resumes). */
void pyusdt_runs_begin(uint64_t frame, uint64_t code, bool start);

struct pyusdt_run {
    int64_t ticks; /* of the run that has just ended */
    int64_t total; /* of all its runs */
};

/* It yields, or ends for good.  False: its begin was not seen. */
bool pyusdt_runs_end(uint64_t frame, uint64_t code, bool ended, struct pyusdt_run *run);

#endif
