"""What ``jailkit-init`` says, as Python has it. See ``abi.h``."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from jailkit._native._ext import lib

__all__ = ["Event", "Report", "ReportKind", "report_of"]


class ReportKind(enum.IntEnum):
    """What a report of ``jailkit-init`` says; see ``abi.h``."""

    BORN = lib.JK_REPORT_BORN
    READY = lib.JK_REPORT_READY
    FAILED = lib.JK_REPORT_FAILED
    STARTED = lib.JK_REPORT_STARTED
    OPENED = lib.JK_REPORT_OPENED
    EXITED = lib.JK_REPORT_EXITED


class Event:
    """Why `Run.talk` came back: bits. Plain numbers, because operators of IntFlag take longer than the call."""

    REPORT: int = lib.JK_EVENT_REPORT
    FULL: int = lib.JK_EVENT_FULL
    TIMEOUT: int = lib.JK_EVENT_TIMEOUT
    SIGNAL: int = lib.JK_EVENT_SIGNAL
    LOST: int = lib.JK_EVENT_LOST


class Report(NamedTuple):
    """One report: which step failed, or how a program ended and what it used."""

    kind: ReportKind
    phase: int
    step: int
    error: int
    pid: int
    status: int
    user_us: int
    system_us: int
    max_rss_kib: int
    minor_faults: int
    major_faults: int
    blocks_in: int
    blocks_out: int
    switches: int
    preemptions: int
    scratch_bytes: int
    scratch_names: int
    init_us: int


def report_of(raw: Any) -> Report:
    """Return a ``struct jk_report`` as a `Report`."""
    used, init = raw.used, raw.init
    return Report(
        ReportKind(raw.kind),
        raw.phase,
        raw.step,
        raw.error,
        raw.pid,
        raw.status,
        used.user_s * 1_000_000 + used.user_us,
        used.system_s * 1_000_000 + used.system_us,
        used.max_rss_kib,
        used.minor_faults,
        used.major_faults,
        used.blocks_in,
        used.blocks_out,
        used.switches,
        used.preemptions,
        raw.scratch_bytes,
        raw.scratch_names,
        (init.user_s + init.system_s) * 1_000_000 + init.user_us + init.system_us,
    )
