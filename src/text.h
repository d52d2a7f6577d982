/*
 * text.h - bounded text of Python objects for a tracer.
 *
 * Nothing here runs user code, allocates, waits, or raises; a pending exception
 * stays as it is.  The calling thread runs Python in the object's interpreter:
 * it holds the GIL, where there is one.
 */
#ifndef PYUSDT_TEXT_H
#define PYUSDT_TEXT_H

#include <Python.h>

/* Sizes of the buffers for names that are not ASCII, with the final NUL. */
#define PYUSDT_NAME_SIZE 512
#define PYUSDT_FILE_SIZE 1024

/* The text of an exact str as NUL-terminated UTF-8.  ASCII text is not copied:
 * the result then points into `name` and lives as long.  Otherwise it is
 * `buffer`, with lone surrogates as \udcXX, a NUL as \x00, and "..." at the end
 * when it had to be cut.  "" when `name` is no str.  ASCII text with a NUL, which
 * no source can give a function, ends there. */
const char *pyusdt_name(PyObject *name, char *buffer, size_t size);

/* The same of any str, always copied into buffer: a NUL is \x00 in all of them. */
void pyusdt_name_copy(PyObject *name, char *buffer, size_t size);

/* Writes the text of any object into buffer: at most `size` bytes, 8 or more,
 * with the final NUL; a longer text ends in "...", never within a character.
 *
 *   None, bool, int of 64 bits, float, str, bytes    as repr()
 *   larger int                                       <int of 65 bits>
 *   list, tuple, dict                                as repr(), items by these
 *                                                    rules, [...] from the
 *                                                    fourth level down
 *   class, function, method, built-in                as repr() of CPython 3.12
 *   exception                                        as BaseException.__repr__(),
 *                                                    its args by these rules
 *   anything else, subclasses of these included      as object.__repr__()
 *
 * On a free-threaded build a list, dict or exception is looked into behind its own
 * lock.  One that another thread is changing reads as object.__repr__() instead,
 * since nobody is waited for.  A class has its __name__ there and not its
 * __qualname__, a function the qualified name of its code: CPython changes the
 * others with no lock at all.
 *
 * The quotes of a str or bytes that is longer than the buffer are chosen by
 * what its first size - 1 elements contain. */
void pyusdt_text(PyObject *value, char *buffer, size_t size);

#endif
