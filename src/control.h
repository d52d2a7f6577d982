/*
 * control.h - the settings that can be changed while the program runs, and the block
 * of memory by which that is asked for, from within or from outside.
 *
 * The library exports the block as the symbol `pyusdt_control`.  Whoever may ptrace
 * the process may write it by /proc/PID/mem.  All numbers have the byte order of the
 * machine:
 *
 *     offset  type        what
 *          0  char[8]     magic, "pyusdtCB"
 *          8  uint32      version of this layout, 1
 *         12  uint32      size of the block in bytes
 *         16  uint32      request: odd while somebody writes the settings below
 *         20  uint32      applied: the last request that was carried out
 *         24  uint32      refused: bit i, the i-th setting of that request was bad and
 *                         was left as it was (0 check_msec, 1 value_max, 2 slow_usec,
 *                         3 include, 4 exclude)
 *         28  uint32      serving: 0 if nobody looks at the requests (pyusdt is
 *                         disabled, or the program is ending)
 *         32  int64       check_msec  1 to 60000
 *         40  int64       value_max   16 to 4096, bytes
 *         48  int64       slow_usec   0 to 3600000000
 *         56  char[2048]  include, UTF-8 with a final NUL (filter.h)
 *       2104  char[2048]  exclude
 *
 * The settings say what is in force.  To change some: wait until `request` is even and
 * equal to `applied`; write request + 1; write the settings; write request + 2.  The
 * watcher looks every check_msec, and sets `applied` when every interpreter of the
 * process goes by the new settings.
 */
#ifndef PYUSDT_CONTROL_H
#define PYUSDT_CONTROL_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "filter.h"

#define PYUSDT_CONTROL_VERSION 1

enum pyusdt_setting {
    PYUSDT_CHECK_MSEC,
    PYUSDT_VALUE_MAX,
    PYUSDT_SLOW_USEC,
    PYUSDT_INCLUDE,
    PYUSDT_EXCLUDE,
    PYUSDT_SETTING_COUNT,
};

struct pyusdt_settings {
    int64_t number[PYUSDT_INCLUDE];
    struct pyusdt_filter filter;
};

struct pyusdt_control {
    char magic[8]; /* "pyusdtCB", no NUL */
    uint32_t version;
    uint32_t size;
    _Atomic uint32_t request;
    _Atomic uint32_t applied;
    _Atomic uint32_t refused;
    _Atomic uint32_t serving;
    struct pyusdt_settings settings;
};

extern struct pyusdt_control pyusdt_control;

/* Smallest and largest value of a number, and its default. */
struct pyusdt_range {
    const char *name;     /* of the environment variable */
    const char *argument; /* of pyusdt.configure() */
    long long smallest, largest, usual;
};
extern const struct pyusdt_range pyusdt_ranges[PYUSDT_INCLUDE];

/* The settings in force become these; called once, at import. */
void pyusdt_control_init(const struct pyusdt_settings *settings);

/* For the watcher, or for a thread with the GIL while there is none: takes a request,
 * if there is a new one; what is bad in it is left as it was.  True: every interpreter
 * has to move to the patterns, then pyusdt_control_done() is to be called. */
bool pyusdt_control_take(void);
void pyusdt_control_done(void);
bool pyusdt_control_pending(void);
/* In a forked child: a request that the parent was still writing will never end. */
void pyusdt_control_after_fork_child(void);

/* pyusdt.configure(): METH_VARARGS | METH_KEYWORDS. */
PyObject *pyusdt_configure(PyObject *module, PyObject *args, PyObject *kwargs);

#endif
