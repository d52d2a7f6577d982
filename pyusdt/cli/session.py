"""One run of a tracer on a process or a program: the loop of TOOL and `trace`.

The order: the program is started and held; the tracer is started; when all of its
probes are in place the program goes on.  The run ends with the program, the traced
process, the duration, or a signal; the tracer is then interrupted and has its say.

The main thread alone does all of it.  Signals set a flag and never raise: a Ctrl-C may
come at any moment.
"""

import contextlib
import fnmatch
import os
import queue
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from pyusdt.process import ProcessError

from . import bpftrace, elf, script
from .bpftrace import Stopper, Tracer
from .decode import Attached, Event, Lost, Map, Printed, Trouble
from .errors import Failure
from .launch import Program
from .live import Live
from .report import Result, Writer
from .targets import Target, by_pid

BATCH = "pyusdt-batch\n"
LOAD_SECONDS = 60.0
# bpftrace before 0.27 with -p: from the semaphores to the first count, 18 ms were seen.
SETTLE_SECONDS = 0.1
TICK = 0.02
# A tracer that is to end and says nothing for so long gets another signal, and is killed
# after as long again.
STUCK_SECONDS = 15.0


class Signals:
    """SIGINT, SIGTERM and SIGHUP as a count.  A stop that came before it began counts."""

    def __init__(self) -> None:
        self.count = 0
        self.last = 0

    def begin(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.last = number


SIGNALS = Signals()


@dataclass
class Plan:
    """What is to be run.

    text: makes the final script for a target, which is None when all processes with
    the library are traced.
    words: the program to start, with settings for its environment.
    """

    text: Callable[[Target | None], str]
    writer: Writer
    target: Target | None = None
    words: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    json: bool = True
    tool: str = ""
    snapshots: bool = False  # the script prints its maps now and then
    keys: dict[str, list[str]] = field(default_factory=dict)
    sort: str | None = None  # column of tables


@dataclass
class Run:
    """Its state while it goes on, and its outcome."""

    plan: Plan
    result: Result
    lost: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    is_ready: bool = False
    attached: bool = False
    is_ending: bool = False  # the tracer prints its maps, and must not be disturbed
    has_ended: bool = False
    exit_code: int = 0
    heard: float = 0.0  # when the tracer last said something
    began: float = 0.0
    ended: float = 0.0
    pid: int | None = None


def say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(f"pyusdt: {text}", file=sys.stderr, flush=True)


def run(plan: Plan) -> Run:
    """Runs it to its end.  Failure if nothing could be traced."""
    state = Run(plan, Result(keys=plan.keys, sort=plan.sort))
    program = Program(plan.words, plan.settings) if plan.words else None
    try:
        _trace(state, program)
        _report(state)
    except BaseException:
        if program is not None:
            program.end()
        raise
    if program is not None:
        state.exit_code = _wait(program)
    return state


def _trace(state: Run, program: Program | None) -> None:
    plan = state.plan
    target = plan.target
    if program is not None:
        target = _loaded(state, program)
        if target is None:
            return
    state.pid = target.pid if target else None
    text = plan.text(target)
    own_pid = _own_pid(target, text)
    tracer = Tracer(text, own_pid, plan.json)
    try:
        _attach(state, tracer, target, text, program)
        state.began = time.monotonic()
        plan.writer.start({"tool": plan.tool, "pid": state.pid})
        if program is not None:
            program.go()
        with _watch(target.pid if target else None) as is_over:
            _follow(state, tracer, program, is_over)
            state.ended = time.monotonic()
            _finish(state, tracer, program, is_over() and own_pid is not None)
    finally:
        tracer.kill()
        if isinstance(plan.writer, Live):
            plan.writer.stop()


def _own_pid(target: Target | None, text: str) -> int | None:
    """For bpftrace's own -p, which keeps other processes free of breakpoints."""
    if target is None or target.is_chrooted or script.is_of_others(text):
        return None
    return target.pid


def _loaded(state: Run, program: Program) -> Target | None:
    """The program as a process, when it has loaded the library; None if it ended before."""
    end = time.monotonic() + LOAD_SECONDS
    while not program.is_ready(TICK):
        if program.has_ended or SIGNALS.count:
            _end_unstarted(program)
            return None
        if time.monotonic() > end:
            raise Failure(f"the program has not loaded pyusdt within {LOAD_SECONDS:g} seconds")
    return by_pid(program.pid)


def _end_unstarted(program: Program) -> None:
    if not program.has_ended:
        program.signal(SIGNALS.last or signal.SIGINT)


def _attach(
    state: Run, tracer: Tracer, target: Target | None, text: str, program: Program | None
) -> None:
    """Returns when every probe is in place and counts, or a signal came."""
    wanted = _semaphores(target, text)
    quiet_since: float | None = None
    while not SIGNALS.count:
        _take(state, tracer, TICK)
        if state.has_ended and (tracer.process.returncode != 0 or not state.is_ending):
            raise Failure(_why(tracer))
        if state.has_ended:  # a very short duration
            return
        if program is not None and program.has_ended:
            return
        up = target is None or _are_up(target, wanted)
        quiet_since = (quiet_since or time.monotonic()) if up and state.is_ready else None
        if quiet_since is not None and time.monotonic() - quiet_since >= SETTLE_SECONDS:
            return


def _semaphores(target: Target | None, text: str) -> list[elf.Probe]:
    patterns = script.probes_of(text)
    return [
        probe
        for probe in (target.probes if target is not None else [])
        if probe.provider == "pyusdt" and any(fnmatch.fnmatchcase(probe.name, p) for p in patterns)
    ]


def _are_up(target: Target, wanted: list[elf.Probe]) -> bool:
    if not wanted:
        return True
    try:
        raised = target.raised()
    except ProcessError:
        return True  # nothing more can be known
    return all(f"pyusdt:{probe.name}" in raised for probe in wanted)


def _why(tracer: Tracer) -> str:
    """Why bpftrace ended at once."""
    said = tracer.complaints()
    rest: list[str] = []
    with contextlib.suppress(queue.Empty):
        while (event := tracer.events.get_nowait()) is not None:
            if isinstance(event, Printed):
                rest.append(event.text.strip())
    text = "; ".join(dict.fromkeys(said or rest)) or f"exit code {tracer.process.returncode}"
    cure = ""
    if "root" in text or "CAP_" in text:
        cure = "; use sudo"
    elif "No probes to attach" in text or "no valid attach points" in text:
        cure = "; `pyusdt list` names the probes of a library"
    return f"bpftrace could not start: {text}{cure}"


@contextlib.contextmanager
def _watch(pid: int | None) -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether the process has ended."""
    if pid is None:
        yield lambda: False
        return
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        yield lambda: True
        return
    try:
        yield lambda: bool(select.select([descriptor], [], [], 0)[0])
    finally:
        os.close(descriptor)


def _follow(
    state: Run, tracer: Tracer, program: Program | None, is_over: Callable[[], bool]
) -> None:
    """Reads events until there is a reason to stop."""
    seconds = state.plan.seconds
    if seconds is not None and program is None:
        seconds += 1  # the script ends itself, and better
    deadline = state.began + seconds if seconds is not None else None
    while not state.has_ended and not SIGNALS.count:
        over = is_over() or state.plan.writer.is_closed
        _take(state, tracer, TICK)
        if over or (deadline is not None and time.monotonic() >= deadline):
            return


def _finish(state: Run, tracer: Tracer, program: Program | None, ends_itself: bool) -> None:
    """Interrupts the tracer and reads what it still has to say."""
    stopper = Stopper(tracer, ends_itself)
    began = time.monotonic()
    while not state.has_ended:
        if program is not None:
            program.process.poll()  # while it is a zombie, it lives for bpftrace
        silent = time.monotonic() - max(state.heard, began)
        if not state.is_ending or silent >= STUCK_SECONDS:
            stopper.poke(state.heard)
        if silent >= 2 * STUCK_SECONDS:
            tracer.kill()
            raise Failure(f"bpftrace did not end within {2 * STUCK_SECONDS:g} seconds; killed")
        _take(state, tracer, TICK)
    if tracer.lost is not None:
        state.lost = tracer.lost
    code = tracer.process.returncode
    if code not in (0, -signal.SIGINT) and state.is_ready:
        said = "; ".join(tracer.complaints()[-3:])
        raise Failure(f"bpftrace ended with {code}{': ' if said else ''}{said}")


def _take(state: Run, tracer: Tracer, seconds: float) -> None:
    """Handles what the tracer says, waiting so long for the first of it."""
    try:
        event = tracer.events.get(timeout=seconds)
        for _ in range(10000):
            if event is None:
                state.has_ended = True
                return
            _handle(state, event)
            event = tracer.events.get_nowait()
        if event is not None:
            _handle(state, event)
        else:
            state.has_ended = True
    except queue.Empty:
        pass


def _handle(state: Run, event: Event) -> None:
    state.heard = time.monotonic()
    writer = state.plan.writer
    if isinstance(event, Printed):
        if event.text == script.READY + "\n":
            state.is_ready = True
        elif event.text == script.ENDED + "\n":
            state.is_ending = True
        elif event.text == BATCH:
            if isinstance(writer, Live):
                writer.refresh(state.result)
            else:
                writer.tables(state.result, time.monotonic() - state.began)
        else:
            writer.printed(event.text)
    elif isinstance(event, Map):
        state.result.add(event)
    elif isinstance(event, Lost):
        state.lost += event.count
    elif isinstance(event, Trouble):
        state.troubles[event.text] = state.troubles.get(event.text, 0) + 1
    elif isinstance(event, Attached):
        state.attached = True


def _wait(program: Program) -> int:
    """The program's exit code, once it has ended.

    A Ctrl-C in the terminal has reached it too; what was sent to the command alone is
    passed on.
    """
    passed = 0
    while not program.has_ended:
        if SIGNALS.count > passed:
            passed = SIGNALS.count
            if SIGNALS.last != signal.SIGINT or not program.has_terminal():
                program.signal(SIGNALS.last)
        time.sleep(TICK)
    return program.exit_code


def _report(state: Run) -> None:
    """The results, now: the program may go on for long."""
    if not state.began:
        return
    writer = state.plan.writer
    writer.tables(state.result, state.ended - state.began if state.plan.snapshots else None)
    writer.summary(facts(state))
    warn(state)


def facts(state: Run) -> dict[str, Any]:
    """The summary, as json has it."""
    have = bpftrace.version()
    seconds = max(0.0, state.ended - state.began) if state.began else 0.0
    return {
        "tool": state.plan.tool,
        "pid": state.pid,
        "seconds": round(seconds, 3),
        "lost_events": state.lost,
        "full_maps": state.result.full(bpftrace.map_keys(have)),
        "kernel_errors": sum(state.troubles.values()),
        "torn_samples": state.result.torn,
        "bpftrace": f"{have[0]}.{have[1]}",
    }


def warn(state: Run) -> None:
    """What the user must know about the numbers, on stderr."""
    if state.lost:
        say(f"lost {state.lost} events: the kernel's buffer was full")
    for name in state.result.full(bpftrace.map_keys(bpftrace.version())):
        say(f"map {name} is full: further keys were not counted; set {_KEYS}")
    if state.result.torn:
        say(f"{state.result.torn} samples left out: Python 3.12 was changing its frames")
    for text, count in state.troubles.items():
        say(f"{count} times in the kernel: {text}")


_KEYS = "BPFTRACE_MAX_MAP_KEYS (BPFTRACE_MAP_KEYS_MAX before 0.20)"
