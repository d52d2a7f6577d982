/*
 * text_check.h - calls text.c and checks what text.h promises of every value:
 * nothing is written outside the buffer, the text ends in a NUL and is UTF-8, a
 * pending exception stays and none is set, no reference is taken or dropped.
 *
 * For textmodule.c and fuzz_text.c, which include this file and with it text.c:
 * nothing of it is in the product.  The GIL is held.
 */
#ifndef TEXT_CHECK_H
#define TEXT_CHECK_H

#include "text.c"

/* Where AddressSanitizer watches the ends of the buffer, nothing of ours must. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUARD 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define GUARD 0
#endif
#ifndef GUARD
#define GUARD 16
#endif

/* What is under test: pyusdt_text(), or pyusdt_name(), which may return a
 * pointer of its own. */
typedef const char *(*text_function)(PyObject *value, char *buffer, size_t size);

static inline const char *
text_of(PyObject *value, char *buffer, size_t size)
{
    pyusdt_text(value, buffer, size);
    return buffer;
}

/* One call with and one without a pending exception.  Gives the text as a new
 * str, or NULL with *complaint set, or NULL for lack of memory. */
static PyObject *
checked_text(text_function function, PyObject *value, size_t size, const char **complaint)
{
    PyObject *result = NULL;
    PyObject *pending = PyObject_CallFunction(PyExc_KeyError, "s", "pending");
    char guard[16];
    char *memory = malloc(size + 2 * GUARD);
    char *again = malloc(size);

    *complaint = NULL;
    if (pending == NULL || memory == NULL || again == NULL) {
        goto end;
    }
    memset(guard, 0xFF, sizeof(guard));
    memset(memory, 0xFF, size + 2 * GUARD);
    memset(again, 0xAA, size);
    Py_ssize_t references = Py_REFCNT(value);

    const char *text = function(value, memory + GUARD, size);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        *complaint = "an exception was set";
        goto end;
    }
    PyErr_SetRaisedException(Py_NewRef(pending));
    const char *same = function(value, again, size);
    PyObject *kept = PyErr_GetRaisedException();
    Py_XDECREF(kept);
    if (kept != pending) {
        *complaint = "a pending exception was lost";
        goto end;
    }
    if (Py_REFCNT(value) != references) {
        *complaint = "the reference count has changed";
        goto end;
    }
    if (memcmp(memory, guard, GUARD) != 0 || memcmp(memory + GUARD + size, guard, GUARD) != 0) {
        *complaint = "written outside the buffer";
        goto end;
    }
    if (text == memory + GUARD && memchr(text, '\0', size) == NULL) {
        *complaint = "no NUL at the end";
        goto end;
    }
    if (strcmp(text, same) != 0) {
        *complaint = "a pending exception changes the text";
        goto end;
    }
    result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), NULL);
    if (result == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        *complaint = "not UTF-8";
    }
end:
    free(memory);
    free(again);
    Py_XDECREF(pending);
    return result;
}

/* The same for Python: NULL is with an exception, AssertionError for a complaint. */
static inline PyObject *
text_or_raise(text_function function, PyObject *value, size_t size)
{
    const char *complaint = NULL;
    PyObject *text = checked_text(function, value, size, &complaint);

    if (text == NULL && complaint != NULL) {
        PyErr_SetString(PyExc_AssertionError, complaint);
    }
    else if (text == NULL && !PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    return text;
}

#endif
