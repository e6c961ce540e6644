"""A command in one jail, decided: who, where, with which variables and limits, looked up under which names."""

from __future__ import annotations

import contextlib
import math
import os
import string
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit import _native
from jailkit._errors import UnsupportedError
from jailkit.plan import Host, Program, compile_plan, prepare, prepare_open
from jailkit.spec import UNLIMITED, Command, JailSpec, Level, Limits, User, Writable
from tests.plans import GRID, NEEDS_CGROUPS, QUICK, ROOTS, VALUES, pairs, root_host, sub_host, user_host, wants_cgroups
from tests.strategies import ENVIRONMENTS, LIMITS, commands

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FIELDS = {
    "RLIMIT_CPU": "cpu_seconds",
    "RLIMIT_NPROC": "processes",
    "RLIMIT_NOFILE": "open_files",
    "RLIMIT_FSIZE": "file_size",
    "RLIMIT_STACK": "stack",
    "RLIMIT_CORE": "core",
    "RLIMIT_AS": "address_space",
    "RLIMIT_MEMLOCK": "locked_memory",
    "RLIMIT_MSGQUEUE": "message_queues",
}
NAMES = {field: name for name, field in FIELDS.items()}


def program(
    command: Command | None = None,
    spec: JailSpec | None = None,
    host: Host | None = None,
    *,
    alone: bool = False,
    watched: bool = False,
) -> Program:
    """Prepare a command for a jail, both plain where nothing is given."""
    spec, host = spec or JailSpec(), host or user_host()
    return prepare(command or Command(["x"]), spec, compile_plan(spec, host), host, alone=alone, watched=watched)


def rlimits(own: Limits, host: Host | None = None, **spec: Any) -> dict[str, tuple[int, int]]:
    """Return the resource limits of a program that was asked for with these limits."""
    made = program(Command(["x"], limits=own), JailSpec(**spec), host)
    return {name: (soft, hard) for name, soft, hard in made.rlimits}


def environment(made: Program) -> dict[str, str]:
    """Return the variables of a program; each is there once."""
    pairs_ = [(name, value) for name, _, value in (os.fsdecode(entry).partition("=") for entry in made.env)]
    assert len({name for name, _ in pairs_}) == len(pairs_)
    return dict(pairs_)


@QUICK
@given(pairs(), commands())
def test_every_command_is_decided_or_refused(pair: tuple[JailSpec, Host], command: Command) -> None:
    """What comes out can be encoded and is the same twice; what is refused is refused by name."""
    spec, host = pair
    plan = compile_plan(spec, host)
    own = command.user.uid if command.user else "-"
    with (
        contextlib.suppress(UnsupportedError)
        if wants_cgroups(command.limits)
        else _refusing(f"user {own} with groups [")
    ):
        made = prepare(command, spec, plan, host)
        check_program(made, command, spec, plan.cwd)
        again = prepare(attrs.evolve(command), attrs.evolve(spec), plan, host)
        assert attrs.asdict(made) == attrs.asdict(again)


@contextlib.contextmanager
def _refusing(feature: str) -> Iterator[None]:
    """Let a refusal pass that names this feature, and no other."""
    try:
        yield
    except UnsupportedError as error:
        if not error.feature.startswith(feature):
            raise


def check_program(made: Program, command: Command, spec: JailSpec, cwd: str) -> None:
    """What was decided is what was asked for, and has a place in a request."""
    user = command.user or spec.effective_user
    assert (made.uid, made.gid, made.groups) == (user.uid, user.gid, user.groups)
    assert made.argv == command.argv
    assert made.cwd == os.fsencode(command.cwd or cwd)
    assert made.cwd.startswith(b"/")
    assert set(made.flags) <= set(_native.enum_names("jk_request_flag").values())
    assert len(made.groups) <= _native.constant("JK_GROUPS")
    assert len(made.rlimits) <= _native.constant("JK_RLIMITS")
    assert all(0 <= soft <= hard < 2**64 - 1 for _, soft, hard in made.rlimits)


# --- limits ---------------------------------------------------------------------------------------------------------


