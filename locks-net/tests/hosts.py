"""Two hosts with a line between them, for the tests: two network namespaces with a TUN device each, and this process, which
carries packets from the one to the other: late, with every so manieth lost, or none at all.

Says which processes are in the two namespaces, so that others can enter them; does what its input says, and answers each
line; ends, and the hosts with it, when its input does."""

import ctypes
import fcntl
import heapq
import os
import select
import signal
import socket
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFFLAGS = 0x8916, 0x891C, 0x8914
IFF_UP_AND_RUNNING = 0x0041
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def host(number):
    """Makes a namespace, whose address is 10.77.0.`number`: its end of the line, and a process in it."""
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace can be made")
    line = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(line, TUNSETIFF, struct.pack("16sH14x", b"line", IFF_TUN | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        def address(request, dotted):
            named = struct.pack("16sHH4s8x", b"line", socket.AF_INET, 0, socket.inet_aton(dotted))
            fcntl.ioctl(control, request, named)

        address(SIOCSIFADDR, f"10.77.0.{number}")
        address(SIOCSIFNETMASK, "255.255.255.0")
        for device in (b"lo", b"line"):
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", device, IFF_UP_AND_RUNNING))
    inhabitant = os.fork()
    if inhabitant == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        while True:
            signal.pause()
    return line, inhabitant


def carry(lines):
    delay, lost, whole = 0.0, 0, True
    seen, under_way = [0, 0], []
    while True:
        left = max(under_way[0][0] - time.monotonic(), 0) if under_way else None
        for ready in select.select([*lines, sys.stdin], [], [], left)[0]:
            if ready is sys.stdin:
                match sys.stdin.readline().split():
                    case []:
                        return
                    case ["slow", millis, every]:
                        delay, lost = int(millis) / 1000, int(every)
                    case ["cut"]:
                        whole = False
                        under_way.clear()
                    case ["heal"]:
                        whole = True
                print("ok", flush=True)
                continue
            end = lines.index(ready)
            packet = os.read(ready, 65536)
            seen[end] += 1
            if whole and not (lost and seen[end] % lost == 0):
                heapq.heappush(under_way, (time.monotonic() + delay, sum(seen), lines[1 - end], packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, to, packet = heapq.heappop(under_way)
            try:
                os.write(to, packet)
            except OSError:
                pass            # as a line does that has no room


# Unbuffered, or `select` would not see what is in the buffer.
sys.stdin = open(0, buffering=1, closefd=False)
(first, one), (second, other) = host(1), host(2)
print(one, other, flush=True)
carry([first, second])
os.kill(one, signal.SIGKILL)
os.kill(other, signal.SIGKILL)
