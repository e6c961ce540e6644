"""Converters and validators of the spec classes.

Converters normalise and never refuse: a value they cannot read passes through unchanged, so
that the validator after them can name the field in its `SpecError`. They are plain named
functions because the attrs plugin of mypy reads the constructor's types from those alone.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from jailkit._errors import SpecError

StrPath = str | os.PathLike[str]
EnvLike = Mapping[str, str] | Iterable[tuple[str, str]]
Validator = Callable[[Any, Any, Any], None]

PATH_BYTES = 4096
"""PATH_MAX of Linux, the closing NUL counted: a path has fewer bytes than this."""

NAME_BYTES = 256
"""NAME_MAX + 1 of Linux: one component of a path has fewer bytes than this."""

MAX_ID = 2**32 - 2
"""The largest uid or gid; 2**32-1 is the "no change" of setresuid(2)."""

MAX_COUNT = 2**63 - 1
"""The largest number of bytes or things; larger ones overlap RLIM_INFINITY and off_t."""

MAX_SECONDS = 10**9
"""About 32 years; keeps every deadline within a 64-bit count of nanoseconds."""

# The commands and the jail are the outermost classes: their fields are what a caller writes
# as keywords of run(), so their names need no prefix.
_OUTERMOST = frozenset({"JailSpec", "Command"})


def field_path(instance: object, name: str) -> str:
    """Return the name of a field as `SpecError` prints it, as in ``limits.cpu_seconds``."""
    owner = type(instance).__name__
    return name if owner in _OUTERMOST else f"{owner.lower()}.{name}"


def refuse(instance: object, attribute: Any, value: object, allowed: str) -> SpecError:
    """Make the error for one field; the caller raises it."""
    return SpecError(field_path(instance, attribute.name), value, allowed)


def encodable(text: str) -> bool:
    """Tell whether the text has no NUL and can be handed to the kernel as bytes."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


# Converters. Each has a half typed `object`, because callers do pass what the types forbid.


def clean_path(value: StrPath) -> str:
    """Read a str or PathLike; fold ``//`` to ``/`` and drop slashes at the end."""
    path = path_text(value)
    if not isinstance(path, str):
        return cast("str", path)
    folded = re.sub("/+", "/", path)
    return folded.rstrip("/") or folded


def path_text(value: object) -> object:
    """Return the text of a PathLike, and anything else unchanged."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def as_tuple(value: object) -> object:
    """Return the items of an iterable; a str or bytes, never meant as one, stays unchanged."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return value
    return tuple(value)


def clean_path_or_default(value: StrPath | None) -> str:
    """Do as `clean_path`; None stays None until the class fills in its default."""
    return cast("str", None) if value is None else clean_path(value)


def clean_env(value: EnvLike) -> tuple[tuple[str, str], ...]:
    """Turn a mapping, or an iterable of pairs, into pairs sorted by name."""
    pairs = as_tuple(value.items() if isinstance(value, Mapping) else value)
    if not isinstance(pairs, tuple):
        return cast("tuple[tuple[str, str], ...]", pairs)
    readable = [tuple(pair) if isinstance(pair, list) else pair for pair in pairs]
    # Names and values of mixed types cannot be sorted; the validator refuses them as they are.
    return tuple(sorted(readable) if all(_is_pair(pair) for pair in readable) else readable)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)


# Validators.


def fill(instance: object, **defaults: object) -> None:
    """Give the fields that are None the values that follow from other fields.

    To be called from ``__attrs_post_init__``, the one place where a frozen value may change.
    """
    for name, value in defaults.items():
        if getattr(instance, name) is None:
            object.__setattr__(instance, name, value)


