"""What is said to be in force has a step or a limit behind it, and what is said to be absent has none."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given

from jailkit._errors import UnsupportedError
from jailkit.plan import Host, Plan, Program, Protection, Step, compile_plan, explain, prepare
from jailkit.plan.groups import GROUP_FIELDS
from jailkit.spec import UNLIMITED, Command, JailSpec, Level, Limits
from tests.plans import GRID, QUICK, RLIMITS, named, pairs, root_host, steps_of, sub_host, user_host, where

Evidence = Callable[[list[Step], Program], bool]


def born_in(*wanted: str) -> Evidence:
    """PID 1 has these namespaces for itself."""

    def look(steps: list[Step], _: Program) -> bool:
        told = {one.op: set(named(one.flags)) for one in steps if one.op in ("clone", "unshare", "setns")}
        return set(wanted) <= told["clone"] | (told.get("unshare", set()) & told.get("setns", set()))

    return look


def does(op: str, count: int = 1, **fields: object) -> Evidence:
    """At least so many steps have this op and these fields."""
    return lambda steps, _: (
        sum(one.op == op and all(getattr(one, n) == v for n, v in fields.items()) for one in steps) >= count
    )


def nothing(_: list[Step], __: Program) -> bool:
    """No step of a plan shows it."""
    return False


def both(*parts: Evidence) -> Evidence:
    """All of it is true."""
    return lambda steps, program: all(part(steps, program) for part in parts)


def either(*parts: Evidence) -> Evidence:
    """One of it is true."""
    return lambda steps, program: any(part(steps, program) for part in parts)


def has_rlimit(name: str) -> Evidence:
    """The program is started with this limit, and it is a limit."""
    return lambda _, program: any(n == name and max(soft, hard) < 2**64 - 1 for n, soft, hard in program.rlimits)


def maps_ids(steps: list[Step], _: Program) -> bool:
    """Both maps are written, by PID 1's parent or by the helpers."""
    return sum(one.op in ("idmap", "newidmap") for one in steps) == 2


_FEW = ((), ("CAP_NET_RAW",), ("CAP_NET_BIND_SERVICE",), ("CAP_NET_BIND_SERVICE", "CAP_NET_RAW"))
"""What a SANDBOX may have left."""

EVIDENCE: dict[str, Evidence] = {
    "files": both(born_in("CLONE_NEWNS"), does("pivot_root"), does("umount", flags=("MNT_DETACH",))),
    "processes": born_in("CLONE_NEWPID"),
    "users": both(born_in("CLONE_NEWUSER"), maps_ids),
    "network": both(born_in("CLONE_NEWNET"), does("loopback")),
    "hostname": both(born_in("CLONE_NEWUTS"), does("sethostname")),
    "ipc": born_in("CLONE_NEWIPC"),
    "devices": either(does("check_device", 6), does("mknod", 6)),
    "proc": both(does("mask", 5, slot="null"), does("mask", 3, slot="empty")),
    # PID 1 does it before each program, at every level: no step of a plan. tests/kernel looks at a real one.
    "cgroup view": lambda *_: True,
    "keyrings": does("join_session_keyring"),
    "capabilities": both(
        either(*(does("cap_bound", value=few) for few in _FEW)),
        lambda _, program: "JK_RUN_KEEP_CAPS" not in program.flags,
    ),
    "no_new_privs": does("prctl", flags=("PR_SET_NO_NEW_PRIVS",), value=1),
    "ordinary user": lambda _, program: program.uid != 0,
    "nested user namespaces": does("write", path="sys/user/max_user_namespaces", text=b"0"),
    "seccomp": does("filter"),
    "landlock": both(does("landlock_ruleset"), does("landlock_rule", slot="root"), does("landlock_restrict")),
    **{f"limit: {field}": has_rlimit(name) for field, name in RLIMITS.items()},
    "limit: inodes": does("fsconfig", slot="base.fs", path="nr_inodes"),
    "limit: wall_seconds": lambda _, program: program.wall_seconds != math.inf,
    "limit: output": lambda _, program: program.output != math.inf,
    "limit: disk": does("fsconfig", slot="base.fs", path="size"),
}
ALWAYS = {"files", "processes", "users", "devices", "cgroup view", "nested user namespaces"}


def listed(plan: Plan) -> dict[str, Protection]:
    """Return the protections of a plan by name."""
    return {item.name: item for item in plan.isolation}


