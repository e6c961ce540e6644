"""Files of a live jail, by descriptors.

A process of the jail opens them, as the jail's user and with the jail's view of paths, and passes the descriptor out: the
host never walks a path that the jail can change, and needs no program in the jail to help.
"""

from __future__ import annotations

import errno
import os
import stat

from jailkit import _native
from jailkit._errors import ClosedError
from jailkit._native import ReportKind
from jailkit.plan import Program
from jailkit.process.failure import launch_error
from jailkit.process.live import LiveJail

__all__ = ["open_file", "read_file", "write_file"]

_OPEN_SECONDS = 60.0


def open_file(live: LiveJail, program: Program) -> int:
    """Have a file opened; return its descriptor, which is the caller's to close.

    Raises:
        OSError: It could not be opened; of the class that open(2)'s error number has in Python.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        ends = live.submit(program, (null, null, null), watched=False)
    finally:
        os.close(null)
    try:
        while True:
            answer = _native.receive(ends.channel, _OPEN_SECONDS)
            if answer is None:
                raise ClosedError("this jail has ended: its PID 1 was killed")
            report, fd = answer
            if report.kind is ReportKind.OPENED:
                return fd
            if fd >= 0:
                os.close(fd)
            if report.kind is ReportKind.FAILED:
                path = os.fsdecode(program.argv[0])
                error = launch_error(report, program.argv)
                if report.step == _OPEN_STEP:
                    raise OSError(report.error, os.strerror(report.error), path)
                raise error
    finally:
        os.close(ends.channel)


_OPEN_STEP = next(number for number, name in _native.enum_names("jk_program_step").items() if name == "JK_AT_OPEN")


def write_file(fd: int, data: bytes) -> None:
    """Write a file that was opened, and close it."""
    with open(fd, "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) or 0 :]


def read_file(fd: int, path: str, max_bytes: int) -> bytes:
    """Read a file that was opened, within a bound, and close it.

    Raises:
        OSError: It is no regular file (EINVAL), or larger than `max_bytes` (EFBIG).
    """
    with open(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        parts, size = [], 0
        while part := file.read(min(1024 * 1024, max_bytes + 1 - size)):
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise OSError(errno.EFBIG, f"larger than max_bytes={max_bytes}", path)
        return b"".join(parts)
