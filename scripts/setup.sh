#!/bin/sh
# setup.sh THING... - installs what is missing on this machine, after saying so.
#
# Things: python (a CPython >= 3.12), build (compiler, headers, venv), bpftrace,
# tracefs, cross (compiler for arm64), pgrep, tmux, debootstrap, sanitizers (gcc's runtimes),
# fuzzer (clang with libFuzzer), valgrind, redis (a server, not started), cpython-tests
# (CPython's own test suite, for a Python of the distribution), cpython-build (what CPython
# is built from). It uses apt or dnf, and needs root only when something is missing.
set -eu
here=$(dirname "$0")

fail() {
    echo "pyusdt: $1" >&2
    exit 1
}

apt=''
if command -v apt-get >/dev/null; then
    apt=yes
elif ! command -v dnf >/dev/null; then
    apt=unknown
fi

packages=''
need() { # package-of-Debian[|of-Ubuntu] fedora-package
    if [ "$apt" = yes ]; then
        packages="$packages $1"
    else
        packages="$packages $2"
    fi
}

# What a Python needs to build an extension; a Python of the distribution gets it
# from the distribution, another one brings it along.
python_needs() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null || need "$2-venv" "$2"
    include=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -f "$include/Python.h" ] || need "$2-dev" "$2-devel"
}

# Of names separated by "|" the first that apt knows.
known() {
    for name in $(echo "$1" | tr '|' ' '); do
        if apt-cache policy "$name" 2>/dev/null | grep -q 'Candidate: [^(]'; then
            echo "$name"
            return
        fi
    done
    echo "${1%%|*}"
}

install() {
    [ -n "$packages" ] || return 0
    [ "$apt" != unknown ] || fail "install these by hand, there is neither apt nor dnf here:$packages"
    if [ "$apt" = yes ]; then
        [ "$(id -u)" != 0 ] || apt-get -qq update
        wanted=$packages packages=''
        for package in $wanted; do
            packages="$packages $(known "$package")"
        done
    fi
    if [ "$(id -u)" != 0 ]; then
        if [ "$apt" = yes ]; then
            fail "something is missing, and installing it needs root; type: sudo apt-get install$packages"
        fi
        fail "something is missing, and installing it needs root; type: sudo dnf install$packages"
    fi
    echo "pyusdt: installing$packages"
    if [ "$apt" = yes ]; then
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
            $packages >/dev/null
    else
        # shellcheck disable=SC2086
        dnf -q -y install $packages >/dev/null
    fi
    packages=''
}

# The distribution's own Python, if it is new enough. Fails if it is not.
distribution_python() {
    [ "$apt" = yes ] || return 0
    [ "$(id -u)" = 0 ] && apt-get -qq update
    candidate=$(apt-cache policy python3 2>/dev/null | sed -n 's/^  Candidate: 3\.\([0-9]*\).*/\1/p')
    [ "${candidate:-0}" -ge 12 ]
}

for thing in "$@"; do
    case $thing in
    python)
        if ! "$here/find-python.sh" >/dev/null 2>&1; then
            if [ -n "${PYTHON:-}" ] || ! distribution_python; then
                "$here/find-python.sh"
            fi
            need python3 python3
            install
        fi
        ;;
    build)
        command -v cc >/dev/null || command -v "${CC:-gcc}" >/dev/null || need gcc gcc
        [ -f /usr/include/stdio.h ] || need libc6-dev glibc-devel
        command -v readelf >/dev/null || need binutils binutils
        for python in $("$here/find-python.sh" --all); do
            case $python in
            /usr/bin/*) python_needs "$python" "$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')" ;;
            esac
        done
        ;;
    bpftrace) command -v bpftrace >/dev/null || need bpftrace bpftrace ;;
    cross)
        command -v aarch64-linux-gnu-gcc >/dev/null || need gcc-aarch64-linux-gnu gcc-aarch64-linux-gnu
        [ "$apt" != yes ] || [ -d /usr/aarch64-linux-gnu/include ] || need libc6-dev-arm64-cross ''
        ;;
    cpython-tests)
        python=$("$here/find-python.sh")
        case $python in
        /usr/bin/*)
            "$python" -c 'import test.test_generators' 2>/dev/null ||
                need "$("$python" -c 'import sys; print("libpython%d.%d-testsuite" % sys.version_info[:2])')" python3-test
            ;;
        esac
        ;;
    cpython-build)
        command -v gcc >/dev/null || need gcc gcc
        command -v make >/dev/null || need make make
        command -v xz >/dev/null || need xz-utils xz
        for header in stdio.h:libc6-dev:glibc-devel zlib.h:zlib1g-dev:zlib-devel \
            openssl/ssl.h:libssl-dev:openssl-devel ffi.h:libffi-dev:libffi-devel; do
            file=${header%%:*} names=${header#*:}
            echo "#include <$file>" | "${CC:-cc}" -E - >/dev/null 2>&1 || need "${names%:*}" "${names#*:}"
        done
        ;;
    pgrep) command -v pgrep >/dev/null || need procps procps-ng ;;
    tmux) command -v tmux >/dev/null || need tmux tmux ;;
    debootstrap) command -v debootstrap >/dev/null || need debootstrap debootstrap ;;
    sanitizers)
        for library in libasan libubsan libtsan; do # Debian has them with gcc
            [ -e "$(gcc -print-file-name=$library.so 2>/dev/null)" ] || need gcc "gcc $library"
        done
        ;;
    fuzzer)
        command -v clang >/dev/null || need clang clang
        [ -n "$(find "$(clang -print-resource-dir 2>/dev/null)" -name 'libclang_rt.fuzzer*' 2>/dev/null)" ] ||
            need libclang-rt-dev compiler-rt
        ;;
    clients)
        command -v tplist-bpfcc >/dev/null || need bpfcc-tools bcc-tools
        command -v perf >/dev/null || need "linux-perf|linux-tools-$(uname -r)|linux-tools-generic" perf
        command -v gdb >/dev/null || need gdb gdb
        command -v stap >/dev/null || need systemtap systemtap
        if [ -z "$(find /usr/src -maxdepth 4 -path '*/include/generated/autoconf.h' 2>/dev/null)" ]; then
            need "linux-headers-$(dpkg --print-architecture 2>/dev/null)|linux-headers-generic" kernel-devel
        fi
        ;;
    redis) # in Debian's redis-tools it has another name, and is no service
        command -v redis-server >/dev/null || command -v redis-check-rdb >/dev/null ||
            command -v valkey-server >/dev/null || need redis-tools valkey
        ;;
    valgrind) command -v valgrind >/dev/null || need valgrind valgrind ;;
    tracefs)
        if [ ! -e /sys/kernel/tracing/trace ] && [ ! -e /sys/kernel/debug/tracing/trace ]; then
            [ "$(id -u)" = 0 ] || fail "tracefs is not mounted; type: sudo mount -t tracefs tracefs /sys/kernel/tracing"
            echo "pyusdt: mounting tracefs on /sys/kernel/tracing"
            mount -t tracefs tracefs /sys/kernel/tracing ||
                fail "the kernel has no tracefs: it cannot trace (CONFIG_UPROBE_EVENTS)"
        fi
        ;;
    *) fail "setup.sh knows no '$thing'" ;;
    esac
done
install
