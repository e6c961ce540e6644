"""A jail that is built where nothing is measured, and moved to the processor of its program when that has its turn."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence

import attrs

from jailkit import ClosedError, CommandNotExecutable, Jail, JailkitError, Limits, Result
from jailkit.grading._box import ability
from jailkit.grading._cores import Cores

__all__ = ["Standing", "standing"]


@attrs.frozen
class Standing:
    """A jail that waits for its only program.

    Attributes:
        jail: It has the limits of that program, and the processors that it was built on.
    """

    jail: Jail

    def run(self, cpu: int, argv: Sequence[str], data: bytes) -> Result[bytes] | None:
        """Run the program on one processor; None, and nothing was run, where the jail is dead or cannot be moved.

        What it has used means the same as of `jailkit.run`: the peak of memory is that of the jail.
        """
        try:
            _move(self.jail, cpu)
        except (JailkitError, OSError):
            return None
        try:
            result: Result[bytes] = self.jail.run(argv, input=data)
        except ClosedError:  # it has died before the program was asked for
            return None
        return _whole(self.jail, result)


@contextlib.contextmanager
def standing(cores: Cores, jail: Jail) -> Iterator[Standing | None]:
    """Build a jail on a spare processor for a ``with`` block; yield None where that is no place for it."""
    with contextlib.ExitStack() as stack:
        with cores.bench() as fit:
            if fit:
                stack.enter_context(_closed_aside(cores, jail))
            found = _warm(jail) if fit else None
        yield found


@contextlib.contextmanager
def _closed_aside(cores: Cores, jail: Jail) -> Iterator[None]:
    jail.start()
    try:
        yield
    finally:
        with cores.aside():
            jail.close()


def _warm(jail: Jail) -> Standing:
    """Ask for what is no program: the kernel then has made what a first launch needs, see `jailkit.JailPool`."""
    with contextlib.suppress(CommandNotExecutable):
        jail.run(["/."])
    return Standing(jail)


def _move(jail: Jail, cpu: int) -> None:
    """Have what is in the jail run on one processor, and what it starts."""
    if ability().cpuset:
        jail.modify(limits=_only(cpu))
    else:
        os.sched_setaffinity(jail.pid, {cpu})  # of PID 1, of which every program inherits it


@functools.cache
def _only(cpu: int) -> Limits:
    return Limits(cpuset=str(cpu))


def _whole(jail: Jail, result: Result[bytes]) -> Result[bytes]:
    """Return a result with the peak of memory of the whole jail, as that of a jail for one program has it."""
    if not ability().memory:
        return result
    try:
        used = jail.usage()
    except ClosedError:  # the result says what has ended it
        return result
    usage = attrs.evolve(
        result.usage,
        memory_peak=used.memory_peak,
        memory_source=used.memory_source,
        processes_peak=used.processes_peak,
    )
    return attrs.evolve(result, usage=usage)
