"""The results of groups, from those of their tests."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from jailkit.grading import Grade, TestResult, Verdict
from jailkit.grading._model import Example, Expectation, Group, Problem, ProblemLimits, Rules, Submission, Test
from jailkit.grading._scores import Outcome, combine, judge_tree
from jailkit.grading._timing import slowest, time_limit_from
from jailkit.grading._verify import _differences

AC, WA, TLE, RTE, JE = (Verdict[name] for name in "AC WA TLE RTE JE".split())


def rules(**values: Any) -> Rules:
    """Return rules of a scoring problem."""
    return Rules(scoring=True, **values)


@pytest.mark.parametrize(
    ("how", "outcomes", "verdict", "score"),
    [
        ({}, [(AC, 1), (AC, 2)], AC, 3),
        ({}, [(AC, 1), (WA, 0), (RTE, 0), (TLE, 0)], RTE, 1),
        ({"verdicts": "first_error"}, [(AC, 1), (WA, 0), (RTE, 0)], WA, 1),
        ({"verdicts": "always_accept", "aggregation": "avg"}, [(AC, 1), (WA, 0)], AC, 0.5),
        ({"accept_if_any": True, "aggregation": "max"}, [(WA, 0), (AC, 7)], AC, 7),
        ({"accept_if_any": True}, [(WA, 0), (TLE, 0)], TLE, 0),
        ({"aggregation": "min"}, [(AC, 3), (AC, 2)], AC, 2),
        ({"ignore_sample": True}, [(WA, 9), (AC, 5)], AC, 5),
        ({"aggregation": "pass-fail", "best": 40}, [(AC, 0), (AC, 0)], AC, 40),
        ({"aggregation": "pass-fail", "best": 40}, [(AC, 0), (WA, 0)], WA, 0),
        ({"verdicts": "always_accept"}, [(AC, 1), (JE, 0)], JE, 1),
        ({}, [], AC, 0),
    ],
)
def test_combine(how: dict[str, Any], outcomes: list[tuple[Verdict, float]], verdict: Verdict, score: float) -> None:
    """The default grader's modes and flags; a judge error is never turned into anything else."""
    found = combine(rules(**how), [Outcome(*each) for each in outcomes])
    assert (found.verdict, found.score) == (verdict, score)


def tree(**groups: Rules) -> Group:
    """Return a tree with a group for each argument, of two tests each."""
    children = tuple(
        Group(
            name=name, rules=each, children=tuple(Test(name=f"{name}/{n}", input=Path(), answer=Path()) for n in "12")
        )
        for name, each in groups.items()
    )
    return Group(name="", rules=Rules(stop=False), children=children)


def judged(root: Group, wrong: set[str], *, everything: bool = False) -> tuple[list[str], dict[str, Outcome]]:
    """Judge, and return what was judged, in order, and all results."""
    order: list[str] = []

    def judge(test: Test) -> Outcome:
        order.append(test.name)
        return Outcome(WA if test.name in wrong else AC)

    _, seen = judge_tree(root, judge, everything=everything)
    return order, seen


def test_judging_stops_where_the_rules_say() -> None:
    """After a test that is not accepted the rest of its group is left out, unless everything was asked for."""
    root = tree(a=Rules(), b=Rules(stop=False))
    assert judged(root, {"a/1", "b/1"})[0] == ["a/1", "b/1", "b/2"]
    assert judged(root, {"a/1"}, everything=True)[0] == ["a/1", "a/2", "b/1", "b/2"]


def test_a_group_that_needs_another_one() -> None:
    """It is not judged, and has no points, when what it needs was not accepted."""
    root = tree(a=Rules(), b=rules(require_pass=("a",), best=70, aggregation="pass-fail"))
    order, seen = judged(root, {"a/2"})
    assert (order, seen["b"].score) == (["a/1", "a/2"], 0)
    order, seen = judged(root, set())
    assert (order[-1], seen["b"].score) == ("b/2", 70)
    assert judged(root, {"a/2"}, everything=True)[1]["b"].score == 0


def test_points_that_cannot_be() -> None:
    """More points than a group has, or fewer than it says an accepted one gets, are a judge error and not a score."""
    most = rules(best=10, least=2)
    for points, verdict in ((12, JE), (10, AC), (1, JE), (2, AC)):
        assert combine(most, [Outcome(AC, points)]).verdict is verdict
    assert combine(most, [Outcome(WA, 0)]).verdict is WA
    assert combine(most, [Outcome(AC, 12)]).message == "12 points, and the package says 2 to 10"


def problem(**limits: float) -> Problem:
    """Return a problem that has limits."""
    numbers: Any = limits
    return Problem(
        path=Path(), name="X", version="legacy", scoring=False, interactive=False,
        limits=ProblemLimits(**numbers), root=tree(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "took", "seconds"),
    [
        ({"ac_to_time_limit": 5}, 0.01, 1), ({"ac_to_time_limit": 5}, 0.21, 2), ({"ac_to_time_limit": 5}, 0.2, 1),
        ({"ac_to_time_limit": 2, "resolution": 0.1}, 0.15, 0.3), ({"ac_to_time_limit": 2, "resolution": 0.5}, 0.26, 1),
    ],
)  # fmt: skip
def test_the_time_limit(limits: dict[str, float], took: float, seconds: float) -> None:
    """It is the next multiple of the resolution above the slowest accepted submission times the multiplier."""
    assert time_limit_from(problem(**limits), [0.001, took]) == pytest.approx(seconds)


def grade(*verdicts: tuple[str, Verdict], **values: Any) -> Grade:
    """Return a grade with tests."""
    tests = tuple(TestResult(name=name, verdict=verdict, cpu=number) for number, (name, verdict) in enumerate(verdicts))
    return Grade(problem="X", submission="x", verdict=WA, tests=tests, **values)


def differences(expected: Expectation, found: Grade) -> list[str]:
    """Return what verify says."""
    example = Example(submission=Submission(Path("x")), expected=(expected,))
    return list(_differences(problem(), example, expected, found))


def test_what_verify_complains_of() -> None:
    """A verdict that is not permitted, one that is required and missing, points, a message."""
    found = grade(("secret/1", AC), ("secret/2", TLE), score=5.0)
    assert differences(Expectation(), found) == []
    assert differences(Expectation(permitted=frozenset({AC, WA})), found) == ["secret/2: TLE, permitted are AC, WA"]
    assert differences(Expectation(required=frozenset({WA})), found) == ["no test got WA"]
    assert differences(Expectation(tests="secret/1", permitted=frozenset({AC})), found) == []
    assert differences(Expectation(score=(6, math.inf)), found) == ["5.0 points, expected 6 to inf"]
    assert differences(Expectation(message="no"), found) == ["no message of the validator has 'no'"]


def test_the_slowest_test_that_counts() -> None:
    """What bounds the time limit may be said of some tests only."""
    found = grade(("secret/1", AC), ("secret/2", AC), ("secret/3", AC))
    some = Expectation(tests="secret/2", bounds="lower")
    assert slowest(Example(submission=Submission(Path("x")), expected=(some,)), found, "lower") == 1
