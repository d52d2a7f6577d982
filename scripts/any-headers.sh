#!/bin/sh
# any-headers.sh COMMAND... - runs one of bcc's tools where there are no headers for the
# running kernel: with those of another one, the newest in /usr/src, in their place.
#
# bcc compiles its programs against /lib/modules/$(uname -r)/build and source. A tool
# that uses USDT probes alone needs struct pt_regs and little else of them, so that any
# kernel's will do. The place is made in a mount namespace, which ends with the command.
# Needs root.
set -eu

fail() {
    echo "pyusdt: $1" >&2
    exit 1
}

[ $# -gt 0 ] || fail "which command? scripts/any-headers.sh pythoncalls-bpfcc PID"
[ "$(id -u)" = 0 ] || fail "bcc's tools need root; type: sudo $0 $*"
# Debian splits them: linux-headers-VERSION-amd64 is the build, -common the source.
build=$(find /usr/src -maxdepth 3 -path '*/linux-headers-*/include/generated' | sort -V | tail -n 1)
build=${build%/include/generated}
[ -n "$build" ] || fail "there are no kernel headers in /usr/src; type: sudo apt-get install linux-headers-$(dpkg --print-architecture 2>/dev/null || echo generic)"
source=${build%-*}-common
[ -d "$source" ] || source=$build

# shellcheck disable=SC2016
exec unshare --mount --propagation private sh -euc '
    release=$(uname -r)
    mkdir -p /lib/modules
    mount -t tmpfs tmpfs /lib/modules
    mkdir "/lib/modules/$release"
    ln -s "$1" "/lib/modules/$release/build"
    ln -s "$2" "/lib/modules/$release/source"
    shift 2
    exec "$@"
' any-headers "$build" "$source" "$@"
