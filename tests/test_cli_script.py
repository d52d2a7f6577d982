"""Level one: scripts as the command rewrites them, and bpftrace's output as it reads it."""

import re

import pytest
from command import module
from conftest import ROOT

script = module("script")
decode = module("decode")

V17, V23, V27 = (0, 17), (0, 23), (0, 27)
TOOLS = sorted((ROOT / "tools").glob("py*.bt"))


def rewrite(text, version=V17, machine="x86_64", pid=None):
    return script.rewrite(text, script.Form(version, machine, "/l/libpyusdt.so", pid))


@pytest.mark.parametrize("path", [*TOOLS, ROOT / "sample.bt"], ids=lambda p: p.name)
def test_pieces_are_the_script(path):
    text = path.read_text()
    parts = [p if isinstance(p, str) else p.head + p.body for p in script.pieces(text)]
    assert "".join(parts) == text
    assert script.clauses(text)


@pytest.mark.parametrize(
    "point",
    [
        "usdt:./libpyusdt.so:pyusdt:CALL",
        'usdt:"/a b/libpyusdt.so":pyusdt:CALL',
        "usdt::pyusdt:CALL",
        "usdt:*:pyusdt:CALL",
        "U:./libpyusdt.so:pyusdt:CALL",
    ],
)
def test_library(point):
    assert rewrite(point + " { @ = count(); }") == (
        'usdt:"/l/libpyusdt.so":pyusdt:CALL { @ = count(); }'
    )


def test_only_our_probes_change():
    text = 'usdt:./libc.so:libc:setjmp { printf("usdt::pyusdt:CALL arg6"); }\nBEGIN { @a = 1; }\n'
    assert rewrite(text) == text


def test_comments_and_strings_stay():
    text = (
        "#!/usr/bin/env bpftrace\n// usdt::pyusdt:CALL { arg6 }\n"
        '/* } arg7 */\nusdt::pyusdt:CALL { /* arg6 */ printf("arg6 }", arg6); // arg7\n }\n'
    )
    assert rewrite(text) == (
        "#!/usr/bin/env bpftrace\n// usdt::pyusdt:CALL { arg6 }\n"
        '/* } arg7 */\nusdt:"/l/libpyusdt.so":pyusdt:CALL '
        '{ /* arg6 */ printf("arg6 }", reg("r8")); // arg7\n }\n'
    )


@pytest.mark.parametrize(
    ("version", "machine", "wanted"),
    [
        (V17, "x86_64", ('reg("r8")', 'reg("r9")', 'reg("r8")')),
        (V23, "x86_64", ('reg("r8")', 'reg("r9")', 'reg("r8")')),
        (V27, "x86_64", ("arg6", "arg7", "arg6")),
        (V17, "aarch64", ("arg6", "arg7", "arg6")),
    ],
)
def test_arguments(version, machine, wanted):
    text = 'usdt::pyusdt:CALL /arg6/ { @[arg7] = reg("r8"); @arg6x = arg5; }'
    assert rewrite(text, version, machine) == (
        f'usdt:"/l/libpyusdt.so":pyusdt:CALL /{wanted[0]}/ '
        f"{{ @[{wanted[1]}] = {wanted[2]}; @arg6x = arg5; }}"
    )


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        ("usdt::pyusdt:CALL ", 'usdt:"/l/libpyusdt.so":pyusdt:CALL /pid == 7/\n'),
        (
            "usdt::pyusdt:CALL,\nusdt::pyusdt:LINE\n/ @x[tid] / ",
            'usdt:"/l/libpyusdt.so":pyusdt:CALL,\nusdt:"/l/libpyusdt.so":pyusdt:LINE\n'
            "/pid == 7 && (@x[tid])/ ",
        ),
        ("tracepoint:syscalls:sys_enter_read /@x || @y/", None),
        ("profile:hz:99 ", "profile:hz:99 /pid == 7/\n"),
        ("tracepoint:sched:sched_switch ", "tracepoint:sched:sched_switch "),
        ("interval:s:1 ", "interval:s:1 "),
        ("BEGIN ", "BEGIN "),
    ],
)
def test_process(head, wanted):
    wanted = wanted or "tracepoint:syscalls:sys_enter_read /pid == 7 && (@x || @y)/"
    assert rewrite(head + "{ @ = 1; }", pid=7) == wanted + "{ @ = 1; }"


