"""The conversation with a running program: bytes, deadline, output bound, orders; until its end is reported."""

from __future__ import annotations

import math
import os
import struct
import time
from collections.abc import Callable

import attrs

from jailkit._native import Report, Talk, TalkEvent
from jailkit.process.result import ExitReason

__all__ = ["KILL_SECONDS", "KILL_TREE", "Captured", "Conversation", "order"]

KILL_TREE = 0

KILL_SECONDS = 2.0
"""How long PID 1 may take to end a program's tree, which it does in milliseconds, before the whole jail is killed."""


def order(channel: int, what: int) -> None:
    """Send an order to PID 1 on a program's channel: a signal number, or KILL_TREE."""
    try:
        os.write(channel, struct.pack("=i", what))
    except (BrokenPipeError, ConnectionResetError):
        pass  # the program has ended, and PID 1 has closed its end


@attrs.define
class Captured:
    """What a program wrote to stdout and stderr, within one bound for both."""

    bound: float
    parts: tuple[list[bytes], list[bytes]] = attrs.field(factory=lambda: ([], []))
    size: int = 0

    def add(self, index: int, data: bytes) -> None:
        """Keep some bytes."""
        if data:
            self.parts[index].append(data)
            self.size += len(data)

    @property
    def full(self) -> bool:
        """Whether more came than the bound allows."""
        return self.size > self.bound

    def contents(self, index: int) -> bytes:
        """Return one stream: all of it, or its head and its tail when both together are over the bound."""
        data = b"".join(self.parts[index])
        if not self.full:
            return data
        room = int(self.bound) * len(data) // self.size  # each stream its share of the bound
        return data[: room - room // 2] + data[len(data) - room // 2 :]


@attrs.define
class Conversation:
    """One program from its start to the report of its end.

    Attributes:
        talk: The bytes.
        channel: Where orders go.
        captured: What came.
        deadline: When the program must have ended, on the monotonic clock, or inf.
        kill_jail: Called when PID 1 does not carry out an order to kill.
        patience: Seconds that PID 1 has for it.
        verdict: What the host did to the program, if anything.
    """

    talk: Talk
    channel: int
    captured: Captured
    deadline: float
    kill_jail: Callable[[], None]
    patience: float = KILL_SECONDS
    verdict: ExitReason | None = None
    _escalate: float = math.inf

    def until_end(self) -> Report | None:
        """Go on until the program's end is reported; None when PID 1 went away without a report."""
        while True:
            now = time.monotonic()
            wake = min(self.deadline if self.verdict is None else math.inf, self._escalate)
            events = self.talk.step(None if wake == math.inf else max(0.0, wake - now))
            self._take()
            if events & TalkEvent.FULL:
                continue
            if events & TalkEvent.REPORT:
                return self.talk.report
            if events & TalkEvent.LOST:
                return None
            self._look_at_clock()

    def _take(self) -> None:
        for index in (0, 1):
            data = self.talk.take(index)
            # Past the bound nothing more is kept than one buffer of the tail: the program is being killed.
            if data and self.captured.size <= self.captured.bound + 2 * len(data):
                self.captured.add(index, data)
        if self.talk.input_fd >= 0 and self.talk.input_done:
            os.close(self.talk.forget_input())
        if self.captured.full and self.verdict is None:
            self.kill(ExitReason.OUTPUT)

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        if now >= self._escalate:
            self._escalate = math.inf
            self.kill_jail()
        elif now >= self.deadline and self.verdict is None:
            self.kill(ExitReason.WALL_TIME)

    def kill(self, verdict: ExitReason) -> None:
        """Have the program and all it started killed, for a reason."""
        self.verdict = verdict
        self._escalate = time.monotonic() + self.patience
        order(self.channel, KILL_TREE)
