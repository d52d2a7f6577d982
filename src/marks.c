/*
 * marks.c - pyusdt.mark() and pyusdt.span, and the probes MARK, SPAN_BEGIN and SPAN_END.
 *
 * Any thread that runs Python may call them.  They allocate and raise as any function
 * of Python may, but they never run code of the program.  Whether somebody traces
 * changes nothing but the probe itself.  What is static is the ids' counter, atomic:
 * ids are the process's; a forked child goes on counting where its parent stood, so
 * that (pid, id) is what is unique.
 */
#include "marks.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "compat.h"
#include "probes.h"
#include "state.h"
#include "text.h"
#include "usdt.h"

#define PROBE(name, event, shape, about) USDT_DEFINE_SEMAPHORE(pyusdt, name);
PYUSDT_MARK_PROBES(PROBE)
#undef PROBE

static const char *
name_text(PyObject *name, char *buffer, size_t size)
{
    const char *text = pyusdt_name(name, buffer, size);
    if (text != buffer && strlen(text) != (size_t)PyUnicode_GET_LENGTH(name)) {
        pyusdt_name_copy(name, buffer, size); /* it has a NUL */
        text = buffer;
    }
    return text;
}

/* ---- mark ---- */

/* Apart from its caller, which then needs no large frame.  `value` may be NULL. */
static __attribute__((noinline, noclone)) void
fire_mark(PyObject *name, PyObject *value)
{
    char name_buffer[PYUSDT_NAME_SIZE];
    char value_buffer[PYUSDT_VALUE_SIZE];
    const char *value_text = "";

    if (pyusdt_config()->disable) {
        return;
    }
    const char *text = name_text(name, name_buffer, sizeof(name_buffer));
    if (value != NULL) {
        pyusdt_text(value, value_buffer, (size_t)pyusdt_config()->value_max + 1);
        value_text = value_buffer;
    }
    USDT_PROBE2(pyusdt, MARK, text, value_text);
}

/* Takes the keyword arguments, whose values begin at args.  0 or -1 with an exception
 * set. */
static int
take_keywords(PyObject *const *args, PyObject *kwnames, PyObject **name, PyObject **value)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *keyword = PyTuple_GET_ITEM(kwnames, i);
        PyObject **found = NULL;
        if (PyUnicode_CompareWithASCIIString(keyword, "value") == 0) {
            found = value;
        }
        else if (PyUnicode_CompareWithASCIIString(keyword, "name") == 0) {
            found = name;
        }
        if (found == NULL || *found != NULL) {
            PyErr_Format(PyExc_TypeError, "mark() got %s argument %R",
                         found == NULL ? "an unexpected keyword" : "multiple values for", keyword);
            return -1;
        }
        *found = args[i];
    }
    return 0;
}

PyObject *
pyusdt_mark(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    PyObject *name = count > 0 ? args[0] : NULL;
    PyObject *value = count > 1 ? args[1] : NULL;

    (void)module;
    if (count > 2) {
        PyErr_Format(PyExc_TypeError, "mark() takes a name and a value (%zd arguments given)",
                     count);
        return NULL;
    }
    if (kwnames != NULL && take_keywords(args + count, kwnames, &name, &value) < 0) {
        return NULL;
    }
    if (name == NULL) {
        PyErr_SetString(PyExc_TypeError, "mark() needs a name");
        return NULL;
    }
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "the name of a mark must be a str, not %.200s",
                     Py_TYPE(name)->tp_name);
        return NULL;
    }
    if (USDT_SEMAPHORE(pyusdt, MARK) != 0) {
        fire_mark(name, value);
    }
    Py_RETURN_NONE;
}

/* ---- span ---- */

/* One time that a span was entered and has not been left.
 *
 * A span object may be shared: entered again before it was left, by recursion, other
 * threads, tasks, generators.  The frame that runs the `with` tells them apart, since
 * it is the same at the end as at the beginning, across every yield and await. */
struct entry {
    uint64_t id;
    uint64_t frame;
    const PyThreadState *thread; /* compared, never looked into */
};

struct span {
    PyObject_HEAD PyObject *name; /* an exact str */
    struct entry *entries;        /* in the order of entering; `one`, or more on the heap */
    Py_ssize_t count;
    Py_ssize_t room;
    struct entry one;
};

