"""Level one: the documents say what the code says."""

import json
import re
import subprocess
import sys

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
