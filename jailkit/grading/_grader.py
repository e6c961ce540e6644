"""`Grader`: from a problem and a submission to a `Grade`."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import attrs

from jailkit.grading._aggregate import OwnGrader
from jailkit.grading._ahead import Ahead
from jailkit.grading._answers import read_answers
from jailkit.grading._assignment import Assignment
from jailkit.grading._box import ability
from jailkit.grading._closing import Closing
from jailkit.grading._compile import Built, build_program, build_submission
from jailkit.grading._cores import Cores, physical
from jailkit.grading._coursework import grade_assignment
from jailkit.grading._errors import PackageError
from jailkit.grading._grade import Grade, GroupResult, TestResult
from jailkit.grading._inputs import Findings, check_data
from jailkit.grading._journal import Journal
from jailkit.grading._judge import Judge
from jailkit.grading._languages import Languages
from jailkit.grading._model import Group, Problem, Submission, Test, Verdict
from jailkit.grading._run import Allowance, Runner
from jailkit.grading._scores import Outcome, combine, judge_tree
from jailkit.grading._sources import SourceError
from jailkit.grading._timing import bounding, slowest, time_limit_from

__all__ = ["Grader"]

_CALIBRATION_SECONDS = 30.0
"""What an accepted submission may take while the time limit is being found."""


@final
class Grader(Closing):
    """Grades submissions, each in jails of its own, on all processors that this process may use.

    Each test runs in a fresh jail: no test can leave a word for the next. A program that is measured has a processor
    for itself. Verdicts and scores do not depend on the number of workers.

    Args:
        workers: How many programs are measured at a time. Default: one for each core (of a core with two hardware
            threads one). With fewer, the jail of the next test is built on a core that is left over, as long as nothing
            else keeps that one busy: a short test then costs little more than its program.
        time_limit: Seconds of processor time, over what the package says. Default: the package's, or found by running
            its accepted submissions, once for each problem.
        languages: A table of languages. Default: the built-in one.
        everything: Judge all tests, also after one that was not accepted and ends the judging.
        progress: Called after each test, from any thread, with the names of submission and test, and how many of its
            tests are judged, of how many.

    Does not protect from a validator of the package that accepts everything; `verify` is there to find that.

    Use it in a ``with`` statement, or call `close`: it has a temporary directory for what it compiles.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        time_limit: float | None = None,
        languages: Languages | None = None,
        everything: bool = False,
        progress: Callable[[str, str, int, int], object] | None = None,
    ) -> None:
        self.cores = Cores() if workers is None else _spread(physical(), workers)
        self.languages = languages or Languages()
        self.everything = everything
        self._time_limit = time_limit
        self._progress = progress
        self._lock = threading.RLock()
        self._limits: dict[Problem, float] = {}
        self._programs: dict[tuple[Problem, Path], Built] = {}
        self._home = tempfile.TemporaryDirectory(prefix="jailkit-grading-")

    def close(self) -> None:
        """Remove what was compiled."""
        self._home.cleanup()

    # --- one submission -----------------------------------------------------------------------------------------

    def grade(self, problem: Problem | Assignment, submission: Submission | str | os.PathLike[str]) -> Grade:
        """Grade a submission; return when it is done.

        Raises:
            PackageError: The package gives no time limit, and no accepted submission that can be run here.
            JailkitError: This host can make no jail.
        """
        return self._grade(problem, _submission(submission), self.time_limit(problem), len(self.cores.cpus))

    async def grade_async(
        self, problem: Problem | Assignment, submission: Submission | str | os.PathLike[str]
    ) -> Grade:
        """Do the same without keeping the event loop waiting. A cancelled task leaves it to its end."""
        return await asyncio.to_thread(self.grade, problem, submission)

    def grade_all(
        self,
        problem: Problem | Assignment,
        submissions: Sequence[Submission | str | os.PathLike[str]],
        *,
        journal: Journal | None = None,
        done: Callable[[Grade], object] | None = None,
    ) -> tuple[Grade, ...]:
        """Grade submissions side by side; return the grades in the order of the submissions.

        Args:
            problem: The problem.
            submissions: What was handed in.
            journal: Where grades are kept as soon as they are known. What is in it already is not graded again, so
                that a run which was cut off goes on where it was.
            done: Called with each grade, from any thread.
        """
        found = [_submission(each) for each in submissions]
        seconds = self.time_limit(problem)
        ahead = max(1, math.ceil(len(self.cores.cpus) / max(1, len(found))))

        def one(submission: Submission) -> Grade:
            grade = journal.find(problem, submission, seconds) if journal else None
            if grade is None:
                grade = self._grade(problem, submission, seconds, ahead)
                if journal and grade.verdict is not Verdict.JE:
                    journal.keep(problem, submission, seconds, grade)
            if done:
                done(grade)
            return grade

        with ThreadPoolExecutor(len(self.cores.cpus), thread_name_prefix="jailkit-grader") as pool:
            return tuple(pool.map(one, found))

    def _grade(self, problem: Problem | Assignment, submission: Submission, seconds: float, ahead: int) -> Grade:
        if isinstance(problem, Assignment):
            with self._scratch() as scratch:
                return grade_assignment(problem, submission, self.cores, scratch, seconds)
        limits = problem.limits
        common: dict[str, Any] = {
            "problem": problem.name,
            "submission": submission.name,
            "time_limit": seconds,
            "memory_limit": limits.memory,
            "notes": ability().notes,
        }
        if problem.answers_only:
            return self._grade_answers(problem, submission, ahead, common)
        with self._scratch() as scratch:
            built = build_submission(
                problem, submission.path, scratch / "artefact", self.languages, code=submission.language,
                entry=submission.entry,
            )  # fmt: skip
            common["language"] = built.language.code if built.language else ""
            common["compiler"] = built.said
            if built.verdict is not None:
                return _without_tests(problem, built.verdict, common)
            allowance = Allowance(
                soft=seconds, hard=seconds * limits.time_limit_to_tle, memory=limits.memory, output=limits.output
            )
            runner = Runner(built, allowance, self.cores, writes=problem.writes)
            judge = Judge(
                problem, runner, self.validators(problem), scratch, self._own_program(problem, problem.static_validator)
            )
            return self._tests(problem, submission, judge, ahead, common)

    def _grade_answers(self, problem: Problem, submission: Submission, ahead: int, common: dict[str, Any]) -> Grade:
        """Grade a submission that is no program."""
        try:
            judge = read_answers(problem, submission, self.validators(problem))
        except OSError as error:
            common["compiler"] = f"cannot be read: {error}"
            return _without_tests(problem, Verdict.JE, common)
        except SourceError as error:
            common["compiler"] = str(error)
            return _without_tests(problem, Verdict.CE, common)
        return self._tests(problem, submission, judge, ahead, common)

    def _tests(
        self,
        problem: Problem,
        submission: Submission,
        judge: Callable[[Test], TestResult],
        ahead: int,
        common: dict[str, Any],
    ) -> Grade:
        found: list[TestResult] = []
        own = OwnGrader(problem, self._own_program(problem, problem.grader))
        count = len(problem.tests)
        # While a program is measured, the next one's jail is built on a core that is left over.
        with Ahead(judge, problem.tests, ahead + min(ahead, len(self.cores.spare))) as results:

            def take(test: Test) -> Outcome:
                result = results.take(test)
                found.append(result)
                if self._progress:
                    self._progress(submission.name, test.name, len(found), count)
                return Outcome(result.verdict, result.score or 0.0, result.name)

            first = combine if self.everything else own
            outcome, seen = judge_tree(problem.root, take, everything=self.everything, grade=first)
        if self.everything:
            # What is judged beyond the rules of the package must not change what they lead to.
            outcome, seen = judge_tree(problem.root, lambda test: seen[test.name], grade=own)
        return Grade(
            verdict=outcome.verdict,
            score=_total(problem, outcome),
            best=_best(problem.root),
            tests=tuple(found),
            groups=tuple(_groups(problem.root, seen)),
            **common,
        )

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._home.name) as folder:
            yield Path(folder)

    # --- what a problem needs, once -----------------------------------------------------------------------------

    def validators(self, problem: Problem) -> tuple[Built, ...]:
        """Return the output validators, compiled; none for the default one."""
        return tuple(self._program(problem, path) for path in problem.validators)

    def _own_program(self, problem: Problem, path: Path | None) -> Built | None:
        return None if path is None else self._program(problem, path)

    def _program(self, problem: Problem, path: Path) -> Built:
        with self._lock:
            if (problem, path) not in self._programs:
                into = Path(self._home.name, f"program-{len(self._programs)}")
                built = build_program(problem, path, into, self.languages)
                self._programs[problem, path] = attrs.evolve(built, name=path.name)
            return self._programs[problem, path]

    def check_data(self, problem: Problem) -> Findings:
        """Try the validators of a package on its own data; see `verify`."""
        with self._scratch() as scratch:
            return check_data(problem, scratch, self.languages, self.cores, self.validators(problem))

    def time_limit(self, problem: Problem | Assignment) -> float:
        """Return the time limit in seconds: given, the package's, or found by running its accepted submissions.

        It is 0, and means nothing, where submissions are no programs.

        Raises:
            PackageError: There is none, and no accepted submission that can be run here.
        """
        given = self._time_limit or problem.limits.time
        if given is not None or isinstance(problem, Assignment):
            return given or 2.0
        if problem.answers_only:
            return 0.0
        with self._lock:
            if problem not in self._limits:
                self._limits[problem] = self._found(problem)
            return self._limits[problem]

    def _found(self, problem: Problem) -> float:
        seconds = []
        for example in bounding(problem, "lower"):
            grade = self._grade(problem, example.submission, _CALIBRATION_SECONDS, len(self.cores.cpus))
            if grade.tests and Verdict.JE not in [test.verdict for test in grade.tests]:
                seconds.append(slowest(example, grade, "lower"))
        if not seconds:
            raise PackageError(problem.path, None, "no time limit, and no accepted submission that can be run here")
        return time_limit_from(problem, seconds)


