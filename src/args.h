/*
 * args.h - bounded text of a call's arguments, for a tracer.
 */
#ifndef PYUSDT_ARGS_H
#define PYUSDT_ARGS_H

#include <Python.h>
#include <stdint.h>

/* Writes the arguments of the call that `frame` (frame.h) is at the beginning of, in
 * PY_START's callback, into buffer: at most `size` bytes, 8 or more, with the final
 * NUL; a longer text ends in "...", never within a character.  "" if there are none.
 * `code` is the frame's.  The names are in the order of the signature:
 *
 *     n=3, name='x', *args=(…2 items), key=None, **kw={…1 item}
 *
 *   a value                          by the rules of text.h
 *   *args, **kw                      how many there are
 *   first parameter named self       self=<module.Class>, its type
 *   first parameter named cls        the same; a class by its own name:
 *                                    cls=<class 'module.Class'>
 *   .0, what a comprehension is of   .0=<...>
 *   no value                         name=<unset>
 *
 * What is captured by an inner function is read from its cell.  As in text.h:
 * nothing here runs user code, allocates, waits, or raises; a pending exception
 * stays.  On a free-threaded build a cell is read behind its own lock; one that
 * another thread is changing reads as the cell itself, <cell object at 0x...>. */
void pyusdt_args_text(PyCodeObject *code, uint64_t frame, char *buffer, size_t size);

#endif
