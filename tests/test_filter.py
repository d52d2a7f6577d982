"""Level one: include and exclude patterns (src/filter.c) against fnmatch.fnmatchcase()."""

import ctypes
import os
import re
import shlex
import subprocess
from fnmatch import fnmatchcase

import pytest
from conftest import ROOT
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

SIZE = 2048  # PYUSDT_PATTERNS_SIZE
SPACE = " \t\n\r"


class Filter:
    """filter.c as a shared object."""

    def __init__(self, path: str):
        self.c = ctypes.CDLL(path)
        self.c.pyusdt_filter_matches.restype = ctypes.c_bool
        self.c.pyusdt_filter_passes.restype = ctypes.c_bool
        self.c.pyusdt_filter_check.restype = ctypes.c_char_p

    def matches(self, patterns: str, *names: bytes | str) -> bool:
        return self.c.pyusdt_filter_matches(patterns.encode(), *self._names(names))

    def passes(self, include: str, exclude: str, *names: str) -> bool:
        both = include.encode().ljust(SIZE, b"\0") + exclude.encode().ljust(SIZE, b"\0")
        return self.c.pyusdt_filter_passes(both, *self._names(names))

    def check(self, patterns: bytes) -> str | None:
        complaint = self.c.pyusdt_filter_check(patterns, ctypes.c_size_t(len(patterns)))
        return complaint.decode() if complaint is not None else None

    @staticmethod
    def _names(names):
        encoded = [n.encode() if isinstance(n, str) else n for n in names]
        return (ctypes.c_char_p * len(encoded))(*encoded), len(encoded)


@pytest.fixture(scope="session")
def filters(tmp_path_factory) -> Filter:
    out = tmp_path_factory.mktemp("filter") / "filter.so"
    subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra"]
        # ctypes cannot load an object that needs a sanitizer's runtime: fuzz_filter.c has them.
        + ["-Werror", str(ROOT / "src/filter.c"), "-o", str(out)]
        + [f for f in shlex.split(os.environ.get("CFLAGS", "")) if "sanitize" not in f],
        check=True,
    )
    return Filter(str(out))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("app.orders.*", "app.orders.place", True),
        ("app.orders.*", "app.orders", False),
        ("*/site-packages/*", "/usr/lib/python3/site-packages/flask/app.py", True),
        ("*/site-packages/*", "site-packages/flask", False),
        ("<frozen *>", "<frozen importlib._bootstrap>", True),
        ("App.Orders", "app.orders", False),
        ("*", "", True),
        ("?", "", False),
        ("?", "é", True),
        ("??", "é", False),
        ("*[!é]", "é", False),
        ("[à-ü]", "é", True),
        ("[😀-😎]*", "😃!", True),
        ("[]]", "]", True),
        ("[!]]", "]", False),
        ("[]-a]", "^", True),
        ("a[", "a[", True),
        ("a[!]", "a[!]", True),
        ("[a-]", "-", True),
        ("[z-a]", "m", False),
        ("[!z-a]", "m", True),
        ("[\\]", "\\", True),
        ("\\*", "\\x", True),
        ("*.py", "a.py.py", True),
        ("*a*b*c", "xaxbxcxc", True),
        ("*a*b*c", "xaxbxcxb", False),
    ],
)
def test_one_pattern(filters, pattern, name, expected):
    assert fnmatchcase(name, pattern) == expected
    assert filters.matches(pattern, name) == expected


SPECIAL = "*?[]!-^\\ab&~|/.é😀"
characters = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
patterns = st.one_of(st.text(st.sampled_from(SPECIAL)), st.text(characters)).filter(
    lambda p: "," not in p and p == p.strip(SPACE)
)
names = st.one_of(
    st.text(st.sampled_from(SPECIAL)).map(str.encode),
    st.text(characters).map(str.encode),
    st.lists(st.sampled_from([b"a", b"b", b"\xc3", b"\xa9", b"\xf0\x9f", b"\xed\xa0\x80"])).map(
        b"".join
    ),
    st.binary().map(lambda b: b.replace(b"\0", b"")),
)


