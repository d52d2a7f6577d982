/*
 * filter.c - include and exclude patterns: reads its arguments, owns nothing.
 * Pure C for any thread, made for sys.monitoring callbacks: see filter.h.
 */
#include "filter.h"

#include <stdint.h>
#include <string.h>

#define TEXT_OF(number) #number
#define STRING_OF(number) TEXT_OF(number)
#define LONGEST 2047

_Static_assert(LONGEST == PYUSDT_PATTERNS_SIZE - 1, "the message names the limit");

typedef const unsigned char *bytes;

/* What a byte that is not UTF-8 counts as: no character has this number. */
#define STRAY 0xDC00u

/* The character at *at, which is before end; *at is moved behind it. */
static uint32_t
next_character(bytes *at, bytes end)
{
    bytes start = (*at)++;
    uint32_t c = *start;
    int more = c < 0xC2 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : c < 0xF5 ? 3 : 0;

    if (c < 0x80) {
        return c;
    }
    if (more == 0 || end - start <= more) {
        return STRAY | c;
    }
    c &= 0x3Fu >> more;
    for (int i = 1; i <= more; i++) {
        if ((start[i] & 0xC0) != 0x80) {
            return STRAY | *start;
        }
        c = c << 6 | (start[i] & 0x3F);
    }
    if ((more == 2 && (c < 0x800 || (c >= 0xD800 && c <= 0xDFFF))) ||
        (more == 3 && (c < 0x10000 || c > 0x10FFFF))) {
        return STRAY | *start;
    }
    *at = start + more + 1;
    return c;
}

/* The "]" of a set; `start` is behind its "[", `last` the last "]" of the pattern or
 * NULL.  NULL if there is none: the "[" is itself, and so are all that follow it. */
static bytes
end_of_set(bytes start, bytes last, bytes end)
{
    if (start < end && *start == '!') {
        start++;
    }
    if (start < end && *start == ']') {
        start++;
    }
    return last == NULL || last < start ? NULL : memchr(start, ']', (size_t)(end - start));
}

static bool
set_has(bytes at, bytes end, uint32_t c)
{
    bool negated = *at == '!';
    bool found = false;

    at += negated;
    while (at < end) {
        uint32_t low = next_character(&at, end);
        uint32_t high = low;
        if (end - at >= 2 && *at == '-') {
            at++;
            high = next_character(&at, end);
        }
        found |= low <= c && c <= high;
    }
    return found != negated;
}

/* Matches the pattern's next item, which is no "*", with the name's next character,
 * and moves behind both.  False: they differ. */
static inline bool
step(bytes *pattern, bytes pattern_end, bytes last, bytes *name, bytes name_end)
{
    bytes set_end;

    if (**pattern == '?') {
        (*pattern)++;
        (void)next_character(name, name_end);
        return true;
    }
    if (**pattern == '[' && (set_end = end_of_set(*pattern + 1, last, pattern_end)) != NULL) {
        bytes set = *pattern + 1;
        *pattern = set_end + 1;
        return set_has(set, set_end, next_character(name, name_end));
    }
    return *(*pattern)++ == *(*name)++;
}

/* One pattern, one name.  Only the last "*" is ever tried again: what stands before
 * it has matched as early as it can, which leaves most to the rest. */
static bool
pattern_matches(bytes pattern, bytes pattern_end, bytes name, bytes name_end)
{
    bytes last = memrchr(pattern, ']', (size_t)(pattern_end - pattern));
    bytes star = NULL;  /* behind the last "*" */
    bytes retry = NULL; /* where in the name what follows it was tried */

    for (;;) {
        if (pattern < pattern_end && *pattern == '*') {
            while (pattern < pattern_end && *pattern == '*') {
                pattern++;
            }
            if (pattern == pattern_end) {
                return true;
            }
            star = pattern;
            retry = name;
        }
        else if (pattern < pattern_end) {
            if (name == name_end) {
                return false; /* and from further on there is even less */
            }
            if (step(&pattern, pattern_end, last, &name, name_end)) {
                continue;
            }
            if (star == NULL) {
                return false;
            }
            (void)next_character(&retry, name_end);
        }
        else if (name == name_end) {
            return true;
        }
        else if (star == NULL) {
            return false;
        }
        else {
            (void)next_character(&retry, name_end);
        }
        if (*star != '?' && *star != '[') {
            retry = memchr(retry, *star, (size_t)(name_end - retry));
            if (retry == NULL) {
                return false;
            }
        }
        pattern = star;
        name = retry;
    }
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next pattern at *at, which is moved behind it.  False: there is none. */
static bool
next_pattern(const char **at, const char **start, const char **end)
{
    while (**at == ',' || is_space(**at)) {
        (*at)++;
    }
    if (**at == '\0') {
        return false;
    }
    *start = *at;
    *at = strchrnul(*at, ',');
    *end = *at;
    while (is_space((*end)[-1])) {
        (*end)--;
    }
    return true;
}

bool
pyusdt_filter_matches(const char *patterns, const char *const *names, int count)
{
    const char *start, *end;

    while (next_pattern(&patterns, &start, &end)) {
        for (int i = 0; i < count; i++) {
            if (pattern_matches((bytes)start, (bytes)end, (bytes)names[i],
                                (bytes)names[i] + strlen(names[i]))) {
                return true;
            }
        }
    }
    return false;
}

bool
pyusdt_filter_passes(const struct pyusdt_filter *filter, const char *const *names, int count)
{
    const char *include = filter->include;
    const char *start, *end;

    if (next_pattern(&include, &start, &end) &&
        !pyusdt_filter_matches(filter->include, names, count)) {
        return false;
    }
    return !pyusdt_filter_matches(filter->exclude, names, count);
}

const char *
pyusdt_filter_check(const char *patterns, size_t length)
{
    bytes at = (bytes)patterns;
    bytes end = at + length;

    if (length > LONGEST) {
        return "longer than " STRING_OF(LONGEST) " bytes";
    }
    while (at < end) {
        uint32_t c = next_character(&at, end);
        if ((c & ~0xFFu) == STRAY) {
            return "not UTF-8";
        }
        if ((c < 0x20 && !is_space((char)c)) || c == 0x7F) {
            return "has a control character";
        }
    }
    return NULL;
}
