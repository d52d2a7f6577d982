import abc
import dataclasses
import enum
import typing


class Meta(type):
    def __new__(mcls, name, bases, namespace, **kwargs):
        return super().__new__(mcls, name, bases, namespace)

    def __call__(cls, *args, **kwargs):
        return super().__call__(*args, **kwargs)


class Base(metaclass=Meta):
    def __init__(self, x):
        self.x = x

    @property
    def double(self):
        return self.x * 2

    @classmethod
    def make(cls, x):
        return cls(x)

    @staticmethod
    def plain(x):
        return x

    def __add__(self, other):
        return type(self)(self.x + other.x)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return False

    def __getattr__(self, name):
        return f"missing {name}"

    def __len__(self):
        return 3

    def __getitem__(self, i):
        if i >= 3:
            raise IndexError(i)
        return i


class Derived(Base):
    def __init__(self, x):
        super().__init__(x)

    def method(self):
        return super().plain(self.x)


@dataclasses.dataclass
class Point:
    x: int
    y: float = 1.5


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Abstract(abc.ABC):
    @abc.abstractmethod
    def f(self): ...


class Pair(typing.NamedTuple):
    a: int
    b: str


class Slots:
    __slots__ = ("a",)


d = Derived.make(5)
d.method()
d.double
d.nothing
(d + Derived(1)).x
with d as e:
    list(e)
len(d)
Base.plain(d)
Point(1)
Point(1) == Point(1, 1.5)
Colour(1)
Pair(1, "x")
Slots()
for value in (d, Point, Colour.RED, Pair(1, "b"), Abstract, Meta, d.method, Slots(), super):
    Base.plain(value)
