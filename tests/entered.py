"""A process of the test's own in a jail: fork, attach, call a function, hear what it says."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from collections.abc import Callable
from typing import Any, NoReturn

from jailkit import Jail
from tests.patience import patient

__all__ = ["entered", "entering", "forking"]


def forking(jail: Jail, function: Callable[[], Any], **options: Any) -> tuple[int, int]:
    """Do as `entering`, by `Jail.fork`."""
    read, write = os.pipe()
    child = jail.fork(keep_fds=(2, write), **options)
    if child == 0:
        _tell(function, write)
    os.close(write)
    select.select([read], [], [], patient(30))
    return child, read


def _tell(function: Callable[[], Any], write: int) -> NoReturn:
    try:
        os.write(write, b" ")
        os.write(write, json.dumps(function()).encode())
        os._exit(0)
    finally:
        os._exit(99)


def entering(jail: Jail, function: Callable[[], Any], **options: Any) -> tuple[int, int]:
    """Fork a process that attaches and calls a function; return its pid, and where what it returns can be read.

    It is in the jail by then, or has failed to enter.
    """
    read, write = os.pipe()
    with jail.entrance():
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                jail.attach(keep_fds=(2, write), **options)
                _tell(function, write)
            os._exit(99)
        os.close(write)
        select.select([read], [], [], patient(30))
    return child, read


def entered(
    jail: Jail, function: Callable[[], Any], *, way: Callable[..., tuple[int, int]] = entering, **options: Any
) -> tuple[int, Any]:
    """Do it, and wait for the end; return the exit code (of a signal, less than 0) and what the function returned."""
    child, read = way(jail, function, **options)
    pidfd = os.pidfd_open(child)
    said = b""
    while select.select([read], [], [], patient(30))[0] and (part := os.read(read, 65536)):
        said += part
    if not select.select([pidfd], [], [], patient(30))[0]:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    os.close(read)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), json.loads(said) if said.strip() else None
