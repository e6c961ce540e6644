"""One thread for the clocks of all running programs; there is none while no clock runs."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable

__all__ = ["Alarm", "call_at"]


class Alarm:
    """A call that is to be made at a time on the monotonic clock, unless it is cancelled."""

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Do not make it; safe to call again, also from a garbage collection in the middle of anything."""
        self.cancelled = True
        _clock.wake()


class _Clock:
    def __init__(self) -> None:
        self._changed = threading.Condition()  # re-entrant, see Alarm.cancel
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, alarm: Alarm) -> None:
        with self._changed:
            heapq.heappush(self._alarms, (alarm.when, next(self._count), alarm))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jailkit-clock", daemon=True)
                self._thread.start()
            self._changed.notify()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _due(self) -> list[Alarm] | None:
        """Wait for the next alarms; None when there are no more, and the thread is to end."""
        with self._changed:
            while True:
                # Sorted, which is a heap too: who comes late makes the calls in their order all the same.
                alive = sorted(entry for entry in self._alarms if not entry[2].cancelled)
                now = time.monotonic()
                found = [alarm for when, _, alarm in alive if when <= now]
                self._alarms = [entry for entry in alive if entry[0] > now]
                if found:
                    return found
                if not self._alarms:
                    self._thread = None
                    return None
                self._changed.wait(min(self._alarms[0][0] - now, threading.TIMEOUT_MAX))

    def _run(self) -> None:
        while (alarms := self._due()) is not None:
            for alarm in alarms:
                alarm.call()


_clock = _Clock()


def _after_fork() -> None:
    """The thread is the parent's, and so are the programs."""
    global _clock  # noqa: PLW0603 - a fork copies it, with a lock that a thread may hold that is not here
    _clock = _Clock()


os.register_at_fork(after_in_child=_after_fork)


def call_at(when: float, call: Callable[[], None]) -> Alarm:
    """Have something called at a time on the monotonic clock, in a thread of its own. It must be short."""
    alarm = Alarm(when, call)
    _clock.add(alarm)
    return alarm
