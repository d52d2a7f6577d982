def big():
    return "x" * 10_000_000


def wide():
    return "日本" * 5_000_000


def many():
    return list(range(1_000_000))


assert len(big()) == 10_000_000
assert len(wide()) == 10_000_000
assert len(many()) == 1_000_000
