"""Does what its standard input says, a command a line, and answers each with a line: for the tests of the client."""

import os
import sys

from locks_client import Client, LockError

# A machine that is busy with other tests answers late.
client = Client(sys.argv[1], label="python", secret_file=sys.argv[2] if len(sys.argv) > 2 else None, lease=2, connect=30)
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


COMMANDS = {
    "acquire": acquire,
    "check": lambda name: holds[name].lost or "held",
    "forked": forked,
    "wait_lost": lambda name: holds[name].wait_lost(30) or "held",
    "renew": lambda name: holds[name].renew() or "renewed",
    "release": lambda name: holds.pop(name).release() or "released",
}

for line in sys.stdin:
    command, *arguments = line.rstrip("\n").split("\t")
    try:
        print("ok", COMMANDS[command](*arguments), flush=True)
    except LockError as error:
        print(error.kind, str(error).replace("\n", " "), flush=True)
