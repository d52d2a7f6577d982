"""Source text, commands and file names as python takes them, and what cannot be run."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from runner import one_line, outcome, run, same

# ---- source text ----

SOURCES = {
    "empty": b"",
    "no newline": b"print(1)",
    "comment": b"# nothing",
    "BOM": b"\xef\xbb\xbfprint('\xc3\xa9')\n1/0\n",
    "CRLF": b"print('''a\r\nb''')\r\nif 1:\r\n    1/0\r\n",
    "CR": b"print(1)\rprint(2)\r1/0\r",
    "form feed": b"\x0cprint(1)\n\x0c1/0\n",
    "tabs": b"if 1:\n\tprint(1)\n        print(2)\n",
    "latin-1": b"# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\nraise ValueError('\xe9')\n",
    "second line cookie": b"#!/bin/sh\n# vim: set fileencoding=cp1252 :\nprint(ascii('\x80'))\n",
    "utf-8": "größe = 'π'\nprint(größe)\nraise ValueError('π')\n".encode(),
    "not utf-8": b"print(1)\nx = '\xff\xfe'\n",
    "unknown coding": b"# coding: nosuch\nprint(1)\n",
    "wrong coding": b"\xef\xbb\xbf# coding: latin-1\nprint(1)\n",
    "null byte": b"print(1)\nx = 'a\x00b'\n",
    "null line": b"print(1)\n\x00\n",
    "binary": bytes(range(256)),
    "unexpected indent": b"print(1)\n  print(2)\n",
    "unterminated": b"print(1)\nx = '''abc\n",
    "return outside": b"def f():\n    pass\nreturn 1\n",
    "bad future": b"from __future__ import nothing\n",
    "nested": b"x = " + b"(" * 300 + b")" * 300 + b"\n",
    "deep": b"x = " + b"-" * 4000 + b"1\n",
    "long line": b"x = '" + b"a" * 100_000 + b"'\nprint(len(x))\n1/0\n",
    "pyc magic": b"\x00\x00\x00\x00\x00\x00\x00\x00",
    "zip comment": b"#!/bin/sh\nPK\x05\x06" + b"\x00" * 18,
}


@pytest.mark.parametrize("suffix", ["prog.py", "prog.pyc", "prog", "-"])
@pytest.mark.parametrize("name", SOURCES)
def test_source(python, tmp_path, name, suffix):
    (tmp_path / "prog.py").write_bytes(SOURCES[name])
    if suffix not in ("prog.py", "-"):
        (tmp_path / "prog.py").rename(tmp_path / suffix)
    same(python, suffix, cwd=tmp_path, input=SOURCES[name])


COMMANDS = {
    "empty": "",
    "blank": "  \n\t\n",
    "indented": "  import sys\n  if 1:\n    print(sys.argv)\n  def f():\n    1/0\n  f()",
    "indented by tabs": "\tprint(1)\n\tif 1:\n\t\tprint(2)",
    "indented otherwise": "\tprint(1)\n        print(2)",
    "indented text": "   x = '''a\n     b\n  \n   c\n\t\n   '''\n   print(repr(x))",
    "indented comment": "    print(1)\n # less\n    print(2)",
    "first line not": "print(1)\n  print(2)",
    "second line not": "  print(1)\nprint(2)",
    "line endings": "  print('''a\r\n  b\r  c''')\r\n  1/0",
    "form feed": " \x0c print(1)\n \x0c print(2)",
    "two functions": "def f():\n    g()\ndef g():\n    raise ValueError('x' +\n        'y')\nf()",
    "other string": "exec('\\n\\n1/0')",
    "cookie": "# coding: latin-1\nprint(ascii('é'))",
    "non-ASCII": "print('größe', ascii('π'))\nraise ValueError('π')",
    "undecodable": b"print('\xff')",
    "syntax error": "print(1)\nx = (",
    "syntax warning": "print(1 is 1)\ndef f():\n    return '\\d'",
    "future": "from __future__ import annotations\ndef f(x: y): pass\nprint(f.__annotations__)",
    "linecache": "import linecache as l\ndef f(): 1/0\nl.clearcache()\nl.checkcache()\nf()",
    "many lines": "\n" * 300 + "1/0",
    "dash": "-1",
}


@pytest.mark.parametrize("flags", [[], ["-W", "error"], ["-X", "utf8=0"]], ids=" ".join)
@pytest.mark.parametrize("name", COMMANDS)
def test_command(python, name, flags):
    same(python, "-c", COMMANDS[name], "-c", flags=flags)
    same(python, "-c", COMMANDS[name], flags=flags, env={"LC_ALL": "C"})


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("utf8", ["utf8=0", "utf8=1"])
@pytest.mark.parametrize(
    "name",
    [
        b"with space.py",
        b"quote'\".py",
        b"new\nline.py",
        "größe.py".encode(),
        b"\xff\xfe.py",
        b"%s{}.py",
    ],
    ids=ascii,
)
def test_file_name(python, tmp_path, name, locale, utf8):
    directory = os.fsencode(tmp_path)
    source = "import sys\nprint(ascii([__file__, sys.argv, sys.path]))\ndef f(): 1/0\nf()\n"
    Path(os.fsdecode(directory + b"/" + name)).write_text(source)
    for path in name, directory + b"/" + name:
        got = same(
            python,
            path,
            name,
            b"\xff",
            "π",
            cwd=tmp_path,
            env={"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"},
            flags=["-X", utf8],
        )
        assert got.code == 1
    app = Path(os.fsdecode(directory + b"/d" + name))
    app.mkdir()
    (app / "__main__.py").write_text(source)
    assert same(python, app, cwd=tmp_path, flags=["-X", utf8], env={"LC_ALL": locale}).code == 1


# ---- what cannot be run ----


@pytest.mark.parametrize(
    "args",
    [
        ["-m", "nosuch"],
        ["-m", "nosuch.sub"],
        ["-m", "os.nosuch"],
        ["-m", "sys"],
        ["-m", "bare"],
        ["-m", "bare.nosuch"],
        ["-m", "broken"],
        ["-m", "failing"],
        ["-m", "failing.sub"],
        ["-m", "wrong"],
        ["-m", "prog.py"],
        ["-m", ".prog"],
        ["-m", "a b"],
        ["-m", ""],
        ["-m", "größe"],
        ["-m", b"\xff"],
        ["empty"],
        ["empty/"],
        ["empty.zip"],
        ["broken.zip"],
        ["bare"],
        [""],
        ["."],
    ],
    ids=ascii,
)
def test_no_main(python, tmp_path, args):
    for name, source in {
        "prog.py": "",
        "bare/__init__.py": "",
        "broken/__init__.py": "",
        "broken/__main__.py": "x = (",
        "failing/__init__.py": "1 / 0",
        "failing/sub.py": "",
        "wrong.py": "import nosuch",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    assert same(python, *args, cwd=tmp_path).code == 1


def cannot_open(python, *args, **kwargs):
    """The same as python's message, but for its beginning."""
    plain = run(python, *args, **kwargs)
    ours = run(python, "-m", "pyusdt", *args, **kwargs)
    assert (ours.code, ours.out) == (plain.code, plain.out) == (2, b"")
    path = os.fsencode(python.path)
    assert one_line(ours.err) == plain.err.replace(path + b":", b"pyusdt:", 1)
    return ours.err


