"""A program that never started: which of the three errors it is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from jailkit import _native
from jailkit._errors import CommandNotExecutable, CommandNotFound, LaunchError
from jailkit._native import Report
from jailkit.process.cgroup import GroupError

__all__ = ["answered", "group_failure", "launch_error"]

_WORDS = {
    "JK_AT_REQUEST": "read the request",
    "JK_AT_FORK": "start a process for it",
    "JK_AT_JOIN": "let it join its control group",
    "JK_AT_STDIO": "give it its standard streams",
    "JK_AT_SESSION": "give it a session of its own",
    "JK_AT_RLIMIT": "set its resource limits",
    "JK_AT_GROUPS": "set its supplementary groups",
    "JK_AT_GID": "become its group",
    "JK_AT_UID": "become its user",
    "JK_AT_CAPS": "drop its capabilities",
    "JK_AT_CWD": "enter its working directory",
    "JK_AT_SIGNALS": "unblock its signals",
    "JK_AT_OPEN": "open {}",
    "JK_AT_FILTER": "load its filter of system calls",
    "JK_AT_EXEC": "execute {}",
}
_STEPS = _native.enum_names("jk_program_step")
_NOT_FOUND = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_HINTS = {
    ("JK_AT_CWD", errno.ENOENT): "the working directory must exist in the jail",
    ("JK_AT_CWD", errno.EACCES): "the jail's user may not enter the working directory",
    ("JK_AT_FORK", errno.EAGAIN): "the jail has reached a limit on processes, or 1024 programs at once",
    ("JK_AT_FILTER", errno.EBUSY): "this process is under a filter with a listener itself: leave out report_denials",
    ("JK_AT_EXEC", errno.EAGAIN): "the user of the jail has reached limits.processes",
    ("JK_AT_EXEC", errno.E2BIG): "one argument is over 128 KiB, or all of them are over a quarter of limits.stack",
    ("JK_AT_EXEC", errno.ENOENT): "it is not in the jail, or the interpreter or loader that it names is not",
    ("JK_AT_EXEC", errno.EACCES): "it is not a file with the execute bit, or lies on a noexec mount",
    ("JK_AT_EXEC", errno.ENOEXEC): "it is neither a binary of this machine nor a script with a #! line",
}


def launch_error(report: Report, argv: tuple[bytes, ...]) -> LaunchError:
    """Turn the report of a program that could not be started into the error for it."""
    step = _STEPS.get(report.step, "")
    cls = LaunchError
    if step == "JK_AT_EXEC":
        cls = CommandNotFound if report.error in _NOT_FOUND else LaunchError
        if report.error in (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EISDIR, errno.ETXTBSY, errno.ELIBBAD):
            cls = CommandNotExecutable
    return cls(
        phase="program",
        step=report.step,
        errno=report.error,
        description=_WORDS.get(step, "start {}").format(repr(os.fsdecode(argv[0]))),
        hint=_HINTS.get((step, report.error)),
        filename=os.fsdecode(argv[0]),
    )


_GROUP_HINTS = {
    errno.ENOENT: "the control group in which it was to be made is gone: this process was moved since it was found",
    errno.EBUSY: "the control group has processes of its own, so that groups in it can have no controllers",
    errno.EACCES: "the control group is not delegated to this user",
    errno.EAGAIN: "the control group above has reached cgroup.max.descendants",
    errno.EINVAL: "the kernel does not take this value",
    errno.ENODEV: "limits on I/O take a whole disk that exists",
}


def group_failure(error: GroupError) -> LaunchError:
    """Turn a failed step with a control group into the error for it."""
    return LaunchError(
        phase="cgroup",
        errno=error.errno or errno.EIO,
        description=error.step,
        hint=_GROUP_HINTS.get(error.errno or 0),
    )


def answered(wait: Callable[[float], bool], seconds: float, lost: Callable[[str], Exception], what: str) -> bool:
    """Wait for PID 1's answer to a request; return whether PID 1 is there.

    Raises:
        ClosedError: It did not answer in time. What `lost` makes, who also kills the jail.
    """
    while True:
        try:
            return wait(seconds)
        except InterruptedError:
            continue
        except BlockingIOError:
            raise lost(f"PID 1 did not {what}") from None
