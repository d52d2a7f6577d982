/*
 * notes.c - reads the stapsdt notes of an ELF file: see notes.h, and usdt.h for
 * the format of such a note.
 *
 * The file may be anything, so every number of it is checked.  It is read, not
 * mapped: a file that is cut short meanwhile is no more than a short read.
 */
#include "notes.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define NT_STAPSDT 3
#define OWNER "stapsdt"
#define ADDRESSES 24       /* bytes before the provider's name */
#define MOST_SECTIONS 1024 /* an interpreter has some 40 */
#define MOST_NOTES 4096
#define ALIGNED(size) (((uint64_t)(size) + 3) & ~(uint64_t)3)

/* Up to `size` bytes at an offset; how many there were, 0 on any error. */
static size_t
read_at(int fd, uint64_t offset, void *buffer, size_t size)
{
    ssize_t got;

    if (offset > INT64_MAX) {
        return 0;
    }
    do {
        got = pread(fd, buffer, size, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? 0 : (size_t)got;
}

/* The description's strings; both must end within it. */
static void
read_description(const char *text, size_t size,
                 void (*found)(const char *provider, const char *name, void *argument),
                 void *argument)
{
    if (size <= ADDRESSES) {
        return;
    }
    const char *provider = text + ADDRESSES;
    const char *end = text + size;
    const char *provider_end = memchr(provider, '\0', (size_t)(end - provider));
    if (provider_end == NULL) {
        return;
    }
    const char *name = provider_end + 1;
    if (memchr(name, '\0', (size_t)(end - name)) != NULL) {
        found(provider, name, argument);
    }
}

static void
read_section(int fd, uint64_t at, uint64_t size,
             void (*found)(const char *provider, const char *name, void *argument), void *argument)
{
    char buffer[4096] __attribute__((aligned(8)));
    size_t have = 0, start = 0; /* bytes in the buffer; where the next note begins */

    for (int i = 0; i < MOST_NOTES && size >= sizeof(Elf64_Nhdr); i++) {
        Elf64_Nhdr header;
        for (int tries = 0;; tries++) {
            if (have - start >= sizeof(header)) {
                memcpy(&header, buffer + start, sizeof(header));
                uint64_t whole =
                    sizeof(header) + ALIGNED(header.n_namesz) + ALIGNED(header.n_descsz);
                if (whole > size || whole > sizeof(buffer)) {
                    return;
                }
                if (whole <= have - start) {
                    break;
                }
            }
            if (tries > 0) {
                return; /* the file ends in the note */
            }
            have = read_at(fd, at, buffer, size < sizeof(buffer) ? size : sizeof(buffer));
            start = 0;
        }
        const char *owner = buffer + start + sizeof(header);
        const char *description = owner + ALIGNED(header.n_namesz);
        if (header.n_type == NT_STAPSDT && header.n_namesz == sizeof(OWNER) &&
            memcmp(owner, OWNER, sizeof(OWNER)) == 0) {
            read_description(description, header.n_descsz, found, argument);
        }
        size_t whole = sizeof(header) + ALIGNED(header.n_namesz) + ALIGNED(header.n_descsz);
        start += whole;
        at += whole;
        size -= whole;
    }
}

static bool
is_our_kind(const Elf64_Ehdr *header)
{
    const unsigned char order =
        __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == order &&
           header->e_shentsize == sizeof(Elf64_Shdr) && header->e_shnum <= MOST_SECTIONS;
}

bool
pyusdt_notes_read(const char *path,
                  void (*found)(const char *provider, const char *name, void *argument),
                  void *argument)
{
    Elf64_Ehdr header;
    Elf64_Shdr sections[64];
    bool known = false;

    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return false;
    }
    if (read_at(fd, 0, &header, sizeof(header)) != sizeof(header) || !is_our_kind(&header)) {
        goto end;
    }
    for (int i = 0; i < header.e_shnum; i++) {
        int at = i % 64;
        if (at == 0) {
            size_t rest = (size_t)(header.e_shnum - i);
            size_t wanted = (rest < 64 ? rest : 64) * sizeof(sections[0]);
            if (read_at(fd, header.e_shoff + (uint64_t)i * sizeof(sections[0]), sections, wanted) !=
                wanted) {
                goto end;
            }
        }
        if (sections[at].sh_type == SHT_NOTE) {
            read_section(fd, sections[at].sh_offset, sections[at].sh_size, found, argument);
        }
    }
    known = true;
end:
    (void)close(fd);
    return known;
}
