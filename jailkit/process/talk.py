"""The talk with a running program: bytes, deadline, output bound, orders; until its end is reported."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable
from typing import Any

import attrs

from jailkit._native import Event, Report, Run
from jailkit.process.cgroup import Meter
from jailkit.process.result import ExitReason

__all__ = ["KILL_SECONDS", "Captured", "Talk"]

_PROCESSORS = os.cpu_count() or 1
KILL_SECONDS = 5.0
"""How long PID 1 may take to end a program's tree, which it does in milliseconds, before the whole jail is killed."""


_OOM_SECONDS = 0.25
"""How often to look whether the kernel has killed for want of memory: what is left of the program is to die too."""

_CPU_SECONDS = 0.005
"""How near to its end a bound on processor time is looked at; a tick of the kernel's own clock."""


@attrs.define
class Captured:
    """What a program wrote to stdout and stderr, within one bound for both."""

    bound: float
    kept: tuple[io.BytesIO, io.BytesIO] = attrs.field(factory=lambda: (io.BytesIO(), io.BytesIO()))
    size: int = 0
    passing: list[tuple[int, bytes]] | None = None
    """Where a reader who takes it as it comes is given it, instead of all of it in the end. He empties this."""

    def add(self, index: int, data: bytes) -> None:
        """Keep some bytes; once over the bound, of what still comes before the program is dead, no more than that."""
        if data and self.passing is not None:
            if fitting := data if self.bound == math.inf else data[: max(0, int(self.bound) - self.size)]:
                self.passing.append((index, fitting))
            self.size += len(data)
        elif data and self.size <= self.bound + 2 * len(data):
            self.kept[index].write(data)
            self.size += len(data)

    def pass_by(self, size: int) -> None:
        """Count bytes that somebody else has read, and keeps."""
        self.size += size

    @property
    def full(self) -> bool:
        """Whether more came than the bound allows."""
        return self.size > self.bound

    def contents(self, index: int) -> bytes:
        """Return one stream: all of it, or its head and its tail when both together are over the bound."""
        data = self.kept[index].getvalue()  # no copy, unlike that of a list of parts
        if not self.full or self.passing is not None:
            return data
        room = int(self.bound) * len(data) // self.size  # each stream its share of the bound
        view = memoryview(data)
        return b"".join((view[: room - room // 2], view[len(data) - room // 2 :]))

    def outputs(self, *, text: bool) -> tuple[Any, Any]:
        """Return stdout and stderr, as bytes or as str (UTF-8, undecodable bytes as U+FFFD)."""
        stdout, stderr = self.contents(0), self.contents(1)
        return (stdout.decode(errors="replace"), stderr.decode(errors="replace")) if text else (stdout, stderr)


@attrs.define
class Talk:
    """One program from its start to the report of its end.

    Attributes:
        run: The program.
        captured: What it wrote.
        deadline: When it must have ended, on the monotonic clock, or inf.
        kill_jail: Called when PID 1 does not carry out an order to kill.
        patience: Seconds that PID 1 has for it.
        verdict: What the host did to the program, if anything.
        ended: Whether its end was reported, or PID 1 is gone.
        meter: What it has used, if there is a control group to tell.
        cpu_limit: Processor time that it may use, in seconds, or inf.
    """

    run: Run
    captured: Captured
    deadline: float
    kill_jail: Callable[[], None]
    patience: float = KILL_SECONDS
    verdict: ExitReason | None = None
    ended: bool = False
    meter: Meter | None = None
    cpu_limit: float = math.inf
    _escalate: float = math.inf
    _ordered: bool = False
    _next_look: float = -math.inf

    def advance(self, until: float = math.inf) -> bool:
        """Go on until the program's end (True), or until a time on the monotonic clock (False)."""
        while not self.ended:
            now = time.monotonic()
            if now >= until:
                return False
            wake = min(until, self.due(now))
            self.step(None if wake == math.inf else wake - now)
        return True

    def due(self, now: float) -> float:
        """Return when a step is to be made although nothing has come, on the monotonic clock; look at the meter."""
        return self._escalate if self.verdict else min(self._escalate, self.deadline, self._meter_due(now))

    def step(self, seconds: float | None) -> bool:
        """Move bytes until something is to be decided, for so long at most, and decide it.

        Return whether the program has ended and nothing is left in the streams that are listened to.
        """
        if self.captured.bound != math.inf:
            self.run.allow(None if self.captured.full else int(self.captured.bound) - self.captured.size)
        events = self.run.talk(seconds)
        for index in (0, 1):
            self.captured.add(index, self.run.take(index + 1))
        gone = bool(events & (Event.REPORT | Event.LOST))
        if not gone:
            self._look()
        elif self.captured.full and self.verdict is None:
            self.verdict = ExitReason.OUTPUT  # it was over the bound, even if it was faster than the order to kill
        # A full buffer may have more behind it, so that is no end yet.
        over = gone and not events & Event.FULL
        self.ended = self.ended or over
        return over

    @property
    def report(self) -> Report | None:
        """How the program ended; None when PID 1 went away without a report."""
        return self.run.report

    def _meter_due(self, now: float) -> float:
        """Look at the meter if it is time; return when to look again. The first look can wait."""
        if self.meter is None:
            return math.inf
        if self._next_look == -math.inf:
            self._next_look = now + min(_OOM_SECONDS, self.cpu_limit / _PROCESSORS)
        elif now >= self._next_look:
            used = self.meter.cpu()
            left = self.cpu_limit - sum(used) if used else math.inf
            if self.meter.starved() and not self.meter.company:
                self.kill(ExitReason.MEMORY)
            elif left <= 0:
                self.kill(ExitReason.CPU_TIME)
            self._next_look = now + min(_OOM_SECONDS, max(_CPU_SECONDS, left / _PROCESSORS))
        return self._next_look

    def _look(self) -> None:
        """Whatever is happening, the clock and the bound count."""
        now = time.monotonic()
        if self.captured.full:
            self.kill(ExitReason.OUTPUT)
        elif now >= self.deadline:
            self.kill(ExitReason.WALL_TIME)
        if now >= self._escalate:
            self._escalate = math.inf
            self.kill_jail()

    def kill(self, verdict: ExitReason) -> None:
        """Have the program and all it started killed, for a reason; the first reason counts."""
        if self.ended:
            return
        # Before the order: whoever hears of the end has to know why.
        if self.verdict is None:
            self.verdict = verdict
        if not self._ordered:  # nor after the reason was noted, where an interrupt came in between
            self._escalate = time.monotonic() + self.patience
            self.run.order(None)
            self._ordered = True