static _Atomic uint64_t last_id;

static __attribute__((noinline, noclone)) void
fire_begin(PyObject *name, uint64_t id)
{
    char buffer[PYUSDT_NAME_SIZE];

    if (!pyusdt_config()->disable) {
        const char *text = name_text(name, buffer, sizeof(buffer));
        USDT_PROBE2(pyusdt, SPAN_BEGIN, text, id);
    }
}

static __attribute__((noinline, noclone)) void
fire_end(PyObject *name, uint64_t id)
{
    char buffer[PYUSDT_NAME_SIZE];

    if (!pyusdt_config()->disable) {
        const char *text = name_text(name, buffer, sizeof(buffer));
        USDT_PROBE2(pyusdt, SPAN_END, text, id);
    }
}

/* Room for one entry more.  0, or -1 without an exception. */
static int
grow(struct span *self)
{
    Py_ssize_t room = self->room * 2 + 6;
    struct entry *old = self->entries == &self->one ? NULL : self->entries;
    struct entry *entries = PyMem_Realloc(old, (size_t)room * sizeof(*entries));

    if (entries == NULL) {
        return -1;
    }
    if (old == NULL) {
        entries[0] = self->one;
    }
    self->entries = entries;
    self->room = room;
    return 0;
}

static int
push(struct span *self, const struct entry *entry)
{
    if (self->count == self->room && grow(self) < 0) {
        return -1;
    }
    self->entries[self->count++] = *entry;
    return 0;
}

/* Takes out the newest entry of this frame.  If there is none, whoever entered was no
 * `with` of this frame, but an ExitStack, say: then the newest of this thread, else the
 * newest.  The id, or 0 if the span is not entered. */
static uint64_t
pop(struct span *self, uint64_t frame, const PyThreadState *thread)
{
    Py_ssize_t found = self->count - 1;
    bool of_thread = false;

    if (found < 0) {
        return 0;
    }
    for (Py_ssize_t i = self->count - 1; i >= 0; i--) {
        if (self->entries[i].frame == frame) {
            found = i;
            break;
        }
        if (!of_thread && self->entries[i].thread == thread) {
            of_thread = true;
            found = i;
        }
    }
    uint64_t id = self->entries[found].id;
    self->count--;
    memmove(&self->entries[found], &self->entries[found + 1],
            (size_t)(self->count - found) * sizeof(self->entries[0]));
    if (self->count == 0 && self->entries != &self->one) {
        PyMem_Free(self->entries);
        self->entries = &self->one;
        self->room = 1;
    }
    return id;
}

static PyObject *
span_enter(PyObject *object, PyObject *unused)
{
    struct span *self = (struct span *)object;
    PyThreadState *thread = PyThreadState_Get();
    struct entry entry = {
        .id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1,
        .frame = pyusdt_current_frame(thread),
        .thread = thread,
    };
    int err;

    (void)unused;
    Py_BEGIN_CRITICAL_SECTION(object);
    err = push(self, &entry);
    Py_END_CRITICAL_SECTION();
    if (err < 0) {
        return PyErr_NoMemory();
    }
    if (USDT_SEMAPHORE(pyusdt, SPAN_BEGIN) != 0) {
        fire_begin(self->name, entry.id);
    }
    return Py_NewRef(object);
}

static PyObject *
span_exit(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    struct span *self = (struct span *)object;
    PyThreadState *thread = PyThreadState_Get();
    uint64_t id;

    (void)args;
    (void)count;
    Py_BEGIN_CRITICAL_SECTION(object);
    id = pop(self, pyusdt_current_frame(thread), thread);
    Py_END_CRITICAL_SECTION();
    if (id != 0 && USDT_SEMAPHORE(pyusdt, SPAN_END) != 0) {
        fire_end(self->name, id);
    }
    Py_RETURN_NONE;
}

/* @span(name): the work is done in Python, pyusdt/marks.py. */
static PyObject *
span_call(PyObject *object, PyObject *args, PyObject *kwargs)
{
    PyObject *result = NULL;
    PyObject *function;

    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "a span takes the function to decorate, no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O:span", &function)) {
        return NULL;
    }
    PyObject *marks = PyImport_ImportModule("pyusdt.marks");
    if (marks != NULL) {
        result =
            PyObject_CallMethod(marks, "decorate", "OO", ((struct span *)object)->name, function);
        Py_DECREF(marks);
    }
    return result;
}

