#!/bin/sh
# find-python.sh [--all] - prints the path of a CPython 3.12 or newer that really runs.
#
# $PYTHON first, and nothing else if it is set; then PATH; then the usual places.
# --all prints one of each version and build. It changes nothing.
set -u

# Prints "tag path" of a usable interpreter: the path is its own idea of itself,
# so that a pyenv shim gives the program behind it.
probe() {
    "$1" -c '
import sys, sysconfig
if sys.implementation.name == "cpython" and sys.version_info >= (3, 12):
    tag = sysconfig.get_config_var("SOABI")
    print(tag, sys.executable)
' 2>/dev/null </dev/null
}

candidates() {
    # PATH, in its order; within a directory the plain names first, then the newest.
    echo "${PATH}" | tr ':' '\n' | while read -r dir; do
        for name in python3 python; do
            [ -x "$dir/$name" ] && echo "$dir/$name"
        done
        for path in "$dir"/python3.*; do
            case "${path##*/}" in
            python3.*[!0-9t]* | 'python3.*') ;;
            *) [ -x "$path" ] && echo "$path" ;;
            esac
        done | sort -t. -k2,2Vr
    done
    # The usual places, the newest version first.
    for path in "${HOME:-/nonexistent}"/.pyenv/versions/*/bin/python3 \
        "${HOME:-/nonexistent}"/.local/share/uv/python/*/bin/python3 \
        /usr/local/bin/python3.[0-9]* /opt/*/bin/python3; do
        case "${path##*/}" in
        *[!a-z0-9.]*) continue ;;
        esac
        [ -x "$path" ] && echo "$path"
    done | sort -Vr
}

if [ -n "${PYTHON:-}" ]; then
    found=$(probe "$PYTHON")
    if [ -z "$found" ]; then
        version=$("$PYTHON" --version 2>&1 | head -n 1)
        echo "pyusdt: PYTHON=$PYTHON is no CPython 3.12 or newer that runs (${version:-it says nothing}); name another one" >&2
        exit 1
    fi
    echo "${found#* }"
    exit 0
fi

seen=" "
for path in $(candidates | tr ' ' '?'); do
    found=$(probe "$path")
    [ -n "$found" ] || continue
    tag=${found%% *}
    case "$seen" in
    *" $tag "*) continue ;;
    esac
    seen="$seen$tag "
    echo "${found#* }"
    [ "${1:-}" = --all ] || exit 0
done
[ "$seen" = " " ] || exit 0
echo "pyusdt: found no CPython 3.12 or newer: install one (your distribution's python3, 'uv python install 3.13' or 'pyenv install 3.13') or name it: make PYTHON=/path/to/python3" >&2
exit 1
