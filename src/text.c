/*
 * text.c - bounded text of Python objects.  It owns nothing: every function
 * works on its arguments alone.  Any thread that runs Python may call it; it is
 * made for sys.monitoring callbacks, where no user code may run.  On how it reads
 * what other threads change meanwhile (free-threaded builds), see compat.h.
 */
#include "text.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compat.h"
#include "text_out.h"

/* A class body stores __module__ first, a call of type() last: a namedtuple has
 * it behind its fields. */
#define MODULE_SEARCH 256

void
pyusdt_put_end(struct out *out)
{
    if (out->full) {
        char *cut = out->end - 3;
        while (cut > out->start && ((unsigned char)*cut & 0xC0) == 0x80) {
            cut--;
        }
        memcpy(cut, "...", 3);
        out->at = cut + 3;
    }
    *out->at = '\0';
}

/* One character as UTF-8.  A surrogate has no UTF-8 and a NUL would end the
 * text: they are escaped. */
static void
put_character(struct out *out, Py_UCS4 c)
{
    if (c == 0) {
        put_string(out, "\\x00");
    }
    else if (c < 0x80) {
        char byte = (char)c;
        put(out, &byte, 1);
    }
    else if (c < 0x800) {
        char bytes[2] = {(char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F))};
        put(out, bytes, 2);
    }
    else if (c >= 0xD800 && c <= 0xDFFF) {
        put_format(out, "\\u%04x", (unsigned)c);
    }
    else if (c < 0x10000) {
        char bytes[3] = {(char)(0xE0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3F)),
                         (char)(0x80 | (c & 0x3F))};
        put(out, bytes, 3);
    }
    else {
        char bytes[4] = {(char)(0xF0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3F)),
                         (char)(0x80 | (c >> 6 & 0x3F)), (char)(0x80 | (c & 0x3F))};
        put(out, bytes, 4);
    }
}

void
pyusdt_put_name(struct out *out, PyObject *name)
{
    if (name == NULL || !PyUnicode_Check(name)) {
        put_string(out, "?");
        return;
    }
    int kind = PyUnicode_KIND(name);
    const void *data = PyUnicode_DATA(name);
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    for (Py_ssize_t i = 0; i < length && !out->full; i++) {
        put_character(out, PyUnicode_READ(kind, data, i));
    }
}

void
pyusdt_name_copy(PyObject *name, char *buffer, size_t size)
{
    struct out out = out_to(buffer, size);
    pyusdt_put_name(&out, name);
    pyusdt_put_end(&out);
}

const char *
pyusdt_name(PyObject *name, char *buffer, size_t size)
{
    if (name == NULL || !PyUnicode_Check(name)) {
        return "";
    }
    if (PyUnicode_IS_COMPACT_ASCII(name)) {
        return (const char *)PyUnicode_DATA(name);
    }
    pyusdt_name_copy(name, buffer, size);
    return buffer;
}

/* The escapes that the repr() of str and bytes share.  False: c is none of them. */
static bool
put_escape(struct out *out, Py_UCS4 c, const char *quote)
{
    if (c == (Py_UCS4)*quote || c == '\\') {
        put(out, "\\", 1);
        put_character(out, c);
    }
    else if (c == '\n') {
        put(out, "\\n", 2);
    }
    else if (c == '\r') {
        put(out, "\\r", 2);
    }
    else if (c == '\t') {
        put(out, "\\t", 2);
    }
    else if (c < ' ' || c == 0x7F) {
        put_format(out, "\\x%02x", (unsigned)c);
    }
    else {
        return false;
    }
    return true;
}

