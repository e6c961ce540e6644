"""Limits as the kernel takes them: resource limits, within what this process may still set. setrlimit(2)."""

from __future__ import annotations

import functools
import math

import attrs

from jailkit._errors import UnsupportedError
from jailkit.spec import UNLIMITED, Level, Limits

__all__ = ["Bounds", "bounds", "scratch"]

_RLIMITS = (
    ("cpu_seconds", "RLIMIT_CPU"),
    ("processes", "RLIMIT_NPROC"),
    ("open_files", "RLIMIT_NOFILE"),
    ("file_size", "RLIMIT_FSIZE"),
    ("stack", "RLIMIT_STACK"),
    ("core", "RLIMIT_CORE"),
    ("address_space", "RLIMIT_AS"),
    ("locked_memory", "RLIMIT_MEMLOCK"),
    ("message_queues", "RLIMIT_MSGQUEUE"),
)


@attrs.frozen(kw_only=True)
class Bounds:
    """What bounds one program.

    Attributes:
        rlimits: Names of the kernel's limits, soft and hard amounts.
        in_force: By name of the field of `Limits`, the amount that is really in force; without those that have none.
        wall_seconds: Time that it may take, or inf.
        output: Bytes that it may write to stdout and stderr together, or inf.
        cpu_limit: Processor time for it and all that it starts, not rounded, or inf.
    """

    rlimits: tuple[tuple[str, int, int], ...]
    in_force: dict[str, int] = attrs.field(hash=False)
    wall_seconds: float
    output: float
    cpu_limit: float

    @property
    def cpu_seconds(self) -> float:
        """Processor time that is allowed, or inf."""
        return self.in_force.get("cpu_seconds", UNLIMITED)


@functools.lru_cache(maxsize=64)
def bounds(own: Limits, jail: Limits, level: Level, ids: str, hard_limits: tuple[tuple[str, int], ...]) -> Bounds:
    """Join the limits of a program, of its jail and of the level; the same few come again and again.

    Raises:
        UnsupportedError: A limit that was asked for by name is above a hard limit.
    """
    limits = own.over(jail).over(Limits.default(level))
    named = {*own.named(), *jail.named()}
    hard = dict(hard_limits)
    rlimits, in_force = [], {}
    for field, name in _RLIMITS:
        amount = getattr(limits, field)
        if amount == UNLIMITED or (field == "processes" and ids == "own"):
            continue  # the count is of all processes of the caller
        rlimit = _rlimit(field, name, amount, field in named, ids, hard.get(name, -1))
        rlimits.append(rlimit)
        in_force[field] = rlimit[1] - _extra(field, ids)
    return Bounds(
        rlimits=tuple(rlimits),
        in_force=in_force,
        wall_seconds=limits.wall_seconds or UNLIMITED,
        output=limits.output if limits.output is not None else UNLIMITED,
        cpu_limit=limits.cpu_seconds or UNLIMITED,
    )


def _extra(field: str, ids: str) -> int:
    # PID 1 of the jail has the same id there, and counts; and the guard of the program, where there is one.
    return {"one": 1, "lent": 2}.get(ids, 0) if field == "processes" else 0


def _rlimit(field: str, name: str, amount: float, asked: bool, ids: str, most: int) -> tuple[str, int, int]:
    soft = math.ceil(amount) + _extra(field, ids)
    if most >= 0 and soft > most:
        if asked:
            raise UnsupportedError(
                f"limits.{field}={amount}",
                f"the hard {name} of this process is {most}",
                f"raise it, or ask for at most {most - _extra(field, ids)}",
            )
        soft = most
    # SIGXCPU at the soft limit can be caught, so the hard one is a second later.
    hard = min(soft + 1, most) if field == "cpu_seconds" and most >= 0 else soft + (field == "cpu_seconds")
    return name, soft, hard


def scratch(limits: Limits) -> dict[str, float]:
    """Return the bounds, as far as there are any, on bytes and names of what a jail can write."""
    disk = UNLIMITED if limits.disk is None else limits.disk
    # An inode costs about a KiB of kernel memory, whatever is in it.
    derived = UNLIMITED if disk == UNLIMITED else max(4096, int(disk) // 8192)
    asked = UNLIMITED if limits.inodes is None else limits.inodes
    return {"disk": disk, "inodes": derived if asked == UNLIMITED else asked}
