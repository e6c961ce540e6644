"""Files of a live jail, by descriptors.

A process of the jail opens them, as the jail's user and with the jail's view of paths, and passes the descriptor out:
the host never walks a path that the jail can change, and needs no program in the jail to help.
"""

from __future__ import annotations

import errno
import os
import stat

from jailkit import _native
from jailkit._errors import ClosedError
from jailkit.plan import Program
from jailkit.process.failure import launch_error
from jailkit.process.live import LiveJail

__all__ = ["open_file", "read_file", "write_file"]

_OPEN_SECONDS = 60.0
_OPEN_STEP = next(number for number, name in _native.enum_names("jk_program_step").items() if name == "JK_AT_OPEN")


def open_file(live: LiveJail, program: Program) -> int:
    """Have a regular file opened; return its descriptor, which is the caller's to close.

    Raises:
        OSError: It could not be opened, of the class that the error number has in Python; or (EINVAL) is no regular
            file: a fifo or a device of the jail would make the host wait.
    """
    run = _native.Run()
    path = os.fsdecode(program.argv[0])
    try:
        live.submit(run, program, (_native.NULL,) * 3, watched=False)
        fd = _taken(run)
        report = run.report
    finally:
        run.close()
    if fd is None and report is None:
        raise ClosedError("this jail has ended: its PID 1 was killed")
    if fd is None and report is not None:
        if report.step != _OPEN_STEP:
            raise launch_error(report, program.argv)
        raise OSError(report.error, os.strerror(report.error), path)
    assert fd is not None  # noqa: S101 - the two branches above
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return fd


def _taken(run: _native.Run) -> int | None:
    while True:
        try:
            return run.take_file(_OPEN_SECONDS)
        except InterruptedError:
            continue


def write_file(fd: int, data: bytes) -> None:
    """Write a file that was opened, and close it."""
    with open(fd, "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            written = file.write(view)
            if not written:
                raise OSError(errno.EIO, "a regular file that takes no bytes")
            view = view[written:]


def read_file(fd: int, path: str, max_bytes: int) -> bytes:
    """Read a file that was opened, within a bound, and close it.

    Raises:
        OSError: (EFBIG) It is larger than `max_bytes`.
    """
    with open(fd, "rb", buffering=0) as file:
        parts, size = [], 0
        while part := file.read(min(1024 * 1024, max_bytes + 1 - size)):
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise OSError(errno.EFBIG, f"larger than max_bytes={max_bytes}", path)
        return b"".join(parts)
