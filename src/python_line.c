/* python_line.c - the probes of libpython-usdt-line.so. */
#define PYTHON_GROUP PYUSDT_PYTHON_LINE_PROBES
#include "python_object.h"