def oracle(pattern: str, name: bytes) -> bool:
    # A byte that is not UTF-8 is a character of its own.
    return fnmatchcase(name.decode("utf-8", "surrogateescape"), pattern)


def is_odd(pattern: str) -> bool:
    """fnmatch reads [z-a!b] as [!b]: it drops the empty range first."""
    return any(low > high for low, high in re.findall(r"\[(.)-(.)(?=[^]]*!)", pattern, re.DOTALL))


@examples
@given(patterns.filter(bool), names)
def test_any_pattern(filters, pattern, name):
    assume(not is_odd(pattern))
    assert filters.matches(pattern, name) == oracle(pattern, name)


@st.composite
def patterns_that_match(draw):
    """(pattern, name): the pattern is made of the name."""
    name = draw(st.one_of(st.text(st.sampled_from(SPECIAL)), st.text(characters)))
    pattern = ""
    for c in name:
        kind = draw(st.integers(0, 5))
        pattern += f"[{c}]" if c in "*?[" else [c, c, "?", f"[!{c}x]", f"[{c}-{c}]", "*"][kind]
    return pattern, name.encode()


@examples
@given(patterns_that_match())
def test_pattern_of_the_name(filters, both):
    pattern, name = both
    assume("," not in pattern and pattern and pattern == pattern.strip(SPACE))
    assume(not is_odd(pattern))
    assert filters.matches(pattern, name) == oracle(pattern, name)


@examples
@given(st.lists(patterns), st.lists(patterns), st.lists(names, max_size=3))
def test_include_and_exclude(filters, include, exclude, some):
    assume(not any(map(is_odd, include + exclude)))

    def matches(given):
        return any(oracle(p, name) for p in given if p for name in some)

    texts = [", ".join(include), "\t,".join(exclude)]
    assume(all(len(text.encode()) < SIZE for text in texts))
    expected = (not any(include) or matches(include)) and not matches(exclude)
    assert filters.passes(*texts, *some) == expected
    assert filters.matches(texts[0], *some) == matches(include)


def test_space_and_empty_patterns(filters):
    assert filters.matches(" a b ,\n c\t,, ,", "a b")
    assert filters.matches(" a b ,\n c\t,, ,", "c")
    for nothing in ["", " ", ",", " , ,\t\n"]:
        assert not filters.matches(nothing, "", "a")
        assert filters.passes(nothing, nothing, "a")
    assert not filters.passes("", "*", "a")
    assert not filters.passes("*", "*", "a")
    assert filters.passes("b, a", "c", "x", "a")


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 1000 + "b", "*[!b]" * 400 + "b", "*" + "[" * 2040, "*" * 2047, "*" + "?" * 2000 + "b"],
)
def test_work_is_bounded(filters, pattern):
    """Patterns that a matcher which backtracks would take for ever on."""
    assert filters.matches(pattern, "a" * 20000) == fnmatchcase("a" * 20000, pattern)


@pytest.mark.parametrize(
    ("patterns", "complaint"),
    [
        (b"", None),
        (b"a.*, b\n,\tc\r\n", None),
        ("é😀".encode(), None),
        (b"a" * 2047, None),
        (b"a" * 2048, "longer than 2047 bytes"),
        (b"a\0b", "has a control character"),
        (b"a\x1b[31m", "has a control character"),
        (b"a\x7f", "has a control character"),
        (b"a\xff", "not UTF-8"),
        (b"\xc3", "not UTF-8"),
        (b"\xed\xa0\x80", "not UTF-8"),
        (b"\xc0\x80", "not UTF-8"),
        (b"\xf4\x90\x80\x80", "not UTF-8"),
    ],
)
def test_check(filters, patterns, complaint):
    assert filters.check(patterns) == complaint


@examples
@given(st.one_of(names, st.binary()))
def test_check_any_bytes(filters, patterns):
    try:
        text = patterns.decode()
        controls = any((c < " " and c not in SPACE) or c == "\x7f" for c in text)
        expected = "has a control character" if controls else None
    except UnicodeDecodeError:
        expected = "not UTF-8"
    got = filters.check(patterns)
    # Of two things that are wrong the first is named.
    assert got == expected or (expected == "not UTF-8" and got == "has a control character")