/* str.__repr__() of what can be seen. */
static void
put_str(struct out *out, PyObject *value)
{
    int kind = PyUnicode_KIND(value);
    const void *data = PyUnicode_DATA(value);
    Py_ssize_t length = PyUnicode_GET_LENGTH(value);
    Py_ssize_t limit = out->end - out->start;
    bool single = false;
    bool both = false;

    if (limit > length) {
        limit = length;
    }
    for (Py_ssize_t i = 0; i < limit; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        single |= c == '\'';
        both |= c == '"';
    }
    const char *quote = single && !both ? "\"" : "'";

    put(out, quote, 1);
    for (Py_ssize_t i = 0; i < length && !out->full; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        if (put_escape(out, c, quote)) {
            continue;
        }
        if (c < 0x7F || Py_UNICODE_ISPRINTABLE(c)) {
            put_character(out, c);
        }
        else if (c < 0x100) {
            put_format(out, "\\x%02x", (unsigned)c);
        }
        else if (c < 0x10000) {
            put_format(out, "\\u%04x", (unsigned)c);
        }
        else {
            put_format(out, "\\U%08x", (unsigned)c);
        }
    }
    put(out, quote, 1);
}

/* bytes.__repr__() of what can be seen. */
static void
put_bytes(struct out *out, PyObject *value)
{
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(value);
    Py_ssize_t length = PyBytes_GET_SIZE(value);
    size_t seen = (size_t)(out->end - out->start);

    if (seen > (size_t)length) {
        seen = (size_t)length;
    }
    bool double_quotes = memchr(data, '\'', seen) != NULL && memchr(data, '"', seen) == NULL;
    const char *quote = double_quotes ? "\"" : "'";

    put(out, "b", 1);
    put(out, quote, 1);
    for (Py_ssize_t i = 0; i < length && !out->full; i++) {
        if (put_escape(out, data[i], quote)) {
            continue;
        }
        if (data[i] >= 0x80) {
            put_format(out, "\\x%02x", data[i]);
        }
        else {
            put_character(out, data[i]);
        }
    }
    put(out, quote, 1);
}

static void
put_int(struct out *out, PyObject *value)
{
    int overflow = 0;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
        put_format(out, "%lld", number);
    }
    else {
        put_format(out, "<int of %llu bits>", (unsigned long long)pyusdt_int_bits(value));
    }
}

/* float.__repr__(): the fewest digits that read back as the same number.  Any
 * 15 digits survive the way into a normal double and back, so that trailing
 * zeros apart the search begins there.  The interpreter's own function
 * allocates, this does not.  The digits are taken out of printf's %e, whatever
 * the locale's decimal point. */
static void
put_float(struct out *out, double number)
{
    char text[48];
    char digits[20];
    int count = 0;

    if (isnan(number)) {
        put_string(out, "nan");
        return;
    }
    if (isinf(number)) {
        put_string(out, number < 0 ? "-inf" : "inf");
        return;
    }
    bool normal = number == 0 || fabs(number) >= DBL_MIN;
    for (int precision = normal ? 14 : 0; precision <= 16; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision, number);
        if (strtod(text, NULL) == number) {
            break;
        }
    }
    const char *at = text;
    for (; *at != '\0' && *at != 'e'; at++) {
        if (*at >= '0' && *at <= '9' && count < (int)sizeof(digits)) {
            digits[count++] = *at;
        }
    }
    int exponent = *at == 'e' ? (int)strtol(at + 1, NULL, 10) : 0;
    while (count > 1 && digits[count - 1] == '0') {
        count--;
    }

    if (signbit(number)) {
        put(out, "-", 1);
    }
    if (exponent < -4 || exponent >= 16) {
        put(out, digits, 1);
        if (count > 1) {
            put(out, ".", 1);
            put(out, digits + 1, (size_t)count - 1);
        }
        put_format(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) {
        put(out, "0.000", (size_t)(1 - exponent));
        put(out, digits, (size_t)count);
        return;
    }
    for (int i = 0; i <= exponent; i++) {
        put(out, i < count ? &digits[i] : "0", 1);
    }
    put(out, ".", 1);
    if (count > exponent + 1) {
        put(out, digits + exponent + 1, (size_t)(count - exponent - 1));
    }
    else {
        put(out, "0", 1);
    }
}

