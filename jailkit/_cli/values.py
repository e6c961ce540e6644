"""From the words of a command line to values.

Each reader takes one word. What it cannot read is an `argparse.ArgumentTypeError`, to which argparse adds the name of
the option; what the library refuses is translated, so that there is one set of rules.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar

from jailkit import (
    UNLIMITED,
    Allow,
    Bind,
    Dev,
    File,
    JailSpec,
    Limits,
    Proc,
    SeccompPolicy,
    SpecError,
    Symlink,
    Tmpfs,
    User,
)

__all__ = [
    "bind",
    "count",
    "dev",
    "duration",
    "environment",
    "field",
    "file",
    "group",
    "home",
    "host_path",
    "identity",
    "limit",
    "number",
    "policy",
    "proc",
    "refusal",
    "size",
    "switches",
    "symlink",
    "tmpfs",
    "user_name",
]

Value = TypeVar("Value")
Reader = Callable[[str], Value]

_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"ms": Fraction(1, 1000), "": Fraction(1), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}
_AMOUNT = re.compile(r"(-?[0-9]{1,20}(?:\.[0-9]{1,20})?)([A-Za-z]*)")

_BIND_OPTIONS = {"rw": "writable", "owner": "as_owner", "noexec": "noexec", "optional": "optional"}
"""Words after the second colon of a bind, as docker and mount(8) have them, and the fields of `Bind` that they set."""


def refusal(value: object, allowed: str) -> argparse.ArgumentTypeError:
    """Make the error for one word; the caller raises it."""
    return argparse.ArgumentTypeError(f"{value!r} is not allowed; allowed: {allowed}")


def _checked(read: Reader[Value]) -> Reader[Value]:
    """Let a reader's `SpecError` be an error of the option."""

    @functools.wraps(read)
    def convert(word: str) -> Value:
        try:
            return read(word)
        except SpecError as error:
            raise refusal(error.value, error.allowed.replace("UNLIMITED", "unlimited")) from None

    return convert


# Numbers.


def size(word: str) -> int:
    """Read a number of bytes.

    >>> size("64M"), size("1GiB"), size("1.5k"), size("4096")
    (67108864, 1073741824, 1536, 4096)
    """
    match = _AMOUNT.fullmatch(word)
    unit = match[2].upper().removesuffix("IB") if match else None
    if match is None or unit is None or (unit not in _BYTES and unit != "B"):
        # MB is missing on purpose: it is 10**6 to some tools and 2**20 to others.
        raise refusal(word, "a number of bytes, or one with K, M, G or T (also KiB, MiB, GiB, TiB; powers of 1024)")
    amount = Fraction(match[1]) * _BYTES.get(unit, 1)
    if amount.denominator != 1:
        raise refusal(word, "a whole number of bytes")
    return int(amount)


def duration(word: str) -> float:
    """Read a time; the result is in seconds.

    >>> duration("2"), duration("500ms"), duration("1.5m")
    (2.0, 0.5, 90.0)
    """
    match = _AMOUNT.fullmatch(word)
    if match is None or match[2].lower() not in _SECONDS:
        raise refusal(word, "a number of seconds, or one with ms, s, m or h")
    return float(Fraction(match[1]) * _SECONDS[match[2].lower()])


def count(word: str) -> int:
    """Read a whole number."""
    if not re.fullmatch(r"-?[0-9]{1,20}", word):
        raise refusal(word, "a whole number")
    return int(word)


def number(word: str) -> float:
    """Read a number that may have a fraction."""
    if not re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", word):
        raise refusal(word, "a number, as in 1 or 0.5")
    return float(word)


def text(word: str) -> str:
    """Read a word as it is."""
    return word


def limit(name: str, read: Reader[Any]) -> Reader[Any]:
    """Make a reader for a field of `Limits`."""

    def convert(word: str) -> Any:
        value = UNLIMITED if word.lower() == "unlimited" else read(word)
        Limits(**{name: value})  # refuses what is out of range
        return value

    return _checked(convert)


def field(name: str) -> Reader[str]:
    """Make a reader for a field of `JailSpec` that is text."""

    def convert(word: str) -> str:
        fields: dict[str, Any] = {name: word}
        JailSpec(**fields)
        return word

    return _checked(convert)


# Paths and mounts.


def host_path(word: str) -> str:
    """Read a path of the host; a shell's user may give it relative to where he is."""
    if not word:
        raise refusal(word, "a path")
    return os.path.abspath(word)


