"""Level one: the layout block. A stack is walked with it from outside, without a tracer,
and must be what sys._getframe() says inside."""

import contextlib
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest
from conftest import PROGRAMS, ROOT
from walker import Walker, pyusdt

ProcessError = pyusdt.process.ProcessError
layout = pyusdt.layout

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64",
    reason="threading.get_ident() is the thread pointer on x86-64 alone",
)


def stops(command, env):
    """Runs a program of stop()s; gives what it says at each."""
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            for line in process.stdout:
                yield json.loads(line)
                process.stdin.write(b"\n")
                process.stdin.flush()
            errors = process.stderr.read().decode()
            assert process.wait(60) == 0, errors
            assert errors == ""
        finally:
            process.kill()


def wait_asleep(pid):
    """Until it reads: between its line of JSON and there it still runs."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for task in os.listdir(f"/proc/{pid}/task"):
            if Path(f"/proc/{pid}/task/{task}/syscall").read_text().startswith("0 0x0 "):
                return
    raise AssertionError(f"{pid} does not wait for a byte")


def compare(stop):
    """What is walked at a stop() is what it says."""
    wait_asleep(stop["pid"])
    with Walker(stop["pid"]) as walker:
        by_list = walker.thread_states()
        for i, (thread, expected) in enumerate(stop["stacks"].items()):
            state = walker.thread_state(int(thread))
            found = walker.stack(state)
            if i == 0:
                assert found.pop(0)[0] == "stop"
                assert walker.first_local(state) == stop["name"]
            assert found == expected, stop["name"]
            native = walker.number(state + walker.thread_native_id)
            assert os.path.exists(f"/proc/{stop['pid']}/task/{native}")
            assert state in [s for (_, t), s in by_list.items() if t == int(thread)]
        return walker.fields


def stops_of(python, source, **env):
    """The stops of a program: `source` is run with stacks.py's names, as a script of its
    own, which imports pyusdt where it likes. Each is compared."""
    source = f"import sys; sys.path[:0] = [{str(PROGRAMS)!r}]; from stacks import *\n" + source
    for stop in stops([python.path, "-c", source], python.env(**env)):
        if stop["name"] != "class body":
            yield compare(stop)


NAMES = [
    *["class body", "nested", "generator", "yield from", "sort key", "sort key", "coroutine"],
    *["constructor", "property", "constructor", "repr", "names", "latin", "exec"],
    *["comprehension", "generator expression", "lambda", "forked child", "threads", "thread"],
    *["subinterpreter", "after the subinterpreter", "except", "finally", "nested"],
]
# The module's text up to the run is run in the subinterpreter: its class body stops, too.
NAMES.insert(NAMES.index("subinterpreter"), "class body")


@pytest.mark.parametrize("jit", ["0", "1"])
def test_stacks(python, jit):
    """Every kind of stack, walked by the slot; the lists lead to the same states."""
    command = [python.path, str(PROGRAMS / "stacks.py")]
    names = []
    for stop in stops(command, python.env(PYTHON_JIT=jit)):
        names.append(stop["name"])
        if stop["name"] == "class body" and len(names) == 1:
            continue  # pyusdt is not imported yet
        compare(stop)
    assert names == NAMES


def test_imported_by_a_thread(python):
    source = """
def run():
    import pyusdt
    stop("thread")

thread = threading.Thread(target=run)
thread.start()
thread.join()
stop("main")
"""
    first, second = stops_of(python, source)
    assert first == second


def test_imported_by_a_subinterpreter(python):
    """And later by the main one, or not at all."""
    source = """
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters
code = "import sys; sys.path[:0] = {!r}\\nimport pyusdt, stacks\\nstacks.stop('sub')"
number = _interpreters.create()
_interpreters.run_string(number, code.format(sys.path))
stop("main")
import pyusdt
stop("main, after its own import")
_interpreters.destroy(number)
"""
    blocks = list(stops_of(python, source))
    assert len(blocks) == 3
    assert all(block == blocks[0] for block in blocks)


def test_another_key_with_the_same_pointer(python):
    """As pybind11 keeps one: 8 keys before and after the interpreter's own are tried."""
    source = """
import ctypes
libc = ctypes.CDLL(None)
get = ctypes.pythonapi.PyThreadState_Get
get.restype = ctypes.c_void_p
keys = []
for _ in range(8):
    key = ctypes.c_uint()
    assert libc.pthread_key_create(ctypes.byref(key), None) == 0
    libc.pthread_setspecific(key, ctypes.c_void_p(get()))
    keys.append(key)
import pyusdt
for key in keys:
    libc.pthread_setspecific(key, None)
stop("main")
in_thread()
"""
    assert len(list(stops_of(python, source))) == 2


