def f(x):
    return x * 2


squares = [f(i) for i in range(5)]
evens = {i for i in squares if i % 4 == 0}
table = {i: f(i) for i in range(3)}
lazy = list(f(i) for i in range(3))
nested = [[f(j) for j in range(i)] for i in range(3)]
flat = [x for row in nested for x in row]
fn = [lambda i=i: i for i in range(3)]
called = [g() for g in fn]
walrus = [y for x in range(4) if (y := f(x)) > 2]
