"""Multi-pass problems: a submission is run again and again on a test, and the validator writes the next input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

import jailkit
from jailkit import ExitReason, Jail, Result
from jailkit.grading._compile import Built
from jailkit.grading._interact import Talk, joined, mark, talk_with, verdict_of_talk
from jailkit.grading._model import Problem, Test, Verdict
from jailkit.grading._run import Place, Run, Runner, verdict_of
from jailkit.grading._validate import ACCEPTED, FEEDBACK, NEXT_INPUT, Checked, checked, validator_jail, validator_words

__all__ = ["passes_on"]

_FOLLOWING = f"{FEEDBACK}nextpass.in"


@attrs.frozen
class _Passes:
    """All passes of one run of a test.

    Attributes:
        runner: Runs the submission.
        problem: The problem.
        test: The test.
        validator: Its validator.
        place: Where the submission runs.
    """

    runner: Runner
    problem: Problem
    test: Test
    validator: Built
    place: Place

    def once(self, cpu: int) -> Run:
        """Run the submission until the validator wants no more of it."""
        with validator_jail(self.problem, self.test, self.validator) as bench:
            data, runs = self.test.input.read_bytes(), []
            for number in range(1, self.problem.limits.passes + 1):
                if number > 1:
                    bench.put(data, NEXT_INPUT)
                words = validator_words(self.test, self.validator, again=number > 1)
                run, following = self._pass(cpu, bench, words, data)
                runs.append(run)
                if following is None:
                    return joined(runs)
                data = following
        wrong = f"the output validator wants more than {number} passes"
        return joined([*runs[:-1], _failed(runs[-1], wrong)])

    def _pass(self, cpu: int, bench: Jail, words: list[str], data: bytes) -> tuple[Run, bytes | None]:
        """Run the submission once, and return what became of it and the next input."""
        if self.problem.interactive:
            talk = talk_with(self.runner, self.test, self.place, cpu, bench, words)
        else:
            talk = self._one_way(cpu, bench, words, data)
        if talk.judge is None:
            return Run(result=talk.own, verdict=verdict_of(talk.own, self.runner.allowance.soft), talk=talk.said), None
        said, following = self._said(talk.judge, bench)
        verdict = verdict_of_talk(talk, said, self.runner.allowance.soft)
        run = Run(result=talk.own, verdict=verdict, checked=said, talk=talk.said)
        return run, following if verdict is Verdict.AC else None

    def _one_way(self, cpu: int, bench: Jail, words: list[str], data: bytes) -> Talk:
        runner = self.runner
        argv, place = [*runner.built.argv, *self.test.args], self.place
        own = jailkit.run(
            argv, mounts=place.mounts, cwd=place.cwd, env=runner.built.env, limits=runner.limits(cpu), input=data
        )
        said = "\n".join((*mark("<", data), *mark(">", own.stdout)))
        judge = bench.run(words, input=own.stdout) if verdict_of(own, runner.allowance.soft) is None else None
        return Talk(own=own, judge=judge, said=said)

    def _said(self, judge: Result[bytes], bench: Jail) -> tuple[Checked, bytes | None]:
        """Return what the validator said, and the next input."""
        try:
            following = bench.get(_FOLLOWING, max_bytes=self.problem.limits.validation_output)
        except FileNotFoundError:
            return checked(self.problem, self.test, judge, bench), None
        except OSError as error:
            return Checked(verdict=Verdict.JE, message=f"the output validator: nextpass.in: {error.strerror}"), None
        if judge.reason is not ExitReason.EXITED or judge.returncode != ACCEPTED:
            words = f"the output validator wrote nextpass.in, and did not end with exit code 42: {judge}"
            return Checked(verdict=Verdict.JE, message=words), None
        bench.run(["rm", "-f", _FOLLOWING]).check()
        return Checked(verdict=Verdict.AC), following


def passes_on(runner: Runner, problem: Problem, test: Test, validators: Sequence[Built], scratch: Path) -> Run:
    """Run a submission on a test of a multi-pass problem, again and alone where a pass comes close to a limit.

    The files that the validator leaves in its feedback directory stay there for all passes of a run. The limits are
    those of each pass by itself.
    """
    (validator,) = validators  # the format that has passes has one validator
    passes = _Passes(runner, problem, test, validator, runner.place(problem, test, scratch))
    return runner.repeat(lambda runner, cpu: attrs.evolve(passes, runner=runner).once(cpu))


def _failed(run: Run, words: str) -> Run:
    return attrs.evolve(run, verdict=Verdict.JE, checked=Checked(verdict=Verdict.JE, message=words))
