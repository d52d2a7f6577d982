/*
 * layout.c - fills in the layout block of layout.h.  It owns the block, which is
 * one a process.  Called at import, by any thread that runs Python.
 *
 * Most of it is known when it is compiled.  The place where the interpreter keeps
 * a thread's state is not: before 3.15 it is the data of a pthread key, later a
 * thread-local variable that no other object can name.  Both lie in memory that a
 * thread's own pointer leads to; they are looked for there, in glibc's structures
 * and within known bounds.  With another C library they are not looked for.
 */
#include "internals.h"

#include "layout.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "frame.h"

#define CODE(field) offsetof(PyCodeObject, field)
#define FRAME(field) offsetof(struct _PyInterpreterFrame, field)

struct pyusdt_layout pyusdt_layout = {
    .magic = {'P', 'y', 'L', 'a', 'y', 'o', 'u', 't'},
    .version = PYUSDT_LAYOUT_VERSION,
    .size = sizeof(struct pyusdt_layout),
    .built_for = PY_VERSION_HEX,

    .runtime_interpreters = offsetof(_PyRuntimeState, interpreters.head),
    .interp_next = offsetof(PyInterpreterState, next),
    .interp_id = offsetof(PyInterpreterState, id),
    .interp_threads = offsetof(PyInterpreterState, threads.head),

    .thread_next = offsetof(PyThreadState, next),
    .thread_interp = offsetof(PyThreadState, interp),
    .thread_id = offsetof(PyThreadState, thread_id),
    .thread_native_id = offsetof(PyThreadState, native_thread_id),
    .thread_frame = PYUSDT_THREAD_FRAME,
    .thread_frame_2 = PYUSDT_THREAD_FRAME_2,

    .frame_code = FRAME(PYUSDT_FRAME_CODE),
    .frame_previous = FRAME(previous),
    .frame_instruction = FRAME(PYUSDT_FRAME_INSTRUCTION),
    .frame_owner = FRAME(owner),
    .frame_locals = FRAME(localsplus),
    .frame_copy = PYUSDT_FRAME_COPY,
    .reference_mask = ~(uint64_t)3,
    .owner_generator = PYUSDT_OWNER_GENERATOR,
    .owner_interpreter = PYUSDT_OWNER_INTERPRETER,

    .code_first_line = CODE(co_firstlineno),
    .code_filename = CODE(co_filename),
    .code_name = CODE(co_name),
    .code_qualname = CODE(co_qualname),
    .code_linetable = CODE(co_linetable),
    .code_bytecode = CODE(co_code_adaptive),
    .code_first_traceable = CODE(_co_firsttraceable),
    .code_version = CODE(co_version),
    .code_copies = PYUSDT_CODE_COPIES,
    .copies_entries = PYUSDT_COPIES_ENTRIES,

    .str_length = offsetof(PyASCIIObject, length),
    .str_state = offsetof(PyASCIIObject, state),
    .str_data_ascii = sizeof(PyASCIIObject),
    .str_data = sizeof(PyCompactUnicodeObject),

    .bytes_size = offsetof(PyVarObject, ob_size),
    .bytes_data = offsetof(PyBytesObject, ob_sval),
};

/* ---- glibc's structures ---- */

#if defined(__x86_64__)
#define DTV_OFFSET 8       /* tcbhead_t.dtv */
#define DESCRIPTOR_BELOW 0 /* struct pthread begins at the thread pointer */
#elif defined(__aarch64__)
#define DTV_OFFSET 0
#define DESCRIPTOR_BELOW 1 /* it ends there */
#endif

/* An entry of the dtv, one a module with thread-local variables. */
struct dtv_entry {
    uintptr_t block;   /* the module's variables in this thread; in [-1]: entries */
    uintptr_t to_free; /* not 0: allocated for this thread alone */
};

static uintptr_t
thread_pointer(void)
{
#if defined(__x86_64__)
    uintptr_t pointer; /* its own first word, by the ABI; older compilers have no built-in */
    __asm__("mov %%fs:0, %0" : "=r"(pointer));
    return pointer;
#else
    return (uintptr_t)__builtin_thread_pointer();
#endif
}

/* Size of a thread's descriptor, struct pthread, which glibc tells debuggers.  0: the
 * C library is another one. */
static size_t
descriptor_size(void)
{
    const uint32_t *size = dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread");
    return size != NULL && *size <= 65536 ? *size : 0;
}

/* Who sees slot_steps sees the offsets. */
static void
publish_slot(uint32_t steps)
{
    __atomic_store_n(&pyusdt_layout.slot_steps, steps, __ATOMIC_RELEASE);
}

static bool
holds(uintptr_t address, const void *pointer)
{
    return *(void *volatile *)address == pointer;
}

/* ---- before 3.15 ---- */

/* A library may keep a copy of the pointer under a key of its own (pybind11 does).
 * So the one that is found must become NULL with the interpreter's.  Nobody sees
 * that: it is this thread's own, which runs nothing else meanwhile. */
static bool
find_key_data(pthread_key_t key, PyThreadState *ts)
{
    size_t size = descriptor_size();
    uintptr_t start = thread_pointer() - (DESCRIPTOR_BELOW ? size : 0);

    if (pthread_getspecific(key) != ts) {
        return false;
    }
    for (uintptr_t at = start; at + sizeof(ts) <= start + size; at += sizeof(ts)) {
        if (!holds(at, ts) || pthread_setspecific(key, NULL) != 0) {
            continue;
        }
        bool found = holds(at, NULL);
        (void)pthread_setspecific(key, ts); /* its memory is there: it cannot fail */
        if (found) {
            pyusdt_layout.slot_offsets[0] = (int64_t)(at - thread_pointer());
            publish_slot(1);
            return true;
        }
    }
    return false;
}

