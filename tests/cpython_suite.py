"""Runs CPython's own test suite plain and traced, and compares the two, test by test.

    python tests/cpython_suite.py [--subset | MODULE...]

A real bpftrace is attached, system-wide, to the probes of EVENTS before the first
test starts. Each test module is run by `python -m test` in a process of its own,
and by `python -m pyusdt -m test`, at the same time. So a crash or a hang costs one
module, and every event of a module can be told from those of the next one.
(Workers, as of -m test's -j, would not load pyusdt.)

A test whose result differs is run again, both ways: one that fails or changes
without us is not ours. What remains must stand in EXPLAINED.

The exit code is 0 if every difference is explained, 1 if not, 2 if it cannot run.
It needs root, for bpftrace, and the interpreter's test package.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import tracer

ROOT = Path(__file__).resolve().parent.parent
EVENTS = ["PY_START", "PY_RETURN", "PY_UNWIND", "RAISE", "LINE"]
AGAIN = 2  # times that a module with a difference is run again, both ways
TEXT_LINES = 25  # shown of a failure
PLAIN, TRACED, PURE = "plain", "traced", "with a tool in pure Python"
UNEXPLAINED = "NOT EXPLAINED"
MODULE = "the module"  # stands for a module's end, next to its tests


@dataclass
class Run:
    """What one run of one test module gave."""

    results: dict[str, list[str]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # of what failed
    seconds: float = 0
    log: str = ""

    def add(self, name: str, result: str) -> None:
        self.results.setdefault(name, []).append(result)

    def result(self, name: str) -> str:
        return ", ".join(sorted(self.results.get(name, ["not run"])))


# ---- what is known ----

# What stresses frames, generators, coroutines, exceptions, threads and fork.
SUBSET = """
test_generators test_coroutines test_asyncgen test_yield_from test_contextlib
test_contextlib_async test_exceptions test_except_star test_raise test_traceback test_with
test_sys test_sys_settrace test_sys_setprofile test_monitoring test_bdb test_cprofile
test_threading test_threading_local test_thread test_context test_fork1 test_wait3 test_os
test_gc test_weakref test_frame test_code test_dis test_opcache test_inspect test_scope
test_call test_class test_super test_descr test_functools test_dataclasses
test_faulthandler test_atexit test_runpy test_cmd_line test_cmd_line_script test_unittest
test_interpreters test_recursion test_capi test_signal
test_asyncio.test_tasks test_asyncio.test_futures test_asyncio.test_taskgroups
test_concurrent_futures.test_thread_pool test_concurrent_futures.test_process_pool
test_multiprocessing_fork.test_processes
""".split()  # noqa: SIM905

# They use every tool of sys.monitoring themselves, see hide_tool.py.
HIDDEN_FROM = ["test_monitoring"]

# Left out, plain and traced: (module, test, since, why).
LEFT_OUT = [
    # Seen with a tool in pure Python, too: an unknown opcode, and RAISE on.
    ("test_code", "test_invalid_bytecode", (3, 15), "any tool makes CPython crash"),
]
LEFT_OUT_OF_SUBSET = [
    ("test_weakref", "test_threaded_*", (3, 12), "twenty million lines"),
]


@dataclass(frozen=True)
class Known:
    """A difference that is no fault of ours. All three patterns must be found."""

    test: str  # in "module: test"
    text: str  # in what the traced run printed of it
    why: str
    since: tuple[int, int] = (3, 12)
    until: tuple[int, int] = (3, 99)


# Every one was seen to be the same with a tool in pure Python, without pyusdt.
EXPLAINED = [
    Known(
        r"test_monitoring: .*test_implicit_stop_iteration$",
        r"\[\] != \[\('raise'",
        "with RAISE on in any tool, a StopIteration is a RAISE, not a STOP_ITERATION",
    ),
    Known(
        r"test_monitoring: .*TestBranchConsistency.test_async_for$",
        r"\d+\) not found in \{\(\d+, \d+\)\}",
        "with LINE on in any tool, co_branches() has another offset for an `async for`",
        since=(3, 14),
    ),
    Known(
        r"test_monitoring: .*test_disable_legal_events$",
        r"5 not less than 4",
        "with LINE on in any tool, an event comes a few times more before DISABLE holds",
        since=(3, 14),
    ),
    Known(
        r"test_dis: |test_opcache: ",
        r"INSTRUMENTED_",
        "the bytecode that is looked at is the instrumented one",
    ),
    Known(
        r"test_doctest.*: .*test_pdb_set_trace(_nested)?$",
        r"doctest.py\(\d+\)__run\(\)|--Return--",
        "with any event on in any tool, pdb.set_trace() stops at another place",
        since=(3, 13),
    ),
    Known(
        r"test_dis: .*test_show_caches$",
        r"AssertionError: \d+ != \d+",
        "instrumented bytecode shows its caches as if it were not specialised",
        until=(3, 12),
    ),
]


def explained(module: str, name: str, texts: list[str]) -> str | None:
    """Why this difference, with these texts, is known; None if it is not."""
    for known in EXPLAINED:
        if (
            known.since <= sys.version_info[:2] <= known.until
            and re.search(known.test, f"{module}: {name}")
            and all(re.search(known.text, text) for text in texts)
        ):
            return known.why
    return None


# ---- one run ----


def no_numbers(text: str) -> str:
    """Addresses, counts and process ids differ from run to run."""
    return re.sub(r"0x[0-9a-f]+|\d+", "N", text)


def read_xml(path: Path, run: Run) -> None:
    """Every test that ended. Failed subtests leave an element without a name."""
    if not path.exists():
        return
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name")
        if name is None or case.find("failure") is not None or case.find("error") is not None:
            continue  # its text is in the log
        skipped = case.find("skipped")
        if skipped is not None:
            run.add(name, f"skipped: {no_numbers(skipped.text or '')}")
        elif case.find("output") is not None:
            run.add(name, "expected failure")
        else:
            run.add(name, case.get("outcome") or "passed")


def read_log(log: str, run: Run) -> None:
    """Failures with their text, and the warnings of regrtest and of ourselves."""
    block = re.compile(r"^={70}\n(FAIL|ERROR): (.+)\n((?:.*\n)*?)(?=^={70}$|^-{70}\nRan |\Z)", re.M)
    for kind, header, text in block.findall(log):
        # "test_x (test.test_y.Class.test_x) [which subtest]"
        found = re.match(r"(\S+) \(([\w.]+)\)", header)
        name = header
        if found is not None:
            test, where = found.groups()
            name = where if where.endswith("." + test) else f"{where}.{test}"
        run.add(name, kind)
        run.texts[name] = run.texts.get(name, "") + text
    for line in set(re.findall(r"^(?:Warning -- |pyusdt: ).*$", log, re.M)):
        run.add(no_numbers(line), "printed")


def read_end(code: int, log: str, run: Run) -> None:
    if code < 0:
        end = f"signal {signal.Signals(-code).name}"
    elif "Timeout (" in log and code == 1:
        end = "timeout"
    else:
        end = {
            0: "finished",
            2: "finished" if "FAIL" in log or "ERROR" in log else "exit 2",
            3: "changed its environment",
            4: "no tests",
        }.get(code, f"exit {code}")
    run.add(MODULE, end)
    run.texts[MODULE] = log[-4000:]


class Suite:
    """Where modules are run, and how long they may take."""

    def __init__(self, python: str, scratch: Path, timeout: int, subset: bool):
        self.python = python
        self.scratch = scratch
        self.timeout = timeout
        self.left_out = LEFT_OUT + LEFT_OUT_OF_SUBSET * subset
        self.running: set[int] = set()  # process groups
        # A copy: the library may be built anew while this runs.
        shutil.copytree(ROOT / "pyusdt", scratch / "lib" / "pyusdt")
        others = ("PYTHON", "PYUSDT_", "PYTEST_", "MAKE", "MFLAGS")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        # The path is there in plain runs, too: only the runner may differ.
        self.env.update(PYTHONHASHSEED="0", PYTHONPATH=str(scratch / "lib"))

    def kill(self, group: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    def library(self) -> str | None:
        """Path of the library that traced runs load."""
        code = "import pyusdt; print(pyusdt.lib)"
        done = subprocess.run(
            [self.python, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env=self.env,
            cwd=self.scratch,  # where no other pyusdt is
        )
        return done.stdout.strip() if done.returncode == 0 else None

    def run(self, module: str, how: str) -> Run:
        """One run; how: PLAIN, TRACED, or PURE (with a tool in pure Python)."""
        run = Run()
        place = Path(tempfile.mkdtemp(dir=self.scratch))
        xml = place / "results.xml"
        log = place / "log"
        hide_tool = str(ROOT / "tests" / "hide_tool.py")
        command = [self.python, "-m", "test"]
        if how == PURE:
            command = [self.python, hide_tool, ",".join(EVENTS)]
        elif how == TRACED and module in HIDDEN_FROM:
            command = [self.python, hide_tool, "pyusdt"]
        elif how == TRACED:
            command = [self.python, "-m", "pyusdt", "-m", "test"]
        # -W: run verbosely, and print that only if a test fails.
        command += ["--randseed", "1", "-W", "--fail-env-changed", "--junit-xml", str(xml)]
        command += ["--timeout", str(self.timeout), "--tempdir", str(place), module]
        for where, test, since, _ in self.left_out:
            if where == module and sys.version_info >= since:
                command += ["--ignore", test]
        start = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=place,
                env={**self.env, "TMPDIR": str(place)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.running.add(process.pid)
            try:
                code: int | None = process.wait(self.timeout + 60)
            except subprocess.TimeoutExpired:
                code = None
            self.kill(process.pid)  # what the module left behind
            self.running.discard(process.pid)
            process.wait()
        run.seconds = time.monotonic() - start
        run.log = log.read_text(errors="backslashreplace")
        read_xml(xml, run)
        read_log(run.log, run)
        if code is None:
            run.add(MODULE, "timeout")
            run.texts[MODULE] = run.log[-4000:]
        else:
            read_end(code, run.log, run)
        shutil.rmtree(place, ignore_errors=True)
        return run


# ---- the tracer ----


class Counts(tracer.Bpftrace):
    """bpftrace, counting; `with Counts(lib, names) as counts: counts.now()`."""

    def __init__(self, lib: str, names: list[str]):
        self.names = names
        self.last: Counter[str] = Counter()
        clauses = [f'usdt:"{lib}":pyusdt:{name} {{ @{name} = count(); }}\n' for name in names]
        prints = " ".join(f"print(@{name});" for name in names)
        super().__init__("".join(clauses) + f'interval:ms:50 {{ {prints} printf("ROUND\\n"); }}\n')

    def since_last(self) -> Counter[str]:
        """Events since the call before, by probe: all that fired before this call."""
        rounds = self.lines.count("ROUND")
        while self.lines.count("ROUND") < rounds + 2:
            if self.process.poll() is not None:
                code = self.process.returncode
                raise SystemExit(f"pyusdt: bpftrace ended with {code}:\n{self.output[-2000:]}")
            time.sleep(0.05)
        now = Counter({name: self.map(f"@{name}") for name in self.names})
        grown = now - self.last
        self.last = now
        del self.lines[: -20 * len(self.names)]
        return grown


# ---- comparing ----


@dataclass
class Difference:
    module: str
    name: str
    plain: list[str]
    traced: list[str]
    pure: str = ""  # what a tool in pure Python makes of it
    verdict: str = ""
    text: str = ""

    @property
    def crash(self) -> bool:
        return self.name == MODULE and "finished" not in self.traced[0]

    def __str__(self) -> str:
        return (
            f"{self.module}: {self.name}\n"
            f"    plain: {'; '.join(self.plain)}   traced: {'; '.join(self.traced)}"
            f"{self.pure and f'   {PURE}: {self.pure}'}\n"
            f"    {self.verdict}"
        )


def differing(plain: Run, traced: Run) -> list[str]:
    end = traced.result(MODULE)
    if end != plain.result(MODULE) and end.startswith(("signal", "timeout", "exit")):
        return [MODULE]  # the rest did not run
    names = {**plain.results, **traced.results}
    return [name for name in names if plain.result(name) != traced.result(name)]


def judge(difference: Difference, texts: list[str]) -> None:
    """Sets the verdict."""
    plain, traced = set(difference.plain), set(difference.traced)
    why = explained(difference.module, difference.name, texts)
    if why is not None:
        difference.verdict = f"explained: {why}"
    elif traced <= plain:
        difference.verdict = "not ours: it comes and goes without us"
    elif set(difference.traced[1:]) <= plain and len(traced) > 1 and not difference.crash:
        difference.verdict = f"came once in {len(difference.traced)} traced runs, and is no crash"
    else:
        difference.verdict = UNEXPLAINED
        difference.text = next((text for text in texts if text), "")


def compare(suite: Suite, module: str, plain: Run, traced: Run) -> list[Difference]:
    """The differences of a module, each judged."""
    names = differing(plain, traced)
    unknown = [n for n in names if explained(module, n, [traced.texts.get(n, "")]) is None]
    plains, traceds = [plain], [traced]
    pure = None
    if unknown:
        pure = suite.run(module, PURE)
        for _ in range(AGAIN):
            plains.append(suite.run(module, PLAIN))
            traceds.append(suite.run(module, TRACED))
    differences = []
    for name in names:
        difference = Difference(
            module,
            name,
            [run.result(name) for run in plains],
            [run.result(name) for run in traceds],
            "" if pure is None else pure.result(name),
        )
        texts = [
            run.texts.get(name, "") for run in traceds if run.result(name) != plain.result(name)
        ]
        judge(difference, texts)
        differences.append(difference)
    return differences


# ---- all modules ----


def run_all(suite: Suite, modules: list[str], counts: Counts) -> list[Difference]:
    """Plain runs go ahead in a thread of their own."""
    plains: dict[str, Run] = {}
    done = {module: threading.Event() for module in modules}

    def run_plain() -> None:
        for module in modules:
            plains[module] = suite.run(module, PLAIN)
            done[module].set()

    threading.Thread(target=run_plain, daemon=True).start()
    differences = []
    for number, module in enumerate(modules, 1):
        counts.since_last()
        traced = suite.run(module, TRACED)
        seen = counts.since_last()
        done[module].wait()
        plain = plains[module]
        found = compare(suite, module, plain, traced)
        if min(seen[name] for name in ("PY_START", "PY_RETURN", "LINE")) == 0:
            found.append(
                Difference(module, "the tracer", ["-"], [str(dict(seen))], verdict=UNEXPLAINED)
            )
        print(
            f"[{number}/{len(modules)}] {module}: {len(plain.results) - 1} results,"
            f" {plain.seconds:.1f} s plain, {traced.seconds:.1f} s traced,"
            f" {sum(seen.values())} events, {len(found)} differences",
            flush=True,
        )
        for difference in found:
            print(f"  {difference}", flush=True)
            for line in difference.text.splitlines()[-TEXT_LINES:]:
                print(f"    | {line}", flush=True)
        differences += found
    return differences


def say(text: str) -> int:
    print(f"pyusdt: {text}", file=sys.stderr)
    return 2


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--subset", action="store_true", help="about 50 modules, minutes")
    parser.add_argument("--timeout", type=int, default=1200, help="seconds a module may take")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="these alone")
    return parser.parse_args()


def modules_to_run(python: str, arguments: argparse.Namespace) -> list[str]:
    """Empty if there is no test suite; of Debian's, only the runner may be there."""
    listed = subprocess.run(
        [python, "-m", "test", "--list-tests"], capture_output=True, text=True, check=False
    )
    known = [name.removeprefix("test.") for name in listed.stdout.split()]
    if listed.returncode != 0 or SUBSET[0] not in known:
        return []
    for module in arguments.modules:
        if module not in known:
            raise SystemExit(say(f"{module} is no test module of {python}"))
    if arguments.modules:
        return arguments.modules
    return [m for m in SUBSET if m in known] if arguments.subset else known


