"""The provider `python`: which objects are mapped, and that nothing else changes.  No root."""

import os
import random
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from notes import Elf

OBJECTS = {
    "function": {"function__entry": "8 8 -4", "function__return": "8 8 -4"},
    "line": {"line": "8 8 -4"},
    "runtime": {
        "gc__start": "-4",
        "gc__done": "-8",
        "import__find__load__start": "8",
        "import__find__load__done": "8 -4",
    },
}
LOOK = """
import json, os, re
def mapped():
    with open("/proc/self/maps") as maps:
        names = [line.split()[-1] for line in maps if " r-xp " in line]
    return sorted(re.findall(r"libpython-usdt-(\\w+)\\.so", " ".join(names)))
"""
MAPPED = LOOK + "import pyusdt; print(*mapped())"


def objects(python) -> dict[str, str]:
    """group -> the path of its object."""
    where = Path(python.lib).parent
    return {group: str(where / f"libpython-usdt-{group}.so") for group in OBJECTS}


def own_probes(python) -> set[str]:
    """The names of the probes `python` that the interpreter itself carries."""
    code = """
import re, sys
files = {line.split()[-1] for line in open("/proc/self/maps") if "/libpython3." in line}
print("\\n".join({__import__("os").path.realpath("/proc/self/exe"), *files}))
"""
    names = set()
    for path in python.run("-c", code).stdout.split():
        text = subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=True)
        names |= set(re.findall(r"Provider: python\n\s+Name: (\w+)", text.stdout))
    return names


def lacking(python) -> list[str]:
    own = own_probes(python)
    return sorted(group for group, probes in OBJECTS.items() if not own & set(probes))


# ---- the objects ----


def test_notes_of_the_objects(python):
    for group, path in objects(python).items():
        notes = Elf(path).notes()
        assert {n.provider for n in notes} == {"python"}
        sizes = {n.name: " ".join(w.split("@")[0] for w in n.arguments) for n in notes}
        assert sizes == OBJECTS[group]
        assert len(notes) == len(sizes) == len({n.semaphore for n in notes})


def test_objects_need_nothing(python):
    for path in objects(python).values():
        text = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True)
        assert not re.findall(r"NEEDED|TEXTREL", text.stdout)


# ---- which are mapped ----


def test_what_the_interpreter_lacks_is_mapped(python):
    done = python.run("-c", MAPPED)
    assert (done.stdout.split(), done.stderr) == (lacking(python), "")


def test_setting(python):
    for value, expected in {
        "1": sorted(OBJECTS),
        "0": [],
        "": lacking(python),
    }.items():
        done = python.run("-c", MAPPED, env=python.env(PYUSDT_PYTHON_PROVIDER=value))
        assert (done.stdout.split(), done.stderr) == (expected, "")
    done = python.run("-c", MAPPED, env=python.env(PYUSDT_PYTHON_PROVIDER="2"))
    assert done.stdout.split() == lacking(python)
    assert done.stderr.startswith("pyusdt: PYUSDT_PYTHON_PROVIDER=2: give 0 or 1; ")
    assert done.stderr.count("\n") == 1
    done = python.run("-c", MAPPED, env=python.env(PYUSDT_DISABLE="1", PYUSDT_PYTHON_PROVIDER="1"))
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_mapped_once_a_process(python):
    """In subinterpreters and after a fork nothing is mapped again, nothing is left open."""
    code = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
before = sorted(os.listdir("/proc/self/fd"))
import pyusdt
assert sorted(os.listdir("/proc/self/fd")) == before
first = mapped()
where = interpreters.create()
failure = interpreters.run_string(where, "import pyusdt")
assert failure is None, failure
assert mapped() == first
interpreters.destroy(where)  # before the fork: CPython's children block or die of it
pid = os.fork()
if pid == 0:
    os._exit(mapped() != first)
assert os.waitpid(pid, 0)[1] == 0
assert mapped() == first
"""
    done = python.run("-W", "ignore", "-c", LOOK + code, env=python.env(PYUSDT_PYTHON_PROVIDER="1"))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("broken", ["missing", "of another build", "no library"])
def test_without_the_objects(python, tmp_path, broken):
    """All else works; it is said once, to those who asked for them."""
    shutil.copytree(Path(python.lib).parent, tmp_path / "pyusdt")
    for path in (tmp_path / "pyusdt").glob("libpython-usdt-*.so"):
        path.unlink()
        if broken == "no library":
            path.write_text("#!/bin/sh\n")
        elif broken == "of another build":
            shutil.copy(Path(python.lib), path)
    env = python.env(PYTHONPATH=str(tmp_path))
    done = python.run("-c", MAPPED, env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip() == "" or broken != "missing", done.stderr) == (
        0,
        True,
        "",
    )
    env["PYUSDT_PYTHON_PROVIDER"] = "1"
    done = python.run("-c", MAPPED, env=env, cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == len(OBJECTS)
    for line in lines:
        assert re.match(r"pyusdt: cannot load libpython-usdt-\w+\.so: .", line)


# ---- the reader of notes ----


@pytest.fixture(scope="module")
def read_notes(tmp_path_factory):
    """Called with paths: (exit status, [[provider, name], ...]) of tests/c/read_notes.c."""
    program = tmp_path_factory.mktemp("notes") / "read_notes"
    subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
        + [*shlex.split(os.environ.get("CFLAGS", "")), "-I", str(ROOT / "src")]
        + [str(ROOT / "tests/c/read_notes.c"), str(ROOT / "src/notes.c"), "-o", str(program)],
        check=True,
    )

    def run(*paths):
        done = subprocess.run(
            [program, *map(str, paths)], capture_output=True, check=False, timeout=60
        )
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, [
            line.split(" ", 1) for line in done.stdout.decode("utf-8", "replace").splitlines()
        ]

    return run


def test_reader_reads_all_notes(python, read_notes):
    for path in [python.lib, *objects(python).values()]:
        expected = [[n.provider, n.name] for n in Elf(path).notes()]
        assert read_notes(path) == (0, expected)


def test_reader_refuses_what_is_no_elf_file(read_notes, tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("#!/bin/sh\n" * 100)
    os.mkfifo(tmp_path / "fifo")  # must not be waited for
    for path in (tmp_path / "empty", tmp_path / "text", tmp_path / "fifo", tmp_path, "/nowhere"):
        assert read_notes(path) == (1, [])


def test_reader_survives_broken_files(python, read_notes, tmp_path):
    """Every length of a header, and bytes changed at random: no crash, no hang."""
    good = Path(objects(python)["runtime"]).read_bytes()
    random.seed(5)
    paths = []
    for i in range(400):
        data = bytearray(good)
        if i % 2:
            del data[random.randrange(len(data)) :]
        for _ in range(random.randrange(8)):
            if data:
                data[random.randrange(len(data))] = random.choice([0, 1, 0x7F, 0x80, 0xFF])
        path = tmp_path / str(i)
        path.write_bytes(data)
        paths.append(path)
    read_notes(*paths)


def test_table(python):
    """README and docs name every probe of the table, with its arguments."""
    table = (ROOT / "src/python_probes.h").read_text()
    names = re.findall(r"PROBE\(\w+,\s*(\w+__\w+|line),", table)
    assert sorted(names) == sorted(name for probes in OBJECTS.values() for name in probes)
    page = (ROOT / "docs/clients.md").read_text()
    for name in names:
        assert f"`{name}`" in page
