"""The tier without namespaces: what it refuses, what its plan does, and what it says of itself."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from jailkit._errors import SpecError, UnsupportedError
from jailkit.plan import Host, compile_plan, explain, filter_of, prepare
from jailkit.spec import Allow, Bind, Command, File, JailSpec, Level, Limits, SeccompPolicy, Tmpfs, User
from tests.plans import BARE, FILTER, named, root_host, steps_of, user_host, where

USER = user_host(seccomp=FILTER, landlock=7)
LENT = root_host(seccomp=FILTER, landlock=7, lent_id=0x7000_4711)

REFUSED: dict[str, dict[str, Any]] = {
    "root": {"root": "/srv"},
    "level": {"level": Level.JAIL},
    "net": {"net": True},
    "writable": {"writable": "ephemeral"},
    "hostname": {"hostname": "box"},
    "user": {"user": User(5)},
    "seccomp": {"seccomp": False},
    "landlock": {"landlock": False},
    "nested": {"allow": Allow(nested=True)},
    "sysvipc": {"allow": Allow(sysvipc=True)},
    "raw sockets": {"allow": Allow(raw_sockets=True)},
    "disk": {"limits": Limits(disk=1 << 20)},
    "processes": {"limits": Limits(processes=5)},
    "memory": {"limits": Limits(memory=1 << 20)},
    "tmpfs": {"mounts": (Tmpfs("/x"),)},
    "file": {"mounts": (File("/x", b""),)},
    "another path": {"mounts": (Bind("/srv", "/data"),)},
    "as owner": {"mounts": (Bind("/srv", as_owner=True),)},
    "narrower below wider": {"mounts": (Bind("/srv", writable=True), Bind("/srv/data"))},
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_needs_namespaces_is_refused(what: str) -> None:
    """Asked for by name, it is an error that says so before anything runs; the plain jail is not."""
    compile_plan(JailSpec(tier="landlock"), USER)
    with pytest.raises(UnsupportedError):
        compile_plan(JailSpec(tier="landlock", **REFUSED[what]), USER)


@pytest.mark.parametrize(
    "host",
    [
        attrs.evolve(USER, landlock=5),
        attrs.evolve(USER, landlock=0),
        attrs.evolve(USER, seccomp=None),
        attrs.evolve(LENT, lent_id=None),
    ],
)
def test_a_host_that_lacks_a_wall_is_refused(host: Host) -> None:
    """Old Landlock, none, no filter, root who cannot become another: each by its fact."""
    with pytest.raises(UnsupportedError, match='tier="landlock"'):
        compile_plan(JailSpec(tier="landlock"), host)


def test_it_is_never_chosen() -> None:
    """The tier of a host is one with namespaces, and a tier that is not the host's is refused."""
    assert (USER.tier, LENT.tier) == ("userns", "root")
    assert compile_plan(JailSpec(tier="userns"), USER).tier == "userns"
    with pytest.raises(UnsupportedError):
        compile_plan(JailSpec(tier="root"), USER)
    with pytest.raises(SpecError):
        JailSpec(tier="namespaces")  # type: ignore[arg-type]


@pytest.mark.parametrize("pair", BARE)
def test_the_order_is_the_protection(pair: tuple[JailSpec, Host]) -> None:
    """No namespace, no mount; ids before the rules, no_new_privs before both walls, programs after all."""
    plan = compile_plan(*pair)
    steps = steps_of(plan)
    assert [named(one.flags) for one in steps if one.op == "clone"] == [()]
    assert not {"attach", "setns", "unshare", "pivot_root", "fsopen", "idmap"} & {one.op for one in steps}
    order = [
        *where(steps, "setresuid"),
        *where(steps, "prctl", flags=("PR_SET_NO_NEW_PRIVS",)),
        *where(steps, "filter"),
        *where(steps, "landlock_restrict", at="rules"),
        *where(steps, "prepare_guarded", slot="scope"),
    ]
    assert order == sorted(order)
    assert order[-1] == len(steps) - 1
    assert len(where(steps, "landlock_restrict")) == 1
    assert [steps[index].value for index in where(steps, "filter")] == [1, 0]
    rulesets = {one.slot: one.text for one in steps if one.op == "landlock_ruleset"}
    assert {text[16] for text in rulesets.values()} == {3}, "both scope signals and abstract sockets"
    assert rulesets["rules"][8] == (3 if pair[0].net is False else 0)
    assert "tier landlock" in explain(plan)


@pytest.mark.parametrize("pair", BARE)
def test_programs_have_the_private_directory(pair: tuple[JailSpec, Host]) -> None:
    """It is home, TMPDIR and working directory; who runs is the caller or the lent id, and nobody else can be."""
    spec, host = pair
    plan = compile_plan(spec, host)
    program = prepare(Command(["x"]), spec, plan, host)
    assert {b"HOME=/tmp/jailkit", b"TMPDIR=/tmp/jailkit"} <= set(program.env)
    assert (program.cwd, program.uid) == (b"/tmp/jailkit", host.uid if host.lent_id is None else host.lent_id)
    with pytest.raises(UnsupportedError):
        prepare(Command(["x"], user=5), spec, plan, host)
    # RLIMIT_NPROC counts all of a user: of the caller it would bound the wrong processes.
    assert ("RLIMIT_NPROC" in {name for name, _, _ in program.rlimits}) == (host.lent_id is not None)


def test_the_report_is_honest() -> None:
    """What only a namespace gives is absent or degraded, and what the caller's own policy opens is said."""
    states = {item.name: item.state for item in compile_plan(JailSpec(tier="landlock"), USER).isolation}
    assert {name for name in ("users", "hostname", "limit: disk", "limit: processes") if states[name] == "absent"} == {
        "users", "hostname", "limit: disk", "limit: processes",
    }  # fmt: skip
    assert (states["files"], states["processes"]) == ("degraded", "degraded")
    assert (states["network"], states["ipc"], states["seccomp"], states["landlock"]) == ("enforced",) * 4
    opened = JailSpec(tier="landlock", seccomp=SeccompPolicy().add("socket", "mq_open", "chmod", "unshare"))
    found = {item.name: item for item in compile_plan(opened, USER).isolation}
    for name, call in {
        "network": "socket", "ipc": "mq_open", "files": "chmod", "nested user namespaces": "unshare",
    }.items():  # fmt: skip
        assert found[name].state == "degraded"
        assert f"{call} opened" in found[name].fact
    lent = {item.name: item.state for item in compile_plan(JailSpec(tier="landlock"), LENT).isolation}
    assert (lent["users"], lent["limit: processes"]) == ("degraded", "degraded")


def test_the_filter_closes_what_landlock_leaves_open() -> None:
    """No socket, no change of modes of the caller's files, no queue; of a lent id modes are its own affair."""
    for lent in (False, True):
        made = filter_of(JailSpec(tier="landlock"), lent=lent)
        assert made is not None
        said, checked = dict(made.actions), {one.call for one in made.conditions}
        for call in ("socket", "mq_open", "utimensat", "setxattr", "inotify_add_watch", "keyctl"):
            assert said[call] == "EPERM", call
            assert call not in checked
        assert ("chmod" in checked) == lent
        assert {"socketpair", "prlimit64", "setpriority", "sched_setaffinity"} <= checked
    host = filter_of(JailSpec(tier="landlock", net="host"))
    assert host is not None
    assert {one.tests[0].value for one in host.conditions if one.call == "socket"} == {2, 10, 16}
