#!/bin/sh
# test-venv.sh PYTHON - makes build/venv/test, where pytest lives, and prints the path
# of its python.
set -eu
cd "$(dirname "$0")/.."
venv=build/venv/test
if ! cmp -s tests/requirements.txt "$venv/installed.txt"; then
    rm -rf "$venv"
    "$1" -m venv "$venv" >&2
    "$venv/bin/python" -m pip -q install --disable-pip-version-check -r tests/requirements.txt >&2
    cp tests/requirements.txt "$venv/installed.txt"
fi
echo "$PWD/$venv/bin/python"
