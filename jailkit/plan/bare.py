"""The tier ``landlock``: a jail without namespaces and without privileges. See docs/decisions/0009.

Paths are the host's. What may be read is what a jail of the other tiers sees of the host without asking, and the binds;
what may be written is one private directory, and the writable binds. PID 1 is an ordinary process in a Landlock domain,
and ends everything in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from jailkit._errors import UnsupportedError
from jailkit.plan.bounds import bounds
from jailkit.plan.devices import NODES
from jailkit.plan.facts import Host
from jailkit.plan.groups import GroupPlan, jail_group
from jailkit.plan.identity import Ids, birth_without_namespaces, join_groups
from jailkit.plan.isolation import isolation
from jailkit.plan.landlock import CHANGE, READ, path_rule, ruleset
from jailkit.plan.plan import Plan
from jailkit.plan.privileges import filters, refuse_unsupported_report
from jailkit.plan.steps import Step, step
from jailkit.spec import UNLIMITED, Bind, JailSpec, Level, Limits, User

__all__ = ["compile_bare", "refuse_user_limits"]

_LEAST_ABI = 6
_NAMES = ("resolv.conf", "hosts", "nsswitch.conf", "gai.conf", "ssl", "ca-certificates")
"""What programs read in /etc to use the host's network."""

_OPEN_ALLOWED = ("ptrace", "mlock")
"""Switches of `Allow` that mean the same without namespaces."""


def compile_bare(spec: JailSpec, host: Host) -> Plan:
    """Decide the steps of a jail without namespaces.

    Raises:
        UnsupportedError: The spec asks for what only namespaces give, or the host lacks what the tier stands on.
    """
    _refuse_host(host)
    _refuse_spec(spec)
    refuse_unsupported_report(spec, host)
    ids = _ids(host)
    user = User(ids.uids[0][0], ids.gids[0][0], name=spec.effective_user.name, home=host.private)
    group = jail_group(spec.effective_limits, frozenset(spec.limits.named()), host)
    refuse_user_limits(spec.limits, ids, group)
    bounded = bounds(Limits(), spec.bounded_limits, spec.level, ids.source, host.hard_limits)
    return Plan(
        host_steps=tuple(birth_without_namespaces(group)),
        jail_steps=(
            *join_groups(group),
            step("chdir", "not in a directory of the caller", path="/"),
            *_rules(spec, host),
            *_become(ids, host),
            *_confine(spec, host),
        ),
        ids=ids,
        cwd=spec.cwd or host.private,
        needs_id_slice=False,
        tier="landlock",
        isolation=isolation(spec, host, ids, bounded, group),
        group=group,
        user=user,
        private=host.private,
    )


def _ids(host: Host) -> Ids:
    uid, gid = (host.uid, host.gid) if host.lent_id is None else (host.lent_id, host.lent_id)
    lent = host.lent_id is not None
    return Ids(
        uids=((uid, uid, 1, False),),
        gids=((gid, gid, 1, False),),
        setgroups=False,  # PID 1 has dropped them, or may not
        pid1=uid,
        source="lent" if lent else "own",
    )


# --- what cannot be ---------------------------------------------------------------------------------------------


def _refuse_host(host: Host) -> None:
    if host.landlock < _LEAST_ABI:
        have = f"this kernel's Landlock has ABI {host.landlock}" if host.landlock else "this kernel has no Landlock"
        raise UnsupportedError(
            'tier="landlock"',
            f"{have}: below 6, programs of a jail could kill any process of the caller",
            "Linux 6.12 or newer, with landlock in its lsm= list",
        )
    if host.seccomp is None:
        raise UnsupportedError(
            'tier="landlock"',
            "libseccomp.so.2 cannot be loaded, or the kernel has no filters of system calls",
            "apt install libseccomp2, on a kernel with CONFIG_SECCOMP_FILTER",
        )
    if host.is_root and host.lent_id is None:
        raise UnsupportedError(
            'tier="landlock" for root',
            "this process has uid 0 but may not become another user: the jail's user would be the host's root",
            "give it CAP_SETUID, CAP_SETGID and CAP_CHOWN, or run as an ordinary user",
        )


def _refuse_spec(spec: JailSpec) -> None:
    lacks = (
        (spec.level < Level.SANDBOX, f"level={spec.level.name}", "level SANDBOX"),
        (spec.root is not None, f"root={spec.root!r}", "no root, and a Bind of what is needed, to the same path"),
        (spec.writable != "no", f"writable={spec.writable!r}", "the private directory, or a writable Bind"),
        (spec.network is not None, "net=True", 'net=False, or net="host" without isolation'),
        (spec.hostname != "jail", f"hostname={spec.hostname!r}", "the host's name"),
        (spec.user is not None, f"user={spec.user}", "no user: it is the caller, or an id lent to the jail"),
        (spec.seccomp is False, "seccomp=False", "the filter: it is one of the two walls"),
        (spec.landlock is False, "landlock=False", "the rules: they are one of the two walls"),
        *((name not in _OPEN_ALLOWED, f"Allow({name}=True)", "tier root or userns") for name in spec.allow.named()),
        *((spec.limits.named().count(name) > 0, f"limits.{name}", "limits.file_size") for name in ("disk", "inodes")),
    )
    for wrong, what, instead in lacks:
        if wrong:
            raise UnsupportedError(f'{what} with tier="landlock"', "there are no namespaces in this tier", instead)
    for mount in spec.mounts:
        _refuse_mount(mount, spec)


