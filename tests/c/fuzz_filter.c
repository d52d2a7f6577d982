/*
 * fuzz_filter.c - coverage-guided fuzzing of filter.c: libFuzzer gives bytes, which
 * are patterns and a name, separated by a NUL.  What the filter says is compared with
 * a plain matcher by dynamic programming, if the bytes are patterns at all.
 *
 * Both lie in memory of exactly their size, so that AddressSanitizer sees a byte too
 * many.  scripts/fuzz.sh builds and runs it.
 */
#include "filter.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 4096

static void
stop(const char *complaint)
{
    fprintf(stderr, "fuzz_filter: %s\n", complaint);
    abort();
}

/* Code points; a byte that is no UTF-8 becomes 0xDC00 + byte. */
static int
decode(const char *text, size_t length, uint32_t *points)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)text;
    int count = 0;

    for (size_t i = 0; i < length;) {
        size_t more = bytes[i] >= 0xF0 ? 3 : bytes[i] >= 0xE0 ? 2 : bytes[i] >= 0xC0 ? 1 : 0;
        uint32_t c = more == 0 ? bytes[i] : bytes[i] & (0x3F >> more);
        bool good = bytes[i] < 0x80 || (more > 0 && bytes[i] < 0xF8 && i + more < length);
        for (size_t j = 1; good && j <= more; j++) {
            good = bytes[i + j] >> 6 == 2;
            c = c * 64 + bytes[i + j] % 64;
        }
        if (!good || c < smallest[more] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
            c = 0xDC00 + bytes[i];
            more = 0;
        }
        points[count++] = c;
        i += more + 1;
    }
    return count;
}

/* The length of the pattern's item at p; *takes: whether it takes the character c. */
static int
item(const uint32_t *p, int count, uint32_t c, bool *takes)
{
    int end = 1;

    *takes = *p == '?' || *p == c;
    if (*p != '[') {
        return 1;
    }
    end += end < count && p[end] == '!';
    end += end < count && p[end] == ']';
    while (end < count && p[end] != ']') {
        end++;
    }
    if (end >= count) {
        return 1;
    }
    bool negated = p[1] == '!';
    bool found = false;
    for (int i = 1 + negated; i < end; i++) {
        bool range = i + 2 < end && p[i + 1] == '-';
        found = found || (c >= p[i] && c <= (range ? p[i + 2] : p[i]));
        i += range ? 2 : 0;
    }
    *takes = found != negated;
    return end + 1;
}

/* reached[i]: the pattern so far matches the first i characters of the name. */
static bool
plain_match(const uint32_t *pattern, int count, const uint32_t *name, int length)
{
    static bool reached[MOST + 1];

    memset(reached, 0, sizeof(reached));
    reached[0] = true;
    for (int at = 0; at < count;) {
        int used = 1;
        if (pattern[at] == '*') {
            for (int i = 1; i <= length; i++) {
                reached[i] = reached[i] || reached[i - 1];
            }
        }
        else {
            for (int i = length; i >= 0; i--) {
                bool takes = false;
                used = item(pattern + at, count - at, i > 0 ? name[i - 1] : 0, &takes);
                reached[i] = i > 0 && takes && reached[i - 1];
            }
        }
        at += used;
    }
    return reached[length];
}

static bool
plain_matches(const char *patterns, const uint32_t *name, int length)
{
    static uint32_t pattern[MOST];

    while (true) {
        size_t size = strcspn(patterns, ",");
        const char *start = patterns;
        const char *end = patterns + size;
        while (start < end && strchr(" \t\r\n", *start) != NULL) {
            start++;
        }
        while (end > start && strchr(" \t\r\n", end[-1]) != NULL) {
            end--;
        }
        if (start < end &&
            plain_match(pattern, decode(start, (size_t)(end - start), pattern), name, length)) {
            return true;
        }
        if (patterns[size] == '\0') {
            return false;
        }
        patterns += size + 1;
    }
}

static char *
copy(const uint8_t *from, size_t length)
{
    char *text = malloc(length + 1);
    if (text == NULL) {
        stop("out of memory");
    }
    memcpy(text, from, length);
    text[length] = '\0';
    return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint32_t points[MOST];
    static struct pyusdt_filter filter;

    if (size > MOST) {
        return -1;
    }
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t pattern_size = zero != NULL ? (size_t)(zero - data) : size;
    size_t name_size = size - pattern_size - (zero != NULL);
    char *patterns = copy(data, pattern_size);
    char *name = copy(data + size - name_size, name_size);
    const char *const names[] = {name, name};

    const char *complaint = pyusdt_filter_check(patterns, pattern_size);
    bool got = pyusdt_filter_matches(patterns, names, 2);
    if (complaint == NULL) {
        int length = decode(name, strlen(name), points);
        if (got != plain_matches(patterns, points, length)) {
            stop("the plain matcher says otherwise");
        }
        bool any = patterns[strspn(patterns, ", \t\r\n")] != '\0';
        memcpy(filter.include, patterns, pattern_size + 1);
        filter.exclude[0] = '\0';
        if (pyusdt_filter_passes(&filter, names, 2) != (!any || got)) {
            stop("include");
        }
        filter.include[0] = '\0';
        memcpy(filter.exclude, patterns, pattern_size + 1);
        if (pyusdt_filter_passes(&filter, names, 2) == got) {
            stop("exclude");
        }
    }
    free(name);
    free(patterns);
    return 0;
}
