"""A plugin of pytest: a line for each file of tests as soon as its last one has ended (``-p tests.vm.report``).

A guest's writes do not come back, but what it prints does: `suite.py` reads these lines, so that what has passed is
known although the guest, or its host, does not live to see the last file.
"""

from __future__ import annotations

import collections
import json
import time
from collections.abc import Iterator

import pytest

__all__ = ["FILE", "FILES"]

FILES = "== files "
"""How the line begins that lists the files with tests to run; what follows is JSON."""
FILE = "== file "
"""How the line of one file begins."""


class _Lines:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.counts: collections.Counter[str] = collections.Counter()
        self.began = time.monotonic()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        # After an error of collection nothing is run, and a file that cannot be read lists no tests.
        if not session.testsfailed:
            self.say(FILES, sorted({self.path(item) for item in session.items}))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        yield
        if nextitem is None or nextitem.path != item.path:
            now = time.monotonic()
            counts = {name: self.counts[name] for name in ("passed", "failed", "skipped")}
            self.say(FILE, {"path": self.path(item), **counts, "seconds": round(now - self.began)})
            self.counts.clear()
            self.began = now

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # What fails in its set-up or its end has failed; what passes passes in its call.
        if report.when == "call" or not report.passed:
            self.counts[report.outcome] += 1

    def path(self, item: pytest.Item) -> str:
        return str(item.path.relative_to(self.config.rootpath))

    def say(self, mark: str, what: object) -> None:
        # The reporter's own stream: the standard one is captured.
        printer = self.config.pluginmanager.get_plugin("terminalreporter")
        assert printer is not None
        printer.ensure_newline()
        printer.write_line(mark + json.dumps(what))


def pytest_configure(config: pytest.Config) -> None:
    """Listen."""
    config.pluginmanager.register(_Lines(config), "vm-lines")
