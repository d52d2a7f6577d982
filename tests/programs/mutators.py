"""Threads that change what other threads return, raise and call. argv: rounds."""

import sys
import threading


class Shared:
    def __init__(self):
        self.x = 1

    def method(self):
        return self


class Error(Exception):
    pass


def named():
    pass


def other():
    return 1


LIST = [[], {}, "text", 1.5]
DICT = {"list": LIST, 1: (LIST, {})}
LIST.append(LIST)  # it contains itself
ERROR = Error(LIST)
CODES = named.__code__, other.__code__
THINGS = LIST, DICT, ERROR, Shared, Shared(), named, Shared().method, (LIST, DICT, ERROR)


def returns(thing):
    return thing


def yields():
    yield from THINGS


def raises():
    raise ERROR


def use(rounds):
    for _ in range(rounds):
        for thing in THINGS:
            returns(thing)
        for thing in yields():
            pass
        try:
            raises()
        except Error:
            pass
        named()
        Shared().method()


def change_list(i):
    LIST.append("é" * (i % 50))
    LIST.insert(0, {i: i})
    if len(LIST) > 40:
        del LIST[::2]
    if i % 100 == 0:
        LIST[:] = [LIST, DICT]
    LIST.sort(key=id)


def change_dict(i):
    DICT[f"key {i % 100}"] = [i, "ü", (i, i)]
    DICT.pop(f"key {(i * 7) % 100}", None)
    if i % 200 == 0:
        DICT.clear()


def change_error(i):
    ERROR.args = (f"text {i}", [i]) if i % 3 else ()
    ERROR.with_traceback(None)


def change_names(i):
    Shared.__name__ = f"Shared{i}"
    Shared.__module__ = f"module {i}"
    setattr(Shared, f"attribute{i % 100}", i)
    if i % 5 == 0:
        for name in [name for name in vars(Shared) if name.startswith("attribute")]:
            delattr(Shared, name)
    named.__code__ = CODES[i % 2]


def repeat(change, done):
    i = 0
    while not done.is_set():
        i += 1
        change(i)


def run(rounds):
    done = threading.Event()
    changes = change_list, change_dict, change_error, change_names
    changers = [threading.Thread(target=repeat, args=(change, done)) for change in changes]
    users = [threading.Thread(target=use, args=(rounds,)) for _ in range(4)]
    for thread in changers + users:
        thread.start()
    for thread in users:
        thread.join()
    done.set()
    for thread in changers:
        thread.join()


if __name__ == "__main__":
    run(int(sys.argv[1]))
