"""Does what its standard input says, a command a line, and answers each with a line: for the tests of the client."""

import os
import resource
import sys
import time

from locks_client import Client, LockError

def open_files(count):
    """Has so many files, so that what is opened next has a greater number."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for _ in range(count):
        os.open("/dev/null", os.O_RDONLY)


url, secret_file, files = sys.argv[1:] + [None, 0][len(sys.argv) - 2:]
open_files(int(files))
# A machine that is busy with other tests answers late.
client = Client(url, label="python", secret_file=secret_file or None, lease=2, connect=30)
holds = {}


def acquire(name, key, timeout="", *options):
    named = dict(option.split("=") for option in options)
    number = {"permits": int, "take": int}
    given = {option: number.get(option, float)(value) for option, value in named.items() if option != "shared"}
    holds[name] = client.acquire(key, timeout=float(timeout) if timeout else None, shared="shared" in named, **given)
    return holds[name].token


def forked(name):
    """What a child that was forked without `exec` knows of it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, (holds[name].lost or "held").encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as said:
        return said.read()


def connect(seconds):
    client._connect = float(seconds)
    return client._connect


def connection(wanted):
    """Waits until there is one, or none."""
    while (client._socket is not None) != (wanted == "there"):
        time.sleep(0.001)
    return wanted


def nonsense():
    """Asks for something that no server knows."""
    return client._call(lambda call: b"\xc8")


COMMANDS = {
    "acquire": acquire,
    "close": lambda: client.close() or "closed",
    "connect": connect,
    "nonsense": nonsense,
    "connection": connection,
    "check": lambda name: holds[name].lost or "held",
    "forked": forked,
    "wait_lost": lambda name: holds[name].wait_lost(30) or "held",
    "renew": lambda name: holds[name].renew() or "renewed",
    "release": lambda name: holds.pop(name).release() or "released",
    "release_and_check": lambda name: holds[name].release() or holds[name].check() or "held",
}

for line in sys.stdin:
    command, *arguments = line.rstrip("\n").split("\t")
    try:
        print("ok", COMMANDS[command](*arguments), flush=True)
    except LockError as error:
        print(error.kind, str(error).replace("\n", " "), flush=True)
