"""Limits within what this process may still set: one decision, for the list of protections and for each program."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jailkit._errors import UnsupportedError
from jailkit.plan import Cgroups, Host, compile_plan, modify, prepare
from jailkit.plan.bounds import bounds
from jailkit.spec import UNLIMITED, Command, JailSpec, Level, Limits
from tests.plans import (
    CGROUPS_V1,
    CGROUPS_V2,
    NEEDS_CGROUPS,
    RLIMITS,
    TIERS,
    VALUES,
    root_host,
    user_host,
    without_cgroups,
)
from tests.strategies import LEVELS, LIMITS

HARD = st.fixed_dictionaries({}, optional={name: st.just(-1) | st.integers(2, 2**20) for name in RLIMITS.values()})
SOURCES = st.sampled_from(["slice", "subid", "one"])


def facts(spec: JailSpec, host: Host) -> dict[str, tuple[str, str]]:
    """Return state and fact of each limit in the list of protections."""
    return {
        item.name.removeprefix("limit: "): (item.state, item.fact)
        for item in compile_plan(spec, host).isolation
        if item.name.startswith("limit: ")
    }


@given(LIMITS.map(without_cgroups), LIMITS.map(without_cgroups), LEVELS, SOURCES, HARD)
def test_no_limit_is_above_a_hard_one(own: Limits, jail: Limits, level: Level, ids: str, most: dict[str, int]) -> None:
    """What comes out can be set, is what is said to be in force, and is no more than was asked for."""
    try:
        made = bounds(own, jail, level, ids, tuple(most.items()))
    except UnsupportedError as error:
        field = error.feature.removeprefix("limits.").partition("=")[0]
        asked = getattr(own.over(jail), field)
        # Only what somebody asked for by name is refused, and only where there is less.
        assert asked is not None
        assert math.ceil(asked) + (field == "processes" and ids == "one") > most[RLIMITS[field]] >= 0
        return
    wanted = own.over(jail).over(Limits.default(level))
    found = {name: (soft, hard) for name, soft, hard in made.rlimits}
    assert len(found) == len(made.rlimits)
    assert made.in_force.keys() == {field for field in RLIMITS if getattr(wanted, field) != UNLIMITED}
    assert found.keys() == {RLIMITS[field] for field in made.in_force}
    for field, amount in made.in_force.items():
        soft, hard = found[RLIMITS[field]]
        bound = most.get(RLIMITS[field], -1)
        assert soft <= hard
        assert bound < 0 or hard <= bound
        # PID 1 counts where it has the id of the program, and is no process of the program's.
        assert soft == amount + (field == "processes" and ids == "one")
        assert amount <= math.ceil(getattr(wanted, field))
        assert amount == math.ceil(getattr(wanted, field)) or soft == bound


@pytest.mark.parametrize(
    ("most", "expected"), [(-1, (10, 11)), (12, (10, 11)), (11, (10, 11)), (10, (10, 10)), (2**40, (10, 11))]
)
def test_the_kill_comes_a_second_after_the_signal_if_it_may(most: int, expected: tuple[int, int]) -> None:
    """SIGXCPU can be caught and SIGKILL cannot; where the hard limit leaves no room both come at once."""
    made = bounds(Limits(cpu_seconds=10), Limits(), Level.SANDBOX, "slice", (("RLIMIT_CPU", most),))
    assert {name: rest for name, *rest in made.rlimits}["RLIMIT_CPU"] == [*expected]
    assert made.cpu_seconds == 10


def test_without_a_limit_on_processor_time_there_is_infinitely_much() -> None:
    """Nobody is told to have used up a time that was not bounded."""
    made = bounds(Limits(cpu_seconds=UNLIMITED), Limits(cpu_seconds=5), Level.SANDBOX, "slice", ())
    assert made.cpu_seconds == math.inf
    assert "cpu_seconds" not in made.in_force


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("field", "name"), [*RLIMITS.items()])
def test_a_jail_that_asks_for_too_much_is_refused_before_it_starts(field: str, name: str, tier: str) -> None:
    """Its plan cannot be made: not only its first program fails. The remedy that is named can be had."""
    host = TIERS[tier](hard_limits=((name, 9),))
    with pytest.raises(UnsupportedError) as caught:
        compile_plan(JailSpec(limits=Limits(**{field: 10})), host)
    assert caught.value.feature == f"limits.{field}=10"
    assert f"{name} of this process is 9" in caught.value.missing
    most = int(caught.value.remedy.split()[-1])
    assert compile_plan(JailSpec(limits=Limits(**{field: most})), host).jail_steps
    with pytest.raises(UnsupportedError):
        compile_plan(JailSpec(limits=Limits(**{field: most + 1})), host)


@pytest.mark.parametrize("name", NEEDS_CGROUPS)
def test_limits_of_control_groups_are_refused_for_a_jail(name: str) -> None:
    """Before it starts, on every host that has none to give; to ask for no limit is no request."""
    for tier in TIERS.values():
        with pytest.raises(UnsupportedError) as caught:
            compile_plan(JailSpec(limits=Limits(**{name: VALUES.get(name, 1)})), tier())
        assert caught.value.feature == f"limits.{name}"
        assert "nobody has looked" in caught.value.missing
        for nothing in (Limits(), Limits(**{name: UNLIMITED})):
            assert compile_plan(JailSpec(limits=nothing), tier()).group is None


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("most", [7, 10**9])
@pytest.mark.parametrize(("field", "name"), [*RLIMITS.items()])
def test_the_list_names_the_amount_in_force(field: str, name: str, most: int, tier: str) -> None:
    """Not the amount of the level where the host has less, and without the process that PID 1 is."""
    host = TIERS[tier](hard_limits=((name, most),))
    spec = JailSpec()
    state, fact = facts(spec, host)[field]
    plan = compile_plan(spec, host)
    set_ = {n: soft for n, soft, _ in prepare(Command(["x"]), spec, plan, host).rlimits}
    if field == "address_space":  # no level bounds it
        assert (state, fact, set_.get(name)) == ("absent", "unlimited", None)
        return
    extra = field == "processes" and plan.ids.source == "one"
    assert fact.startswith(f"{set_[name] - extra}, {name}")
    assert set_[name] <= most
    # This host has no control groups: processor time is bounded for each process only.
    assert state == ("degraded" if field == "cpu_seconds" else "enforced")


@given(st.floats(0.001, 10_000), LEVELS)
def test_rounded_amounts_are_listed_rounded(asked: float, level: Level) -> None:
    """RLIMIT_CPU counts whole seconds: the list has the number that the kernel was given."""
    _, fact = facts(JailSpec(level=level, limits=Limits(cpu_seconds=asked)), root_host())["cpu_seconds"]
    assert fact.startswith(f"{math.ceil(asked)}, RLIMIT_CPU")


@given(LIMITS.map(without_cgroups), LIMITS.map(without_cgroups), LEVELS)
def test_the_clock_and_the_output_are_the_hosts_to_bound(own: Limits, jail: Limits, level: Level) -> None:
    """No hard limit touches them: what was asked for is in force. Zero bytes of output is a bound, and not none."""
    assume(own.output != jail.output)
    made = bounds(own, jail, level, "slice", ())
    wanted = own.over(jail).over(Limits.default(level))
    assert (made.wall_seconds, made.output) == (wanted.wall_seconds, wanted.output)
    assert bounds(attrs.evolve(own, output=0), jail, level, "slice", ()).output == 0


def test_limits_of_one_host_are_not_found_again_for_another() -> None:
    """What is remembered is remembered for the same hard limits and ids alone."""
    spec = JailSpec(limits=Limits(processes=5))
    amounts = []
    for host in (root_host(), user_host(), root_host()):
        made = prepare(Command(["x"]), spec, compile_plan(spec, host), host)
        amounts.append({name: soft for name, soft, _ in made.rlimits}["RLIMIT_NPROC"])
    assert amounts == [5, 6, 5]


@pytest.mark.parametrize("cgroups", [CGROUPS_V1, CGROUPS_V2], ids=["v1", "v2"])
def test_limits_of_io_change_for_every_disk(cgroups: Cgroups) -> None:
    """A change names each disk of the host, and leaves what was said of it otherwise."""
    host = root_host(cgroups=cgroups)
    spec = JailSpec(limits=Limits(read_bps=1000, write_bps=2000))
    plan, changed, settings = modify(compile_plan(spec, host), spec, Limits(write_bps=3000), host)
    assert changed.limits == Limits(read_bps=1000, write_bps=3000)
    assert [setting.text.split()[0] for setting in settings] == list(cgroups.devices)
    assert all("3000" in setting.text for setting in settings)
    assert plan.group is not None
    texts = [setting.text for setting in plan.group.settings if setting.field.endswith("_bps")]
    assert sum("1000" in text for text in texts) == sum("3000" in text for text in texts) == len(cgroups.devices)
    assert not any("2000" in text for text in texts)
