"""The extension's sources and flags, and nothing else: the rest is in pyproject.toml."""

import os
import platform
import sys
from glob import glob

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
from setuptools.command.build_ext import build_ext

FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]
if os.environ.get("PYUSDT_WERROR") == "1":
    FLAGS.append("-Werror")

# The objects of the provider "python" (src/python_probes.h): shared objects with
# probes and no more.  They need neither Python nor libc, and are the same for every
# version of CPython.
OBJECTS = {"pyusdt.libpython-usdt-%s" % group: group for group in ("function", "line", "runtime")}


# As few segments as can be: each costs every import a system call.
OBJECT_LINK = ["-nostdlib", "-Wl,-z,noseparate-code", "-Wl,-z,norelro"]


class Build(build_ext):
    def get_ext_filename(self, fullname):
        if fullname in OBJECTS or "pyusdt." + fullname in OBJECTS:
            return os.path.join(*fullname.split(".")) + ".so"
        return super().get_ext_filename(fullname)


setup(
    cmdclass={"build_ext": Build},
    ext_modules=[
        Extension(
            "pyusdt.libpyusdt",
            sources=[
                "src/module.c",
                "src/main.c",
                "src/config.c",
                "src/control.c",
                "src/watcher.c",
                "src/listener.c",
                "src/monitor.c",
                "src/events.c",
                "src/dispatch.c",
                "src/scope.c",
                "src/filter.c",
                "src/slow.c",
                "src/runs.c",
                "src/clock.c",
                "src/extras.c",
                "src/marks.c",
                "src/lines.c",
                "src/args.c",
                "src/text.c",
                "src/frame.c",
                "src/layout.c",
                "src/notes.c",
                "src/python_provider.c",
            ],
            depends=sorted(glob("src/*.h")),
            extra_compile_args=FLAGS,
            extra_link_args=["-pthread"],
        )
    ]
    + [
        Extension(
            name,
            sources=["src/python_%s.c" % group],
            depends=["src/python_object.h", "src/python_probes.h", "src/usdt.h"],
            extra_compile_args=FLAGS,
            extra_link_args=OBJECT_LINK,
        )
        for name, group in OBJECTS.items()
    ],
)
