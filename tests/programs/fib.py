import sys
import threading


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def main(threads):
    if threads == 1:
        fib(20)
        return
    running = [threading.Thread(target=fib, args=(20,)) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