@QUICK
@given(pairs())
def test_every_word_has_its_fact(pair: tuple[JailSpec, Host]) -> None:
    """A protection is listed as in force, or as weaker than its name, exactly when the plan does what makes it so."""
    spec, host = pair
    plan = compile_plan(spec, host)
    program = prepare(Command(["x"]), spec, plan, host)
    assert listed(plan).keys() == EVIDENCE.keys() | {f"limit: {field}" for field in GROUP_FIELDS}
    for name, item in listed(plan).items():
        grouped = plan.group is not None and name.removeprefix("limit: ") in plan.group.fields
        look = EVIDENCE.get(name, nothing)
        assert (grouped or look(steps_of(plan), program)) == (item.state != "absent"), item
        if grouped:
            assert item.state == "enforced"
            assert where(steps_of(plan), "given")
        assert item.fact.strip()


def test_evidence_is_found_missing() -> None:
    """Each kind of evidence is there in some plan and not in another; only what every level has is never missing."""
    always, never = set(EVIDENCE), set(EVIDENCE)
    unlimited = Limits(**{field.name: UNLIMITED for field in attrs.fields(Limits)})
    limited = Limits(address_space=1 << 40, wall_seconds=5)
    for (spec, plain), limits, keyrings in itertools.product(GRID, (unlimited, limited), (True, False)):
        host = attrs.evolve(plain, keyrings=keyrings)
        asked = attrs.evolve(spec, limits=limits)
        plan = compile_plan(asked, host)
        program = prepare(Command(["x"]), asked, plan, host)
        found = {name for name, evidence in EVIDENCE.items() if evidence(steps_of(plan), program)}
        always &= found
        never -= found
    assert always == ALWAYS
    assert never == set()


@QUICK
@given(pairs())
def test_a_limit_of_each_process_is_not_called_a_limit_of_the_jail(pair: tuple[JailSpec, Host]) -> None:
    """Who forks multiplies its processor time: without a control group never more than "degraded"."""
    for field, name in RLIMITS.items():
        plan = compile_plan(*pair)
        item = listed(plan)[f"limit: {field}"]
        assert item.state == "absent" or name in item.fact
        if field == "cpu_seconds" and not (plan.group and field in plan.group.fields):
            assert item.state != "enforced"


@pytest.mark.parametrize("level", Level)
def test_the_hosts_network_is_never_called_enforced(level: Level) -> None:
    """With ``net="host"`` the network is absent at every level, and the fact says why."""
    item = listed(compile_plan(JailSpec(level=level, net="host"), root_host()))["network"]
    assert item.state == "absent"
    assert "host" in item.fact


def test_the_tier_is_the_hosts() -> None:
    """By which means a jail was made is said in one word."""
    for host, word in ((root_host(), "root"), (user_host(), "userns"), (sub_host(), "userns")):
        plan = compile_plan(JailSpec(), host)
        assert (plan.tier, host.tier) == (word, word)
        assert f"tier {word}" in explain(plan)


@pytest.mark.parametrize("level", Level)
def test_root_without_ids_to_share_is_not_said_to_be_safe(level: Level) -> None:
    """In a one-id map of uid 0 the jail would act on files as the host's root, whom no RLIMIT_NPROC binds.

    The root of a user namespace is an ordinary user of the host, with the same plan and the same protections.
    """
    with pytest.raises(UnsupportedError, match="a jail for root"):
        compile_plan(JailSpec(level=level), user_host(uid=0, gid=0, is_root=True))
    plans = [compile_plan(JailSpec(level=level), user_host(uid=uid, gid=uid)) for uid in (0, 501)]
    assert plans[0].isolation == plans[1].isolation
    assert [(plan.ids.source, plan.tier, plan.ids.uids[0][1]) for plan in plans] == [
        ("one", "userns", 0),
        ("one", "userns", 501),
    ]


def test_a_limit_that_the_host_lowers_is_listed_as_it_is() -> None:
    """Where the hard limit is below the default of the level, the number in the fact is the one that is in force."""
    host = user_host(hard_limits=(("RLIMIT_NOFILE", 77),))
    plan = compile_plan(JailSpec(), host)
    assert ("RLIMIT_NOFILE", 77, 77) in prepare(Command(["x"]), JailSpec(), plan, host).rlimits
    assert listed(plan)["limit: open_files"].fact.startswith("77,")
