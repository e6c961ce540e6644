"""Small problem packages, submissions to them, and their grades, for the tests of the grader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jailkit.grading import Grade, Grader, Problem, Submission

__all__ = ["ECHO", "one", "small", "submit"]

ECHO = "print(input())\n"


def small(tmp_path: Path, validator: str = "", **more: str) -> Problem:
    """Return a problem: print the number that was read. No time limit of it is close, on any machine."""
    files = {
        "problem.yaml": "name: Echo\nlimits: {memory: 128, time_limit: 20, compilation_time: 30, code: 10}\n",
        "data/sample/1.in": "7\n", "data/sample/1.ans": "7\n", "data/secret/1.in": "8\n", "data/secret/1.ans": "8\n",
    }  # fmt: skip
    if validator:
        files["problem.yaml"] += "validation: custom\n"
        files["output_validators/check/run"] = validator
    for name, text in (files | more).items():
        path = tmp_path / "problem" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return Problem.load(tmp_path / "problem")


def submit(tmp_path: Path, text: str, name: str = "main.py") -> Submission:
    """Return a submission."""
    path = tmp_path / name
    path.write_text(text)
    return Submission(path)


def one(problem: Problem, submission: Submission, **options: Any) -> Grade:
    """Grade a submission."""
    with Grader(**options) as grader:
        return grader.grade(problem, submission)
