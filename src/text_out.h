/*
 * text_out.h - what text.c and args.c write their text with.  Nobody else needs it.
 * As in text.h: no user code, no allocation, no waiting, no exception.
 */
#ifndef PYUSDT_TEXT_OUT_H
#define PYUSDT_TEXT_OUT_H

#include <Python.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Containers are shown down to this level. */
#define MAX_DEPTH 3

/* Text that grows until it is full: a piece that does not fit is cut. */
struct out {
    char *start;
    char *at;
    char *end; /* the last byte: kept for the final NUL */
    bool full; /* something was cut */

    /* Locked by us: the list, dict or exception at each level, or NULL. */
    PyObject *locked[MAX_DEPTH + 2];
};

static inline void
put(struct out *out, const char *bytes, size_t count)
{
    size_t room = (size_t)(out->end - out->at);
    if (count > room) {
        count = room;
        out->full = true;
    }
    memcpy(out->at, bytes, count);
    out->at += count;
}

static inline void
put_string(struct out *out, const char *text)
{
    put(out, text, strnlen(text, (size_t)(out->end - out->at) + 1));
}

#define put_format(out, ...)                                                                       \
    do {                                                                                           \
        char piece[64];                                                                            \
        (void)snprintf(piece, sizeof(piece), __VA_ARGS__);                                         \
        put_string(out, piece);                                                                    \
    } while (0)

/* A text into `size` bytes, 8 or more. */
static inline struct out
out_to(char *buffer, size_t size)
{
    return (struct out){.start = buffer, .at = buffer, .end = buffer + size - 1};
}

/* Ends the text; one that was cut ends in "...", after a whole character. */
void pyusdt_put_end(struct out *out);

/* The characters of a str, escaped as text.h says of pyusdt_name(). */
void pyusdt_put_name(struct out *out, PyObject *name);

/* module.qualname of a class, as object.__repr__() has it. */
void pyusdt_put_type_name(struct out *out, PyTypeObject *type);

/* A value by the rules of text.h.  `depth` is 0, but for what is in a container. */
void pyusdt_put_object(struct out *out, PyObject *value, int depth);

#endif
