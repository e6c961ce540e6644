"""The namespaces of a live jail as descriptors, for who is about to enter it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator

import attrs

from jailkit._errors import CommandNotFound, UnsupportedError
from jailkit._launch import Blueprint, program_for
from jailkit.plan import Entry
from jailkit.process import LiveJail, Process, open_program

__all__ = ["open_namespaces"]

_FILES = {
    "CLONE_NEWUSER": "user",
    "CLONE_NEWNS": "mnt",
    "CLONE_NEWPID": "pid",
    "CLONE_NEWNET": "net",
    "CLONE_NEWUTS": "uts",
    "CLONE_NEWIPC": "ipc",
}
_OWNER, _PARENT = 0xB701, 0xB702  # NS_GET_USERNS, NS_GET_PARENT: ioctl_ns(2)


@contextlib.contextmanager
def open_namespaces(made: Blueprint, live: LiveJail, entry: Entry) -> Iterator[dict[str, int]]:
    """Open the namespaces by which a jail is entered, in that order; they are closed at the end.

    Root looks at PID 1. To an ordinary user PID 1 is closed, as to everybody; a program of the jail that he has started
    himself is not, because its user namespace is his.

    Raises:
        UnsupportedError: There is no program in the jail to look at.
    """
    with contextlib.ExitStack() as stack:
        try:
            found = _opened(f"/proc/{live.pid}/ns", entry, stack)
        except PermissionError:
            found = _opened(_look_at_program(made, live, stack), entry, stack)
        _check(found, stack)
        yield found


def _opened(directory: str, entry: Entry, stack: contextlib.ExitStack) -> dict[str, int]:
    found = {}
    for name in (*entry.namespaces, *entry.outside):
        if name not in found:
            found[name] = os.open(f"{directory}/{_FILES[name]}", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(_close, found[name])
    outside = {name: found[name] for name in entry.outside if name != "CLONE_NEWUSER"}
    if "CLONE_NEWUSER" in entry.outside:
        outside = {"outside CLONE_NEWUSER": _ask(found["CLONE_NEWUSER"], _PARENT, stack), **outside}
    return {**outside, **{name: found[name] for name in entry.namespaces}}


def _ask(namespace: int, what: int, stack: contextlib.ExitStack) -> int:
    fd = fcntl.ioctl(namespace, what)
    stack.callback(_close, fd)
    return fd


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # in a process that has entered it is closed already
        os.close(fd)


def _look_at_program(made: Blueprint, live: LiveJail, stack: contextlib.ExitStack) -> str:
    """Start a program that waits; return its directory in /proc, which is that of no other process."""
    waiting = attrs.evolve(program_for(made, ["cat"], watched=True), group=None, group_in_company=None)
    # A pipe of our own: one of the process would be a file object, which warns when it goes away in who has entered.
    theirs, ours = os.pipe()
    stack.callback(_close_own, ours, os.getpid())
    try:
        process = open_program(live, waiting, (theirs, None, None), text=False, isolation=())
    except CommandNotFound:
        raise UnsupportedError(
            "jail.entrance()",
            "an ordinary user enters a jail by a program in it, and this one has no cat on its PATH",
            "put /bin/cat into the root (or /bin/busybox with that name), or run as root",
        ) from None
    finally:
        os.close(theirs)
    stack.callback(_end, process, os.getpid())
    directory = os.open(f"/proc/{process.pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(_close, directory)
    signal.pidfd_send_signal(process.pidfd, 0)  # it lives, so that the number was its own
    return f"/proc/self/fd/{directory}/ns"


def _close_own(fd: int, owner: int) -> None:
    if os.getpid() == owner:
        os.close(fd)


def _end(process: Process, owner: int) -> None:
    if os.getpid() == owner:
        process.kill()
        process.close()


def _check(found: dict[str, int], stack: contextlib.ExitStack) -> None:
    """Refuse namespaces that the program we looked at has made for itself.

    Those of users are each the child of the one before, the first a child of ours; the others belong to the users that
    come before them.
    """
    owner = os.stat("/proc/self/ns/user").st_ino
    for name, fd in found.items():
        users = name.endswith("CLONE_NEWUSER")
        if os.fstat(_ask(fd, _PARENT if users else _OWNER, stack)).st_ino != owner:
            what = _FILES[name.removeprefix("outside ")]
            raise UnsupportedError(
                "jail.entrance()", f"{what} namespace: not one that the jail was made with", "make a new jail"
            )
        owner = os.fstat(fd).st_ino if users else owner
