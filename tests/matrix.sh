#!/bin/sh
# matrix.sh [SUITE...] - `make test` in Debian trixie (bpftrace 0.23, Python 3.13) and
# sid (bpftrace 0.27, Python 3.14 and 3.15), or, if named, Ubuntu noble (24.04: bpftrace
# 0.20, Python 3.12), in trees made by debootstrap.
#
# The trees lie in ${PYUSDT_CACHE:-/var/cache/pyusdt}, and are made again when they
# are broken. Each is entered as the root of a mount namespace of its own
# (pivot_root): its mounts vanish with the last process in it, so that nothing can
# be deleted through them. Needs root and a Debian.
# The quotes are meant: another shell, or apt, expands what is in them.
# shellcheck disable=SC2016
set -eu
cd "$(dirname "$0")/.."
cache=${PYUSDT_CACHE:-/var/cache/pyusdt}
suites=${*:-trixie sid}

fail() {
    echo "pyusdt: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "the matrix makes chroots and traces in them, which needs root; type: sudo make test-matrix"
command -v apt-get >/dev/null || fail "the matrix needs debootstrap and a Debian mirror: run it on Debian or Ubuntu"
scripts/setup.sh debootstrap tracefs

packages="bpftrace gcc libc6-dev make git binutils python3 python3-dev python3-venv
gcc-aarch64-linux-gnu libc6-dev-arm64-cross procps tmux redis-tools"

packages_of() {
    case $1 in
    trixie) echo "$packages" ;;
    sid) echo "$packages python3.15 python3.15-dev python3.15-venv" ;;
    noble) echo "$packages linux-tools-generic" ;;
    *) fail "there is no suite $1: trixie, sid, noble" ;;
    esac
}

# What is different in Ubuntu: its mirror is the one that debootstrap knows, under an older
# name where noble is too new for it; there are updates; and perf is one of its own kernel's.
of_ubuntu() {
    [ "$1" = noble ]
}

# Runs a command in a tree: enter TREE COMMAND...
enter() {
    unshare --mount --propagation private --fork --kill-child sh -euc '
        tree=$1
        shift
        mount --bind "$tree" "$tree"
        cd "$tree"
        for dir in proc sys dev; do
            mount --rbind "/$dir" "$dir"
        done
        mkdir -p old-root
        pivot_root . old-root
        cd /
        umount -l /old-root
        exec env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            ${CI:+CI="$CI"} ${ARGS:+ARGS="$ARGS"} "$@"
    ' enter "$@"
}

works() {
    [ -f "$1/.pyusdt-complete" ] && [ "$(cat "$1/.pyusdt-complete")" = "$2" ] &&
        enter "$1" sh -c 'bpftrace --version && python3 --version && gcc --version' >/dev/null 2>&1
}

make_tree() {
    tree=$1 suite=$2 wanted=$3
    # This machine's mirror; without one debootstrap knows its own.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        'Origin: Debian' 'Label: Debian' 'Created-By: Packages' 2>/dev/null | sort -u | head -n 1)
    script='' components=main check=''
    if of_ubuntu "$suite"; then
        mirror='' script=/usr/share/debootstrap/scripts/gutsy components=main,universe
        if [ ! -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ]; then
            echo "pyusdt: $suite: its packages are not verified, as there is no ubuntu-archive-keyring.gpg here"
            check=--no-check-gpg
        fi
    fi
    mkdir -p "$cache"
    rm -rf --one-file-system "$tree"
    # shellcheck disable=SC2086
    debootstrap $check --variant=minbase --components=$components --include=ca-certificates \
        "$suite" "$tree" "$mirror" $script >"$cache/$suite.log" 2>&1 || {
        tail -n 5 "$cache/$suite.log" >&2
        fail "debootstrap $suite failed; the whole log is $cache/$suite.log"
    }
    cp /etc/resolv.conf "$tree/etc/"
    cp -r /etc/apt/apt.conf.d/. "$tree/etc/apt/apt.conf.d/"
    if of_ubuntu "$suite"; then
        sed -i "p; s/ $suite / $suite-updates /" "$tree/etc/apt/sources.list"
    fi
    cat /etc/ssl/certs/ca-certificates.crt >>"$tree/etc/ssl/certs/ca-certificates.crt" 2>/dev/null || true
    enter "$tree" sh -euc "
        apt-get -qq -o Acquire::Check-Valid-Until=false update
        apt-get -qq install -y --no-install-recommends $(echo "$wanted" | tr '\n' ' ')
    " >>"$cache/$suite.log" 2>&1 || {
        tail -n 5 "$cache/$suite.log" >&2
        fail "installing packages in $suite failed; the whole log is $cache/$suite.log"
    }
    if of_ubuntu "$suite"; then
        enter "$tree" sh -c 'ln -sf /usr/lib/linux-tools-*/perf /usr/local/bin/perf'
    fi
    echo "$wanted" >"$tree/.pyusdt-complete"
}

passed=0 failed=0 skipped=0 status=0
for suite in $suites; do
    tree=$cache/$suite
    wanted=$(packages_of "$suite")
    if ! works "$tree" "$wanted"; then
        echo "pyusdt: making $tree by debootstrap"
        make_tree "$tree" "$suite" "$wanted"
    fi
    # A fresh copy of the sources; what was built there before stays.
    mkdir -p "$tree/src"
    find "$tree/src" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf --one-file-system {} +
    git ls-files -co --exclude-standard -z | tar --null -T - -cf - | tar -xf - -C "$tree/src"

    echo "pyusdt: $suite: $(enter "$tree" sh -c 'bpftrace --version; ls /usr/bin/python3.[0-9]*' | tr '\n' ' ')"
    log=$cache/$suite-test.log
    rm -f "$tree/.pyusdt-passed"
    enter "$tree" sh -c 'cd /src && make test && touch /.pyusdt-passed' 2>&1 | tee "$log"
    line=$(grep -E '^tracer: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    # shellcheck disable=SC2046
    set -- $(echo "${line:-tracer: 0 0 0}" | tr -cd '0-9 ')
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
    if [ ! -f "$tree/.pyusdt-passed" ] || [ "$1" = 0 ] || [ "$2" != 0 ] || [ "$3" != 0 ]; then
        echo "pyusdt: $suite FAILED"
        status=1
    fi
done
echo "matrix: $passed passed, $failed failed, $skipped skipped"
exit $status
