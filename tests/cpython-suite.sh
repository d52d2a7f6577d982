#!/bin/sh
# cpython-suite.sh [--subset | MODULE...] - sets up and runs tests/cpython_suite.py, on
# PYTHON or the first CPython found. Needs root.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || {
    echo "pyusdt: this runs bpftrace, which needs root; type: sudo make test-cpython${PYTHON:+ PYTHON=$PYTHON}" >&2
    exit 2
}
scripts/setup.sh python
scripts/setup.sh build bpftrace tracefs cpython-tests
python=$(scripts/find-python.sh)
PYUSDT_WERROR=1 scripts/build.sh "$python"
unset MAKEFLAGS MAKELEVEL MFLAGS
exec "$python" tests/cpython_suite.py "$@"
