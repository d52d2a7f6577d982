/*
 * fuzz_text.c - coverage-guided fuzzing of text.c: libFuzzer gives bytes, they
 * are a recipe of a Python value and a size, and text_check.h checks the text.
 *
 * One thread, in an embedded interpreter (-DPYTHON="its path") whose objects are
 * allocated by malloc, so that AddressSanitizer knows their ends.  scripts/fuzz.sh
 * builds and runs it.
 */
#include "text_check.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Values that only Python can make; `hostile` objects must not be asked anything. */
static const char source[] =
    "import types\n"
    "def ask(*args, **kwargs): asked.append(args); raise RuntimeError\n"
    "asked = []\n"
    "special = 'repr str format getattribute getattr len bool iter hash eq index int call get'\n"
    "special = {f'__{name}__': ask for name in special.split()}\n"
    "special.update(__class__=property(ask), __dict__=property(ask))\n"
    "class Meta(type):\n"
    "    __repr__ = __str__ = __len__ = __bool__ = __iter__ = __getattr__ = __eq__ = ask\n"
    "    __hash__ = type.__hash__\n"
    "bases = [object, int, str, bytes, float, list, tuple, dict, set, Exception]\n"
    "hostile = [type('Hostile', (base,), special)() for base in bases]\n"
    "hostile += [type.__call__(Meta, 'Strange', (base,), special) for base in bases]\n"
    "def make_function(name):\n"
    "    def function(): pass\n"
    "    function.__qualname__ = name\n"
    "    return function\n"
    "def make_class(name, module):\n"
    "    return type('C', (), {'__qualname__': name, '__module__': module})\n"
    "def make_error(name, args):\n"
    "    return type('E', (ValueError,), {'__qualname__': name})(*args)\n"
    "plain = [object(), object, type, len, [].append, str.join, bytes.maketrans, dict.fromkeys,\n"
    "         object.__init__, object().__init__, dict.__dict__['fromkeys'], {1, 2}, 1j, ...,\n"
    "         NotImplemented, range(3), types, ask, lambda: 0, KeyError('k'), OSError(2, 'no'),\n"
    "         types.SimpleNamespace(a=1), memoryview(b'x'), list[int], property(), None, True,\n"
    "         False, ExceptionGroup('g', [ValueError()])]\n";

static PyObject *make_function, *make_class, *make_error, *hostile, *plain, *asked;

/* The values made of one input: a later one may contain an earlier one. */
#define MOST_VALUES 512
static PyObject *made[MOST_VALUES];
static size_t made_count;

struct recipe {
    const uint8_t *at;
    const uint8_t *end;
};

static unsigned
take(struct recipe *recipe)
{
    return recipe->at < recipe->end ? *recipe->at++ : 0;
}

/* Up to eight bytes as a number; most numbers are short. */
static uint64_t
take_number(struct recipe *recipe)
{
    uint64_t number = 0;
    for (unsigned left = take(recipe) % 9; left > 0; left--) {
        number = number << 8 | take(recipe);
    }
    return number;
}

static PyObject *
take_str(struct recipe *recipe)
{
    Py_UCS4 characters[64];
    unsigned length = take(recipe) % 65;
    unsigned kind = take(recipe) % 4;
    unsigned times = take(recipe);
    static const Py_UCS4 largest[] = {0x7F, 0xFF, 0xFFFF, 0x10FFFF};

    for (unsigned i = 0; i < length; i++) {
        Py_UCS4 c = take(recipe);
        if (kind >= 2) {
            c = c << 8 | take(recipe);
        }
        if (kind == 3) {
            c = c << 8 | take(recipe);
        }
        characters[i] = c % (largest[kind] + 1);
    }
    PyObject *text = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, characters, length);
    if (text != NULL && times > 250) { /* seldom: a long one */
        PyObject *more = PySequence_Repeat(text, (Py_ssize_t)(times - 249) * 20);
        Py_DECREF(text);
        text = more;
    }
    return text;
}

static PyObject *
take_bytes(struct recipe *recipe)
{
    char bytes[128];
    unsigned length = take(recipe) % (sizeof(bytes) + 1);

    for (unsigned i = 0; i < length; i++) {
        bytes[i] = (char)take(recipe);
    }
    return PyBytes_FromStringAndSize(bytes, length);
}

