/*
 * clock.h - a clock that is cheap enough to be read twice a call.
 *
 * It counts ticks: of the processor's counter where the kernel itself trusts that
 * (x86-64: its clock source is "tsc"; arm64: always), else nanoseconds of
 * CLOCK_MONOTONIC.  Any thread may read it, after pyusdt_clock_start().
 */
#ifndef PYUSDT_CLOCK_H
#define PYUSDT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

extern bool pyusdt_clock_counter; /* the processor's counter is used */

/* Chooses the counter and learns its rate, once a process; it may take 2 ms, so it
 * is called without a GIL or before the program runs.  Any thread. */
void pyusdt_clock_start(void);

/* Nanoseconds a tick, measured over the whole time since the start. */
double pyusdt_clock_rate(void);

static inline int64_t
pyusdt_nsec_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t
pyusdt_counter(void)
{
#if defined(__x86_64__)
    return (int64_t)__builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    int64_t count;
    __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(count));
    return count;
#else
    return pyusdt_nsec_now();
#endif
}

static inline int64_t
pyusdt_clock_ticks(void)
{
    return __atomic_load_n(&pyusdt_clock_counter, __ATOMIC_RELAXED) ? pyusdt_counter()
                                                                    : pyusdt_nsec_now();
}

#endif
