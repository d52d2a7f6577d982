/*
 * layout.h - the layout block: what a stack walker must know of this process's
 * interpreter, so that it needs no table of CPython's versions.
 *
 * It is the data symbol pyusdt_layout of the library (in its .dynsym).  A BPF
 * program, a debugger or pyusdt.layout.read() copies it out of the process once.
 * After READY is set nothing in it changes, also not in a forked child, as long as the
 * program does not initialize its interpreter a second time.  Numbers are
 * little-endian; offsets are in bytes; -1 says that there is no such field.
 *
 * How a stack is walked:
 *
 *  1. The thread's state.  address = its thread pointer (fs base on x86-64,
 *     tpidr_el0 on arm64); for each of the first slot_steps slot_offsets,
 *     address = *(uint64_t *)(address + offset).  0 is a thread that runs no Python.
 *     The state stays while a thread waits without the GIL.  slot_steps 0: the slot
 *     was not found; walk the lists instead, runtime -> runtime_interpreters ->
 *     interp_threads -> thread_next, to the state whose thread_id is the thread
 *     pointer (glibc, x86-64).
 *  2. The current frame: *(state + thread_frame), and if thread_frame_2 is not
 *     -1 *(that + thread_frame_2).  frame_previous leads to the caller's, to 0.
 *  3. A frame whose frame_owner is owner_interpreter or more is no function's.
 *  4. code = *(frame + frame_code) & reference_mask.
 *  5. position = *(frame + frame_instruction) - (code + code_bytecode), in bytes;
 *     -2 in 3.12's new frames.  If frame_copy is not -1 and n = *(int32_t *)(frame +
 *     frame_copy) is not 0, the start of the bytecode is instead
 *     *(*(code + code_copies) + copies_entries + 8 * n).
 *  6. A frame whose owner is not owner_generator and whose position is less than
 *     2 * code_first_traceable has not begun, or is that of a constructor: left out.
 *  7. The line is that of position / 2 in co_linetable (CPython's
 *     InternalDocs/code_objects.md), from code_first_line on.
 *
 * A stack that is read while its thread runs can be torn; take it if no read failed
 * and the last frame was one of 3 with no previous one.
 */
#ifndef PYUSDT_LAYOUT_H
#define PYUSDT_LAYOUT_H

#include <stdint.h>

#define PYUSDT_LAYOUT_MAGIC "PyLayout"
#define PYUSDT_LAYOUT_VERSION 1 /* of this drawing: a change of any field is a new one */

/* flags */
#define PYUSDT_LAYOUT_READY 1         /* all is filled in; before, ignore the rest */
#define PYUSDT_LAYOUT_FREE_THREADED 2 /* a build without a GIL */

struct pyusdt_layout {
    /*   0 */ char magic[8];       /* PYUSDT_LAYOUT_MAGIC, no NUL */
    /*   8 */ uint32_t version;    /* PYUSDT_LAYOUT_VERSION */
    /*  12 */ uint32_t size;       /* of the block, bytes: 216 */
    /*  16 */ uint32_t python;     /* sys.hexversion of the interpreter */
    /*  20 */ uint32_t built_for;  /* that of the headers the offsets are from */
    /*  24 */ uint32_t flags;      /* above */
    /*  28 */ uint32_t slot_steps; /* 0: not found; 1: a fixed place; 3: through the dtv */
    /*  32 */ int64_t slot_offsets[3];
    /*  56 */ uint64_t runtime; /* address of _PyRuntime */

    /* _PyRuntimeState, PyInterpreterState */
    /*  64 */ int32_t runtime_interpreters; /* -> the newest interpreter */
    /*  68 */ int32_t interp_next;          /* -> the next older one */
    /*  72 */ int32_t interp_id;            /* int64 */
    /*  76 */ int32_t interp_threads;       /* -> its newest thread's state */

    /* PyThreadState */
    /*  80 */ int32_t thread_next;      /* -> the next older one */
    /*  84 */ int32_t thread_interp;    /* -> its interpreter */
    /*  88 */ int32_t thread_id;        /* uint64: pthread_self() */
    /*  92 */ int32_t thread_native_id; /* uint64: gettid(), as the process sees it */
    /*  96 */ int32_t thread_frame;     /* -> the current frame */
    /* 100 */ int32_t thread_frame_2;   /* 3.12: the second step, else -1 */

    /* _PyInterpreterFrame */
    /* 104 */ int32_t frame_code;        /* -> the code object, under reference_mask */
    /* 108 */ int32_t frame_previous;    /* -> the caller's frame, or 0 */
    /* 112 */ int32_t frame_instruction; /* -> the bytecode it is at */
    /* 116 */ int32_t frame_owner;       /* uint8 */
    /* 120 */ int32_t frame_locals;      /* array of references, co_localsplusnames */
    /* 124 */ int32_t frame_copy;        /* int32: which copy of the bytecode, or -1 */
    /* 128 */ uint64_t reference_mask;   /* reference & reference_mask is an address */
    /* 136 */ int32_t owner_generator;   /* value of frame_owner */
    /* 140 */ int32_t owner_interpreter; /* from this value on: no function's frame */

    /* PyCodeObject */
    /* 144 */ int32_t code_first_line;      /* int32 */
    /* 148 */ int32_t code_filename;        /* -> str */
    /* 152 */ int32_t code_name;            /* -> str */
    /* 156 */ int32_t code_qualname;        /* -> str */
    /* 160 */ int32_t code_linetable;       /* -> bytes */
    /* 164 */ int32_t code_bytecode;        /* the bytecode itself */
    /* 168 */ int32_t code_first_traceable; /* int32, in units of 2 bytes */
    /* 172 */ int32_t code_version;         /* uint32: tells codes at one address apart */
    /* 176 */ int32_t code_copies;          /* -> _PyCodeArray, or -1 */
    /* 180 */ int32_t copies_entries;       /* array of -> bytecode, or -1 */

    /* str, always compact */
    /* 184 */ int32_t str_length;     /* int64, characters */
    /* 188 */ int32_t str_state;      /* uint32; the two masks are of it */
    /* 192 */ uint32_t str_kind;      /* (state & str_kind) / (lowest bit of it): 1, 2, 4
                                         bytes a character */
    /* 196 */ uint32_t str_ascii;     /* state & str_ascii: ASCII, kind 1 */
    /* 200 */ int32_t str_data_ascii; /* the characters of ASCII text */
    /* 204 */ int32_t str_data;       /* of all other text: Latin-1, UCS-2, UCS-4 */

    /* bytes */
    /* 208 */ int32_t bytes_size; /* int64 */
    /* 212 */ int32_t bytes_data; /* the bytes */
};

_Static_assert(sizeof(struct pyusdt_layout) == 216, "the layout block is as it is drawn");

extern struct pyusdt_layout pyusdt_layout __attribute__((visibility("default")));

/* Fills in what is known only now.  Later calls change nothing but the slot, and
 * that only if it was not found or is no longer right.  The GIL of any interpreter is
 * held; 3.15 lets it go for a moment.  Any thread.  No errors: what is not found
 * stays 0. */
void pyusdt_layout_init(void);

#endif
