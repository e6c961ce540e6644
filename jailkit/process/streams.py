"""What stands behind stdin, stdout and stderr of a program."""

from __future__ import annotations

import os
import subprocess
from typing import IO, Any

from jailkit._errors import SpecError

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Stdio", "Stream"]

PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT
DEVNULL = subprocess.DEVNULL

Stream = int | IO[Any] | None
"""PIPE, DEVNULL, a descriptor, an object with ``fileno()``, or None, which is the same as DEVNULL: a jail inherits no
stream by accident, least of all a terminal."""

_MAKE_PIPE, _LIKE_STDOUT = -1, -2


class Stdio:
    """Descriptors to pass, and what has to be closed after passing them."""

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        self._null = -1
        try:
            self.passed = (
                self._descriptor("stdin", stdin),
                self._descriptor("stdout", stdout),
                _LIKE_STDOUT if stderr == STDOUT else self._descriptor("stderr", stderr),
            )
        except BaseException:
            self.close()
            raise

    def _descriptor(self, name: str, stream: Stream) -> int:
        if stream == PIPE:
            return _MAKE_PIPE
        if stream is None or stream == DEVNULL:
            if self._null < 0:
                self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            return self._null
        number = stream if isinstance(stream, int) else stream.fileno()
        if isinstance(stream, bool) or number < 0:
            raise SpecError(name, stream, "PIPE, DEVNULL, None, a descriptor or an open file; STDOUT for stderr")
        return number

    def close(self) -> None:
        """Close what was opened here."""
        if self._null >= 0:
            os.close(self._null)
            self._null = -1
