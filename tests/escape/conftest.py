"""The canaries of a session, the faces of each attack, and the table at the end."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import jailkit
from tests.escape import attack
from tests.escape.canaries import Canaries
from tests.facts import holds


@pytest.fixture(scope="session")
def canaries() -> Iterator[Canaries]:
    """What must not be harmed."""
    made = Canaries()
    if holds("landlock6"):  # what a process keeps from its first jail of the tier on: a shell
        jailkit.run(["true"], tier="landlock")
    yield made
    made.close()


def _lines(rows: list[attack.Row]) -> Iterator[str]:
    yield f"{'attack':<8} {'what is attempted':<58} {'by':<15} {'outcome':<20} {'control':<20} {'canary':<10} verdict"
    for row in rows:
        yield (
            f"{row.id:<8} {row.name:<58.58} {row.face:<15} {row.outcome:<20.20} {row.control:<20.20} "
            f"{row.canary:<10.40} {row.verdict}"
        )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what became of each attack, and write it down where asked to."""
    rows = attack.LEDGER
    if not rows:
        return
    verdicts = Counter(row.verdict for row in rows)
    programs = len({row.name for row in rows})
    terminalreporter.section("attacks")
    if config.getoption("--escape-table"):
        for line in _lines(rows):
            terminalreporter.write_line(line)
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
    terminalreporter.write_line(f"{programs} attacks, {len(rows)} rows: {counts}")
    if path := config.getoption("--escape-json"):
        with open(path, "w") as file:
            json.dump({"uid": os.getuid(), "rows": [attrs.asdict(row) for row in rows]}, file, indent=1)
