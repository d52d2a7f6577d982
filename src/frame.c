/*
 * frame.c - reads the interpreter's frames.  It owns nothing.  Any thread that
 * runs Python may call it, for frames of its own stack.
 */
#include "internals.h"

#include "frame.h"

#include <string.h>

static const struct _PyInterpreterFrame *
frame_at(uint64_t address)
{
    return (const struct _PyInterpreterFrame *)(uintptr_t)address;
}

/* 3.14 keeps in the two low bits of a reference how it is counted, and sets both in
 * one that is a small int and no object.  Older references have them clear. */
#define TAG_BITS ((uintptr_t)3)

static PyObject *
object_of(const void *reference)
{
    uintptr_t bits;

    memcpy(&bits, reference, sizeof(bits));
    return (bits & TAG_BITS) == TAG_BITS ? NULL : (PyObject *)(bits & ~TAG_BITS);
}

uint64_t
pyusdt_frame_previous(uint64_t frame)
{
    return (uint64_t)(uintptr_t)frame_at(frame)->previous;
}

int
pyusdt_frame_owner(uint64_t frame)
{
    return (unsigned char)frame_at(frame)->owner;
}

PyCodeObject *
pyusdt_frame_code(uint64_t frame)
{
    const struct _PyInterpreterFrame *found = frame_at(frame);
    PyObject *code = object_of(&found->PYUSDT_FRAME_CODE);
    int owner = pyusdt_frame_owner(frame);

    if (owner >= PYUSDT_OWNER_INTERPRETER || code == NULL || !PyCode_Check(code)) {
        return NULL;
    }
    const PyCodeObject *known = (const PyCodeObject *)code;
    const char *start = pyusdt_frame_bytecode(found, known);
    ptrdiff_t offset = (const char *)found->PYUSDT_FRAME_INSTRUCTION - start;
    if (owner != PYUSDT_OWNER_GENERATOR &&
        offset < known->_co_firsttraceable * (ptrdiff_t)sizeof(_Py_CODEUNIT)) {
        return NULL;
    }
    return (PyCodeObject *)code;
}

const void *
pyusdt_frame_instruction(uint64_t frame)
{
    return frame_at(frame)->PYUSDT_FRAME_INSTRUCTION;
}

PyObject *
pyusdt_frame_local(uint64_t frame, int i)
{
    return object_of(&frame_at(frame)->localsplus[i]);
}

PyObject *
pyusdt_frame_globals(uint64_t frame)
{
    return frame_at(frame)->f_globals;
}
