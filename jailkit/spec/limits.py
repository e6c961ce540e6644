"""What a program, or a whole jail, may use up."""

from __future__ import annotations

from typing import Any

import attrs

from jailkit.spec import _validate as check
from jailkit.spec.level import Level
from jailkit.spec.units import UNLIMITED, GiB, MiB

__all__ = ["Limits", "is_limits"]


def _bytes(*, least: int = 1) -> Any:
    return attrs.field(default=None, validator=check.count_of("bytes", least))


def _count(what: str) -> Any:
    return attrs.field(default=None, validator=check.count_of(what, 1))


def _amount(what: str) -> Any:
    return attrs.field(default=None, validator=check.amount_of(what, check.MAX_SECONDS))


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds on resources; sizes are bytes, times are seconds.

    Every field is None (not asked for: the default of the level applies, see `default`), a
    number, or `UNLIMITED`. Control groups bound a whole jail; an rlimit bounds each process
    by itself, so a program that forks gets the allowance once per process. This version has
    no control groups: `memory`, `swap` and `cpus` are an `UnsupportedError`.

    Attributes:
        memory: Bytes of memory of the whole jail, caches included. Default: unlimited.
            Enforced by control groups, which end the program with reason MEMORY. Does not
            bound address space that is reserved and never touched.
        swap: Bytes of swap of the whole jail, on top of `memory`; may be 0. Default:
            unlimited. Enforced by control groups.
        cpu_seconds: Processor time of each process, user and system, rounded up to whole
            seconds. Default: 3600 at SANDBOX and CONTAINER. Enforced by RLIMIT_CPU. A
            program that forks multiplies it, and one that sleeps never reaches it: bound
            `wall_seconds` too.
        wall_seconds: Time on the clock from the start of the program. Default: unlimited.
            Enforced by the host, which kills the whole tree with reason WALL_TIME. Does not
            stop if the host program itself is stopped; then the kill is late.
        cpus: Processors' worth of time per second of the whole jail, as in 0.5. Default:
            unlimited. Enforced by control groups. A rate: it does not bound the total.
        processes: Processes and threads of the program's user, all programs of that user
            in the jail together. Default: 512 at SANDBOX and CONTAINER. Enforced by
            RLIMIT_NPROC, which does not bind who has CAP_SYS_RESOURCE on the host.
        open_files: One more than the highest descriptor of each process. Default: 1024 at
            SANDBOX and CONTAINER. Enforced by RLIMIT_NOFILE. Does not bound the sum
            over all processes.
        file_size: Bytes of the largest file a process may write. Default: 1 GiB at SANDBOX
            and CONTAINER. Enforced by RLIMIT_FSIZE (signal SIGXFSZ). Does not bound the
            number of files: for that see `disk`.
        stack: Bytes of the stack of each process. Default: 8 MiB at SANDBOX and CONTAINER.
            Enforced by RLIMIT_STACK for the main thread; also the default size of other
            threads' stacks.
        core: Bytes of a core file; may be 0. Default: 0 at every level. Enforced by
            RLIMIT_CORE. The kernel ignores it where the host's core_pattern is a pipe
            (core(5)): the program at its end then sees the memory of the crashed one.
        output: Bytes of stdout and stderr together that are captured per run; may be 0.
            Default: 64 MiB at every level. Enforced by the host, which ends the program
            with reason OUTPUT. Does not count output to a file or descriptor of the caller.
        disk: Bytes of everything private that the jail can write, in one sum: ``/tmp``, the
            home, ``/dev/shm``, the layer of an ephemeral root, each `Tmpfs` without a size.
            Default: 256 MiB at every level. Enforced by the size of the one tmpfs behind them
            (ENOSPC), which also bounds the number of files. What is in it is memory of the
            host. Does not bound a `Tmpfs` with a size, a writable bind or ``writable="yes"``.
        address_space: Bytes of address space of each process. Default: unlimited. Enforced
            by RLIMIT_AS. Breaks programs that reserve much and use little (Go, Java,
            sanitizers), and a program that forks gets it once per process.

    Whether the host can enforce a limit is not known here: a jail that cannot keep a limit
    asked for by name raises `UnsupportedError`.

    Raises:
        SpecError: A size is no int or is negative; a time is negative, zero or NaN; a number
            is a bool.

    >>> Limits(cpu_seconds=2).over(Limits(cpu_seconds=9, processes=4)).named()
    ('cpu_seconds', 'processes')
    """

    memory: float | None = _bytes()
    swap: float | None = _bytes(least=0)
    cpu_seconds: float | None = _amount("seconds")
    wall_seconds: float | None = _amount("seconds")
    cpus: float | None = _amount("processors")
    processes: float | None = _count("processes")
    open_files: float | None = _count("descriptors")
    file_size: float | None = _bytes()
    stack: float | None = _bytes()
    core: float | None = _bytes(least=0)
    output: float | None = _bytes(least=0)
    disk: float | None = _bytes()
    address_space: float | None = _bytes()

    def over(self, base: Limits) -> Limits:
        """Return these limits, with each field that is None taken from `base`.

        A field here wins even when it is larger: this combines requests, it does not bound one
        request by another.
        """
        return attrs.evolve(base, **{name: getattr(self, name) for name in self.named()})

    def named(self) -> tuple[str, ...]:
        """Return the names of the fields asked for (not None), in the order of the class."""
        names = (field.name for field in attrs.fields(type(self)))
        return tuple(name for name in names if getattr(self, name) is not None)

    @classmethod
    def default(cls, level: Level) -> Limits:
        """Return the limits of a level; every field is set, most of them to `UNLIMITED`."""
        nothing = cls(**{field.name: UNLIMITED for field in attrs.fields(cls)})
        every_level = cls(core=0, output=64 * MiB, disk=256 * MiB).over(nothing)
        if level < Level.CONTAINER:
            return every_level
        contained = cls(cpu_seconds=3600, processes=512, open_files=1024, file_size=1 * GiB, stack=8 * MiB)
        return contained.over(every_level)


def is_limits(instance: object, attribute: Any, value: Any) -> None:
    """Accept a `Limits` alone; the attrs validator of every field of that type."""
    if not isinstance(value, Limits):
        raise check.refuse(instance, attribute, value, "a Limits")