@pytest.mark.parametrize(
    "name, why",
    [
        ("nosuch.py", "No such file"),
        ("./nosuch/../x.py", "No such file"),
        ("/nosuch.py", "No such file"),
        ("prog.py/x.py", "Not a directory"),
        ("loop.py", "Too many levels"),
        ("gone.py", "No such file"),
        ("x" * 300, "name too long"),
        ("socket", "No such device"),
        ("größe.py", "No such file"),
        (b"\xff.py", "No such file"),
    ],
    ids=ascii,
)
def test_cannot_open(python, tmp_path, name, why):
    import socket

    (tmp_path / "prog.py").write_text("")
    (tmp_path / "loop.py").symlink_to("loop.py")
    (tmp_path / "gone.py").symlink_to("nothing")
    with socket.socket(socket.AF_UNIX) as listener:
        old = os.getcwd()
        os.chdir(tmp_path)  # the name of a socket is short
        listener.bind("socket")
        os.chdir(old)
    assert why.encode() in cannot_open(python, name, "arg", cwd=tmp_path)
    # It is told before anybody waits.
    ours = run(python, "-m", "pyusdt", "--wait", name, cwd=tmp_path) if name != "socket" else None
    assert ours is None or why.encode() in one_line(ours.err)


def test_unreadable(python, tmp_path):
    (tmp_path / "prog.py").write_text("print(1)")
    (tmp_path / "prog.py").chmod(0)
    if os.access(tmp_path / "prog.py", os.R_OK):  # root may read everything
        assert same(python, "prog.py", cwd=tmp_path).code == 0
    else:
        assert b"Permission denied" in cannot_open(python, "prog.py", cwd=tmp_path)


def test_missing_then_prompt(python, tmp_path):
    ours = run(python, "-i", "-m", "pyusdt", "nosuch.py", cwd=tmp_path, input=b"print(6 * 7)\n")
    assert (ours.code, ours.out) == (0, b"42\n")
    assert ours.err.startswith(b"pyusdt: can't open file") and b"Traceback" not in ours.err


def test_deleted_directory(python, tmp_path):
    (tmp_path / "prog.py").write_text("import os, sys\nprint(sys.path, sys.argv, __file__)\n1 / 0")
    (tmp_path / "gone").mkdir()

    def inside(*args):
        script = 'cd gone && mkdir ../gone2 && mv ../gone2 . && rmdir gone2 ../gone && exec "$@"'
        done = subprocess.run(
            ["sh", "-c", script, "sh", python.path, *args],
            cwd=tmp_path,
            env=python.env(),
            capture_output=True,
            check=False,
        )
        (tmp_path / "gone").mkdir()
        return outcome(done)

    for args in (
        [str(tmp_path / "prog.py"), "x"],
        ["-c", "import sys; print(sys.path)"],
        ["-m", "this"],
    ):
        assert inside("-m", "pyusdt", *args) == inside(*args)
    plain, ours = inside("prog.py"), inside("-m", "pyusdt", "prog.py")
    assert plain.code == ours.code == 2
    assert b"prog.py': [Errno 2] No such file" in one_line(ours.err)
