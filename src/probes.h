/*
 * probes.h - THE table of probes.  The only place where a probe is named: the
 * semaphores, the callbacks, the event masks, `pyusdt.probes()`, docs/probes.md
 * and the tests are all derived from it.
 *
 *     PROBE(name, event, shape, about)
 *
 * There are two kinds.  PYUSDT_EVENT_PROBES has one probe for every event of
 * sys.monitoring, of the same name:
 *
 * name   the probe, in provider "pyusdt"
 * event  the event that feeds it: a name in sys.monitoring.events, looked up at
 *        run time because the numbers differ between versions of CPython
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
 * PYUSDT_OTHER_PROBES has those that are fed in another way:
 *
 * event  what feeds it: the name of one event, RUNS (the starts and ends of
 *        functions: PYUSDT_RUNS below), IMPORTS, GC or MARKS
 * shape  its list of arguments:
 *        ARGS    the eight usual ones; value = text of the call's arguments
 *        SLOW    the eight usual ones, with value = duration, and two more
 *        others  a list of their own, PYUSDT_ARGUMENTS_<shape>
 *
 * A probe that a version of CPython has no event for stands in SINCE_...() or
 * BEFORE_...() of compat.h: it is absent from the library built for that one.
 *
 * Every probe of code that runs has the same eight arguments at the same places
 * (on x86-64 the last two are always in r8 and r9, see usdt.h):
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

#define PYUSDT_EVENT_PROBES(PROBE)                                                                 \
    PYUSDT_FUNCTION_PROBES(PROBE)                                                                  \
    PYUSDT_EXCEPTION_PROBES(PROBE)                                                                 \
    PYUSDT_CONTROL_FLOW_PROBES(PROBE)

#define PYUSDT_CALL_PROBES(PROBE)                                                                  \
    PROBE(PY_START_ARGS, PY_START, ARGS, "as PY_START; value = the arguments of the call")         \
    PROBE(FUNC_SLOW, RUNS, SLOW, "a function has run for PYUSDT_SLOW_USEC or longer; value = ns")

#define PYUSDT_RUNTIME_PROBES(PROBE)                                                               \
    PROBE(GC_START, GC, GC_START, "the garbage collector begins")                                  \
    PROBE(GC_DONE,  GC, GC_DONE,  "the garbage collector ends")                                    \
    PROBE(IMPORT_START, IMPORTS, IMPORT_START, "a module that is not loaded yet is imported")      \
    PROBE(IMPORT_DONE,  IMPORTS, IMPORT_DONE,  "that import ends, or fails")

#define PYUSDT_MARK_PROBES(PROBE)                                                                  \
    PROBE(MARK,       MARKS, MARK, "pyusdt.mark() is called")                                      \
    PROBE(SPAN_BEGIN, MARKS, SPAN, "a span begins")                                                \
    PROBE(SPAN_END,   MARKS, SPAN, "it ends, by an exception or not")

#define PYUSDT_OTHER_PROBES(PROBE)                                                                 \
    PYUSDT_CALL_PROBES(PROBE)                                                                      \
    PYUSDT_RUNTIME_PROBES(PROBE)                                                                   \
    PYUSDT_MARK_PROBES(PROBE)

#define PYUSDT_PROBES(PROBE)                                                                       \
    PYUSDT_EVENT_PROBES(PROBE)                                                                     \
    PYUSDT_OTHER_PROBES(PROBE)

#define PYUSDT_ARGUMENTS(ARGUMENT)                                                                 \
    ARGUMENT(0, function, "char *",   "co_name of the code that runs, UTF-8")                      \
    ARGUMENT(1, file,     "char *",   "co_filename, UTF-8")                                        \
    ARGUMENT(2, line,     "int",      "co_firstlineno; the current line in LINE and in the probes of exceptions and control flow") \
    ARGUMENT(3, offset,   "int64_t",  "offset of the instruction in bytes; 0 in LINE")             \
    ARGUMENT(4, value,    "char *",   "text of the value, \"\" where there is none; an int64_t in JUMP and BRANCH*") \
    ARGUMENT(5, qualname, "char *",   "co_qualname, UTF-8")                                        \
    ARGUMENT(6, code,     "uint64_t", "address of the code object: a cheap map key, until the code is gone and another has its place") \
    ARGUMENT(7, frame,    "uint64_t", "address of the frame: the same from start to return")

#define PYUSDT_ARGUMENTS_SLOW(ARGUMENT)                                                            \
    ARGUMENT(4, value, "int64_t", "duration in ns of this run: from start or resume to yield or end") \
    ARGUMENT(8, total, "int64_t", "ns of all runs of this call until now: more than value in generators and coroutines") \
    ARGUMENT(9, ended, "int",     "1 when the call has ended, 0 when it has only yielded")
#define PYUSDT_ARGUMENTS_GC_START(ARGUMENT)                                                        \
    ARGUMENT(0, generation, "int", "the oldest generation that is collected")
#define PYUSDT_ARGUMENTS_GC_DONE(ARGUMENT)                                                         \
    ARGUMENT(0, generation,    "int",     "the oldest generation that was collected")              \
    ARGUMENT(1, collected,     "int64_t", "objects that were freed")                               \
    ARGUMENT(2, uncollectable, "int64_t", "objects that could not be freed")                       \
    ARGUMENT(3, duration,      "int64_t", "ns")
#define PYUSDT_ARGUMENTS_IMPORT_START(ARGUMENT)                                                    \
    ARGUMENT(0, module, "char *", "full name of the module, UTF-8")
#define PYUSDT_ARGUMENTS_IMPORT_DONE(ARGUMENT)                                                     \
    ARGUMENT(0, module,   "char *",  "full name of the module, UTF-8")                             \
    ARGUMENT(1, found,    "int",     "1 when it was imported, 0 when that raised an exception")    \
    ARGUMENT(2, duration, "int64_t", "ns, with the imports inside it")
#define PYUSDT_ARGUMENTS_MARK(ARGUMENT)                                                            \
    ARGUMENT(0, name,  "char *", "name of the mark, UTF-8")                                        \
    ARGUMENT(1, value, "char *", "text of the value, \"\" where none was given")
#define PYUSDT_ARGUMENTS_SPAN(ARGUMENT)                                                            \
    ARGUMENT(0, name, "char *",   "name of the span, UTF-8")                                       \
    ARGUMENT(1, id,   "uint64_t", "the same at the span's beginning and end")
/* clang-format on */

