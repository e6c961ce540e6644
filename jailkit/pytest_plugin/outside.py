"""The parent of a jailed test: fixtures of wider scope, the fork, the wait, and what comes back as pytest's own."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
import warnings
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from _pytest.skipping import evaluate_skip_marks, evaluate_xfail_marks

from jailkit import Jail, LaunchError, SpecError, UnsupportedError
from jailkit.pytest_plugin.ahead import ahead_of
from jailkit.pytest_plugin.forked import line_of, open_now, run_forked
from jailkit.pytest_plugin.listen import Listener
from jailkit.pytest_plugin.touched import note, unseen
from jailkit.pytest_plugin.wanted import Wanted, wanted
from jailkit.pytest_plugin.wire import Told
from pytest_jailkit import FIXTURES, is_debugged, is_jailed

__all__ = ["run_jailed"]

_NOT_A_FAILURE = (pytest.exit.Exception, KeyboardInterrupt)
"""What ends the session wherever it is raised."""

_GRACE = 10.0
"""Seconds beyond its own alarm after which a test is killed: pytest-timeout's report has more to tell."""


def run_jailed(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run one test in a jail; None leaves it to pytest.

    Raises:
        UsageError: Its mark makes no sense.
    """
    if not _applies(item):
        return None
    asked = wanted(item)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    _Test(item, nextitem, asked).run()
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _applies(item: pytest.Item) -> bool:
    """Leave out what runs nothing, what is to be debugged, and what makes jails itself."""
    if is_debugged(item.config):
        return False
    if FIXTURES & set(getattr(item, "fixturenames", ())):
        if item.get_closest_marker("jailed"):
            raise pytest.UsageError(f"{item.nodeid}: a jailed test cannot use fixtures that make jails")
        return False
    try:
        expected = evaluate_xfail_marks(item)
        return not evaluate_skip_marks(item) and (expected is None or expected.run)
    except Exception:  # noqa: BLE001 - a condition that cannot be evaluated is for pytest to report
        return False


class _Test:
    """One test, from outside."""

    def __init__(self, item: pytest.Item, nextitem: pytest.Item | None, asked: Wanted) -> None:
        self.item = item
        self.nextitem = nextitem
        self.asked = asked
        self.capture = item.config.pluginmanager.getplugin("capturemanager")

    def run(self) -> None:
        """Set up, have it run, tear down."""
        item = self.item
        if hasattr(item, "_request") and not item._request:
            item._initrequest()  # type: ignore[attr-defined] # as pytest does for an item that runs again
        call = self._captured(lambda: _set_up_outside(item), "setup")
        try:
            if call.excinfo is not None:
                self._caught("setup")
                self._log(item.ihook.pytest_runtest_makereport(item=item, call=call))
                last = None
            else:
                last = self._jailed()
            if last is not _LEFT_TO_PYTEST:
                self._tear_down(last)
        finally:
            if hasattr(item, "_request"):
                item._request = False
                item.funcargs = None  # type: ignore[attr-defined]

    def _captured(self, act: Any, when: Any) -> pytest.CallInfo[Any]:
        """Act, and have what is printed wait where the child finds it."""
        if self.capture:
            self.capture.resume_global_capture()
        try:
            return pytest.CallInfo.from_call(act, when=when, reraise=_NOT_A_FAILURE)
        finally:
            if self.capture:
                self.capture.suspend_global_capture(in_=False)

    def _caught(self, when: str | None) -> list[tuple[str, str]]:
        """Take what was printed; into the report of a phase, where one is named."""
        if not self.capture or not self.capture.is_globally_capturing():
            return []
        out, err = self.capture.read_global_capture()
        if when:
            self.item.add_report_section(when, "stdout", out)
            self.item.add_report_section(when, "stderr", err)
        named = (("stdout", out), ("stderr", err))
        return [(f"Captured {name}", text[-(2**20) :]) for name, text in named if text]

    def _log(self, report: pytest.TestReport) -> None:
        self.item.ihook.pytest_runtest_logreport(report=report)

    def _jailed(self) -> Any:
        """Run it in a jail; return the report of its teardown, which is not logged yet."""
        # An alarm is pytest-timeout's, and its handler raises: in the child it shall, in the middle of the test.
        alarm, began = signal.setitimer(signal.ITIMER_REAL, 0)[0], time.monotonic()
        try:
            return self._wait_for(ahead_of(self.item.config).take(self.asked.spec), alarm)
        except (UnsupportedError, LaunchError, SpecError) as error:
            return self._without(error)
        finally:
            left = alarm - (time.monotonic() - began)
            if alarm and left > 0:
                signal.setitimer(signal.ITIMER_REAL, left)

    def _without(self, error: Exception) -> Any:
        """Do with a test that cannot be jailed what the project says."""
        way = self.item.config.getini("jailed_unsupported")
        if way == "run" and isinstance(error, UnsupportedError):
            warnings.warn(pytest.PytestWarning(f"{self.item.nodeid} runs without a jail: {error}"), stacklevel=2)
            runtestprotocol(self.item, nextitem=self.nextitem)
            return _LEFT_TO_PYTEST
        if way == "skip" and isinstance(error, UnsupportedError):
            path, line, _ = self.item.location
            longrepr: Any = (str(self.item.path) if path else "", line or 0, f"Skipped: no jail: {error}")
            self._log(self._report("setup", longrepr, outcome="skipped"))
        else:
            self._log(self._report("setup", f"no jail could be made: {error}"))
        return None

    def _report(
        self, when: Any, longrepr: Any, *, outcome: Any = "failed", sections: Any = (), began: float = 0.0
    ) -> pytest.TestReport:
        item, now = self.item, time.time()
        if isinstance(longrepr, str):
            longrepr = Told(longrepr, item.location[:2])
        return pytest.TestReport(
            item.nodeid,
            item.location,
            dict.fromkeys(item.keywords, 1),
            outcome,
            longrepr,
            when,
            sections=sections,
            duration=now - began if began else 0.0,
            start=began or now,
            stop=now,
        )

    def _wait_for(self, jail: Jail, alarm: float) -> pytest.TestReport:
        listener = Listener(self.item, strict=self.asked.strict)
        began = time.time()
        ahead = ahead_of(self.item.config)
        try:
            child, read = self._fork(jail, alarm)
        except BaseException:
            jail.close()
            raise
        try:
            ahead.work(self._next_spec())
            seconds = min(self.asked.seconds, alarm + _GRACE if alarm else self.asked.seconds)
            why = listener.listen(read, child, seconds, jail)
            refused = jail.denials()
        finally:
            os.close(read)
            ahead.leave(jail, child, alone=listener.alone)
        if listener.last is not None:
            note(listener.last, unseen(refused, listener.told), strict=self.asked.strict)
        sections = self._caught(None)  # of a test that ended well its reports have it
        if why is not None:
            when = listener.missing
            report = self._report(when, why, sections=sections, began=began)
            if when == "teardown":
                return report
            self._log(report)
        listener.raise_what_was_raised()
        return listener.last or self._report("teardown", None, outcome="passed")

    def _next_spec(self) -> dict[str, Any] | None:
        """Say what the jail of the next test will be, if nothing changes in between but the test."""
        follower = self.nextitem
        if follower is None or follower.parent is not self.item.parent or not _wide(follower) <= _wide(self.item):
            return None
        with contextlib.suppress(pytest.UsageError):  # which is raised when its turn comes
            if is_jailed(follower) and _applies(follower):
                return wanted(follower).spec
        return None

    def _fork(self, jail: Jail, alarm: float) -> tuple[int, int]:
        read, write = os.pipe()
        line_of(self.item.config)
        for stream in {sys.stdout, sys.__stdout__, sys.stderr, sys.__stderr__} - {None}:
            stream.flush()  # type: ignore[union-attr] # or the child writes what waits there once more
        before = open_now()
        gc.freeze()  # or the first collection in the child touches, and so copies, all memory
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # other threads are ours, or the project's choice
                child = jail.fork(
                    keep_fds=before.outputs | {write},
                    env=self.asked.env,
                    cwd=self.asked.cwd,
                    time_offset=self.asked.time_offset,
                )
            if child == 0:
                run_forked(self.item, self.nextitem, jail, before, write, alarm=alarm, watch=self.asked.watch)
        except BaseException:
            os.close(read)
            raise
        finally:
            gc.unfreeze()
            os.close(write)
        return child, read

    def _tear_down(self, inner: pytest.TestReport | None) -> None:
        """Tear down what no other test needs; log one report for that and for what was torn down inside."""
        item, session = self.item, self.item.session
        after = None if session.shouldfail or session.shouldstop else self.nextitem
        call = self._captured(lambda: session._setupstate.teardown_exact(after), "teardown")
        self._caught("teardown")
        outer = item.ihook.pytest_runtest_makereport(item=item, call=call)
        if inner is None or (inner.passed and not outer.passed):
            inner = outer
        self._log(inner)


_LEFT_TO_PYTEST: Any = object()


def _set_up_outside(item: pytest.Item) -> None:
    """Set up the collectors, and every fixture of the test that outlives it."""
    state = item.session._setupstate
    assert item.parent is not None  # noqa: S101 - an item has a collector
    state.setup(item.parent)  # type: ignore[arg-type]
    state.stack[item] = ([], None)  # or pytest takes this for a request that comes too late
    try:
        for name in _wide_fixtures(item):
            if name not in item.funcargs:  # type: ignore[attr-defined]
                item.funcargs[name] = item._request.getfixturevalue(name)  # type: ignore[attr-defined]
    finally:
        del state.stack[item]


def _wide(item: pytest.Item) -> set[tuple[str, int | None]]:
    """Name the fixtures that outlive the test, with the number of their parameter."""
    found, indices = _wide_fixtures(item), getattr(getattr(item, "callspec", None), "indices", {})
    return {(name, indices.get(name)) for name in found}


def _wide_fixtures(item: pytest.Item) -> list[str]:
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return [name for name in getattr(item, "fixturenames", ()) if name in known and known[name][-1].scope != "function"]
