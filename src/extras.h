/*
 * extras.h - probes of the runtime: the garbage collector and imports.
 */
#ifndef PYUSDT_EXTRAS_H
#define PYUSDT_EXTRAS_H

#include <Python.h>
#include <stdint.h>

#include "probes.h"
#include "state.h"

/* Probes that need the collector's callback, and the import system's code. */
#define PYUSDT_GC                                                                                  \
    (PYUSDT_BIT(GC_START) | PYUSDT_BIT(GC_DONE) | PYUSDT_PYTHON_BIT(GC_START) |                    \
     PYUSDT_PYTHON_BIT(GC_DONE))
#define PYUSDT_IMPORTS                                                                             \
    (PYUSDT_BIT(IMPORT_START) | PYUSDT_BIT(IMPORT_DONE) |                                          \
     PYUSDT_PYTHON_BIT(IMPORT_FIND_LOAD_START) | PYUSDT_PYTHON_BIT(IMPORT_FIND_LOAD_DONE))

/* GIL held; 0, or -1 with an exception set. */
int pyusdt_extras_init(struct pyusdt_state *state);
/* Puts our callback into gc.callbacks, or takes it out.  The same. */
int pyusdt_gc_watch(struct pyusdt_state *state, bool on);

/* In a callback of events.c: an event of the code that loads a module. */
void pyusdt_import_event(int event, PyObject *code, uint64_t frame);

#endif
