"""Hearing a jailed test out: its reports until it is done, or why there will be no more."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import Any

import pytest

from jailkit import Jail, UnsupportedError
from jailkit.pytest_plugin import cover
from jailkit.pytest_plugin.touched import note
from jailkit.pytest_plugin.wire import Forged, Frames, read_report, record_warning

__all__ = ["Listener"]

_ENTERING_FAILED = 125
_NEARLY = 0.95


class Listener:
    """What one test has told so far."""

    def __init__(self, item: pytest.Item, *, strict: bool) -> None:
        self.last: pytest.TestReport | None = None
        """The report of the teardown, once there is one: it is logged when all is torn down."""
        self.missing = "setup"
        """The phase that was not reported yet."""
        self.alone = False
        """Whether the test has come to its end, with nobody else left in its jail."""
        self.told: set[str] = set()
        """What it has said that it touched."""
        self._item = item
        self._strict = strict
        self._frames = Frames()
        self._touched: list[str] = []
        self._raised: BaseException | None = None
        self._done = False

    def listen(self, read: int, child: int, seconds: float, jail: Jail) -> str | None:
        """Listen until it is done; or return why it never will be."""
        deadline = time.monotonic() + seconds
        pidfd = os.pidfd_open(child)
        poll = select.poll()
        poll.register(read, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        os.set_blocking(read, False)
        try:
            while not self._done:
                left = deadline - time.monotonic()
                ready = {fd for fd, _ in poll.poll(max(0.0, left) * 1000)}
                if not self._hear(read) and pidfd in ready:  # and there is nothing left to read
                    return _why(child, jail)
                if left <= 0:
                    return f"killed: it took more than {seconds:g} s"
        except Forged as error:
            return f"killed: it sent {error}"
        finally:
            os.close(pidfd)
        return None

    def _hear(self, read: int) -> bool:
        """Take what is there; whether there was anything."""
        try:
            data = os.read(read, 1 << 20)
        except BlockingIOError:
            return False
        for kind, words in self._frames.feed(data):
            self._take(kind, words)
        return bool(data)

    def _take(self, kind: str, words: Any) -> None:
        if kind in ("report", "formed report"):
            self._report(read_report(self._item, words, formed=kind != "report"))
        elif kind == "touched" and isinstance(words, list):
            self._touched = [str(word) for word in words]
            self.told.update(self._touched)
        elif kind == "warning":
            record_warning(words)
        elif kind == "coverage":
            cover.add(words)
        elif kind == "exit" and isinstance(words, list) and len(words) == 2:
            self._raised = pytest.exit.Exception(str(words[0]), words[1] if isinstance(words[1], int) else None)
        elif kind == "interrupt":
            self._raised = KeyboardInterrupt()
        elif kind in ("shouldstop", "shouldfail"):
            setattr(self._item.session, kind, str(words))
        elif kind == "done":
            self._done, self.alone = True, words is True
        else:
            raise Forged(f"a message of no known kind: {kind[:40]!r}")

    def _report(self, report: pytest.TestReport) -> None:
        whole = type(report) is pytest.TestReport
        if whole:
            order = ("setup", "call", "teardown")
            when = str(report.when)
            if not self.missing or order.index(when) < order.index(self.missing):
                raise Forged("a report twice")
            note(report, self._touched, strict=self._strict)
            self._touched = []
            self.missing = {"setup": "call" if report.passed else "teardown", "call": "teardown"}.get(when, "")
        if whole and not self.missing:
            self.last = report
        else:
            if not whole and report.failed:
                _count_subtest(self._item)
            self._item.ihook.pytest_runtest_logreport(report=report)

    def raise_what_was_raised(self) -> None:
        """End the session, if the test has asked for that."""
        if self._raised is not None:
            raise self._raised


def _count_subtest(item: pytest.Item) -> None:
    """Note a failed subtest where pytest 9 looks when it names the outcome of the whole test."""
    module = sys.modules.get("_pytest.subtests")
    key = getattr(module, "failed_subtests_key", None)
    if key is not None:
        item.config.stash[key][getattr(item, "id", item.nodeid)] += 1


def _why(child: int, jail: Jail) -> str:
    """Say how a process ended that was not done."""
    info = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    code, status = (info.si_code, info.si_status) if info else (os.CLD_EXITED, 0)
    if code == os.CLD_EXITED and status == _ENTERING_FAILED:
        return "it could not enter its jail, see stderr"
    if code == os.CLD_EXITED:
        return f"it ended the interpreter with exit code {status} (os._exit)"
    if status == signal.SIGKILL and _is_out_of_memory(jail):
        return f"killed: it used up its memory, {jail.limits.memory} bytes"
    if status == signal.SIGXCPU:
        return f"killed: it used up its processor time, {jail.limits.cpu_seconds} s"
    return f"it crashed the interpreter: {signal.Signals(status).name}"


def _is_out_of_memory(jail: Jail) -> bool:
    try:
        peak = jail.usage().memory_peak
    except UnsupportedError:
        return False
    return bool(peak and jail.limits.memory and peak >= jail.limits.memory * _NEARLY)