/* PYUSDT_PROBE_PY_START and so on: the index of a probe in the table.  Those of
 * PYUSDT_EVENT_PROBES come first: the index of such a probe is that of its event. */
enum pyusdt_probe {
#define PROBE(name, event, shape, about) PYUSDT_PROBE_##name,
    PYUSDT_PROBES(PROBE)
#undef PROBE
        PYUSDT_PROBE_COUNT
};

#define PROBE(name, event, shape, about) +1
enum { PYUSDT_EVENT_COUNT = 0 PYUSDT_EVENT_PROBES(PROBE) };
#undef PROBE

/* A set of probes: bit i is the probe of index i.  The first PYUSDT_EVENT_COUNT
 * bits are a set of events, too. */
typedef uint64_t pyusdt_set;

#define PYUSDT_BIT(name) ((pyusdt_set)1 << PYUSDT_PROBE_##name)

/* Events that begin and end a run of a function. */
#define PYUSDT_STARTS (PYUSDT_BIT(PY_START) | PYUSDT_BIT(PY_RESUME) | PYUSDT_BIT(PY_THROW))
#define PYUSDT_ENDS (PYUSDT_BIT(PY_RETURN) | PYUSDT_BIT(PY_YIELD) | PYUSDT_BIT(PY_UNWIND))
#define PYUSDT_RUNS (PYUSDT_STARTS | PYUSDT_ENDS)

#endif
