"""Exceptions with known numbers: caught, passed by finally and with, swallowed by C code."""


class Resource:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    @property
    def missing(self):
        raise AttributeError("missing")


def deep(n):
    if n == 0:
        raise ValueError("deep")
    deep(n - 1)


def caught():
    try:
        deep(2)
    except ValueError:
        return -1


def passed():
    try:
        with Resource():
            deep(0)
    finally:
        len("")


def again():
    try:
        deep(1)
    except ValueError:
        caught()
        raise


def from_c():
    try:
        int("x")
    except ValueError:
        return None


for _ in range(5):
    caught()
for function, times in (passed, 3), (again, 2):
    for _ in range(times):
        try:
            function()
        except ValueError:
            pass
for _ in range(4):
    hasattr(Resource(), "missing")
for _ in range(6):
    from_c()
