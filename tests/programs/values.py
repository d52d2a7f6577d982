import collections
import decimal
import io
import threading


def give(x):
    return x


def stream(items):
    for item in items:
        yield item


class Plain:
    pass


class Text(str):
    pass


class Number(int):
    pass


def function():
    pass


looped = [1]
looped.append(looped)
looped_dict = {}
looped_dict["me"] = looped_dict
for value in (
    None, True, False, 0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**100,
    -(10**40), 0.0, -0.0, 1.0, 0.1, -2.5, 1e15, 1e16, 123456789012345680.0, 1e-4, 1e-5, 1e300,
    5e-324, 1 / 3, 2 / 3, float("inf"), float("-inf"), float("nan"), 3.141592653589793, 1e22,
    9007199254740993.0, 0.001, 12345.678, 100.0, 1e-7, 123e45,
    "", "x", "it's", 'say "hi"', "it's \"both\"", "tab\tnew\nret\rnul\0\x7f\x80\xa0\xad", "\\",
    "é", "日本", "😀", "\u200b\ue000", "\udc80", "a" * 99, "a" * 98, "a" * 97, "a" * 200,
    "é" * 60, "日" * 40, "😀" * 30, "'" * 120, "a" * 120 + "'", "\n" * 80, "a" * 95 + "😀" * 5,
    b"", b"x", b"it's", b"\x00\xff\t\n\r\\'\"", b"z" * 500,
    [], [1], [1, 2, 3], (), (1,), (1, 2), {}, {"a": 1}, {1: [2, (3, {4: 5})]}, [[[[1]]]], [[[[]]]],
    ((((1,),),),), looped, looped_dict, list(range(100)), dict.fromkeys(range(100)),
    [None, True, 1.5, "s", b"b"], {1, 2}, frozenset({1}), 1 + 2j, ..., NotImplemented, range(3),
    Plain, Plain(), Text("t"), Number(5), function, give, print, len, [].append, "x".join, str.join,
    bytes.maketrans, dict.fromkeys, dict.__dict__["fromkeys"], object.__init__, object().__init__, Plain.__init__,
    int, type, object, collections.OrderedDict(), collections.deque([1]), decimal.Decimal(1),
    io.StringIO(), threading.Lock(), threading, Exception("x"), memoryview(b"x"), bytearray(b"x"),
    collections.namedtuple("N", "a b")(1, 2), Plain().__init__, iter([]), (x for x in ()),
    function.__get__(Plain()), [Plain, function], {"k": len},
    collections.namedtuple("Many", [f"field_{i}" for i in range(40)])(*range(40)),
):  # fmt: skip
    give(value)
    for _ in stream([value]):
        pass
