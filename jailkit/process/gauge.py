"""What a live jail uses now, and how hard it presses on the machine."""

from __future__ import annotations

import time

import attrs

from jailkit._errors import UnsupportedError
from jailkit.process.cgroup import Group
from jailkit.process.result import Usage

__all__ = ["Pressure", "jail_usage", "parse_pressure"]


@attrs.frozen(kw_only=True)
class Pressure:
    """How long the jail's processes had to wait for one resource (PSI).

    Attributes:
        some_10: Share of the last 10 seconds, 0 to 1, in which at least one process waited.
        some_60: The same of the last minute.
        some_total: Seconds since the jail was made in which at least one process waited.
        full_10: Share of the last 10 seconds in which all of them waited; 0 where the kernel does not tell.
        full_60: The same of the last minute.
        full_total: Seconds in which all of them waited.
    """

    some_10: float = 0.0
    some_60: float = 0.0
    some_total: float = 0.0
    full_10: float = 0.0
    full_60: float = 0.0
    full_total: float = 0.0


def parse_pressure(text: str) -> Pressure:
    """Read a file of the kernel's, see Documentation/accounting/psi.rst.

    >>> parse_pressure("some avg10=1.50 avg60=0.25 avg300=0.00 total=2000000").some_10
    0.015
    """
    values = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        found = dict(pair.split("=", 1) for pair in pairs)
        for key in ("10", "60"):
            values[f"{kind}_{key}"] = float(found[f"avg{key}"]) / 100
        values[f"{kind}_total"] = int(found["total"]) / 1e6
    return Pressure(**values)


def jail_usage(group: Group | None, began: float) -> Usage:
    """Return what everything in a jail has used since its start, PID 1 included.

    Raises:
        UnsupportedError: The jail has no control group, which alone could tell.
    """
    if group is None:
        raise UnsupportedError(
            "jail.usage()",
            "the jail has no control group",
            "give it a limit that needs one, such as limits.memory, on a host that has them; see jail.isolation",
        )
    counters = group.counters()
    cpu_known = counters.cpu_user is not None and counters.cpu_system is not None
    known = counters.memory_peak is not None
    file = "memory.peak" if group.plan.version == 2 else "memory.max_usage_in_bytes"
    return Usage(
        cpu_user=counters.cpu_user or 0.0,
        cpu_system=counters.cpu_system or 0.0,
        cpu_source="cgroup" if cpu_known else "not known: no accounts of processor time",
        wall=time.monotonic() - began,
        memory=counters.memory,
        memory_peak=counters.memory_peak,
        memory_source=file if known else "not known: the kernel does not tell",
        processes=counters.processes,
        processes_peak=counters.processes_peak,
        io_read=counters.io_read,
        io_written=counters.io_written,
        throttled=counters.throttled,
    )
