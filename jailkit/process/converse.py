"""Two programs that talk to each other, with the host in between: `converse`."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, Self

import attrs

from jailkit._errors import ClosedError, SpecError
from jailkit.process.process import Process
from jailkit.process.reading import buffered
from jailkit.process.ready import Ready
from jailkit.process.result import ExitReason, Result

__all__ = ["Conversation", "Meeting", "Turn", "converse"]

_PIECE = 65536
"""What the host holds of one direction, at most; a pipe holds as much again."""


@attrs.frozen
class Turn:
    """Something that one side has said, until the other one spoke.

    Attributes:
        who: 0 for the first program, 1 for the second.
        at: Seconds from the call of `converse` to its first byte.
        data: Bytes.
    """

    who: int
    at: float
    data: bytes


@attrs.frozen
class Conversation:
    """What two programs have said to each other, and how each has ended.

    Attributes:
        results: Of the first program and of the second. Their `stdout` is empty: it is in the transcript. Their
            `stderr` is what came through a pipe, within `Limits.output`.
        transcript: The turns, in the order in which the host has read them.
        truncated: Whether more was said than the transcript has room for. The rest was passed on all the same.
    """

    results: tuple[Result[Any], Result[Any]]
    transcript: tuple[Turn, ...]
    truncated: bool


class _Transcript:
    """The first bytes of what is said, joined to turns."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._began = time.monotonic()
        self._turns: list[tuple[int, float, bytearray]] = []
        self.truncated = False

    def add(self, who: int, data: bytes) -> None:
        """Keep it, or as much of it as there is room for."""
        kept = data[: self._room]
        self._room -= len(kept)
        self.truncated = self.truncated or len(kept) < len(data)
        if kept and self._turns and self._turns[-1][0] == who:
            self._turns[-1][2].extend(kept)
        elif kept:
            self._turns.append((who, time.monotonic() - self._began, bytearray(kept)))

    def turns(self) -> tuple[Turn, ...]:
        """Return what was kept."""
        return tuple(Turn(who, at, bytes(data)) for who, at, data in self._turns)


class _Side:
    """One program: what it says, what it is told, and its end."""

    def __init__(self, who: int, process: Process, transcript: _Transcript) -> None:
        self._who = who
        self._process = process
        self._transcript = transcript
        self._talk, self._run, self._lock = process._insides()  # noqa: SLF001 - of this package
        self._mouth: IO[Any] | None = process.stdout
        self._ear: IO[Any] | None = process.stdin
        self._told = b""  # what is still to be written to its stdin
        self._last_word = False  # nothing more will be told
        self._said = b""
        self._ready = Ready(self._run)
        self.over = self.unsettled = False

    def begin(self) -> None:
        """Take over its pipes."""
        assert self._ear is not None and self._mouth is not None  # noqa: S101, PT018 - converse() has looked
        self._ear.flush()
        os.set_blocking(self._ear.fileno(), False)
        self._said = buffered(self._mouth)
        os.set_blocking(self._mouth.fileno(), False)
        error = self._process.stderr
        if error is not None and not error.closed and self._run.stream(2) < 0:
            self._run.lend(2, error.fileno())
            self._run.listen()

    def watch(self, other: _Side) -> dict[int, int]:
        """Return what to wait for: descriptors, and poll(2) events."""
        found = {}
        if not self.over:
            with self._lock:
                found[self._ready.fileno()] = select.POLLIN
        if self._mouth is not None and other.room:
            found[self._mouth.fileno()] = select.POLLIN
        if self._ear is not None and self._told:
            found[self._ear.fileno()] = select.POLLOUT
        return found

    @property
    def room(self) -> int:
        """How much more it can be told now; of one that does not listen any more, everything is taken and dropped."""
        return _PIECE - len(self._told)

    @property
    def silent(self) -> bool:
        """Whether it will say nothing more."""
        return self._mouth is None

    def due(self, other: _Side) -> float:
        """Return when it is to be looked after, although nothing has come."""
        if not self.over:
            return self._talk.due(time.monotonic())
        return math.inf if self.silent or not other.room else -math.inf

    def look_after(self) -> None:
        """See what its jail reports, keep its stderr, and hold it to its limits."""
        if self.over:
            return
        with self._lock:
            if self._run.closed:
                raise ClosedError("this process handle is closed")
            self._talk.step(0)
            self.over = self.unsettled = self._talk.ended

    def settle(self) -> None:
        """Take its accounts, once, when it has ended."""
        if self.unsettled:
            self.unsettled = False
            self._process.wait(0)

    def listen(self, other: _Side) -> None:
        """Take some of what it says, and tell the other one."""
        if self._mouth is None or not other.room:
            return
        data, self._said = self._said, b""
        if not data:
            try:
                data = os.read(self._mouth.fileno(), other.room)
            except BlockingIOError:
                if not self.over:  # else who holds the pipe open was left behind by the program
                    return
        if data:
            self._transcript.add(self._who, data)
            with self._lock:
                self._talk.captured.pass_by(len(data))
            other.tell(data)
        else:
            self._mouth = None
            other.tell_end()

    def tell(self, data: bytes) -> None:
        """Write to its stdin, now or when there is room."""
        if self._ear is not None:
            self._told += data
        self.write()

    def tell_end(self) -> None:
        """Close its stdin, when all is written."""
        self._last_word = True
        self.write()

    def write(self) -> None:
        """Write what can be written."""
        if self._ear is None:
            return
        try:
            if self._told:
                self._told = self._told[os.write(self._ear.fileno(), self._told) :]
        except BlockingIOError:
            return
        except OSError:  # it has closed its stdin, or ended: what is for it is for nobody
            self._last_word, self._told = True, b""
        if self._last_word and not self._told:
            with contextlib.suppress(OSError):
                self._ear.close()
            self._ear = None

    def time_is_over(self) -> None:
        """Kill it, unless it has ended."""
        if not self.over:
            self._talk.kill(ExitReason.WALL_TIME)

    def kill(self) -> None:
        """Kill it: who called is gone."""
        self._process.kill()

    def close(self) -> None:
        """Let go; the pipes are the caller's."""
        self._ready.close()

    def result(self) -> Result[Any]:
        """Return how it ended."""
        return self._process.result()


