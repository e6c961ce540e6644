"""Single calls, and the walls that a process builds for itself: Landlock and filters."""

from __future__ import annotations

import ctypes
import errno
import os

from jailkit._doctor import kernel
from jailkit._doctor.attempt import At
from jailkit.syscalls import Resolve, openat2

__all__ = ["ATTEMPTS"]

# getpriority(2): without it no harm is done, and Python has it.
_GETPRIORITY = {"x86_64": 140, "aarch64": 141}


def _landlock(at: At) -> str:
    at("landlock_create_ruleset(LANDLOCK_CREATE_RULESET_VERSION)")
    version = kernel.landlock_abi()
    at.data["abi"] = version
    with open("/proc/self/status"):
        pass  # the control: without the rule it can be read
    at("landlock_restrict_self")
    kernel.landlock_forbid(kernel.LANDLOCK_READ_FILE)
    at("be refused to read a file")
    try:
        with open("/proc/self/status"):
            raise ValueError("the rule was set and a file could be read all the same")
    except PermissionError:
        return f"ABI {version}"


def _seccomp(at: At) -> None:
    number = _GETPRIORITY[os.uname().machine]
    os.getpriority(os.PRIO_PROCESS, 0)  # the control
    at("prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER)")
    kernel.refuse(number, errno.EDOM)
    at("be refused a system call")
    try:
        os.getpriority(os.PRIO_PROCESS, 0)
    except OSError as error:
        if error.errno != errno.EDOM:
            raise
    else:
        raise ValueError("the filter was set and the call was made all the same")


def _seccomp_notify(at: At) -> None:
    at("seccomp(SECCOMP_GET_ACTION_AVAIL, SECCOMP_RET_USER_NOTIF)")
    kernel.notify_available()


def _libseccomp(at: At) -> str:
    at("load libseccomp.so.2")
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
    return ".".join(str(number) for number in library.seccomp_version().contents)


def _pidfd(at: At) -> None:
    at("pidfd_open")
    child = os.fork()
    if child == 0:
        os._exit(0)
    fd = os.pidfd_open(child)
    at("waitid(P_PIDFD)")
    os.waitid(os.P_PIDFD, fd, os.WEXITED)


def _close_range(at: At) -> None:
    at("close_range")
    fd = os.open("/", os.O_PATH)
    kernel.close_range(fd, fd)


def _clone3(at: At) -> None:
    at("clone3")
    kernel.clone3()


def _openat2(at: At) -> None:
    at("openat2(RESOLVE_BENEATH)")
    os.close(openat2("proc", os.O_PATH, resolve=Resolve.BENEATH, dir_fd=os.open("/", os.O_PATH)))


def _pressure(at: At) -> None:
    at("read /proc/pressure/memory")
    with open("/proc/pressure/memory") as file:
        file.read()


ATTEMPTS = {
    "landlock": _landlock,
    "seccomp": _seccomp,
    "seccomp-notify": _seccomp_notify,
    "libseccomp": _libseccomp,
    "pidfd": _pidfd,
    "close-range": _close_range,
    "clone3": _clone3,
    "openat2": _openat2,
    "pressure": _pressure,
}
