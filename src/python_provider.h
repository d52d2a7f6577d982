/*
 * python_provider.h - the provider "python" as the rest of libpyusdt sees it.
 *
 * Its probes live in objects of their own (python_probes.h says why).  After
 * pyusdt_python_load() nothing here changes any more, so every thread may read it
 * and fire, with or without a GIL.  A probe whose object is not mapped has a
 * semaphore that stays 0.
 */
#ifndef PYUSDT_PYTHON_PROVIDER_H
#define PYUSDT_PYTHON_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "python_probes.h"

/* PYUSDT_PYTHON_FUNCTION_ENTRY and so on: the index of a probe in the table. */
enum pyusdt_python {
#define PROBE(id, name, shape, about) PYUSDT_PYTHON_##id,
    PYUSDT_PYTHON_PROBES(PROBE)
#undef PROBE
        PYUSDT_PYTHON_COUNT
};

/* The objects' indices. */
enum pyusdt_python_object_index {
#define OBJECT(id, file, probes) PYUSDT_PYTHON_OBJECT_##id,
    PYUSDT_PYTHON_OBJECTS(OBJECT)
#undef OBJECT
        PYUSDT_PYTHON_OBJECT_COUNT
};

extern struct pyusdt_python_probe pyusdt_python[PYUSDT_PYTHON_COUNT];

/* Maps the objects that the setting PYUSDT_PYTHON_PROVIDER and the interpreter ask
 * for: at the first call in a process, later ones do nothing.  What cannot be mapped
 * is left out, with one line on stderr if it was asked for.  After
 * pyusdt_config_load(), before the watcher looks. */
void pyusdt_python_load(void);

/* Never NULL. */
static inline const volatile uint16_t *
pyusdt_python_semaphore(int probe)
{
    return pyusdt_python[probe].semaphore;
}

/* True when somebody traces the probe: a load, a load and a test. */
static inline bool
pyusdt_python_raised(int probe)
{
    return *pyusdt_python[probe].semaphore != 0;
}

/* True when a breakpoint is in place at the probe: see usdt_site_armed(). */
bool pyusdt_python_armed(int probe);

/* The file of a mapped object, as the dynamic loader knows it; NULL if it is not
 * mapped. */
const char *pyusdt_python_file(int object);

/* pyusdt_python_fire_FUNCTION_ENTRY(file, function, line) and so on: fires if
 * somebody traces the probe.  Any thread; allocates nothing. */
#define PROBE(id, name, shape, about)                                                              \
    static inline void pyusdt_python_fire_##id(PYUSDT_PYTHON_PARAMETERS_##shape)                   \
    {                                                                                              \
        if (pyusdt_python_raised(PYUSDT_PYTHON_##id)) {                                            \
            ((void (*)(PYUSDT_PYTHON_PARAMETERS_##shape))pyusdt_python[PYUSDT_PYTHON_##id].fire)(  \
                PYUSDT_PYTHON_ARGUMENTS_##shape);                                                  \
        }                                                                                          \
    }
PYUSDT_PYTHON_PROBES(PROBE)
#undef PROBE

#endif
