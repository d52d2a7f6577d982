/*
 * frame.h - what a frame of the interpreter holds.
 *
 * A frame is the address that pyusdt_current_frame() gives (compat.h); 0 is none.
 * The calling thread runs Python and the frame is on its stack: it is the current
 * one, or was reached from there by pyusdt_frame_previous().  Nothing here
 * allocates, waits, runs user code, or raises.  Results are borrowed: they live
 * as long as the frame does, and a local as long as nobody assigns to it.
 */
#ifndef PYUSDT_FRAME_H
#define PYUSDT_FRAME_H

#include <Python.h>
#include <stdint.h>

/* The frame that called it, 0 for the first.  Between two functions there may be
 * frames which are no function's: those that pyusdt_frame_code() gives NULL for. */
uint64_t pyusdt_frame_previous(uint64_t frame);

/* The code it runs.  NULL for what sys._getframe() leaves out: the interpreter's
 * own frames (one at each call from C to Python, and that of a constructor) and a
 * function's that has not come to its first RESUME yet. */
PyCodeObject *pyusdt_frame_code(uint64_t frame);

/* Who keeps it: 0 the thread's stack, 1 a generator or coroutine, 2 a frame
 * object, 3 and more the interpreter (enum _frameowner of CPython). */
#define PYUSDT_OWNER_GENERATOR 1
#define PYUSDT_OWNER_INTERPRETER 3
int pyusdt_frame_owner(uint64_t frame);

/* Where it is: the instruction that runs, or the call that has not returned.  To be
 * compared, not followed. */
const void *pyusdt_frame_instruction(uint64_t frame);

/* Local variable i of the code's co_localsplusnames, the cell itself of one that
 * is captured.  NULL while it is unset.  i is at least 0 and less than the code's
 * co_nlocalsplus; the frame is one of a function or module. */
PyObject *pyusdt_frame_local(uint64_t frame, int i);

/* The dict of its global variables; the frame is one of a function or module. */
PyObject *pyusdt_frame_globals(uint64_t frame);

#endif