/* ---- from 3.15 on ---- */

/* The thread-local variables of one loaded object in this thread. */
struct tls {
    size_t module; /* its number, 0: it has none */
    uintptr_t block;
    size_t size;
};

/* For dl_iterate_phdr(): is this the object that _PyRuntime lies in? */
static int
if_interpreter(struct dl_phdr_info *info, size_t size, void *result)
{
    struct tls *tls = result;
    uintptr_t wanted = (uintptr_t)&_PyRuntime;
    bool is_it = false;
    size_t variables = 0;

    if (size < offsetof(struct dl_phdr_info, dlpi_tls_data) + sizeof(info->dlpi_tls_data)) {
        return 1;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && wanted >= start && wanted - start < part->p_memsz) {
            is_it = true;
        }
        if (part->p_type == PT_TLS) {
            variables = part->p_memsz;
        }
    }
    if (is_it && variables != 0 && info->dlpi_tls_data != NULL) {
        tls->module = info->dlpi_tls_modid;
        tls->block = (uintptr_t)info->dlpi_tls_data;
        tls->size = variables;
    }
    return is_it;
}

#define MAX_FOUND 8 /* there are two: the one wanted, and the one cleared with the GIL */

/* Of the interpreter's variables that point to the thread's state, the one that
 * still does when the GIL is released. */
static bool
find_variable(PyThreadState *ts)
{
    struct tls tls = {0};
    uintptr_t found[MAX_FOUND];
    int count = 0, left = 0;

    if (descriptor_size() == 0) {
        return false;
    }
    (void)dl_iterate_phdr(if_interpreter, &tls);
    if (tls.module == 0) {
        return false;
    }
    uintptr_t first = (tls.block + sizeof(ts) - 1) & ~(sizeof(ts) - 1);
    for (uintptr_t at = first; at + sizeof(ts) <= tls.block + tls.size; at += sizeof(ts)) {
        if (holds(at, ts) && count < MAX_FOUND) {
            found[count++] = at;
        }
    }
    (void)PyEval_SaveThread();
    for (int i = 0; i < count; i++) {
        if (holds(found[i], ts)) {
            found[left++] = found[i];
        }
    }
    PyEval_RestoreThread(ts);
    if (left != 1) {
        return false;
    }

    /* An object that is loaded at start has its variables at one distance from the
     * thread pointer in all threads, one that is loaded later may have not. */
    const struct dtv_entry *dtv = *(struct dtv_entry *const *)(thread_pointer() + DTV_OFFSET);
    if (tls.module <= dtv[-1].block && dtv[tls.module].block == tls.block &&
        dtv[tls.module].to_free != 0) {
        pyusdt_layout.slot_offsets[0] = DTV_OFFSET;
        pyusdt_layout.slot_offsets[1] = (int64_t)(tls.module * sizeof(struct dtv_entry));
        pyusdt_layout.slot_offsets[2] = (int64_t)(found[0] - tls.block);
        publish_slot(3);
    }
    else {
        pyusdt_layout.slot_offsets[0] = (int64_t)(found[0] - thread_pointer());
        publish_slot(1);
    }
    return true;
}

/* ---- all versions ---- */

/* An interpreter that was finalized and initialized again may use another key. */
static bool
slot_leads_to(const PyThreadState *ts)
{
    uintptr_t at = thread_pointer();

    for (uint32_t i = 0; i < pyusdt_layout.slot_steps; i++) {
        at = *(uintptr_t *)(at + (uintptr_t)pyusdt_layout.slot_offsets[i]);
    }
    return at == (uintptr_t)ts;
}

/* The masks of a str's state, which is a bit field: no offsetof() gives them. */
static void
fill_str_masks(void)
{
    PyASCIIObject kind, ascii;

    memset(&kind, 0, sizeof(kind));
    memset(&ascii, 0, sizeof(ascii));
    kind.state.kind = 7;
    ascii.state.ascii = 1;
    memcpy(&pyusdt_layout.str_kind, &kind.state, sizeof(uint32_t));
    memcpy(&pyusdt_layout.str_ascii, &ascii.state, sizeof(uint32_t));
}

void
pyusdt_layout_init(void)
{
    /* Interpreters with a GIL of their own may come here side by side. */
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    uint32_t flags = PYUSDT_LAYOUT_READY;

    if (atomic_flag_test_and_set(&busy)) {
        return;
    }
    PyThreadState *ts = PyThreadState_Get();
    if (!slot_leads_to(ts)) {
        Py_tss_t *key = pyusdt_thread_key();
        (void)(key != NULL ? find_key_data(key->_key, ts) : find_variable(ts));
    }
    if ((pyusdt_layout.flags & PYUSDT_LAYOUT_READY) == 0) {
        pyusdt_layout.python = (uint32_t)Py_Version;
        pyusdt_layout.runtime = (uint64_t)(uintptr_t)&_PyRuntime;
        fill_str_masks();
        flags |= PYUSDT_FREE_THREADED ? PYUSDT_LAYOUT_FREE_THREADED : 0;
        __atomic_store_n(&pyusdt_layout.flags, flags, __ATOMIC_RELEASE);
    }
    atomic_flag_clear(&busy);
}
