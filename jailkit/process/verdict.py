"""From what the kernel and the clock say to a `Result`."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

from jailkit._native import Report
from jailkit.plan import Program, Protection
from jailkit.process.result import ExitReason, Result, Usage
from jailkit.process.talk import Captured

__all__ = ["judge"]

# RLIMIT_CPU is counted in ticks, which may run well ahead of what wait4(2) reports in the end, above all on a busy
# machine. A program that used so much and then sent itself the signal only slanders itself.
_SURELY: dict[int, float] = {signal.SIGXCPU: 0.5, signal.SIGKILL: 0.75}


def judge(
    report: Report | None,
    program: Program,
    *,
    captured: Captured,
    text: bool,
    host_verdict: ExitReason | None,
    wall: float,
    isolation: tuple[Protection, ...],
) -> Result[Any]:
    """Decide how a program ended. Without a report, PID 1 was killed, and the program with it."""
    returncode = os.waitstatus_to_exitcode(report.status) if report else -signal.SIGKILL
    used = (report.user_us + report.system_us) / 1e6 if report else 0.0
    stdout, stderr = captured.outputs(text=text)
    return Result(
        argv=program.argv,
        returncode=returncode,
        reason=host_verdict or _own_end(report, returncode, used, program.cpu_seconds),
        stdout=stdout,
        stderr=stderr,
        truncated=captured.full,
        usage=Usage(
            cpu_user=report.user_us / 1e6 if report else 0.0,
            cpu_system=report.system_us / 1e6 if report else 0.0,
            wall=wall,
            memory_peak=report.max_rss_kib * 1024 if report else None,
            memory_source="maxrss" if report else "not known: PID 1 was killed",
        ),
        isolation=isolation,
    )


def _own_end(report: Report | None, returncode: int, used: float, cpu_seconds: float) -> ExitReason:
    if report is None:
        return ExitReason.LOST
    # A program may send itself SIGXCPU: only with the time used up is it the limit's.
    if used >= _SURELY.get(-returncode, math.inf) * cpu_seconds:
        return ExitReason.CPU_TIME
    return ExitReason.SIGNALED if returncode < 0 else ExitReason.EXITED
