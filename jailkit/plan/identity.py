"""Who the jail is: namespaces, id maps, and which ids a program of the jail may have. user_namespaces(7)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from jailkit._errors import UnsupportedError
from jailkit.plan.facts import Host, SubIds
from jailkit.plan.groups import GroupPlan
from jailkit.plan.steps import Step, step
from jailkit.spec import JailSpec, Level, User

__all__ = [
    "OWNER",
    "Ids",
    "birth",
    "birth_without_namespaces",
    "check_user",
    "choose_ids",
    "id_map",
    "join_groups",
    "namespaces",
    "network",
    "take_network",
]

OWNER = 0xFFFF_FFFF
"""In a map for an idmapped mount: the owner of the file that is mounted (JK_OWNER)."""

Extent = tuple[int, int, int, bool]
"""First id inside, first id outside, how many, and whether outside counts from the jail's own slice."""


@attrs.frozen(kw_only=True)
class Ids:
    """The ids that exist in a jail.

    Attributes:
        uids: Extents of the user id map.
        gids: Extents of the group id map.
        setgroups: Whether programs can be given supplementary groups. Where they cannot, a program keeps those of
            the caller, which the kernel shows as 65534 and still honours (user_namespaces(7)).
        pid1: The user and group id of PID 1 of the jail.
        source: Where they come from: ``slice``, ``subid`` or ``one``; without namespaces ``own`` or ``lent``.
    """

    uids: tuple[Extent, ...]
    gids: tuple[Extent, ...]
    setgroups: bool
    pid1: int
    source: str

    def has_uid(self, uid: int) -> bool:
        """Whether a program can run as this user."""
        return _holds(self.uids, uid)

    def has_gid(self, gid: int) -> bool:
        """Whether a program can run as this group."""
        return _holds(self.gids, gid)


def _holds(extents: tuple[Extent, ...], number: int) -> bool:
    return any(inside <= number < inside + count for inside, _, count, _ in extents)


def id_map(extents: tuple[Extent, ...]) -> bytes:
    """Encode extents as ``struct jk_idmap`` entries."""
    return b"".join(
        struct.pack("<IIII", inside, outside, count, relative) for inside, outside, count, relative in extents
    )


def choose_ids(spec: JailSpec, host: Host) -> Ids:
    """Decide which host ids stand behind the jail's.

    Raises:
        UnsupportedError: The jail's user or one of its groups is not among them.
    """
    user = spec.effective_user
    if host.id_area:
        whole: tuple[Extent, ...] = ((0, 0, host.id_area.slice, True),)
        ids = Ids(uids=whole, gids=whole, setgroups=True, pid1=0, source="slice")
    elif host.is_root:
        raise UnsupportedError(
            "a jail for root",
            "this process has uid 0 but may not map other ids: the jail's user would be the host's root",
            "give it CAP_SETUID, CAP_SETGID and CAP_SYS_ADMIN, or run as an ordinary user, or, for less isolation and "
            'without CAP_SYS_ADMIN, ask for tier="landlock"',
        )
    elif host.sub_ids and spec.level in (Level.JAIL, Level.CONTAINER) and spec.network is None:
        # A superuser without other users to be is of little use; SANDBOX needs one user, and saves two programs.
        # The user namespace that owns a network of an ordinary user has his one id, and no more than it a jail within.
        ids = _with_sub_ids(user.uid, user.gid, host, host.sub_ids)
    else:
        ids = Ids(
            uids=((user.uid, host.uid, 1, False),),
            gids=((user.gid, host.gid, 1, False),),
            setgroups=False,
            pid1=user.uid,
            source="one",
        )
    check_user(user, ids)
    return ids


_MOST_GROUPS = 32
"""Room in ``struct jk_request``."""


def check_user(user: User, ids: Ids) -> None:
    """Refuse a user that a program of the jail cannot be.

    Raises:
        UnsupportedError: The user or one of the groups is not among the jail's ids, or the groups cannot be set.
    """
    groups = [user.gid, *user.groups]
    if not ids.has_uid(user.uid) or not all(ids.has_gid(gid) for gid in groups):
        raise UnsupportedError(
            f"user {user.uid} with groups {groups}",
            f"the jail's ids are {ids.source!r}: {ids.uids}",
            "name this user when the jail is made, run as root, or use level JAIL with a range in /etc/subuid and "
            "/etc/subgid (apt install uidmap)",
        )
    if user.groups and not ids.setgroups:
        raise UnsupportedError(
            f"user {user.uid} with groups {groups}",
            "an ordinary user's one-id map forbids setgroups(2)",
            "run as root, or use level JAIL with a range in /etc/subuid and /etc/subgid (apt install uidmap)",
        )
    if len(user.groups) > _MOST_GROUPS:
        raise UnsupportedError(f"{len(user.groups)} supplementary groups", "a request has room for 32", "name fewer")


