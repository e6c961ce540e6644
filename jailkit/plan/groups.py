"""Limits that control groups keep: which groups are made, and what is written into their files. cgroups(7)."""

from __future__ import annotations

import functools
import math

import attrs

from jailkit._errors import UnsupportedError
from jailkit.plan.facts import Cgroups, Host
from jailkit.spec import UNLIMITED, Limits

__all__ = [
    "ELSEWHERE",
    "GROUP_FIELDS",
    "GroupPlan",
    "Setting",
    "accounts_group",
    "changed_settings",
    "jail_group",
    "program_group",
]

_CONTROLLERS = {
    "memory": "memory",
    "swap": "memory",
    "cpus": "cpu",
    "cpu_weight": "cpu",
    "cpuset": "cpuset",
    "processes": "pids",
    "read_bps": "io",
    "write_bps": "io",
    "read_iops": "io",
    "write_iops": "io",
    "cpu_seconds": "cpuacct",
}
GROUP_FIELDS = tuple(_CONTROLLERS)
"""The fields of `Limits` that a control group keeps, alone or beside something else."""

ELSEWHERE = ("processes", "cpu_seconds")
"""Fields that an rlimit keeps too, in a weaker way: without a control group they are degraded, not refused."""

_V1_TREES = {"io": "blkio"}
"""Trees of version 1 whose names are not those of version 2."""

_PERIOD_US = 100_000
_NO_LIMIT_V1 = str(2**63 - 4096)


@attrs.frozen
class Setting:
    """One file of a control group and what is written into it.

    Attributes:
        controller: Whose file it is; the name of a tree in version 1.
        file: Its name.
        text: What is written.
        field: The field of `Limits` that it is for.
    """

    controller: str
    file: str
    text: str
    field: str


@attrs.frozen(kw_only=True)
class GroupPlan:
    """The control group of a jail, or of one program.

    Attributes:
        version: 2 or 1.
        parents: Pairs of a tree and the directory in it where the group is made; the tree is "" in version 2.
        enable: Controllers that the group needs, in version 2.
        settings: What is written into its files, in this order.
        files: Files that a group has there, out of those that not every kernel has.
        fields: The fields of `Limits` that it keeps.
        freezer: In version 1, where a group is made when the jail is paused, or None.
    """

    version: int
    parents: tuple[tuple[str, str], ...]
    enable: tuple[str, ...]
    settings: tuple[Setting, ...]
    files: frozenset[str]
    fields: frozenset[str]
    freezer: str | None = None

    @property
    def directories(self) -> tuple[str, ...]:
        """Where groups are made, each place once: controllers of version 1 may share a tree."""
        return tuple(dict.fromkeys(directory for _, directory in self.parents))


def jail_group(limits: Limits, named: frozenset[str], host: Host) -> GroupPlan | None:
    """Decide the group of a jail; None if it needs none, or none can be had for what nobody asked for by name.

    Raises:
        UnsupportedError: A limit was asked for by name that only a control group keeps, and this host has none to
            give, or not with that controller.
    """
    wanted = [field for field in GROUP_FIELDS if getattr(limits, field) != UNLIMITED]
    if host.cgroups is None:
        for field in wanted:
            if field in named and field not in ELSEWHERE:
                raise UnsupportedError(
                    f"limits.{field}", f"no control group can be made: {host.no_cgroups}", _delegation(field)
                )
        return None
    if host.cgroups.version == 1 and limits.memory == UNLIMITED and "swap" in wanted:
        wanted.remove("swap")  # version 1 bounds memory and swap in one sum
        if "swap" in named:
            raise UnsupportedError(
                "limits.swap without limits.memory", "control groups of version 1 bound their sum", "give both"
            )
    kept = tuple(field for field in wanted if _kept(field, named, host.cgroups))
    return _group(limits, kept, host.cgroups) if kept else None