static PyObject *
take_int(struct recipe *recipe)
{
    uint64_t number = take_number(recipe);
    unsigned shift = take(recipe);
    PyObject *value =
        shift & 1 ? PyLong_FromLongLong((long long)number) : PyLong_FromUnsignedLongLong(number);
    if (value != NULL && shift > 200) {
        PyObject *count = PyLong_FromLong(shift);
        PyObject *larger = count != NULL ? PyNumber_Lshift(value, count) : NULL;
        Py_XDECREF(count);
        Py_DECREF(value);
        value = larger;
    }
    return value;
}

static PyObject *
take_float(struct recipe *recipe)
{
    uint64_t bits = take_number(recipe);
    double number;

    if (take(recipe) % 2) {
        number = (double)(int64_t)bits / 1000;
    }
    else {
        memcpy(&number, &bits, sizeof(number));
    }
    return PyFloat_FromDouble(number);
}

static PyObject *take_value(struct recipe *recipe, int depth);

static PyObject *
take_item(struct recipe *recipe, int depth)
{
    PyObject *item = take_value(recipe, depth + 1);
    return item != NULL ? item : Py_NewRef(Py_None);
}

static PyObject *
take_tuple(struct recipe *recipe, int depth)
{
    unsigned length = take(recipe) % 8;
    PyObject *tuple = PyTuple_New(length);

    for (unsigned i = 0; tuple != NULL && i < length; i++) {
        PyTuple_SET_ITEM(tuple, i, take_item(recipe, depth));
    }
    return tuple;
}

/* A tuple of tuples as a key is one of text like any other, but the interpreter hashes
 * a value as often as it stands in it: in a minute it does not come to an end. */
static bool
is_cheap_key(PyObject *key)
{
    for (Py_ssize_t i = 0; PyTuple_Check(key) && i < PyTuple_GET_SIZE(key); i++) {
        if (PyTuple_Check(PyTuple_GET_ITEM(key, i))) {
            return false;
        }
    }
    return true;
}

