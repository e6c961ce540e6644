"""The server of a Python session: it runs inside the jail, and forks for each call.

The host does not trust it. Calls run as the same user, so it makes itself unreadable for them (prctl(2), not dumpable),
adopts what they leave behind (a child subreaper), and looks after each call whether it is still what it was.

This file is sent to jails as it is, with `jailkit.python.wire`, `tidy` and `work`, and is run by whatever Python is
there: it uses the standard library alone, of Python 3.9.
"""

from __future__ import annotations

import _socket
import contextlib
import gc
import os
import select
import signal
import struct
import sys
from typing import Any, NoReturn

from jailkit.python.tidy import Ipc, Places, bury, use_huge_pages, vitals
from jailkit.python.wire import WireError, decode, encode
from jailkit.python.work import describe, run_call, sample, warm_up

__all__ = ["main"]

_TO_SERVER = struct.Struct("!B16sI")  # kind, token, length
_TO_HOST = struct.Struct("!BI")  # kind, length
_DONE = struct.Struct("!16sBiddQ")  # token, whether the server leaves, status, seconds of user and system, maxrss
_CALL, _KILL, _START = 1, 2, 3
_HELLO, _ENDED, _KEEP = 1, 2, 3
_ROOM = 65536
_FDS = 3
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36


class _Control:
    """The socket to the host."""

    def __init__(self) -> None:
        # Number 0 was it until now, and is the empty stdin of every call from here on.
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, os.dup(0))
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        self._data = bytearray()
        self._fds: list[int] = []

    def fill(self) -> None:
        """Take what came; without a host there is nothing to do any more."""
        data, extras, _, _ = self.socket.recvmsg(_ROOM, _socket.CMSG_SPACE(_FDS * 4))
        if not data:
            os._exit(0)
        self._data += data
        for _, _, numbers in extras:
            self._fds += struct.unpack(f"{len(numbers) // 4}i", numbers)

    def next(self) -> tuple[int, bytes, bytes] | None:
        """Return one order, if all of it is there."""
        head = _TO_SERVER.size
        if len(self._data) < head:
            return None
        kind, token, length = _TO_SERVER.unpack_from(self._data)
        if len(self._data) < head + length:
            return None
        body = bytes(self._data[head : head + length])
        del self._data[: head + length]
        return kind, token, body

    def wait(self) -> tuple[int, bytes, bytes]:
        """Wait for an order."""
        order = self.next()
        while order is None:
            self.fill()
            order = self.next()
        return order

    def take_fds(self) -> list[int]:
        """Return the descriptors that came with a call."""
        fds, self._fds = self._fds, []
        return fds

    def say(self, kind: int, body: bytes) -> None:
        """Tell the host something."""
        self.socket.sendall(_TO_HOST.pack(kind, len(body)) + body)

    def close(self) -> None:
        """In a call: it has no business here."""
        self.socket.close()


def _harden() -> Any:
    """Become what calls can neither read nor leave behind; return the C library, or None where that cannot be."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGINT else signal.SIG_IGN)
    try:
        import ctypes  # noqa: PLC0415 - a Python without it serves one call

        libc = ctypes.CDLL(None)
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) or libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            return None
    except (ImportError, OSError, AttributeError):
        return None
    return libc


def _prepare(names: list[str]) -> tuple[str, str, str] | None:
    """Import what was asked for; return what went wrong."""
    try:
        for name in names:
            __import__(name)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the host is told
        return describe(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return None


def _pack(names: dict[str, set[str]]) -> bytes:
    try:
        return encode(names, 1 << 20)
    except WireError:
        return b""  # too much to know by name: what is there after a restart then counts as being there before


class _Spare:
    """A process that waits for its call: what a fork and the first touch of each page cost is paid before."""

    def __init__(self, control: _Control, ipc: Ipc) -> None:
        self.socket, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                control.close()
                ipc.close()
                self.socket.close()
                if not _has_come(theirs):
                    _rehearse()
                run_call(*_take(theirs))
                os._exit(0)
            finally:
                os._exit(1)
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)

    def give(self, message: bytes, fds: list[int]) -> bool:
        """Give it its call; return whether it took it."""
        try:
            sent = _send(self.socket, message, fds)
        except OSError:
            return False
        if sent < len(message):
            with contextlib.suppress(OSError):  # it has begun: what happens to it now is the end of this call
                self.socket.sendall(message[sent:])
        return True

    def close(self) -> tuple[int, Any]:
        """Wait for its end; return its status, and what it has used."""
        os.close(self.pidfd)
        self.socket.close()
        return os.wait4(self.pid, 0)[1:]


def _send(socket: Any, message: bytes, fds: list[int]) -> int:
    sent: int = socket.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("3i", *fds))])
    return sent


def _has_come(theirs: Any) -> bool:
    poll = select.poll()
    poll.register(theirs.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _rehearse() -> None:
    """Go the way of a call once, with an answer that nobody reads."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    body = sample()
    _send(ours, _TO_SERVER.pack(_CALL, bytes(16), len(body)) + body, [0, 0, 0])
    token, body, reply = _take(theirs)
    run_call(token, body, reply)
    os.close(reply)
    ours.close()
    warm_up()


