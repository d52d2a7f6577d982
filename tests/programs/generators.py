def count(n):
    for i in range(n):
        got = yield i
        if got:
            yield got


def delegate(n):
    result = yield from count(n)
    return result


def closing():
    try:
        yield 1
        yield 2
    finally:
        cleanup()


def cleanup():
    return "clean"


def catching():
    try:
        yield "first"
    except ValueError as error:
        yield str(error)


list(count(5))
list(delegate(3))
g = count(3)
next(g)
g.send("sent")
for _ in g:
    pass

g = catching()
next(g)
g.throw(ValueError("thrown"))
next(g, None)

g = closing()
next(g)
next(g)
next(g, None)

total = sum(i * i for i in range(4))
nested = list(x + y for x in count(2) for y in count(2))
