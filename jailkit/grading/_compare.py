"""The default output validator: tokens compared, with its flags. Pure functions; what they are given is hostile."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence

import attrs

__all__ = ["Comparison", "compare", "read_flags"]

_TOKEN = re.compile(rb"[^ \f\n\r\t\v]+")
_SPACE = re.compile(rb"[ \f\n\r\t\v]+")
_FLOAT = re.compile(rb"[+-]?(?:[0-9]*\.[0-9]+|[0-9]+\.?)(?:[Ee][+-]?[0-9]+)?")
_MOST_DIGITS = 400
"""Longer than any double as text. float() of megabytes of digits would take long."""
_SHOWN = 60


@attrs.frozen(kw_only=True)
class Comparison:
    """How an output is compared with the answer.

    Attributes:
        case_sensitive: Whether ``A`` and ``a`` differ. Default: they do not.
        space_change_sensitive: Whether blanks have to be the same, one by one.
        relative: Largest relative error of a number, or None.
        absolute: Largest absolute error of a number, or None.
    """

    case_sensitive: bool = False
    space_change_sensitive: bool = False
    relative: float | None = None
    absolute: float | None = None


def read_flags(words: Sequence[str]) -> Comparison:
    """Read the arguments of the default validator.

    Raises:
        ValueError: One is not known, lacks its number, or is there twice.
    """
    found: dict[str, float | bool] = {}
    rest = iter(words)
    for word in rest:
        if word in found:
            raise ValueError(f"{word} is there twice")
        if word in ("case_sensitive", "space_change_sensitive"):
            found[word] = True
        elif word in ("float_tolerance", "float_relative_tolerance", "float_absolute_tolerance"):
            found[word] = _tolerance(word, next(rest, ""))
        else:
            raise ValueError(f"the default validator has no argument {word!r}")
    both = found.get("float_tolerance")
    if both is not None and len([name for name in found if name.startswith("float_")]) > 1:
        raise ValueError("float_tolerance stands for both of the other two, and cannot be there beside one")
    return Comparison(
        case_sensitive="case_sensitive" in found,
        space_change_sensitive="space_change_sensitive" in found,
        relative=found.get("float_relative_tolerance", both),
        absolute=found.get("float_absolute_tolerance", both),
    )


def _tolerance(word: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"{word} {text}: a number of at least 0 has to follow")
    return number


def compare(output: bytes, answer: bytes, rules: Comparison) -> str | None:
    """Return None where the output is accepted, else what differs first, in words and bounded."""
    if rules.space_change_sensitive and (said := _spaces(output, answer)):
        return said
    pairs = itertools.zip_longest(_TOKEN.finditer(output), _TOKEN.finditer(answer))
    for number, (got, wanted) in enumerate(pairs, 1):
        if wanted is None:
            return f"token {number}: {_show(got[0])} after the end of the answer"
        if got is None:
            return f"token {number}: the output ends, expected {_show(wanted[0])}"
        if not _same(got[0], wanted[0], rules):
            line = output.count(b"\n", 0, got.start()) + 1
            return f"token {number}, line {line}: {_show(got[0])}, expected {_show(wanted[0])}"
    return None


def _same(got: bytes, wanted: bytes, rules: Comparison) -> bool:
    if rules.relative is not None or rules.absolute is not None:
        answer = _value(wanted)
        if answer is not None:
            value = _value(got)
            return value is not None and _near(value, answer, rules)
    return got == wanted if rules.case_sensitive else got.lower() == wanted.lower()


def _near(value: float, answer: float, rules: Comparison) -> bool:
    if value == answer:
        return True  # infinities, which have no difference
    error = abs(value - answer)
    return (rules.absolute is not None and error <= rules.absolute) or (
        rules.relative is not None and error <= rules.relative * abs(answer)
    )


def _value(token: bytes) -> float | None:
    return float(token) if len(token) <= _MOST_DIGITS and _FLOAT.fullmatch(token) else None


def _blanks(text: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each run of blanks and after how many tokens it is; those at the ends are there even when empty."""
    last, count = 0, 0
    for found in _TOKEN.finditer(text):
        yield text[last : found.start()], count
        last, count = found.end(), count + 1
    yield text[last:], count


def _spaces(output: bytes, answer: bytes) -> str | None:
    for got, wanted in itertools.zip_longest(_blanks(output), _blanks(answer)):
        if got != wanted:
            after = (got or wanted)[1]
            return (
                f"after token {after}: blanks {_show((got or (b'', 0))[0])}, expected {_show((wanted or (b'', 0))[0])}"
            )
    return None


def _show(token: bytes) -> str:
    text = ascii(token[:_SHOWN])[1:]
    return f"{text}… ({len(token)} bytes)" if len(token) > _SHOWN else text
