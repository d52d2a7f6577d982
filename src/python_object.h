/*
 * python_object.h - makes a shared object of the provider "python" out of one
 * group of python_probes.h: its semaphores, its sites and notes, a function that
 * fires each probe, and the one symbol by which libpyusdt finds all of them.
 *
 * Included once by a file that has said which group:
 *
 *     #define PYTHON_GROUP PYUSDT_PYTHON_..._PROBES
 *
 * It needs no library, not even libc.  Any thread may call the functions; the
 * caller looks at the semaphore first.
 */
#include "python_probes.h"

#define PROBE(id, name, shape, about) USDT_DEFINE_SEMAPHORE(python, name);
PYTHON_GROUP(PROBE)
#undef PROBE

/* noclone: one site and one note a probe. */
#define PROBE(id, name, shape, about)                                                              \
    static __attribute__((noinline, noclone)) void fire_##name(PYUSDT_PYTHON_PARAMETERS_##shape)   \
    {                                                                                              \
        PYUSDT_PYTHON_SITE_##shape(name);                                                          \
    }
PYTHON_GROUP(PROBE)
#undef PROBE

static const struct pyusdt_python_probe probes[] = {
#define PROBE(id, name, shape, about)                                                              \
    {#name, &USDT_SEMAPHORE(python, name), (void (*)(void))fire_##name},
    PYTHON_GROUP(PROBE)
#undef PROBE
};

extern const struct pyusdt_python_object pyusdt_python_object;
__attribute__((visibility("default"))) const struct pyusdt_python_object pyusdt_python_object = {
    .size = sizeof(pyusdt_python_object),
    .count = sizeof(probes) / sizeof(probes[0]),
    .probes = probes,
    .sites = __start_usdt_sites,
    .sites_end = __stop_usdt_sites,
};
