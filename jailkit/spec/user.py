"""The identity under which programs of a jail run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

import attrs

from jailkit._errors import SpecError
from jailkit.spec import _validate as check

__all__ = ["User", "optional_user"]

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_MOST_GROUPS = 65536
"""NGROUPS_MAX of Linux, see setgroups(2)."""


def _gid(value: int | None) -> int:
    return cast("int", value)


def _name(value: str | None) -> str:
    return cast("str", value)


def _groups(value: Iterable[int]) -> tuple[int, ...]:
    return cast("tuple[int, ...]", check.as_tuple(value))


def _check_name(instance: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        words = "a-z or _, then up to 30 of a-z 0-9 _ -"
        raise check.refuse(instance, attribute, value, words)


def _check_home(instance: object, attribute: Any, value: Any) -> None:
    check.absolute_path(instance, attribute, value)
    # The home is a field of a line of the jail's passwd(5): neither may be in it.
    if any(c in cast("str", value) for c in ":\n"):
        raise check.refuse(instance, attribute, value, "a path without : and without line ends")


def _check_groups(instance: object, attribute: Any, value: Any) -> None:
    words = f"at most {_MOST_GROUPS} ints, each 0 to {check.MAX_ID}"
    if not isinstance(value, tuple) or len(value) > _MOST_GROUPS:
        raise check.refuse(instance, attribute, value, words)
    if not all(check.is_int(group, 0, check.MAX_ID) for group in value):
        raise check.refuse(instance, attribute, value, words)


@attrs.frozen
class User:
    """A user of the jail, in the numbers of the jail; enforced by the kernel's credentials.

    The ids are not ids of the host: the jail's uid 0 is another uid outside, at every level.
    An ordinary user's jail has one id that is not the jail's alone: his own, see `Jail.plan`.

    Attributes:
        uid: The user id, 0 to 2**32-2.
        gid: The group id, same range. Default: the number of `uid`.
        name: The login name that the jail's passwd file and ``$USER`` get. Default: ``root``
            for uid 0, otherwise ``jail``. A label: it grants nothing.
        home: The home directory, an absolute path. Default: ``/root`` for uid 0, otherwise
            ``/home/<name>``. With the host's view as root the jail makes it, empty, for the
            jail's own user; a root directory keeps its own homes, and none is made there.
        groups: Further group ids. Default: none. A program keeps its access through every
            group it has; a host without a range of ids for the jail cannot grant any.

    Raises:
        SpecError: An id is no int or out of range, the name is no login name, or the home is
            relative or has a colon or a line end.

    >>> User(1000).home
    '/home/jail'
    """

    uid: int = attrs.field(validator=check.id_number)
    gid: int = attrs.field(default=None, converter=_gid, validator=check.unless_none(check.id_number))
    name: str = attrs.field(
        default=None,
        kw_only=True,
        converter=_name,
        validator=check.unless_none(_check_name),
    )
    home: str = attrs.field(
        default=None,
        kw_only=True,
        converter=check.clean_path_or_default,
        validator=check.unless_none(_check_home),
    )
    groups: tuple[int, ...] = attrs.field(default=(), kw_only=True, converter=_groups, validator=_check_groups)

    def __attrs_post_init__(self) -> None:
        """Fill in the fields that follow from others."""
        check.fill(self, gid=self.uid, name="root" if self.uid == 0 else "jail")
        check.fill(self, home="/root" if self.uid == 0 else f"/home/{self.name}")

    @classmethod
    def of(cls, value: int | User) -> User:
        """Return the user for a uid or for a `User`.

        Raises:
            SpecError: `value` is neither; names of the host's users are not looked up.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, int) and check.is_int(value, 0, check.MAX_ID):
            return cls(value)
        raise SpecError("user", value, f"a uid, 0 to {check.MAX_ID}, or a User")


def optional_user(value: int | User | None) -> User | None:
    """Convert as `User.of`, for a field where None leaves the choice to the jail."""
    return None if value is None else User.of(value)
