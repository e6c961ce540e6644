"""The processors, handed out one by one: a measured program has one for itself."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator

__all__ = ["Cores", "busy", "physical"]


def physical() -> tuple[int, ...]:
    """Return one processor of each core that this process may use: two threads of a core slow each other down."""
    seen: set[str] = set()
    found = []
    for cpu in sorted(os.sched_getaffinity(0)):
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
                core = file.read()
        except OSError:
            core = str(cpu)
        if core not in seen:
            seen.add(core)
            found.append(cpu)
    return tuple(found)


_BUSY = 25.0
"""Percent of the last ten seconds."""


def busy() -> bool:
    """Return whether something had to wait for a processor for a good part of the last ten seconds.

    The kernel counts that for the whole machine (PSI). Where it does not, this is true: nobody knows.
    """
    try:
        with open("/proc/pressure/cpu") as file:
            found = re.search(r"^some avg10=(\d+\.\d+)", file.read(), re.MULTILINE)
    except OSError:
        found = None
    return found is None or float(found[1]) >= _BUSY


class Cores:
    """A pool of processors.

    Args:
        cpus: Their numbers. Default: `physical`.
    """

    def __init__(self, cpus: tuple[int, ...] | None = None) -> None:
        self.cpus = cpus or physical()
        self._free = list(self.cpus)
        self._alone = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def one(self) -> Iterator[int]:
        """Have a processor for a ``with`` block; this thread, and what it starts, runs on it alone.

        What a thread starts has its affinity (sched_setaffinity(2)), which a program could change; where there are
        control groups, `Limits.cpuset` holds it there.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._free and not self._alone)
            cpu = self._free.pop(0)
        with self._lent(cpu):
            yield cpu

    @contextlib.contextmanager
    def alone(self) -> Iterator[int]:
        """The same, with no other measured program of this pool running meanwhile."""
        with self._changed:
            self._alone += 1
            self._changed.wait_for(lambda: len(self._free) == len(self.cpus))
            cpu = self._free.pop(0)
        try:
            with self._lent(cpu):
                yield cpu
        finally:
            with self._changed:
                self._alone -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def _lent(self, cpu: int) -> Iterator[None]:
        """Use a processor that was taken, and give it back."""
        try:
            with _pinned(cpu):
                yield
        finally:
            with self._changed:
                self._free.append(cpu)
                self._free.sort()
                self._changed.notify_all()


@contextlib.contextmanager
def _pinned(cpu: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
