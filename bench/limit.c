/*
 * limit.c - the least that an event can cost: a C loop around one probe site of
 * src/usdt.h, with a semaphore and the same eight arguments as in events.c.
 *
 * Reads numbers from stdin, a line each; runs the loop that many times and
 * answers with the nanoseconds of CPU time it took.  With LIMIT_NOP5 the site is the
 * five-byte nop.  One thread.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "usdt.h"

#ifdef LIMIT_NOP5
#ifndef __x86_64__
#error "the five-byte nop is one of x86-64"
#endif
#undef USDT_NOP_ASM
#define USDT_NOP_ASM ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00"
#endif

USDT_DEFINE_SEMAPHORE(limit, hit);

static __attribute__((noinline)) void
fire(const char *function, const char *file, int line, uint64_t key)
{
    int64_t offset = 0;
    if (USDT_SEMAPHORE(limit, hit) != 0) {
        USDT_PROBE8(limit, hit, function, file, line, offset, "", function, key, key + 1);
    }
}

static int64_t
now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int
main(void)
{
    long count;

    while (scanf("%ld", &count) == 1) {
        int64_t start = now();
        for (long i = 0; i < count; i++) {
            fire("empty", "/home/me/program.py", 17, 4711);
        }
        printf("%" PRId64 "\n", now() - start);
        if (fflush(stdout) != 0) {
            return 1;
        }
    }
    return 0;
}
