"""Jails made before their tests begin, and taken away after they have ended: in threads, while pytest does its part."""

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

_GRACE = 10.0
"""Seconds that a process has to end whose jail was closed, or which has said that it is done."""


class Ahead:
    """The jail of the next test, and those of tests that are over."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="jailkit-ahead")
        self._spec: dict[str, Any] = {}
        self._next: Future[Jail] | None = None
        self._last: Future[None] | None = None

    def prepare(self, spec: dict[str, Any]) -> None:
        """Begin to make the jail of the next test."""
        if self._next is not None and self._spec == spec:
            return  # its test did not need it
        self._throw_away()
        self._spec, self._next = spec, self._threads.submit(lambda: Jail(**spec).start())

    def take(self, spec: dict[str, Any]) -> Jail:
        """Return a live jail: the one that was made ahead, if it is what is asked for.

        Raises:
            UnsupportedError: As `Jail.start`.
            LaunchError: The same.
        """
        if self._spec == spec and self._next is not None:
            made, self._next = self._next, None
            with contextlib.suppress(JailkitError, OSError):  # what was wrong, if it still is, is found out below
                jail = made.result()
                if jail.alive:
                    return jail
                jail.close()
        return Jail(**spec).start()

    def leave(self, jail: Jail, child: int, *, at_once: bool) -> None:
        """Take away a jail and wait for the child: now, or if nobody else is in there, while pytest goes on."""
        if at_once:
            # At a time: the one is not gone before its processes are waited for, the other may wait for its end.
            closing = self._threads.submit(jail.close)
            _end(child)
            closing.result()
            return
        last, self._last = self._last, self._threads.submit(_leave, jail, child)
        if last is not None:
            last.result()  # so that they do not become many, and no error is lost

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        """Take away what is left."""
        self._throw_away()
        self._threads.shutdown()

    def _throw_away(self) -> None:
        made, self._next = self._next, None
        if made is not None:
            self._threads.submit(lambda: made.result().close())


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