@QUICK
@given(LIMITS, LIMITS, st.sampled_from(Level))
def test_limits_of_the_command_win_over_those_of_the_jail(own: Limits, jail: Limits, level: Level) -> None:
    """Command, then jail, then level; rounded up to whole numbers; UNLIMITED is no limit at all."""
    own, jail = (attrs.evolve(limits, **dict.fromkeys(NEEDS_CGROUPS)) for limits in (own, jail))
    made = program(Command(["x"], limits=own), JailSpec(level=level, limits=jail), root_host())
    for name, field in FIELDS.items():
        rest = JailSpec(level=level).effective_limits  # of the level, less what is opened by Allow alone
        chosen = [getattr(limits, field) for limits in (own, jail, rest)]
        amount = next(amount for amount in chosen if amount is not None)
        found = [(soft, hard) for n, soft, hard in made.rlimits if n == name]
        if amount == UNLIMITED:
            assert found == []
            continue
        ((soft, hard),) = found
        assert soft == math.ceil(amount)
        assert hard == soft + (name == "RLIMIT_CPU")
    everything = own.over(jail).over(Limits.default(level))
    assert (made.wall_seconds, made.output) == (everything.wall_seconds, everything.output)


@pytest.mark.parametrize(("asked", "soft"), [(0.001, 1), (1, 1), (1.0, 1), (1.0001, 2), (10**9, 10**9)])
def test_cpu_seconds_are_rounded_up(asked: float, soft: int) -> None:
    """RLIMIT_CPU counts whole seconds, and 0 would be no limit; SIGKILL comes a second after SIGXCPU."""
    assert rlimits(Limits(cpu_seconds=asked))["RLIMIT_CPU"] == (soft, soft + 1)


@given(st.floats(0.001, 10_000), st.none() | st.integers(1, 20_000))
def test_the_watcher_knows_the_limit_that_is_in_force(asked: float, hard: int | None) -> None:
    """Whether a program used up its processor time is judged by what RLIMIT_CPU says, not by what it was made of."""
    host = user_host(hard_limits=() if hard is None else (("RLIMIT_CPU", hard),))
    if hard is None or math.ceil(asked) <= hard:
        made = program(Command(["x"], limits=Limits(cpu_seconds=asked)), host=host)
    else:
        made = program(host=host)
    assert {name: soft for name, soft, _ in made.rlimits}["RLIMIT_CPU"] == made.cpu_seconds


@pytest.mark.parametrize(("asked", "watched"), [(0.5, 0.5), (1, 1.05), (1.5, 1.5), (60, 60.05), (math.inf, math.inf)])
def test_the_signal_of_a_whole_second_comes_before_the_host(asked: float, watched: float) -> None:
    """Both were at the same moment once, and the return code was that of the faster one."""
    made = program(Command(["x"], limits=Limits(cpu_seconds=asked)))
    assert (made.cpu_limit, made.cpu_watched) == (asked, watched)


def test_without_a_limit_the_watcher_has_none() -> None:
    """No bound on processor time, on the clock or on output: infinite, not zero."""
    made = program(Command(["x"], limits=Limits(cpu_seconds=UNLIMITED, wall_seconds=UNLIMITED, output=UNLIMITED)))
    assert (made.cpu_seconds, made.wall_seconds, made.output) == (math.inf, math.inf, math.inf)
    assert program(Command(["x"], limits=Limits(output=0))).output == 0


@pytest.mark.parametrize("hard", [1, 7])
@pytest.mark.parametrize(("field", "name"), [*NAMES.items()])
def test_a_default_is_lowered_to_the_hard_limit_and_a_wish_is_refused(field: str, name: str, hard: int) -> None:
    """Nobody asked for the default by name; who asked for a number gets it or an error that says how much there is."""
    host = root_host(hard_limits=((name, hard),))
    default = getattr(JailSpec().effective_limits, field)
    expected = None if default == UNLIMITED else (min(int(default), hard),) * 2
    assert rlimits(Limits(), host).get(name) == expected
    too_much = Limits(**{field: hard + 1})
    for own, jail in ((too_much, Limits()), (Limits(), too_much)):
        with pytest.raises(UnsupportedError, match=f"limits.{field}={hard + 1}.*{hard}"):
            rlimits(own, host, limits=jail)
    assert rlimits(Limits(**{field: hard}), host)[name] == (hard, hard)


def test_no_hard_limit_is_no_bound() -> None:
    """-1 is RLIM_INFINITY, and what the host did not name is not bounded either."""
    for hard_limits in ((), (("RLIMIT_AS", -1),)):
        host = root_host(hard_limits=hard_limits)
        assert rlimits(Limits(address_space=1 << 50), host)["RLIMIT_AS"] == (1 << 50, 1 << 50)