def unless_none(validator: Validator) -> Validator:
    """Let None pass; typed more loosely than `attrs.validators.optional`, for `fill`'s fields."""

    def check(instance: object, attribute: Any, value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return check


def is_bool(instance: object, attribute: Any, value: Any) -> None:
    """Accept True and False alone."""
    if not isinstance(value, bool):
        raise refuse(instance, attribute, value, "True or False")


def is_switch(instance: object, attribute: Any, value: Any) -> None:
    """Accept None, True and False."""
    if value is not None and not isinstance(value, bool):
        raise refuse(instance, attribute, value, "True, False, or None for the default of the level")


def absolute_path(instance: object, attribute: Any, value: Any) -> None:
    """Accept an absolute path without NUL, of less than 4096 bytes."""
    allowed = "an absolute path without NUL bytes or lone surrogates, shorter than 4096 bytes"
    ok = isinstance(value, str) and value.startswith("/") and encodable(value)
    if not ok or len(os.fsencode(cast("str", value))) >= PATH_BYTES:
        raise refuse(instance, attribute, value, allowed)


def target_path(instance: object, attribute: Any, value: Any) -> None:
    """Accept an absolute path below ``/`` with no ``.`` and no ``..`` in it."""
    check_target(field_path(instance, attribute.name), value)


def check_target(field: str, value: object) -> None:
    """Raise `SpecError` for `field` unless `value` is the path of a mount in the jail."""
    if not isinstance(value, str) or not value.startswith("/") or not encodable(value):
        raise SpecError(field, value, "an absolute path in the jail, without NUL bytes or lone surrogates")
    if value == "/":
        raise SpecError(field, value, "a path below /; the root itself is set by root=")
    raw = os.fsencode(value)
    parts = raw[1:].split(b"/")
    if b".." in parts or b"." in parts:
        raise SpecError(field, value, "an absolute path in the jail without . and .. components")
    if len(raw) >= PATH_BYTES or any(len(part) >= NAME_BYTES for part in parts):
        raise SpecError(field, value, "less than 4096 bytes, each component less than 256 bytes")


def mode_bits(allowed_bits: int) -> Validator:
    """Make a validator of permission bits, as in chmod(2)."""
    words = f"an int of permission bits within 0o{allowed_bits:o}"

    def check(instance: object, attribute: Any, value: Any) -> None:
        if not is_int(value, 0, allowed_bits):
            raise refuse(instance, attribute, value, words)

    return check


def is_int(value: object, least: int, most: int) -> bool:
    """Tell whether the value is an int, not a bool, in the closed range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def id_number(instance: object, attribute: Any, value: Any) -> None:
    """Accept a uid or gid."""
    if not is_int(value, 0, MAX_ID):
        raise refuse(instance, attribute, value, f"an int, 0 to {MAX_ID}")


def count_of(what: str, least: int, *, unlimited: bool = True, most: int = MAX_COUNT) -> Validator:
    """Make a validator of a whole number of things (``what``) that may be None."""
    lower = f"> {least - 1}" if least == 1 and what == "bytes" else f">= {least}"
    words = f"an int of {what} {lower}"
    if unlimited:
        words += ", or UNLIMITED"

    def check(instance: object, attribute: Any, value: Any) -> None:
        if value is None or is_int(value, least, most):
            return
        if unlimited and isinstance(value, float) and value == math.inf:
            return
        bound = "below 2**63" if most == MAX_COUNT else f"at most {most}"
        too_large = isinstance(value, int) and value > most
        raise refuse(instance, attribute, value, f"{words}; {bound}" if too_large else words)

    return check


def amount_of(what: str, most: int, *, least: float = 0) -> Validator:
    """Make a validator of a positive, possibly fractional amount that may be None."""
    words = f"a finite number of {what} {f'>= {least}' if least else '> 0'}, or UNLIMITED"

    def check(instance: object, attribute: Any, value: Any) -> None:
        if value is None:
            return
        # NaN fails every comparison, so the test must be "> 0", never "not <= 0".
        number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if not number or cast("float", value) < least:
            raise refuse(instance, attribute, value, words)
        if cast("float", value) > most and value != math.inf:
            raise refuse(instance, attribute, value, f"at most {most} {what}, or UNLIMITED")

    return check


_CPU_LIST = re.compile(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*")


def cpu_list(instance: object, attribute: Any, value: Any) -> None:
    """Accept processors as the kernel writes them, see cpuset(7), or UNLIMITED, or None."""
    if value is None or (isinstance(value, float) and value == math.inf):
        return
    words = 'processors as in "0-3,6" (cpuset(7), list format), or UNLIMITED'
    if not isinstance(value, str) or not _CPU_LIST.fullmatch(value):
        raise refuse(instance, attribute, value, words)
    for part in value.split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise refuse(instance, attribute, value, words)


def environment(instance: object, attribute: Any, value: Any) -> None:
    """Accept pairs of strings with usable, unique names."""
    if not isinstance(value, tuple):
        raise refuse(instance, attribute, value, "a mapping of str to str, or pairs of str")
    seen = set()
    for pair in value:
        if not _is_pair(pair):
            raise refuse(instance, attribute, pair, "names and values that are both str")
        name, text = pair
        if not name or "=" in name or not encodable(name):
            raise refuse(instance, attribute, name, "a name, not empty, without =, NUL bytes or lone surrogates")
        if not encodable(text):
            raise SpecError(f"{attribute.name}[{name!r}]", text, "a value without NUL bytes or lone surrogates")
        if name in seen:
            raise refuse(instance, attribute, name, "each name once")
        seen.add(name)
