"""What a loop of somebody's own needs of a `Process`, and callers of the library do not."""

from __future__ import annotations

import contextlib

from jailkit._errors import ClosedError
from jailkit.process.process import Process
from jailkit.process.reading import Outputs, Reading
from jailkit.process.ready import Watch

__all__ = ["end", "half_read", "listen", "reading_of", "watch"]


def watch(process: Process) -> Watch:
    """Return what is to be stepped to the end of a program."""
    return Watch(process._talk, process._run, process._lock)  # noqa: SLF001


def listen(process: Process, data: bytes | str | None) -> None:
    """Have the input written and the outputs kept by whoever waits for the end, as `Process.communicate` does."""
    process._listen(data)  # noqa: SLF001


def half_read(process: Process) -> bool:
    """Whether somebody has begun to read the outputs as they come, and has not come to their end."""
    reading = process._reading  # noqa: SLF001
    return reading is not None and not reading.over


def reading_of(outputs: Outputs) -> Reading:
    """Return what is to be stepped for more output."""
    return outputs._reading  # noqa: SLF001


def end(process: Process) -> None:
    """Close a program's handle; come back when it and all that it has started is gone."""
    process.kill()
    with contextlib.suppress(ClosedError):
        process.wait()
    process.close()
