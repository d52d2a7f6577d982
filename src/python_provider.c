/*
 * python_provider.c - finds out which of CPython's own DTrace probes the running
 * interpreter lacks, and maps the objects that have them: see python_provider.h.
 *
 * All of it is done once a process, by the first thread that starts pyusdt in some
 * interpreter.  A forked child has inherited the mappings.
 */
#include <Python.h>

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "notes.h"
#include "python_provider.h"
#include "state.h"

static const volatile uint16_t nobody = 0; /* the semaphore of what is not mapped */

struct pyusdt_python_probe pyusdt_python[PYUSDT_PYTHON_COUNT] = {
#define PROBE(id, name, shape, about) {#name, &nobody, NULL},
    PYUSDT_PYTHON_PROBES(PROBE)
#undef PROBE
};

/* Of each object: its file, and which probes of the table are its own. */
static const struct {
    const char *file;
    int count;
} contents[PYUSDT_PYTHON_OBJECT_COUNT] = {
#define PROBE(id, name, shape, about) +1
#define OBJECT(id, file, probes) {file, 0 probes(PROBE)},
    PYUSDT_PYTHON_OBJECTS(OBJECT)
#undef OBJECT
#undef PROBE
};

static const struct pyusdt_python_object *objects[PYUSDT_PYTHON_OBJECT_COUNT]; /* NULL: none */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- what the interpreter has ---- */

/* The files that the interpreter is in: the program, and a libpython. */
struct interpreter {
    const char *files[4];
    int count;
};

static int
find_interpreter(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct interpreter *interpreter = argument;
    const uintptr_t known = (uintptr_t)Py_IsInitialized;
    const char *file = interpreter->count == 0 ? "/proc/self/exe" : NULL; /* it comes first */

    (void)size;
    for (int i = 0; file == NULL && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD &&
            known - info->dlpi_addr - segment->p_vaddr < segment->p_memsz) {
            file = info->dlpi_name;
        }
    }
    if (file != NULL && *file != '\0') {
        interpreter->files[interpreter->count++] = file;
    }
    return interpreter->count == (int)(sizeof(interpreter->files) / sizeof(interpreter->files[0]));
}

static void
note_found(const char *provider, const char *name, void *argument)
{
    bool *has = argument;
    int probe = 0;

    if (strcmp(provider, "python") != 0) {
        return;
    }
    for (int i = 0; i < PYUSDT_PYTHON_OBJECT_COUNT; i++) {
        for (int end = probe + contents[i].count; probe < end; probe++) {
            has[i] |= strcmp(name, pyusdt_python[probe].name) == 0;
        }
    }
}

/* Which objects' probes the interpreter has itself, at least one of them.  False: it
 * cannot be told. */
static bool
ask_interpreter(bool has[PYUSDT_PYTHON_OBJECT_COUNT])
{
    struct interpreter interpreter = {.count = 0};
    bool known = true;

    (void)dl_iterate_phdr(find_interpreter, &interpreter);
    for (int i = 0; i < interpreter.count; i++) {
        known &= pyusdt_notes_read(interpreter.files[i], note_found, has);
    }
    return known && interpreter.count > 0;
}

/* ---- our objects ---- */

/* The path of a file that lies beside this library.  False if it is too long. */
static bool
beside_us(const char *file, char *path, size_t size)
{
    Dl_info info;
    if (dladdr((void *)beside_us, &info) == 0 || info.dli_fname == NULL) {
        return false;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    int directory = slash != NULL ? (int)(slash - info.dli_fname + 1) : 0;
    int length = snprintf(path, size, "%.*s%s", directory, info.dli_fname, file);
    return slash != NULL && length > 0 && (size_t)length < size;
}

/* Maps an object for good.  NULL with the reason, in one line, in `why`. */
static const struct pyusdt_python_object *
map_object(int index, const char **why)
{
    char path[4096];

    *why = "its path is too long";
    if (!beside_us(contents[index].file, path, sizeof(path))) {
        return NULL;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        *why = dlerror();
        return NULL;
    }
    const struct pyusdt_python_object *object = dlsym(handle, PYUSDT_PYTHON_SYMBOL);
    if (object == NULL || object->size != sizeof(*object) ||
        object->count != (uint32_t)contents[index].count) {
        *why = "it is of another build of pyusdt";
        (void)dlclose(handle);
        return NULL;
    }
    return object;
}

static void
load(void)
{
    bool has[PYUSDT_PYTHON_OBJECT_COUNT] = {false};
    int setting = pyusdt_config()->python_provider;
    int probe = 0;

    if (setting == 0 || (setting < 0 && !ask_interpreter(has))) {
        return;
    }
    for (int i = 0; i < PYUSDT_PYTHON_OBJECT_COUNT; i++) {
        const char *why = NULL;
        if (!has[i] && (objects[i] = map_object(i, &why)) != NULL) {
            memcpy(&pyusdt_python[probe], objects[i]->probes,
                   sizeof(pyusdt_python[0]) * objects[i]->count);
        }
        else if (!has[i] && (setting > 0 || pyusdt_config()->verbose)) {
            fprintf(stderr, "pyusdt: cannot load %s: %s\n", contents[i].file, why);
        }
        probe += contents[i].count;
    }
}

void
pyusdt_python_load(void)
{
    (void)pthread_once(&once, load);
}

/* ---- what others ask ---- */

bool
pyusdt_python_armed(int probe)
{
    const volatile uint16_t *semaphore = pyusdt_python[probe].semaphore;

    for (int i = 0; i < PYUSDT_PYTHON_OBJECT_COUNT; i++) {
        const struct usdt_site *site = objects[i] != NULL ? objects[i]->sites : NULL;
        for (; site != NULL && site < objects[i]->sites_end; site++) {
            if (site->semaphore == semaphore) {
                return usdt_site_armed(site); /* a probe has one site */
            }
        }
    }
    return false;
}

const char *
pyusdt_python_file(int object)
{
    Dl_info info;
    if (objects[object] == NULL || dladdr(objects[object], &info) == 0) {
        return NULL;
    }
    return info.dli_fname;
}
