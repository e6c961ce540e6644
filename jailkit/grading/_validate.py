"""Checking an output: the default comparison here, or a program of the package in a jail of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from jailkit import Bind, ExitReason, File, Jail, Limits, Result, Tmpfs
from jailkit.grading._box import bounded
from jailkit.grading._compare import Comparison, compare
from jailkit.grading._compile import Built
from jailkit.grading._grade import excerpt
from jailkit.grading._model import Problem, Test, Verdict

__all__ = [
    "ACCEPTED",
    "FEEDBACK",
    "NEXT_INPUT",
    "Checked",
    "agreed",
    "check",
    "checked",
    "named",
    "validator_jail",
    "validator_limits",
    "validator_words",
]

FEEDBACK = "/feedback/"
NEXT_INPUT = "/next/input"
"""Where the input lies in every pass but the first."""
ACCEPTED, _WRONG = 42, 43
_MOST_BYTES = 65_536


@attrs.frozen(kw_only=True)
class Checked:
    """What came of looking at an output.

    Attributes:
        verdict: AC, WA, or JE when the validator has failed.
        message: For the teacher.
        team_message: For the student.
        score: Points, or None where the validator gave none.
    """

    verdict: Verdict
    message: str = ""
    team_message: str = ""
    score: float | None = None


def check(problem: Problem, test: Test, output: bytes, validators: Sequence[Built]) -> Checked:
    """Judge what a submission has written: every validator has to accept it, and the first that does not is believed.

    Without a validator, it is compared with the answer.
    """
    if not validators:
        wrong = compare(output, test.answer.read_bytes(), test.comparison or Comparison())
        return Checked(verdict=Verdict.WA, message=wrong) if wrong else Checked(verdict=Verdict.AC)
    for validator in validators:
        if validator.verdict is not None:
            return Checked(verdict=Verdict.JE, message=f"the output validator does not compile: {validator.said}")
    found: list[Checked] = []
    for validator in validators:
        with validator_jail(problem, test, validator) as jail:
            result = jail.run(validator_words(test, validator), input=output)
            found.append(checked(problem, test, result, jail))
        if found[-1].verdict is not Verdict.AC:
            return found[-1]
    return agreed(found)


def agreed(found: Sequence[Checked]) -> Checked:
    """Return what validators say together who have all accepted. The format does not say whose points count."""
    if len(found) == 1:
        return found[0]
    points = sorted({each.score for each in found if each.score is not None})
    if len(points) > 1:
        words = " and ".join(f"{each:g}" for each in points)
        return Checked(verdict=Verdict.JE, message=f"the output validators give different points: {words}")
    return Checked(
        verdict=Verdict.AC,
        message="\n".join(each.message.strip() for each in found if each.message),
        team_message="\n".join(each.team_message.strip() for each in found if each.team_message),
        score=points[0] if points else None,
    )


def validator_jail(problem: Problem, test: Test, validator: Built) -> Jail:
    """Return the jail of a validator: its program, the input, the answer, and a directory for what it has to say.

    The submission's files are not in it, and the submission is in another jail.
    """
    files: list[File | Bind | Tmpfs] = [
        File("/judge/input", test.input.read_bytes()),
        File("/judge/answer", test.answer.read_bytes()),
        Bind(str(validator.path), "/validator"),
        *validator.mounts,
        Tmpfs(FEEDBACK),
    ]
    if problem.limits.passes > 1:
        files.append(Tmpfs(NEXT_INPUT.rsplit("/", 1)[0]))
    return Jail(limits=validator_limits(problem, validator), mounts=files, cwd="/validator", env=validator.env)


def validator_limits(problem: Problem, program: Built) -> Limits:
    """Return the limits of a program of the package, such as a validator."""
    limits = problem.limits
    return bounded(
        memory=limits.validation_memory,
        cpu_seconds=limits.validation_time,
        wall_seconds=2 * limits.validation_time + 5,
        output=limits.validation_output,
        address_space=program.address_space,
    )


def validator_words(test: Test, validator: Built, *, again: bool = False) -> list[str]:
    """Return the command line of a validator; `again` for every pass but the first."""
    given = NEXT_INPUT if again else "/judge/input"
    args = (*test.validator_args, *named(test.named_args, validator.name))
    return [*validator.argv, given, "/judge/answer", FEEDBACK, *args]


def named(args: Sequence[tuple[str, tuple[str, ...]]], name: str) -> tuple[str, ...]:
    """Return the arguments of the program of a name, with or without its suffix; else those without a name."""
    found = dict(args)
    return found.get(name, found.get(name.split(".", maxsplit=1)[0], found.get("", ())))


def checked(
    problem: Problem, test: Test, result: Result[bytes], jail: Jail, who: str = "the output validator"
) -> Checked:
    """Read what a validator said by its exit code and by its files."""
    message, team = _read(jail, "judgemessage.txt"), _read(jail, "teammessage.txt")
    own_end = result.reason is ExitReason.EXITED
    if not own_end or result.returncode not in (ACCEPTED, _WRONG):
        said = excerpt(result.stderr)
        words = f"{who} failed: {result}. It has to end with exit code 42 or 43.\n{said}"
        return Checked(verdict=Verdict.JE, message=f"{words}\n{message or ''}".strip())
    verdict = Verdict.AC if result.returncode == ACCEPTED else Verdict.WA
    try:
        score = _score(problem, test, verdict, _read(jail, "score.txt"), _read(jail, "score_multiplier.txt"))
    except ValueError as error:
        return Checked(verdict=Verdict.JE, message=f"{who}: {error}")
    return Checked(verdict=verdict, message=message or "", team_message=team or "", score=score)


def _read(jail: Jail, name: str) -> str | None:
    try:
        return excerpt(jail.get(FEEDBACK + name, max_bytes=_MOST_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"({name}: {error.strerror})"


def _score(problem: Problem, test: Test, verdict: Verdict, score: str | None, part: str | None) -> float | None:
    """Return the points that a validator gives.

    Raises:
        ValueError: It gives points where it must not, or none where it must, or no number.
    """
    if not problem.scoring:
        return None
    legacy = problem.version.startswith("legacy")
    if not legacy and (score, part) != (None, None) and (verdict is not Verdict.AC or test.best is None):
        raise ValueError("points for a test that is not accepted, or of a group that is all or nothing")
    if score is not None and part is not None:
        raise ValueError("score.txt and score_multiplier.txt exclude each other")
    if part is not None and not legacy:
        if test.best is None or math.isinf(test.best):
            raise ValueError("score_multiplier.txt for a test without a highest score")
        return _points("score_multiplier.txt", part, 1.0) * test.best
    if score is not None:
        return _points("score.txt", score, math.inf)
    if not legacy and verdict is Verdict.AC and test.best is not None and math.isinf(test.best):
        raise ValueError("no score.txt for a test without a highest score")
    return None


def _points(name: str, text: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= most or math.isinf(number):
        raise ValueError(f"{name} holds no number that is allowed: {text[:60]!r}")
    return number
