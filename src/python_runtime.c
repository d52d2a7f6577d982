/* python_runtime.c - the probes of libpython-usdt-runtime.so. */
#define PYTHON_GROUP PYUSDT_PYTHON_RUNTIME_PROBES
#include "python_object.h"