def program_group(own: Limits, jail: Limits, host: Host) -> GroupPlan | None:
    """Decide the group of one program of a jail that can have several, within the jail's group.

    Args:
        own: What was asked for by name for this program.
        jail: What is in force for the jail.
        host: The facts of the host.

    Raises:
        UnsupportedError: As of `jail_group`.
    """
    named = {field for field in GROUP_FIELDS if getattr(own, field) not in (None, UNLIMITED)}
    if not named:
        return None
    asked = own.over(jail)
    values = {field: getattr(asked, field) for field in named | ({"memory"} if "swap" in named else set())}
    return jail_group(Limits(**values).over(_NOTHING), frozenset(named), host)


def accounts_group(host: Host) -> GroupPlan | None:
    """Return a group that only counts processor time, for programs that run side by side in one jail."""
    if host.cgroups is None or "cpuacct" not in host.cgroups.controllers:
        return None
    return _group(_NOTHING, ("cpu_seconds",), host.cgroups)


_NOTHING = Limits(**{field.name: UNLIMITED for field in attrs.fields(Limits)})


def _kept(field: str, named: frozenset[str], cgroups: Cgroups) -> bool:
    """Whether the group keeps a limit.

    Raises:
        UnsupportedError: It was asked for by name and cannot be kept.
    """
    if _CONTROLLERS[field] in cgroups.controllers and (field != "swap" or _swap_file(cgroups) in cgroups.files):
        # In version 1 each tree costs a directory, a move and a removal; the rlimit is there anyway.
        return cgroups.version == 2 or field in named or field not in ELSEWHERE
    if field not in named or field in ELSEWHERE:
        return False
    where = ", ".join(directory for _, directory in cgroups.parents)
    missing = "the kernel does not account for swap" if field == "swap" else f"no controller {_CONTROLLERS[field]}"
    raise UnsupportedError(f"limits.{field}", f"{missing} in {where}", _remedy(field))


def _swap_file(cgroups: Cgroups) -> str:
    return "memory.swap.max" if cgroups.version == 2 else "memory.memsw.limit_in_bytes"


def _remedy(field: str) -> str:
    if field == "swap":
        return "boot with swapaccount=1, or leave limits.swap out"
    return _delegation(field)


def _delegation(field: str) -> str:
    controller = _CONTROLLERS[field]
    return (
        f"give this process a delegated control group with the controller {controller}: start it by "
        "`systemd-run --scope --user -p Delegate=yes` (or as a service with Delegate=yes), or name a group that it may "
        "write to with cgroup= or JAILKIT_CGROUP"
    )


@functools.lru_cache(maxsize=64)
def _group(limits: Limits, kept: tuple[str, ...], cgroups: Cgroups) -> GroupPlan:
    make = _settings_v2 if cgroups.version == 2 else _settings_v1
    settings = tuple(setting for field in kept for setting in make(field, limits, cgroups))
    if cgroups.version == 2:
        parents: tuple[tuple[str, str], ...] = cgroups.parents
        enable = tuple(sorted({_CONTROLLERS[field] for field in kept} - {"cpuacct"}))
    else:
        trees = [_V1_TREES.get(_CONTROLLERS[field], _CONTROLLERS[field]) for field in kept]
        parents, enable = tuple((tree, cgroups.parent(tree)) for tree in dict.fromkeys(trees)), ()
    return GroupPlan(
        version=cgroups.version,
        parents=parents,
        enable=enable,
        settings=settings,
        files=cgroups.files,
        fields=frozenset(kept),
        freezer=dict(cgroups.parents).get("freezer"),
    )


