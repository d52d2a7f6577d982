/* read_notes.c - src/notes.c by itself, for test_python_provider.py: prints
 * "provider name" of each note of the files named, and exits with 1 if one could not
 * be read. */
#include "notes.h"

#include <stdio.h>

static void
print(const char *provider, const char *name, void *unused)
{
    (void)unused;
    printf("%s %s\n", provider, name);
}

int
main(int argc, char **argv)
{
    int status = 0;
    for (int i = 1; i < argc; i++) {
        if (!pyusdt_notes_read(argv[i], print, NULL)) {
            status = 1;
        }
    }
    return status;
}
