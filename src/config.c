/*
 * config.c - the process's settings: read from the environment once, checked,
 * then constant.  Any thread may read them after the first load.
 */
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "state.h"

static struct pyusdt_config config;
static pthread_once_t config_once = PTHREAD_ONCE_INIT;

/* A whole number from the environment.  Unset or empty: the default. */
static int
read_number(const char *name, int smallest, int largest, int usual)
{
    const char *text = getenv(name);
    char *end = NULL;

    if (text == NULL || *text == '\0') {
        return usual;
    }
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < smallest || number > largest) {
        fprintf(stderr, "pyusdt: %s=%s: give a whole number from %d to %d; using %d\n", name, text,
                smallest, largest, usual);
        return usual;
    }
    return (int)number;
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
    config.check_msec = read_number("PYUSDT_CHECK_MSEC", 1, 60000, 100);
    config.value_max = read_number("PYUSDT_VALUE_MAX", 16, PYUSDT_VALUE_SIZE - 1, 128);
    config.verbose = read_number("PYUSDT_VERBOSE", 0, 1, 0) != 0;
    config.python_provider =
        read_choice("PYUSDT_PYTHON_PROVIDER", "using what the interpreter lacks");
    config.disable = read_number("PYUSDT_DISABLE", 0, 1, 0) != 0;
}

void
pyusdt_config_load(void)
{
    (void)pthread_once(&config_once, read_environment);
}

const struct pyusdt_config *
pyusdt_config(void)
{
    return &config;
}
