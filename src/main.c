/*
 * main.c - runs a program the way the interpreter's own main does.
 *
 * It is C so that the parser, the handling of SystemExit and KeyboardInterrupt
 * and the printing of tracebacks are the interpreter's, and so that the first
 * event a tracer sees is the program's own.  While the program runs, the frames
 * of the runner below it are hidden: no traceback, stack dump, profiler or
 * recursion limit meets them.  Called once, by the main thread.
 *
 * Each function first serves a tracer that is there already.  The program's end
 * is the end of the process, with python's exit code.  Only if python is to
 * show its prompt then (-i, PYTHONINSPECT), the function returns: 0, or 1 after
 * an unhandled exception was printed.
 */
#include <Python.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "state.h"

/* ---- the runner's own frames and depth ---- */

#if PY_VERSION_HEX >= 0x030D0000
#define FRAME(ts) ((ts)->current_frame)
#else
#define FRAME(ts) ((ts)->cframe->current_frame)
#endif

/* What a thread's current frame is before it runs anything. */
#if PY_VERSION_HEX >= 0x030F0000
#define NO_FRAME(ts) ((ts)->base_frame)
#else
#define NO_FRAME(ts) NULL
#endif

/* Calls from C to Python are counted apart until 3.13; 3.14 looks at the stack
 * pointer instead. */
#if PY_VERSION_HEX >= 0x030E0000
#define C_CALLS_LEFT(ts, otherwise) (otherwise)
#elif PY_VERSION_HEX >= 0x030D0000
#define C_CALLS_LEFT(ts, otherwise) ((ts)->c_recursion_remaining)
#define C_CALLS_LIMIT Py_C_RECURSION_LIMIT
#else
#define C_CALLS_LEFT(ts, otherwise) ((ts)->c_recursion_remaining)
#define C_CALLS_LIMIT C_RECURSION_LIMIT
#endif
