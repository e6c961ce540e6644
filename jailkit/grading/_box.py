"""What a jail of the grader is: its limits, as far as this host keeps them, and what it sees."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import attrs

from jailkit import Jail, Limits, MiB, UnsupportedError

__all__ = ["Ability", "ability", "bounded"]

ENV = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


_NO_MEMORY = (
    "no control group for memory: the memory limit bounds the address space of each process, and of some languages "
    "nothing (see jailkit doctor)"
)


@attrs.frozen
class Ability:
    """What this host can do for this caller.

    Attributes:
        memory: A bound on the memory of everything that a submission runs, by a control group.
        cpuset: The same for the processors it may use.
    """

    memory: bool
    cpuset: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of verdicts has to know."""
        return () if self.memory else (_NO_MEMORY,)


@functools.cache
def ability() -> Ability:
    """Find out by compiling plans, once; nothing is started."""
    first = min(os.sched_getaffinity(0))
    return Ability(_possible(Limits(memory=64 * MiB)), _possible(Limits(cpuset=str(first))))


def _possible(limits: Limits) -> bool:
    try:
        return bool(Jail(limits=limits).plan)
    except UnsupportedError:
        return False


def bounded(
    *,
    memory: int,
    cpu_seconds: float,
    wall_seconds: float,
    output: int,
    processes: int = 64,
    disk: int = 64 * MiB,
    cpus: Sequence[int] = (),
    address_space: bool = True,
) -> Limits:
    """Return limits that this host keeps.

    Args:
        memory: Bytes. Where there is no control group, of address space, if `address_space` says that makes sense.
        cpu_seconds: Processor time, at which the program is killed.
        wall_seconds: The same on the clock.
        output: Bytes of stdout and stderr.
        processes: Processes and threads.
        disk: Bytes of everything that can be written. They count as memory too.
        cpus: The processors to use; none for any.
        address_space: Whether a bound on the address space makes sense.
    """
    can = ability()
    limits = Limits(
        cpu_seconds=cpu_seconds,
        wall_seconds=wall_seconds,
        output=output,
        processes=processes,
        disk=disk,
        file_size=disk,
        stack=64 * MiB,
        memory=memory if can.memory else None,
        address_space=memory if not can.memory and address_space else None,
    )
    return attrs.evolve(limits, cpuset=",".join(map(str, cpus))) if cpus and can.cpuset else limits
