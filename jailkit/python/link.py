"""The host's end of a session: the interpreter in the jail, and the socket to it. Nothing that comes is believed."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from jailkit._errors import CallFailed, ClosedError, RemoteError, WaitTimeout
from jailkit.process import ExitReason, Process, oom_kills
from jailkit.python.wire import WireError, decode, encode

__all__ = ["Done", "Link", "error_of"]

_TO_SERVER = struct.Struct("!B16sI")
_TO_HOST = struct.Struct("!BI")
_DONE = struct.Struct("!16sBiddQ")
_CALL, _KILL, _START = 1, 2, 3
_HELLO, _ENDED, _KEEP = 1, 2, 3
_MOST = 1 << 21
"""Bytes of one message."""
_SEND_SECONDS = 30.0
_OWN_END_SECONDS = 2.0
"""How long an interpreter that has closed its socket may take to end, before it is killed."""
_SHOWN = 65536
_PARTS = ("wire", "tidy", "work", "server")
_BOOT = """\
import os, sys
def take(size):
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data)) or os._exit(3)
    return data
for name in ("wire", "tidy", "work", "server"):
    name = "jailkit.python." + name
    sys.modules[name] = module = type(sys)(name)
    exec(compile(take(int.from_bytes(take(4), "big")), f"<{name}>", "exec"), module.__dict__)
module.main()
"""


def _sources() -> bytes:
    data = b""
    for name in _PARTS:
        with open(os.path.join(os.path.dirname(__file__), f"{name}.py"), "rb") as file:
            source = file.read()
        data += len(source).to_bytes(4, "big") + source
    return data


@attrs.frozen
class Done:
    """The server's word on the end of a call.

    Attributes:
        leaves: It ends too, because it could not take away what the call has left behind.
        status: As of wait(2).
        user: Seconds of processor time.
        system: The same, in the kernel.
        maxrss: The largest resident size, in KiB.
    """

    leaves: bool
    status: int
    user: float
    system: float
    maxrss: int


class Link:
    """One interpreter that serves calls, until it, or this, ends."""

    def __init__(self, process: Process, control: socket.socket, keep: bytes) -> None:
        """Take over a program and the socket that is its stdin."""
        self.process = process
        self.control = control
        self.keep = keep
        self.ooms = 0
        self.killed = False
        self._data = bytearray()

    @classmethod
    def start(
        cls, popen: Callable[..., Process], command: tuple[str, ...], start: dict[str, Any], seconds: float
    ) -> Link:
        """Start the interpreter and wait until it is ready.

        Raises:
            RemoteError: A module to preload could not be imported.
            CallFailed: The interpreter ended, or was not ready in time.
            JailkitError: It could not be started.
        """
        here, there = socket.socketpair()
        with there:
            try:
                process = popen((*command, "-X", "utf8", "-c", _BOOT), stdin=there)
            except BaseException:
                here.close()
                raise
        link = cls(process, here, start["keep"])
        try:
            link._begin(encode(start), seconds)
        except BaseException:
            link.close()
            raise
        link.ooms = oom_kills(process)
        return link

    def _begin(self, start: bytes, seconds: float) -> None:
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        self.control.settimeout(_SEND_SECONDS)
        output = self.process.stdout.fileno()
        try:
            self.control.sendall(_sources() + _TO_SERVER.pack(_START, bytes(16), len(start)) + start)
        except OSError:
            raise self._unborn(output, b"") from None
        hello = self._hello(output, time.monotonic() + seconds)
        if isinstance(hello, bytes):
            self.keep = hello
            self.process.stdout.close()
        else:
            raise error_of(hello) or CallFailed("the interpreter does not keep to its words", ExitReason.LOST)

    def _hello(self, output: int, deadline: float) -> Any:
        """Wait for the first message; whatever is printed meanwhile is kept for the error."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(output, select.POLLIN)
        said = b""
        while time.monotonic() < deadline:
            for fd, _ in poll.poll(max(1.0, (deadline - time.monotonic()) * 1000)):
                if fd == output:
                    data = os.read(output, _SHOWN)
                    said = (said + data)[-_SHOWN:]
                    if not data:
                        poll.unregister(output)
                elif not self.receive():
                    raise self._unborn(output, said)
            for kind, body in self.messages():
                if kind == _HELLO:
                    try:
                        return decode(body, _MOST)
                    except WireError:
                        return None
        self.end()
        raise CallFailed("the interpreter was not ready in time", ExitReason.WALL_TIME, stderr=said)

    def _unborn(self, output: int, said: bytes) -> CallFailed:
        """End an interpreter that has closed its socket too early; return the error, with its last words."""
        with contextlib.suppress(WaitTimeout):
            self.process.wait(_OWN_END_SECONDS)
        os.set_blocking(output, False)
        with contextlib.suppress(OSError):
            said += os.read(output, _SHOWN)
        return CallFailed("the interpreter did not start", self.end(), stderr=said[-_SHOWN:])

    def receive(self) -> bool:
        """Take what came; return False at the end."""
        try:
            data = self.control.recv(65536)
        except OSError:
            return False
        self._data += data
        return bool(data) and len(self._data) <= 2 * _MOST

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """Yield the messages that are complete."""
        while len(self._data) >= _TO_HOST.size:
            kind, length = _TO_HOST.unpack_from(self._data)
            end = _TO_HOST.size + length
            if len(self._data) < end:
                return
            body = bytes(self._data[_TO_HOST.size : end])
            del self._data[:end]
            yield kind, body

    def call(self, token: bytes, body: bytes, fds: list[int]) -> None:
        """Ask for a call.

        Raises:
            OSError: The interpreter is gone, or does not take it.
        """
        message = _TO_SERVER.pack(_CALL, token, len(body)) + body
        sent = self.control.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("3i", *fds))])
        if sent < len(message):
            self.control.sendall(memoryview(message)[sent:])

    def order_kill(self, token: bytes) -> None:
        """Have the call killed that runs."""
        try:
            self.control.send(_TO_SERVER.pack(_KILL, token, 0), socket.MSG_DONTWAIT)
        except OSError:
            self.process.kill()

    def done(self, token: bytes) -> Done | None:
        """Return what is said about the end of this call, if it is."""
        for kind, body in self.messages():
            if kind == _KEEP and len(body) <= 1 << 20:
                self.keep = body
            elif kind == _ENDED and len(body) == _DONE.size:
                whose, leaves, status, user, system, maxrss = _DONE.unpack(body)
                if whose == token:
                    return Done(bool(leaves), status, user, system, maxrss)
        return None

    def starved(self) -> bool:
        """Return whether the kernel has killed for want of memory since this was last asked."""
        before, self.ooms = self.ooms, oom_kills(self.process)
        return self.ooms > before

    def end(self) -> ExitReason:
        """Kill the interpreter and all that it has started, wait for it, and return why it has ended."""
        try:
            self.process.kill()
            self.process.wait()
            reason = self.process.result().reason
        except (ClosedError, OSError):
            reason = ExitReason.LOST
        self.close()
        return reason

    def interrupt(self) -> None:
        """Kill it, from another thread than the one that waits for an answer; whoever waits closes it."""
        self.killed = True
        self.process.kill()

    def close(self) -> None:
        """Kill it, and let go."""
        self.control.close()
        self.process.kill()
        self.process.close()


def error_of(said: Any) -> RemoteError | None:
    """Make an error of three texts, if that is what came."""
    if not (isinstance(said, tuple) and len(said) == 3 and all(isinstance(text, str) for text in said)):
        return None
    kind, message, traceback = said
    return RemoteError(kind[:200], message[:8192], traceback[-32768:])
