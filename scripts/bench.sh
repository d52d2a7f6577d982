#!/bin/sh
# bench.sh [arguments of bench/bench.py] - sets up and runs the benchmark.
#
# On one CPython: PYTHON, or the first that is found. Needs root, for bpftrace.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "pyusdt: the benchmark runs bpftrace, which needs root; type: sudo make bench${PYTHON:+ PYTHON=$PYTHON}" >&2
    exit 1
fi
scripts/setup.sh python
scripts/setup.sh build bpftrace tracefs valgrind
python=$(scripts/find-python.sh)
scripts/build.sh "$python"
export PYTHONDONTWRITEBYTECODE=1
exec "$python" bench/bench.py "$@"
