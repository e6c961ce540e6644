"""What grading costs beside running the same programs without jails, and how steady its figures are."""

from __future__ import annotations

import importlib
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import CaseError

TESTS = 200
#: What a jail finds as python3; elsewhere there may be another one first in PATH.
PYTHON = "/usr/bin/python3"
#: Computes for about a tenth of a second, as a test of a contest does; and a program that does next to nothing.
PROGRAMS = {
    "computing": "n = int(input())\nt = 0\nfor i in range(1_200_000):\n    t += i * n\nprint(t)\n",
    "short": "print(int(input()) * 2)\n",
}


def measure(tests: int = TESTS, repeats: int = 20) -> dict[str, Any]:
    """Returns overheads (ratios), the spread of processor time (a share), and submissions per minute by workers.

    Raises:
        CaseError: The grader cannot be imported.
    """
    try:
        grading = importlib.import_module("jailkit.grading")
    except ImportError as error:
        raise CaseError(f"cannot be imported: {error}") from error
    home = Path(tempfile.mkdtemp(prefix="jailkit-bench-"))
    try:
        found: dict[str, Any] = {}
        for name, source in PROGRAMS.items():
            found[f"overhead_{name}"] = _overhead(
                grading, home / name, source, tests if name == "short" else tests // 4
            )
        found["spread"] = _spread(grading, home / "computing", repeats)
        found["per_minute"] = _per_minute(grading, home / "short")
    finally:
        shutil.rmtree(home)
    return found


def _package(home: Path, source: str, tests: int) -> Path:
    (home / "data" / "secret").mkdir(parents=True)
    (home / "problem.yaml").write_text("name: Bench\nlimits: {time_limit: 10, memory: 256}\n")
    program = home / "main.py"
    program.write_text(source)
    given = "5\n"  # the same for all: what differs is then not their work
    answer = _plain(program, given)
    for number in range(tests):
        (home / "data" / "secret" / f"{number:03}.in").write_text(given)
        (home / "data" / "secret" / f"{number:03}.ans").write_bytes(answer)
    return program


def _plain(program: Path, given: str) -> bytes:
    return subprocess.run([PYTHON, program], input=given.encode(), capture_output=True, check=True).stdout


def _overhead(grading: Any, home: Path, source: str, tests: int) -> float:
    """The same commands with the same inputs and the same comparison, one after the other, in turn with a grader."""
    program = _package(home, source, tests)
    problem = grading.Problem.load(home)
    ratios = []
    with grading.Grader(workers=1) as grader:
        grader.grade(problem, program)
        for _ in range(3):
            jailed = _seconds(lambda: grader.grade(problem, program))
            plain = _seconds(
                lambda: [_plain(program, test.input.read_text()) == test.answer.read_bytes() for test in problem.tests]
            )
            ratios.append(jailed / plain)
    return statistics.median(ratios)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _spread(grading: Any, home: Path, repeats: int) -> float:
    """Standard deviation over mean of the processor time of one test, with all workers busy."""
    problem = grading.Problem.load(home)
    with grading.Grader() as grader:
        many = [home / "main.py"] * max(2, repeats // 10)
        grades = grader.grade_all(problem, many)
    times = [test.cpu for grade in grades for test in grade.tests][:repeats]
    return float(statistics.stdev(times) / statistics.mean(times))


def _per_minute(grading: Any, home: Path) -> dict[str, float]:
    problem = grading.Problem.load(home)
    found = {}
    for workers in range(1, len(grading.Grader().cores.cpus) + 1):
        with grading.Grader(workers=workers) as grader:
            many = [home / "main.py"] * (2 * workers)
            seconds = _seconds(lambda some=many, judge=grader: judge.grade_all(problem, some))  # type: ignore[misc]
        found[str(workers)] = 60 * len(many) / seconds
    return found


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
