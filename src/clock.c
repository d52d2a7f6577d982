/*
 * clock.c - the clock of clock.h: which counter there is, and its rate.
 *
 * Its state is the process's: set once, by the first thread that starts it, and
 * only read from then on.  A forked child inherits it and it stays right.
 */
#include "clock.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define CALIBRATION_NSEC 2000000

bool pyusdt_clock_counter;

struct reading {
    int64_t counter;
    int64_t nsec;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct reading first;

/* Both clocks at the same moment: of a few tries the one that took least. */
static struct reading
read_both(void)
{
    struct reading best = {0, 0};
    int64_t least = INT64_MAX;

    for (int i = 0; i < 5; i++) {
        int64_t before = pyusdt_counter();
        int64_t nsec = pyusdt_nsec_now();
        int64_t took = pyusdt_counter() - before;
        if (took < least) {
            least = took;
            best = (struct reading){before + took / 2, nsec};
        }
    }
    return best;
}

/* The kernel uses the counter for its own clock only while it has found it to run
 * at one rate and the same on all processors. */
static bool
counter_is_trusted(void)
{
#if defined(__x86_64__)
    char name[16] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (file == NULL) {
        return false;
    }
    bool trusted = fgets(name, sizeof(name), file) != NULL && strcmp(name, "tsc\n") == 0;
    (void)fclose(file);
    return trusted;
#else
    return true;
#endif
}

static void
start(void)
{
    if (!counter_is_trusted()) {
        return;
    }
    first = read_both();
    struct timespec pause = {0, CALIBRATION_NSEC};
    (void)nanosleep(&pause, NULL);
    __atomic_store_n(&pyusdt_clock_counter, true, __ATOMIC_RELEASE);
}

void
pyusdt_clock_start(void)
{
    (void)pthread_once(&once, start);
}

double
pyusdt_clock_rate(void)
{
    if (!__atomic_load_n(&pyusdt_clock_counter, __ATOMIC_ACQUIRE)) {
        return 1.0;
    }
    struct reading now = read_both();
    int64_t ticks = now.counter - first.counter;
    return ticks > 0 ? (double)(now.nsec - first.nsec) / (double)ticks : 1.0;
}
