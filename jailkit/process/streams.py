"""What stands behind stdin, stdout and stderr of a program."""

from __future__ import annotations

import subprocess
from typing import IO, Any

from jailkit import _native
from jailkit._errors import SpecError

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Stream", "descriptors"]

PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT
DEVNULL = subprocess.DEVNULL

Stream = int | IO[Any] | None
"""PIPE, DEVNULL, a descriptor, an object with ``fileno()``, or None, which is the same as DEVNULL: a jail inherits no
stream by accident, least of all a terminal."""


def descriptors(stdin: Stream, stdout: Stream, stderr: Stream) -> tuple[int, int, int]:
    """Turn what the caller gave into what `_native.Run.submit` takes.

    Raises:
        SpecError: One of them is no stream.
    """
    third = _native.SAME if stderr == STDOUT else _descriptor("stderr", stderr)
    return _descriptor("stdin", stdin), _descriptor("stdout", stdout), third


def _descriptor(name: str, stream: Stream) -> int:
    if stream is None or stream == DEVNULL:
        return _native.NULL
    if stream == PIPE:
        return _native.PIPE
    number = stream if isinstance(stream, int) else _fileno(stream)
    if isinstance(stream, bool) or number < 0:
        raise SpecError(name, stream, "PIPE, DEVNULL, None, a descriptor or an open file; STDOUT for stderr")
    return number


def _fileno(stream: Any) -> int:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return -1
