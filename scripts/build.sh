#!/bin/sh
# build.sh PYTHON - builds the extension in place, pyusdt/libpyusdt.<abi>.so, by setup.py.
#
# setuptools is PYTHON's own, or that of a virtual environment under build/.
set -eu
cd "$(dirname "$0")/.."
python=$1

fail() {
    echo "pyusdt: $1" >&2
    exit 1
}

if command -v apt-get >/dev/null; then
    cure="sudo apt-get install gcc libc6-dev python3-dev python3-venv"
else
    cure="sudo dnf install gcc glibc-devel python3-devel"
fi
tag=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
command -v "${CC:-cc}" >/dev/null || fail "there is no C compiler; type: $cure"
[ -f "$include/Python.h" ] || fail "$python has no headers ($include/Python.h); type: $cure"

builder=$python
if ! "$python" -c 'import setuptools; assert int(setuptools.__version__.split(".")[0]) >= 77' 2>/dev/null; then
    builder=build/venv/$tag/bin/python
    if ! "$builder" -c 'import setuptools' 2>/dev/null; then
        rm -rf "build/venv/$tag"
        "$python" -m venv "build/venv/$tag" >/dev/null ||
            fail "$python cannot make a virtual environment; type: $cure"
        "$builder" -m pip -q install --disable-pip-version-check 'setuptools>=77' ||
            fail "cannot install setuptools for $python; is there a network?"
    fi
fi

log=build/$tag.log
"$builder" setup.py -q build_ext --inplace --build-temp "build/temp/$tag" >"$log" 2>&1 || {
    cat "$log" >&2
    fail "the build for $python failed"
}
[ -z "${V:-}" ] || cat "$log"
