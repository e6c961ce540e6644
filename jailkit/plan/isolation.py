"""The honest list: every protection, whether it is in force, and the fact that proves it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs

from jailkit.plan.bounds import Bounds, scratch
from jailkit.plan.facts import Host
from jailkit.plan.groups import GROUP_FIELDS, GroupPlan
from jailkit.plan.identity import Ids
from jailkit.spec import UNLIMITED, JailSpec, Level

__all__ = ["Protection", "isolation"]

State = Literal["enforced", "degraded", "absent"]

_RLIMITS = {
    "cpu_seconds": "RLIMIT_CPU, for each process by itself",
    "processes": "RLIMIT_NPROC, for all processes and threads of one user of the jail",
    "open_files": "RLIMIT_NOFILE, for each process by itself",
    "file_size": "RLIMIT_FSIZE, for each file",
    "stack": "RLIMIT_STACK, for each process by itself",
    "core": "RLIMIT_CORE, for each process by itself",
    "address_space": "RLIMIT_AS, for each process by itself",
    "locked_memory": "RLIMIT_MEMLOCK, for each process by itself",
    "message_queues": "RLIMIT_MSGQUEUE, for all processes of one user of the jail",
}


@attrs.frozen
class Protection:
    """One protection of a jail.

    Attributes:
        name: What is protected or bounded.
        state: ``enforced``, ``degraded`` (in force, but weaker than its name says) or ``absent``.
        fact: What makes it so.
    """

    name: str
    state: State
    fact: str


def isolation(spec: JailSpec, host: Host, ids: Ids, bounded: Bounds, group: GroupPlan | None) -> tuple[Protection, ...]:
    """List every protection that a jail of this spec has and has not."""
    return (
        *_walls(spec, ids, keyrings=host.keyrings),
        *_privileges(spec),
        *_group_limits(spec, host, bounded, group),
        *_limits(spec, bounded),
    )


def _protection(name: str, holds: bool, fact: str, otherwise: str, *, weaker: bool = False) -> Protection:
    if not holds:
        return Protection(name, "absent", otherwise)
    return Protection(name, "degraded" if weaker else "enforced", fact)


def _walls(spec: JailSpec, ids: Ids, *, keyrings: bool) -> tuple[Protection, ...]:
    jail = spec.level >= Level.JAIL
    below = f"level {spec.level.name} shares it with the host"
    network = {
        False: ("enforced", "network namespace with nothing but a loopback of its own"),
        "host": ("absent", 'net="host": the host\'s stack, its loopback and its abstract sockets'),
        True: ("enforced", "network namespace"),
    }[spec.net]
    return (
        Protection("files", "enforced", "mount namespace, pivot_root, old root detached; every mount nosuid"),
        Protection("processes", "enforced", "pid namespace; all of it ends with PID 1"),
        Protection("users", "enforced", f"user namespace, ids by {ids.source}; the jail's root is not the host's"),
        Protection("network", network[0], network[1]),  # type: ignore[arg-type]
        _protection("hostname", jail, "UTS namespace", below),
        _protection("ipc", jail, "IPC namespace", below),
        Protection("devices", "enforced", "a /dev of six verified nodes; every other mount nodev"),
        _protection("proc", jail, "parts of /proc that tell of the host are masked", "a fresh /proc, unmasked"),
        Protection("cgroup view", "enforced", "each program is in a cgroup namespace of its own"),
        _protection("keyrings", keyrings, "a session keyring of the jail's own", "this kernel has no keyrings"),
    )


def _privileges(spec: JailSpec) -> tuple[Protection, ...]:
    sandbox = spec.level >= Level.SANDBOX
    below = f"not part of level {spec.level.name}"
    ordinary = spec.effective_user.uid != 0
    return (
        _protection("capabilities", sandbox, "none: empty bounding set, capset(2) to nothing", below),
        _protection("no_new_privs", sandbox, "prctl(PR_SET_NO_NEW_PRIVS), inherited by every program", below),
        _protection(
            "ordinary user",
            ordinary,
            "programs run as an ordinary user of the jail",
            "programs run as uid 0 of the jail",
        ),
        Protection("nested user namespaces", "enforced", "user.max_user_namespaces is 0 inside"),
        Protection("seccomp", "absent", "this version has no system call filter"),
        Protection("landlock", "absent", "this version sets no Landlock rules"),
    )


def _group_limits(spec: JailSpec, host: Host, bounded: Bounds, group: GroupPlan | None) -> Iterator[Protection]:
    """List what a control group keeps, or an rlimit in its place, or nothing."""
    for name in GROUP_FIELDS:
        amount = getattr(spec.effective_limits, name)
        rlimit = f"{bounded.in_force[name]}, {_RLIMITS[name]}" if name in bounded.in_force else ""
        if amount == UNLIMITED:
            yield Protection(f"limit: {name}", "absent", "unlimited")
        elif group and name in group.fields:
            files = sorted({setting.file for setting in group.settings if setting.field == name})
            fact = f"{amount}, {', '.join(files) or 'accounts'} of a control group of version {group.version}"
            yield Protection(f"limit: {name}", "enforced", "; ".join(part for part in (fact, rlimit) if part))
        elif rlimit:
            # One user of the jail has one count, so this holds for the whole jail; processor time is per process.
            yield Protection(f"limit: {name}", "enforced" if name == "processes" else "degraded", rlimit)
        else:
            why = host.no_cgroups if host.cgroups is None else "the control groups here have no such controller"
            yield Protection(f"limit: {name}", "absent", f"{amount} is the default, but {why}")


def _limits(spec: JailSpec, bounded: Bounds) -> tuple[Protection, ...]:
    limits = spec.effective_limits
    listed = []
    for name, fact in _RLIMITS.items():
        if name not in GROUP_FIELDS:
            amount = bounded.in_force.get(name, UNLIMITED)
            listed.append(_protection(f"limit: {name}", amount != UNLIMITED, f"{amount}, {fact}", "unlimited"))
    for name, fact in (("wall_seconds", "the host's clock"), ("output", "the host stops reading and kills")):
        amount = getattr(limits, name)
        listed.append(_protection(f"limit: {name}", amount != UNLIMITED, f"{amount}, {fact}", "unlimited"))
    for name, what in (("disk", "size"), ("inodes", "names in")):
        amount = scratch(limits)[name]
        fact = f"{amount}, {what} of the tmpfs behind /tmp, home, /dev/shm and an ephemeral root"
        listed.append(_protection(f"limit: {name}", amount != UNLIMITED, fact, "unlimited"))
    return tuple(listed)
