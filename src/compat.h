/*
 * compat.h - every difference between versions of CPython that the project
 * knows of.  No other file may test PY_VERSION_HEX.
 */
#ifndef PYUSDT_COMPAT_H
#define PYUSDT_COMPAT_H

#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if PY_VERSION_HEX < 0x030C0000
#error "pyusdt needs CPython 3.12 or newer: sys.monitoring (PEP 669) came with 3.12"
#endif

/* Entries of probes.h that only some versions have. */
#if PY_VERSION_HEX >= 0x030E0000
#define SINCE_3_14(...) __VA_ARGS__
#define BEFORE_3_14(...)
#else
#define SINCE_3_14(...)
#define BEFORE_3_14(...) __VA_ARGS__
#endif

/* Address of the frame that runs now.  In a sys.monitoring callback this is
 * the frame of the event: C callbacks push none. */
static inline uint64_t
pyusdt_current_frame(PyThreadState *ts)
{
#if PY_VERSION_HEX >= 0x030D0000
    return (uint64_t)(uintptr_t)ts->current_frame;
#else
    return (uint64_t)(uintptr_t)ts->cframe->current_frame;
#endif
}

/* Whether os.fork() may count the process's threads, to warn of them, after the hooks
 * of os.register_at_fork() have run in the parent: 3.13 and 3.14.0 do so
 * (cpython#137109), 3.12.1 does not, later ones of 3.12 are not known. */
static inline bool
pyusdt_fork_counts_threads_late(void)
{
    return Py_Version < 0x030E0100;
}

/* What a thread state tells of the calls in it.  The runner takes its own out
 * of it while the program runs, and puts them back after. */
struct pyusdt_calls {
    struct _PyInterpreterFrame *frame;
    int python_left; /* calls until RecursionError */
    int c_left;      /* from C to Python and back; 3.14 looks at the stack pointer instead */
};

static inline struct pyusdt_calls
pyusdt_calls_now(PyThreadState *ts)
{
    return (struct pyusdt_calls){
#if PY_VERSION_HEX >= 0x030D0000
        .frame = ts->current_frame,
#else
        .frame = ts->cframe->current_frame,
#endif
        .python_left = ts->py_recursion_remaining,
#if PY_VERSION_HEX < 0x030E0000
        .c_left = ts->c_recursion_remaining,
#endif
    };
}

/* Whether a frame's references to functions, code and the like are not counted, so that
 * the garbage collector has to see the frame. */
#ifdef Py_GIL_DISABLED
#define PYUSDT_FRAMES_DEFER_REFERENCES true
#else
#define PYUSDT_FRAMES_DEFER_REFERENCES false
#endif

/* Those of a thread that has not called anything yet. */
static inline struct pyusdt_calls
pyusdt_calls_none(PyThreadState *ts)
{
    return (struct pyusdt_calls){
#if PY_VERSION_HEX >= 0x030F0000
        .frame = ts->base_frame,
#endif
        .python_left = ts->py_recursion_limit,
#if PY_VERSION_HEX >= 0x030E0000
#elif PY_VERSION_HEX >= 0x030D0000
        .c_left = Py_C_RECURSION_LIMIT,
#else
        .c_left = C_RECURSION_LIMIT,
#endif
    };
}

static inline void
pyusdt_calls_set(PyThreadState *ts, struct pyusdt_calls calls)
{
#if PY_VERSION_HEX >= 0x030D0000
    ts->current_frame = calls.frame;
#else
    ts->cframe->current_frame = calls.frame;
#endif
    ts->py_recursion_remaining = calls.python_left;
#if PY_VERSION_HEX < 0x030E0000
    ts->c_recursion_remaining = calls.c_left;
#endif
}

/* Whether python dies of SIGINT after this exception.  Before 3.14 a subclass of
 * KeyboardInterrupt was an exception as any other. */
#if PY_VERSION_HEX >= 0x030E0000
#define PYUSDT_IS_INTERRUPT(error) PyErr_GivenExceptionMatches(error, PyExc_KeyboardInterrupt)
#else
#define PYUSDT_IS_INTERRUPT(error) Py_IS_TYPE(error, (PyTypeObject *)PyExc_KeyboardInterrupt)
#endif

static inline bool
pyusdt_is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* 1 if tracebacks show the lines of `python -c`. */
#define PYUSDT_COMMANDS_HAVE_SOURCE (PY_VERSION_HEX >= 0x030D0000)

/* Number of bits of the absolute value of an exact int that is not zero.
 * int.bit_length() by the layout of PyLongObject (cpython/longintrepr.h), since
 * the function behind it is private and changed its type twice. */
