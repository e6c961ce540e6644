"""A mapping that was read from a file and knows its lines: whoever takes a value from it says what it has to be."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

from jailkit.grading._errors import PackageError

__all__ = ["Section"]


class Section:
    """A mapping of a package's file, to be taken apart key by key.

    Attributes:
        path: The file.
        line: Where the mapping begins.
    """

    def __init__(self, path: Path, entries: dict[str, tuple[Any, int]], line: int) -> None:
        self.path = path
        self.line = line
        self._entries = entries
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._entries and self._entries[name][0] is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The keys, in their order."""
        return tuple(self._entries)

    def line_of(self, name: str) -> int:
        """Return the line of a key, or that of the mapping where there is no such key."""
        return self._entries[name][1] if name in self._entries else self.line

    def error(self, name: str, problem: str) -> PackageError:
        """Return an error that points at a key."""
        return PackageError(self.path, self.line_of(name), f"{name}: {problem}")

    def nested(self) -> tuple[str, ...]:
        """Return the keys whose values are mappings, without taking them."""
        return tuple(name for name, (value, _) in self._entries.items() if isinstance(value, Section))

    def take(self, name: str) -> Any:
        """Return a value of any kind, or None."""
        self._taken.add(name)
        return self._entries.get(name, (None, 0))[0]

    def done(self) -> None:
        """Refuse the keys that nobody has taken.

        Raises:
            PackageError: There is one.
        """
        for name in self._entries:
            if name not in self._taken:
                raise self.error(name, "no such key here")

    def text(self, name: str, default: str = "") -> str:
        """Return a string; numbers are taken as they are written."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool | Section | list):
            raise self.error(name, "must be a string")
        return str(value)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """Return one word of a closed list."""
        value = self.text(name, default)
        if value not in allowed:
            raise self.error(name, f"{value!r} is not one of {', '.join(allowed)}")
        return value

    def truth(self, name: str, *, default: bool) -> bool:
        """Return a boolean."""
        value = self.take(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def number(self, name: str, default: float | None, *, least: float = -math.inf, above: bool = False) -> Any:
        """Return a number that is at least, or above, a bound."""
        value = self.take(name)
        if value is None:
            return default
        number = _number(value)
        if number is None or number < least or (above and number == least):
            words = "a number" if least == -math.inf else f"a number {'above' if above else 'of at least'} {least:g}"
            raise self.error(name, f"{value!r} is not {words}")
        return number

    def words(self, name: str) -> tuple[str, ...]:
        """Return a sequence of strings, which may be written as one string of words (shell quoting)."""
        value = self.take(name)
        if value is None:
            return ()
        if isinstance(value, list) and not any(isinstance(each, Section | list | bool) for each in value):
            return tuple(str(each) for each in value)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                return tuple(shlex.split(str(value)))
            except ValueError as error:
                raise self.error(name, f"words that cannot be told apart: {error}") from error
        raise self.error(name, "must be a sequence of strings")

    def section(self, name: str) -> Section:
        """Return a mapping; an empty one where there is none."""
        value = self.take(name)
        if value is None:
            return Section(self.path, {}, self.line_of(name))
        if not isinstance(value, Section):
            raise self.error(name, "must be a mapping")
        return value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)  # YAML 1.1 takes 1e-6 for a string
    except ValueError:
        return None
    return None if math.isnan(number) else number
