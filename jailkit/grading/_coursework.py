"""From an assignment and a submission to a `Grade`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jailkit import Jail, JailkitError
from jailkit.grading._assignment import Assignment, run_suite
from jailkit.grading._box import ENV, ability, bounded
from jailkit.grading._cores import Cores
from jailkit.grading._grade import Grade, TestResult
from jailkit.grading._model import Rules, Submission, Verdict
from jailkit.grading._scores import Outcome, combine
from jailkit.grading._sources import SourceError, read_sources

__all__ = ["grade_assignment"]

_COMPILE = "compile(source, name, 'exec', dont_inherit=True)"


def grade_assignment(
    assignment: Assignment, submission: Submission, cores: Cores, scratch: Path, seconds: float
) -> Grade:
    """Grade a student's module: does it compile, and what does the suite say?"""
    common: dict[str, Any] = {
        "problem": assignment.name,
        "submission": submission.name,
        "language": "python3",
        "time_limit": seconds,
        "memory_limit": assignment.limits.memory,
        "notes": ability().notes,
    }
    source = b""
    try:
        source = _source(assignment, submission)
        said = _refusal(assignment, source)
    except SourceError as error:
        said = str(error)
    except (JailkitError, OSError) as error:
        return Grade(verdict=Verdict.JE, compiler=str(error), **common)
    if said:
        return Grade(verdict=Verdict.CE, compiler=said, score=0.0, **common)
    file = scratch / f"{assignment.module}.py"
    file.write_bytes(source)
    with cores.one() as cpu:
        tests = run_suite(assignment, file, scratch, cpu, seconds)
    score, best = _points(tests)
    return Grade(verdict=_verdict(tests), tests=tests, score=score, best=best, **common)


def _source(assignment: Assignment, submission: Submission) -> bytes:
    sources = read_sources(submission.path, most_bytes=assignment.limits.code)
    if len(sources.files) == 1:
        return sources.files[0][1]
    wanted = f"{assignment.module}.py"
    if wanted not in sources.names:
        raise SourceError(f"there is no {wanted} in what was handed in")
    return dict(sources.files)[wanted]


def _refusal(assignment: Assignment, source: bytes) -> str:
    """Return what the compiler has against the source, or nothing. Found out in a jail: parsers can be crashed."""
    limits = assignment.limits
    most = bounded(memory=limits.compile_memory, cpu_seconds=10, wall_seconds=20, output=limits.output)
    with Jail(limits=most, env=ENV) as jail, jail.python() as session:
        result = session.run_exec(_COMPILE, {"source": source, "name": f"{assignment.module}.py"}, outputs=[])
    return str(result.error) if result.error else ""


def _verdict(tests: tuple[TestResult, ...]) -> Verdict:
    return combine(Rules(), [Outcome(test.verdict) for test in tests]).verdict


def _points(tests: tuple[TestResult, ...]) -> tuple[float, float]:
    return math.fsum(test.score or 0.0 for test in tests), math.fsum(test.best or 0.0 for test in tests)
