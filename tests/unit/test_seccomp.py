"""Filters of system calls as data, and what the kernel would do with what they become."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from jailkit import Allow, JailSpec, Level, SeccompPolicy, SpecError, _native
from jailkit.plan import divided, filter_of
from jailkit.plan.seccomp import CONDITIONS, PID1
from jailkit.spec._calls import ALWAYS, GROUPS, KNOWN, PROFILES
from tests.bpf import verdict
from tests.strategies import ALLOW, POLICIES

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "kernel" / "golden"
UPDATE = os.environ.get("JAILKIT_UPDATE_GOLDEN") == "1"
NATIVE = platform.machine()
libseccomp = pytest.mark.requires("libseccomp")


def code_of(machine: str = NATIVE, **fields: Any) -> bytes:
    """Compile the filter of a spec."""
    wanted = filter_of(JailSpec(**fields))
    assert wanted is not None
    return _native.compile_filter(wanted, machine)


def number(name: str, machine: str = NATIVE) -> int:
    """Return the number of a call, as libseccomp knows it, or as every newer one has."""
    from jailkit._native import _seccomp

    context = _seccomp._Context(_seccomp._ARCHITECTURES[machine], 0x7FFF0000, native=machine == NATIVE)
    found = context.number(name)
    return -1 if found is None else found


# --- the table -------------------------------------------------------------------------------------------------------


def test_each_call_is_in_one_group() -> None:
    """The table says one thing about each call, with a reason, and knows every call of this machine's headers."""
    names = [name for group in GROUPS for name in group.calls]
    assert len(names) == len(set(names)) == len(KNOWN)
    assert all(group.why and group.calls for group in GROUPS)
    words = {"allow", "check", "EPERM", "ENOSYS"}
    assert {group.default for group in GROUPS} | {group.strict for group in GROUPS} <= words


def test_what_is_checked_has_conditions() -> None:
    """``check`` in the table and a condition in the plan are the same calls."""
    checked = {name for group in GROUPS if group.default == "check" for name in group.calls}
    assert checked == {one.call for one in CONDITIONS}
    assert {name for group in GROUPS if group.strict == "check" for name in group.calls} <= checked


def test_strict_allows_nothing_that_default_refuses() -> None:
    """The profiles are ordered."""
    default, strict, empty = (SeccompPolicy(profile).actions() for profile in PROFILES)
    assert default.keys() == strict.keys() == empty.keys() == KNOWN
    rank = {"allow": 0, "check": 1}
    assert all(rank.get(default[name], 2) <= rank.get(strict[name], 2) <= rank.get(empty[name], 2) for name in KNOWN)
    assert {name for name, action in empty.items() if action == "allow"} == set(ALWAYS)


# --- the policy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: SeccompPolicy("none"), "seccomppolicy.profile"),
        (lambda: SeccompPolicy().add("open_it"), "seccomppolicy.changes"),
        (lambda: SeccompPolicy().remove("execve"), "seccomppolicy.changes"),
        (lambda: SeccompPolicy().remove("ptrace", refusal="EACCES"), "refusal"),  # type: ignore[arg-type]
        (lambda: SeccompPolicy(changes=[("open", "maybe")]), "seccomppolicy.changes"),
        (lambda: SeccompPolicy(changes=7), "seccomppolicy.changes"),
        (lambda: Allow(mount=True), "allow.mount"),
        (lambda: Allow(ptrace=1), "allow.ptrace"),  # type: ignore[arg-type]
        (lambda: Allow.of(["chflags"]), "allow"),
        (lambda: JailSpec(allow="ptrace"), "allow"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, field: str) -> None:
    """At construction, by the name of the field."""
    with pytest.raises(SpecError) as caught:
        make()
    assert caught.value.field == field


@given(POLICIES, POLICIES)
def test_the_last_word_counts(one: SeccompPolicy, other: SeccompPolicy) -> None:
    """A difference names each call that two policies treat differently, and equal ones have none."""
    assert one.diff(one) == ""
    changed = {line.split(":")[0] for line in one.diff(other).splitlines()}
    ours, theirs = one.actions(), other.actions()
    assert changed == {name for name in KNOWN if ours[name] != theirs[name]}
    assert one.add("ptrace").remove("ptrace").actions()["ptrace"] == "EPERM"
    assert one.remove("ptrace").log("ptrace").actions()["ptrace"] == "log"


def test_levels_below_sandbox_have_a_filter_only_by_name() -> None:
    """And then one that leaves what their superuser has capabilities for."""
    for level in Level:
        assert (filter_of(JailSpec(level=level)) is not None) == (level is Level.SANDBOX)
        assert filter_of(JailSpec(level=level, seccomp=False)) is None
        named = filter_of(JailSpec(level=level, seccomp=True))
        assert named is not None
        assert (dict(named.actions)["chroot"] == "allow") == (level < Level.SANDBOX)


# --- what it becomes -----------------------------------------------------------------------------------------------