/* "module." of a class, unless that is "builtins". */
static void
put_module(struct out *out, PyObject *class_dict)
{
    PyObject *key, *item;
    Py_ssize_t position = 0;

    for (int i = 0; i < MODULE_SEARCH && PyDict_Next(class_dict, &position, &key, &item); i++) {
        if (PyUnicode_Check(key) && PyUnicode_GET_LENGTH(key) == (Py_ssize_t)strlen("__module__") &&
            PyUnicode_CompareWithASCIIString(key, "__module__") == 0) {
            if (PyUnicode_Check(item) && PyUnicode_CompareWithASCIIString(item, "builtins") != 0) {
                pyusdt_put_name(out, item);
                put(out, ".", 1);
            }
            break;
        }
    }
}

void
pyusdt_put_type_name(struct out *out, PyTypeObject *type)
{
    if (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) || strchr(type->tp_name, '.') != NULL) {
        put_string(out, type->tp_name);
        return;
    }
    if (pyusdt_try_lock(type->tp_dict)) {
        put_module(out, type->tp_dict);
        pyusdt_unlock(type->tp_dict);
    }
    pyusdt_put_name(out, pyusdt_class_qualname(type));
}

static void
put_address(struct out *out, const void *object)
{
    put_format(out, " at %p>", object);
}

/* The callables whose repr() is CPython's own.  False: none of them. */
static bool
put_callable(struct out *out, PyObject *value, int depth)
{
    PyTypeObject *type = Py_TYPE(value);

    if (PyType_Check(value)) {
        put_string(out, "<class '");
        pyusdt_put_type_name(out, (PyTypeObject *)value);
        put_string(out, "'>");
    }
    else if (type == &PyFunction_Type) {
        put_string(out, "<function ");
        pyusdt_put_name(out, pyusdt_function_qualname(value));
        put_address(out, value);
    }
    else if (type == &PyMethod_Type) {
        PyObject *function = PyMethod_GET_FUNCTION(value);
        put_string(out, "<bound method ");
        if (Py_IS_TYPE(function, &PyFunction_Type)) {
            pyusdt_put_name(out, pyusdt_function_qualname(function));
        }
        else if (PyCFunction_Check(function)) {
            put_string(out, ((PyCFunctionObject *)function)->m_ml->ml_name);
        }
        else {
            put_string(out, "?");
        }
        put_string(out, " of ");
        pyusdt_put_object(out, PyMethod_GET_SELF(value), depth + 1);
        put_string(out, ">");
    }
    else if (type == &PyCFunction_Type) {
        PyObject *self = ((PyCFunctionObject *)value)->m_self; /* a static method's, too */
        const char *name = ((PyCFunctionObject *)value)->m_ml->ml_name;
        if (self == NULL || PyModule_Check(self)) {
            put_string(out, "<built-in function ");
            put_string(out, name);
            put_string(out, ">");
        }
        else {
            put_string(out, "<built-in method ");
            put_string(out, name);
            put_string(out, " of ");
            put_string(out, Py_TYPE(self)->tp_name);
            put_string(out, " object");
            put_address(out, self);
        }
    }
    else if (type == &PyMethodDescr_Type || type == &PyClassMethodDescr_Type ||
             type == &PyWrapperDescr_Type) {
        put_string(out, type == &PyWrapperDescr_Type ? "<slot wrapper '" : "<method '");
        pyusdt_put_name(out, PyDescr_NAME(value));
        put_string(out, "' of '");
        put_string(out, PyDescr_TYPE(value)->tp_name);
        put_string(out, "' objects>");
    }
    else {
        return false;
    }
    return true;
}

static void
put_sequence(struct out *out, PyObject *value, int depth, const char *open, const char *close)
{
    Py_ssize_t size = Py_SIZE(value);

    put_string(out, open);
    if (depth >= MAX_DEPTH && size > 0) {
        put_string(out, "...");
        size = 0;
    }
    for (Py_ssize_t i = 0; i < size && !out->full; i++) {
        if (i > 0) {
            put_string(out, ", ");
        }
        PyObject *item =
            PyList_CheckExact(value) ? PyList_GET_ITEM(value, i) : PyTuple_GET_ITEM(value, i);
        pyusdt_put_object(out, item, depth + 1);
    }
    if (size == 1 && PyTuple_CheckExact(value)) {
        put_string(out, ",");
    }
    put_string(out, close);
}