static PyObject *
span_make(PyTypeObject *type, PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "the name of a span must be a str, not %.200s",
                     Py_TYPE(name)->tp_name);
        return NULL;
    }
    struct span *self = (struct span *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->entries = &self->one;
    self->room = 1;
    /* Of a subclass a copy: an exact str refers to nothing, so no cycle can go
     * through a span, and the garbage collector need not know of it. */
    self->name = PyUnicode_FromObject(name);
    if (self->name == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *
span_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"name", NULL};
    PyObject *name;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:span", keywords, &name)) {
        return NULL;
    }
    return span_make(type, name);
}

/* The same for span("name"), without a tuple. */
static PyObject *
span_vectorcall(PyObject *type, PyObject *const *args, size_t flags, PyObject *kwnames)
{
    PyObject *self = NULL;

    if (PyVectorcall_NARGS(flags) == 1 && kwnames == NULL) {
        return span_make((PyTypeObject *)type, args[0]);
    }
    PyObject *tuple = PyTuple_New(PyVectorcall_NARGS(flags));
    PyObject *kwargs = PyDict_New();
    if (tuple == NULL || kwargs == NULL) {
        goto end;
    }
    for (Py_ssize_t i = 0; i < PyVectorcall_NARGS(flags); i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    }
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i),
                           args[PyVectorcall_NARGS(flags) + i]) < 0) {
            goto end;
        }
    }
    self = span_new((PyTypeObject *)type, tuple, kwargs);
end:
    Py_XDECREF(kwargs);
    Py_XDECREF(tuple);
    return self;
}

static void
span_dealloc(PyObject *object)
{
    struct span *self = (struct span *)object;
    PyTypeObject *type = Py_TYPE(object);

    if (self->entries != &self->one) {
        PyMem_Free(self->entries);
    }
    Py_XDECREF(self->name);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *
span_repr(PyObject *object)
{
    return PyUnicode_FromFormat("pyusdt.span(%R)", ((struct span *)object)->name);
}

static PyMemberDef span_members[] = {
    {"name", Py_T_OBJECT_EX, offsetof(struct span, name), Py_READONLY,
     "The name of the span, a str."},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef span_methods[] = {
    {"__enter__", span_enter, METH_NOARGS, "Begin: fires SPAN_BEGIN."},
    {"__exit__", (PyCFunction)(void (*)(void))span_exit, METH_FASTCALL,
     "End: fires SPAN_END.  An exception goes on its way."},
    {NULL, NULL, 0, NULL},
};

static const char span_doc[] =
    "span(name)\n--\n\n"
    "A stretch of work that tracers can see: `with pyusdt.span(\"checkout\"): ...` fires the\n"
    "probe SPAN_BEGIN(name, id) at its beginning and SPAN_END(name, id) at its end, also when\n"
    "an exception leaves it.  The id is an int above 0 that the process uses once.\n"
    "\n"
    "`@pyusdt.span(\"checkout\")` makes a span of each call of a function or method; of a\n"
    "coroutine, a generator or an asynchronous generator from its first step to its end.\n"
    "\n"
    "One object can be entered again at any time, also by other threads and tasks, before it\n"
    "was left: the frame that runs the `with` tells which end belongs to which beginning.  For\n"
    "contextlib.ExitStack make a new one each time.";

static PyType_Slot span_slots[] = {
    {Py_tp_doc, (void *)span_doc}, {Py_tp_new, span_new},
    {Py_tp_dealloc, span_dealloc}, {Py_tp_repr, span_repr},
    {Py_tp_call, span_call},       {Py_tp_methods, span_methods},
    {Py_tp_members, span_members}, {0, NULL},
};

static PyType_Spec span_spec = {
    .name = "pyusdt.span",
    .basicsize = sizeof(struct span),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = span_slots,
};

PyObject *
pyusdt_span_type(void)
{
    PyObject *type = PyType_FromSpec(&span_spec);
    if (type != NULL) {
        ((PyTypeObject *)type)->tp_vectorcall = span_vectorcall; /* a slot since 3.14 only */
    }
    return type;
}
