"""One call as the host sees it: a request, three pipes made for it, a clock; and what is to be made of its end."""

from __future__ import annotations

import math
import os
import select
import struct
import time
from typing import Any

import attrs

from jailkit._errors import CallFailed, RemoteError
from jailkit.process import Captured, ExitReason, Usage
from jailkit.python.link import Done, Link, error_of
from jailkit.python.result import CallResult
from jailkit.python.wire import WireError, decode

__all__ = ["Exchange"]

_REPLY = struct.Struct("!16sI")
_CHUNK = 65536
_GRACE_SECONDS = 10.0
"""How long the server may take to say that a call has ended, and that everything is as before, once the call has
nothing to say any more or was to be killed. It takes milliseconds; this is for one that the call has stopped."""
_PATIENT_ROUNDS = 32
_SURELY = {24: 0.5, 9: 0.75}
"""SIGXCPU, SIGKILL: with so much of the processor time used, it was the limit that has sent it."""


@attrs.define
class Exchange:
    """One call.

    Attributes:
        link: Who serves it.
        body: The request.
        timeout: Seconds, or inf.
        captured: What it writes to stdout and stderr.
        room: Bytes that its answer may have.
        cpu_seconds: Processor time that it may use, or inf.
    """

    link: Link
    body: bytes
    timeout: float
    captured: Captured
    room: int
    cpu_seconds: float = math.inf
    verdict: ExitReason | None = None
    done: Done | None = None
    lost: bool = False
    wall: float = 0.0
    _token: bytes = attrs.field(factory=lambda: os.urandom(16))
    _reply: bytearray = attrs.field(factory=bytearray)
    _open: dict[int, int] = attrs.field(factory=dict)
    _grace: float = math.inf

    def run(self) -> None:
        """Send the request and wait for the end of the call.

        Raises:
            OSError: The request could not be sent: the interpreter was gone before.
        """
        began = time.monotonic()
        pipes: list[int] = []
        theirs: list[int] = []
        try:
            for number in range(3):
                ours, other = os.pipe()
                self._open[ours] = number
                pipes.append(ours)
                theirs.append(other)
            self.link.call(self._token, self.body, theirs)
            while theirs:
                os.close(theirs.pop())
            self._wait(began + self.timeout)
            self.wall = time.monotonic() - began
        finally:
            for fd in (*pipes, *theirs):
                os.close(fd)

    def _wait(self, deadline: float) -> None:
        control = self.link.control.fileno()
        poll = select.poll()
        for fd in (control, *self._open):
            poll.register(fd, select.POLLIN)
        while not (self.done or self.lost):
            wake = min(deadline if self.verdict is None else math.inf, self._grace)
            wait = None if wake == math.inf else max(0.0, (wake - time.monotonic()) * 1000 + 1)
            for fd, _ in poll.poll(wait):
                if fd == control:
                    self.lost = not self.link.receive()
                    self.done = self.link.done(self._token)
                else:
                    self._read(fd, poll)
            self._look(deadline)
        for _ in range(_PATIENT_ROUNDS):  # who held a pipe is dead by now; what is in it counts
            ready = [fd for fd, _ in poll.poll(0) if fd != control]
            if not ready:
                break
            for fd in ready:
                self._read(fd, poll)

    def _read(self, fd: int, poll: Any) -> None:
        data = os.read(fd, _CHUNK)
        if not data:
            poll.unregister(fd)
            del self._open[fd]
        elif self._open[fd]:
            self.captured.add(self._open[fd] - 1, data)
        elif len(self._reply) <= self.room + _REPLY.size:
            self._reply += data

    def _look(self, deadline: float) -> None:
        if self.done or self.lost:
            return
        now = time.monotonic()
        if now >= self._grace:
            self.lost = True
        elif self.verdict is None:
            if self.captured.full or len(self._reply) > self.room + _REPLY.size:
                self._kill(ExitReason.OUTPUT)
            elif now >= deadline:
                self._kill(ExitReason.WALL_TIME)
        if self._grace == math.inf and (self.verdict or not self._open or self._answered()):
            self._grace = now + _GRACE_SECONDS

    def _answered(self) -> bool:
        head = _REPLY.size
        return len(self._reply) >= head and len(self._reply) >= head + _REPLY.unpack_from(self._reply)[1]

    def _kill(self, reason: ExitReason) -> None:
        self.verdict = reason
        self.link.order_kill(self._token)

    # --- the verdict ------------------------------------------------------------------------------------------------

    def result(self) -> CallResult:
        """Decide how it ended; an interpreter that is lost is ended here."""
        reason, why = self._reason()
        value: Any = None
        error: RemoteError | CallFailed | None = None
        stdout, stderr = self.captured.outputs(text=False)
        if why is None:
            valid, value, error = self._answer()
            why = None if valid else "the call ended without a valid answer"
        if why is not None:
            error = CallFailed(why, reason, stdout, stderr)
        done = self.done or Done(leaves=True, status=9, user=0.0, system=0.0, maxrss=0)
        return CallResult(
            value=value,
            error=error,
            reason=reason,
            returncode=os.waitstatus_to_exitcode(done.status),
            stdout=stdout,
            stderr=stderr,
            truncated=self.captured.full,
            usage=Usage(
                cpu_user=done.user,
                cpu_system=done.system,
                wall=self.wall,
                memory_peak=done.maxrss * 1024 if self.done else None,
                memory_source="maxrss" if self.done else "not known: the interpreter was lost",
            ),
        )

    def _reason(self) -> tuple[ExitReason, str | None]:
        """Return why it ended, and in words what went wrong, if something did."""
        if self.done is None:
            reason = self.link.end()
            if reason is not ExitReason.MEMORY:
                reason = self.verdict or (ExitReason.KILLED if self.link.killed else ExitReason.LOST)
            return reason, "the call ended, and the interpreter with it"
        if self.captured.full and self.verdict is None:
            self.verdict = ExitReason.OUTPUT
        signal = self.done.status & 0x7F
        if signal == 9 and self.link.starved():
            return ExitReason.MEMORY, "the kernel ended the call for want of memory"
        if self.verdict:
            return self.verdict, f"the call was ended: {self.verdict.value}"
        if self.done.user + self.done.system >= _SURELY.get(signal, math.inf) * self.cpu_seconds:
            return ExitReason.CPU_TIME, "the call used up its processor time"
        if signal:
            return ExitReason.SIGNALED, f"the call was ended by signal {signal}"
        if self.done.status:
            code = os.waitstatus_to_exitcode(self.done.status)
            return ExitReason.EXITED, f"the call ended with exit code {code}, without an answer"
        return ExitReason.EXITED, None

    def _answer(self) -> tuple[bool, Any, RemoteError | None]:
        """Return whether there is a valid answer, its value, and its exception."""
        head = _REPLY.size
        if len(self._reply) < head or _REPLY.unpack_from(self._reply) != (self._token, len(self._reply) - head):
            return False, None, None
        try:
            said = decode(bytes(self._reply[head:]), self.room)
        except WireError:
            return False, None, None
        if isinstance(said, tuple) and len(said) == 2 and said[0] == "value":
            return True, said[1], None
        error = error_of(said[1:]) if isinstance(said, tuple) and said and said[0] == "error" else None
        return error is not None, None, error
