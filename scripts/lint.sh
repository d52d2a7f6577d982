#!/bin/sh
# lint.sh check|format - the style of C, Python and shell, by pinned tools in build/.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh python build
python=$(scripts/find-python.sh)
venv=build/venv/lint
if ! cmp -s scripts/requirements-lint.txt "$venv/installed.txt"; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip -q install --disable-pip-version-check \
        -r scripts/requirements-lint.txt
    cp scripts/requirements-lint.txt "$venv/installed.txt"
fi
PATH=$PWD/$venv/bin:$PATH

if [ "$1" = format ]; then
    ruff format -q .
    ruff check -q --fix .
    clang-format -i src/*.[ch] tests/c/*.c bench/*.c
else
    ruff format --check -q .
    ruff check -q .
    mypy
    clang-format --dry-run -Werror src/*.[ch] tests/c/*.c bench/*.c
    shellcheck scripts/*.sh tests/*.sh .ci/run
fi
