"""Where input and output go, and the prompt: as under python."""

import os
import subprocess
import threading

import pytest
from runner import outcome, run, same

# ---- where input and output go ----

OUTPUTS = {
    "nothing": "",
    "little": "print('x')",
    "much": "for i in range(1000): print('x' * 1000)",
    "exit 3": "import sys\nprint('x')\nsys.exit(3)",
    "exception": "print('x')\n1 / 0",
    "interrupt": "print('x')\nraise KeyboardInterrupt",
    "system": "import os\nos.write(1, b'x')",
    "error": "import sys\nsys.stderr.write('x')\nsys.exit('text')",
    "input": "print(input('prompt'))",
    "streams": "import sys\nfor s in sys.stdin, sys.stdout, sys.stderr:\n"
    "    print(s and (s.name, s.mode, s.encoding, s.errors, s.line_buffering), file=sys.stderr)",
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize(
    "redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "2>&1"]
)
def test_redirected(python, tmp_path, name, redirection):
    (tmp_path / "prog.py").write_text(OUTPUTS[name])

    def redirected(*args):
        command = ["sh", "-c", f'exec "$@" {redirection}', "sh", python.path, *args, "prog.py"]
        return outcome(
            subprocess.run(
                command,
                cwd=tmp_path,
                env=python.env(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        )

    assert redirected("-m", "pyusdt") == redirected()


@pytest.mark.parametrize("name", OUTPUTS)
def test_reader_has_gone(python, tmp_path, name):
    (tmp_path / "prog.py").write_text(OUTPUTS[name])

    def piped(*args):
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as out:
            return outcome(
                subprocess.run(
                    [python.path, *args, "prog.py"],
                    cwd=tmp_path,
                    env=python.env(),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.PIPE,
                    check=False,
                )
            )

    got = piped()
    assert piped("-m", "pyusdt") == got
    if name in ("little", "exit 3"):
        assert got.code == 120


# No traceback: to show its lines, python itself would open the pipe again, for ever.
@pytest.mark.parametrize("source", ["print('x')", "import sys\nsys.exit('x')", ""])
def test_from_a_pipe(python, tmp_path, source):
    """A named pipe, as in `python <(program)`, can be opened once."""
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)

    def piped(*args):
        writer = threading.Thread(target=pipe.write_text, args=(source,))
        writer.start()
        got = run(python, *args, "pipe.py", cwd=tmp_path)
        writer.join()
        return got

    assert piped("-m", "pyusdt") == piped()
    same(python, "/dev/stdin", "x", input=source.encode())
    same(python, "-", "x", input=source.encode())


# ---- the prompt ----


@pytest.mark.parametrize("source", ["x = 6", "x = 6\n1 / 0", "x = 6\nraise SystemExit(3)", "x = ("])
@pytest.mark.parametrize("kind", ["file", "directory", "module", "command"], indirect=True)
def test_prompt(python, kind, source):
    args, kwargs = kind(source)
    typed = (
        b"print(x * 7, __name__)\nimport sys; sys.last_exc\n1 / 0\ndef f(): 1 / 0\n\nf()\nexit(5)\n"
    )
    got = same(python, *args, flags=["-i"], **{**kwargs, "input": typed})
    assert got.code == 5
    # Asked for by the environment only, there is no prompt without a terminal.
    for env in {"PYTHONINSPECT": "1"}, {"PYTHONINSPECT": ""}:
        same(python, *args, **{**kwargs, "input": typed, "env": env})


def test_prompt_by_the_program(python, tmp_path):
    """A program may ask for the prompt; at a terminal it gets it."""
    import pty

    (tmp_path / "prog.py").write_text(
        "import os\nos.environ['PYTHONINSPECT'] = '1'\nx = 6\n1 / 0\n"
    )

    def typed(*args):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [python.path, *args, "prog.py"],
            cwd=tmp_path,
            env={**python.env(), "TERM": "dumb", "PYTHON_BASIC_REPL": "1"},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(theirs)
        os.write(ours, b"print(x * 7)\nexit(5)\n")
        out, err = process.communicate(timeout=60)
        os.close(ours)
        return process.returncode, out, err

    got = typed()
    assert got[0] == 5 and b"42" in got[1]
    assert typed("-m", "pyusdt") == got
