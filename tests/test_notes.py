"""Level one: the ELF notes of the library against the table of probes.  No root, no tracer."""

import json
import re
import shutil
import subprocess

import pytest
from conftest import ROOT
from notes import Elf

EM_X86_64, EM_AARCH64 = 62, 183
NOPS = {EM_X86_64: b"\x90", EM_AARCH64: b"\x1f\x20\x03\xd5"}
C_SIZES = {"char *": "8", "uint64_t": "8", "int": "-4", "int64_t": "-8"}


def table(python):
    code = "import json, pyusdt; print(json.dumps([pyusdt.probes(), pyusdt.arguments()]))"
    return json.loads(python.run("-c", code).stdout)


def test_one_note_a_probe(python):
    probes, _ = table(python)
    notes = Elf(python.lib).notes()
    assert sorted(n.name for n in notes) == sorted(p[0] for p in probes)
    assert {n.provider for n in notes} == {"pyusdt"}


def test_arguments(python):
    code = (
        "import json, pyusdt\n"
        "print(json.dumps({p[0]: pyusdt.arguments(p[0]) for p in pyusdt.probes()}))"
    )
    arguments = json.loads(python.run("-c", code).stdout)
    for note in Elf(python.lib).notes():
        sizes = [C_SIZES[a[2]] for a in arguments[note.name]]
        if python.probes.get(note.name) == "JUMP":
            sizes[4] = C_SIZES["int64_t"]
        assert [word.split("@")[0] for word in note.arguments] == sizes
        for word in note.arguments:
            assert re.fullmatch(r"-?[48]@(%[a-z0-9]+|[xw][0-9]+)", word), "not in a register"


def test_code_and_frame_are_where_old_bpftrace_finds_them(python):
    elf = Elf(python.lib)
    names = ["%r8", "%r9", "%r10"] if elf.machine == EM_X86_64 else ["x6", "x7", "x8"]
    for note in elf.notes():
        words = [word.split("@")[1] for word in note.arguments[6:9]]
        assert words == names[: len(words)]


def test_sites_and_semaphores(python):
    elf = Elf(python.lib)
    base = elf.sections[".stapsdt.base"][0]
    start, _, size = elf.sections[".probes"]
    notes = elf.notes()
    nop = NOPS[elf.machine]
    for note in notes:
        assert note.base == base
        assert elf.bytes_at(note.location, len(nop)) == nop
        assert start <= note.semaphore < start + size
        assert elf.bytes_at(note.semaphore, 2) == b"\0\0"
    assert len({n.semaphore for n in notes}) == len(notes)
    writable = [s for s in elf.segments if s[0] == 1 and s[1] & 2]
    assert any(a <= start < a + m for _, _, _, a, m in writable), "semaphores must be writable"


def test_no_text_relocations(python):
    dynamic = subprocess.run(
        ["readelf", "-d", python.lib], capture_output=True, text=True, check=True
    ).stdout
    assert "TEXTREL" not in dynamic


def test_root_link_is_a_link():
    link = ROOT / "libpyusdt.so"
    assert link.is_symlink(), "a copy would have an inode of its own, and never fire"


def test_readelf_reads_them(python):
    text = subprocess.run(
        ["readelf", "-n", python.lib], capture_output=True, text=True, check=True
    ).stdout
    for name in (p[0] for p in table(python)[0]):
        assert f"Name: {name}\n" in text


@pytest.mark.parametrize("compiler", ["cc", "aarch64-linux-gnu-gcc"])
def test_usdt_header(compiler, tmp_path):
    """usdt.h by itself, on both architectures: the notes are right, and no other file is needed."""
    assert shutil.which(compiler), f"{compiler} is missing: scripts/setup.sh installs it"
    out = tmp_path / "usdt.so"
    subprocess.run(
        [compiler, "-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]
        + [
            "-I",
            str(ROOT / "src"),
            str(ROOT / "tests/c/usdt_notes.c"),
            "-nostdlib",
            "-o",
            str(out),
        ],
        check=True,
    )
    elf = Elf(str(out))
    notes = {n.name: n for n in elf.notes()}
    eight = ["8", "8", "-4", "-8", "8", "8", "8", "8"]
    sizes = {
        "first": eight,
        "second": eight,
        "one": ["-4"],
        "two": ["8", "-8"],
        "three": ["8", "8", "-4"],
    }
    assert set(notes) == set(sizes)
    assert elf.machine == (EM_AARCH64 if "aarch64" in compiler else elf.machine)
    names = r"[xw]\d+" if elf.machine == EM_AARCH64 else r"%[a-z0-9]+"
    for note in notes.values():
        assert note.provider == "demo"
        assert elf.bytes_at(note.location, len(NOPS[elf.machine])) == NOPS[elf.machine]
        assert [word.split("@")[0] for word in note.arguments] == sizes[note.name]
        for word in note.arguments:
            assert re.fullmatch(rf"-?[48]@{names}", word)
    assert len({note.semaphore for note in notes.values()}) == len(notes)
    # And as others read it.
    text = subprocess.run(
        ["readelf", "-n", str(out)], capture_output=True, text=True, check=True
    ).stdout
    assert text.count("Provider: demo\n") == len(notes)
    assert f"Arguments: {' '.join(notes['first'].arguments)}\n" in text


@pytest.mark.parametrize(
    ("pretence", "words"),
    [
        ("platform.machine = lambda: 'riscv64'", "x86-64 or arm64"),
        ("sys.platform = 'darwin'", "Linux"),
        ("sys.version_info = (3, 11)", "CPython 3.12 or newer"),
    ],
)
def test_build_refuses(python, pretence, words):
    """One line, before anything is built."""
    code = f"import platform, sys; {pretence}\nexec(open('setup.py').read())"
    done = python.run("-c", code, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