static PyObject *
take_dict(struct recipe *recipe, int depth)
{
    unsigned length = take(recipe) % 8;
    PyObject *dict = PyDict_New();

    for (unsigned i = 0; dict != NULL && i < length; i++) {
        PyObject *key = take_value(recipe, depth + 1);
        PyObject *value = take_value(recipe, depth + 1);
        if (key != NULL && value != NULL && is_cheap_key(key) &&
            PyDict_SetItem(dict, key, value) < 0) {
            PyErr_Clear(); /* cannot be a key */
        }
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *
one_of(PyObject *list, struct recipe *recipe)
{
    return Py_NewRef(PyList_GET_ITEM(list, (Py_ssize_t)take(recipe) % PyList_GET_SIZE(list)));
}

/* Calls a function of `source` with two arguments, the second of which may be
 * NULL.  Takes over the references. */
static PyObject *
call_with(PyObject *function, PyObject *first, PyObject *second)
{
    PyObject *result =
        first != NULL ? PyObject_CallFunctionObjArgs(function, first, second, NULL) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(second);
    return result;
}

/* A container of what the recipe says next. */
static PyObject *
take_container(struct recipe *recipe, int depth)
{
    PyObject *tuple, *result;

    switch (take(recipe) % 8) {
    case 0:
        return take_tuple(recipe, depth);
    case 1:
        return take_dict(recipe, depth);
    case 2: /* with an empty slot, as a tuple under construction has; nobody else may see it */
        tuple = PyTuple_New(2);
        if (tuple != NULL && depth > 0) {
            PyTuple_SET_ITEM(tuple, 0, Py_NewRef(Py_None));
        }
        if (tuple != NULL) {
            PyTuple_SET_ITEM(tuple, 1, take_item(recipe, depth));
        }
        return tuple;
    case 3:
        return call_with(make_error, take_str(recipe), take_tuple(recipe, depth));
    case 4: /* contains itself */
        tuple = take_tuple(recipe, depth);
        result = tuple != NULL ? PySequence_List(tuple) : NULL;
        Py_XDECREF(tuple);
        if (result != NULL && PyList_Append(result, result) < 0) {
            Py_CLEAR(result);
        }
        return result;
    case 5: { /* a bound method of anything */
        PyObject *self = take_value(recipe, depth + 1);
        PyObject *function = take_value(recipe, depth + 1);
        result = self != NULL && function != NULL ? PyMethod_New(function, self) : NULL;
        Py_XDECREF(self);
        Py_XDECREF(function);
        return result;
    }
    case 6: {
        tuple = take_tuple(recipe, depth);
        result = tuple != NULL ? PySequence_Repeat(tuple, take(recipe) * 20) : NULL;
        Py_XDECREF(tuple);
        return result;
    }
    default:
        tuple = take_tuple(recipe, depth);
        result = tuple != NULL ? PySequence_List(tuple) : NULL;
        Py_XDECREF(tuple);
        return result;
    }
}

static PyObject *
take_new_value(struct recipe *recipe, int depth)
{
    unsigned kind = take(recipe) % 16;
    PyObject *class;

    if (kind >= 10 && depth < 12) {
        return take_container(recipe, depth);
    }
    switch (kind) {
    case 0:
        return take_str(recipe);
    case 1:
        return take_bytes(recipe);
    case 2:
        return take_int(recipe);
    case 3:
        return take_float(recipe);
    case 4:
        return one_of(hostile, recipe);
    case 5:
        return call_with(make_function, take_str(recipe), NULL);
    case 6:
        return call_with(make_class, take_str(recipe), take_value(recipe, depth + 1));
    case 7:
        class = call_with(make_class, take_str(recipe), take_str(recipe));
        return class != NULL ? call_with(class, Py_NewRef(class), NULL) : NULL;
    case 8:
        return made_count > 0 ? Py_NewRef(made[take(recipe) % made_count]) : Py_NewRef(Py_None);
    default:
        return one_of(plain, recipe);
    }
}

/* NULL where the recipe asks for what cannot be. */
static PyObject *
take_value(struct recipe *recipe, int depth)
{
    PyObject *value = take_new_value(recipe, depth);

    PyErr_Clear();
    if (value != NULL && made_count < MOST_VALUES) {
        made[made_count++] = Py_NewRef(value);
    }
    return value;
}

static _Noreturn void
stop(const char *complaint)
{
    fprintf(stderr, "fuzz_text: %s\n", complaint);
    abort();
}

/* The sum of the reference counts of all that was made: none may change. */
static Py_ssize_t
references(void)
{
    Py_ssize_t sum = 0;
    for (size_t i = 0; i < made_count; i++) {
        sum += Py_REFCNT(made[i]);
    }
    return sum;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    PyConfig config;

    (void)argc;
    (void)argv;
    (void)setenv("PYTHONMALLOC", "malloc", 1);
    PyConfig_InitPythonConfig(&config);
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, PYTHON);
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        stop("cannot initialize the interpreter");
    }
    PyObject *names = PyDict_New();
    if (names == NULL || PyRun_String(source, Py_file_input, names, names) == NULL ||
        (make_function = PyDict_GetItemString(names, "make_function")) == NULL ||
        (make_class = PyDict_GetItemString(names, "make_class")) == NULL ||
        (make_error = PyDict_GetItemString(names, "make_error")) == NULL ||
        (hostile = PyDict_GetItemString(names, "hostile")) == NULL ||
        (asked = PyDict_GetItemString(names, "asked")) == NULL ||
        (plain = PyDict_GetItemString(names, "plain")) == NULL) {
        PyErr_Print();
        stop("cannot make the values");
    }
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recipe recipe = {data, data + size};
    const char *complaint = NULL;

    size_t text_size = 8 + (take(&recipe) << 4 | take(&recipe)) % (4097 - 8 + 1);
    PyObject *value = take_value(&recipe, 0);
    if (value == NULL) {
        return -1; /* not for the corpus */
    }
    if (PyList_SetSlice(asked, 0, PyList_GET_SIZE(asked), NULL) < 0) {
        stop("out of memory");
    }
    Py_ssize_t before = references();
    PyObject *text = checked_text(text_of, value, text_size, &complaint);
    if (complaint != NULL) {
        stop(complaint);
    }
    Py_XDECREF(text);
    PyObject *name = checked_text(pyusdt_name, value, text_size, &complaint);
    if (complaint != NULL) {
        stop(complaint);
    }
    Py_XDECREF(name);
    if (PyList_GET_SIZE(asked) != 0) {
        stop("code of the program was run");
    }
    if (references() != before) {
        stop("a reference count has changed");
    }
    Py_DECREF(value);
    while (made_count > 0) {
        Py_DECREF(made[--made_count]);
    }
    PyErr_Clear();
    return 0;
}
