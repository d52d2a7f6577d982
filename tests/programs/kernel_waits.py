"""Known waits, page faults and loops.  Prints its numbers as JSON."""

import json
import mmap
import os
import sys
import threading
import time

PAGE = mmap.PAGESIZE


def naps():
    for _ in range(4):
        time.sleep(0.02)


def reads(file):
    os.read(file, 1)


def waits(lock):
    with lock:
        pass


def until_in(thread, *calls):
    """Returns when the thread sleeps in one of these system calls, seen twice in a row."""
    seen = 0
    while seen < 2:
        time.sleep(0.005)
        with open(f"/proc/self/task/{thread.native_id}/syscall") as file:
            seen = seen + 1 if file.read().split()[0] in calls else 0


def holds():
    """Another thread waits for the lock, and another one for the pipe."""
    lock = threading.Lock()
    reader, writer = os.pipe()
    threads = [
        threading.Thread(target=waits, args=(lock,)),
        threading.Thread(target=reads, args=(reader,)),
    ]
    lock.acquire()
    for thread in threads:
        thread.start()
    # From when both wait: in futex() and read(), of x86-64 and arm64.
    until_in(threads[0], "202", "98")
    until_in(threads[1], "0", "63")
    begin = time.monotonic_ns()
    time.sleep(0.1)
    held = time.monotonic_ns() - begin
    lock.release()
    os.write(writer, b"x")
    for thread in threads:
        thread.join()
    return held


def touches(pages):
    memory = mmap.mmap(-1, pages * PAGE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for i in range(pages):
        memory[i * PAGE] = 1


def touches_in_thread(pages):
    memory = mmap.mmap(-1, pages * PAGE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for i in range(pages):
        memory[i * PAGE] = 1


def long_loop(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def short_loop(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


def main(what):
    begin = time.monotonic_ns()
    held = 0
    if what == "waits":
        naps()
        held = holds()
    elif what == "faults":
        touches(500)
        in_thread(touches_in_thread, 300)
    else:
        long_loop(0.6)
        in_thread(short_loop, 0.2)
    print(json.dumps({"held": held, "whole": time.monotonic_ns() - begin}), flush=True)


main(sys.argv[1])
