"""The request for one program in a jail."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import attrs

from jailkit._errors import SpecError
from jailkit.spec import _validate as check
from jailkit.spec.limits import Limits, is_limits
from jailkit.spec.user import User, optional_user

__all__ = ["Command"]

_ARGUMENT_BYTES = 2 * 1024 * 1024
"""ARG_MAX of Linux with its default stack limit, see execve(2)."""

Word = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def _argv(value: Sequence[Word]) -> tuple[bytes, ...]:
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        return cast("tuple[bytes, ...]", value)
    return tuple(_word(word) for word in value)


def _word(word: Word) -> bytes:
    try:
        return os.fsencode(word)
    except (TypeError, UnicodeEncodeError):
        return cast("bytes", word)


def _check_argv(instance: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, tuple) or not value:
        words = 'a list of the program and its arguments, as in ["ls", "-l"]; no shell splits a str'
        raise check.refuse(instance, attribute, value, words)
    for number, word in enumerate(value):
        field = f"{attribute.name}[{number}]"
        if not isinstance(word, bytes) or b"\0" in word:
            raise SpecError(field, word, "a str, bytes or path, without NUL bytes or lone surrogates")
        if number == 0 and not word:
            raise SpecError(field, word, "the path or the name of a program")


@attrs.frozen
class Command:
    """One program to run in a jail.

    Attributes:
        argv: The program and its arguments, encoded as `os.fsencode` does. A program without
            a slash is searched for in the jail's PATH. No shell is involved.
        env: Added to, or in place of, the jail's variables of the same names. Default: none.
        cwd: Directory in the jail in which it starts, absolute. Default: None, the jail's.
        user: A uid of the jail or a `User`. Default: None, the jail's.
        limits: Bounds for this program, over the jail's. Default: nothing asked for.
        detach: Lets programs that it leaves behind live until the jail closes, instead of
            killing them when it ends. Default: False. They count against the jail's limits.

    Raises:
        SpecError: `argv` is a str, is empty, or has an empty program name or a NUL byte;
            `argv` and `env` together, with their closing NUL bytes, reach 2 MiB; another
            field has a wrong type or value. One string of 128 KiB or more is refused by the
            kernel only (E2BIG, execve(2)), as that limit depends on its page size.

    >>> Command(["echo", "hello"]).argv
    (b'echo', b'hello')
    """

    argv: tuple[bytes, ...] = attrs.field(converter=_argv, validator=_check_argv)
    env: tuple[tuple[str, str], ...] = attrs.field(
        default=(), kw_only=True, converter=check.clean_env, validator=check.environment
    )
    cwd: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=attrs.converters.optional(check.clean_path),
        validator=attrs.validators.optional(check.absolute_path),
    )
    user: User | None = attrs.field(default=None, kw_only=True, converter=optional_user)
    limits: Limits = attrs.field(default=Limits(), kw_only=True, validator=is_limits)
    detach: bool = attrs.field(default=False, kw_only=True, validator=check.is_bool)

    def __attrs_post_init__(self) -> None:
        """Refuse what the kernel would refuse after the jail was built for nothing."""
        # Each string ends in a NUL, and a variable has an = between its two parts.
        size = sum(len(word) + 1 for word in self.argv)
        size += sum(len(os.fsencode(f"{name}={value}")) + 1 for name, value in self.env)
        if size >= _ARGUMENT_BYTES:
            words = f"less than {_ARGUMENT_BYTES} bytes in argv and env together"
            raise SpecError("argv", size, words)
