import bisect
import collections
import functools
import re


def key(x):
    return -x


def compare(a, b):
    return (a > b) - (a < b)


def replace(match):
    return match.group().upper()


class Missing(dict):
    def __missing__(self, k):
        self[k] = k
        return k


class Iter:
    def __init__(self):
        self.n = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.n += 1
        if self.n > 3:
            raise StopIteration
        return self.n


class Hash:
    def __hash__(self):
        return 7

    def __eq__(self, other):
        return self is other


sorted([3, 1, 2], key=key)
sorted([3, 1, 2], key=functools.cmp_to_key(compare))
list(map(key, range(3)))
list(filter(lambda x: x % 2, range(4)))
re.sub("[a-c]", replace, "abcd")
Missing()["x"]
list(Iter())
max(range(3), key=key)
{Hash(): 1, Hash(): 2}
collections.defaultdict(lambda: "made")["k"]
bisect.bisect([1, 2, 3], -2, key=key)
iter_two = list(iter(Iter().__next__, 3))
eval("key(1)")
exec("key(2)")
getattr(Iter(), "n")
