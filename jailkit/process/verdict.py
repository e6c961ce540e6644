"""From what the kernel and the clock say to a `Result`."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from typing import Any

import attrs

from jailkit._native import Report
from jailkit.plan import Program, Protection
from jailkit.process.cgroup import Counters, Meter
from jailkit.process.result import Denial, ExitReason, Result, Usage
from jailkit.process.talk import Captured

__all__ = ["NO_ACCOUNT", "PRECEDENCE", "Account", "judge", "take_account"]

# RLIMIT_CPU is counted in ticks, which may run well ahead of what wait4(2) reports in the end, above all on a busy
# machine. A program that used so much and then sent itself the signal only slanders itself.
_SURELY: dict[int, float] = {signal.SIGXCPU: 0.5, signal.SIGKILL: 0.75}

PRECEDENCE = (
    ExitReason.MEMORY,
    ExitReason.OUTPUT,
    ExitReason.DISK,
    ExitReason.CPU_TIME,
    ExitReason.WALL_TIME,
    ExitReason.KILLED,
    ExitReason.LOST,
    ExitReason.SIGNALED,
    ExitReason.EXITED,
)
"""When several things are true of an end, the first in this order is the reason."""

_PAGE = 4096


_NOTHING_COUNTED = Counters()


@attrs.frozen(kw_only=True)
class Account:
    """What a control group tells of a program that has ended.

    Attributes:
        cpu: Seconds in user mode and in the kernel, of everything that the program started, or None.
        counters: What a group of the program's own has counted.
        starved: The kernel killed in the group for want of memory.
        shared: Others were in the group, and may have been meant.
        memory_file: The file that the peak of memory is from.
    """

    cpu: tuple[float, float] | None = None
    counters: Counters = _NOTHING_COUNTED
    starved: bool = False
    shared: bool = False
    memory_file: str = ""


NO_ACCOUNT = Account()


def take_account(meter: Meter | None, report: Report | None, *, alone: bool) -> Account:
    """Read the meter of a program that has ended; what PID 1 of a jail of its own has used is not the program's."""
    if meter is None:
        return NO_ACCOUNT
    cpu = meter.cpu()
    if cpu is not None and alone and report is not None:
        # Building the jail is work of the kernel's.
        cpu = cpu[0], max(0.0, cpu[1] - report.init_us / 1e6)
    return Account(
        cpu=cpu,
        counters=meter.counters(),
        starved=meter.starved(),
        shared=meter.company,
        memory_file="memory.peak" if meter.group.plan.version == 2 else "memory.max_usage_in_bytes",
    )


def judge(
    report: Report | None,
    program: Program,
    *,
    captured: Captured,
    text: bool,
    host_verdict: ExitReason | None,
    wall: float,
    isolation: tuple[Protection, ...],
    account: Account = NO_ACCOUNT,
    denials: tuple[Denial, ...] = (),
) -> Result[Any]:
    """Decide how a program ended. Without a report, PID 1 was killed, and the program with it."""
    returncode = os.waitstatus_to_exitcode(report.status) if report else -signal.SIGKILL
    stdout, stderr = captured.outputs(text=text)
    true = [*_reasons(report, returncode, program, account, ours=host_verdict is not None)]
    if host_verdict is not None:
        true.append(host_verdict)
    return Result(
        argv=program.argv,
        returncode=returncode,
        reason=true[0] if len(true) == 1 else min(true, key=PRECEDENCE.index),
        stdout=stdout,
        stderr=stderr,
        truncated=captured.full,
        usage=_usage(report, wall, account),
        isolation=isolation,
        denials=denials,
    )


def _reasons(
    report: Report | None, returncode: int, program: Program, account: Account, *, ours: bool
) -> Iterator[ExitReason]:
    """Say everything that is true of an end; `ours` is whether the host killed the program."""
    if account.starved and (not account.shared or returncode == -signal.SIGKILL):
        yield ExitReason.MEMORY
    if report is None:
        yield ExitReason.LOST
        return
    full = report.scratch_bytes < _PAGE or report.scratch_names == 0
    if full and returncode != 0 and program.disk != math.inf:
        yield ExitReason.DISK
    used = (report.user_us + report.system_us) / 1e6
    # A program may send itself SIGXCPU: only with the time used up is it the limit's.
    by_rlimit = not ours and used >= _SURELY.get(-returncode, math.inf) * program.cpu_seconds
    if by_rlimit or (account.cpu is not None and sum(account.cpu) >= program.cpu_limit):
        yield ExitReason.CPU_TIME
    yield ExitReason.SIGNALED if returncode < 0 else ExitReason.EXITED


def _usage(report: Report | None, wall: float, account: Account) -> Usage:
    counters = account.counters
    cpu, source = account.cpu, "cgroup"
    # Accounts of a group are of everything; those of wait4(2) of who was waited for. Where the two differ by the last
    # microseconds of the program alone, the later clock is the truth, and still of everything.
    waited = (report.user_us / 1e6, report.system_us / 1e6) if report else (0.0, 0.0)
    if cpu is None:
        cpu, source = waited, "rusage"
    cpu = max(cpu, waited, key=sum)
    peak, memory_source = counters.memory_peak, account.memory_file
    if peak is None:
        peak = report.max_rss_kib * 1024 if report else None
        memory_source = "maxrss" if report else "not known: PID 1 was killed"
    return Usage(
        cpu_user=cpu[0],
        cpu_system=cpu[1],
        cpu_source=source,
        wall=wall,
        memory_peak=peak,
        memory_source=memory_source,
        processes_peak=counters.processes_peak,
        io_read=counters.io_read,
        io_written=counters.io_written,
        throttled=counters.throttled,
        switches=report.switches if report else 0,
        preemptions=report.preemptions if report else 0,
    )
