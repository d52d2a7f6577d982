/*
 * filter.h - include and exclude patterns.
 *
 * Patterns are text: UTF-8, separated by commas, NUL-terminated, of at most
 * PYUSDT_PATTERNS_SIZE - 1 bytes.  White space around a pattern (space, tab, line
 * feed, carriage return) is dropped, an empty pattern is no pattern.  Each is what
 * Python's fnmatch.fnmatchcase() takes, and must match the whole name:
 *
 *     *        any characters, also none, also "/" and "."
 *     ?        one character
 *     [seq]    one character of seq; a-z is a range, in order of code points; "]"
 *              stands first; a "[" that no "]" follows is itself
 *     [!seq]   one character that is not in seq
 *
 * A comma separates even inside brackets.  A range with its ends the wrong way
 * round (z-a) is empty.
 *
 * Names are NUL-terminated UTF-8.  A byte that is not UTF-8, in a name or a pattern,
 * counts as a character of its own, which no other character equals.
 *
 * Nothing here knows of Python, allocates, waits, or looks at the locale; any
 * thread may call it.  A name of n bytes and a pattern of m take at most n * m steps.
 */
#ifndef PYUSDT_FILTER_H
#define PYUSDT_FILTER_H

#include <stdbool.h>
#include <stddef.h>

/* With the final NUL. */
#define PYUSDT_PATTERNS_SIZE 2048

/* Empty patterns are "". */
struct pyusdt_filter {
    char include[PYUSDT_PATTERNS_SIZE];
    char exclude[PYUSDT_PATTERNS_SIZE];
};

/* True if one of the patterns matches one of the names. */
bool pyusdt_filter_matches(const char *patterns, const char *const *names, int count);

/* True if `include` has no pattern or matches one of the names, and `exclude`
 * matches none of them. */
bool pyusdt_filter_passes(const struct pyusdt_filter *filter, const char *const *names, int count);

/* NULL if these `length` bytes, with a NUL behind them, can be patterns; else what is
 * wrong with them, for people: "longer than 2047 bytes", "has a control character",
 * "not UTF-8".  White space as above is no control character. */
const char *pyusdt_filter_check(const char *patterns, size_t length);

#endif
