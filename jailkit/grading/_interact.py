"""Interactive problems: the validator talks with the submission, each in a jail of its own."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import attrs

from jailkit import PIPE, Jail, Process, Result, Turn, converse
from jailkit.grading._compile import Built
from jailkit.grading._grade import SHOWN, excerpt
from jailkit.grading._model import Problem, Test, Verdict
from jailkit.grading._run import Place, Run, Runner, verdict_of
from jailkit.grading._validate import Checked, agreed, checked, validator_jail, validator_words

__all__ = ["Talk", "joined", "lines", "mark", "talk_on", "talk_with", "verdict_of_talk"]

_ENDED = frozenset({Verdict.TLE, Verdict.MLE, Verdict.OLE, Verdict.JE})


def talk_on(runner: Runner, problem: Problem, test: Test, validators: Sequence[Built], scratch: Path) -> Run:
    """Have a submission and the validator talk about a test, again and alone where it comes close to a limit.

    Where there are several validators, the submission is run anew for each, and has to be accepted by all.
    """
    place = runner.place(problem, test, scratch)

    def once(runner: Runner, cpu: int) -> Run:
        runs: list[Run] = []
        said: list[Checked] = []
        for validator in validators:
            with validator_jail(problem, test, validator) as bench:
                talk = talk_with(runner, test, place, cpu, bench, validator_words(test, validator))
                assert talk.judge is not None  # noqa: S101 - it was there from the start
                said.append(checked(problem, test, talk.judge, bench))
            verdict = verdict_of_talk(talk, said[-1], runner.allowance.soft)
            runs.append(Run(result=talk.own, verdict=verdict, checked=said[-1], talk=talk.said))
            if verdict is not Verdict.AC:
                return joined(runs)
        together = agreed(said)
        return attrs.evolve(joined(runs), verdict=together.verdict, checked=together)

    return runner.repeat(once)


def joined(runs: Sequence[Run]) -> Run:
    """Return the last of several runs; where all went well, with the account of the slowest."""
    last = runs[-1]
    if len(runs) == 1:
        return last
    slowest = max(runs, key=lambda run: run.result.usage.cpu) if last.verdict is Verdict.AC else last
    talk = "\n---\n".join(run.talk for run in runs)
    return attrs.evolve(last, result=slowest.result, talk=excerpt(talk.encode(), 2 * SHOWN))


@attrs.frozen(kw_only=True)
class Talk:
    """What came of a submission and a validator that talked.

    Attributes:
        own: How the submission ended.
        judge: How the validator ended; None where it was not asked.
        said: What both said, as contest packages write it.
        crashed_first: Whether the submission was gone first.
    """

    own: Result[bytes]
    judge: Result[bytes] | None
    said: str
    crashed_first: bool = False


def talk_with(runner: Runner, test: Test, place: Place, cpu: int, bench: Jail, words: Sequence[str]) -> Talk:
    """Have a submission, in a jail of its own, talk with the validator in the jail `bench`."""
    limits = runner.limits(cpu)
    with Jail(limits=limits, mounts=place.mounts, cwd=place.cwd, env=runner.built.env) as jail:
        first = bench.popen(words, stdin=PIPE)
        # Limits are named again: so it has an account of its own.
        second = jail.popen([*runner.built.argv, *test.args], stdin=PIPE, limits=limits)
        with first, second, _Order(first, second) as order:
            talk = converse(first, second, timeout=runner.allowance.wall, transcript_bytes=SHOWN)
            crashed_first = order.second_was_first()
    judge, own = talk.results
    said = "\n".join(lines(talk.transcript)) + ("\n…" if talk.truncated else "")
    return Talk(own=own, judge=judge, said=said, crashed_first=crashed_first)


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


def verdict_of_talk(talk: Talk, said: Checked, soft: float) -> Verdict:
    """Return what the ends of both mean.

    A program that has used up its limits, or crashed of itself, can make any validator fail. One that crashes because
    the validator has hung up was judged before.
    """
    verdict = verdict_of(talk.own, soft)
    if verdict in _ENDED or (verdict is Verdict.RTE and talk.crashed_first):
        return verdict
    return said.verdict if said.verdict is not Verdict.AC else verdict or Verdict.AC


def lines(turns: Sequence[Turn]) -> Iterator[str]:
    """Yield the talk as contest packages write it: what the submission was told after <, what it said after >."""
    for turn in turns:
        yield from mark("<>"[turn.who], turn.data)


def mark(sign: str, data: bytes) -> Iterator[str]:
    """Yield the lines of one who speaks, bounded, each with a sign before it."""
    for line in excerpt(data).rstrip("\n").split("\n"):
        yield f"{sign} {line}"