def test_predicate_between_comments():
    text = "usdt::pyusdt:CALL // a / b\n/ arg2 / 2 > 1 / /* c / d */ { @ = 1; }"
    assert rewrite(text, pid=7) == (
        'usdt:"/l/libpyusdt.so":pyusdt:CALL // a / b\n'
        "/pid == 7 && (arg2 / 2 > 1)/ /* c / d */ { @ = 1; }"
    )


def test_probes_that_the_library_lacks():
    form = script.Form(V17, "x86_64", "/l", None, frozenset({"CALL", "BRANCH"}))
    text = "usdt::pyusdt:BRANCH,\nusdt::pyusdt:BRANCH_LEFT /arg2/ { }"
    made = script.rewrite(text, form)
    assert made == '\nusdt:"/l":pyusdt:BRANCH\n/arg2/\n{ }'
    assert script.missing(made, form.probes) == []
    assert script.missing("usdt::pyusdt:NONE { }", form.probes) == ["NONE"]
    assert script.missing("usdt::pyusdt:C* { } usdt::pyusdt:X* { }", form.probes) == ["X*"]


def test_odd_paths():
    form = script.Form(V17, "x86_64", '/a "b\\/lib.so')
    assert script.rewrite("usdt::pyusdt:CALL {}", form).startswith(
        'usdt:"/a \\"b\\\\/lib.so":pyusdt:CALL'
    )


def test_marks_go_into_the_one_end():
    text = "BEGIN { @a = 1; }\nEND { clear(@a); }\n"
    marked = script.with_marks(text)
    assert marked.count("END {") == 1
    assert f'printf("{script.ENDED}\\n"); clear(@a); }}' in marked
    assert script.with_marks("BEGIN { @a = 1; }").count("END {") == 1


def test_config_and_struct_are_no_probes():
    text = "config = { max_strlen = 9 }\nstruct x { int a; };\nusdt::pyusdt:CALL { }\n"
    assert rewrite(text, pid=7) == (
        "config = { max_strlen = 9 }\nstruct x { int a; };\n"
        'usdt:"/l/libpyusdt.so":pyusdt:CALL /pid == 7/\n{ }\n'
    )


def test_refresh_leaves_private_maps_out():
    text = "usdt::pyusdt:CALL { @a[tid] = count(); @b = 1; @ = 2; } END { clear(@b); }"
    assert script.refresh_clause(text, 0.5, "x\n") == (
        'interval:ms:500 { print(@a); print(@); printf("x\\n"); }\n'
    )


def test_values_of_printf():
    text = (
        'BEGIN { printf("%-5s %s\\n", "TID", "FILE:LINE"); }\n'
        'usdt::pyusdt:CALL { printf("%-5d %s (%s:%d) %d%%\\n", tid, str(arg5), str(arg1), arg2,'
        ' (nsecs - @start[tid]) / 1000); printf("none\\n"); }'
    )
    made, names = script.structured(text)
    assert 'printf("\\x1f0\\x1f%d\\x1f%s\\x1f%s\\x1f%d\\x1f%d\\n", tid, str(arg5)' in made
    assert 'printf("none\\n")' in made
    assert made.startswith(text[:50])
    assert names == [["tid", "function", "file", "line", "field5"]]


def test_heading_names_the_values():
    text = (
        'BEGIN { printf("%-5s %s\\n", "TID", "USECS"); }\n'
        'usdt::pyusdt:CALL { printf("%d %d\\n", pid, 1); }'
    )
    assert script.structured(text)[1] == [["tid", "usecs"]]


def test_heading_names_what_cannot_be_told():
    text = (
        'BEGIN { printf("%-8s %12s %10s  %s\\n", "TID", "TIME(us)", "USECS", "FUNCTION"); }\n'
        'usdt::pyusdt:CALL { printf("%-8d %12d %10d  %s-> %s\\n", tid, nsecs / 1000, '
        "$ns / 1000, @indent[$i], str(arg5)); }"
    )
    assert script.structured(text)[1] == [["tid", "time_us", "usecs", "indent", "function"]]


def test_keys():
    text = "usdt::pyusdt:CALL { @a[tid, $fn, str(arg4)] = count(); @b[(uint64)arg2] = 1; }"
    assert script.keys_of(text) == {"@a": ["tid", "fn", "value"], "@b": ["line"]}