@pytest.mark.parametrize(
    ("host", "level", "extra"),
    [
        (user_host(), Level.SANDBOX, 1),
        (sub_host(), Level.SANDBOX, 1),
        (sub_host(), Level.JAIL, 0),
        (root_host(), Level.SANDBOX, 0),
    ],
)
def test_pid1_is_counted_where_it_has_the_same_id(host: Host, level: Level, extra: int) -> None:
    """In a one-id map PID 1 is a process of the program's user: without one more, processes=1 could start nothing."""
    assert rlimits(Limits(processes=5), host, level=level)["RLIMIT_NPROC"] == (5 + extra, 5 + extra)


def test_the_remedy_for_processes_works() -> None:
    """What the error says can be had, can be had."""
    host = user_host(hard_limits=(("RLIMIT_NPROC", 10),))
    with pytest.raises(UnsupportedError) as caught:
        rlimits(Limits(processes=11), host)
    most = int(caught.value.remedy.split()[-1])
    try:
        assert rlimits(Limits(processes=most), host)["RLIMIT_NPROC"][0] <= 10
    except UnsupportedError as error:
        pytest.fail(f"limits.processes={most} was promised: {error}")


@pytest.mark.parametrize("name", NEEDS_CGROUPS)
def test_limits_of_control_groups_are_refused(name: str) -> None:
    """For one program as for the whole jail."""
    with pytest.raises(UnsupportedError, match=f"limits.{name}"):
        program(Command(["x"], limits=Limits(**{name: VALUES.get(name, 1)})))
    unlimited = program(Command(["x"], limits=Limits(**{name: UNLIMITED})))
    assert attrs.asdict(unlimited) == attrs.asdict(program())


# --- variables and names --------------------------------------------------------------------------------------------


@given(ENVIRONMENTS, ENVIRONMENTS)
def test_the_environment_starts_clean(jail: dict[str, str], own: dict[str, str]) -> None:
    """Five variables, then the jail's, then the command's; nothing of this process."""
    made = program(Command(["x"], env=own), JailSpec(env=jail, user=User(5, name="me", home="/h")))
    base = {"PATH": PATH, "HOME": "/h", "USER": "me", "LOGNAME": "me", "LANG": "C.UTF-8"}
    assert environment(made) == {**base, **jail, **own}


@pytest.mark.parametrize("user", [None, User(1000, name="other", home="/elsewhere"), User(7, home="/seven")])
@pytest.mark.parametrize(("root", "writable"), ROOTS)
def test_home_is_that_of_the_user(user: User | None, root: str | None, writable: Writable) -> None:
    """Of whoever runs the program; where the jail makes no home of its own, programs start in /."""
    spec = JailSpec(root, writable=writable)
    made = program(Command(["x"], user=user), spec, root_host(idmapped={"/srv/root"}))
    assert environment(made)["HOME"] == (user.home if user else "/home/jail")
    assert made.cwd == (b"/home/jail" if root is None else b"/")


def test_the_working_directory_is_the_nearest_that_was_named() -> None:
    """Command, then jail, then home."""
    assert program().cwd == b"/home/jail"
    assert program(spec=JailSpec(cwd="/a")).cwd == b"/a"
    assert program(Command(["x"], cwd="/b"), JailSpec(cwd="/a")).cwd == b"/b"


ENTRIES = st.lists(st.text(string.ascii_letters + "/._ ", max_size=8), max_size=6)


@given(ENTRIES)
def test_a_bare_name_is_looked_for_in_path(entries: list[str]) -> None:
    """In the order of PATH, of the jail or the command; an empty entry does not stand for the working directory."""
    directories = [entry for entry in entries if entry]
    for command, spec in (
        (Command(["tool"], env={"PATH": ":".join(entries)}), JailSpec(env={"PATH": "/wrong"})),
        (Command(["tool"]), JailSpec(env={"PATH": ":".join(entries)})),
    ):
        made = program(command, spec)
        if directories:
            assert made.candidates == tuple(f"{directory}/tool".encode() for directory in directories)
        assert all(b"tool" in candidate for candidate in made.candidates)


@pytest.mark.parametrize("path", ["", ":", "::"])
def test_an_empty_path_finds_nothing_in_the_working_directory(path: str) -> None:
    """A program of that name in the working directory is not what was asked for."""
    made = program(Command(["tool"], env={"PATH": path}))
    assert b"tool" not in made.candidates


@pytest.mark.parametrize("name", ["/bin/tool", "./tool", "a/tool", "tool/"])
def test_a_name_with_a_slash_is_a_path(name: str) -> None:
    """And not looked for."""
    assert program(Command([name])).candidates == (name.encode(),)


