"""Callbacks for what happens to a whole jail: memory runs short, the kernel has killed, nothing runs any more."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable

import attrs

from jailkit._errors import UnsupportedError
from jailkit.process.cgroup import Counters, Group
from jailkit.process.ledger import Ledger

__all__ = ["EventKind", "JailEvent", "Watcher"]

_EVERY_SECONDS = 0.05


class EventKind(enum.Enum):
    """What happened to a jail."""

    MEMORY_THRESHOLD = "memory threshold"
    """The jail came to use the share of `Limits.memory` that was named; told once."""
    OUT_OF_MEMORY = "out of memory"
    """The kernel killed a process of the jail because `Limits.memory` was used up."""
    EMPTY = "empty"
    """A program has ended, and nothing but PID 1 is left in the jail."""


@attrs.frozen(kw_only=True)
class JailEvent:
    """One event.

    Attributes:
        kind: What happened.
        memory: Bytes that the jail used when it was seen, or None where nothing tells.
        count: For OUT_OF_MEMORY, how many processes were killed since the last event; else 1.
    """

    kind: EventKind
    memory: int | None
    count: int = 1


class Watcher:
    """A thread that looks at the counters of a jail's group. They only grow, so nothing between two looks is lost."""

    def __init__(self, ledger: Ledger, callback: Callable[[JailEvent], object], threshold: float | None) -> None:
        """Watch; `threshold` is in bytes.

        Raises:
            UnsupportedError: The jail has no control group that counts memory.
        """
        group = ledger.group
        if group is None or not group.counts_memory:
            raise UnsupportedError(
                "jail.on_event()", "the jail has no control group that counts memory", "give it limits.memory"
            )
        self._group: Group = group
        self._ledger = ledger
        self._callback = callback
        self._threshold = threshold
        self._over = False
        self._kills = 0
        self._ended = ledger.ended
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="jailkit-watcher", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Look for the last time, and end. Called when the jail closes; safe to call again, and from the callback."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _watch(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(_EVERY_SECONDS)
            self._look(self._group.counters())

    def _look(self, now: Counters) -> None:
        if self._threshold is not None and now.memory is not None:
            seen = now.memory if now.memory_peak is None else now.memory_peak
            if seen >= self._threshold and not self._over:
                self._callback(JailEvent(kind=EventKind.MEMORY_THRESHOLD, memory=now.memory))
                self._over = True
        if now.oom_kills > self._kills:
            count, self._kills = now.oom_kills - self._kills, now.oom_kills
            self._callback(JailEvent(kind=EventKind.OUT_OF_MEMORY, memory=now.memory, count=count))
        if self._ledger.ended > self._ended and not self._ledger.busy and (now.processes or 0) <= 1:
            self._ended = self._ledger.ended
            self._callback(JailEvent(kind=EventKind.EMPTY, memory=now.memory))
