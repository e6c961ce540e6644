"""Files of a live jail, by descriptors.

A process of the jail opens them, as the jail's user and with the jail's view of paths, and passes the descriptor out:
the host never walks a path that the jail can change, and needs no program in the jail to help.
"""

from __future__ import annotations

import errno
import os
import stat

from jailkit import _native
from jailkit.plan import Program
from jailkit.process.failure import answered, launch_error
from jailkit.process.live import LiveJail

__all__ = ["open_in_jail", "read_file", "write_file"]

_OPEN_SECONDS = 60.0
_OPEN_STEP = next(number for number, name in _native.enum_names("jk_program_step").items() if name == "JK_AT_OPEN")


def open_in_jail(run: _native.Run, live: LiveJail, opening: Program, *, kind: int = stat.S_IFREG) -> int:
    """Have a file opened, a regular one or of another kind; return its descriptor, which is that of `run`."""
    live.submit(run, opening, (_native.NULL,) * 3, watched=False)
    answered(run.take_file, _OPEN_SECONDS, live.lost, "open a file")
    report, path = run.report, os.fsdecode(opening.argv[0])
    if run.file < 0 and report is None:
        raise live.lost()
    if run.file < 0 and report is not None:
        if report.kind is not _native.ReportKind.FAILED:
            raise OSError(errno.EIO, "the process that was to open it was killed", path)
        if report.step != _OPEN_STEP:
            raise launch_error(report, opening.argv)
        raise OSError(report.error, os.strerror(report.error), path)
    if stat.S_IFMT(os.fstat(run.file).st_mode) != kind:
        # A fifo or a device of the jail would make the host wait.
        raise OSError(errno.EINVAL, "not a regular file" if kind == stat.S_IFREG else "not what it is to be", path)
    return run.file


def write_file(live: LiveJail, opening: Program, data: bytes) -> None:
    """Have a file opened, and write it.

    Raises:
        OSError: It could not be opened, of the class that the error number has in Python; is no regular file (EINVAL);
            or could not be written.
    """
    run = _native.Run()
    try:
        fd = open_in_jail(run, live, opening)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        run.close()


def read_file(live: LiveJail, opening: Program, max_bytes: int) -> bytes:
    """Have a file opened, and read it, within a bound.

    Raises:
        OSError: It could not be opened, of the class that the error number has in Python; is no regular file (EINVAL);
            or is larger than `max_bytes` (EFBIG).
    """
    run = _native.Run()
    try:
        fd = open_in_jail(run, live, opening)
        parts, size = [], 0
        while part := os.read(fd, min(1024 * 1024, max_bytes + 1 - size)):
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                path = os.fsdecode(opening.argv[0])
                raise OSError(errno.EFBIG, f"larger than max_bytes={max_bytes}", path)
        return b"".join(parts)
    finally:
        run.close()
