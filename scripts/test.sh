#!/bin/sh
# test.sh [pytest arguments] - sets up and runs the tests on every CPython found.
#
# With PYTHON set, on that one alone; with PYTEST_PYTHON set, pytest itself runs there.
# Without root, the tests that need a tracer are left out, and it says so.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" = 0 ]; then
    scripts/setup.sh python
    scripts/setup.sh build bpftrace tracefs cross pgrep clients tmux
    only=''
else
    scripts/setup.sh python
    scripts/setup.sh build cross pgrep
    echo "pyusdt: without root the tests that need a tracer are left out; all of them: sudo make test${PYTHON:+ PYTHON=$PYTHON}"
    only='not tracer'
fi

pythons=$(scripts/find-python.sh --all)
for python in $pythons; do
    PYUSDT_WERROR=1 scripts/build.sh "$python"
done
python=$(scripts/find-python.sh)
scripts/link.sh "$python" >/dev/null

pytest=$(scripts/test-venv.sh "${PYTEST_PYTHON:-$python}")
PYUSDT_PYTHONS=$(echo "$pythons" | paste -sd: -)
export PYUSDT_PYTHONS
# The tests run make themselves, which must not take itself for a part of this one.
unset MAKEFLAGS MAKELEVEL MFLAGS
# Tracers wait for the kernel more than they compute: one worker more than processors.
workers=$(($(nproc) + 1))
[ $workers -le 4 ] || workers=4
exec "$pytest" -m pytest -n $workers ${only:+-m "$only"} "$@"