def changed_settings(limits: Limits, group: GroupPlan, cgroups: Cgroups) -> tuple[Setting, ...]:
    """Return what to write into the files of a group that exists, for limits that it keeps already.

    Args:
        limits: Those that are to change.
        group: The group.
        cgroups: Where it was made: on which devices limits of I/O are is a fact of the host.

    Raises:
        UnsupportedError: The group has no files for one of them: it was not among the limits at the start.
    """
    named = [field for field in limits.named() if field in GROUP_FIELDS]
    for field in named:
        if field not in group.fields and not (group.version == 2 and _CONTROLLERS[field] in (*group.enable, "cpuacct")):
            raise UnsupportedError(
                f"limits.{field} of a live jail",
                "the jail was started without a control group for it",
                f"give the jail limits.{field} when it is made, and change it later",
            )
    make = _settings_v2 if group.version == 2 else _settings_v1
    return tuple(setting for field in named for setting in make(field, limits, cgroups))


def _number(amount: float, none: str, extra: int = 0) -> str:
    return none if amount == UNLIMITED else str(int(amount) + extra)


def _settings_v2(field: str, limits: Limits, cgroups: Cgroups) -> list[Setting]:
    amount = getattr(limits, field)
    if field == "memory":
        return [Setting("memory", "memory.max", _number(amount, "max"), field)]
    if field == "swap":
        return [Setting("memory", "memory.swap.max", _number(amount, "max"), field)]
    if field == "cpus":
        quota = "max" if amount == UNLIMITED else str(max(1000, math.ceil(amount * _PERIOD_US)))
        return [Setting("cpu", "cpu.max", f"{quota} {_PERIOD_US}", field)]
    if field == "cpu_weight":
        return [Setting("cpu", "cpu.weight", _number(amount, "100"), field)]
    if field == "cpuset":
        return [Setting("cpuset", "cpuset.cpus", "" if amount == UNLIMITED else amount, field)]
    if field == "processes":
        return [Setting("pids", "pids.max", _number(amount, "max", 1), field)]  # PID 1 of the jail is one
    if field == "cpu_seconds":
        return []  # the host looks at the accounts
    key = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}[field]
    return [Setting("io", "io.max", f"{device} {key}={_number(amount, 'max')}", field) for device in cgroups.devices]


_V1_FILES = {
    "memory": ("memory", "memory.limit_in_bytes"),
    "cpu_weight": ("cpu", "cpu.shares"),
    "cpuset": ("cpuset", "cpuset.cpus"),
    "processes": ("pids", "pids.max"),
    "read_bps": ("blkio", "blkio.throttle.read_bps_device"),
    "write_bps": ("blkio", "blkio.throttle.write_bps_device"),
    "read_iops": ("blkio", "blkio.throttle.read_iops_device"),
    "write_iops": ("blkio", "blkio.throttle.write_iops_device"),
}


def _settings_v1(field: str, limits: Limits, cgroups: Cgroups) -> list[Setting]:
    amount = getattr(limits, field)
    if field == "cpu_seconds":
        return []
    if field == "swap":
        # Of memory and swap together, and never below the bound for memory alone.
        assert limits.memory is not None  # noqa: S101 - of a jail every field is set
        text = _number(limits.memory + amount, _NO_LIMIT_V1)
        return [Setting("memory", "memory.memsw.limit_in_bytes", text, field)]
    if field == "cpus":
        quota = "-1" if amount == UNLIMITED else str(max(1000, math.ceil(amount * _PERIOD_US)))
        return [
            Setting("cpu", "cpu.cfs_period_us", str(_PERIOD_US), field),
            Setting("cpu", "cpu.cfs_quota_us", quota, field),
        ]
    tree, file = _V1_FILES[field]
    if tree == "blkio":
        rate = _number(amount, "0")
        return [Setting(tree, file, f"{device} {rate}", field) for device in cgroups.devices]
    if field == "cpu_weight":
        text = "1024" if amount == UNLIMITED else str(max(2, round(amount * 1024 / 100)))
    elif field == "cpuset":
        text = "" if amount == UNLIMITED else amount
    else:
        text = _number(amount, _NO_LIMIT_V1 if field == "memory" else "max", 1 if field == "processes" else 0)
    return [Setting(tree, file, text, field)]
