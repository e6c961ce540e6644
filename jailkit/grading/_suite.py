"""A pytest plugin for the hidden suite of an assignment: the fixture ``student``, and what became of each test.

Only the process that runs the suite imports it. No line of the student's code runs in that process: it is sent to a
Python session in a jail as text.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jailkit import CallFailed, CallResult, ExitReason, Jail, LoadedSource, RemoteError
from jailkit.grading._box import ENV, bounded
from jailkit.grading._grade import SHOWN
from jailkit.grading._model import Verdict
from jailkit.grading._run import REASONS

__all__ = ["Student"]

_CONFIG = json.loads(os.environ.get("JAILKIT_SUITE", "{}"))
_COUNTED = pytest.StashKey["Student"]()
_OUTCOME = pytest.StashKey[tuple[Verdict, str]]()


class Student:
    """The student's module: ``student.name(...)`` calls a function of it in the jail, in a fresh process.

    Arguments and values are plain data. What the function raises is a `RemoteError`, and that it ended without an
    answer is a `CallFailed`; a test that does not expect them fails with the verdict that belongs to them.

    Attributes:
        cpu: Seconds of processor time of all calls of the test.
        wall: The same on the clock.
        memory: Bytes of the largest call.
        stdout: What the last call wrote.
    """

    def __init__(self, source: LoadedSource) -> None:
        self._source = source
        self.cpu = self.wall = 0.0
        self.memory = 0
        self.stdout = b""
        self.stderr = b""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.run_call(name, *args, **kwargs).check()

        call.__name__ = name
        return call

    def run_call(self, name: str, /, *args: Any, **kwargs: Any) -> CallResult:
        """Call a function, and return everything there is to know; how it ends is no exception."""
        result = self._source.run_call(name, args, kwargs)
        self.cpu += result.usage.cpu
        self.wall += result.usage.wall
        self.memory = max(self.memory, result.usage.memory_peak or 0)
        self.stdout, self.stderr = result.stdout, result.stderr
        return result


@pytest.fixture(scope="session")
def _source() -> Iterator[LoadedSource]:
    """A jail for all tests, in which each call has a process of its own."""
    seconds = _CONFIG["seconds"]
    limits = bounded(
        memory=_CONFIG["memory"],
        cpu_seconds=max(1, round(seconds + 0.5)),
        wall_seconds=1.5 * seconds + 2,
        output=_CONFIG["output"],
        cpus=(_CONFIG["cpu"],),
    )
    source = Path(_CONFIG["source"]).read_bytes()
    with Jail(limits=limits, env=ENV) as jail, jail.python() as session:
        yield session.load(source, name=_CONFIG["module"])


@pytest.fixture
def student(_source: LoadedSource, request: pytest.FixtureRequest) -> Student:
    """Give a test the student's module."""
    proxy = Student(_source)
    request.node.stash[_COUNTED] = proxy
    return proxy


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker for points."""
    config.addinivalue_line("markers", "points(number): what the test is worth; 1 without it")


def _report(line: dict[str, Any]) -> None:
    with open(_CONFIG["report"], "a", encoding="utf-8") as file:
        file.write(f"{json.dumps(line)}\n")


def _name(item: pytest.Item) -> str:
    return item.nodeid.removeprefix("tests/")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say which tests there are, before any of them runs."""
    _report({"collected": [_name(item) for item in session.items]})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Note what became of a test: that of the first phase which did not go well."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if error is not None and _OUTCOME not in item.stash:
        skipped = isinstance(error, pytest.skip.Exception)
        words = "skipped" if skipped else "".join(traceback.format_exception_only(error)).strip()
        verdict = Verdict.JE if skipped or call.when != "call" else _verdict(error)
        item.stash[_OUTCOME] = (verdict, words[:SHOWN])
    if call.when == "teardown":
        _finish(item)
    return report


def _verdict(error: BaseException) -> Verdict:
    if isinstance(error, CallFailed):
        reason = error.reason if isinstance(error.reason, ExitReason) else ExitReason.EXITED
        return REASONS.get(reason, Verdict.RTE)
    if isinstance(error, RemoteError):
        return Verdict.RTE
    # Comparing what a student has returned may raise more than AssertionError: None has no length, for instance.
    return Verdict.WA if isinstance(error, Exception) else Verdict.JE


def _finish(item: pytest.Item) -> None:
    verdict, words = item.stash.get(_OUTCOME, (Verdict.AC, ""))
    mark = item.get_closest_marker("points")
    best = float(mark.args[0]) if mark else 1.0
    proxy = item.stash.get(_COUNTED, None)
    used = {"cpu": proxy.cpu, "wall": proxy.wall, "memory": proxy.memory or None} if proxy else {}
    said = {"stderr": proxy.stderr, "got": proxy.stdout} if proxy else {}
    _report(
        {
            "name": _name(item),
            "verdict": verdict,
            "score": best if verdict is Verdict.AC else 0.0,
            "best": best,
            "message": words,
            "runs": 1,
            **used,
            **{key: value[:SHOWN].decode(errors="backslashreplace") for key, value in said.items()},
        }
    )
