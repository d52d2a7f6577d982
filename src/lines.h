/*
 * lines.h - the line of an instruction, by the code object's own table.
 */
#ifndef PYUSDT_LINES_H
#define PYUSDT_LINES_H

#include <Python.h>

/* The line of the instruction at an offset in bytes, -1 if it belongs to none.  The
 * offset may be any number.  Reads what never changes: any thread, no lock, nothing is
 * allocated.
 *
 * PyCode_Addr2Line() is not used: while LINE is monitored it reads the interpreter's
 * own table instead, and from 3.14 on it then says -1 for instructions that have a
 * line; on a free-threaded build it takes the code object's lock. */
int pyusdt_line_of(PyCodeObject *code, int64_t offset);

#endif
