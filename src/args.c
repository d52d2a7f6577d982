/*
 * args.c - bounded text of a call's arguments.  It owns nothing: every function
 * works on its arguments alone.  Any thread that runs Python may call it, of a
 * frame of its own.
 */
#include "args.h"

#include "compat.h"
#include "frame.h"
#include "text_out.h"

/* The kind of a local in co_localspluskinds: captured by an inner function
 * (CO_FAST_CELL in CPython's pycore_code.h). */
#define KIND_CELL 0x40

/* How a parameter is shown. */
enum role {
    VALUE,
    SELF,
    CLS,
    OUTER, /* .0, the argument that the compiler gives a comprehension */
    VARARGS,
    VARKEYWORDS,
};

static bool
is_named(PyObject *name, const char *wanted)
{
    return PyUnicode_GET_LENGTH(name) == (Py_ssize_t)strlen(wanted) &&
           PyUnicode_CompareWithASCIIString(name, wanted) == 0;
}

static enum role
role_of_first(PyObject *name)
{
    if (is_named(name, "self")) {
        return SELF;
    }
    if (is_named(name, "cls")) {
        return CLS;
    }
    return is_named(name, ".0") ? OUTER : VALUE;
}

static void
put_count(struct out *out, const char *open, Py_ssize_t count, const char *close)
{
    put_string(out, open);
    put_format(out, "%zd item%s", count, count == 1 ? "" : "s");
    put_string(out, close);
}

static void
put_value(struct out *out, PyObject *value, enum role role)
{
    if (value == NULL) {
        put_string(out, "<unset>");
    }
    else if (role == OUTER) {
        put_string(out, "<...>");
    }
    else if (role == VARARGS && PyTuple_CheckExact(value)) {
        put_count(out, "(\xE2\x80\xA6", PyTuple_GET_SIZE(value), ")");
    }
    else if (role == VARKEYWORDS && PyDict_CheckExact(value)) {
        put_count(out, "{\xE2\x80\xA6", PyDict_GET_SIZE(value), "}");
    }
    else if (role == SELF || (role == CLS && !PyType_Check(value))) {
        put_string(out, "<");
        pyusdt_put_type_name(out, Py_TYPE(value));
        put_string(out, ">");
    }
    else {
        pyusdt_put_object(out, value, 0);
    }
}

/* Parameter i, which is local i. */
static void
put_argument(struct out *out, PyCodeObject *code, uint64_t frame, int i, enum role role)
{
    PyObject *value = pyusdt_frame_local(frame, i);
    int kind = PyBytes_AS_STRING(code->co_localspluskinds)[i];

    if (out->at > out->start) {
        put_string(out, ", ");
    }
    put_string(out, role == VARARGS ? "*" : role == VARKEYWORDS ? "**" : "");
    pyusdt_put_name(out, PyTuple_GET_ITEM(code->co_localsplusnames, i));
    put_string(out, "=");
    if ((kind & KIND_CELL) == 0 || value == NULL || !PyCell_Check(value)) {
        put_value(out, value, role);
    }
    else if (!pyusdt_try_lock(value)) {
        pyusdt_put_object(out, value, 0);
    }
    else {
        put_value(out, ((PyCellObject *)value)->ob_ref, role); /* PyCell_GET() would lock it */
        pyusdt_unlock(value);
    }
}

/* Among the locals the parameters come first: the positional ones, those that are
 * given by keyword only, *args, **kw. */
void
pyusdt_args_text(PyCodeObject *code, uint64_t frame, char *buffer, size_t size)
{
    struct out out = out_to(buffer, size);
    int positional = code->co_argcount;
    int named = positional + code->co_kwonlyargcount;
    bool varargs = (code->co_flags & CO_VARARGS) != 0;

    for (int i = 0; i < positional && !out.full; i++) {
        PyObject *name = PyTuple_GET_ITEM(code->co_localsplusnames, i);
        put_argument(&out, code, frame, i, i == 0 ? role_of_first(name) : VALUE);
    }
    if (varargs && !out.full) {
        put_argument(&out, code, frame, named, VARARGS);
    }
    for (int i = positional; i < named && !out.full; i++) {
        put_argument(&out, code, frame, i, VALUE);
    }
    if ((code->co_flags & CO_VARKEYWORDS) != 0 && !out.full) {
        put_argument(&out, code, frame, named + varargs, VARKEYWORDS);
    }
    pyusdt_put_end(&out);
}
