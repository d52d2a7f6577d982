/*
 * python_probes.h - the table of the provider "python": CPython's own DTrace
 * probes, name by name and argument by argument, for interpreters that lack them.
 * What stands here is derived nowhere else.
 *
 *     PROBE(ID, name, shape, about)
 *
 * ID     ours: PYUSDT_PYTHON_##ID is the probe's index
 * name   CPython's: its documentation's page "Instrumenting CPython with DTrace
 *        and SystemTap" and its Include/pydtrace.d
 * shape  the arguments:
 *        PLACE   (file, function, line)  UTF-8, UTF-8, the current line
 *        GEN     (generation)            0 to 2
 *        COUNT   (collected)             objects that were unreachable
 *        MODULE  (module)                its full name, UTF-8
 *        FOUND   (module, found)         1, or 0 if it was not found
 * about  one line for people
 *
 * bcc refuses a process in which two mapped objects carry a probe of the same
 * name.  So the probes live in objects of their own, and an object is mapped only
 * if the interpreter has none of its probes:
 *
 *     OBJECT(ID, file, probes)
 *
 * The groups are those in which CPython lost them and gave them back: 3.12 to 3.14
 * built with DTrace have gc and import, 3.15 has function, too; `line` has not come
 * back.  What was built without DTrace has none.
 *
 * No Python.h here: the objects know nothing of Python.
 */
#ifndef PYUSDT_PYTHON_PROBES_H
#define PYUSDT_PYTHON_PROBES_H

#include <stdint.h>

#include "usdt.h"

/* clang-format off */
#define PYUSDT_PYTHON_FUNCTION_PROBES(PROBE)                                                       \
    PROBE(FUNCTION_ENTRY,  function__entry,  PLACE, "a Python function starts or goes on")         \
    PROBE(FUNCTION_RETURN, function__return, PLACE, "a Python function returns, yields or ends by an exception")

#define PYUSDT_PYTHON_LINE_PROBES(PROBE)                                                           \
    PROBE(LINE, line, PLACE, "a line of Python is about to run")

#define PYUSDT_PYTHON_RUNTIME_PROBES(PROBE)                                                        \
    PROBE(GC_START, gc__start, GEN,   "a garbage collection starts")                               \
    PROBE(GC_DONE,  gc__done,  COUNT, "it is done")                                                \
    PROBE(IMPORT_FIND_LOAD_START, import__find__load__start, MODULE, "a module that is not loaded yet is looked for") \
    PROBE(IMPORT_FIND_LOAD_DONE,  import__find__load__done,  FOUND,  "it was loaded, or was not found")

/* In the order of the objects: their probes have consecutive indices. */
#define PYUSDT_PYTHON_PROBES(PROBE)                                                                \
    PYUSDT_PYTHON_FUNCTION_PROBES(PROBE)                                                           \
    PYUSDT_PYTHON_LINE_PROBES(PROBE)                                                               \
    PYUSDT_PYTHON_RUNTIME_PROBES(PROBE)

#define PYUSDT_PYTHON_OBJECTS(OBJECT)                                                              \
    OBJECT(FUNCTION, "libpython-usdt-function.so", PYUSDT_PYTHON_FUNCTION_PROBES)                  \
    OBJECT(LINE,     "libpython-usdt-line.so",     PYUSDT_PYTHON_LINE_PROBES)                      \
    OBJECT(RUNTIME,  "libpython-usdt-runtime.so",  PYUSDT_PYTHON_RUNTIME_PROBES)
/* clang-format on */

/* Of each shape: the parameters of the function that fires such a probe, the same
 * as arguments, and how it fires. */
#define PYUSDT_PYTHON_PARAMETERS_PLACE const char *file, const char *function, int line
#define PYUSDT_PYTHON_ARGUMENTS_PLACE file, function, line
#define PYUSDT_PYTHON_SITE_PLACE(name) USDT_PROBE3(python, name, file, function, line)

#define PYUSDT_PYTHON_PARAMETERS_GEN int generation
#define PYUSDT_PYTHON_ARGUMENTS_GEN generation
#define PYUSDT_PYTHON_SITE_GEN(name) USDT_PROBE1(python, name, generation)

#define PYUSDT_PYTHON_PARAMETERS_COUNT long collected
#define PYUSDT_PYTHON_ARGUMENTS_COUNT collected
#define PYUSDT_PYTHON_SITE_COUNT(name) USDT_PROBE1(python, name, collected)

#define PYUSDT_PYTHON_PARAMETERS_MODULE const char *module
#define PYUSDT_PYTHON_ARGUMENTS_MODULE module
#define PYUSDT_PYTHON_SITE_MODULE(name) USDT_PROBE1(python, name, module)

#define PYUSDT_PYTHON_PARAMETERS_FOUND const char *module, int found
#define PYUSDT_PYTHON_ARGUMENTS_FOUND module, found
#define PYUSDT_PYTHON_SITE_FOUND(name) USDT_PROBE2(python, name, module, found)

/* What an object exports, by this one symbol.  The package's files are of one
 * build; `size` tells if they are not. */
#define PYUSDT_PYTHON_SYMBOL "pyusdt_python_object"

struct pyusdt_python_probe {
    const char *name;
    const volatile uint16_t *semaphore;
    void (*fire)(void); /* of the type that the probe's shape says */
};

struct pyusdt_python_object {
    uint32_t size;  /* of this struct */
    uint32_t count; /* of probes */
    const struct pyusdt_python_probe *probes;
    const struct usdt_site *sites, *sites_end;
};

#endif
