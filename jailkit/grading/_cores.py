"""The processors, handed out one by one: a measured program has one for itself."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator

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


_SLOW = 6.0
"""How much longer than what a thread computes its work may take on a processor that is idle otherwise. To build a jail
took 2 to 3 times as long there, as an ordinary user 3 to 4 times, and 7 to 10 times beside a process that computes."""

_LONGEST = 63
"""How often at most spare processors are left alone after they were slow each time."""


class Cores:
    """A pool of processors.

    Args:
        cpus: Their numbers. Default: `physical`.
        spare: Those of cores on which nothing will be measured. Default: none.
    """

    def __init__(self, cpus: tuple[int, ...] | None = None, spare: tuple[int, ...] = ()) -> None:
        self.cpus = cpus or physical()
        self.spare = spare
        self._benches = len(spare)
        self._late = self._rest = 0  # how often not to ask next time, and how often is left of that
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
    def aside(self) -> Iterator[None]:
        """Keep this thread, and what it starts, on the spare processors for a ``with`` block."""
        with _pinned(self.spare):
            yield

    @contextlib.contextmanager
    def bench(self) -> Iterator[bool]:
        """Do the same for what somebody will wait for; yield False, and change nothing, where it is no place for that.

        It is none while a measured processor has nothing to do, while there is such work on each spare one, and for
        some time after that came too late or went slowly: then something else keeps them busy.
        """
        with self._changed:
            self._rest = max(0, self._rest - 1)
            mine = self._benches > 0 and not self._rest and not self._free
            self._benches -= mine
        if not mine:
            yield False
            return
        began, used = time.monotonic(), time.thread_time()
        try:
            with self.aside():
                yield True
        finally:
            slow = time.monotonic() - began > _SLOW * (time.thread_time() - used)
            with self._changed:
                self._benches += 1
                self._late = min(_LONGEST, 2 * self._late + 1) if slow or self._free else self._late // 2
                self._rest = self._late

    @contextlib.contextmanager
    def _lent(self, cpu: int) -> Iterator[None]:
        """Use a processor that was taken, and give it back."""
        try:
            with _pinned((cpu,)):
                yield
        finally:
            with self._changed:
                self._free.append(cpu)
                self._free.sort()
                self._changed.notify_all()


@contextlib.contextmanager
def _pinned(cpus: Iterable[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
