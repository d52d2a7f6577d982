/*
 * marks.h - pyusdt.mark() and pyusdt.span: probes that the program itself places.
 * They need no sys.monitoring event and no watcher.  The calling thread holds the GIL
 * of its interpreter, where there is one.
 */
#ifndef PYUSDT_MARKS_H
#define PYUSDT_MARKS_H

#include <Python.h>

/* mark(name, value=...): fires MARK.  METH_FASTCALL | METH_KEYWORDS. */
PyObject *pyusdt_mark(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *kwnames);

/* A new reference to a new type span, for one interpreter, or NULL with an exception. */
PyObject *pyusdt_span_type(void);

#endif
