import threading

calls = []
lock = threading.Lock()
lock.acquire()


class Raises:
    def __repr__(self):
        calls.append("raises")
        raise RuntimeError("no repr")

    __str__ = __repr__


class Recurses:
    def __repr__(self):
        calls.append("recurses")
        return repr(self)


class Blocks:
    def __repr__(self):
        calls.append("blocks")
        lock.acquire()


class Counts:
    def __repr__(self):
        calls.append("counts")
        return "counted"

    def __getattribute__(self, name):
        calls.append(name)
        return object.__getattribute__(self, name)

    def __hash__(self):
        calls.append("hash")
        return 1

    def __eq__(self, other):
        calls.append("eq")
        return False

    def __len__(self):
        calls.append("len")
        return 0

    def __bool__(self):
        calls.append("bool")
        return True

    def __call__(self):
        return self


class Meta(type):
    def __repr__(cls):
        calls.append("meta repr")
        return "meta"

    def __getattribute__(cls, name):
        if name not in ("__prepare__", "__call__"):
            calls.append(name)
        return type.__getattribute__(cls, name)


class WithMeta(metaclass=Meta):
    pass


class List(list):
    def __repr__(self):
        calls.append("list")
        return "list"

    def __iter__(self):
        calls.append("iter")
        return iter(())


class Int(int):
    def __repr__(self):
        calls.append("int")
        return "int"

    __index__ = __int__ = __str__ = __repr__


class Deleted:
    def __del__(self):
        deleted.append(1)


def give(x):
    return x


def stream(x):
    yield x


deleted = []
values = [Raises(), Recurses(), Blocks(), Counts(), List([1]), Int(3), {"k": Raises()}, [Blocks()]]
values.append((Counts(),))
values.append(WithMeta)
with_meta = WithMeta()
values.append(with_meta)
hashed = {}
del calls[:]
for value in values:
    give(value)
    next(stream(value))
values[3]()
give(Deleted())
assert deleted == [1], deleted
deep = []
exec("for _ in range(10_000): deep = [deep]")
give(deep)
exec("while deep: deep = deep[0]")  # taken apart bit by bit, in code that is not compared
assert calls == [], calls
