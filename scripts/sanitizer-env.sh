# sanitizer-env.sh - sets $no_aslr, to be sourced: what a program with a sanitizer
# must be started with.
#
# The sanitizers of GCC 12 and clang 14 know an address space with up to 28 random
# bits only; newer kernels have 32.
# shellcheck shell=sh disable=SC2034
no_aslr=''
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ]; then
    no_aslr="setarch $(uname -m) -R"
fi
