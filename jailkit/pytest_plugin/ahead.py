"""Jails made before their tests begin, and taken away after they have ended: in threads, while a test runs."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from jailkit import Jail, JailkitError

__all__ = ["Ahead", "ahead_of"]

_GRACE = 60.0
"""Seconds that a process has to end whose jail was closed, or which has said that it is done."""


class Ahead:
    """The jail of the next test, and those of tests that are over.

    The threads work while a test runs, and rest while pytest forks: a fork copies a lock that a thread holds, and a
    descriptor that it is about to close.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="jailkit-ahead")
        self._spec: dict[str, Any] = {}
        self._next: Future[Jail] | None = None
        self._over: tuple[Jail, int] | None = None
        self._leaving: Future[None] | None = None

    def take(self, spec: dict[str, Any]) -> Jail:
        """Return a live jail, the one that was made ahead if it is what is asked for; and have the threads rest.

        Raises:
            UnsupportedError: As `Jail.start`.
            LaunchError: The same.
        """
        made, self._next = self._next, None
        left, self._leaving = self._leaving, None
        if left is not None:
            left.result()
        if made is not None:
            with contextlib.suppress(JailkitError, OSError):  # what was wrong, if it still is, is found out below
                jail = made.result()
                if jail.alive and self._spec == spec:
                    return jail
                jail.close()
        return Jail(**spec).start()

    def work(self, spec: dict[str, Any] | None) -> None:
        """Take away the jail of the test before, and make one like this for the next, until that is taken."""
        if self._over is not None:
            self._leaving, self._over = self._threads.submit(_leave, *self._over), None
        if spec is not None:
            self._spec, self._next = spec, self._threads.submit(lambda: Jail(**spec).start())

    def leave(self, jail: Jail, child: int, *, alone: bool) -> None:
        """Take away a jail and wait for the child: when there is time, if it is `alone` and about to end; or now."""
        if alone and self._next is not None:
            self._over = jail, child
            return
        # At a time: the one is not gone before its processes are waited for, the other may wait for its end.
        closing = self._threads.submit(jail.close)
        _end(child)
        closing.result()

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        """Take away what is left."""
        self.work(None)
        self._threads.shutdown()
        if self._next is not None and self._next.exception() is None:
            self._next.result().close()


def ahead_of(config: pytest.Config) -> Ahead:
    """Return the one of this session."""
    ahead = config.pluginmanager.getplugin("jailkit-ahead")
    if not isinstance(ahead, Ahead):
        ahead = Ahead()
        config.pluginmanager.register(ahead, "jailkit-ahead")
    return ahead


def _leave(jail: Jail, child: int) -> None:
    _end(child)  # first: a jail is not gone before its processes are waited for
    jail.close()


def _end(child: int) -> None:
    """Wait for the child, which ends by itself or with its jail."""
    pidfd = os.pidfd_open(child)
    try:
        if not select.select([pidfd], [], [], _GRACE)[0]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    os.waitpid(child, 0)
