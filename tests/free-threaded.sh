#!/bin/sh
# free-threaded.sh [pytest arguments] - `make test` on a free-threaded CPython 3.14.
#
# Debian has none, so it is built from Debian's own source package, without what
# takes long (PGO, LTO, CPython's tests), into ${PYUSDT_CACHE:-/var/cache/pyusdt},
# and again when it is broken. A mirror need not have every source package: then
# the next one is tried, at last 3.13. PYUSDT_CPYTHON_SOURCE names a tarball to take
# instead. Needs root and a Debian.
# The quotes are meant: apt expands what is in them.
# shellcheck disable=SC2016
set -eu
cd "$(dirname "$0")/.."
cache=${PYUSDT_CACHE:-/var/cache/pyusdt}
tree=$cache/free-threaded
work=$cache/free-threaded-build
log=$cache/free-threaded.log
python=$tree/bin/python3

fail() {
    echo "pyusdt: $1" >&2
    exit 2
}

[ "$(id -u)" = 0 ] || fail "this installs packages and traces, which needs root; type: sudo make test-free-threaded"

works() {
    [ "$(cat "$tree/.pyusdt-complete" 2>/dev/null)" = "${PYUSDT_CPYTHON_SOURCE:-apt}" ] &&
        "$python" -c 'import ctypes, ssl, sys, venv, zlib; sys.exit(sys._is_gil_enabled())' 2>/dev/null
}

# apt with lists of its own: source packages of sid and testing, from this machine's
# mirror.
apt() {
    "$@" -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" \
        -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false
}

# Prints the path of a tarball.
download() {
    if [ -n "${PYUSDT_CPYTHON_SOURCE:-}" ]; then
        [ -f "$PYUSDT_CPYTHON_SOURCE" ] || fail "PYUSDT_CPYTHON_SOURCE=$PYUSDT_CPYTHON_SOURCE is no file"
        echo "$PYUSDT_CPYTHON_SOURCE"
        return
    fi
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        'Origin: Debian' 'Label: Debian' 'Created-By: Packages' 2>/dev/null | sort -u | head -n 1)
    [ -n "$mirror" ] || fail "no Debian mirror is known here; name a tarball: PYUSDT_CPYTHON_SOURCE=Python-3.14.x.tar.xz"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    for suite in sid testing; do
        echo "deb-src $mirror $suite main"
    done >"$work/sources.list"
    apt apt-get -qq update >>"$log" 2>&1 || fail "cannot read the mirror's lists; see $log"
    for package in python3.14 python3.13; do
        for version in $(apt apt-cache showsrc "$package" 2>/dev/null | sed -n 's/^Version: //p' | sort -rVu); do
            if (cd "$work" && apt apt-get -qq source --download-only --tar-only "$package=$version") >>"$log" 2>&1; then
                find "$work" -maxdepth 1 -name "*.orig.tar.xz"
                return
            fi
            echo "pyusdt: the mirror lists $package $version, but has no source of it" >&2
        done
    done
    fail "the mirror has no source of CPython; name a tarball: PYUSDT_CPYTHON_SOURCE=Python-3.14.x.tar.xz"
}

build() {
    rm -rf "$tree" "$work"
    mkdir -p "$work"
    : >"$log"
    tarball=$(download)
    echo "pyusdt: building a free-threaded CPython from ${tarball##*/} in $tree"
    mkdir "$work/source" "$work/build"
    tar -xf "$tarball" -C "$work/source" --strip-components=1
    (
        cd "$work/build"
        ../source/configure -q --disable-gil --disable-test-modules --prefix="$tree" CFLAGS=-O2
        make -s -j"$(nproc)"
        make -s install
    ) >>"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        fail "the build failed; the whole log is $log"
    }
    rm -rf "$work"
    echo "${PYUSDT_CPYTHON_SOURCE:-apt}" >"$tree/.pyusdt-complete"
    works || fail "the CPython just built does not work: $python"
}

scripts/setup.sh cpython-build
works || build
echo "pyusdt: $("$python" -VV)"
# Not every package that the tests use comes for a free-threaded Python: pytest runs on
# another one if there is one.
PYTEST_PYTHON=$(env -u PYTHON scripts/find-python.sh 2>/dev/null) || PYTEST_PYTHON=$python
PYTHON=$python
export PYTHON PYTEST_PYTHON
exec scripts/test.sh "$@"
