"""The probe site of src/usdt.h in a leaf function: a traced hit leaves the red zone alone.

x86-64 code may keep values in the 128 bytes below the stack pointer.  A kernel
that answers a breakpoint by a call writes its return address there.
"""

import platform
import re
import subprocess

import pytest
from conftest import ROOT, needs_tracer
from notes import Elf
from tracer import Bpftrace

pytestmark = needs_tracer

CALLS = 50_000


@pytest.fixture(scope="module")
def leaf(tmp_path_factory):
    """The program, and the assembly of its leaf function."""
    program = tmp_path_factory.mktemp("site") / "red_zone"
    source = ROOT / "tests" / "c" / "red_zone.c"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I", str(ROOT / "src")]
    flags += ["-fno-stack-protector"]  # Ubuntu's default makes it no leaf
    subprocess.run(["cc", *flags, str(source), "-o", str(program)], check=True)
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(program)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return program, re.search(r"<leaf>:\n(.*?)\n\n", listing, re.DOTALL)[1]


def test_the_leaf_uses_its_red_zone(leaf):
    """Or the next test would prove nothing."""
    if platform.machine() != "x86_64":
        pytest.skip("only x86-64 has a red zone")
    _, code = leaf
    assert re.search(r"-0x[0-9a-f]+\(%rsp", code), code
    assert not re.search(r"\b(sub|push|call)\b", code), code


def test_a_literal_is_a_pointer(leaf):
    """bpftrace 0.27 refuses an argument of five bytes, the size of "leaf"."""
    program, _ = leaf
    (note,) = Elf(str(program)).notes()
    sizes = [word.split("@")[0] for word in note.arguments]
    assert sizes == ["8", "8", "-4", "-8", "8", "8", "8", "8"]


def test_a_traced_leaf_is_right(leaf):
    program, _ = leaf
    with (
        Bpftrace(f'usdt:"{program}":site:leaf {{ @ = count(); }}') as trace,
        subprocess.Popen([program, str(CALLS)], stdin=-1, stdout=-1, text=True) as process,
    ):
        wrong, _ = process.communicate("\n", timeout=60)
        assert process.returncode == 0
    assert int(wrong) == 0
    assert trace.map() == CALLS
