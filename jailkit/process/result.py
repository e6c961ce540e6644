"""What a program did: `Result`, `Usage`, `ExitReason`."""

from __future__ import annotations

import enum
import signal
from typing import Generic, TypeVar

import attrs

from jailkit._errors import ExitError
from jailkit.plan import Protection

__all__ = ["Denial", "ExitReason", "Output", "Result", "Usage"]

Output = TypeVar("Output", bytes, str)


class ExitReason(enum.Enum):
    """Why a program is no longer running. Decided on the host; nothing that the program says counts.

    When several things are true of an end, the first in this order is the reason: MEMORY, OUTPUT, DISK, CPU_TIME,
    WALL_TIME, KILLED, LOST, SIGNALED, EXITED. What the host does, it does for the first reason that it sees.
    """

    EXITED = "exited"
    """It ended by itself, with whatever exit code."""
    SIGNALED = "signaled"
    """A signal ended it, which it, another program of the jail, or the kernel for a fault of its own had sent."""
    WALL_TIME = "wall time"
    """It did not end within ``timeout`` or `Limits.wall_seconds`; it and all it had started was killed."""
    CPU_TIME = "cpu time"
    """It used up `Limits.cpu_seconds`, alone or with what it had started."""
    MEMORY = "memory"
    """`Limits.memory` was used up, and the kernel killed a process of the program for it; the rest was killed by the
    host. Also when the program itself ended by its own will, with whatever code, after it had lost a child so."""
    OUTPUT = "output"
    """It wrote more than `Limits.output` bytes to stdout and stderr, and was killed, unless it had ended by then."""
    DISK = "disk"
    """It failed, with an exit code other than 0 or by a signal, while nothing was left of `Limits.disk` or
    `Limits.inodes`. (A program that fills the disk sees ENOSPC, and is not killed for it.)"""
    KILLED = "killed"
    """The caller killed it: `Process.kill`, or the jail was closed."""
    LOST = "lost"
    """The jail ended under it: PID 1 of the jail was killed from outside. How the program ended is not known."""


@attrs.frozen(kw_only=True)
class Usage:
    """What a program used. Measured by the kernel and by the host's clock.

    Attributes:
        cpu_user: Seconds in user mode.
        cpu_system: The same, in the kernel.
        cpu_source: ``cgroup``: of the program and all that it has started. ``rusage``: of the program and of the
            children it has waited for (wait4(2)); that is so where the jail has no control group with accounts, and
            where several programs of a jail ran side by side in one group.
        wall: Seconds from the request to the report of the end, by the host's monotonic clock.
        memory_peak: Bytes, or None where nobody measured it.
        memory_source: What `memory_peak` is: ``memory.peak`` (control groups of version 2) and
            ``memory.max_usage_in_bytes`` (version 1) are the most that everything together used at once, caches
            included; ``maxrss`` is the largest resident size that a single process of the program reached.
        processes_peak: Most processes and threads at once, PID 1 of the jail among them where the program was alone in
            its jail; None where no control group tells.
        io_read: Bytes read from block devices, or None where no control group tells.
        io_written: Bytes written to block devices, or None.
        memory: Of a live jail: bytes now.
        processes: Of a live jail: processes and threads now, PID 1 among them.
        throttled: Seconds for which `Limits.cpus` kept it from running, or None.
        switches: Voluntary context switches, of the program and of the children it has waited for.
        preemptions: Involuntary ones.

    A program has a control group of its own when it is alone in its jail (`jailkit.run`), and when `Jail.run` is
    given limits that need one. The others of a jail share its group: they have no peak of their own but ``maxrss``.
    """

    cpu_user: float
    cpu_system: float
    wall: float
    memory_peak: int | None
    memory_source: str
    processes_peak: int | None = None
    cpu_source: str = "rusage"
    io_read: int | None = None
    io_written: int | None = None
    throttled: float | None = None
    switches: int = 0
    preemptions: int = 0
    memory: int | None = None
    processes: int | None = None

    @property
    def cpu(self) -> float:
        """Seconds of processor time, user and system."""
        return self.cpu_user + self.cpu_system