EMBEDDER = r"""
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    void *python = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
    pthread_key_t keys[5];
    if (argc != 4 || python == NULL) {
        puts(dlerror());
        return 1;
    }
    void (*initialize)(int) = (void (*)(int))dlsym(python, "Py_InitializeEx");
    int (*finalize)(void) = (int (*)(void))dlsym(python, "Py_FinalizeEx");
    int (*run)(const char *) = (int (*)(const char *))dlsym(python, "PyRun_SimpleString");
    if (strcmp(argv[2], "again") == 0) {
        initialize(1);
        if (run("import pyusdt") != 0 || finalize() != 0) {
            return 1;
        }
        for (int i = 0; i < 5; i++) { /* so that it gets another one */
            pthread_key_create(&keys[i], NULL);
        }
    }
    initialize(1);
    return run(argv[3]);
}
"""


def shared_libpython(python):
    """The path of the interpreter's shared library, None if it was built without."""
    code = "import sysconfig; v = sysconfig.get_config_var; print(v('LIBDIR'), v('INSTSONAME'))"
    directory, name = python.run("-c", code).stdout.split()
    if ".so" not in name:  # Debian's python3 is linked without the library that it ships, too
        name = f"libpython{python.version[0]}.{python.version[1]}.so.1.0"
    found = [*Path(directory).glob(name), *Path(directory).glob("*-linux-gnu/" + name)]
    return str(found[0]) if found else None


@pytest.mark.parametrize("times", ["once", "again"])
def test_embedded(python, tmp_path, times):
    """A program that loads libpython when it runs: no slot is at a fixed place in 3.15."""
    library = shared_libpython(python)
    if library is None:
        pytest.skip(f"{python.path} has no shared libpython")
    (tmp_path / "embedder.c").write_text(EMBEDDER)
    program = str(tmp_path / "embedder")
    subprocess.run(["cc", program + ".c", "-o", program, "-ldl", "-pthread"], check=True)
    source = f"import sys; sys.path[:0] = [{str(PROGRAMS)!r}]\n"
    source += "import pyusdt\nfrom stacks import *\nstop('main')\nin_thread()\nfork()\n"
    home = python.run("-c", "import sys; print(sys.base_prefix)").stdout.strip()
    names = []
    for stop in stops([program, library, times, source], python.env(PYTHONHOME=home)):
        names.append(stop["name"])
        fields = compare(stop)
        assert fields["slot_steps"] == (3 if python.version >= (3, 15) else 1)
    assert names == ["class body", "main", "thread", "forked child"]


# ---- the block itself ----


def test_drawing():
    """layout.h draws what layout.py reads, each field where C puts it."""
    text = (ROOT / "src/layout.h").read_text()
    formats = {"char": "s", "uint32_t": "I", "int32_t": "i", "uint64_t": "Q", "int64_t": "q"}
    drawn, before = [], ""
    for offset, kind, name, count in re.findall(
        r"^    /\*\s+(\d+) \*/ (\w+) (\w+)(?:\[(\d+)\])?;", text, re.MULTILINE
    ):
        code = count + formats[kind]
        drawn.append((name, code))
        before += code
        assert struct.calcsize("@" + before) - struct.calcsize("@" + code) == int(offset), name
    assert tuple(drawn) == layout.FIELDS
    assert struct.calcsize("@" + before) == struct.calcsize("=" + before) == layout.SIZE
    assert f"bytes: {layout.SIZE} " in text
    for name in ("MAGIC", "VERSION", "READY", "FREE_THREADED"):
        value = getattr(layout, name)
        value = f'"{value.decode()}"' if isinstance(value, bytes) else value
        assert re.search(rf"^#define PYUSDT_LAYOUT_{name} +{value}\s", text, re.MULTILINE)