def summary(total: Counter[str], found: list[Difference], seconds: float) -> bool:
    """Prints it. True if all is well."""
    verdicts = Counter(difference.verdict for difference in found)
    unexplained = [d for d in found if d.verdict == UNEXPLAINED]
    for verdict, count in sorted(verdicts.items()):
        print(f"{count:5} {verdict}")
    for difference in unexplained:
        print(f"{difference.module}: {difference.name}")
    events = ", ".join(f"{name} {total[name]}" for name in EVENTS)
    print(f"traced by bpftrace {'.'.join(map(str, tracer.version()))}: {events}")
    print(f"cpython: {len(found)} differences, {len(unexplained)} unexplained, {seconds:.0f} s")
    return not unexplained and all(total[name] > 0 for name in EVENTS)


def main() -> int:
    arguments = parse()
    python = sys.executable
    version = "{}.{}".format(*sys.version_info)
    why_not = tracer.why_not()
    if why_not is not None:
        return say(why_not)
    modules = modules_to_run(python, arguments)
    if not modules:
        return say(f"{python} has no test suite; in Debian it is libpython{version}-testsuite")
    # A job in a shell's background ignores SIGINT, and so would every test.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="ps-", ignore_cleanup_errors=True) as scratch,
    ):
        suite = Suite(python, Path(scratch), arguments.timeout, arguments.subset)
        lib = suite.library()
        if lib is None:
            return say(f"{python} cannot import pyusdt; type: make PYTHON={python}")
        try:
            with Counts(lib, EVENTS) as counts:
                found = run_all(suite, modules, counts)
                counts.since_last()
                total = counts.last
        finally:  # of an interrupted run
            for group in list(suite.running):
                suite.kill(group)
    return 0 if summary(total, found, time.monotonic() - start) else 1


if __name__ == "__main__":
    sys.exit(main())
