"""Judging one submission on one test: run it, look at what it wrote, say so in a `TestResult`."""

from __future__ import annotations

from pathlib import Path

import attrs

from jailkit import CommandNotExecutable, CommandNotFound, JailkitError, Result
from jailkit.grading._compile import Built
from jailkit.grading._errors import PackageError
from jailkit.grading._grade import TestResult, beginning, excerpt
from jailkit.grading._interact import talk_on
from jailkit.grading._model import Problem, Test, Verdict
from jailkit.grading._passes import passes_on
from jailkit.grading._run import Run, Runner, result_of, score_of
from jailkit.grading._static import check_source
from jailkit.grading._validate import Checked, check

__all__ = ["Judge"]


@attrs.frozen
class Judge:
    """Judges the tests of one submission; may be called from any thread.

    Attributes:
        problem: The problem.
        runner: Runs the submission.
        validators: The output validators, compiled; none for the default one.
        scratch: A directory for files of tests.
        static: The static validator, compiled, or None.
    """

    problem: Problem
    runner: Runner
    validators: tuple[Built, ...]
    scratch: Path
    static: Built | None = None

    def __call__(self, test: Test) -> TestResult:
        """Judge a test. What goes wrong here is a judge error and no exception: the other tests go on."""
        try:
            if test.static:
                return self._looked(test)
            run = self._run(test)
            return self._result(test, run, self._check(test, run))
        except (CommandNotFound, CommandNotExecutable) as error:
            own = self.runner.built.argv[0].startswith("./")
            return self._failed(test, Verdict.RTE if own else Verdict.JE, error)
        except (JailkitError, OSError) as error:
            return self._failed(test, Verdict.JE, error)

    def _run(self, test: Test) -> Run:
        if not self.problem.interactive and self.problem.limits.passes == 1:
            return self.runner.on(self.problem, test, self.scratch)
        broken = [each.said for each in self.validators if each.verdict is not None]
        if broken or not self.validators:
            said = broken[0] if broken else "there is none"
            raise PackageError(self.problem.path, None, f"the output validator does not compile: {said}")
        judged_meanwhile = talk_on if self.problem.limits.passes == 1 else passes_on
        return judged_meanwhile(self.runner, self.problem, test, self.validators, self.scratch)

    def _check(self, test: Test, run: Run) -> Checked:
        if run.verdict is not None:
            said = run.checked or Checked(verdict=run.verdict)
            return attrs.evolve(said, verdict=run.verdict)
        return check(self.problem, test, run.result.stdout, self.validators)

    def _looked(self, test: Test) -> TestResult:
        checked = check_source(self.problem, test, self.runner.built, self.static, self.scratch)
        return result_of(self.problem, test, checked)

    def _failed(self, test: Test, verdict: Verdict, error: Exception) -> TestResult:
        score = score_of(self.problem, test, Checked(verdict=verdict))
        return TestResult(name=test.name, verdict=verdict, score=score, best=test.best, message=str(error))

    def _result(self, test: Test, run: Run, checked: Checked) -> TestResult:
        result: Result[bytes] = run.result
        return result_of(
            self.problem,
            test,
            checked,
            cpu=result.usage.cpu,
            wall=result.usage.wall,
            memory=result.usage.memory_peak,
            runs=run.runs,
            reason=str(result),
            input=beginning(test.input),
            expected=beginning(test.answer),
            got=run.talk or excerpt(result.stdout),
            stderr=excerpt(result.stderr),
        )