@pytest.fixture
def sleeper(python):
    """A process that has pyusdt loaded and waits."""
    with running(
        python.path, "-c", "import pyusdt; print(flush=True); input()", env=python.env()
    ) as p:
        yield p


@contextlib.contextmanager
def running(*command, **kwargs):
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kwargs
    ) as process:
        assert process.stdout.readline() == b"\n"
        yield process
        process.kill()


def test_fields(python, sleeper):
    fields = layout.read(sleeper.pid)
    done = python.run("-c", "import sys; print(sys.hexversion, 't' in sys.abiflags)")
    hexversion, free_threaded = done.stdout.split()
    assert fields["python"] == int(hexversion)
    assert fields["built_for"] >> 16 == int(hexversion) >> 16
    assert bool(fields["flags"] & layout.FREE_THREADED) == (free_threaded == "True")
    assert set(fields) == {name for name, _ in layout.FIELDS} - {"magic"}


def test_deleted_library(python, tmp_path):
    shutil.copytree(Path(python.lib).parent, tmp_path / "pyusdt")
    env = python.env(PYTHONPATH=str(tmp_path))
    with running(
        python.path, "-c", "import pyusdt; print(flush=True); input()", env=env, cwd=tmp_path
    ) as process:
        before = layout.read(process.pid)
        shutil.rmtree(tmp_path / "pyusdt")
        with pyusdt.process.Process(process.pid) as found:
            (library,) = found.libraries()
        assert library.path.endswith(" (deleted)")
        assert library.path.startswith(str(tmp_path))
        assert layout.read(process.pid) == before


def test_processes(sleeper):
    pids = [pid for pid, _ in pyusdt.process.processes()]
    assert pids.count(sleeper.pid) == 1
    assert os.getpid() not in pids


def refusal(pid):
    with pytest.raises(ProcessError) as caught:
        layout.read(pid)
    text = str(caught.value)
    assert "\n" not in text
    assert str(pid) in text
    return text


def test_no_process():
    process = subprocess.Popen(["true"])
    process.wait()
    assert "there is no process" in refusal(process.pid)
    for pid in (0, -1, 2**31, 2**70):
        assert "there is no process" in refusal(pid)


def test_ended_process():
    """A zombie."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    text = refusal(process.pid)
    assert "has ended" in text or "has it ended?" in text  # it depends on the kernel
    process.wait()


def test_not_loaded(python):
    with running(python.path, "-c", "print(flush=True); input()") as process:
        assert "has not loaded pyusdt; start it by python -m pyusdt" in refusal(process.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
def test_no_permission(sleeper):
    os.seteuid(65534)
    try:
        text = refusal(sleeper.pid)
    finally:
        os.seteuid(0)
    assert "may not be read: be its user, or root" in text


@pytest.mark.parametrize(
    ("offset", "data", "text"),
    [
        (0, b"pYLayout", "has no layout block"),
        (8, b"\x02", "a layout block of version 2, 216 bytes, this is version 1, 216 bytes"),
        (12, b"\x00", "a layout block of version 1, 0 bytes"),
        (24, b"\x00", "is still importing pyusdt"),
    ],
)
def test_wrong_block(sleeper, offset, data, text):
    with pyusdt.process.Process(sleeper.pid, write=True) as process:
        address = process.symbol("pyusdt_layout")
        process.write(address + offset, data)
        assert process.read(address + offset, len(data)) == data
    assert text in refusal(sleeper.pid)


def test_memory(sleeper):
    """What is read and written is all there, or refused."""
    with pyusdt.process.Process(sleeper.pid, write=True) as process:
        for address in (0, 8, 2**63, 2**64 - 8, 2**70):
            with pytest.raises(ProcessError, match="has no memory at"):
                process.read(address, 8)
            with pytest.raises(ProcessError, match="has no memory at"):
                process.write(address, b"x")
        with pytest.raises(ProcessError, match="has another pyusdt, without no_such_symbol"):
            process.symbol("no_such_symbol")
        address = process.symbol("pyusdt_layout")
        sleeper.kill()
        sleeper.wait()
        with pytest.raises(ProcessError, match="there is no process"):
            process.read(address, 8)
        with pytest.raises(ProcessError, match="there is no process"):
            process.write(address, b"x")
