"""How the test_runner_* tests run a program: under python and under pyusdt, alike."""

import re
import subprocess
import zipfile
from pathlib import Path
from typing import NamedTuple


class Outcome(NamedTuple):
    code: int
    out: bytes
    err: bytes


def outcome(done: subprocess.CompletedProcess) -> Outcome:
    """What is compared: all but addresses and times."""
    out, err = (
        re.sub(
            rb"\d+\.\d+( ?s\b| seconds)", rb"TIME\1", re.sub(rb"0x[0-9a-f]+", b"0xADDRESS", text)
        )
        for text in (done.stdout or b"", done.stderr or b"")
    )
    return Outcome(done.returncode, out, err)


def run(python, *args, env=None, **kwargs) -> Outcome:
    env = {**python.env(PYTHONHASHSEED="0"), **(env or {})}
    return outcome(python.run(*args, env=env, text=False, **kwargs))


def same(python, *args, flags=(), **kwargs) -> Outcome:
    """Runs it under python and under pyusdt: no difference.  Gives the outcome."""
    plain = run(python, *flags, *args, **kwargs)
    ours = run(python, *flags, "-m", "pyusdt", *args, **kwargs)
    assert ours == plain, (ours, plain)
    return plain


def one_line(err: bytes) -> bytes:
    """The one line that is all of standard error."""
    assert err.startswith(b"pyusdt: ") and err.endswith(b"\n") and err.count(b"\n") == 1, err
    return err


# ---- every way to name a program ----

KINDS = {
    "file": ["prog.py"],
    "dot": ["./prog.py"],
    "dots": ["../work/./prog.py"],
    "absolute": ["{cwd}/prog.py"],
    "elsewhere": ["sub/prog.py"],
    "link": ["link.py"],
    "link elsewhere": ["sub/link.py"],
    "linked directory": ["linked/prog.py"],
    "no suffix": ["prog"],
    "after --": ["--", "prog.py"],
    "pyc": ["prog.pyc"],
    "directory": ["app"],
    "directory/": ["./app/"],
    "absolute directory": ["{cwd}/app"],
    "zip": ["app.zip"],
    "absolute zip": ["{cwd}/app.zip"],
    "module": ["-m", "prog"],
    "joined module": ["-mprog"],
    "package": ["-m", "package"],
    "submodule": ["-m", "package.sub"],
    "command": ["-c", "{source}"],
    "joined command": ["-c{source}"],
    "stdin": ["-"],
}

FLAG_KINDS = ["file", "elsewhere", "directory", "zip", "module", "command", "stdin"]


def place(kind: str, python, work: Path, source: str) -> tuple[list[str], dict]:
    """Writes a program.  Gives the arguments that run it in this way, and run()'s others."""
    for path in ("prog.py", "prog", "sub/prog.py", "app/__main__.py"):
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(source)
    (work / "package").mkdir()
    (work / "package" / "__init__.py").write_text("")
    (work / "package" / "__main__.py").write_text(source)
    (work / "package" / "sub.py").write_text(source)
    (work / "link.py").symlink_to("sub/prog.py")
    (work / "sub" / "link.py").symlink_to("../prog.py")
    (work / "linked").symlink_to("sub")
    with zipfile.ZipFile(work / "app.zip", "w") as file:
        file.write(work / "app" / "__main__.py", "__main__.py")
    if kind == "pyc":
        code = "import py_compile; py_compile.compile('prog.py', 'prog.pyc', doraise=True)"
        if run(python, "-c", code, cwd=work).code != 0:  # a syntax error: any content will do
            (work / "prog.pyc").write_text(source)
    args = [word.replace("{cwd}", str(work)).replace("{source}", source) for word in KINDS[kind]]
    return args, {"cwd": work, "input": source.encode()}
