/*
 * runs.c - the table of runs.h: one a process, mapped when it is first needed and kept.
 * The kernel gives it page by page, as it is touched (an entry is 32 bytes).
 *
 * A frame has two groups of eight entries where it may stand, by its address.  So
 * some 200,000 frames, running and suspended, find a place; one that does not is not
 * timed.  An entry belongs to its frame's thread from the moment its `frame` is set;
 * it is set by compare-and-exchange, because frames of several threads share a group.
 */
#include "runs.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "clock.h"

#define GROUP 8
#define GROUP_BITS 15

struct entry {
    _Atomic uint64_t frame; /* 0: free */
    uint64_t code;          /* tells a new frame at the same address */
    int64_t start;          /* of its last run */
    int64_t total;          /* of the runs before */
};

#define TABLE_SIZE (sizeof(struct entry[1 << GROUP_BITS][GROUP]))

static struct entry (*_Atomic table)[GROUP]; /* NULL until it is first needed */

bool
pyusdt_runs_prepare(void)
{
    if (atomic_load(&table) != NULL) {
        /* Fresh pages of zeros, and the memory goes back to the kernel. */
        return madvise(atomic_load(&table), TABLE_SIZE, MADV_DONTNEED) == 0;
    }
    void *memory = mmap(NULL, TABLE_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    struct entry(*none)[GROUP] = NULL;
    if (!atomic_compare_exchange_strong(&table, &none, memory)) {
        (void)munmap(memory, TABLE_SIZE); /* another thread was first */
    }
    return true;
}

static inline uint64_t
hash(uint64_t number)
{
    return number * 0x9E3779B97F4A7C15u >> (64 - GROUP_BITS);
}

/* The first choice keeps frames together that lie in one page, as those of a thread
 * do that call each other: theirs is the time that is counted. */
static inline struct entry *
group(uint64_t frame, int choice)
{
    struct entry(*groups)[GROUP] = atomic_load_explicit(&table, memory_order_acquire);
    if (groups == NULL) {
        return NULL;
    }
    return groups[choice == 0 ? hash(frame >> 12) ^ (frame >> 6 & 63) : hash(frame >> 3)];
}

static struct entry *
find(uint64_t frame)
{
    for (int choice = 0; choice < 2; choice++) {
        struct entry *entries = group(frame, choice);
        for (int i = 0; entries != NULL && i < GROUP; i++) {
            if (atomic_load_explicit(&entries[i].frame, memory_order_relaxed) == frame) {
                return &entries[i];
            }
        }
    }
    return NULL;
}

/* An entry of this frame, taken if it has none. */
static struct entry *
take(uint64_t frame)
{
    for (int choice = 0; choice < 2; choice++) {
        struct entry *entries = group(frame, choice);
        for (int i = 0; entries != NULL && i < GROUP; i++) {
            uint64_t other = atomic_load_explicit(&entries[i].frame, memory_order_relaxed);
            if (other == frame) {
                return &entries[i];
            }
            if (other == 0 && atomic_compare_exchange_strong(&entries[i].frame, &other, frame)) {
                return &entries[i];
            }
        }
    }
    return NULL;
}

void
pyusdt_runs_begin(uint64_t frame, uint64_t code, bool start)
{
    struct entry *entry = start ? NULL : find(frame);
    if (entry == NULL || entry->code != code) {
        entry = entry != NULL ? entry : take(frame);
        if (entry == NULL) {
            return;
        }
        entry->code = code;
        entry->total = 0;
    }
    entry->start = pyusdt_clock_ticks();
}

bool
pyusdt_runs_end(uint64_t frame, uint64_t code, bool ended, struct pyusdt_run *run)
{
    int64_t now = pyusdt_clock_ticks();
    struct entry *entry = find(frame);
    bool known = entry != NULL && entry->code == code;

    if (known) {
        run->ticks = now - entry->start;
        run->total = entry->total += run->ticks;
    }
    if (entry != NULL && (ended || !known)) {
        atomic_store_explicit(&entry->frame, 0, memory_order_release);
    }
    return known;
}