def _parts(word: str, least: int, form: str) -> list[str]:
    r"""Split at colons; ``\:`` is a colon that belongs to a path, ``\\`` a backslash."""
    pieces = [re.sub(r"\\([\\:])", r"\1", piece) for piece in re.findall(r"(?:^|:)((?:\\[\\:]|[^:])*)", word)]
    if not least <= len(pieces) <= form.count(":") + 1 or not all(pieces[:least]):
        raise refusal(word, form)
    return pieces


def _settings(words: str, known: dict[str, Reader[Any]], form: str) -> dict[str, Any]:
    """Read ``name=value`` pairs between commas."""
    found: dict[str, Any] = {}
    for setting in words.split(","):
        name, equals, value = setting.partition("=")
        if name not in known or not equals:
            raise refusal(setting, form)
        found[name] = known[name](value)
    return found


def _mode(word: str) -> int:
    if not re.fullmatch("[0-7]{1,5}", word):
        raise refusal(word, "permission bits in octal, as in 0644")
    return int(word, 8)


def bind(*, writable: bool) -> Reader[Bind]:
    """Make a reader for ``SRC[:DST[:OPTIONS]]``."""
    form = "SRC[:DST[:OPTIONS]]"

    def convert(word: str) -> Bind:
        source, target, options = [*_parts(word, 1, form), "", ""][:3]
        fields = {"writable": writable}
        for option in options.split(",") if options else ():
            if option == "ro" and not writable:
                continue
            if option not in _BIND_OPTIONS:
                raise refusal(option, ", ".join([*([] if writable else ["ro"]), *_BIND_OPTIONS]))
            fields[_BIND_OPTIONS[option]] = True
        return Bind(host_path(source), target or None, **fields)

    return _checked(convert)


def _tmpfs(word: str) -> Tmpfs:
    form = "DST[:size=SIZE,mode=OCTAL]"
    target, settings = [*_parts(word, 1, form), ""][:2]
    return Tmpfs(target, **(_settings(settings, {"size": size, "mode": _mode}, form) if settings else {}))


def _file(word: str) -> File:
    form = "SRC:DST[:mode=OCTAL]"
    source, target, settings = [*_parts(word, 2, form), ""][:3]
    try:
        with open(source, "rb") as opened:
            data = opened.read()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{source!r} cannot be read: {error.strerror}") from None
    return File(target, data, **(_settings(settings, {"mode": _mode}, form) if settings else {}))


def _symlink(word: str) -> Symlink:
    to, target = _parts(word, 2, "TO:DST")
    return Symlink(target, to)


def _proc(word: str) -> Proc:
    return Proc(word)


def _dev(word: str) -> Dev:
    return Dev(word)


tmpfs, file, symlink, proc, dev = _checked(_tmpfs), _checked(_file), _checked(_symlink), _checked(_proc), _checked(_dev)


# System calls and switches.


def _policy(word: str) -> SeccompPolicy:
    profile, *changes = word.split(",")
    made = SeccompPolicy(profile)
    for change in changes:
        if change[:1] not in ("+", "-"):
            raise refusal(change, "+CALL or -CALL, as in strict,+socket,-flock")
        made = made.add(change[1:]) if change[0] == "+" else made.remove(change[1:])
    return made


def _switches(word: str) -> list[str]:
    names = word.split(",")
    for name in names:
        Allow.of([name, "nested"])
    return names


policy, switches = _checked(_policy), _checked(_switches)


# The rest.


def _identity(word: str) -> tuple[int, int | None]:
    if not re.fullmatch("[0-9]{1,20}(:[0-9]{1,20})?", word):
        raise refusal(word, "UID or UID:GID in numbers; names of the host's users mean nothing in a jail")
    uid, _, gid = word.partition(":")
    ids = (int(uid), int(gid) if gid else None)
    User(*ids)
    return ids


def _group(word: str) -> int:
    User(0, groups=(gid := count(word),))
    return gid


def _user_name(word: str) -> str:
    return User(0, name=word).name


def _home(word: str) -> str:
    return User(0, home=word).home


identity, group, user_name, home = _checked(_identity), _checked(_group), _checked(_user_name), _checked(_home)


def _environment(word: str) -> tuple[str, str] | None:
    name, equals, value = word.partition("=")
    if not equals:
        # As in docker: a name alone hands on the caller's variable, if there is one.
        value = os.environ.get(name, "")
    JailSpec(env={name: value})
    return (name, value) if equals or name in os.environ else None


environment = _checked(_environment)
