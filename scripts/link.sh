#!/bin/sh
# link.sh PYTHON - links ./libpyusdt.so to the library built for PYTHON.
#
# A link, never a copy: uprobes follow the inode, and a copy's probes never fire.
set -eu
cd "$(dirname "$0")/.."
lib=pyusdt/libpyusdt.$("$1" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))').so
ln -sfn "$lib" libpyusdt.so
echo "pyusdt: built $lib for $1; now: $1 -m pyusdt sleep.py"