@contextlib.contextmanager
def _no_sigpipe() -> Iterator[None]:
    """A host program that took back SIGPIPE's default must not die of a program that has closed its stdin."""
    if signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN:  # as Python has it
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        if signal.SIGPIPE not in before:
            signal.sigtimedwait({signal.SIGPIPE}, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Meeting:
    """Two programs that are connected, for whoever waits: step, and wait until it is worth it."""

    def __init__(self, first: Process, second: Process, timeout: float, transcript_bytes: int) -> None:
        """Take over the pipes of both; the arguments are those of `converse`, and so are the errors."""
        for name, process in (("first", first), ("second", second)):
            if any(file is None or file.closed for file in (process.stdin, process.stdout)):
                raise SpecError(name, process, "a program with pipes: popen(stdin=PIPE, stdout=PIPE)")
        if first is second:
            raise SpecError("second", second, "another program than the first")
        self._deadline = time.monotonic() + timeout
        self._transcript = _Transcript(transcript_bytes)
        one, two = _Side(0, first, self._transcript), _Side(1, second, self._transcript)
        self._pairs = ((one, two), (two, one))
        self._epoll: select.epoll | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as if_it_fails:
            if_it_fails.push(self)
            for side, _ in self._pairs:
                side.begin()
            if_it_fails.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for side, _ in self._pairs:
            if value is not None:
                side.kill()
            side.close()
        self.close()
        if isinstance(value, ValueError):  # what Python's closed files say
            raise ClosedError("this process handle is closed") from value

    def step(self) -> bool:
        """Pass on what has been said, without waiting; return whether both have ended."""
        with _no_sigpipe():
            for side, other in self._pairs:
                side.look_after()
                side.listen(other)
                side.write()
        if time.monotonic() >= self._deadline:
            for side, _ in self._pairs:
                side.time_is_over()
            self._deadline = math.inf
        return all(side.over and side.silent for side, _ in self._pairs)

    @property
    def unsettled(self) -> bool:
        """Whether there is something for `settle`."""
        return any(side.unsettled for side, _ in self._pairs)

    def settle(self) -> None:
        """Take the accounts of whoever has ended, which may wait for a control group."""
        for side, _ in self._pairs:
            side.settle()

    def due(self) -> float:
        """Return when `step` is to be called although nothing has come, on the monotonic clock."""
        return min(self._deadline, *(side.due(other) for side, other in self._pairs))

    def wait(self) -> None:
        """Wait until `step` has something to do."""
        waiting = select.poll()
        for fd, events in self._watched():
            waiting.register(fd, events)
        until = self.due()
        waiting.poll(None if until == math.inf else math.ceil(max(0.0, until - time.monotonic()) * 1000))

    def fileno(self) -> int:
        """Return what is readable when `step` has something to do: to be asked for again after each step."""
        # A new one each time: of a pipe that was closed, and that a fork still has, an old one could not be rid.
        self.close()
        self._epoll = select.epoll()
        for fd, events in self._watched():
            self._epoll.register(fd, events)
        return self._epoll.fileno()

    def _watched(self) -> list[tuple[int, int]]:
        return [item for side, other in self._pairs for item in side.watch(other).items()]

    def close(self) -> None:
        """Close what `fileno` has returned."""
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None

    def conversation(self) -> Conversation:
        """Return what was said, when both have ended."""
        (one, two), _ = self._pairs
        return Conversation((one.result(), two.result()), self._transcript.turns(), self._transcript.truncated)


def converse(first: Process, second: Process, *, timeout: float, transcript_bytes: int = 64 * 1024) -> Conversation:
    """Connect two running programs, stdout to stdin both ways, until both have ended.

    The host copies, so that it can keep a transcript and a clock; it holds 64 KiB of each direction at most, and who
    writes faster than the other reads, waits. What counts for one program counts here: its own ``timeout``, its
    `Limits.output` (of stdout and stderr together), its memory and processor time.

    * A side that closes its stdout, or ends in any way, is the end of file of the other's stdin.
    * What is still said to a side that has ended, or closed its stdin, is read, kept in the transcript and dropped. So
      nobody dies of SIGPIPE because the other one was done a moment earlier, and the results do not depend on chance.
    * When `timeout` is over, whoever has not ended is killed, with reason WALL_TIME: two that wait for each other both.

    What is not enforced: whether the sides take turns, and what they say.

    Args:
        first: A program that was started with ``popen(stdin=PIPE)``, in any jail.
        second: Another one, in the same jail or in another. Both stay the caller's, to be closed.
        timeout: Seconds for the whole, from this call on.
        transcript_bytes: How much of what is said is kept, from its beginning.

    Raises:
        SpecError: They are the same, or one has no pipe as stdin or stdout (any more).
        ClosedError: One of the handles is, or was meanwhile, closed. Any error kills both.
    """
    with Meeting(first, second, timeout, transcript_bytes) as meeting:
        while not meeting.step():
            meeting.settle()
            meeting.wait()
        return meeting.conversation()
