"""Running a submission on a test, and what the kernel's account of it means."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

import jailkit
from jailkit import Bind, ExitReason, Jail, Limits, Result, Symlink, Tmpfs
from jailkit.grading._box import bounded
from jailkit.grading._compile import Built
from jailkit.grading._cores import Cores, busy
from jailkit.grading._grade import TestResult
from jailkit.grading._model import Problem, Test, Verdict
from jailkit.grading._standing import Standing, standing
from jailkit.grading._validate import Checked

__all__ = ["REASONS", "Allowance", "Place", "Run", "Runner", "result_of", "score_of", "verdict_of"]

_CLOSE = 0.1
"""A result is close to a limit when it is within this share of it."""
_RERUNS = 2
_PATIENCE = 3.0

REASONS = {
    ExitReason.MEMORY: Verdict.MLE,
    ExitReason.OUTPUT: Verdict.OLE,
    ExitReason.CPU_TIME: Verdict.TLE,
    ExitReason.WALL_TIME: Verdict.TLE,
    ExitReason.KILLED: Verdict.JE,
    ExitReason.LOST: Verdict.JE,
}


@attrs.frozen(kw_only=True)
class Allowance:
    """What a submission may use on each test.

    Attributes:
        soft: Seconds of processor time; more is TLE.
        hard: Seconds of processor time at which it is ended.
        memory: Bytes.
        output: Bytes.
        patience: Factor for the time on the clock.
    """

    soft: float
    hard: float
    memory: int
    output: int
    patience: float = 1.0

    @property
    def wall(self) -> float:
        """Seconds on the clock at which it is ended: far more, for a busy machine must not make a TLE."""
        return self.patience * (1.5 * self.hard + 2)


@attrs.frozen(kw_only=True)
class Run:
    """The best of the runs of a test.

    Attributes:
        result: How it ended.
        verdict: What that means, or None: it ended well, and its output has to be looked at.
        runs: How often it was run.
        checked: What the validator said meanwhile, of an interactive problem.
        talk: What both said to each other.
    """

    result: Result[bytes]
    verdict: Verdict | None
    runs: int = 1
    checked: Checked | None = None
    talk: str = ""


def verdict_of(result: Result[bytes], soft: float) -> Verdict | None:
    """Return what the end of a program means; None where its output has to be looked at."""
    found = REASONS.get(result.reason)
    if found is not None:
        return found
    if result.usage.cpu > soft:
        return Verdict.TLE
    return None if result.ok else Verdict.RTE


def score_of(problem: Problem, test: Test, checked: Checked) -> float | None:
    """Return the points for a test, or None where it has none of its own."""
    if not problem.scoring or test.best is None:
        return None
    if checked.verdict is not Verdict.AC:
        return test.least
    return test.best if checked.score is None else checked.score


def result_of(problem: Problem, test: Test, checked: Checked, **seen: Any) -> TestResult:
    """Return what became of a test that was judged; `seen` is what else there is to tell of it."""
    return TestResult(
        name=test.name,
        verdict=checked.verdict,
        score=score_of(problem, test, checked),
        best=test.best,
        message=checked.message,
        team_message=checked.team_message,
        hint="" if checked.verdict is Verdict.AC else test.hint,
        **seen,
    )


@attrs.frozen
class Place:
    """Where a submission runs.

    Attributes:
        cwd: Its working directory.
        mounts: What has to be mounted for it.
    """

    cwd: str
    mounts: tuple[Bind | Tmpfs | Symlink, ...]


@attrs.frozen
class Runner:
    """Runs one submission, each test in a fresh jail.

    Attributes:
        built: The artefact.
        allowance: What it may use.
        cores: Where it may run.
        writes: Whether it may write in its working directory.
    """

    built: Built
    allowance: Allowance
    cores: Cores
    writes: bool = False
    # Of all tests the same, and checked word by word when they are made: a tenth of the work that a test costs here.
    _limits: dict[tuple[int, ...], Limits] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    _mounts: dict[Path, Bind] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    def limits(self, *cpus: int) -> Limits:
        """Return the limits of one run on a processor, or on one of several."""
        if cpus not in self._limits:
            self._limits[cpus] = self._limits_on(cpus)
        return self._limits[cpus]

    def _limits_on(self, cpus: tuple[int, ...]) -> Limits:
        allowance = self.allowance
        return bounded(
            memory=allowance.memory,
            cpu_seconds=allowance.hard,
            wall_seconds=allowance.wall,
            output=allowance.output,
            cpus=cpus,
            address_space=self.built.address_space,
        )

    def repeat(self, once: Callable[[Runner, int], Run]) -> Run:
        """Measure, and measure again, alone on the machine, what came close to a limit.

        Other programs can only make a program look slower than it is, so the fastest of the runs counts.
        """
        with self.cores.one() as cpu:
            best = once(self, cpu)
        runs = 1
        if self._starved(best.result):
            with self.cores.alone() as cpu:
                best = once(attrs.evolve(self, allowance=attrs.evolve(self.allowance, patience=_PATIENCE)), cpu)
            runs = 2
        if self._close(best.result):
            for _ in range(_RERUNS):
                with self.cores.alone() as cpu:
                    again = once(self, cpu)
                runs += 1
                best = min(best, again, key=_cost)
        return attrs.evolve(best, runs=runs)

    def _starved(self, result: Result[bytes]) -> bool:
        """Whether the clock may have ended it because something else had the processor; else it slept."""
        return result.reason is ExitReason.WALL_TIME and (result.usage.cpu > self.allowance.soft / 2 or busy())

    def _close(self, result: Result[bytes]) -> bool:
        near_time = abs(result.usage.cpu - self.allowance.soft) <= _CLOSE * self.allowance.soft
        peak = result.usage.memory_peak or 0
        near_memory = result.reason is not ExitReason.MEMORY and peak >= (1 - _CLOSE) * self.allowance.memory
        return near_time or near_memory

    def on(self, problem: Problem, test: Test, scratch: Path) -> Run:
        """Run the submission on a test."""
        data = test.input.read_bytes()
        argv = [*self.built.argv, *test.args]
        place = self.place(problem, test, scratch)
        env = self.built.env

        with self._standing(place) as jail:
            waiting = [jail]

            def once(runner: Runner, cpu: int) -> Run:
                jail = waiting.pop() if waiting else None  # it is for one run
                result = jail.run(cpu, argv, data) if jail else None
                if result is None:
                    limits = runner.limits(cpu)
                    result = jailkit.run(argv, mounts=place.mounts, cwd=place.cwd, env=env, limits=limits, input=data)
                return Run(result=result, verdict=verdict_of(result, self.allowance.soft))

            return self.repeat(once)

    def _standing(self, place: Place) -> contextlib.AbstractContextManager[Standing | None]:
        """Return a jail for the first run of a test, built beside what is measured, or None."""
        if not self.cores.spare:
            return contextlib.nullcontext()
        limits = self.limits(*self.cores.spare)
        return standing(self.cores, Jail(mounts=place.mounts, cwd=place.cwd, env=self.built.env, limits=limits))

    def place(self, problem: Problem, test: Test, scratch: Path) -> Place:
        """Return where the submission runs on a test."""
        source = self.built.path
        if test.files is not None:
            source = scratch / test.name.replace("/", "-")
            if not source.exists():
                shutil.copytree(self.built.path, source)
                shutil.copytree(test.files, source, dirs_exist_ok=True)
                _readable(source)
        if not problem.writes:
            if source not in self._mounts:
                self._mounts[source] = Bind(str(source), "/submission")
            return Place("/submission", (self._mounts[source], *self.built.mounts))
        links = [Symlink(f"/box/{each.name}", f"/submission/{each.name}") for each in source.iterdir()]
        return Place("/box", (Bind(str(source), "/submission"), Tmpfs("/box"), *links, *self.built.mounts))


def _cost(run: Run) -> tuple[bool, float]:
    return run.verdict not in (None, Verdict.AC, Verdict.WA), run.result.usage.cpu


def _readable(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        each.chmod(0o755 if each.is_dir() or each.stat().st_mode & 0o100 else 0o644)
