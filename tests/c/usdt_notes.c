/* usdt_notes.c - the probes of usdt.h, for test_notes.py to compile and read. */
#include "usdt.h"

USDT_DEFINE_SEMAPHORE(demo, first);
USDT_DEFINE_SEMAPHORE(demo, second);
USDT_DEFINE_SEMAPHORE(demo, one);
USDT_DEFINE_SEMAPHORE(demo, two);
USDT_DEFINE_SEMAPHORE(demo, three);

void fire(const char *text, int line, int64_t offset, uint64_t key);

void
fire(const char *text, int line, int64_t offset, uint64_t key)
{
    if (USDT_SEMAPHORE(demo, first) != 0) {
        USDT_PROBE8(demo, first, text, text, line, offset, text, text, key, key + 1);
    }
    USDT_PROBE8(demo, second, text + 1, text, line + 1, offset - 1, text, text, key, key);
    USDT_PROBE1(demo, one, line);
    USDT_PROBE2(demo, two, text, (long)offset);
    USDT_PROBE3(demo, three, text, text, line + 2);
}
