"""Level one: the documents say what the code says."""

import json
import re

from conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_tables_of_probes_and_arguments(python):
    code = "import json, pyusdt; print(json.dumps([pyusdt.probes(), pyusdt.arguments()]))"
    probes, arguments = json.loads(python.run("-c", code).stdout)
    rows = [f"| {name} | {about} |" for name, _, _, about in probes]
    assert "\n".join(rows) + "\n" in README
    rows = [f"| arg{i} | {name} | {kind} | {about} |" for i, name, kind, about in arguments]
    assert "\n".join(rows) + "\n" in README


def test_settings():
    known = set(re.findall(r'"(PYUSDT_[A-Z_]+)"', (ROOT / "src/config.c").read_text()))
    assert known == set(re.findall(r"^\| `(PYUSDT_[A-Z_]+)` \|", README, re.MULTILINE))


def test_stub_names_everything(python):
    code = "from pyusdt import libpyusdt; print(*[n for n in dir(libpyusdt) if n[0] != '_'])"
    names = set(python.run("-c", code).stdout.split())
    stub = (ROOT / "pyusdt/libpyusdt.pyi").read_text()
    assert set(re.findall(r"^def (\w+)", stub, re.MULTILINE)) == names


def test_files_named_in_readme_exist():
    for path in re.findall(r"`((?:src|tests|scripts)/[\w./]+)`", README):
        assert (ROOT / path).exists(), path
