"""What the wrappers share."""

from __future__ import annotations

import os
from typing import Any

from jailkit import _native

__all__ = ["Path", "call", "text"]

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def text(value: Path) -> bytes:
    """Encode a path or a name."""
    data = os.fsencode(value)
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return data


def call(name: str, *arguments: Any, path: Path | None = None) -> int:
    """Make a system call; put the path it was about into its error."""
    try:
        return _native.system_call(name, *arguments)
    except OSError as error:
        raise OSError(error.errno, error.strerror, None if path is None else os.fspath(path)) from None
