"""Level one: the text of any value that hypothesis can think of, against the oracle's.

hypothesis builds expressions, text_worker.py evaluates them in the interpreter
under test.  The suite runs the same examples every time; PYUSDT_FUZZ_EXAMPLES=N runs
N new ones.
"""

import json
import subprocess

import pytest
from conftest import ROOT
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

# From the smallest buffer on; 17 and 4097 are PYUSDT_VALUE_MAX at its bounds.
SIZES = [*range(8, 41), 64, 65, 128, 129, 255, 1000, 4097]

# ---- expressions ----

characters = st.characters(exclude_categories=())  # surrogates, too
texts = st.one_of(
    st.text(characters),
    st.text(st.sampled_from("'\"\\\n\t\r\0\x7f\x80\xad\u200b\ud800\udcffaé日😀")),
    st.builds(lambda text, n: text * n, st.text(characters, min_size=1), st.integers(1, 200)),
)
byte_strings = st.one_of(
    st.binary(),
    st.lists(st.sampled_from(b"'\"\\\n\t\0\x7f\xffa")).map(bytes),
    st.builds(lambda data, n: data * n, st.binary(min_size=1), st.integers(1, 200)),
)
integers = st.one_of(
    st.integers(),
    st.builds(lambda n, bits: n << bits, st.integers(-3, 3), st.integers(0, 5000)),
    st.builds(lambda n, bits: n + (1 << bits), st.integers(-2, 2), st.integers(60, 66)),
)


def number(value):
    """Hexadecimal: a long decimal literal is refused."""
    return hex(value) if value >= 0 else f"({hex(value)})"


strings = texts.map(ascii)
floats = st.one_of(
    st.integers(0, 2**64 - 1).map(lambda bits: f"f64({bits:#x})"),
    st.floats().map(lambda f: f"float({str(f)!r})"),
    st.integers(0, 2**52).map(lambda bits: f"f64({bits:#x})"),  # subnormals
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda d: f"float('{d}')"),
)
BASES = ["object", "int", "str", "bytes", "float", "list", "tuple", "dict", "set", "Exception"]
bases = st.sampled_from(BASES)
KNOWN = """
None; True; False; ...; NotImplemented; type; object; int; str; len; print; [].append; 'x'.join;
str.join; dict.fromkeys; object.__init__; object().__init__; int.__add__; (1).__add__; Plain;
Plain(); Plain.Inner; Plain.Inner(); Plain.method; Plain().method; Plain().__init__; sys;
types.SimpleNamespace(); memoryview(b'x'); bytearray(b'x'); range(3); 1j; set('a');
frozenset('a'); iter([]); generator; generator(); generator().send; (lambda: 0); list[int];
int | str; property(); staticmethod(len); classmethod(len); slice(1); map(len, []); sys.flags;
sys.monitoring; sys.stderr; object.__dict__['__class__']; dict.__dict__['fromkeys']; Exception;
ValueError(1); KeyError('x'); OSError(2, 'no'); OSError(2, 'no', 'file');
UnicodeDecodeError('a', b'b', 0, 1, 'c'); StopIteration(); ExceptionGroup('e', [ValueError()]);
SystemExit(3); type(None); type(...); [].__class_getitem__; type.mro; int.from_bytes;
type.__call__; object.__new__; bytes.maketrans
"""
WORDS = [word.strip() for word in KNOWN.split(";")]
known = st.sampled_from(WORDS)
hashable = st.one_of(
    known.filter(lambda word: word in ("None", "True", "False", "...", "len", "int", "Plain()")),
    strings,
    byte_strings.map(repr),
    integers.map(number),
    floats,
)
module_names = st.one_of(strings, st.sampled_from(["'builtins'", "None", "1", "'a.b'"]))


@st.composite
def class_names(draw):
    """A class's name has no NUL, no surrogate and no dot; its qualified name may have all."""
    name = draw(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0.")))
    return ascii(name)


named = st.one_of(
    st.builds("named_class({}, {}, {})".format, class_names(), strings, module_names),
    st.builds("named_class({}, {}, {})()".format, class_names(), strings, module_names),
    st.builds("named_function({}, {})".format, strings, strings),
)
strange = st.one_of(
    st.builds("hostile({})".format, bases),
    st.builds("hostile_class({})".format, bases),
    st.builds("hostile_instance({})".format, bases),
    st.builds("subclass({})".format, bases),
)
leaves = st.one_of(
    known, strings, byte_strings.map(repr), integers.map(number), floats, named, strange
)


def containers(values):
    items = st.lists(values, max_size=4)
    return st.one_of(
        items.map(lambda v: f"[{', '.join(v)}]"),
        items.map(lambda v: f"({''.join(x + ', ' for x in v)})"),
        st.lists(st.tuples(hashable, values), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{k}: {v}" for k, v in pairs) + "}"
        ),
        st.builds("[{}] * {}".format, values, st.sampled_from([3, 50, 5000])),
        st.builds("({},) * {}".format, values, st.sampled_from([3, 50, 5000])),
        st.builds("dict.fromkeys(range({1}), {0})".format, values, st.sampled_from([3, 50, 5000])),
        st.builds("looped({})".format, values),
        st.builds("looped_dict({})".format, values),
        st.builds("deep({}, {})".format, values, st.sampled_from([1, 2, 3, 4, 5, 3000])),
        items.map(lambda v: f"ValueError({', '.join(v)})"),
        st.builds(
            lambda n, v: f"named_error({n}, [{', '.join(v)}])",
            class_names(),
            items,
        ),
        st.builds("hostile(ValueError, {})".format, values),
        st.builds("hostile_instance(ValueError, {})".format, values),
        st.builds("hostile(list, [{}])".format, values),
        st.builds("subclass(tuple, [{}])".format, values),
        st.builds("method({}, {})".format, st.sampled_from(["len", "generator"]), values),
        st.builds("method({}, {})".format, named.filter(lambda e: "function" in e), values),
        st.builds("method(partial(1), {})".format, values),
        st.builds("partial({})".format, values),
        st.builds("types.SimpleNamespace(a={})".format, values),
        st.builds("[({}), 1].append".format, values),
    )


@st.composite
def expressions(draw, depth=0):
    """Not st.recursive(): hypothesis would take minutes to shrink it."""
    if depth == 6 or draw(st.booleans()):
        return draw(leaves)
    return draw(containers(expressions(depth + 1)))


# ---- the test ----


class Worker:
    """text_worker.py in one interpreter; started again after a crash."""

    def __init__(self, python, text_module):
        self.command = [python.path, str(ROOT / "tests" / "text_worker.py"), text_module]
        self.env = python.env()
        self.process = None

    def ask(self, expression, sizes):
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.process.stdin.write(json.dumps([expression, sizes]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line == "":
            errors = self.stop()
            raise AssertionError(f"the worker has died of {expression}: {errors}")
        return json.loads(line)

    def stop(self):
        process, self.process = self.process, None
        if process is None:
            return ""
        _, errors = process.communicate(timeout=60)
        return f"exit code {process.returncode}: {errors}"


@pytest.fixture(scope="session")
def worker(python, text_module):
    worker = Worker(python, text_module)
    yield worker
    assert worker.stop() in ("", "exit code 0: ")


@pytest.mark.parametrize("expression", WORDS)
def test_known_value(worker, expression):
    assert worker.ask(expression, SIZES) is None


@examples
@given(expressions(), st.lists(st.integers(8, 4097), max_size=3))
def test_any_value(worker, expression, sizes):
    assert worker.ask(expression, [*SIZES, *sizes]) is None
