/*
 * red_zone.c - a leaf function that keeps its values below the stack pointer
 * (the red zone of x86-64) and has a probe site in the middle, for
 * test_site.py: what a tracer or the kernel writes there makes it wrong.
 *
 *     red_zone COUNT
 *
 * waits for a line on stdin, calls it COUNT times, and prints how many results
 * were wrong.  With RED_ZONE_NOP5 the site is the five-byte nop.  One thread.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "usdt.h"

#ifdef RED_ZONE_NOP5
#undef USDT_NOP_ASM
#define USDT_NOP_ASM ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00"
#endif

USDT_DEFINE_SEMAPHORE(site, leaf);

uint64_t leaf(uint64_t seed);

/* Volatile: the values are in memory, and a function that calls none has its
 * memory in the red zone. */
__attribute__((noinline)) uint64_t
leaf(uint64_t seed)
{
    volatile uint64_t values[14];
    uint64_t sum = 0;

    for (unsigned i = 0; i < 14; i++) {
        values[i] = seed + i;
    }
    USDT_PROBE8(site, leaf, "leaf", "red_zone.c", 1, (int64_t)0, "", "leaf", seed, seed);
    for (unsigned i = 0; i < 14; i++) {
        sum += values[i];
    }
    return sum;
}

int
main(int argc, char **argv)
{
    uint64_t count = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    uint64_t wrong = 0;

    if (count == 0 || getchar() == EOF) {
        return 2;
    }
    for (uint64_t i = 0; i < count; i++) {
        wrong += leaf(i) != 14 * i + 91;
    }
    printf("%" PRIu64 "\n", wrong);
    return 0;
}
