"""``jailkit grade`` and ``jailkit verify``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jailkit import SpecError, UnsupportedError
from jailkit._cli import output

__all__ = ["GRADING", "add_commands"]

EXIT_REJECTED = 1
EXIT_JUDGE_ERROR = 2

_REPORTS = {
    "json": "everything that is known, as JSON",
    "junit": "JUnit XML",
    "gradescope": "the results.json of Gradescope's autograder; for one submission",
    "html": "one page that needs no other file",
}


def _number(kind: Callable[[str], float]) -> Callable[[str], Any]:
    def read(text: str) -> float:
        number = kind(text)
        if not number > 0:
            raise ValueError(text)
        return number

    read.__name__ = kind.__name__
    return read


def add_commands(commands: Any) -> None:
    """Add both commands to the parser."""
    grade = commands.add_parser(
        "grade",
        help="judge submissions by a problem package",
        description="Judge submissions by a problem package or a Python assignment. "
        "Exit code 0: all were accepted, 1: some were not, 2: some could not be judged.",
        allow_abbrev=False,
    )
    verify = commands.add_parser(
        "verify",
        help="judge the example submissions of a problem package",
        description="Judge the example submissions of a problem package, and say which did not get the verdict that "
        "they are examples of. Exit code 0: all did, 1: some did not, or could not be judged.",
        allow_abbrev=False,
    )
    for parser in (grade, verify):
        parser.add_argument("problem", metavar="PROBLEM", type=Path, help="directory of the package, or its archive")
        parser.add_argument(
            "--workers", metavar="N", type=_number(int), help="programs at a time (default: one a core)"
        )
        parser.add_argument("--time-limit", metavar="SECONDS", type=_number(float), help="instead of the package's")
        parser.add_argument("--languages", metavar="FILE", type=Path, help="TOML file with further languages")
        for name, text in _REPORTS.items():
            if name != "gradescope" or parser is grade:
                parser.add_argument(f"--{name}", metavar="FILE", type=Path, help=f"write a report to FILE: {text}")
        parser.add_argument("--quiet", action="store_true", help="print no table")
    grade.add_argument(
        "submissions", metavar="SUBMISSION", nargs="+", type=Path, help="a file, or a directory of files"
    )
    grade.add_argument(
        "--everything", action="store_true", help="judge all tests, also after one that was not accepted"
    )
    grade.add_argument("--journal", metavar="FILE", type=Path, help="keep grades in FILE, and go on there when cut off")
    grade.add_argument("--rejudge", action="store_true", help="judge again what is in the journal")
    verify.add_argument(
        "--skip-missing",
        action="store_true",
        help="do not mind languages that are not installed, and input validators that cannot be run",
    )


def _grading(name: str = "jailkit.grading") -> Any:
    """Return a module of the grader, which other commands do not need.

    Raises:
        UnsupportedError: What it needs is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            "grading", f"the Python package {error.name} is not installed", "pip install 'jailkit[grading]'"
        ) from error


@contextlib.contextmanager
def _grader(options: argparse.Namespace, total: int, *, everything: bool) -> Iterator[tuple[Any, Any]]:
    grading, terminal = _grading(), _grading("jailkit.grading._terminal")
    with terminal.Live(total) as live:
        table = grading.Languages(options.languages)
        with grading.Grader(
            workers=options.workers,
            time_limit=options.time_limit,
            languages=table,
            everything=everything,
            progress=live,
        ) as grader:
            yield grader, live


def _grade(options: argparse.Namespace) -> int:
    grading = _grading()
    if options.gradescope and len(options.submissions) > 1:
        raise SpecError("--gradescope", len(options.submissions), "one submission")
    problem = grading.load(options.problem)
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(grading.Journal(options.journal)) if options.journal else None
        grader, live = stack.enter_context(_grader(options, len(options.submissions), everything=options.everything))
        submissions = [grading.Submission(path) for path in options.submissions]
        if journal and options.rejudge:
            for submission in submissions:
                journal.forget(problem, submission, grader.time_limit(problem))
        grades = grader.grade_all(problem, submissions, journal=journal, done=live.done)
    _write(options, grades)
    if not options.quiet:
        _grading("jailkit.grading._terminal").print_grades(grades)
    broken = [grade for grade in grades if grade.verdict is grading.Verdict.JE]
    for grade in broken if options.quiet else ():
        why = next((test.message for test in grade.tests if test.verdict is grading.Verdict.JE), grade.compiler)
        output.say(f"{grade.submission}: judge error: {why}")
    if broken:
        return EXIT_JUDGE_ERROR
    return 0 if all(grade.accepted for grade in grades) else EXIT_REJECTED


def _verify(options: argparse.Namespace) -> int:
    grading = _grading()
    problem = grading.load(options.problem)
    with _grader(options, len(problem.examples), everything=True) as (grader, _):
        found = grading.verify(problem, grader)
    _write(options, [each.grade for each in found.examples])
    if not options.quiet:
        _grading("jailkit.grading._terminal").print_verification(found)
    if options.skip_missing:
        return EXIT_REJECTED if found.wrong else 0
    return 0 if found.ok else EXIT_REJECTED


def _write(options: argparse.Namespace, grades: Sequence[Any]) -> None:
    reports = _grading("jailkit.grading")
    for name in _REPORTS:
        path = getattr(options, name, None)
        if path is not None:
            make = getattr(reports, f"to_{name}")
            text = make(grades[0]) if name == "gradescope" else make(grades)
            path.write_text(text, encoding="utf-8")


GRADING: dict[str, Callable[[argparse.Namespace], int]] = {"grade": _grade, "verify": _verify}
