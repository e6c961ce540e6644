"""What a grader says: `Grade`, `TestResult`, `GroupResult`, and the same as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from jailkit.grading._model import Verdict

__all__ = ["SHOWN", "Grade", "GroupResult", "TestResult", "beginning", "excerpt"]

SHOWN = 2_000
"""Bytes of an output, an input or a message that a report repeats."""


def excerpt(data: bytes, most: int = SHOWN) -> str:
    """Return the beginning of something hostile as text; what is not UTF-8 is escaped, and it is bounded."""
    text = data[:most].decode(errors="backslashreplace")
    return text if len(data) <= most else f"{text}… ({len(data)} bytes)"


def beginning(path: Path) -> str:
    """Return the beginning of a file of the package, in the same way."""
    with path.open("rb") as file:
        data = file.read(SHOWN)
    size = path.stat().st_size
    return excerpt(data) if size <= SHOWN else f"{excerpt(data)}… ({size} bytes)"


@attrs.frozen(kw_only=True)
class TestResult:
    """What became of one test.

    Attributes:
        name: The test, by its path below ``data``.
        verdict: What became of it.
        score: Points, or None where the test has none of its own.
        best: The most points that it has.
        cpu: Seconds of processor time, of everything that the program has started.
        wall: Seconds on the clock.
        memory: Bytes at the peak, or None where nobody measured.
        runs: How often it was run: more than once when it came close to a limit. The figures are of the best run.
        reason: Why the program is no longer running, in words.
        message: What the validator said, for the teacher.
        team_message: What it said for the student.
        input: What the program was given; this and the next three are bounded excerpts.
        expected: What was expected.
        got: What it wrote to stdout; of an interactive problem, the talk.
        stderr: What it wrote to stderr.
        hint: A word for the student, from the package.
    """

    __test__ = False  # pytest takes every class of this name for its own

    name: str
    verdict: Verdict = attrs.field(converter=Verdict)
    score: float | None = None
    best: float | None = None
    cpu: float = 0.0
    wall: float = 0.0
    memory: int | None = None
    runs: int = 0
    reason: str = ""
    message: str = ""
    team_message: str = ""
    input: str = ""
    expected: str = ""
    got: str = ""
    stderr: str = ""
    hint: str = ""


@attrs.frozen(kw_only=True)
class GroupResult:
    """What became of a group of tests.

    Attributes:
        name: The group, by its path below ``data``.
        verdict: What became of it.
        score: Points, or None where there are none.
        best: The most points that it has, or None without a bound.
        message: Why its result is a judge error, where its tests do not say so.
    """

    name: str
    verdict: Verdict = attrs.field(converter=Verdict)
    score: float | None = None
    best: float | None = None
    message: str = ""


@attrs.frozen(kw_only=True)
class Grade:
    """What became of a submission.

    Attributes:
        problem: Title of the problem.
        submission: Name of the submission.
        language: What it is in, or empty.
        verdict: The verdict on all of it.
        score: Points, or None for a problem without.
        best: The most points there are, or None without a bound.
        tests: What became of each test that was judged, in order.
        groups: The same of groups, inner ones first; the group of all tests has no name.
        compiler: What the compiler said, or why nothing could be judged; bounded.
        time_limit: Seconds of processor time.
        memory_limit: Bytes.
        notes: What a reader has to know: limits that this host cannot keep.
    """

    problem: str
    submission: str
    verdict: Verdict = attrs.field(converter=Verdict)
    language: str = ""
    score: float | None = None
    best: float | None = None
    tests: tuple[TestResult, ...] = ()
    groups: tuple[GroupResult, ...] = ()
    compiler: str = ""
    time_limit: float = 0.0
    memory_limit: int = 0
    notes: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the verdict is AC."""
        return self.verdict is Verdict.AC

    @property
    def cpu(self) -> float:
        """Seconds of processor time of the slowest test."""
        return max((test.cpu for test in self.tests), default=0.0)

    @property
    def memory(self) -> int | None:
        """Bytes of the largest peak."""
        return max((test.memory for test in self.tests if test.memory is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return attrs.asdict(self, value_serializer=lambda _obj, _field, value: _plain(value))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Grade:
        """Make it again from what `to_dict` has returned."""
        made = dict(data)
        made["tests"] = tuple(TestResult(**each) for each in data["tests"])
        made["groups"] = tuple(GroupResult(**each) for each in data["groups"])
        made["notes"] = tuple(data["notes"])
        return cls(**made)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Verdict) else value
