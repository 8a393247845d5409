"""A client of the lock server for Python, with nothing but the standard library.

Written from locks-net/PROTOCOL.md, as an example of a client in another language:

    with Client("unix:///run/locks/locks.sock") as client:
        with client.acquire("invoice:42", timeout=2) as hold:
            write_invoice(fencing_token=hold.token)
            hold.check()          # raises Lost once somebody else has it

A client is for one process, and its threads share it. It reconnects by itself and goes on with what it holds. What it
leaves out of what the page allows: scopes, nesting, lists, messages, and the second connection beside a silent one; it
closes a silent connection, and makes another one.
"""

import collections
import hashlib
import hmac
import itertools
import os
import pwd
import re
import select
import socket
import ssl
import struct
import threading
import time
import urllib.parse

VERSIONS = range(1, 2)              # of the protocol, all that are spoken here
REASONS = {1: "Contended", 2: "Timeout", 3: "Deadlock", 4: "Lost", 5: "InvalidKey", 6: "Unsupported",
           7: "NotConfigured", 8: "Unavailable", 9: "PermitsMismatch", 10: "Unauthorized", 11: "LimitExceeded",
           12: "Protocol", 13: "Io"}
CAUSES = {1: "stolen", 2: "held too long", 3: "lease ran out", 4: "released by an administrator", 5: "session ended",
          6: "file replaced", 7: "no longer known"}
FORKED = "this process was forked from the one that holds it, and has to acquire it itself"
RELEASED = "it was released"


class LockError(Exception):
    """What the server refuses; `kind` is one of `REASONS`."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class Contended(LockError):
    """Somebody else has it, now or for as long as the wait was (`kind` says which)."""


class Lost(LockError):
    """It was held, and is not any more; `cause` is one of `CAUSES`, or `FORKED`, or `RELEASED`."""

    def __init__(self, cause):
        super().__init__("Lost", f"the lock is lost: {cause}")
        self.cause = cause


class Unavailable(LockError):
    """The server was not reached, or does not answer."""

    def __init__(self, text):
        super().__init__("Unavailable", text)


class Broken(Exception):
    """This connection is of no more use."""


class OtherVersion(Broken):
    """The server speaks these versions of the protocol, and not the one that was asked for."""

    def __init__(self, versions, text):
        super().__init__(text)
        self.versions = versions


# Forked children, which have neither the thread nor a session of their own, have another number than their parents.
_generation = 0


def _forked():
    global _generation
    _generation += 1


os.register_at_fork(after_in_child=_forked)

# The system gives the number of a thread that has ended to another one, which would seem to hold what that one holds.
_thread = threading.local()
_threads = itertools.count(1)


def thread_number():
    if not hasattr(_thread, "number"):
        _thread.number = next(_threads)
    return _thread.number


def now():
    """Seconds, on the clock that goes on in suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# ---- bytes ----

def text(value, most):
    data = value.encode()
    if len(data) > most:
        raise ValueError(f"{len(data)} bytes, and {most} are allowed")
    return struct.pack("<H", len(data)) + data


def duration(seconds):
    return struct.pack("<Q", min(int(seconds * 1e9), 2**64 - 1))


def check_seconds(**given):
    """Refuses what is no time. The thread that sends it could tell nobody."""
    for name, value in given.items():
        if value is not None and not 0 <= value < float("inf"):
            never = ", and for ever is `None`" if name == "timeout" else ""
            raise LockError("LimitExceeded", f"`{name}` is a number of seconds, and not {value}{never}")