def test_arguments_of_other_probes():
    text = 'usdt::pyusdt:GC_DONE { @a[arg0] = count(); printf("%d %d\\n", arg1, arg3); }'
    names = {"arg0": "generation", "arg1": "collected", "arg3": "duration"}

    def arguments(probe):
        return names if probe == "GC_DONE" else {}

    assert script.keys_of(text, arguments) == {"@a": ["generation"]}
    assert script.structured(text, arguments)[1] == [["collected", "duration"]]


# ---- the output ----


def test_bytes_that_are_not_ascii():
    assert decode.text_of("x\uffffffc3\uffffffa9y") == "xéy"
    assert decode.text_of("é plain") == "é plain"
    # A text that was cut in the middle of a character.
    assert decode.text_of("x\uffffffc3") == "x�"


@pytest.mark.parametrize(
    ("line", "version", "values"),
    [
        ('{"type": "map", "data": {"@a": {"12,3": 5}}}', V17, {(12, 3): 5}),
        ('{"type": "map", "data": {"@a": 5}}', V17, {(): 5}),
        ('{"type": "map", "data": {"@a": {"12,a,b": 5}}}', V17, {(12, "a,b"): 5}),
        (r'{"type": "map", "data": {"@a": {"a\\b": 5}}}', V27, {("a\\b",): 5}),
        (r'{"type": "map", "data": {"@a": {"a\\\\b\\n": 5}}}', V23, {("a\\b\n",): 5}),
        (r'{"type": "map", "data": {"@a": {"\\uffffffc3\\uffffffa9": 5}}}', V23, {("é",): 5}),
        (
            r'{"type": "map", "data": {"@a": {"1": ["\uffffffc3\uffffffa9", 2]}}}',
            V17,
            {(1,): ["é", 2]},
        ),
        (
            '{"type": "stats", "data": {"@a": {"count": 1, "average": 2, "total": 3}}}',
            V17,
            {(): {"count": 1, "average": 2, "total": 3}},
        ),
    ],
)
def test_maps(line, version, values):
    event = decode.event_of(line, version)
    assert (event.name, event.values) == ("@a", values)


def test_losses():
    for line in (
        '{"type": "lost_events", "data": {"events": 7}}',
        '{"type": "lost_events", "count": 7, "data": {"events": 7}}',
    ):
        assert decode.event_of(line, V17) == decode.Lost(7)
    # 0.27 after it has escaped a character: no json.
    line = '{"type": "lost_events", "count": d1d, "data": {"events": d1d}}'
    assert decode.event_of(line, V27, is_hex=True) == decode.Lost(0xD1D)
    assert decode.event_of(line.replace("d1d", "10"), V27, is_hex=True) == decode.Lost(16)


def test_counts_after_an_escape():
    """0.27 goes on in hexadecimal: 24 may be 36, and 1e is no JSON."""
    assert not decode.is_hex_after(r'{"data": "plain \n \\u0041"}', False, V27)
    assert decode.is_hex_after(r'{"data": "caf\uffffffc3\uffffffa9"}', False, V27)
    assert decode.is_hex_after("", True, V27)
    assert not decode.is_hex_after(r'{"data": "caf\uffffffc3"}', False, V17)

    def counts(key, count, **options):
        line = '{"type": "hist", "data": {"@h": {"%s": [{"min": 1, "max": 24, "count": %s}]}}}'
        event = decode.event_of(line % (key, count), V27, **options)
        return {
            key: [bucket["count"] for bucket in buckets] for key, buckets in event.values.items()
        }

    (five,) = counts("5", "24")
    assert counts("5", "24") == {five: [24]}
    assert counts("5", "24", is_hex=True) == {five: [36]}
    assert counts("5", "1e", is_hex=True) == {five: [30]}
    assert list(counts(r"\uffffffc3\uffffffa9", "1e").values()) == [[30]]


def test_other_lines():
    assert decode.event_of("", V17) is None
    assert isinstance(decode.event_of("no json", V17), decode.Trouble)
    assert decode.event_of('{"type": "printf", "data": "a\\n"}', V17) == decode.Printed("a\n")


# ---- the tools ----


@pytest.mark.parametrize("path", TOOLS, ids=lambda p: p.name)
def test_tool_explains_itself(path):
    tool = module("tools")._tool(path)
    assert re.fullmatch(r"[a-z]+", tool.name)
    assert 10 < len(tool.summary) < 90
    for word in ("USAGE", "VERSIONS", "OVERHEAD"):
        assert word in tool.about
