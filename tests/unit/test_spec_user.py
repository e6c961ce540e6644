"""Users of a jail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit._errors import SpecError
from jailkit.spec import User
from tests.strategies import BAD_HOST_PATHS, BAD_IDS, BAD_LOGIN_NAMES, IDS, LOGIN_NAMES, users


def test_an_ordinary_user_has_the_documented_defaults() -> None:
    """One number makes a whole user."""
    assert User(1000) == User(1000, 1000, name="jail", home="/home/jail", groups=())


def test_the_superuser_has_the_usual_name_and_home() -> None:
    """Programs that look for root's account find it as on any system."""
    assert User(0) == User(0, 0, name="root", home="/root", groups=())


@given(IDS.filter(bool), LOGIN_NAMES)
def test_home_follows_from_the_name(uid: int, name: str) -> None:
    """The default home is the one that useradd(8) would give."""
    assert User(uid, name=name).home == f"/home/{name}"


@given(IDS)
def test_a_number_is_a_user(uid: int) -> None:
    """Where a user is wanted, a uid is enough."""
    assert User.of(uid) == User(uid)


@given(users())
def test_a_user_is_a_user(user: User) -> None:
    """Converting what is already a user changes nothing."""
    assert User.of(user) is user


@given(BAD_IDS | st.none())
def test_user_of_refuses_what_is_no_uid(value: object) -> None:
    """Names are not looked up, and a bool is no number."""
    with pytest.raises(SpecError) as caught:
        User.of(value)  # type: ignore[arg-type]
    assert caught.value.field == "user"
    assert caught.value.value is value


@given(BAD_IDS)
def test_ids_are_ints_in_range(value: object) -> None:
    """No id of a user is negative, a bool, a text or the kernel's "no change" number."""
    with pytest.raises(SpecError, match=r"^user\.uid: .* allowed: an int, 0 to 4294967294$"):
        User(value)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"^user\.gid: "):
        User(1, value)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"^user\.groups: "):
        User(1, groups=[5, value])  # type: ignore[list-item]


@pytest.mark.parametrize("value", [None, 5, "5", b"5", range(65537)])
def test_groups_are_a_list_that_setgroups_takes(value: object) -> None:
    """A single number is not taken for a list, nor bytes for a list of small numbers."""
    with pytest.raises(SpecError, match=r"^user\.groups: "):
        User(1, groups=value)  # type: ignore[arg-type]


@given(BAD_LOGIN_NAMES)
def test_names_cannot_break_the_passwd_file(name: object) -> None:
    """A login name is what useradd(8) accepts, so it needs no escaping anywhere."""
    with pytest.raises(SpecError) as caught:
        User(1, name=name)  # type: ignore[arg-type]
    assert (caught.value.field, caught.value.value) == ("user.name", name)


@given(BAD_HOST_PATHS | st.sampled_from(["/a:b", "/a\nb"]))
def test_homes_cannot_break_the_passwd_file(home: object) -> None:
    """A home is an absolute path without the separators of passwd(5)."""
    with pytest.raises(SpecError, match=r"^user\.home: "):
        User(1, home=home)  # type: ignore[arg-type]
