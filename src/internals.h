/*
 * internals.h - CPython's internal structures, which every python3-dev installs.
 *
 * For frame.c and layout.c alone; it must be the first header they include.  They
 * read fields of the structures and call none of the internal functions.
 */
#ifndef PYUSDT_INTERNALS_H
#define PYUSDT_INTERNALS_H

#define Py_BUILD_CORE 1

/* They are not made for our warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wcast-function-type"

#include <Python.h>

#include <internal/pycore_code.h>
#include <internal/pycore_frame.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>

#pragma GCC diagnostic pop

#include "compat.h"

#endif