class Reader:
    """Takes a message apart."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Broken("a message ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize(form)))[0]

    def text(self):
        return self.take(self.number("H")).decode()

    def seconds(self):
        return self.number("Q") / 1e9

    def list(self, item):
        return [item() for _ in range(self.number("I"))]

    def mode(self):
        kind = self.number("B")
        if kind < 3:
            return {1: "exclusive", 2: "shared"}[kind]
        take, of = self.number("I"), self.number("I")
        return f"{take} of {of} permits"

    def owner(self):
        return self.number("B"), self.number("Q")

    def party(self):
        flags, party = self.number("B"), {}
        for flag, name in ((1, "label"), (2, "host"), (4, "pid"), (8, "process"), (16, "site")):
            if flags & flag:
                party[name] = self.number("I") if name == "pid" else self.text()
        return party

    def holder(self):
        flags, holder = self.number("B"), {"mode": self.mode()}
        if flags & 1:
            holder["token"] = self.number("Q")
        if flags & 2:
            holder["owner"] = self.number("I"), self.owner()
        if flags & 4:
            holder["who"] = self.text()
        if flags & 8:
            holder["age"] = self.seconds()
        label = self.text() if flags & 16 else None
        if flags & 32:
            holder["nest"] = self.number("I")
        # What the request is called goes before what its client is.
        return holder | self.party() | ({"label": label} if label else {})

    def waiter(self):
        flags, waiter = self.number("B"), {"mode": self.mode()}
        if flags & 1:
            waiter["owner"] = self.number("I"), self.owner()
        if flags & 2:
            waiter["who"] = self.text()
        waiter["waited"] = self.seconds()
        label = self.text() if flags & 4 else None
        return waiter | self.party() | ({"label": label} if label else {})

    def error(self):
        kind = REASONS.get(self.number("B"))
        if kind is None:
            raise Broken("no such kind of an error")
        cause = CAUSES.get(self.number("B"), "unknown") if kind == "Lost" else None
        flags, key = self.number("B"), self.text()
        message = self.text() if flags & 1 else None
        waited = self.seconds() if flags & 2 else None
        if flags & 4:
            self.number("Q")
        if flags & 8:
            self.seconds()
        holders = self.list(self.holder)
        self.list(self.waiter)
        self.number("Q")
        self.list(lambda: (self.text(), self.waiter(), self.holder()))
        if kind == "Lost":
            return Lost(cause)
        if message is None:
            by = ", ".join(f"{each.get('label') or each.get('process') or 'somebody'} (pid {each.get('pid')})"
                           for each in holders)
            message = f"`{key}`: {kind}" + (f", held by {by}" if by else "")
            message += f", after {waited:.3f} s" if waited else ""
        kinds = {"Contended": Contended, "Timeout": Contended}
        return kinds[kind](kind, message) if kind in kinds else LockError(kind, message)


# ---- where the server is ----

class UnixPlace:
    """`unix:///path`: the user of the server is known, and it knows ours."""

    def __init__(self, path, user=None):
        self.path, self.users = path, {os.getuid(), 0} | ({user} if user is not None else set())

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(1)
        connection.connect(self.path)
        _, user, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user not in self.users:
            raise LockError("Unauthorized", f"the server at `{self.path}` is run by user {user}, not by this one or root")
        return connection, None

    secret = None


class TcpPlace:
    """`locks://host:port`: TLS 1.3, and both sides prove that they know the secret."""

    def __init__(self, host, port, secret):
        self.address, self.secret = (host, port), secret
        # The certificate is not checked against any authority: it goes into the proofs.
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def connect(self):
        plain = socket.create_connection(self.address, timeout=1)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection = self.context.wrap_socket(plain)
        except Exception:
            plain.close()
            raise
        return connection, hashlib.sha256(connection.getpeercert(binary_form=True)).digest()


class Secret:
    """`[name:]` and 64 hexadecimal digits."""

    def __init__(self, line):
        self.name, _, digits = line.strip().rpartition(":")
        self.key = bytes.fromhex(digits)
        if len(self.key) != 32:
            raise ValueError("a secret has 64 hexadecimal digits")

    def proof(self, side, transcript):
        return hmac.digest(self.key, b"locks net " + side + transcript, "sha256")


def secret_in(path):
    """The secret in this file, which has to be closed to others, or else that of `LOCKS_SECRET`."""
    if path is None:
        if "LOCKS_SECRET" not in os.environ:
            raise ValueError("`locks:` needs the server's secret: name its file by `secret_file`, or put it into the "
                             "environment variable `LOCKS_SECRET`")
        return Secret(os.environ["LOCKS_SECRET"])
    with open(path) as file:
        found = os.fstat(file.fileno())
        # One of root's may be its group's to read, as a secret is mounted into a container.
        most = 0o600 if found.st_uid else 0o640
        if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o077 & ~most:
            raise ValueError(f"the secret in `{path}` is not this user's alone: close it to others with "
                             f"`chmod {most:o} {path}`")
        return Secret(file.read())


def place_of(url, secret_file=None, user=None):
    """What a URL names, as programs in Rust read it; of its options, `user` and `secret_file`."""
    scheme, _, rest = url.partition(":")
    place, _, query = rest.removeprefix("//").partition("?")
    options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    known = {"unix": ["user"], "locks": ["secret_file"]}.get(scheme, [])
    if known and (others := [name for name in options if name not in known]):
        raise ValueError(f"this client knows no option `{others[0]}` of `{scheme}:`, only `{known[0]}`")
    if scheme == "unix":
        home = pwd.getpwuid(os.getuid()).pw_dir
        user = int(options["user"]) if "user" in options else user
        if place and not place.startswith("/"):
            raise ValueError("`unix:` takes an absolute path, as in `unix:///run/locks/locks.sock`")
        return UnixPlace(urllib.parse.unquote(place) or f"{home}/.local/state/locks/serve/locks.sock", user)
    if scheme == "locks":
        if address := re.fullmatch(r"(\[[^/]+\]|[^:/@]+)(?::(\d+))?/?", place):
            secret = secret_in(options.get("secret_file", secret_file))
            return TcpPlace(address[1].strip("[]"), int(address[2] or 7420), secret)
    raise ValueError("a URL of a lock server is `unix:`, `unix:///path` or `locks://host:port`")


# ---- the client ----

class Hold:
    """A lock that is held; released at the end of `with`."""

    def __init__(self, client, request, lease, message):
        self._client, self._request, self._lease, self._message = client, request, lease, message
        self.token = None
        self._cause = self._error = None
        self._done = self._is_taken = False
        self._asked = None              # when a server was first asked

    @property
    def lost(self):
        """Why it is not held any more, or None."""
        if self._client._is_parents():
            return FORKED
        with self._client._changed:
            if self._cause is None and not self._done and now() >= self._client._valid_until(self._lease):
                self._client._lose(self, CAUSES[3])
            return self._cause or (RELEASED if self._done else None)

    def check(self):
        """Raises `Lost` once it is not held any more."""
        if cause := self.lost:
            raise Lost(cause)

    def wait_lost(self, timeout=None):
        """Waits until it is lost, and returns why; None after `timeout` seconds."""
        end = None if timeout is None else now() + timeout
        if self._client._is_parents():
            return FORKED
        with self._client._changed:
            while not (cause := self.lost) and (end is None or now() < end):
                left = self._client._valid_until(self._lease) - now()
                left = min(left, 1 if end is None else end - now())
                self._client._changed.wait(max(left, 0.001))
            return cause

    def renew(self):
        """Has its age count from now on: for `steal_after` of others it is a new one."""
        self.check()
        self._client._call(lambda call: struct.pack("<BQQ", 3, call, self._request))

    def release(self):
        """Releases it, and returns once the server knows; raises `Lost` if it was lost before."""
        if self._client._is_parents():
            raise Lost(FORKED)
        self._client._end(self, wait=True)
        if self._cause:
            raise Lost(self._cause)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self._client._is_parents():
            self._client._end(self, wait=False)


class Client:
    """A session at a lock server, shared by all threads of this process. A forked child makes one of its own; what its
    parent holds is lost there.

    `connect` is how long the server may take to be reached, and to answer what needs no waiting."""

    def __init__(self, url, *, label=None, secret_file=None, lease=None, connect=2.0, user=None):
        check_seconds(lease=lease, connect=connect)
        self._place = place_of(url, secret_file, user)
        self._label, self._lease_wanted, self._connect = label, lease, connect
        self._changed = threading.Condition(threading.RLock())
        self._made_in = _generation
        self._version = VERSIONS[-1]
        self._socket = None
        self._life = None               # realm, secret of the session, life of the server
        self._lease, self._renews, self._good, self._longest = 10.0, False, 0.0, 262144
        self._sent = collections.deque()  # number, message, when: not acknowledged yet
        self._last_sent = self._received = self._told = 0
        self._numbers = 0
        self._holds, self._waiting, self._answers, self._calls = {}, {}, {}, {}
        # What the session has to be told of once it goes on: the requests that end, and then what was not asked yet, of
        # `_waiting` and `_calls`. What was said is in `_sent`.
        self._unended, self._unasked = [], set()
        # Holds that were released, until the server is known to have heard: by request, each with the number of the
        # frame whose acknowledgement says so, or None while that has not been sent.
        self._endings = {}
        self._repeated, self._repeats = None, 0  # the oldest frame that was repeated, and how often in a row
        self._heard = self._pinged = self._dropped = 0.0
        self._trouble, self._fatal, self._closed = "not connected yet", None, False
        self._thread = threading.Thread(target=self._run, name="locks-client", daemon=True)
        self._thread.start()

    def acquire(self, *keys, timeout=None, shared=False, permits=None, take=1, steal_after=None, lease=None, hold_at_most=None):
        """Acquires all of `keys` together. `timeout`: 0 tries once, None waits for ever. `permits`: as many may be
        held at a time, of which this takes `take`."""
        if self._is_parents():
            raise Unavailable("this client is that of the process that this one was forked from: make another one")
        if not keys or any(not key or "\0" in key or len(key.encode()) > 1024 for key in keys):
            # The server would take it for nonsense, and close the connection.
            raise LockError("InvalidKey", "a key has 1 to 1,024 bytes of UTF-8, and no NUL")
        if permits is not None and not 1 <= take <= permits or permits is None and take != 1:
            raise LockError("PermitsMismatch", "`take` is at least 1, and no more than `permits` has")
        if permits is not None and shared:
            raise LockError("PermitsMismatch", "`permits` and `shared` exclude each other: leave one of them out")
        if permits is not None and permits >= 2**32:
            raise LockError("LimitExceeded", f"`permits` is at most {2**32 - 1}, and not {permits}")
        if timeout is not None and timeout < 0:
            timeout = 0                 # a wait that was over before is none
        check_seconds(timeout=timeout, steal_after=steal_after, lease=lease, hold_at_most=hold_at_most)
        asked = now()
        thread = struct.pack("<BQ", 1, thread_number())
        given = [(8, steal_after), (9, lease), (11, hold_at_most)]

        def message(request, waited):
            wait = 1 if timeout is None else 2 if timeout == 0 else 3
            flags = wait | (4 if shared else 0) | (8 if permits else 0) | 1 << 12 | 1 << 13
            flags |= sum(1 << bit for bit, value in given if value is not None) | (1 << 15 if waited else 0)
            parts = [struct.pack("<BQHI", 1, request, flags, len(set(keys)))]
            parts += [text(key, 1024) for key in sorted(set(keys), key=str.encode)]
            if wait == 3:
                parts.append(duration(max(asked + timeout - now(), 0)))
            if permits:
                parts.append(struct.pack("<II", take, permits))
            parts += [duration(value) for _, value in given if value is not None]
            parts += [thread, b"\x01", thread]
            if waited:
                parts.append(duration(waited))
            return b"".join(parts)

        if len(message(0, 1)) + 16 > self._longest:
            raise LockError("LimitExceeded", f"the request is longer than the {self._longest} bytes that the server takes")
        # The server's word is the better one, so it gets half a second more than the wait.
        end = float("inf") if timeout is None else asked + timeout + (self._connect if not timeout else 0.5)

        def until():
            """A wait that the server knows of outlasts the connection, one for ever for a lease."""
            if self._socket:
                return end
            if hold._asked is None:
                return min(end, asked + self._connect)
            return end if timeout is not None else self._dropped + self._lease

        with self._changed:
            request = self._number()
            self._waiting[request] = hold = Hold(self, request, lease, message)
            try:
                self._ask(request)
                self._wait(lambda: hold.token or hold._error or hold._cause, until)
            except BaseException:
                self._unasked.discard(request)
                is_open = self._waiting.pop(request, None) or self._holds.pop(request, None)
                if is_open and hold._asked is not None:
                    self._say_end(request)
                raise
            if hold._error:
                raise hold._error
            if hold._cause and self._closed:
                raise Unavailable("this client was closed")
            # What was held for as long as `hold_at_most` allows before anybody had it is lost from the start: the next
            # one would be, too.
            hold._is_taken = True
            return hold

    def close(self):
        """Releases everything, and ends the session."""
        if self._is_parents():
            return
        with self._changed:
            if self._closed:
                return
            self._closed = True
            if self._socket:
                self._say(b"\x0c")
            for hold in list(self._holds.values()):
                self._lose(hold, CAUSES[5])
            self._drop()
            self._changed.notify_all()
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _is_parents(self):
        """In a forked child nobody gives the condition back that another thread had."""
        return self._made_in != _generation

    # ---- what is said; with the condition held ----

    def _number(self):
        self._numbers += 1
        return self._numbers

    def _say(self, message):
        """Sends a frame, and returns its number; None, and nothing is sent, where the session is not open."""
        if self._socket is None:
            return None
        self._last_sent += 1
        self._sent.append((self._last_sent, message, now()))
        self._put(self._last_sent, message)
        return self._last_sent

    def _put(self, number, message):
        if self._socket is None:
            return                      # it broke while more was to be said
        self._told = self._received
        try:
            _send(self._socket, struct.pack("<QQ", number, self._received) + message)
        except OSError as error:
            self._trouble = str(error)
            self._drop()

    def _ask(self, number):
        """Says what is to be answered, now or once the session goes on."""
        if self._socket is None:
            self._unasked.add(number)
            return
        self._unasked.discard(number)
        if number in self._calls:
            self._say(self._calls[number])
        else:
            hold = self._waiting[number]
            waited = now() - hold._asked if hold._asked is not None else 0
            hold._asked = now() - waited
            self._say(hold._message(number, waited))

    def _say_end(self, request):
        """Ends a request, now or once the session goes on; the number of the frame, or None."""
        number = self._say(struct.pack("<BQ", 2, request))
        if number is None:
            self._unended.append(request)
        return number

    def _end(self, hold, wait):
        with self._changed:
            if hold._done:
                return
            if hold._cause is None and now() >= self._valid_until(hold._lease):
                self._lose(hold, CAUSES[3])
            hold._done = True
            if hold._cause:
                return
            del self._holds[hold._request]
            # Until it is confirmed, the word may be on its way that the hold was lost before.
            self._endings[hold._request] = hold, self._say_end(hold._request)
            if wait:
                self._ping()
                end = now() + self._connect
                self._wait(lambda: hold._request not in self._endings, lambda: end)

    def _call(self, message):
        with self._changed:
            call = self._number()
            self._calls[call] = message(call)
            try:
                self._ask(call)
                end = now() + self._connect
                self._wait(lambda: call in self._answers, lambda: end)
                answer = self._answers.pop(call)
            finally:
                del self._calls[call]
                self._unasked.discard(call)
            if isinstance(answer, Exception):
                raise answer

    def _ping(self):
        self._pinged = now()
        return self._say(b"\x0b")

    def _wait(self, is_over, until):
        while not is_over():
            if self._closed:
                raise Unavailable("this client was closed")
            if self._fatal:
                raise self._fatal
            left = until() - now()
            if left <= 0:
                raise Unavailable(f"the lock server does not answer: {self._trouble}")
            self._changed.wait(min(0.5, max(left, 0.001)))

    # ---- how long holds are valid; with the condition held ----

    def _valid_until(self, lease=None):
        """A session that is kept by this process loses nothing while it is connected."""
        if not self._renews and self._socket is not None:
            return float("inf")
        lease = self._lease if lease is None or not self._renews else lease
        return self._good + lease - max(lease / 20, 0.1)

    def _lose(self, hold, cause):
        if hold._cause is not None or hold._request in self._waiting:
            return
        self._endings.pop(hold._request, None)
        if self._holds.pop(hold._request, None) and not self._closed:
            self._say_end(hold._request)
        if hold._is_taken or cause == CAUSES[2] or self._closed:
            hold._cause = cause
            self._changed.notify_all()
        else:
            self._ask_again(hold)

    def _ask_again(self, hold):
        """What was over before anybody had it queues again, where it stood."""
        hold.token, self._waiting[hold._request] = None, hold
        self._ask(hold._request)

    def _expire(self):
        for hold in [hold for hold in self._holds.values() if now() >= self._valid_until(hold._lease)]:
            self._lose(hold, CAUSES[3])

    # ---- the thread ----

    def _run(self):
        while True:
            with self._changed:
                if self._closed or self._fatal:
                    return
            try:
                connection = self._open()
                self._listen(connection)
            except OtherVersion as other:
                both = [version for version in other.versions if version in VERSIONS]
                with self._changed:
                    if both and both[-1] != self._version:
                        self._version = both[-1]
                    else:
                        self._fatal = LockError("Protocol", str(other))
                    self._drop()
            except LockError as error:
                with self._changed:
                    self._fatal = error
                    self._drop()
            except Exception as error:  # nonsense, too: the next connection may be better
                with self._changed:
                    self._trouble = str(error) or type(error).__name__
                    self._drop()
            with self._changed:
                self._expire()
                self._changed.notify_all()
                if not self._closed:
                    self._changed.wait(0.05)

    def _open(self):
        connection, certificate = self._place.connect()
        try:
            return self._greet(connection, certificate)
        except BaseException:
            connection.close()
            raise

    def _greet(self, connection, certificate):
        secret = self._place.secret
        hello = struct.pack("<BH", 1, self._version) + os.urandom(32)
        _send(connection, hello)
        said = _greeting(connection, 2)
        version, server, wants_secret = struct.unpack("<xH16s32xB", said)
        if version != self._version:
            raise OtherVersion(range(version, version + 1), f"the server speaks version {version} of the protocol")
        if secret and not wants_secret:
            raise LockError("Unauthorized", "the server wants no secret, and this client was given one")
        if wants_secret:
            if not secret:
                raise LockError("Unauthorized", "the server wants a secret")
            transcript = hello + said + text(secret.name, 64) + certificate
            _send(connection, b"\x03" + text(secret.name, 64) + secret.proof(b"client", transcript))
            if not hmac.compare_digest(_greeting(connection, 7)[1:], secret.proof(b"server", transcript)):
                raise LockError("Unauthorized", "the server does not know the secret")
        with self._changed:
            flags = (1 if self._life else 0) | (2 if self._lease_wanted else 0)
            parts = [struct.pack("<BB", 4, flags)]
            if self._life:
                parts.append(struct.pack("<I16s16sQ", *self._life, self._received))
            parts.append(struct.pack("<B", 12 | (1 if self._label else 0)))
            parts += [text(self._label, 128)] if self._label else []
            parts += [struct.pack("<I", os.getpid()), text("python", 128)]
            parts += [duration(self._lease_wanted)] if self._lease_wanted else []
            opened_at = now()
        _send(connection, b"".join(parts))
        how, realm, key, applied, longest, lease, renews = struct.unpack("<xBI16sQIQ?", _greeting(connection, 5, self._life))
        with self._changed:
            self._expire()
            self._lease, self._renews, self._longest = lease / 1e9, renews, longest
            self._life = realm, key, server
            self._good = opened_at
            self._heard = now()
            if how == 1:
                for hold in [*self._holds.values(), *(hold for hold, _ in self._endings.values())]:
                    self._lose(hold, CAUSES[5])
            self._socket = connection
            if how == 2:
                self._acknowledged(applied)
                self._repeat()
            else:
                self._sent.clear()
                self._unended.clear()
                self._unasked = {*self._waiting, *self._calls}
                self._last_sent = self._received = self._told = 0
                if how == 3:
                    self._say_holding()
            # What is asked for once more ends before.
            unended, self._unended = self._unended, []
            for request in unended:
                self._say_end(request)
            for number in sorted(self._unasked):
                self._ask(number)
            if self._endings:
                # What was not listed has ended, too. But a `Lost` may be on its way, behind which this is answered.
                number = self._ping()
                self._endings = {request: (hold, number) for request, (hold, _) in self._endings.items()}
            self._changed.notify_all()
        return connection

    def _repeat(self):
        """Says once more what has not arrived; but not for ever what the server closes the connection over each time."""
        oldest = self._sent[0][0] if self._sent else None
        self._repeats = self._repeats + 1 if oldest and oldest == self._repeated else 0
        self._repeated = oldest
        if self._repeats >= 3:
            raise LockError("Protocol", "the lock server closes the connection each time over something that this "
                                        "client says: the two disagree on the protocol")
        for number, message, _ in list(self._sent):
            self._put(number, message)

    def _say_holding(self):
        held, waiting = sorted(self._holds), sorted(self._waiting)
        pack = lambda numbers: struct.pack(f"<I{len(numbers)}Q", len(numbers), *numbers)
        self._say(b"\x0a\x00" + pack(held) + pack(waiting))

    def _listen(self, connection):
        data, poll = b"", select.poll()
        while True:
            with self._changed:
                if self._socket is not connection:
                    return
                poll.register(connection, select.POLLIN)
                self._beat()
            if not poll.poll(50):
                continue
            with self._changed:
                if self._socket is not connection:
                    return
                # One thread at a time is at the connection: TLS wants it so.
                data += self._read(connection)
                self._heard = now()
                if not self._renews:
                    self._good = self._heard
                while len(data) >= 4 and len(data) - 4 >= (length := struct.unpack_from("<I", data)[0]):
                    if length > 262144:
                        raise Broken("a frame is too long")
                    self._frame(data[4:4 + length])
                    data = data[4 + length:]
                if self._received - self._told >= 32 and self._socket:
                    self._put(0, b"")
                self._changed.notify_all()

    def _read(self, connection):
        read = connection.recv(65536)
        while read and isinstance(connection, ssl.SSLSocket) and connection.pending():
            read += connection.recv(connection.pending())
        if not read:
            raise Broken("the connection has ended")
        return read

    def _beat(self):
        """What is due by now."""
        if not self._renews:
            self._good = now()          # nothing but silence: it is open
            return
        leases = [hold._lease for hold in self._holds.values() if hold._lease] + [self._lease]
        shortest = min(leases)
        if now() >= self._pinged + shortest / 10:
            self._ping()
        if now() >= self._heard + shortest / 5:
            raise Broken("the server is silent")
        self._expire()

    def _drop(self):
        if self._socket:
            try:
                self._socket.close()
            except OSError:
                pass
            self._socket, self._dropped = None, now()
        self._changed.notify_all()

    def _acknowledged(self, number):
        if number > self._last_sent:
            raise Broken("acknowledges what was never sent")
        while self._sent and self._sent[0][0] <= number:
            at = self._sent.popleft()[2]
            if self._renews:
                self._good = max(self._good, at)

    def _frame(self, body):
        number, acknowledged = struct.unpack_from("<QQ", body)
        self._acknowledged(acknowledged)
        if number > self._received:
            self._event(number, body)
        # Last of all: what was lost before that is known by now.
        ended = [request for request, (_, by) in self._endings.items() if by is not None and by <= acknowledged]
        for request in ended:
            del self._endings[request]

    def _event(self, number, body):
        if number != self._received + 1:
            raise Broken("a frame is missing")
        self._received = number
        event = Reader(body[16:])
        kind = event.number("B")
        if kind in (1, 9):              # 9 goes on to say from whom it was stolen
            self._granted(event.number("Q"), event.number("Q"))
        elif kind == 2:
            self._refused(event.number("Q"), event.error())
        elif kind == 3:
            self._answered(event.number("Q"), None)
        elif kind == 7:
            request, cause = event.number("Q"), CAUSES.get(event.number("B"), "unknown")
            hold = self._holds.get(request) or self._endings.get(request, (None, None))[0]
            if hold:
                self._lose(hold, cause)
        elif kind == 8:
            raise Broken("the server has closed")

    def _granted(self, request, token):
        hold = self._waiting.get(request)
        if hold is None:
            # Nobody wants it any more; but the answer to what is held may be repeated.
            if request not in self._holds:
                self._say_end(request)
            return
        if now() >= self._valid_until(hold._lease):
            # It may have been lost on its way.
            self._say_end(request)
            self._ask_again(hold)
            return
        del self._waiting[request]
        hold.token, self._holds[request] = token, hold

    def _refused(self, number, error):
        if number in self._waiting:
            self._waiting.pop(number)._error = error
        else:
            self._answered(number, error)

    def _answered(self, call, answer):
        # Of what was given up nobody wants to hear, nor is there anybody who has made call 0.
        if call in self._calls:
            self._answers[call] = answer


def _send(connection, body):
    connection.sendall(struct.pack("<I", len(body)) + body)


def _greeting(connection, expected, life=None):
    """The next greeting, which is to be of this kind; `life`: there is a session to go on with."""
    def exactly(count):
        data = b""
        while len(data) < count:
            read = connection.recv(count - len(data))
            if not read:
                raise Broken("the connection has ended")
            data += read
        return data

    length = struct.unpack("<I", exactly(4))[0]
    if not 0 < length <= 8192:
        raise Broken("no greeting is as long")
    body = exactly(length)
    if body[0] == 6:
        reader = Reader(body[1:])
        why = reader.number("B")
        versions = range(reader.number("H"), reader.number("H") + 1) if why == 1 else None
        said = reader.text()
        if why == 1:
            raise OtherVersion(versions, said)
        if why == 2:
            raise LockError("Unauthorized", said)
        if why == 3 and not life:
            raise LockError("LimitExceeded", said)
        raise Broken(said)
    if body[0] != expected:
        raise Broken("a greeting came out of turn")
    return body
