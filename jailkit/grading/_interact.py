"""Interactive problems: the validator talks with the submission, each in a jail of its own."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from jailkit import PIPE, Jail, Process, Result, Turn, converse
from jailkit.grading._compile import Built
from jailkit.grading._grade import SHOWN, excerpt
from jailkit.grading._model import Problem, Test, Verdict
from jailkit.grading._run import Run, Runner, verdict_of
from jailkit.grading._validate import Checked, checked, validator_jail, validator_words

__all__ = ["talk_on"]

_ENDED = frozenset({Verdict.TLE, Verdict.MLE, Verdict.OLE, Verdict.JE})


def talk_on(runner: Runner, problem: Problem, test: Test, validator: Built, scratch: Path) -> Run:
    """Have a submission and the validator talk about a test, again and alone where it comes close to a limit."""
    argv = [*runner.built.argv, *test.args]
    place, mounts = runner.place(problem, test, scratch)

    def once(cpu: int) -> Run:
        limits = runner.limits(cpu)
        with (
            validator_jail(problem, test, validator) as bench,
            Jail(limits=limits, mounts=mounts, cwd=place, env=runner.built.env) as jail,
        ):
            first = bench.popen(validator_words(test, validator), stdin=PIPE)
            second = jail.popen(argv, stdin=PIPE, limits=limits)  # named again: so it has an account of its own
            with first, second, _Order(first, second) as order:
                talk = converse(first, second, timeout=runner.allowance.wall, transcript_bytes=SHOWN)
                crashed_first = order.second_was_first()
            judge, own = talk.results
            said = checked(problem, test, judge, bench)
        return Run(
            result=own,
            verdict=_verdict(own, said, runner.allowance.soft, crashed_first=crashed_first),
            checked=said,
            talk="\n".join(_lines(talk.transcript)) + ("\n…" if talk.truncated else ""),
        )

    return runner.repeat(once)


class _Order:
    """Finds out who fell silent first, of two processes that may end within microseconds of each other.

    A process that ends closes its stdout before anybody can see its end, and before the other side hears of it. What
    epoll(7) hands out is in the order in which the writers were gone.
    """

    def __init__(self, first: Process, second: Process) -> None:
        assert first.stdout is not None and second.stdout is not None  # noqa: S101, PT018 - both are pipes by default
        self._ends = select.epoll()
        # Copies: converse() closes its own when it has read the end of file.
        self._fds = [os.dup(first.stdout.fileno()), os.dup(second.stdout.fileno())]
        for fd in self._fds:
            self._ends.register(fd, 0)  # nothing but EPOLLHUP, which cannot be left out

    def second_was_first(self) -> bool:
        """Return whether the second one was gone before the first."""
        return [fd for fd, _ in self._ends.poll(0)][:1] == [self._fds[1]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()
        for fd in self._fds:
            os.close(fd)


def _verdict(own: Result[bytes], said: Checked, soft: float, *, crashed_first: bool) -> Verdict:
    """Return what the ends of both mean.

    A program that has used up its limits, or crashed of itself, can make any validator fail. One that crashes because
    the validator has hung up was judged before.
    """
    verdict = verdict_of(own, soft)
    if verdict in _ENDED or (verdict is Verdict.RTE and crashed_first):
        return verdict
    return said.verdict if said.verdict is not Verdict.AC else verdict or Verdict.AC


def _lines(turns: Sequence[Turn]) -> Iterator[str]:
    """Yield the talk as contest packages write it: what the submission was told after <, what it said after >."""
    for turn in turns:
        mark = "<>"[turn.who]
        for line in excerpt(turn.data).rstrip("\n").split("\n"):
            yield f"{mark} {line}"
