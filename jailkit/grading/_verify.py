"""`verify`: do the example submissions of a package get the verdicts that they are examples of?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs

from jailkit.grading._assignment import Assignment
from jailkit.grading._box import ability
from jailkit.grading._examples import matches
from jailkit.grading._grade import Grade, TestResult
from jailkit.grading._grader import Grader
from jailkit.grading._model import Example, Expectation, Problem, Verdict
from jailkit.grading._timing import slowest

__all__ = ["Verification", "Verified", "verify"]


_NO_INPUT_VALIDATOR = "no input validator: nothing says that the inputs are as the statement promises"


@attrs.frozen(kw_only=True)
class Verified:
    """One example submission.

    Attributes:
        name: Its path below ``submissions``.
        grade: What it got, every test judged.
        problems: How that differs from what the package says.
        warnings: What is no error, and worth a look: a time limit that is close.
        judged: False where its language is not installed.
    """

    name: str
    grade: Grade
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    judged: bool = True


@attrs.frozen(kw_only=True)
class Verification:
    """What `verify` has found.

    Attributes:
        problem: Title of the problem.
        time_limit: Seconds of processor time.
        examples: One for each example submission.
        data: What is wrong with the test data: inputs that an input validator rejects, and outputs and inputs that are
            there to be accepted or rejected, and are not.
        unchecked: Input validators that cannot be run here.
        warnings: What is no error, and worth a look.
    """

    problem: str
    time_limit: float
    examples: tuple[Verified, ...]
    data: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[Verified, ...]:
        """Examples whose language is not installed."""
        return tuple(each for each in self.examples if not each.judged)

    @property
    def ok(self) -> bool:
        """Whether each example was judged and got what it is an example of, and the test data are valid."""
        return bool(self.examples) and not self.missing and not self.unchecked and not self.wrong

    @property
    def wrong(self) -> bool:
        """Whether something is not as the package says; what could not be tried here is not wrong."""
        return bool(self.data) or any(each.problems for each in self.examples)


def verify(problem: Problem | Assignment, grader: Grader) -> Verification:
    """Grade the example submissions of a problem, all tests of each, and compare; try its validators on its data.

    Input validators run in jails, on every input. What is in ``data/invalid_input``, ``invalid_output`` and
    ``valid_output`` (2023-07-draft) has to be rejected or accepted.

    Args:
        problem: The problem.
        grader: Made with ``everything=True``: what is expected may be said of any test.

    Raises:
        ValueError: The grader would leave tests out.
        PackageError: The package gives no time limit, and no accepted submission that can be run here.
    """
    if not grader.everything:
        raise ValueError("verify() needs Grader(everything=True)")
    seconds = grader.time_limit(problem)
    grades = grader.grade_all(problem, [example.submission for example in problem.examples])
    found = tuple(_verified(problem, *pair, seconds) for pair in zip(problem.examples, grades, strict=True))
    if isinstance(problem, Assignment):
        return Verification(problem=problem.name, time_limit=seconds, examples=found)
    data = grader.check_data(problem)
    return Verification(
        problem=problem.name,
        time_limit=seconds,
        examples=found,
        data=data.problems,
        unchecked=data.unchecked,
        warnings=() if problem.input_validators else (_NO_INPUT_VALIDATOR,),
    )


def _verified(problem: Problem | Assignment, example: Example, grade: Grade, seconds: float) -> Verified:
    if grade.verdict is Verdict.JE and not grade.tests:
        missing = "is not installed" in grade.compiler
        wrong = () if missing else (f"judge error: {grade.compiler}",)
        return Verified(name=example.name, grade=grade, problems=wrong, judged=not missing)
    problems = [
        f"{test.name}: judge error: {test.message.splitlines()[0] if test.message else test.reason}"
        for test in grade.tests
        if test.verdict is Verdict.JE
    ]
    for expected in example.expected:
        problems += _differences(problem, example, expected, grade)
    warnings = tuple(_warnings(problem, example, grade, seconds))
    return Verified(name=example.name, grade=grade, problems=tuple(problems), warnings=warnings)


def _differences(problem: Problem | Assignment, example: Example, expected: Expectation, grade: Grade) -> Iterator[str]:
    tests = [test for test in grade.tests if not expected.tests or matches(expected.tests, test.name)]
    permitted, required = _here(expected.permitted), _here(expected.required)
    verdicts = [(test.name, test.verdict) for test in tests] or [("compiling", grade.verdict)]
    for name, verdict in verdicts:
        if verdict not in permitted and verdict is not Verdict.JE:
            yield f"{name}: {verdict}, permitted are {_words(permitted)}"
    if not any(verdict in required for _, verdict in verdicts):
        yield f"no test got {_words(required)}"
    if expected.message and not any(expected.message in test.message for test in tests):
        yield f"no message of the validator has {expected.message!r}"
    yield from _score(problem, example, expected, grade)


def _here(verdicts: frozenset[Verdict]) -> frozenset[Verdict]:
    """Without a control group for memory, a program that takes too much of it gets an error, and crashes."""
    return verdicts | {Verdict.RTE} if Verdict.MLE in verdicts and not ability().memory else verdicts


def _score(problem: Problem | Assignment, example: Example, expected: Expectation, grade: Grade) -> Iterator[str]:
    if expected.score is None:
        return
    least, most = expected.score
    found = next(
        (group.score for group in grade.groups if expected.tests and group.name == expected.tests), grade.score
    )
    if found is None or not least - 1e-9 <= found <= most + 1e-9:
        yield f"{found} points, expected {least:g} to {most:g}"
    if example.name.startswith("partially_accepted/") and math.isinf(least):
        if grade.verdict is not Verdict.AC:
            yield f"{grade.verdict}: a submission that is accepted in part has to be accepted"
        elif grade.score == grade.best and not problem.minimize:
            yield f"{grade.score:g} points: that is all there are"


def _warnings(problem: Problem | Assignment, example: Example, grade: Grade, seconds: float) -> Iterator[str]:
    limits = problem.limits
    if any(each.bounds == "lower" for each in example.expected):
        took = slowest(example, grade, "lower")
        if took * limits.ac_to_time_limit > seconds:
            yield f"{took:.2f} s: the time limit should be {limits.ac_to_time_limit:g} times that"
    if any(each.bounds == "upper" for each in example.expected) and (late := _late(grade.tests)):
        took = max(test.cpu for test in late)
        if took < seconds * limits.time_limit_to_tle:
            yield f"{took:.2f} s: close to the time limit, it should take {limits.time_limit_to_tle:g} times as long"


def _late(tests: tuple[TestResult, ...]) -> list[TestResult]:
    """Return the tests that took too long; none where one of them was ended for it: that took as long as it could."""
    found = [test for test in tests if test.verdict is Verdict.TLE]
    return [] if any(test.reason.startswith(("wall time", "cpu time")) for test in found) else found


def _words(verdicts: frozenset[Verdict]) -> str:
    return ", ".join(verdict for verdict in Verdict if verdict in verdicts)
