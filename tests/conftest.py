"""What all tests share: Hypothesis without a clock, declared requirements, the watch for what tests leave behind."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

import jailkit

HERE = Path(__file__).parent
if str(HERE.parent) not in sys.path:
    sys.path.append(str(HERE.parent))  # --import-mode=importlib does not: this is where "tests" is found

from tests import facts, leaks, patience  # noqa: E402 - the line above makes it possible

WATCHED = (HERE / "kernel", HERE / "native", HERE / "escape")
MUST_WORK = os.environ.get("JAILKIT_MUST_WORK") == "1"

# No deadline: other people use the machine. In CI the same examples each time: a red build must be red again.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if MUST_WORK or os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make test-escape` print what the attack suite has found."""
    group = parser.getgroup("escape", "the attack suite, tests/escape")
    group.addoption("--escape-table", action="store_true", help="print a line for each attack")
    group.addoption("--escape-json", metavar="FILE", help="write the same lines to a file")


def pytest_configure() -> None:
    """Become the parent of every process that a test loses, and have temporary files where nobody else's are."""
    leaks.adopt_orphans()
    tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="jailkit-tests-")


@functools.cache
def _first_jail() -> None:
    """Have what a process keeps from its first jail on: the shell that looks after its control groups."""
    with contextlib.suppress(jailkit.JailkitError):
        jailkit.run(["true"])


def pytest_unconfigure() -> None:
    """Take the temporary files away."""
    shutil.rmtree(os.environ.pop("TMPDIR"), ignore_errors=True)
    tempfile.tempdir = None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for the other caller; an undefined word is an error, and not a skip. Stretch the deadlines."""
    others: list[pytest.Item] = []
    for item in items:
        # Of all marks of an item the first counts: this one is put before its own.
        mark = item.get_closest_marker("timeout")
        seconds = mark.args[0] if mark else float(config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(patience.patient(seconds)), append=False)
        words = [word for mark in item.iter_markers("requires") for word in mark.args]
        if unknown := set(words) - facts.ALL:
            raise pytest.UsageError(f"{item.nodeid}: unknown requirement {sorted(unknown)}; known: {sorted(facts.ALL)}")
        if any(word in facts.ROLES and not facts.holds(word) for word in words):
            others.append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose requirement this machine does not meet; on a machine that must meet them all, fail it."""
    missing = [word for mark in item.iter_markers("requires") for word in mark.args if not facts.holds(word)]
    if missing:
        words = f"this machine lacks {', '.join(missing)}: {facts.meaning(missing[0])}"
        if MUST_WORK and not facts.BEYOND.issuperset(missing):
            pytest.fail(f"{words}, and JAILKIT_MUST_WORK=1 allows no skip", pytrace=False)
        pytest.skip(words)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test of the kernel or the native part that leaves something of a jail behind on the host."""
    if not any(request.path.is_relative_to(folder) for folder in WATCHED):
        yield
        return
    _first_jail()
    before = leaks.snapshot()
    yield
    left = leaks.left_since(before)
    leaks.end_processes(left)
    if lost := leaks.lost_since(before):
        pytest.fail(f"closed, and not by who opened it: {lost}", pytrace=False)
    if left:
        pytest.fail("left behind:\n" + "\n".join(f"  {thing}" for thing in left), pytrace=False)