static inline uint64_t
pyusdt_int_bits(PyObject *value)
{
    const PyLongObject *number = (const PyLongObject *)value;
    uint64_t digits = number->long_value.lv_tag >> 3;
    digit top = number->long_value.ob_digit[digits - 1];
    return (digits - 1) * PyLong_SHIFT + (uint64_t)(32 - __builtin_clz(top));
}

/* Free-threaded builds.  While a callback looks at an object other threads run,
 * and may change it.  What can be changed is then read in one of two ways only:
 *
 *   behind the object's own lock, which its methods take too.  It is tried and
 *   never waited for: a callback blocks on nothing.
 *
 *   with no lock, if it is changed only while all threads are stopped (a class's
 *   __name__) or if the interpreter itself reads it so at a call (a function's
 *   code).  __qualname__ of a class or a function is neither: the name of the
 *   class and the qualified name of the code stand in for it.
 */
static inline bool
pyusdt_try_lock(PyObject *object)
{
#ifdef Py_GIL_DISABLED
    uint8_t unlocked = 0; /* PyMutex: bit 0 is "locked", bit 1 "somebody waits" */
    return __atomic_compare_exchange_n(&object->ob_mutex._bits, &unlocked, 1, false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
#else
    (void)object;
    return true;
#endif
}

static inline void
pyusdt_unlock(PyObject *object)
{
#ifdef Py_GIL_DISABLED
    PyMutex_Unlock(&object->ob_mutex);
#else
    (void)object;
#endif
}

/* The GIL is lock enough before 3.13. */
#if PY_VERSION_HEX < 0x030D0000
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

/* The name of a class that is made by Python code, a str. */
static inline PyObject *
pyusdt_class_qualname(PyTypeObject *type)
{
#ifdef Py_GIL_DISABLED
    return ((PyHeapTypeObject *)type)->ht_name;
#else
    return ((PyHeapTypeObject *)type)->ht_qualname;
#endif
}

static inline PyObject *
pyusdt_function_qualname(PyObject *function)
{
#ifdef Py_GIL_DISABLED
    return ((PyCodeObject *)PyFunction_GET_CODE(function))->co_qualname;
#else
    return ((PyFunctionObject *)function)->func_qualname;
#endif
}

/* What internals.h is for: where CPython's internal structures differ. */
#ifdef Py_BUILD_CORE

#if PY_VERSION_HEX >= 0x030D0000
#define PYUSDT_FRAME_CODE f_executable
#define PYUSDT_FRAME_INSTRUCTION instr_ptr
#define PYUSDT_THREAD_FRAME offsetof(PyThreadState, current_frame)
#define PYUSDT_THREAD_FRAME_2 (-1)
#else
#define PYUSDT_FRAME_CODE f_code
#define PYUSDT_FRAME_INSTRUCTION prev_instr
#define PYUSDT_THREAD_FRAME offsetof(PyThreadState, cframe)
#define PYUSDT_THREAD_FRAME_2 offsetof(_PyCFrame, current_frame)
#endif

/* Free-threaded builds: each thread may run a copy of the bytecode. */
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
#define PYUSDT_FRAME_COPY offsetof(struct _PyInterpreterFrame, tlbc_index)
#define PYUSDT_CODE_COPIES offsetof(PyCodeObject, co_tlbc)
#define PYUSDT_COPIES_ENTRIES offsetof(_PyCodeArray, entries)
#else
#define PYUSDT_FRAME_COPY (-1)
#define PYUSDT_CODE_COPIES (-1)
#define PYUSDT_COPIES_ENTRIES (-1)
#endif

/* The first byte of the bytecode that the frame runs. */
static inline const char *
pyusdt_frame_bytecode(const struct _PyInterpreterFrame *frame, const PyCodeObject *code)
{
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
    return code->co_tlbc->entries[frame->tlbc_index];
#else
    (void)frame;
    return code->co_code_adaptive;
#endif
}

/* The pthread key of the interpreter's own pointer to the thread's state, which
 * stays when the GIL is released.  NULL: it is a thread-local variable instead,
 * which no other object can name. */
static inline Py_tss_t *
pyusdt_thread_key(void)
{
#if PY_VERSION_HEX >= 0x030F0000
    return NULL;
#else
    return &_PyRuntime.autoTSSkey;
#endif
}

#endif

/* Whether the interpreter has no GIL: 0 or 1. */
#ifdef Py_GIL_DISABLED
#define PYUSDT_FREE_THREADED 1
#else
#define PYUSDT_FREE_THREADED 0
#endif

/* Slots of the module definition.  A free-threaded 3.13 locks less than 3.14 does
 * (an exception's args, for one): it turns its GIL on when it imports us. */
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
#define PYUSDT_GIL_SLOT {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#else
#define PYUSDT_GIL_SLOT
#endif
#define PYUSDT_SLOTS                                                                               \
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED}, PYUSDT_GIL_SLOT

#endif