def _refuse_mount(mount: object, spec: JailSpec) -> None:
    why = "there are no mounts in this tier: paths are the host's"
    if not isinstance(mount, Bind):
        raise UnsupportedError(f'{type(mount).__name__} with tier="landlock"', why, "Jail.put() into its directory")
    what = f'Bind({mount.source!r}, {mount.target!r}) with tier="landlock"'
    if mount.source != mount.target:
        raise UnsupportedError(what, why, "the same path for both")
    if mount.as_owner:
        raise UnsupportedError(f"as_owner: {what}", "ids are not mapped", "files that the jail's user may read")
    for other in (bind for bind in spec.mounts if isinstance(bind, Bind)):
        more = set(_rights(other)) - set(_rights(mount))
        if more and f"{mount.source}/".startswith(f"{other.source.rstrip('/')}/"):
            words = f"{other.source} is above it and has more rights, which Landlock cannot take back below"
            raise UnsupportedError(what, words, "the same rights for both, or directories beside each other")


def refuse_user_limits(limits: Limits, ids: Ids, group: GroupPlan | None) -> None:
    """Refuse a bound on processes that was asked for by name where the kernel counts all of the caller's.

    Raises:
        UnsupportedError: It was, and no control group keeps it.
    """
    asked = "processes" in limits.named() and limits.processes != UNLIMITED
    if asked and ids.source == "own" and not (group and "processes" in group.fields):
        raise UnsupportedError(
            'limits.processes with tier="landlock"',
            "RLIMIT_NPROC counts every process of this user, and there is no control group with pids",
            "a host with a delegated control group, or run as root",
        )


# --- the steps --------------------------------------------------------------------------------------------------


def _rights(bind: Bind) -> tuple[str, ...]:
    rights = READ + (CHANGE if bind.writable else ())
    return tuple(name for name in rights if name != "execute") if bind.noexec else rights


def _open(path: str, rights: tuple[str, ...], why: str, host: Host, *, optional: bool = False) -> Iterator[Step]:
    slot = f"path:{path}"
    yield step("open_path", why, slot=slot, path=path, flags=("O_PATH",), optional=optional)
    yield path_rule(slot, rights, why, host.landlock)


def _rules(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Open, with the caller's rights, what the rules are about, and make them."""
    yield ruleset(
        "what is forbidden unless a rule allows it: all that this kernel knows",
        slot="rules",
        abi=host.landlock,
        tcp=spec.net != "host",
    )
    for name, link in (("usr", ""), *host.system):
        if not link:
            yield from _open(f"/{name}", READ, "the host's programs and libraries, for reading", host)
    for name in host.etc:
        yield from _open(f"/etc/{name}", READ, "programs below /usr need it to run", host, optional=True)
    for name in _NAMES if spec.net == "host" else ():
        yield from _open(f"/etc/{name}", READ, "the host's network, the host's names", host, optional=True)
    yield from _devices(host)
    why = "made for this jail, and removed with it"
    yield step("open_path", why, slot="private", path=host.private, flags=("O_PATH", "O_DIRECTORY", "O_NOFOLLOW"))
    yield path_rule("private", (*READ, *CHANGE), why, host.landlock)
    for mount in spec.mounts:
        if isinstance(mount, Bind):
            yield from _open(mount.source, _rights(mount), "a bind", host, optional=mount.optional)
    yield ruleset(
        "for the domains of guards and programs: all else they have from PID 1",
        slot="scope",
        abi=host.landlock,
        files=False,
    )


def _devices(host: Host) -> Iterator[Step]:
    for name, major, minor in NODES:
        if name != "tty":  # without a terminal of its own a session has none
            slot, why = f"path:/dev/{name}", "what stands at that name must be that device"
            opened, rule = _open(f"/dev/{name}", ("read file", "write file"), "a harmless device", host)
            yield from (opened, step("check_device", why, slot=slot, value=os.makedev(major, minor)), rule)


def _become(ids: Ids, host: Host) -> Iterator[Step]:
    if host.bounds_capabilities:
        yield step("cap_bound", "no program can ever have a capability", value=())
    if ids.source == "lent":
        why = "an id that owns nothing outside"
        yield step("setgroups", why)
        yield step("setresgid", why, value=ids.gids[0][0])
        yield step("setresuid", why, value=ids.pid1)
    yield step("prctl", "no program of the jail may look into PID 1", flags=("PR_SET_DUMPABLE",), value=0)
    why = "whose parent ends becomes a child of PID 1, which so knows when nothing is left"
    yield step("prctl", why, flags=("PR_SET_CHILD_SUBREAPER",), value=1)


def _confine(spec: JailSpec, host: Host) -> Iterator[Step]:
    yield step("prctl", "no exec can raise a privilege", flags=("PR_SET_NO_NEW_PRIVS",), value=1)
    yield from filters(spec, host)
    yield step("landlock_restrict", "for good, and for every program that is started from here", at="rules")
    why = "each program gets a guard, and neither it nor PID 1 can be signalled by a program"
    yield step("prepare_guarded", why, slot="scope", at="private", value=1)
