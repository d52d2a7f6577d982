import threading
from concurrent.futures import ThreadPoolExecutor


def work(n):
    if n == 0:
        return 0
    return n + work(n - 1)


def generate(n):
    for i in range(n):
        yield work(i)


def run(n):
    return sum(generate(n))


threads = [threading.Thread(target=run, args=(n,)) for n in range(2, 8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

with ThreadPoolExecutor(3) as pool:
    assert list(pool.map(work, range(6))) == [0, 1, 3, 6, 10, 15]
