"""Level one: the documents say what the code says."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from command import module
from conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_tables_of_probes_and_arguments(python):
    """docs/probes.md is made from src/probes.h; the library must say the same."""
    script = ROOT / "scripts" / "probes-doc.py"
    made = subprocess.run([sys.executable, script, "--check"], check=False)
    assert made.returncode == 0
    document = (ROOT / "docs" / "probes.md").read_text()
    code = "import json, pyusdt; print(json.dumps([pyusdt.probes(), pyusdt.arguments()]))"
    probes, arguments = json.loads(python.run("-c", code).stdout)
    for name, _, _, about in probes:
        assert f"| {name} | {about} |" in document
        assert re.search(rf"\b{name}\b", README)
    for i, name, kind, about in arguments:
        assert f"| arg{i} | {name} | {kind} | {about} |" in document
        assert f"| arg{i} | {name} | {kind} |" in README


def test_settings():
    known = set(re.findall(r'"(PYUSDT_[A-Z_]+)"', (ROOT / "src/config.c").read_text()))
    rows = re.findall(r"^\| (`PYUSDT_[^|]+) \|", README, re.MULTILINE)
    assert known == set(re.findall(r"`(PYUSDT_[A-Z_]+)`", " ".join(rows)))


def test_stub_names_everything(python):
    code = "from pyusdt import libpyusdt; print(*[n for n in dir(libpyusdt) if n[0] != '_'])"
    names = set(python.run("-c", code).stdout.split())
    stub = (ROOT / "pyusdt/libpyusdt.pyi").read_text()
    assert set(re.findall(r"^(?:def|class) (\w+)", stub, re.MULTILINE)) == names


def test_files_named_in_readme_exist():
    for path in re.findall(r"`((?:src|tests|scripts)/[\w./]+)`", README):
        assert (ROOT / path).exists(), path


PAGES = [ROOT / "README.md", ROOT / "tools/README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert "://" in link or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands(page):
    """What the pages tell to type is known to the command, with its options."""
    lines = re.findall(r"^\$ sudo (pyusdt .*)", page.read_text(), re.MULTILINE)
    for line in lines:
        module("parser").parse(shlex.split(line, comments=True)[1:])  # exits if it is wrong


HOWTOS = sorted((ROOT / "docs").glob("howto-*.md"))


@pytest.mark.parametrize("page", HOWTOS, ids=lambda page: page.name)
def test_howto(page):
    """The functions in its outputs are in the example, on these lines; others find the page."""
    text = page.read_text()
    (name,) = set(re.findall(r"\]\(examples/(\w+\.py)\)", text))
    source = (ROOT / "docs" / "examples" / name).read_text()
    assert f"docs/{page.name}" in source
    assert f"](docs/{page.name})" in README
    found = re.findall(rf"^(?:usecs|[\d\s:])*(\S+).*/{re.escape(name)}:(\d+)", text, re.MULTILINE)
    assert len(found) > 3
    lines = source.split("\n")
    for function, number in found:
        last = function.rpartition(".")[2]
        begin = int(number) - 1  # a decorator's line, if it has one
        code = "\n".join(lines[begin : begin + 2])
        assert f"def {last}(" in code or last in ("__init__", "<genexpr>"), (function, number)
