/*
 * config.c - the process's settings: read from the environment once and checked.
 * Those that control.h can change while the program runs are atomic, the others
 * constant.  Any thread may read them after the first load.
 */
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "slow.h"
#include "state.h"

static struct pyusdt_config config;
static pthread_once_t config_once = PTHREAD_ONCE_INIT;

const struct pyusdt_range pyusdt_ranges[PYUSDT_INCLUDE] = {
    [PYUSDT_CHECK_MSEC] = {"PYUSDT_CHECK_MSEC", "check_msec", 1, 60000, 100},
    [PYUSDT_VALUE_MAX] = {"PYUSDT_VALUE_MAX", "value_max", 16, PYUSDT_VALUE_SIZE - 1, 128},
    [PYUSDT_SLOW_USEC] = {"PYUSDT_SLOW_USEC", "slow_usec", 0, 3600000000, 10000},
};

static const struct pyusdt_range verbose = {"PYUSDT_VERBOSE", NULL, 0, 1, 0};
static const struct pyusdt_range disable = {"PYUSDT_DISABLE", NULL, 0, 1, 0};

/* A whole number from the environment.  Unset or empty: the default. */
static long long
read_number(const struct pyusdt_range *range)
{
    const char *text = getenv(range->name);
    char *end = NULL;

    if (text == NULL || *text == '\0') {
        return range->usual;
    }
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < range->smallest ||
        number > range->largest) {
        fprintf(stderr, "pyusdt: %s=%s: give a whole number from %lld to %lld; using %lld\n",
                range->name, text, range->smallest, range->largest, range->usual);
        return range->usual;
    }
    return number;
}

/* Patterns from the environment, none if they are bad. */
static void
read_patterns(const char *name, char *patterns)
{
    const char *text = getenv(name);
    const char *problem = text != NULL ? pyusdt_filter_check(text, strlen(text)) : NULL;

    if (problem != NULL) {
        fprintf(stderr, "pyusdt: %s: the patterns are %s; using none\n", name, problem);
    }
    else if (text != NULL) {
        memcpy(patterns, text, strlen(text) + 1);
    }
}

/* 0 or 1; -1 when it is unset, empty or neither: what is usual is told by `usual`. */
static int
read_choice(const char *name, const char *usual)
{
    const char *text = getenv(name);

    if (text == NULL || *text == '\0') {
        return -1;
    }
    if ((*text != '0' && *text != '1') || text[1] != '\0') {
        fprintf(stderr, "pyusdt: %s=%s: give 0 or 1; %s\n", name, text, usual);
        return -1;
    }
    return *text - '0';
}

static void
read_environment(void)
{
    struct pyusdt_settings settings = {0};

    for (int i = 0; i < PYUSDT_INCLUDE; i++) {
        settings.number[i] = read_number(&pyusdt_ranges[i]);
    }
    read_patterns("PYUSDT_INCLUDE", settings.filter.include);
    read_patterns("PYUSDT_EXCLUDE", settings.filter.exclude);
    config.verbose = read_number(&verbose) != 0;
    config.disable = read_number(&disable) != 0;
    config.python_provider =
        read_choice("PYUSDT_PYTHON_PROVIDER", "using what the interpreter lacks");
    pyusdt_control_init(&settings);
}

void
pyusdt_config_load(void)
{
    (void)pthread_once(&config_once, read_environment);
}

void
pyusdt_config_set(const int64_t *number)
{
    atomic_store(&config.check_msec, (int)number[PYUSDT_CHECK_MSEC]);
    atomic_store(&config.value_max, (int)number[PYUSDT_VALUE_MAX]);
    pyusdt_slow_set(number[PYUSDT_SLOW_USEC]);
}

const struct pyusdt_config *
pyusdt_config(void)
{
    return &config;
}
