"""One descriptor for all that a program may have to say: whoever waits for it needs no thread of its own."""

from __future__ import annotations

import contextlib
import math
import select
import threading
import time

from jailkit._errors import ClosedError
from jailkit._native import Run
from jailkit.process.talk import Talk

__all__ = ["Ready", "Watch"]


class Ready:
    """An epoll(7) instance: it is readable when a step of `Talk` has something to do.

    Level triggered, so a look that came too early or too late loses nothing.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._epoll = select.epoll()
        self._watched: dict[int, int] = {}

    def fileno(self) -> int:
        """Return the descriptor, which watches what is open now: to be asked for again after each step."""
        source, *outputs = self._run.open_streams()
        wanted = {fd: select.EPOLLIN for fd in (*outputs, self._run.channel) if fd >= 0}
        if source >= 0:
            wanted[source] = select.EPOLLOUT
        for fd in self._watched.keys() - wanted.keys():
            # One that was closed has left by itself.
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
        for fd in wanted.keys() - self._watched.keys():
            self._epoll.register(fd, wanted[fd])
        self._watched = wanted
        return self._epoll.fileno()

    def wait(self, until: float) -> None:
        """Wait for something to do, or until a time on the monotonic clock; of what `fileno` saw last."""
        left = max(0.0, until - time.monotonic())
        self._epoll.poll(None if left == math.inf else left)

    def close(self) -> None:
        """Close the descriptor; those that it watched are others' to close. Safe to call again."""
        self._epoll.close()


class Watch:
    """The wait for the end of a program, for somebody with a loop of his own: step, and wait until it is worth it."""

    def __init__(self, talk: Talk, run: Run, lock: threading.RLock | None = None) -> None:
        self._talk = talk
        self._run = run
        self._lock = lock or threading.RLock()
        self._ready = Ready(run)

    def step(self) -> bool:
        """Look what has come, without waiting; return whether the program has ended.

        Raises:
            ClosedError: Its handle was closed before it had ended.
        """
        with self._lock:
            if not self._talk.ended and self._run.closed:
                raise ClosedError("this process handle is closed")
            return self._talk.ended or self._talk.step(0)

    def due(self) -> float:
        """Return when `step` is to be called although nothing has come, on the monotonic clock."""
        return self._talk.due(time.monotonic())

    def fileno(self) -> int:
        """Return what is readable when `step` has something to do."""
        with self._lock:
            return self._ready.fileno()

    def close(self) -> None:
        """Close what `fileno` has returned."""
        self._ready.close()