def _spread(cpus: tuple[int, ...], workers: int) -> Cores:
    """Return as many processors as there are workers; more workers than cores share them, fewer leave some spare."""
    if workers < 1:
        raise ValueError(f"{workers} workers cannot grade anything")
    return Cores(tuple(cpus[number % len(cpus)] for number in range(workers)), spare=cpus[workers:])


def _submission(given: Submission | str | os.PathLike[str]) -> Submission:
    return given if isinstance(given, Submission) else Submission(Path(given))


def _without_tests(problem: Problem, verdict: Verdict, common: dict[str, Any]) -> Grade:
    return Grade(verdict=verdict, score=0.0 if problem.scoring else None, best=_best(problem.root), **common)


def _best(root: Group) -> float | None:
    secret = next((each for each in root.children if each.name == "secret"), root)
    best = secret.rules.best if isinstance(secret, Group) and root.rules.scoring else math.inf
    return None if math.isinf(best) else best


def _total(problem: Problem, outcome: Outcome) -> float | None:
    if not problem.scoring:
        return None
    # In the legacy format the score is of those who are accepted; in the draft everybody has one.
    return 0.0 if problem.version.startswith("legacy") and outcome.verdict is not Verdict.AC else outcome.score


def _groups(group: Group, seen: dict[str, Outcome]) -> Iterator[GroupResult]:
    for child in group.children:
        if isinstance(child, Group):
            yield from _groups(child, seen)
    if group.name in seen:
        outcome, rules = seen[group.name], group.rules
        best = None if math.isinf(rules.best) or not rules.scoring else rules.best
        yield GroupResult(
            name=group.name,
            verdict=outcome.verdict,
            score=outcome.score if rules.scoring else None,
            best=best,
            message=outcome.message,
        )
