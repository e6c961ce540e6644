"""The forked child: it attaches to the jail, runs the phases of one test, and tells how they went."""

from __future__ import annotations

import contextlib
import os
import pdb  # noqa: T100 - for those who do not reach it
import re
import signal
import sys
import tempfile
import traceback
import warnings
from typing import Any, NoReturn

import attrs
import pytest
from _pytest.runner import call_and_report

from jailkit import Jail
from jailkit.pytest_plugin import cover
from jailkit.pytest_plugin.touched import Watch
from jailkit.pytest_plugin.wire import frame

__all__ = ["Open", "line_of", "open_now", "run_forked"]


class Line:
    """The pipe to the parent, and the plugin by which reports of subtests come here instead of to the terminal.

    Registered once, in the parent, where it does nothing: to register takes longer than to run a small test.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._fd = -1

    def take_over(self, fd: int) -> None:
        """In the child: have all reports come here, and to nobody else; the parent tells everybody."""
        self._fd = fd
        listeners = self._config.hook.pytest_runtest_logreport._hookimpls
        listeners[:] = [one for one in listeners if one.plugin is self]

    def tell(self, kind: str, data: Any) -> None:
        """Send one message."""
        rest = memoryview(frame(kind, data))
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send a report."""
        if self._fd >= 0:
            data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
            # What has a form of its own, as the report of a doctest has, travels as text.
            formed = isinstance(data.get("longrepr"), str) and not isinstance(report.longrepr, str)
            self.tell("formed report" if formed else "report", data)


def line_of(config: pytest.Config) -> Line:
    """Return the one of this session."""
    line = config.pluginmanager.getplugin("jailkit-line")
    if not isinstance(line, Line):
        line = Line(config)
        config.pluginmanager.register(line, "jailkit-line")
    return line


def run_forked(
    item: pytest.Item, nextitem: pytest.Item | None, jail: Jail, before: Open, fd: int, *, alarm: float, watch: bool
) -> NoReturn:
    """Run a test, in the jail where this process is; end the process."""
    code = 70
    try:
        _settle(before)
        if alarm > 0:  # as pytest-timeout has set it; a fork inherits none
            signal.setitimer(signal.ITIMER_REAL, alarm)
        line = line_of(item.config)
        line.take_over(fd)
        measured = cover.begin()
        _run(item, nextitem, line, Watch(jail.spec.mounts, os.environ["HOME"]) if watch else None)
        if measured is not None:
            line.tell("coverage", cover.found(measured))
        _flush()
        line.tell("done", _is_alone())
        code = 0
    except BaseException:  # noqa: BLE001 - the fork must not come to an end anywhere but here
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue


def _is_alone() -> bool:
    """Whether nobody but PID 1 is here; False where nobody can tell."""
    try:
        return {int(name) for name in os.listdir("/proc") if name.isdigit()} == {1, os.getpid()}
    except OSError:
        return False


@attrs.frozen
class Open:
    """The descriptors of pytest, before the fork.

    Attributes:
        all: All of them.
        outputs: Where output goes: the outputs, where they were caught, and copies of them.
    """

    all: frozenset[int]
    outputs: frozenset[int]


def open_now() -> Open:
    """Look at them. Files without a name are what pytest catches output in."""
    targets: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the directory itself, and those of other threads
            targets[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    outputs = {targets.get(1), targets.get(2)}
    kept = {number for number, target in targets.items() if target in outputs or _NAMELESS.fullmatch(target)}
    return Open(frozenset(targets), frozenset(kept | {1, 2}))


_NAMELESS = re.compile(r"/.* \(deleted\)", re.DOTALL)


def _settle(before: Open) -> None:
    """Objects of the parent's still name descriptors that are closed: what the test opens must not get their number."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in before.all - before.outputs - {0, null}:
        if not _is_open(number):
            os.dup2(null, number, inheritable=False)
    pdb.set_trace = _debug
    if tempfile.tempdir is not None:  # found before, and to be found before the test, which may watch what is opened
        tempfile.tempdir = None
        tempfile.gettempdir()


def _debug(*_: Any, **__: Any) -> NoReturn:
    """Stand in for a debugger, which ``breakpoint()`` calls: it would read from /dev/null, and quit without a word."""
    __tracebackhide__ = True
    pytest.fail("nobody can talk to a debugger in a jail; with --pdb or --trace, tests run without their jails")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _run(item: pytest.Item, nextitem: pytest.Item | None, line: Line, watch: Watch | None) -> None:
    # What is torn down here is the item alone: the rest was set up outside.
    after: Any = nextitem if nextitem is not None and nextitem.parent is item.parent else item.parent
    outside = {node: len(finalizers) for node, (finalizers, _) in item.session._setupstate.stack.items()}
    with warnings.catch_warnings(record=True) as caught:
        try:
            if _phase(item, "setup", line, watch) and not item.config.getoption("setuponly", default=False):
                _phase(item, "call", line, watch)
            _phase(item, "teardown", line, watch, nextitem=after)
            _finalize_inside(item, outside)
        except pytest.exit.Exception as stop:
            line.tell("exit", [str(stop), stop.returncode])
        except KeyboardInterrupt:
            line.tell("interrupt", None)
    for warning in caught:
        line.tell("warning", _in_words(warning))
    for name in ("shouldstop", "shouldfail"):
        if getattr(item.session, name):
            line.tell(name, str(getattr(item.session, name)))


def _phase(item: pytest.Item, when: Any, line: Line, watch: Watch | None, **options: Any) -> bool:
    report = call_and_report(item, when, log=False, **options)
    if watch is not None:
        line.tell("touched", watch.new() + (watch.left_behind() if when == "teardown" else []))
    line.pytest_runtest_logreport(report)
    return report.passed


def _finalize_inside(item: pytest.Item, outside: dict[Any, int]) -> None:
    """Tear down fixtures of wider scope that the test itself has asked for: they exist in here only."""
    for node, (finalizers, _) in reversed(item.session._setupstate.stack.items()):
        while len(finalizers) > outside.get(node, 0):
            finalizers.pop()()


def _in_words(warning: warnings.WarningMessage) -> dict[str, Any]:
    kind = warning.category
    return {
        "module": kind.__module__,
        "name": kind.__qualname__,
        "text": str(warning.message),
        "file": warning.filename,
        "line": warning.lineno,
    }
