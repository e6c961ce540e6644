"""Limits: what each field takes, and how requests combine."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit._errors import SpecError
from jailkit.spec import UNLIMITED, GiB, KiB, Level, Limits, MiB
from tests.strategies import (
    AMOUNT_FIELDS,
    LEVELS,
    LIMIT_FIELDS,
    LIMITS,
    SIZE_OR_ZERO_FIELDS,
    SPECIAL_FIELDS,
    bad_limit_values,
    limit_values,
)

FIELDS = tuple(field.name for field in attrs.fields(Limits))


def test_the_strategies_know_every_field() -> None:
    """A field that is added to Limits is met by the properties below."""
    assert sorted(LIMIT_FIELDS) == sorted(FIELDS)


def test_units_are_powers_of_1024() -> None:
    """The units are the binary ones that their names say."""
    assert (KiB, MiB, GiB) == (1024, 1024**2, 1024**3)


@given(st.sampled_from(FIELDS), st.data())
def test_every_valid_value_is_kept(field: str, data: st.DataObject) -> None:
    """A valid limit is stored as it was given."""
    value = data.draw(limit_values(field))
    assert getattr(Limits(**{field: value}), field) == value


@given(st.sampled_from(FIELDS), st.data())
def test_every_invalid_value_is_refused_by_name(field: str, data: st.DataObject) -> None:
    """A wrong limit names its field, the value and what is allowed."""
    value = data.draw(bad_limit_values(field))
    with pytest.raises(SpecError) as caught:
        Limits(**{field: value})
    assert caught.value.field == f"limits.{field}"
    assert caught.value.value is value
    assert caught.value.allowed


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [True, False, math.nan, -math.inf, -1, "one"])
def test_no_limit_is_a_bool_a_nan_or_negative(field: str, value: Any) -> None:
    """These are slips of the caller in every field alike."""
    with pytest.raises(SpecError, match=rf"^limits\.{field}: "):
        Limits(**{field: value})


@pytest.mark.parametrize("field", FIELDS)
def test_zero_is_a_limit_only_where_it_makes_sense(field: str) -> None:
    """No swap, no core file and no output can be asked for; nothing else can be zero."""
    if field in SIZE_OR_ZERO_FIELDS:
        assert getattr(Limits(**{field: 0}), field) == 0
    else:
        with pytest.raises(SpecError, match="0 is not allowed"):
            Limits(**{field: 0})


@pytest.mark.parametrize("field", sorted(set(FIELDS) - set(AMOUNT_FIELDS) - set(SPECIAL_FIELDS)))
def test_sizes_and_counts_are_whole_and_fit_the_kernel(field: str) -> None:
    """No limit is rounded, and none collides with the number for infinity."""
    for value in (1.0, 0.5, 2**63, 10**5000):
        with pytest.raises(SpecError):
            Limits(**{field: value})
    assert getattr(Limits(**{field: 2**63 - 1}), field) == 2**63 - 1


def test_the_documented_message() -> None:
    """The message that the documentation shows is the one that is printed."""
    with pytest.raises(SpecError) as caught:
        Limits(cpu_seconds=-1)
    expected = "limits.cpu_seconds: -1 is not allowed; allowed: a finite number of seconds > 0, or UNLIMITED"
    assert str(caught.value) == expected


def test_a_time_that_no_clock_can_hold_is_refused() -> None:
    """A deadline fits in 64 bits of nanoseconds; who wants no deadline says UNLIMITED."""
    assert Limits(wall_seconds=10**9).wall_seconds == 10**9
    for value in (10**9 + 1, 1e300, 10**400):
        with pytest.raises(SpecError, match="UNLIMITED"):
            Limits(wall_seconds=value)


@given(LIMITS, LIMITS)
def test_over_takes_each_field_from_the_first_that_names_it(mine: Limits, base: Limits) -> None:
    """A field asked for wins, also when it is larger; a field not asked for comes from the base."""
    both = mine.over(base)
    for field in FIELDS:
        own = getattr(mine, field)
        assert getattr(both, field) == (getattr(base, field) if own is None else own)


@given(LIMITS, LIMITS, LIMITS)
def test_over_is_associative_with_nothing_as_neutral(a: Limits, b: Limits, c: Limits) -> None:
    """Command over jail over level gives the same whichever pair is combined first."""
    assert a.over(b).over(c) == a.over(b.over(c))
    assert a.over(Limits()) == Limits().over(a) == a


@given(LIMITS)
def test_named_lists_what_was_asked_for(limits: Limits) -> None:
    """A field is named exactly when it is not None, UNLIMITED included, in the order of the class."""
    assert limits.named() == tuple(field for field in FIELDS if getattr(limits, field) is not None)


def test_asking_for_no_limit_is_asking() -> None:
    """UNLIMITED is a request of its own, other than not asking."""
    assert Limits(memory=UNLIMITED).named() == ("memory",)
    assert Limits().named() == ()


@given(LEVELS)
def test_the_default_of_a_level_says_something_of_every_field(level: Level) -> None:
    """After the defaults no limit is an open question."""
    assert Limits.default(level).named() == FIELDS


EVERY_LEVEL = {"core": 0, "output": 64 * MiB, "disk": 256 * MiB}
CONTAINED = {
    "memory": 2 * GiB,
    "swap": 0,
    "cpu_seconds": 3600,
    "processes": 512,
    "open_files": 1024,
    "file_size": GiB,
    "stack": 8 * MiB,
    "locked_memory": 8 * MiB,
    "message_queues": 800 * KiB,
}


@pytest.mark.parametrize(
    ("level", "bounded"),
    [
        (Level.CHROOT, EVERY_LEVEL),
        (Level.JAIL, EVERY_LEVEL),
        (Level.CONTAINER, EVERY_LEVEL | CONTAINED),
        (Level.SANDBOX, EVERY_LEVEL | CONTAINED),
    ],
)
def test_the_documented_defaults(level: Level, bounded: dict[str, int]) -> None:
    """Each level bounds what its documentation says, and nothing else."""
    assert attrs.asdict(Limits.default(level)) == {field: bounded.get(field, UNLIMITED) for field in FIELDS}


def test_limits_are_given_by_name() -> None:
    """A bare number does not tell which limit it is."""
    with pytest.raises(TypeError):
        Limits(1)  # type: ignore[call-arg]