static void
put_dict(struct out *out, PyObject *value, int depth)
{
    PyObject *key, *item;
    Py_ssize_t position = 0;
    bool first = true;

    put_string(out, "{");
    if (depth >= MAX_DEPTH && PyDict_GET_SIZE(value) > 0) {
        put_string(out, "...}");
        return;
    }
    while (!out->full && PyDict_Next(value, &position, &key, &item)) {
        if (!first) {
            put_string(out, ", ");
        }
        first = false;
        pyusdt_put_object(out, key, depth + 1);
        put_string(out, ": ");
        pyusdt_put_object(out, item, depth + 1);
    }
    put_string(out, "}");
}

/* BaseException.__repr__(): the class's own name and the arguments, read from
 * the object itself.  A class with a __repr__ of its own is not asked. */
static void
put_exception(struct out *out, PyObject *value, int depth)
{
    PyTypeObject *type = Py_TYPE(value);
    PyObject *args = ((PyBaseExceptionObject *)value)->args;

    if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE)) {
        pyusdt_put_name(out, ((PyHeapTypeObject *)type)->ht_name);
    }
    else {
        const char *dot = strrchr(type->tp_name, '.');
        put_string(out, dot != NULL ? dot + 1 : type->tp_name);
    }
    if (args == NULL || !PyTuple_CheckExact(args)) {
        put_string(out, "()");
    }
    else if (PyTuple_GET_SIZE(args) == 1) {
        put_string(out, "(");
        pyusdt_put_object(out, PyTuple_GET_ITEM(args, 0), depth + 1);
        put_string(out, ")");
    }
    else {
        put_sequence(out, args, depth, "(", ")");
    }
}

/* What other threads may change while we look.  False: nothing of the kind, or
 * another thread is at it. */
static bool
put_mutable(struct out *out, PyObject *value, int depth)
{
    bool list = PyList_CheckExact(value);
    bool dict = PyDict_CheckExact(value);
    bool ours = false;

    if (!list && !dict && !(PyExceptionInstance_Check(value) && depth < MAX_DEPTH)) {
        return false;
    }
    for (int i = 0; i < depth; i++) {
        ours |= out->locked[i] == value; /* it contains itself */
    }
    if (!ours && !pyusdt_try_lock(value)) {
        return false;
    }
    out->locked[depth] = value;
    if (list) {
        put_sequence(out, value, depth, "[", "]");
    }
    else if (dict) {
        put_dict(out, value, depth);
    }
    else {
        put_exception(out, value, depth);
    }
    out->locked[depth] = NULL;
    if (!ours) {
        pyusdt_unlock(value);
    }
    return true;
}

void
pyusdt_put_object(struct out *out, PyObject *value, int depth)
{
    if (value == NULL) {
        put_string(out, "<NULL>"); /* a slot of a tuple under construction */
    }
    else if (value == Py_None) {
        put_string(out, "None");
    }
    else if (value == Py_True) {
        put_string(out, "True");
    }
    else if (value == Py_False) {
        put_string(out, "False");
    }
    else if (PyUnicode_CheckExact(value)) {
        put_str(out, value);
    }
    else if (PyLong_CheckExact(value)) {
        put_int(out, value);
    }
    else if (PyFloat_CheckExact(value)) {
        put_float(out, PyFloat_AS_DOUBLE(value));
    }
    else if (PyBytes_CheckExact(value)) {
        put_bytes(out, value);
    }
    else if (PyTuple_CheckExact(value)) {
        put_sequence(out, value, depth, "(", ")");
    }
    else if (!put_mutable(out, value, depth) &&
             (depth > MAX_DEPTH || !put_callable(out, value, depth))) {
        put_string(out, "<");
        pyusdt_put_type_name(out, Py_TYPE(value));
        put_string(out, " object");
        put_address(out, value);
    }
}

void
pyusdt_text(PyObject *value, char *buffer, size_t size)
{
    struct out out = out_to(buffer, size);
    pyusdt_put_object(&out, value, 0);
    pyusdt_put_end(&out);
}