def _with_sub_ids(uid: int, gid: int, host: Host, sub: SubIds) -> Ids:
    """Map the jail's user to the caller, so that what it writes is the caller's, and the rest to the granted range."""
    return Ids(
        uids=_around(uid, host.uid, sub.uid_first, sub.uid_count),
        gids=_around(gid, host.gid, sub.gid_first, sub.gid_count),
        setgroups=True,
        pid1=0,
        source="subid",
    )


def _around(own: int, caller: int, first: int, count: int) -> tuple[Extent, ...]:
    before = min(own, count)
    parts = ((0, first, before, False), (own, caller, 1, False), (own + 1, first + before, count - before, False))
    return tuple(part for part in parts if part[2] > 0)


def namespaces(spec: JailSpec) -> tuple[str, ...]:
    """Name the namespaces that PID 1 of the jail is born in; see `network` for that of the network."""
    names = ["CLONE_NEWUSER", "CLONE_NEWNS", "CLONE_NEWPID"]
    if spec.level >= Level.JAIL:
        names += ["CLONE_NEWUTS", "CLONE_NEWIPC"]
    if spec.level >= Level.CONTAINER:
        names.append("CLONE_NEWCGROUP")
    return tuple(names)


def birth(spec: JailSpec, host: Host, ids: Ids, group: GroupPlan | None) -> Iterator[Step]:
    """Make PID 1 and tell the kernel which ids it has: the end of the host phase."""
    born_in = "group" if group and group.version == 2 else None
    if born_in:
        yield step("given", "the control group, which the host program makes meanwhile", slot=born_in)
    why = "PID 1 of the jail, in namespaces of its own" + (", born in its control group" if born_in else "")
    yield step("clone", why, slot="pid1", at=born_in, flags=namespaces(spec))
    if ids.source == "subid":
        assert host.sub_ids  # noqa: S101 - choose_ids() has looked
        for helper, extents in ((host.sub_ids.newuidmap, ids.uids), (host.sub_ids.newgidmap, ids.gids)):
            words = [str(number) for inside, outside, count, _ in extents for number in (inside, outside, count)]
            yield step(
                "newidmap",
                "the ids that /etc/subuid and /etc/subgid grant, which only this set-id program may map",
                path=helper,
                text=b"".join(word.encode() + b"\0" for word in words),
            )
        return
    if not ids.setgroups:
        yield step(
            "proc_write",
            "the kernel lets an ordinary user map a group only if groups can no longer be dropped",
            path="setgroups",
            text=b"deny",
        )
    why = {
        "slice": "ids of the host that no other jail and no user has: the jail's root is nobody here",
        "one": "the one id that an ordinary user may map: the caller's own",
    }[ids.source]
    yield step("idmap", why, path="uid_map", text=id_map(ids.uids))
    yield step("idmap", why, path="gid_map", text=id_map(ids.gids))


def birth_without_namespaces(group: GroupPlan | None) -> Iterator[Step]:
    """Make PID 1 as an ordinary process, for the tier ``landlock``."""
    born_in = "group" if group and group.version == 2 else None
    if born_in:
        yield step("given", "the control group, which the host program makes meanwhile", slot=born_in)
    yield step("clone", "PID 1 of the jail, an ordinary process", slot="pid1", at=born_in)
    yield step("release", "the host phase has nothing else to do")


def join_groups(group: GroupPlan | None) -> Iterator[Step]:
    """Let PID 1 join groups of version 1 before it does anything else; in version 2 it was born in its group."""
    if group and group.version == 1:
        for number, directory in enumerate(group.directories):
            door = f"group:{number}"
            yield step("given", "the control group, which the host program makes meanwhile", slot=door)
            yield step("enter_group", "whatever it uses from here on counts", slot=door, path=directory, text=b"0")


_IFF_UP = 1
_LOOPBACK_UP = struct.pack("<16sH22x", b"lo", _IFF_UP)
"""A ``struct ifreq``, see netdevice(7)."""


def network(spec: JailSpec) -> Iterator[Step]:
    """Make the network namespace, which takes longer than all the rest, beside PID 1, on another processor."""
    if spec.net is False:
        # Before PID 1 closes itself to everybody, which to an ordinary user is closed here too.
        yield step("join", "the network shall belong to the jail's user namespace", at="pid1")
    yield step("release", "from here on PID 1 builds its view of files, and what follows happens beside it")
    if spec.net is False:
        yield step("unshare", "a network stack with nothing in it", flags=("CLONE_NEWNET",))
        yield step("socket", "a handle on it", slot="inet")
        yield step("loopback", "programs expect to reach themselves at 127.0.0.1", at="inet", text=_LOOPBACK_UP)
        yield step("open_namespace", "PID 1 waits for it", slot="net", path="/proc/self/ns/net")
        yield step("give", "PID 1 waits for it", at="net")


def take_network(spec: JailSpec) -> Iterator[Step]:
    """Let PID 1 enter the network namespace made for it."""
    if spec.net is False:
        yield step("take", "made by the host phase in the meantime", slot="net")
        yield step("setns", "nothing runs with the host's network", at="net", flags=("CLONE_NEWNET",))
