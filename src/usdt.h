/*
 * usdt.h - static tracepoints (USDT) for x86-64 and arm64 Linux, header only.
 *
 * A probe is one nop instruction and one ELF note that tells a tracer where
 * the nop is, where its arguments are, and where its semaphore is.  The note's
 * format is "stapsdt" version 3, as bpftrace, perf, bcc, SystemTap, gdb and
 * libbpf read it:
 *
 *     4 bytes  length of the owner's name        (8)
 *     4 bytes  length of the description
 *     4 bytes  note type                         (3)
 *     owner    "stapsdt\0"
 *     description
 *         8 bytes  address of the probe's nop
 *         8 bytes  address of .stapsdt.base, to tell a prelinked file
 *         8 bytes  address of the semaphore, 0 for none
 *         provider\0 name\0 arguments\0
 *
 * The arguments are words "N@OP": N is the size in bytes, negative for a
 * signed integer, and OP is where the value lies, in the assembler's own
 * syntax.  Source of the format: the SystemTap wiki, page
 * "UserSpaceProbeImplementation".
 *
 * The semaphore is a 16-bit counter in the section .probes.  The kernel (or
 * the tracer) raises it when the probe is attached and lowers it at detach, so
 * that a program computes arguments only for somebody who looks.
 *
 *     USDT_DEFINE_SEMAPHORE(provider, name)   at file scope, once a probe
 *     USDT_SEMAPHORE(provider, name)          the variable, to be read
 *     USDT_PROBE8(provider, name, a .. h)     fires the probe, 8 arguments;
 *     USDT_PROBE1, 2, 3, 4 and 10             those with as many
 *
 * The site is the one-byte nop of x86-64: every kernel emulates it.
 *
 * All arguments are passed in registers: every tracer reads those, and no
 * stack address can be misread.  An argument is an integer or a pointer of at
 * most 8 bytes.  The seventh to the tenth are always in r8 to r11 (x6 to x9 on
 * arm64): bpftrace before 0.27 has no arg6 and higher on x86-64, where a script
 * can say reg("r8") and so on instead.
 *
 * The file knows nothing of Python.  Any thread may fire any probe.
 */
#ifndef USDT_H
#define USDT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if !defined(__linux__) || !defined(__LP64__)
#error "pyusdt needs 64-bit Linux: there are no USDT probes on this platform"
#elif defined(__x86_64__)
#define USDT_NOP_BYTES "\x90"
#define USDT_NOP_ASM "nop"
#define USDT_REGISTER_6 "r8"
#define USDT_REGISTER_7 "r9"
#define USDT_REGISTER_8 "r10"
#define USDT_REGISTER_9 "r11"
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#define USDT_NOP_BYTES "\x1f\x20\x03\xd5"
#define USDT_NOP_ASM "nop"
#define USDT_REGISTER_6 "x6"
#define USDT_REGISTER_7 "x7"
#define USDT_REGISTER_8 "x8"
#define USDT_REGISTER_9 "x9"
#else
#error "pyusdt has USDT probes for x86-64 and arm64 only"
#endif

/* Where a probe is: one entry a nop, gathered by the linker, so that the
 * program itself can tell whether a tracer's breakpoint is in place. */
struct usdt_site {
    const unsigned char *address;       /* of the nop */
    const volatile uint16_t *semaphore; /* of its probe */
};

extern const struct usdt_site __start_usdt_sites[] __attribute__((visibility("hidden")));
extern const struct usdt_site __stop_usdt_sites[] __attribute__((visibility("hidden")));

/* True when a tracer has replaced the nop by a breakpoint or a call. */
static inline bool
usdt_site_armed(const struct usdt_site *site)
{
    return memcmp(site->address, USDT_NOP_BYTES, sizeof(USDT_NOP_BYTES) - 1) != 0;
}

#define USDT_SEMAPHORE(provider, name) provider##_##name##_semaphore

#define USDT_DECLARE_SEMAPHORE(provider, name)                                                     \
    extern volatile uint16_t USDT_SEMAPHORE(provider, name) __attribute__((visibility("hidden")))

#define USDT_DEFINE_SEMAPHORE(provider, name)                                                      \
    USDT_DECLARE_SEMAPHORE(provider, name);                                                        \
    volatile uint16_t USDT_SEMAPHORE(provider, name) __attribute__((section(".probes"), used)) = 0

/* The N of "N@OP": a constant, negative for signed integers.  The comma makes an
 * array, such as a string literal, the pointer that is passed. */
#define USDT_ARG_SIZE(x)                                                                           \
    _Generic((x),                                                                                  \
        signed char: -1,                                                                           \
        short: -2,                                                                                 \
        int: -4,                                                                                   \
        long: -8,                                                                                  \
        long long: -8,                                                                             \
        default: (int)sizeof((void)0, (x)))

#define USDT_OPERAND(tag, x) [tag##_size] "i"(USDT_ARG_SIZE(x)), [tag##_value] "r"(x)
#define USDT_WORD(tag) "%c[" #tag "_size]@%[" #tag "_value]"

