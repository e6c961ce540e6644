"""The attack suite runs itself a second time, as an ordinary user: his jails stand on other ids, maps and rights."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import attrs
import pytest

from tests.escape.attack import LEDGER, Row
from tests.inside import public_directory
from tests.kernel.test_as_user import USER, as_user
from tests.patience import patient

TESTS = Path(__file__).parents[1]

pytestmark = [pytest.mark.requires("root", "userns", "cc", "python"), pytest.mark.timeout(600)]


def test_the_attacks_as_an_ordinary_user() -> None:
    """Every attack that is not for root alone is refused to the jails of an ordinary user as well; none is skipped."""
    with public_directory() as home:
        rows = f"{home}/rows.json"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rsfE", "--escape-json", rows]
        place = ["--rootdir", str(TESTS.parent), "-c", str(TESTS.parent / "pyproject.toml"), str(TESTS / "escape")]
        done = as_user(home, *command, *place, bound=patient(580))
        if Path(rows).exists():
            found = json.loads(Path(rows).read_text())
            assert found["uid"] == USER
            LEDGER.extend(attrs.evolve(row, face=f"{row.face}, user") for row in (Row(**one) for one in found["rows"]))
    assert done.returncode == 0, f"as uid {USER}:\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    assert counts["passed"] > 250, counts
    assert counts.keys() <= {"passed", "deselected", "skipped"}, counts
