"""What a program, or a whole jail, may use up."""

from __future__ import annotations

from typing import Any

import attrs

from jailkit.spec import _validate as check
from jailkit.spec.level import Level
from jailkit.spec.units import UNLIMITED, GiB, KiB, MiB

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
    number, or `UNLIMITED`. A control group bounds all processes of a jail together; an rlimit
    bounds each process by itself, so a program that forks gets the allowance once per process.

    Given to a jail, the limits of control groups hold for all its programs together. Given to
    one `Jail.run`, they hold for that program and all it starts, within those of the jail.
    Where a host has no control group to give, a limit asked for by name that needs one is an
    `UnsupportedError`, and a default is listed in `Jail.isolation` as absent or degraded.

    Attributes:
        memory: Bytes of memory, caches, ``/tmp`` and ``/dev/shm`` included. Default: 2 GiB at
            SANDBOX and CONTAINER. Enforced by control groups (memory.max), which end the
            program with reason MEMORY. Does not bound address space that is reserved and
            never touched.
        swap: Bytes of swap on top of `memory`; may be 0. Default: 0 at SANDBOX and CONTAINER.
            Enforced by control groups (memory.swap.max).
        cpu_seconds: Processor time of each program of the jail with all that it has started,
            user and system. Default: 3600 at SANDBOX and CONTAINER. Enforced by the host by
            the accounts of the control group, which ends the program with reason CPU_TIME,
            and by RLIMIT_CPU (SIGXCPU) for each process, in whole seconds. A limit of whole
            seconds is SIGXCPU, as a rule, for a process that uses them up by itself (it counts
            ticks of the clock), and SIGKILL from the host 0.05 s later for all others. Without
            control groups only the former. A program that sleeps never reaches it: bound `wall_seconds` too.
        wall_seconds: Time on the clock from the start of the program. Default: unlimited.
            Enforced by the host, which kills the whole tree with reason WALL_TIME. Does not
            stop if the host program itself is stopped; then the kill is late.
        cpus: Processors' worth of time per second, as in 0.5; at least 0.01. Default:
            unlimited. Enforced by control groups (cpu.max). A rate: it does not bound the total.
        cpuset: The processors that may be used, as in ``"0-3,6"``. Default: all that the
            caller may use. Enforced by control groups (cpuset.cpus).
        cpu_weight: Share of the processor time where jails compete for it, 1 to 10000, where
            100 is usual. Default: the kernel's. Enforced by control groups (cpu.weight).
        processes: Processes and threads, all programs of one user in the jail together.
            Default: 512 at SANDBOX and CONTAINER. Enforced by RLIMIT_NPROC, which does not
            bind who has CAP_SYS_RESOURCE on the host, and by control groups (pids.max) where
            they cost nothing more (version 2) or the limit was asked for by name.
        read_bps: Bytes per second read from each block device. Default: unlimited. Enforced
            by control groups (io.max). What comes from the page cache does not count.
        write_bps: The same, written. On control groups of version 1 only what is written past
            the page cache (O_DIRECT) counts.
        read_iops: Read operations per second on each block device. As `read_bps`.
        write_iops: The same, written. As `write_bps`.
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
        inodes: Files, directories and other names in the same places. Default: one for each
            8 KiB of `disk`, at least 4096. Enforced by the same tmpfs (ENOSPC).
        locked_memory: Bytes that each process may lock in memory; may be 0. Default: 8 MiB at
            CONTAINER; the same at SANDBOX with `Allow.mlock`, and 0 without. Enforced by
            RLIMIT_MEMLOCK.
        message_queues: Bytes of POSIX message queues of one user of the jail. Default:
            800 KiB at SANDBOX and CONTAINER. Enforced by RLIMIT_MSGQUEUE. With Landlock rules
            none can be made at all (EACCES).
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
    cpus: float | None = attrs.field(default=None, validator=check.amount_of("processors", 10**6, least=0.01))
    cpuset: str | float | None = attrs.field(default=None, validator=check.cpu_list)
    cpu_weight: float | None = attrs.field(default=None, validator=check.count_of("shares", 1, most=10_000))
    processes: float | None = _count("processes")
    open_files: float | None = _count("descriptors")
    read_bps: float | None = _bytes()
    write_bps: float | None = _bytes()
    read_iops: float | None = _count("operations")
    write_iops: float | None = _count("operations")
    file_size: float | None = _bytes()
    stack: float | None = _bytes()
    core: float | None = _bytes(least=0)
    output: float | None = _bytes(least=0)
    disk: float | None = _bytes()
    inodes: float | None = attrs.field(default=None, validator=check.count_of("names", 64))
    locked_memory: float | None = _bytes(least=0)
    message_queues: float | None = _bytes(least=0)
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
        contained = cls(
            memory=2 * GiB,
            swap=0,
            cpu_seconds=3600,
            processes=512,
            open_files=1024,
            file_size=1 * GiB,
            stack=8 * MiB,
            locked_memory=8 * MiB,
            message_queues=800 * KiB,
        )
        return contained.over(every_level)


def is_limits(instance: object, attribute: Any, value: Any) -> None:
    """Accept a `Limits` alone; the attrs validator of every field of that type."""
    if not isinstance(value, Limits):
        raise check.refuse(instance, attribute, value, "a Limits")
