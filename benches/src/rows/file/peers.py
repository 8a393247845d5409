"""The peers in Python, as `locks-benches` starts them."""

import os
import random
import struct
import sys
import time

TIMEOUT = 60
PATIENCE = 30
GONE = 2**64 - 1


def contestant(name, path):
    """How to take and how to give back the lock on `path`."""
    if name == "filelock":
        import filelock

        lock = filelock.FileLock(path, timeout=TIMEOUT)
    elif name == "portalocker":
        import portalocker

        lock = portalocker.Lock(path, timeout=TIMEOUT)
    else:
        import locket

        lock = locket.lock_file(path, timeout=TIMEOUT)
    return lock.acquire, lock.release


def alone(take, give):
    """Reads how often to lock, and answers with the nanoseconds that it took."""
    for line in sys.stdin:
        times = range(int(line))
        start = time.monotonic_ns()
        for _ in times:
            take()
            give()
        print(time.monotonic_ns() - start, flush=True)


class Board:
    """What `board.rs` says."""

    def __init__(self, path, processes):
        self.file = os.open(path, os.O_RDWR)
        self.processes = processes

    def read(self, cell):
        return struct.unpack("<Q", os.pread(self.file, 8, cell * 8))[0]

    def write(self, cell, value):
        os.pwrite(self.file, struct.pack("<Q", value), cell * 8)

    def count(self, cell):
        self.write(cell, self.read(cell) + 1)

    def grants(self):
        return sum(self.read(process * 2 + 1) for process in range(self.processes))

    def others_wait(self, process):
        return all(
            self.read(other * 2) > self.read(other * 2 + 1)
            for other in range(self.processes)
            if other != process
        )


def until(done):
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            sys.exit("another process has died, or two hold the lock at once")
        time.sleep(0.0001)


def take_turns(take, give, board, process, processes, last, hold):
    """What `child.rs` does."""
    board = Board(board, processes)
    turns = []
    while True:
        board.count(process * 2)
        take()
        granted = time.monotonic_ns()
        board.count(process * 2 + 1)
        grants = board.grants()
        if grants > last:
            board.write(process * 2, GONE)
            give()
            break
        until(lambda: board.others_wait(process))
        time.sleep(random.uniform(0.0005, hold / 1e6))
        released = time.monotonic_ns()
        give()
        turns.append((granted, released))
        until(lambda: board.grants() > grants)
    for granted, released in turns:
        print(granted, released)


def main():
    what, name, path, *part = sys.argv[1:]
    lock = contestant(name, path)
    if what == "alone":
        alone(*lock)
    else:
        board, *numbers = part
        take_turns(*lock, board, *map(int, numbers))


main()