def _take(theirs: Any) -> tuple[bytes, bytes, int]:
    """Wait for a call; return its token, its request, and where its answer goes."""
    data, extras, _, _ = theirs.recvmsg(_ROOM, _socket.CMSG_SPACE(_FDS * 4))
    if not data:
        os._exit(0)
    _, token, length = _TO_SERVER.unpack_from(data)
    parts = [data[_TO_SERVER.size :]]
    missing = length - len(parts[0])
    while missing:
        parts.append(theirs.recv(min(missing, _ROOM)) or os._exit(1))
        missing -= len(parts[-1])
    theirs.close()
    reply, out, err = struct.unpack("3i", extras[0][2])
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    return token, b"".join(parts), reply


class _Server:
    def __init__(self, control: _Control, libc: Any, places: Places, *, scoped: bool) -> None:
        self.control = control
        self.scoped = scoped
        self.libc = libc
        self.places = places
        self.ipc = Ipc(libc)
        self.before = vitals()
        self.kept: dict[str, set[str]] = places.look()
        self.spare: _Spare | None = None

    def call(self, token: bytes, body: bytes) -> None:
        """Serve one call, and be ready for the next one."""
        fds = self.control.take_fds()
        now = self.places.look()
        if now != self.kept:
            self.kept = now
            self.control.say(_KEEP, _pack(now))
        message = _TO_SERVER.pack(_CALL, token, len(body)) + body
        spare = self.spare or _Spare(self.control, self.ipc)
        if not spare.give(message, fds):  # somebody else in the jail has killed it
            spare.close()
            spare = _Spare(self.control, self.ipc)
            spare.give(message, fds)
        for fd in fds:
            os.close(fd)
        self._watch(spare, token)
        status, used = spare.close()
        leaves = not self._tidy()
        report = (token, leaves, status, used.ru_utime, used.ru_stime, used.ru_maxrss)
        self.control.say(_ENDED, _DONE.pack(*report))
        if leaves:
            os._exit(0)
        self.spare = _Spare(self.control, self.ipc)

    def _watch(self, spare: _Spare, token: bytes) -> None:
        poll = select.poll()
        poll.register(spare.pidfd, select.POLLIN)
        poll.register(self.control.socket.fileno(), select.POLLIN)
        while all(fd != spare.pidfd for fd, _ in poll.poll()):
            self.control.fill()
            order = self.control.next()
            if order is not None and order[:2] == (_KILL, token):
                os.kill(spare.pid, signal.SIGKILL)

    def _tidy(self) -> bool:
        """Take away what the call has left; return whether everything is as it was before."""
        buried = bury(scoped=self.scoped)
        return (
            buried
            and self.places.clean(self.kept)
            and self.libc is not None
            and self.ipc.forget()
            and vitals() == self.before
        )


def main() -> NoReturn:
    """Start, and serve until the host goes away."""
    control = _Control()
    _, _, body = control.wait()
    start: Any = decode(body)
    libc = _harden()
    places = Places(start["places"])
    if start["keep"]:
        known: Any = decode(start["keep"])
        places.clean(known)
    sys.path += start["path"]
    failed = _prepare(start["preload"])
    if failed is not None:
        control.say(_HELLO, encode(failed))
        os._exit(1)
    for name in [name for name in sys.modules if name.startswith("jailkit.python.")]:
        del sys.modules[name]
    server = _Server(control, libc, places, scoped=start["scoped"])
    for number in (1, 2):
        os.dup2(0, number)
    gc.collect()
    gc.freeze()  # or each collection of a call would copy the pages of everything
    gc.disable()
    use_huge_pages(libc)
    control.say(_HELLO, encode(_pack(server.kept)))
    server.spare = _Spare(control, server.ipc)
    while True:
        kind, token, body = control.wait()
        if kind == _CALL:
            server.call(token, body)