@attrs.frozen(kw_only=True)
class Denial:
    """Something that the jail refused, as the host program saw it.

    Told by the filter of system calls (seccomp(2)), which is the jail's and cannot be left; addresses are read from the
    memory of the caller, which may change it meanwhile: they are its word. What is not seen: a call that is refused
    with ENOSYS, of which libraries use another; files that are not in the jail, and what their modes, mounts and
    Landlock refuse; without a network, datagrams with an address of their own.

    With a network that has a way out, its packet filter tells of the connections (TCP), datagrams (UDP, UDP-Lite, DCCP,
    SCTP) and pings (ICMP) that a rule refused. These are the kernel's word, but not of which program: what programs
    are refused that run side by side in one network is told of the one that ends next. Not told is what is beyond
    1024 different addresses.

    Attributes:
        call: Name of the system call, of packets ``connect`` or ``sendto``; "" where more different things were
            refused than are listed.
        what: The same with what can be said of its arguments, such as ``connect to 10.0.0.1:80``.
        count: How often.
        remedy: The argument of `Jail` that would allow it; "" where none does.

    >>> print(Denial(call="ptrace", what="ptrace", count=1, remedy="allow=Allow(ptrace=True)"))
    ptrace was refused; allow it with allow=Allow(ptrace=True)
    """

    call: str
    what: str
    count: int
    remedy: str

    def __str__(self) -> str:
        times = f" {self.count} times" if self.count > 1 else ""
        return f"{self.what} was refused{times}{f'; allow it with {self.remedy}' if self.remedy else ''}"


@attrs.frozen(order=True)
class Refused:
    """Packets that the filter of a jail's network has refused.

    Attributes:
        protocol: ``tcp``, ``udp``, ``dccp``, ``sctp``, ``udplite`` or ``ping``.
        address: Where they were to go.
        port: The same; 0 for ``ping``.
        count: How many.
    """

    protocol: str
    address: str
    port: int
    count: int


@attrs.frozen(kw_only=True)
class Result(Generic[Output]):
    r"""How a program ended and what it wrote.

    Attributes:
        argv: The program and its arguments.
        returncode: Its exit code, or the negative number of the signal that ended it, as in `subprocess`.
        reason: Why it ended, see `ExitReason`.
        stdout: What it wrote, as far as `Limits.output` goes: more than that is cut in the middle. Empty when stdout
            was not captured. Bytes, or str with ``text=True`` (UTF-8, undecodable bytes as ``\ufffd``).
        stderr: The same.
        truncated: Whether something was cut from `stdout` or `stderr`.
        usage: What it used.
        isolation: The protections of its jail, and whether each was in force.
        denials: With ``report_denials=True``, what it and all that it started were refused; else empty.
    """

    argv: tuple[bytes, ...]
    returncode: int
    reason: ExitReason
    stdout: Output
    stderr: Output
    truncated: bool
    usage: Usage
    isolation: tuple[Protection, ...] = attrs.field(repr=False)
    denials: tuple[Denial, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.reason is ExitReason.EXITED and self.returncode == 0

    @property
    def signal(self) -> signal.Signals | int | None:
        """The signal that ended it, or None; a plain number for a real-time signal without a name."""
        if self.returncode >= 0:
            return None
        try:
            return signal.Signals(-self.returncode)
        except ValueError:
            return -self.returncode

    @property
    def signal_name(self) -> str | None:
        """The name of the signal that ended it, such as ``SIGSEGV``, or None."""
        number = self.signal
        return number.name if isinstance(number, signal.Signals) else None if number is None else f"signal {number}"

    def check(self) -> Result[Output]:
        """Return this result if it is `ok`.

        Raises:
            ExitError: It is not; the error carries this result.
        """
        if not self.ok:
            raise ExitError(self)
        return self

    def __str__(self) -> str:
        how = self.signal_name or f"exit code {self.returncode}"
        return f"{self.reason.value} ({how}) after {self.usage.wall:.3f} s"
