"""What a jailed test tells the process that waits for it: frames of JSON, read as data. Nothing is unpickled.

The test is whoever runs in the jail: each frame is bounded, each field of a report is checked, and what does not fit is
an error of that test and nothing else.
"""

from __future__ import annotations

import json
import struct
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from _pytest._code.code import ReprFileLocation, TerminalRepr

__all__ = ["Forged", "Frames", "Told", "frame", "read_report", "record_warning"]

_HEAD = struct.Struct("=I")
_MOST_BYTES = 64 * 1024 * 1024
_WHENS = ("setup", "call", "teardown")
_OUTCOMES = ("passed", "failed", "skipped")
_TIMES = ("duration", "start", "stop")


class Forged(Exception):  # noqa: N818 - it says what was read
    """A frame that no honest test sends."""


def frame(kind: str, data: Any) -> bytes:
    """Encode one message; what JSON has no word for travels as its repr."""
    body = json.dumps([kind, data], default=repr).encode()
    return _HEAD.pack(len(body)) + body


class Frames:
    """The bytes that came so far, and how many there may be."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._room = 4 * _MOST_BYTES

    def feed(self, data: bytes) -> Iterator[tuple[str, Any]]:
        """Take bytes; yield the messages that are complete, each before the next one is looked at.

        Raises:
            Forged: They are none.
        """
        self._bytes += data
        self._room -= len(data)
        while len(self._bytes) >= _HEAD.size:
            (size,) = _HEAD.unpack_from(self._bytes)
            if size > _MOST_BYTES or self._room < 0:
                raise Forged("more than 64 MiB at once")
            if len(self._bytes) < _HEAD.size + size:
                break
            body = bytes(self._bytes[_HEAD.size : _HEAD.size + size])
            del self._bytes[: _HEAD.size + size]
            yield _message(body)


def _message(body: bytes) -> tuple[str, Any]:
    try:
        kind, data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Forged(f"no message: {error}") from None
    if not isinstance(kind, str):
        raise Forged("no message: without a kind")
    return kind, data


class Told(TerminalRepr):
    """A representation of which the text is left; with a place, the summary at the end has it too, since pytest 8."""

    def __init__(self, text: str, place: tuple[str, int | None] | None = None) -> None:
        self._text = text
        self.reprcrash = ReprFileLocation(place[0], (place[1] or 0) + 1, text) if place else None

    def toterminal(self, tw: Any) -> None:
        """Write it, as pytest does."""
        for line in self._text.splitlines():
            tw.line(line)


def read_report(item: pytest.Item, data: Any, *, formed: bool) -> pytest.TestReport:
    """Make a report of data, if it is one of this test; `formed` where its text is no plain message.

    Raises:
        Forged: It is something else.
    """
    if not isinstance(data, dict) or data.get("nodeid") != item.nodeid:
        raise Forged("a report of another test")
    if data.get("when") not in _WHENS or data.get("outcome") not in _OUTCOMES:
        raise Forged("a report without a phase or an outcome")
    longrepr = data.get("longrepr")
    if isinstance(longrepr, list) and [type(word) for word in longrepr] != [str, int, str]:
        raise Forged("a report with a place that is none")
    if not all(isinstance(data.get(name, 0.0), int | float) for name in _TIMES):
        raise Forged("a report with a time that is none")
    known = {"nodeid", "location", "keywords", "outcome", "longrepr", "when", "sections", *_TIMES, "user_properties"}
    if wrong := [name for name in data if name not in known and hasattr(pytest.TestReport, name)]:
        raise Forged(f"a report that redefines {wrong[0]}")
    _check_texts(data)
    data["location"], data["keywords"] = item.location, dict.fromkeys(item.keywords, 1)
    report = _revived(item, data)
    if not isinstance(report, pytest.TestReport):
        raise Forged("a report of no known type")
    if isinstance(longrepr, list):
        report.longrepr = (longrepr[0], longrepr[1], longrepr[2])
    if formed and isinstance(report.longrepr, str):
        report.longrepr = Told(report.longrepr)
    return report


def _revived(item: pytest.Item, data: dict[str, Any]) -> Any:
    try:
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        str(report.longreprtext)  # a forged trace fails here, and not in the middle of the terminal report
    except Exception as error:  # noqa: BLE001 - whatever pytest makes of forged data, it is this test's error
        raise Forged(f"a report that cannot be read: {error!r}") from None
    return report


def _check_texts(data: dict[str, Any]) -> None:
    """Check the parts that others unpack."""
    sections, properties = data.get("sections", []), data.get("user_properties", [])
    for pairs, whole in ((sections, True), (properties, False)):
        if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise Forged("a report with sections that are none")
        if not all(isinstance(word, str) for pair in pairs for word in (pair if whole else pair[:1])):
            raise Forged("a report with sections that are no text")
    data["sections"] = [tuple(pair) for pair in sections]
    data["user_properties"] = [tuple(pair) for pair in properties]


def record_warning(data: Any) -> None:
    """Warn again, out here, of what was warned of in the jail; of a class that is known here already.

    Raises:
        Forged: It is no warning.
    """
    words = [data.get(name) for name in ("module", "name", "text", "file")] if isinstance(data, dict) else [None]
    if not all(isinstance(word, str) for word in words) or not isinstance(data.get("line"), int):
        raise Forged("a warning that is none")
    module, name, text, file = words
    category = getattr(sys.modules.get(str(module)), str(name), None)
    if not (isinstance(category, type) and issubclass(category, Warning)):
        category = UserWarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # the filters have decided, inside
        warnings.warn_explicit(str(text), category, str(file), data["line"])
