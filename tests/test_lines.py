"""src/lines.c against code.co_lines(), for every instruction of many modules."""

import subprocess

import pytest
from conftest import ROOT

CHECK = """
import ctypes, glob, os, sys, types
library = ctypes.PyDLL(sys.argv[1])
line_of = library.pyusdt_line_of
line_of.argtypes = [ctypes.py_object, ctypes.c_int64]
instructions = 0
def check(code):
    global instructions
    size = len(code.co_code)
    for offset in (-1, -2**40, size, size + 1, 2**40):
        assert line_of(code, offset) == -1
    for start, end, line in code.co_lines():
        for offset in range(start, end):
            assert line_of(code, offset) == (-1 if line is None else line), (code, offset)
        instructions += end - start >> 1
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            check(constant)
where = os.path.dirname(os.__file__)
modules = sorted(glob.glob(where + "/*.py"))[:25] + sorted(glob.glob(where + "/asyncio/*.py"))[:8]
for path in modules:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        check(compile(file.read(), path, "exec"))
jumps = "x = [\\n" + "\\n" * 70000 + "1,\\n" * 3 + "]\\ny = (x\\n.\\n__len__\\n(\\n)\\n)"
check(compile(jumps, "far", "exec"))
print(instructions)
"""


@pytest.fixture(scope="module")
def lines_library(python, tmp_path_factory) -> str:
    library = tmp_path_factory.mktemp("lines") / "lines.so"
    include = python.run("-c", "import sysconfig; print(sysconfig.get_path('include'))").stdout
    subprocess.run(
        ["cc", "-std=c11", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]
        + ["-I", include.strip(), "-I", str(ROOT / "src"), str(ROOT / "src/lines.c")]
        + ["-o", str(library)],
        check=True,
    )
    return str(library)


def test_every_instruction(python, lines_library):
    done = python.run("-c", CHECK, lines_library)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20000