/* clang-format off */
#define USDT_NOTE(provider, name, words)                                                           \
    "990: " USDT_NOP_ASM "\n"                                                                      \
    ".pushsection .note.stapsdt, \"\", \"note\"\n"                                                 \
    "  .balign 4\n"                                                                                \
    "  .4byte 992f - 991f, 994f - 993f, 3\n"                                                       \
    "991: .asciz \"stapsdt\"\n"                                                                    \
    "992: .balign 4\n"                                                                             \
    "993: .8byte 990b\n"                                                                           \
    "  .8byte _.stapsdt.base\n"                                                                    \
    "  .8byte " #provider "_" #name "_semaphore\n"                                                 \
    "  .asciz \"" #provider "\"\n"                                                                 \
    "  .asciz \"" #name "\"\n"                                                                     \
    "  .asciz \"" words "\"\n"                                                                     \
    "994: .balign 4\n"                                                                             \
    ".popsection\n"                                                                                \
    ".pushsection usdt_sites, \"aw\"\n"                                                            \
    "  .balign 8\n"                                                                                \
    "  .8byte 990b, " #provider "_" #name "_semaphore\n"                                           \
    ".popsection\n"                                                                                \
    ".ifndef _.stapsdt.base\n"                                                                     \
    ".pushsection .stapsdt.base, \"aG\", \"progbits\", .stapsdt.base, comdat\n"                    \
    "  .weak _.stapsdt.base\n"                                                                     \
    "  .hidden _.stapsdt.base\n"                                                                   \
    "_.stapsdt.base: .space 1\n"                                                                   \
    "  .size _.stapsdt.base, 1\n"                                                                  \
    ".popsection\n"                                                                                \
    ".endif\n"

/* The clobber makes the compiler finish its stores first: the tracer reads
 * memory through the pointers it is given. */
#define USDT_PROBE1(provider, name, a)                                                             \
    __asm__ __volatile__(USDT_NOTE(provider, name, USDT_WORD(a0))                                  \
                         :                                                                         \
                         : USDT_OPERAND(a0, a)                                                     \
                         : "memory")

#define USDT_PROBE2(provider, name, a, b)                                                          \
    __asm__ __volatile__(USDT_NOTE(provider, name, USDT_WORD(a0) " " USDT_WORD(a1))                \
                         :                                                                         \
                         : USDT_OPERAND(a0, a), USDT_OPERAND(a1, b)                                \
                         : "memory")

#define USDT_PROBE3(provider, name, a, b, c)                                                       \
    __asm__ __volatile__(                                                                          \
        USDT_NOTE(provider, name, USDT_WORD(a0) " " USDT_WORD(a1) " " USDT_WORD(a2))               \
        :                                                                                          \
        : USDT_OPERAND(a0, a), USDT_OPERAND(a1, b), USDT_OPERAND(a2, c)                            \
        : "memory")

#define USDT_PROBE4(provider, name, a, b, c, d)                                                    \
    __asm__ __volatile__(                                                                          \
        USDT_NOTE(provider, name,                                                                  \
                  USDT_WORD(a0) " " USDT_WORD(a1) " " USDT_WORD(a2) " " USDT_WORD(a3))             \
        :                                                                                          \
        : USDT_OPERAND(a0, a), USDT_OPERAND(a1, b), USDT_OPERAND(a2, c), USDT_OPERAND(a3, d)       \
        : "memory")

#define USDT_PROBE8(provider, name, a, b, c, d, e, f, g, h)                                        \
    do {                                                                                           \
        register __typeof__(g) usdt_arg6 __asm__(USDT_REGISTER_6) = (g);                           \
        register __typeof__(h) usdt_arg7 __asm__(USDT_REGISTER_7) = (h);                           \
        __asm__ __volatile__(                                                                      \
            USDT_NOTE(provider, name,                                                              \
                      USDT_WORD(a0) " " USDT_WORD(a1) " " USDT_WORD(a2) " " USDT_WORD(a3) " "      \
                      USDT_WORD(a4) " " USDT_WORD(a5) " " USDT_WORD(a6) " " USDT_WORD(a7))         \
            :                                                                                      \
            : USDT_OPERAND(a0, a), USDT_OPERAND(a1, b), USDT_OPERAND(a2, c), USDT_OPERAND(a3, d),  \
              USDT_OPERAND(a4, e), USDT_OPERAND(a5, f), USDT_OPERAND(a6, usdt_arg6),               \
              USDT_OPERAND(a7, usdt_arg7)                                                          \
            : "memory");                                                                           \
    } while (0)

#define USDT_PROBE10(provider, name, a, b, c, d, e, f, g, h, i, j)                                 \
    do {                                                                                           \
        register __typeof__(g) usdt_arg6 __asm__(USDT_REGISTER_6) = (g);                           \
        register __typeof__(h) usdt_arg7 __asm__(USDT_REGISTER_7) = (h);                           \
        register __typeof__(i) usdt_arg8 __asm__(USDT_REGISTER_8) = (i);                           \
        register __typeof__(j) usdt_arg9 __asm__(USDT_REGISTER_9) = (j);                           \
        __asm__ __volatile__(                                                                      \
            USDT_NOTE(provider, name,                                                              \
                      USDT_WORD(a0) " " USDT_WORD(a1) " " USDT_WORD(a2) " " USDT_WORD(a3) " "      \
                      USDT_WORD(a4) " " USDT_WORD(a5) " " USDT_WORD(a6) " " USDT_WORD(a7) " "      \
                      USDT_WORD(a8) " " USDT_WORD(a9))                                             \
            :                                                                                      \
            : USDT_OPERAND(a0, a), USDT_OPERAND(a1, b), USDT_OPERAND(a2, c), USDT_OPERAND(a3, d),  \
              USDT_OPERAND(a4, e), USDT_OPERAND(a5, f), USDT_OPERAND(a6, usdt_arg6),               \
              USDT_OPERAND(a7, usdt_arg7), USDT_OPERAND(a8, usdt_arg8),                            \
              USDT_OPERAND(a9, usdt_arg9)                                                          \
            : "memory");                                                                           \
    } while (0)
/* clang-format on */

#endif
