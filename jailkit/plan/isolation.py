"""The honest list: every protection, whether it is in force, and the fact that proves it."""

from __future__ import annotations

from collections.abc import Iterator

from jailkit.plan.bare_walls import bare_walls
from jailkit.plan.bounds import Bounds, scratch
from jailkit.plan.denials import reported
from jailkit.plan.facts import Host
from jailkit.plan.groups import GROUP_FIELDS, GroupPlan
from jailkit.plan.identity import Ids
from jailkit.plan.landlock import rules_apply
from jailkit.plan.network import NetworkPlan, network_protection
from jailkit.plan.privileges import filter_code, granted
from jailkit.plan.protection import Protection
from jailkit.plan.seccomp import filter_of
from jailkit.spec import UNLIMITED, JailSpec, Level

__all__ = ["Protection", "isolation"]

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


def isolation(
    spec: JailSpec,
    host: Host,
    ids: Ids,
    bounded: Bounds,
    group: GroupPlan | None,
    network: NetworkPlan | None = None,
) -> tuple[Protection, ...]:
    """List every protection that a jail of this spec has and has not."""
    if spec.tier == "landlock":
        return (*bare_walls(spec, host), *_group_limits(spec, host, bounded, group), *_limits(spec, bounded))
    return (
        *_walls(spec, ids, host, network),
        *_privileges(spec, host),
        *_filters(spec, host),
        *_group_limits(spec, host, bounded, group),
        *_limits(spec, bounded),
    )


def _protection(name: str, holds: bool, fact: str, otherwise: str, *, weaker: bool = False) -> Protection:
    if not holds:
        return Protection(name, "absent", otherwise)
    return Protection(name, "degraded" if weaker else "enforced", fact)


def _walls(spec: JailSpec, ids: Ids, host: Host, plan: NetworkPlan | None) -> tuple[Protection, ...]:
    jail = spec.level >= Level.JAIL
    below = f"level {spec.level.name} shares it with the host"
    scoped = rules_apply(spec, host) and host.landlock >= 6
    sockets = "; its abstract sockets are out of reach by Landlock" if scoped else " and its abstract sockets"
    network = network_protection(spec, plan) or _protection(
        "network",
        spec.net != "host",
        "network namespace with nothing but a loopback of its own",
        f'net="host": the host\'s stack, its loopback{sockets}',
    )
    return (
        Protection("files", "enforced", "mount namespace, pivot_root, old root detached; every mount nosuid"),
        Protection("processes", "enforced", "pid namespace; all of it ends with PID 1"),
        Protection("users", "enforced", f"user namespace, ids by {ids.source}; the jail's root is not the host's"),
        network,
        _protection("hostname", jail, "UTS namespace", below),
        _protection("ipc", jail, "IPC namespace", below),
        Protection("devices", "enforced", "a /dev of six verified nodes; every other mount nodev"),
        _protection("proc", jail, "parts of /proc that tell of the host are masked", "a fresh /proc, unmasked"),
        Protection("cgroup view", "enforced", "each program is in a cgroup namespace of its own"),
        _protection("keyrings", host.keyrings, "a session keyring of the jail's own", "this kernel has no keyrings"),
    )


def _privileges(spec: JailSpec, host: Host) -> tuple[Protection, ...]:
    sandbox = spec.level >= Level.SANDBOX
    below = f"not part of level {spec.level.name}"
    ordinary = spec.effective_user.uid != 0
    return (
        _capabilities(spec, below),
        _protection(
            "no_new_privs",
            sandbox or filter_code(spec, host) is not None,
            "prctl(PR_SET_NO_NEW_PRIVS), inherited by every program",
            below,
        ),
        _protection(
            "ordinary user",
            ordinary,
            "programs run as an ordinary user of the jail",
            "programs run as uid 0 of the jail",
        ),
        _protection(
            "nested user namespaces",
            not spec.allow.nested,
            "user.max_user_namespaces is 0 inside",
            "Allow(nested=True): programs may make their own",
        ),
    )


def _group_limits(spec: JailSpec, host: Host, bounded: Bounds, group: GroupPlan | None) -> Iterator[Protection]:
    """List what a control group keeps, or an rlimit in its place, or nothing."""
    bare = spec.tier == "landlock"  # where the user is one for all jails
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
            yield Protection(f"limit: {name}", "enforced" if name == "processes" and not bare else "degraded", rlimit)
        else:
            why = host.no_cgroups if host.cgroups is None else "the control groups here have no such controller"
            yield Protection(f"limit: {name}", "absent", f"{amount} is the default, but {why}")


def _capabilities(spec: JailSpec, below: str) -> Protection:
    given = ", ".join(granted(spec))
    fact = f"all but {given}, which Allow gives" if given else "none: empty bounding set, capset(2) to nothing"
    return _protection("capabilities", spec.level >= Level.SANDBOX, fact, below, weaker=bool(given))


def _filters(spec: JailSpec, host: Host) -> tuple[Protection, ...]:
    return _seccomp(spec, host), _landlock(spec, host)


def _seccomp(spec: JailSpec, host: Host) -> Protection:
    policy, made = spec.effective_seccomp, filter_of(spec)
    if policy is None or made is None:
        why = "seccomp=False" if spec.seccomp is False else f"not part of level {spec.level.name}"
        return Protection("seccomp", "absent", why)
    if host.seccomp is None:
        return Protection("seccomp", "absent", "no libseccomp.so.2 here (apt install libseccomp2), or no filters")
    opened = "".join(f", {name} open" for name in spec.allow.named() if name not in ("mlock", "reserved_ports"))
    fact = f"policy {policy}: {made.allowed} system calls, {len(made.conditions)} conditions on arguments{opened}"
    return Protection("seccomp", "enforced", fact + reported(spec))


def _landlock(spec: JailSpec, host: Host) -> Protection:
    if not spec.effective_landlock:
        why = {True: "Allow(mount=True): Landlock forbids every mount", False: f"not part of level {spec.level.name}"}
        return Protection("landlock", "absent", "landlock=False" if spec.landlock is False else why[spec.allow.mount])
    if not rules_apply(spec, host):
        old = "ABI 1 refuses to move files between directories; landlock=True takes it all the same"
        return Protection("landlock", "absent", old if host.landlock else "this kernel has no Landlock")
    lacks = [f"no {what} (ABI {abi})" for abi, what in _LANDLOCK_LATER if host.landlock < abi]
    if spec.writable != "no":
        lacks.append(f'writable="{spec.writable}": what is writable is for the mounts alone to say')
    said = "; ".join([f"ABI {host.landlock}, files by path, TCP as the network namespace has it", *lacks])
    return Protection("landlock", "degraded" if lacks else "enforced", said)


_LANDLOCK_LATER = ((3, "rule for truncation"), (5, "rule for ioctl of devices"), (6, "scope of signals and sockets"))


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
        amount = UNLIMITED if spec.tier == "landlock" else scratch(limits)[name]
        fact = f"{amount}, {what} of the tmpfs behind /tmp, home, /dev/shm and an ephemeral root"
        listed.append(_protection(f"limit: {name}", amount != UNLIMITED, fact, "unlimited"))
    return tuple(listed)
