/*
 * lines.c - reads co_linetable.  Any thread may call it.
 *
 * The table is a list of entries, each for one to eight units of the bytecode:
 *
 *     byte    1 c c c c n n n    c: the form of the entry, n: its units, less one
 *     form    0 to 9             the same line; one more byte (columns)
 *             10 to 12           the line grows by form - 10; two more bytes
 *             13                 the line grows by a signed varint
 *             14                 the same, and three more varints
 *             15                 no line
 *
 * A varint has six bits a byte, the lowest first; bit 6 says that another follows.
 * The lowest bit of a signed one is its sign.  The first line is co_firstlineno.
 * Source: "Locations table" in CPython's InternalDocs/code_objects.md.
 */
#include "lines.h"

#include <stdint.h>

#define UNIT 2 /* bytes of the bytecode; Py_SIZE() of a code object counts these */

static int
read_varint(const unsigned char **at, const unsigned char *end)
{
    unsigned value = 0;
    for (int shift = 0; *at < end && shift < 30; shift += 6) {
        unsigned byte = *(*at)++;
        value |= (byte & 63) << shift;
        if ((byte & 64) == 0) {
            break;
        }
    }
    return (int)value;
}

static int
read_signed(const unsigned char **at, const unsigned char *end)
{
    int value = read_varint(at, end);
    return value & 1 ? -(value >> 1) : value >> 1;
}

int
pyusdt_line_of(PyCodeObject *code, int64_t offset)
{
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(code->co_linetable);
    const unsigned char *end = at + PyBytes_GET_SIZE(code->co_linetable);
    int64_t unit = offset / UNIT;
    int64_t next = 0; /* the first unit behind the entry */
    int line = code->co_firstlineno;

    if (offset < 0 || unit >= Py_SIZE(code)) {
        return -1;
    }
    while (at < end) {
        unsigned head = *at++;
        unsigned form = head >> 3 & 15;
        next += (head & 7) + 1;
        if (form == 14 || form == 13) {
            line += read_signed(&at, end);
        }
        else if (form >= 10 && form < 13) {
            line += (int)form - 10;
        }
        if (unit < next) {
            return form == 15 ? -1 : line;
        }
        while (at < end && (*at & 128) == 0) {
            at++;
        }
    }
    return -1;
}
