"""Who a jail is and what it may do: ids, capabilities, levels, refusals, and an honest list of all that."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit._errors import UnsupportedError
from jailkit.plan import Host, IdArea, Plan, SubIds, compile_plan, prepare
from jailkit.spec import UNLIMITED, Allow, Bind, Command, JailSpec, Level, Limits, User
from tests.plans import (
    AREA,
    GRID,
    NEEDS_CGROUPS,
    QUICK,
    SUB_IDS,
    TIERS,
    VALUES,
    entries,
    named,
    namespaces,
    pairs,
    root_host,
    steps_of,
    sub_host,
    user_host,
    where,
)

UIDS = st.one_of(st.sampled_from([0, 1, 65535, 65536, 2**32 - 2]), st.integers(0, 2**32 - 2))


def enforced(plan: Plan) -> set[str]:
    """Return the names of what a plan says is enforced."""
    return {item.name for item in plan.isolation if item.state == "enforced"}


# --- privileges -----------------------------------------------------------------------------------------------------


@QUICK
@given(pairs())
def test_privileges_are_dropped_last(pair: tuple[JailSpec, Host]) -> None:
    """Nothing happens after the drop, and nothing of it happens before the root is entered."""
    steps = steps_of(compile_plan(*pair))
    sandbox = pair[0].level >= Level.SANDBOX
    entered = where(steps, "chdir")[0]
    network = ["take", "setns"] if pair[0].net is False else []
    rules = [one.op for one in steps[entered + 1 :] if one.op.startswith("landlock") or one.slot == "tty"]
    filtered = ["filter", "filter"] * (pair[0].effective_seccomp is not None and pair[1].seccomp is not None)
    dropped = ["cap_bound", *(["prctl"] * sandbox), *filtered]
    assert [one.op for one in steps[entered + 1 :]] == [*network, *dropped, *rules]
    assert rules[-1:] in ([], ["landlock_restrict"])
    assert len(where(steps, "cap_bound")) == 1
    assert len(where(steps, "prctl", flags=("PR_SET_NO_NEW_PRIVS",), value=1)) == sandbox


@QUICK
@given(pairs(level=Level.SANDBOX, allow=Allow()))
def test_a_sandbox_has_no_way_up(pair: tuple[JailSpec, Host]) -> None:
    """No new privileges, no capability that could ever be had, no user namespace inside, unless `Allow` says so."""
    plan = compile_plan(*pair)
    steps = steps_of(plan)
    assert named(steps[where(steps, "cap_bound")[0]].value) == ()
    (write,) = where(steps, "write", at="proc", path="sys/user/max_user_namespaces", text=b"0")
    sealed = [n for n in where(steps, "setattr", slot="proc") if "MOUNT_ATTR_RDONLY" in named(steps[n].value)]
    assert sealed, "otherwise the jail's root writes another number"
    assert write < sealed[0]
    command = Command(["x"])
    assert "JK_RUN_KEEP_CAPS" not in prepare(command, pair[0], plan, pair[1]).flags


@pytest.mark.parametrize("level", [Level.CHROOT, Level.JAIL, Level.CONTAINER])
@pytest.mark.parametrize("tier", TIERS)
def test_the_superuser_of_a_jail_cannot_undo_it(tier: str, level: Level) -> None:
    """Its capabilities are a list, without those that undo mounts, load code, or reach other processes' memory."""
    plans = {net: steps_of(compile_plan(JailSpec(level=level, net=net), TIERS[tier]())) for net in (False, "host")}
    kept = {net: set(named(steps[where(steps, "cap_bound")[0]].value)) for net, steps in plans.items()}
    forbidden = {"SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "SYS_BOOT", "BPF", "PERFMON", "MAC_ADMIN"}
    for capabilities in kept.values():
        assert {"CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"} <= capabilities
        assert capabilities.isdisjoint({f"CAP_{name}" for name in forbidden | {"SYS_RESOURCE", "DAC_READ_SEARCH"}})
    # Over the host's network stack a jail has no rights, over its own it has.
    assert kept[False] - kept["host"] == {"CAP_NET_ADMIN"}


@QUICK
@given(pairs())
def test_pid1_cannot_be_looked_into(pair: tuple[JailSpec, Host]) -> None:
    """PID 1 is made undumpable before anything is attached, and after the change of ids, which undoes it."""
    plan = compile_plan(*pair)
    steps = steps_of(plan)
    (dumpable,) = where(steps, "prctl", flags=("PR_SET_DUMPABLE",), value=0)
    assert dumpable < where(steps, "attach")[0]
    # Groups first: afterwards there is no right to change them.
    changed = [n for op in ("setgroups", "setresgid", "setresuid") for n in where(steps, op)]
    assert [steps[n].value for n in changed] == ([] if plan.ids.source == "one" else [0, 0, 0])
    assert changed == sorted(changed)
    assert all(n < dumpable for n in changed)


# --- namespaces and ids ---------------------------------------------------------------------------------------------


@QUICK
@given(pairs())
def test_namespaces_follow_the_level_and_the_network(pair: tuple[JailSpec, Host]) -> None:
    """Users, mounts and processes always; host name and IPC from JAIL on; control groups from CONTAINER on."""
    spec = pair[0]
    expected = {"CLONE_NEWUSER", "CLONE_NEWNS", "CLONE_NEWPID"}
    expected |= {"CLONE_NEWNET"} if spec.net is False else set()
    expected |= {"CLONE_NEWUTS", "CLONE_NEWIPC"} if spec.level >= Level.JAIL else set()
    expected |= {"CLONE_NEWCGROUP"} if spec.level >= Level.CONTAINER else set()
    plan = compile_plan(*pair)
    assert namespaces(plan) == expected
    assert len(where(steps_of(plan), "loopback")) == (spec.net is False)
    names = [steps_of(plan)[n].text for n in where(steps_of(plan), "sethostname")]
    assert names == ([spec.hostname.encode()] if spec.level >= Level.JAIL else [])


@QUICK
@given(pairs(net=False))
def test_nothing_runs_with_the_hosts_network(pair: tuple[JailSpec, Host]) -> None:
    """Made in the jail's user namespace, so that it belongs to the jail; handed over; entered before any program."""
    plan = compile_plan(*pair)
    first = where(list(plan.host_steps), "join")[0]
    # Once released, PID 1 closes itself to an ordinary user: joining it afterwards is a race.
    beside = ["join", "release", "unshare", "socket", "loopback", "open_namespace", "give"]
    assert [one.op for one in plan.host_steps[first:]] == beside
    join, _, unshare, *_, opened, give = plan.host_steps[first:]
    assert join.at == plan.host_steps[where(list(plan.host_steps), "clone")[0]].slot
    assert (opened.path, opened.slot) == ("/proc/self/ns/net", give.at)
    take = [one for one in plan.jail_steps if one.op == "take"][-1]
    (setns,) = (one for one in plan.jail_steps if one.op == "setns")
    assert setns.at == take.slot
    assert named(unshare.flags) == named(setns.flags) == ("CLONE_NEWNET",)


@QUICK
@given(pairs(), st.integers(16, 65536), st.integers(1, 2**31))
def test_root_never_gives_an_id_of_the_host(pair: tuple[JailSpec, Host], slice_: int, first: int) -> None:
    """As root every id of a jail counts from its own slice and stays in it: host id 0 stands behind none of them."""
    spec = attrs.evolve(pair[0], user=User(1), mounts=())
    host = root_host(id_area=IdArea(first=first, slice=slice_, count=16), idmapped={spec.root})
    plan = compile_plan(spec, host)
    assert plan.needs_id_slice
    maps = [entries(one.text) for one in steps_of(plan) if one.op in ("idmap", "userns")]
    assert len(maps) >= 2
    for _, outside, count, relative in (entry for each in maps for entry in each):
        assert relative == 1
        assert outside + count <= slice_
    for one in (one for one in plan.host_steps if one.op == "idmap"):
        assert entries(one.text) == [(0, 0, slice_, 1)]


@pytest.mark.parametrize("how", [{"writable": True}, {"as_owner": True}, {"writable": True, "as_owner": True}])
@pytest.mark.parametrize("writable", ["no", "yes"])
def test_a_bind_acts_as_its_owner_and_nobody_else(writable: str, how: dict[str, bool]) -> None:
    """The one id of the map of an idmapped bind stands for the owner of the source, on the jail's user."""
    host = root_host(idmapped={"/srv/out", "/srv/root"})
    user = User(7, 8)
    mounts = [Bind("/srv/out", "/out", **how)]
    plan = compile_plan(JailSpec("/srv/root", writable=writable, mounts=mounts, user=user), host)  # type: ignore[arg-type]
    (userns,) = where(steps_of(plan), "userns", at="bind:0")
    assert entries(steps_of(plan)[userns].text) == [(2**32 - 1, 7, 1, 1), (2**32 - 1, 8, 1, 1)]
    (mapped,) = where(steps_of(plan), "setattr", slot="bind:0", value=("MOUNT_ATTR_IDMAP",))
    assert steps_of(plan)[mapped].at == steps_of(plan)[userns].slot
    assert userns < mapped < where(steps_of(plan), "attach", slot="bind:0")[0]


@QUICK
@given(pairs())
def test_a_bind_is_its_owners_only_where_that_was_asked_for(pair: tuple[JailSpec, Host]) -> None:
    """Reading as the owner is a right too: a plain bind gives none, and an ordinary user is the owner or is not."""
    spec, host = pair
    steps = steps_of(compile_plan(spec, host))
    mapped = {steps[n].slot for n in where(steps, "setattr", value=("MOUNT_ATTR_IDMAP",))} - {"root", "source"}
    asked = {f"bind:{n}" for n, m in enumerate(spec.mounts) if isinstance(m, Bind) and (m.writable or m.as_owner)}
    assert mapped == (asked if host.id_area else set())


@given(UIDS, UIDS)
def test_one_id_is_the_callers(uid: int, gid: int) -> None:
    """Without a range the jail's user is the caller and there is nobody else; groups are given up first."""
    plan = compile_plan(JailSpec(user=User(uid, gid)), user_host())
    maps = {one.path: entries(one.text) for one in plan.host_steps if one.op == "idmap"}
    assert maps == {"uid_map": [(uid, 501, 1, 0)], "gid_map": [(gid, 502, 1, 0)]}
    order = [(one.op, one.path) for one in plan.host_steps if one.op in ("proc_write", "idmap", "newidmap")]
    assert order == [("proc_write", "setgroups"), ("idmap", "uid_map"), ("idmap", "gid_map")]
    assert (plan.ids.source, plan.ids.setgroups, plan.needs_id_slice, plan.ids.pid1) == ("one", False, False, uid)
    assert steps_of(plan)[where(steps_of(plan), "proc_write")[0]].text == b"deny"


def overlaps(extents: list[tuple[int, int]]) -> bool:
    """Whether two of these ranges (first, count) have an id in common."""
    ordered = sorted(extents)
    return any(one + count > other for (one, count), (other, _) in itertools.pairwise(ordered))


@given(UIDS, UIDS, st.integers(1, 2**31), st.sampled_from([Level.JAIL, Level.CONTAINER]))
def test_a_granted_range_is_used_as_granted(uid: int, gid: int, count: int, level: Level) -> None:
    """The jail's user is the caller, everybody else is from the range, and the helpers are told exactly that."""
    sub = attrs.evolve(SUB_IDS, uid_count=count, gid_count=count)
    host = sub_host(sub_ids=sub)
    plan = compile_plan(JailSpec(level=level, user=User(uid, gid)), host)
    pairs_ = ((plan.ids.uids, uid, 501, sub.uid_first), (plan.ids.gids, gid, 502, sub.gid_first))
    for extents, own, caller, first in pairs_:
        assert (own, caller, 1, False) in extents
        granted = [(outside, n) for inside, outside, n, _ in extents if (inside, outside) != (own, caller)]
        assert sum(n for _, n in granted) == count
        assert min(outside for outside, _ in granted) == first
        assert max(outside + n for outside, n in granted) == first + count
        assert not overlaps(granted)
        assert not overlaps([(inside, n) for inside, _, n, _ in extents])
        assert all(n > 0 and inside + n < 2**32 and not relative for inside, _, n, relative in extents)
        assert any(inside == 0 for inside, *_ in extents), "PID 1 is the jail's uid 0"
    steps = [one for one in plan.host_steps if one.op == "newidmap"]
    assert [one.path for one in steps] == [sub.newuidmap, sub.newgidmap]
    for one, extents in zip(steps, (plan.ids.uids, plan.ids.gids), strict=True):
        words = [int(word) for word in one.text.split(b"\0")[:-1]]
        assert words == [number for extent in extents for number in extent[:3]]
    assert not any(one.op in ("idmap", "proc_write") for one in plan.host_steps)


@pytest.mark.parametrize("level", [Level.CHROOT, Level.SANDBOX])
def test_a_range_is_not_used_where_one_id_will_do(level: Level) -> None:
    """At these levels two programs less are run."""
    assert compile_plan(JailSpec(level=level), sub_host()).ids.source == "one"


# --- what cannot be had ---------------------------------------------------------------------------------------------


def refusal(spec: JailSpec, host: Host) -> UnsupportedError:
    """Return the error that a spec gets on a host."""
    with pytest.raises(UnsupportedError) as caught:
        compile_plan(spec, host)
    return caught.value


_SMALL = SubIds(**{**attrs.asdict(SUB_IDS), "uid_count": 10, "gid_count": 10})
REFUSED: dict[str, tuple[dict[str, Any], Host, str]] = {
    **{
        f"root with a range as {level.name}": (
            {"level": level},
            sub_host(uid=0, gid=0, is_root=True),
            "a jail for root",
        )
        for level in Level
    },
    "net": ({"net": True}, root_host(), "net=True"),
    "seccomp": ({"seccomp": "strict"}, root_host(), "seccomp=strict"),
    "raw sockets": ({"allow": ["raw_sockets"], "net": "host"}, root_host(), 'CAP_NET_RAW with net="host"'),
    "rules and mounts": (
        {"landlock": True, "allow": ["nested", "mount"]},
        root_host(landlock=7),
        "landlock=True with Allow(mount=True)",
    ),
    "landlock": ({"landlock": True}, user_host(), "landlock=True"),
    "hostname": ({"level": "chroot", "hostname": "x"}, root_host(), "hostname='x'"),
    **{
        name: ({"limits": Limits(**{name: VALUES.get(name, 1)})}, root_host(), f"limits.{name}")
        for name in NEEDS_CGROUPS
    },
    "uid over the slice": ({"user": AREA.slice}, root_host(), "user 65536 with groups [65536]"),
    "gid over the slice": ({"user": User(0, AREA.slice)}, root_host(), "user 0 with groups [65536]"),
    "group over the slice": ({"user": User(0, 0, groups=(AREA.slice,))}, root_host(), "user 0 with groups [0, 65536]"),
    "groups of one id": ({"user": User(5, 6, groups=(6,))}, user_host(), "user 5 with groups [6, 6]"),
    "group over the range": (
        {"level": "jail", "user": User(5, groups=(11,))},
        sub_host(sub_ids=_SMALL),
        "user 5 with groups [5, 11]",
    ),
    "too many groups": ({"user": User(5, groups=range(33))}, root_host(), "33 supplementary groups"),
    "root without idmap": ({"root": "/r", "writable": "yes"}, root_host(), 'writable="yes" for /r'),
    "bind without idmap": ({"mounts": [Bind("/b", writable=True)]}, root_host(), "Bind('/b', writable=True)"),
    "owner without idmap": ({"mounts": [Bind("/b", as_owner=True)]}, root_host(), "Bind('/b', as_owner=True)"),
    "hard limit": (
        {"limits": Limits(open_files=78)},
        root_host(hard_limits=(("RLIMIT_NOFILE", 77),)),
        "limits.open_files=78",
    ),
    **{f"root as {level.name}": ({"level": level}, root_host(id_area=None), "a jail for root") for level in Level},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_had_is_refused(case: str) -> None:
    """By name, with what is missing and what to do about it; nothing asked for is left out in silence."""
    fields, host, feature = REFUSED[case]
    error = refusal(JailSpec(**fields), host)
    assert error.feature == feature
    assert error.missing
    assert error.remedy


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"seccomp": False, "landlock": False}, root_host()),
        ({"limits": Limits(memory=UNLIMITED, swap=UNLIMITED, cpus=UNLIMITED)}, root_host()),
        ({"level": "jail", "hostname": "x"}, root_host()),
        ({"user": AREA.slice - 1}, root_host()),
        ({"user": User(5, 6, groups=(0, 9))}, root_host()),
        ({"level": "jail", "user": User(5, groups=(10,))}, sub_host(sub_ids=_SMALL)),
        ({"root": "/r", "writable": "ephemeral"}, root_host()),
        ({"root": "/r", "writable": "yes"}, root_host(idmapped={"/r"})),
        ({"root": "/r", "writable": "yes", "mounts": [Bind("/b", writable=True)]}, user_host()),
        ({"mounts": [Bind("/b")]}, root_host()),
        ({"mounts": [Bind("/b", as_owner=True)]}, root_host(idmapped={"/b"})),
        ({"mounts": [Bind("/b", as_owner=True)]}, user_host()),
        ({"user": User(5, groups=range(32))}, root_host()),
        ({"limits": Limits(open_files=77)}, root_host(hard_limits=(("RLIMIT_NOFILE", 77),))),
        ({}, user_host(uid=0, gid=0)),
    ],
)
def test_what_can_be_had_is_not_refused(fields: dict[str, Any], host: Host) -> None:
    """The other side of each refusal."""
    assert compile_plan(JailSpec(**fields), host).jail_steps