@libseccomp
@settings(max_examples=15, deadline=None)
@given(POLICIES, ALLOW)
def test_a_filter_does_what_the_policy_says(policy: SeccompPolicy, allow: Allow) -> None:
    """Every call that has no condition gets the word of the policy; every number without a call gets ENOSYS."""
    wanted = filter_of(JailSpec(seccomp=policy, allow=allow))
    assert wanted is not None
    code = _native.compile_filter(wanted)
    conditional = {one.call for one in wanted.conditions}
    said = {number(name): (name, action) for name, action in wanted.actions}
    for at in range(600):
        name, action = said.get(at, ("", "ENOSYS"))
        if name not in conditional:
            assert verdict(code, at, machine=NATIVE) == action, (at, name)


# --- PID 1 and its programs -----------------------------------------------------------------------------------------

NESTED = JailSpec(allow=Allow(nested=True))
STRICTNESS = ("kill", "EPERM", "ENOSYS", "log", "allow")
IN_INIT = re.compile(r"\bSYS\((\w+)")
BEFORE_ANY_PROGRAM = {"main.c": {"exit_group", "recvmsg", "sendmsg"}, "confine.c": {"seccomp"}}


def both(parts: tuple[bytes, bytes], at: int, arguments: tuple[int, ...] = ()) -> str:
    """Return what becomes of a call under two filters: of their words the strictest."""
    return min((verdict(code, at, arguments, NATIVE) for code in parts), key=STRICTNESS.index)


@libseccomp
@settings(max_examples=15, deadline=None)
@given(POLICIES, ALLOW)
def test_two_parts_of_a_filter_refuse_what_it_refuses(policy: SeccompPolicy, allow: Allow) -> None:
    """No more and no less, whatever the policy; and under the first alone PID 1 can work."""
    whole = filter_of(JailSpec(seccomp=policy, allow=allow))
    assert whole is not None
    code, parts = _native.compile_filter(whole), tuple(map(_native.compile_filter, divided(whole)))
    assert len(parts) == 2
    for at in range(600):
        assert both(parts, at) == verdict(code, at, machine=NATIVE)
    for name, arguments, _ in ARGUMENTS:
        assert both(parts, number(name), arguments) == verdict(code, number(name), arguments, NATIVE)
    for name in PID1 - {"clone", "ioctl", "prctl", "openat", "prlimit64", "unshare"}:
        assert number(name) < 0 or verdict(parts[0], number(name), machine=NATIVE) == "allow"
    mine = [
        ("clone", (0x1100,)),
        ("ioctl", (0, 0x540E)),
        ("prctl", (4, 0)),
        ("prctl", (47, 2)),
        ("openat", (0,)),
        ("prlimit64", (0, 7)),
    ]
    for name, arguments in (*mine, ("unshare", (NEWCGROUP,))):
        assert verdict(parts[0], number(name), arguments, NATIVE) == "allow"


@libseccomp
def test_by_default_a_program_loads_no_filter_of_its_own() -> None:
    """Each would pay for it. Who may nest has CAP_SYS_ADMIN there, and must not leave his group of processes."""
    for spec, own in ((JailSpec(), set()), (JailSpec(tier="landlock"), set()), (NESTED, {"unshare", "clone"})):
        whole = filter_of(spec)
        assert whole is not None
        assert {name for name, _ in divided(whole)[1].actions} == own


def test_all_that_init_calls_is_known() -> None:
    """A call that PID 1 makes under the filter and that the table forgot would fail, under some policy, in the dark."""
    folder = Path(os.environ.get("JAILKIT_SOURCE") or ROOT) / "jailkit" / "_native" / "init"
    for name in ("serve.c", "request.c", "program.c", "tree.c", "guard.c"):
        assert set(IN_INIT.findall((folder / name).read_text())) - {"signalfd4"} <= PID1, name
    for name, calls in BEFORE_ANY_PROGRAM.items():
        assert calls <= set(IN_INIT.findall((folder / name).read_text())) & PID1


