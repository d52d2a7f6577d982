"""The extension's sources and flags, and nothing else: the rest is in pyproject.toml."""

import os
import platform
import sys

if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
    sys.exit(
        "pyusdt: there are no USDT probes on %s %s; it needs Linux on x86-64 or arm64"
        % (platform.system(), platform.machine())
    )
if sys.version_info < (3, 12) or sys.implementation.name != "cpython":
    sys.exit(
        "pyusdt: %s is %s %s; it needs CPython 3.12 or newer: make PYTHON=/path/to/python3"
        % (sys.executable, sys.implementation.name, platform.python_version())
    )

# Down here: the refusals above need no setuptools.
from setuptools import Extension, setup

FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]
if os.environ.get("PYUSDT_WERROR") == "1":
    FLAGS.append("-Werror")

setup(
    ext_modules=[
        Extension(
            "pyusdt.libpyusdt",
            sources=[
                "src/module.c",
                "src/main.c",
                "src/config.c",
                "src/watcher.c",
                "src/listener.c",
                "src/monitor.c",
                "src/events.c",
                "src/text.c",
                "src/filter.c",
                "src/marks.c",
            ],
            depends=[
                "src/compat.h",
                "src/filter.h",
                "src/marks.h",
                "src/probes.h",
                "src/state.h",
                "src/text.h",
                "src/usdt.h",
            ],
            extra_compile_args=FLAGS,
            extra_link_args=["-pthread"],
        )
    ]
)
