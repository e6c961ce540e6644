"""System calls that `jailkit.syscalls` does not have, for attempts in a child made for them."""

from __future__ import annotations

import ctypes
import os
import struct

__all__ = [
    "LANDLOCK_READ_FILE",
    "clone",
    "clone3",
    "close_range",
    "landlock_abi",
    "landlock_forbid",
    "no_new_privs",
    "notify_available",
    "refuse",
    "set_dumpable",
]

# From 403 on a number is the same on all architectures (the kernel's scripts/syscall.tbl).
_CLONE3, _CLOSE_RANGE = 435, 436
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_CLONE = {"x86_64": 56, "aarch64": 220}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER, _SECCOMP_GET_ACTION_AVAIL = 2, 2
_RET_ERRNO, _RET_ALLOW, _RET_USER_NOTIF = 0x00050000, 0x7FFF0000, 0x7FC00000
_LANDLOCK_VERSION = 1
LANDLOCK_READ_FILE = 1 << 2
_SIGCHLD = 17

# PyDLL keeps the interpreter lock: a child made by a raw clone goes on in Python without a lock that nobody gives back.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _call(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *wide))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _prctl(option: int, *arguments: int | ctypes.Array[ctypes.c_char]) -> None:
    wide = [ctypes.c_ulong(item) if isinstance(item, int) else item for item in arguments]
    wide += [ctypes.c_ulong(0)] * (4 - len(wide))
    if _libc.prctl(option, *wide):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def set_dumpable() -> None:
    """Undo what a change of ids has done: see PR_SET_DUMPABLE in prctl(2)."""
    _prctl(_PR_SET_DUMPABLE, 1)


def no_new_privs() -> None:
    """Give up ever gaining rights by exec; a filter of an ordinary user and Landlock rules need it."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _wait(child: int) -> None:
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def clone(flags: int) -> None:
    """Make a child in new namespaces, as `fork` would, with the older of the two calls; it ends at once."""
    _wait(_call(_CLONE[os.uname().machine], flags | _SIGCHLD, 0, 0, 0, 0))


def clone3() -> None:
    """Make a child, as `fork` would, with the newer of the two calls; it ends at once."""
    arguments = struct.pack("=8Q", 0, 0, 0, 0, _SIGCHLD, 0, 0, 0)  # struct clone_args, its first published size
    _wait(_call(_CLONE3, ctypes.create_string_buffer(arguments, 64), 64))


def close_range(first: int, last: int) -> None:
    """Close a range of descriptors, both ends included."""
    _call(_CLOSE_RANGE, first, last, 0)


def landlock_abi() -> int:
    """Return the version of Landlock's interface: see landlock_create_ruleset(2)."""
    return _call(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)


def landlock_forbid(access: int) -> None:
    """Take a right to files away from this process, for all files: see landlock(7)."""
    ruleset = _call(_LANDLOCK_CREATE_RULESET, ctypes.create_string_buffer(struct.pack("=Q", access), 8), 8, 0)
    try:
        no_new_privs()
        _call(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def refuse(number: int, error: int) -> None:
    """Set a filter that answers one system call with an errno and lets all others pass: see seccomp(2)."""
    instructions = (
        (0x20, 0, 0, 0),  # load seccomp_data.nr
        (0x15, 0, 1, number),  # another number: skip one
        (0x06, 0, 0, _RET_ERRNO | error),
        (0x06, 0, 0, _RET_ALLOW),
    )
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    kept = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(kept))
    no_new_privs()
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(program, len(program)))


def notify_available() -> None:
    """Ask whether a filter may hand a call to another process: SECCOMP_GET_ACTION_AVAIL of seccomp(2)."""
    action = ctypes.create_string_buffer(struct.pack("=I", _RET_USER_NOTIF), 4)
    _call(_SECCOMP[os.uname().machine], _SECCOMP_GET_ACTION_AVAIL, 0, action)