CLONE_THREAD, NEWUSER, NEWCGROUP = 0x3D0F00, 0x10000000, 0x02000000
ARGUMENTS: list[tuple[str, tuple[int, ...], str]] = [
    ("clone", (CLONE_THREAD,), "allow"),
    ("clone", (17,), "allow"),
    ("clone", (17 | NEWUSER,), "EPERM"),
    ("clone", (17 | NEWCGROUP,), "EPERM"),
    ("clone3", (), "ENOSYS"),
    ("openat2", (), "ENOSYS"),
    ("unshare", (0,), "EPERM"),
    ("unshare", (NEWCGROUP,), "allow"),  # and the kernel refuses it, for want of CAP_SYS_ADMIN
    ("unshare", (NEWCGROUP | NEWUSER,), "EPERM"),
    ("ioctl", (0, 0x5401), "allow"),
    ("ioctl", (0, 0x5412), "EPERM"),
    ("ioctl", (0, 0x100005412), "EPERM"),
    ("ioctl", (0, 0xFFFFFFFF00005412), "EPERM"),
    ("ioctl", (0, 0x541C), "EPERM"),
    ("ioctl", (0, 0x541300000000), "allow"),
    ("personality", (0,), "allow"),
    ("personality", (0xFFFFFFFF,), "allow"),
    ("personality", (0x40000,), "EPERM"),
    ("socket", (1, 1, 0), "allow"),
    ("socket", (2, 1, 0), "allow"),
    ("socket", (10, 1, 0), "allow"),
    ("socket", (16, 3, 0), "allow"),
    ("socket", (16, 3, 9), "EPERM"),
    ("socket", (17, 3, 0), "EPERM"),
    ("socket", (38, 5, 0), "EPERM"),
    ("socket", (0x100000026, 5, 0), "EPERM"),
    ("socketpair", (1, 1, 0), "allow"),
    ("socketpair", (30, 1, 0), "EPERM"),
    ("prctl", (15,), "allow"),
    ("prctl", (38,), "allow"),
    ("prctl", (35,), "EPERM"),
    ("prctl", (0x59616D61,), "EPERM"),
    ("prctl", (0x53564D41,), "allow"),
    ("prlimit64", (0, 7), "allow"),
    ("prlimit64", (1, 7), "EPERM"),
    ("openat", (0, 0, 0, 0o4755), "allow"),
    ("openat", (0, 0, 0o100, 0o644), "allow"),
    ("openat", (0, 0, 0o100, 0o4755), "EPERM"),
    ("openat", (0, 0, 0o100, 0o2755), "EPERM"),
    ("openat", (0, 0, 0o20200000, 0o4755), "EPERM"),
    ("fchmod", (0, 0o755), "allow"),
    ("fchmod", (0, 0o4755), "EPERM"),
    ("fchmodat", (0, 0, 0o2755), "EPERM"),
    ("mknodat", (0, 0, 0o14644), "EPERM"),
    ("mknodat", (0, 0, 0o10644), "allow"),
]


@libseccomp
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("name", "arguments", "expected"), ARGUMENTS)
def test_arguments_decide(name: str, arguments: tuple[int, ...], expected: str, machine: str) -> None:
    """On both machines; where the kernel reads 32 bits, the filter reads those and no others."""
    assert verdict(code_of(machine), number(name, machine), arguments, machine) == expected


@libseccomp
def test_other_architectures_are_refused() -> None:
    """A process that makes a call by the numbers of another one is ended; x32 is a number too far."""
    for profile in PROFILES:
        code = code_of("x86_64", seccomp=profile)
        assert verdict(code, 11, machine="i386") == "kill"
        assert verdict(code, number("write", "x86_64"), machine="aarch64") == "kill"
        assert {verdict(code, 0x40000000 | at) for at in range(550)} == {"ENOSYS"}


@libseccomp
@pytest.mark.parametrize(
    ("switch", "name", "arguments"),
    [
        ("raw_sockets", "socket", (17, 3, 0)),
        ("sysvipc", "shmget", ()),
        ("ptrace", "ptrace", ()),
        ("ptrace", "prctl", (0x59616D61,)),
        ("nested", "unshare", (NEWUSER,)),
        ("nested", "clone", (NEWUSER | 17,)),
        ("mount", "fsopen", ()),
    ],
)
def test_a_switch_opens_its_calls(switch: str, name: str, arguments: tuple[int, ...]) -> None:
    """And a policy has the last word, and no switch lets a program out of its namespace of control groups."""
    allow = Allow.of({switch, *({"nested"} if switch == "mount" else ())})
    at = number(name)
    assert verdict(code_of(), at, arguments, NATIVE) == "EPERM"
    assert verdict(code_of(allow=allow), at, arguments, NATIVE) == "allow"
    removed = SeccompPolicy().remove(name, refusal="kill")
    assert verdict(code_of(allow=allow, seccomp=removed), at, arguments, NATIVE) == "kill"
    every = Allow.of(Allow.names())
    assert verdict(code_of(allow=every), number("unshare"), (NEWCGROUP,), NATIVE) == "EPERM"
    assert verdict(code_of(allow=every), number("setns"), (), NATIVE) == "EPERM"


@libseccomp
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_default_profile_is_what_it_was(machine: str) -> None:
    """Each number from 0 to 520, with arguments that are all 0, against a table that changes only on purpose."""
    code = code_of(machine)
    last = 450 if machine != NATIVE else 520  # of another machine, libseccomp knows no newer ones
    now = {str(at): verdict(code, at, machine=machine) for at in range(last)}
    path = GOLDEN / f"default-{machine}.json"
    if UPDATE:
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(json.dumps(now, indent=0) + "\n")
    golden = json.loads(path.read_text())
    assert now == {at: said for at, said in golden.items() if int(at) < last}


def test_a_machine_without_libseccomp(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no filter then, and the reason is said."""
    from jailkit._native import _seccomp

    monkeypatch.setattr(_seccomp, "_LIBRARY", "libseccomp-that-is-missing.so.9")
    _seccomp._library.cache_clear()
    try:
        wanted = filter_of(JailSpec(seccomp=SeccompPolicy("strict").log("flock")))
        assert wanted is not None
        with pytest.raises(_native.LibraryMissingError):
            _native.compile_filter(attrs.evolve(wanted))
    finally:
        _seccomp._library.cache_clear()
