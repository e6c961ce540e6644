"""The grader of a package (legacy): a program that makes the result of a group from those of its tests."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

import jailkit
from jailkit import Bind, ExitReason, JailkitError
from jailkit.grading._compile import Built
from jailkit.grading._grade import excerpt
from jailkit.grading._model import Problem, Rules, Verdict
from jailkit.grading._scores import Outcome, bounded_score, combine
from jailkit.grading._validate import validator_limits

__all__ = ["OwnGrader"]

#: The format has four verdicts; what it does not name has crashed, in its words.
_CODES = {Verdict.AC: "AC", Verdict.WA: "WA", Verdict.TLE: "TLE"}
_VERDICTS = {"AC": Verdict.AC, "WA": Verdict.WA, "TLE": Verdict.TLE, "RTE": Verdict.RTE}


@attrs.frozen
class OwnGrader:
    """Makes the results of groups, by the package's program where the group asks for it.

    Attributes:
        problem: The problem.
        built: The program, compiled; None where there is none.
    """

    problem: Problem
    built: Built | None

    def __call__(self, rules: Rules, outcomes: Sequence[Outcome]) -> Outcome:
        """Return the result of a group. A grader that fails is a judge error, and no exception."""
        if not rules.custom or self.built is None:
            return combine(rules, outcomes)
        if Verdict.JE in [outcome.verdict for outcome in outcomes]:
            return Outcome(Verdict.JE)  # the program could only make something else of it
        if self.built.verdict is not None:
            return _failed(f"does not compile: {self.built.said}")
        try:
            return self._ask(self.built, rules, outcomes)
        except (JailkitError, OSError) as error:
            return _failed(str(error))

    def _ask(self, built: Built, rules: Rules, outcomes: Sequence[Outcome]) -> Outcome:
        lines = "".join(f"{_CODES.get(each.verdict, 'RTE')} {each.score!r}\n" for each in outcomes)
        result = jailkit.run(
            [*built.argv, *rules.flags],
            mounts=[Bind(str(built.path), "/grader"), *built.mounts],
            cwd="/grader",
            env=built.env,
            limits=validator_limits(self.problem, built),
            input=lines.encode(),
        )
        if result.reason is not ExitReason.EXITED or result.returncode:
            return _failed(f"{result}\n{excerpt(result.stderr)}")
        words = result.stdout.decode(errors="replace").split()
        score = _number(words[1]) if len(words) == 2 else math.nan
        if math.isnan(score) or words[0] not in _VERDICTS:
            return _failed(f"it has to print a verdict and a score, and printed {excerpt(result.stdout, 100)!r}")
        verdict = _VERDICTS[words[0]]
        if not rules.scoring or verdict is not Verdict.AC:
            return Outcome(verdict)
        return bounded_score(rules, verdict, score)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _failed(why: str) -> Outcome:
    return Outcome(Verdict.JE, message=f"the grader of the package failed: {why}".strip())