# --- the honest list ------------------------------------------------------------------------------------------------


@QUICK
@given(pairs(hostname="jail"))
def test_each_level_contains_the_one_before(pair: tuple[JailSpec, Host]) -> None:
    """A higher level never loses what a lower one enforces."""
    spec, host = pair
    before: set[str] = set()
    for level in Level:
        now = enforced(compile_plan(attrs.evolve(spec, level=level), host))
        assert before <= now, level
        before = now


@pytest.mark.parametrize("tier", TIERS)
def test_each_level_adds_something(tier: str) -> None:
    """Otherwise it would be no level; the last one adds more than limits."""
    sets = [enforced(compile_plan(JailSpec(level=level), TIERS[tier]())) for level in Level]
    for lower, higher in itertools.pairwise(sets):
        assert higher - lower
    assert {"capabilities", "no_new_privs"} <= sets[-1] - sets[-2]


@pytest.mark.parametrize("pair", GRID[::11])
def test_the_list_is_complete(pair: tuple[JailSpec, Host]) -> None:
    """Every protection and every limit is listed once, whatever its state."""
    listed = [item.name for item in compile_plan(*pair).isolation]
    assert len(set(listed)) == len(listed)
    assert {f"limit: {field.name}" for field in attrs.fields(Limits)} <= set(listed)
    assert {item.state for item in compile_plan(*pair).isolation} <= {"enforced", "degraded", "absent"}
