/*
 * notes.h - which USDT probes an ELF file has.  Knows nothing of Python; any
 * thread may call it.  It allocates nothing and leaves no descriptor open.
 */
#ifndef PYUSDT_NOTES_H
#define PYUSDT_NOTES_H

#include <stdbool.h>

/* Calls `found` for each stapsdt note of the file, in its order.  False when the
 * file cannot be read or is no 64-bit ELF file of this machine's byte order; a note
 * that is malformed or over-long ends its section. */
bool pyusdt_notes_read(const char *path,
                       void (*found)(const char *provider, const char *name, void *argument),
                       void *argument);

#endif
