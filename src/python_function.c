/* python_function.c - the probes of libpython-usdt-function.so. */
#define PYTHON_GROUP PYUSDT_PYTHON_FUNCTION_PROBES
#include "python_object.h"