def test_the_default_path_is_searched() -> None:
    """Six directories, as a login gives them."""
    assert program().candidates == tuple(f"{directory}/x".encode() for directory in PATH.split(":"))


# --- users and flags ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "level", "user", "feature", "never"),
    [
        (user_host(), "sandbox", User(1001), "user 1001 with groups [1001]", False),
        (user_host(), "sandbox", User(1000, 1001), "user 1000 with groups [1001]", False),
        (user_host(), "sandbox", User(1000, groups=(1001,)), "user 1000 with groups [1000, 1001]", True),
        (user_host(), "sandbox", User(1000, groups=(1000,)), "user 1000 with groups [1000, 1000]", True),
        (root_host(), "sandbox", User(65536), "user 65536 with groups [65536]", True),
        (root_host(), "sandbox", User(1, 65536), "user 1 with groups [65536]", True),
        (sub_host(), "jail", User(65537), "user 65537 with groups [65537]", False),
        (root_host(), "jail", User(1, groups=range(33)), "33 supplementary groups", True),
    ],
)
def test_a_user_that_the_jail_has_not_is_refused(host: Host, level: str, user: User, feature: str, never: bool) -> None:
    """By name, before anything is started: a jail whose own user it is cannot be planned, or has the ids for it."""
    spec = JailSpec(level=level)
    plan = compile_plan(spec, host)
    with pytest.raises(UnsupportedError) as caught:
        prepare(Command(["x"], user=user), spec, plan, host)
    assert caught.value.feature == feature
    for_itself = attrs.evolve(spec, user=user)
    if never:
        with pytest.raises(UnsupportedError):
            compile_plan(for_itself, host)
    else:
        assert prepare(Command(["x"]), for_itself, compile_plan(for_itself, host), host).uid == user.uid


@pytest.mark.parametrize(
    ("host", "level", "user"),
    [
        (user_host(), "sandbox", User(1000)),
        (root_host(), "sandbox", User(65535, groups=(0, 65535))),
        (root_host(), "jail", User(1, groups=range(32))),
        (sub_host(), "jail", User(65536, groups=(0, 7))),
    ],
)
def test_a_user_that_the_jail_has_can_run_programs(host: Host, level: str, user: User) -> None:
    """The other side of each refusal."""
    made = program(Command(["x"], user=user), JailSpec(level=level), host)
    assert (made.uid, made.gid, made.groups) == (user.uid, user.gid, user.groups)


@pytest.mark.parametrize("pair", GRID[::5])
@pytest.mark.parametrize("uid", [0, 1000])
def test_capabilities_are_for_a_superuser_below_sandbox(pair: tuple[JailSpec, Host], uid: int) -> None:
    """Nobody else starts with any, and where the map allows it groups are set."""
    spec = attrs.evolve(pair[0], user=User(uid))
    made = program(None, spec, pair[1])
    assert ("JK_RUN_KEEP_CAPS" in made.flags) == (uid == 0 and spec.level < Level.SANDBOX)
    assert ("JK_RUN_SETGROUPS" in made.flags) == compile_plan(spec, pair[1]).ids.setgroups


@pytest.mark.parametrize(
    ("flag", "command", "how"),
    [
        ("JK_RUN_ALONE", Command(["x"]), "alone"),
        ("JK_RUN_DETACH", Command(["x"], detach=True), ""),
        ("JK_RUN_EXEC_PIPE", Command(["x"]), "watched"),
    ],
)
def test_each_flag_comes_from_one_wish(flag: str, command: Command, how: str) -> None:
    """And is not there without it."""
    assert set(program(command, alone=how == "alone", watched=how == "watched").flags) - set(program().flags) == {flag}


def test_a_file_is_opened_as_the_user_of_the_jail() -> None:
    """At the path as given, from /, without waiting, with exactly the mode that was asked for."""
    spec, host = JailSpec(user=7), user_host()
    made = prepare_open("/out/x", ("O_WRONLY", "O_CREAT"), 0o640, spec, compile_plan(spec, host), host)
    assert made.candidates == (b"/out/x",)
    assert (made.uid, made.cwd, made.umask & 0o777, 0o777 & ~made.umask) == (7, b"/", 0o137, 0o640)
    assert set(made.open_flags) == {"O_WRONLY", "O_CREAT", "O_NONBLOCK", "O_NOCTTY"}
    assert "JK_RUN_OPEN" in made.flags
    assert "JK_RUN_OPEN" not in program().flags
    assert program().open_flags == ()
    assert program().umask == 0o022
