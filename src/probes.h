/*
 * probes.h - THE table of probes.  The only place where a probe is named: the
 * semaphores, the callbacks, the event masks, `pyusdt.probes()`, docs/probes.md
 * and the tests are all derived from it.
 *
 *     PROBE(name, event, shape, about)
 *
 * name   the probe, in provider "pyusdt"
 * event  the sys.monitoring event that feeds it: a name in
 *        sys.monitoring.events, looked up at run time because the numbers
 *        differ between versions of CPython
 * shape  what the interpreter passes to the event's callback, and so what
 *        arguments 2, 3 and 4 of the probe are:
 *        CODE   (code, offset)               line = co_firstlineno, value ""
 *        VALUE  (code, offset, value, ...)   line = co_firstlineno,
 *                                            value = text of the third one
 *        LINE   (code, line)                 line = current, offset 0, value ""
 *        ERROR  (code, offset, exception)    line = current, value = text of
 *                                            the exception
 *        JUMP   (code, offset, destination)  line = current, value = the
 *                                            destination's offset, an int64_t
 *        PLACE  (code, offset)               line = current, value ""
 * about  one line for people
 *
 * An event that an extension fires of an object that is no code object (the C
 * API PyMonitoring_Fire...Event of CPython 3.13) has the text of that object as
 * function and qualname, no file, and line 0 unless the event itself says one.
 *
 * A probe that a version of CPython has no event for stands in SINCE_...() or
 * BEFORE_...() of compat.h: it is absent from the library built for that one.
 *
 * Every probe of an event has the same eight arguments at the same places (on x86-64 the
 * last two are always in r8 and r9, see usdt.h):
 *
 *     ARGUMENT(index, name, C type, about)
 */
#ifndef PYUSDT_PROBES_H
#define PYUSDT_PROBES_H

#include "compat.h"

/* clang-format off */
#define PYUSDT_FUNCTION_PROBES(PROBE)                                                              \
    PROBE(PY_START,  PY_START,  CODE,  "a Python function starts")                                 \
    PROBE(PY_RESUME, PY_RESUME, CODE,  "a generator or coroutine goes on after a yield or await")  \
    PROBE(PY_RETURN, PY_RETURN, VALUE, "a Python function returns; value = what it returns")       \
    PROBE(PY_YIELD,  PY_YIELD,  VALUE, "a generator or coroutine yields; value = what it yields")  \
    PROBE(CALL,      CALL,      VALUE, "a call is about to be made; value = the callable")         \
    PROBE(LINE,      LINE,      LINE,  "a line of Python is about to run")                         \
    PROBE(PY_UNWIND, PY_UNWIND, VALUE, "an exception leaves a Python function; value = it")        \
    PROBE(PY_THROW,  PY_THROW,  VALUE, "throw() or close() goes into a generator; value = what")   \
    PROBE(C_RETURN,  C_RETURN,  VALUE, "a C function returns; value = the callable")               \
    PROBE(C_RAISE,   C_RAISE,   VALUE, "an exception leaves a C function; value = the callable")

#define PYUSDT_EXCEPTION_PROBES(PROBE)                                                             \
    PROBE(RAISE,   RAISE,   ERROR, "an exception is raised, or comes out of a call; value = it")   \
    PROBE(RERAISE, RERAISE, ERROR, "an exception is raised again, as by finally; value = it")      \
    PROBE(EXCEPTION_HANDLED, EXCEPTION_HANDLED, ERROR, "an exception is caught; value = it")       \
    PROBE(STOP_ITERATION, STOP_ITERATION, ERROR, "an iteration ends without a real exception")

#define PYUSDT_CONTROL_FLOW_PROBES(PROBE)                                                          \
    PROBE(JUMP, JUMP, JUMP, "an unconditional jump; value = offset of its destination")            \
    BEFORE_3_14(                                                                                   \
    PROBE(BRANCH, BRANCH, JUMP, "a conditional jump, taken or not; value = where it goes"))        \
    SINCE_3_14(                                                                                    \
    PROBE(BRANCH_LEFT, BRANCH_LEFT, JUMP, "a conditional jump goes left; value = where to"))       \
    SINCE_3_14(                                                                                    \
    PROBE(BRANCH_RIGHT, BRANCH_RIGHT, JUMP, "a conditional jump goes right; value = where to"))    \
    PROBE(INSTRUCTION, INSTRUCTION, PLACE, "an instruction of the bytecode is about to run")

#define PYUSDT_PROBES(PROBE)                                                                       \
    PYUSDT_FUNCTION_PROBES(PROBE)                                                                  \
    PYUSDT_EXCEPTION_PROBES(PROBE)                                                                 \
    PYUSDT_CONTROL_FLOW_PROBES(PROBE)

/* Fired by the program itself, through pyusdt.mark() and pyusdt.span: no event feeds
 * them, and their arguments are their own.
 *
 *     PROBE(name, arguments, about) */
#define PYUSDT_MARK_PROBES(PROBE)                                                                  \
    PROBE(MARK, "char *name, char *value",                                                         \
          "pyusdt.mark(name, value) is called; value = its text, \"\" if none was given")          \
    PROBE(SPAN_BEGIN, "char *name, uint64_t id", "a span begins")                                  \
    PROBE(SPAN_END, "char *name, uint64_t id",                                                     \
          "it ends, by an exception or not; id is that of its beginning")

#define PYUSDT_ARGUMENTS(ARGUMENT)                                                                 \
    ARGUMENT(0, function, "char *",   "co_name of the code that runs, UTF-8")                      \
    ARGUMENT(1, file,     "char *",   "co_filename, UTF-8")                                        \
    ARGUMENT(2, line,     "int",      "co_firstlineno; the current line in LINE and in the probes of exceptions and control flow") \
    ARGUMENT(3, offset,   "int64_t",  "offset of the instruction in bytes; 0 in LINE")             \
    ARGUMENT(4, value,    "char *",   "text of the value, \"\" where there is none; an int64_t in JUMP and BRANCH*") \
    ARGUMENT(5, qualname, "char *",   "co_qualname, UTF-8")                                        \
    ARGUMENT(6, code,     "uint64_t", "address of the code object: a cheap map key")               \
    ARGUMENT(7, frame,    "uint64_t", "address of the frame: the same from start to return")
/* clang-format on */

/* PYUSDT_PROBE_PY_START and so on: the index of a probe in the table. */
enum pyusdt_probe {
#define PROBE(name, event, shape, about) PYUSDT_PROBE_##name,
    PYUSDT_PROBES(PROBE)
#undef PROBE
        PYUSDT_PROBE_COUNT
};

#endif
