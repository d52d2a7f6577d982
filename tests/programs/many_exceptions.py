"""100,000 exceptions, each through five frames."""


def one(n):
    raise ValueError(n)


def two(n):
    one(n)


def three(n):
    two(n)


def four(n):
    three(n)


def five(n):
    four(n)


for i in range(100_000):
    try:
        five(i)
    except ValueError:
        pass
