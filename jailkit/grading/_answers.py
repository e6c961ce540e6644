"""Submit-answer problems: what is handed in are the outputs for the tests, and no program."""

from __future__ import annotations

from collections import Counter

import attrs

from jailkit import JailkitError
from jailkit.grading._compile import Built
from jailkit.grading._grade import TestResult, beginning, excerpt
from jailkit.grading._model import Problem, Submission, Test, Verdict
from jailkit.grading._run import result_of
from jailkit.grading._sources import SourceError, Sources, read_sources
from jailkit.grading._validate import Checked, check

__all__ = ["Answers", "read_answers"]

_SUFFIXES = (".out", ".ans")


@attrs.frozen
class Answers:
    """Judges answers that were handed in; may be called from any thread.

    Attributes:
        problem: The problem.
        found: The answers, by the names of tests.
        validators: The output validators, compiled; none for the default one.
    """

    problem: Problem
    found: dict[str, bytes] = attrs.field(repr=False)
    validators: tuple[Built, ...]

    def __call__(self, test: Test) -> TestResult:
        """Judge the answer to a test. What goes wrong here is a judge error and no exception."""
        answer = self.found.get(test.name)
        try:
            checked = self._check(test, answer)
        except (JailkitError, OSError) as error:
            checked = Checked(verdict=Verdict.JE, message=str(error))
        return result_of(
            self.problem,
            test,
            checked,
            input=beginning(test.input),
            expected=beginning(test.answer),
            got=excerpt(answer or b""),
        )

    def _check(self, test: Test, answer: bytes | None) -> Checked:
        if answer is None:
            return Checked(verdict=Verdict.WA, message="no answer to this test was handed in")
        if len(answer) > self.problem.limits.output:
            return Checked(verdict=Verdict.OLE, message=f"{len(answer)} bytes")
        return check(self.problem, test, answer, self.validators)


def read_answers(problem: Problem, submission: Submission, validators: tuple[Built, ...]) -> Answers:
    """Read what was handed in: a directory of files ``NAME.out`` or ``NAME.ans``, or one such file.

    ``NAME`` is the path of the test below ``data``, or its last part where no other test has the same. A single file
    for a problem of one test may have any name.

    Raises:
        SourceError: A file belongs to no test, or two to the same one.
        OSError: A file cannot be read.
    """
    tests = problem.tests
    sources = read_sources(submission.path, most_bytes=len(tests) * problem.limits.output + 1)
    names = _names(tests)
    if len(tests) == 1 and not submission.path.is_dir():
        return Answers(problem, {tests[0].name: sources.files[0][1]}, validators)
    return Answers(problem, _sorted_out(sources, names), validators)


def _names(tests: tuple[Test, ...]) -> dict[str, str]:
    """Return which test is meant by which name of a file, without suffix."""
    counts = Counter(test.name.rsplit("/", 1)[-1] for test in tests)
    short = {test.name.rsplit("/", 1)[-1]: test.name for test in tests}
    return {name: test for name, test in short.items() if counts[name] == 1} | {test.name: test.name for test in tests}


def _sorted_out(sources: Sources, names: dict[str, str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, data in sources.files:
        base, suffix = name[:-4], name[-4:]
        if suffix not in _SUFFIXES or base not in names:
            raise SourceError(f"{name}: belongs to no test; an answer is a file TEST.out")
        if names[base] in found:
            raise SourceError(f"{name}: there is another answer to this test")
        found[names[base]] = data
    return found
