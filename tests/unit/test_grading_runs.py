"""Which runs of a submission are repeated, and which of them counts."""

from __future__ import annotations

import io
import itertools
from types import SimpleNamespace

import attrs
import pytest

from jailkit import ExitReason, Result, Usage
from jailkit.grading import Verdict, _cores, _grader, _run
from jailkit.grading._compile import Built
from jailkit.grading._cores import Cores, busy, physical
from jailkit.grading._run import Allowance, Run, Runner, verdict_of

ALLOWANCE = Allowance(soft=2, hard=3, memory=1 << 20, output=1)
SLEPT = (ExitReason.WALL_TIME, 0.02)
STARVED = (ExitReason.WALL_TIME, 1.2)
ENDED = (ExitReason.EXITED, 0.03)
CLOSE = (ExitReason.EXITED, 1.9)


def run(reason: ExitReason, cpu: float, soft: float) -> Run:
    """Return what came of a run."""
    usage = Usage(cpu_user=cpu, cpu_system=0.0, wall=6.5, memory_peak=None, memory_source="")
    result = Result(
        argv=(b"a",), returncode=0 if reason is ExitReason.EXITED else -9, reason=reason, stdout=b"", stderr=b"",
        truncated=False, usage=usage, isolation=(),
    )  # fmt: skip
    return Run(result=result, verdict=verdict_of(result, soft))


@pytest.mark.parametrize(
    ("ends", "crowded", "verdict", "runs"),
    [
        ([ENDED], True, None, 1),
        ([SLEPT], False, Verdict.TLE, 1),
        ([SLEPT, SLEPT], True, Verdict.TLE, 2),
        ([SLEPT, ENDED], True, None, 2),
        ([STARVED, ENDED], False, None, 2),
        ([STARVED, CLOSE, CLOSE, ENDED], True, None, 4),
        ([CLOSE, CLOSE, CLOSE], False, None, 3),
    ],
)
def test_a_busy_machine_makes_no_time_limit(
    ends: list[tuple[ExitReason, float]],
    crowded: bool,
    verdict: Verdict | None,
    runs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the clock has ended while others had the processor is run again, alone and with more time."""
    left, walls = list(ends), []
    monkeypatch.setattr(_run, "busy", lambda: crowded)

    def once(runner: Runner, _: int) -> Run:
        walls.append(runner.allowance.wall)
        return run(*left.pop(0), runner.allowance.soft)

    found = Runner(Built(verdict=None), ALLOWANCE, Cores()).repeat(once)
    assert (found.verdict, found.runs, left) == (verdict, runs, [])
    patient = [6.5, 19.5] if ends[0][0] is ExitReason.WALL_TIME else [6.5, 6.5]
    assert walls == [*patient, 6.5, 6.5][:runs]


def test_more_patience_is_more_time_on_the_clock_alone() -> None:
    """The limit of processor time stays what it is."""
    patient = attrs.evolve(ALLOWANCE, patience=3.0)
    assert (patient.wall, patient.soft, patient.hard) == (19.5, 2, 3)


@pytest.mark.parametrize(
    ("text", "crowded"),
    [
        ("some avg10=0.00 avg60=91.58 avg300=92.45 total=15967029680\nfull avg10=99.00 avg60=0.00\n", False),
        ("some avg10=86.64 avg60=0.58 avg300=0.45 total=15967029680\n", True),
        ("", True),
        (None, True),
    ],
)
def test_whether_a_machine_is_busy(text: str | None, crowded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's word counts; where it has none, nobody knows that a program had its time."""

    def read(path: str) -> io.StringIO:
        assert path == "/proc/pressure/cpu"
        if text is None:
            raise FileNotFoundError(path)
        return io.StringIO(text)

    monkeypatch.setattr("builtins.open", read)
    assert busy() is crowded


def test_spare_processors_are_asked_only_when_that_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while a measured one is idle, not twice at once, and less and less often after they were slow."""
    clock, works = itertools.count(), itertools.count()
    monkeypatch.setattr(_cores, "time", SimpleNamespace(monotonic=clock.__next__, thread_time=lambda: next(works)))
    cpu = physical()[0]
    cores = Cores((cpu,), spare=(cpu,))

    def fit() -> bool:
        with cores.bench() as found:
            return found

    assert not fit()
    with cores.one():
        with cores.bench() as found:
            assert found
            assert not fit()
        assert all(fit() for _ in range(10))
        works = itertools.repeat(0)  # type: ignore[assignment]
        assert [place for place in range(12) if fit()] == [0, 1, 4, 11]
        works = itertools.count()
        assert [place for place in range(12, 40) if fit()] == [26, 33, 36, 37, 38, 39]
    with Cores((cpu,)).one(), Cores((cpu,)).bench() as found:
        assert not found


@pytest.mark.parametrize(
    ("workers", "measured", "spare"), [(1, (0,), (2, 4)), (3, (0, 2, 4), ()), (4, (0, 2, 4, 0), ())]
)
def test_cores_that_no_worker_has_are_spare(
    workers: int, measured: tuple[int, ...], spare: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many workers as cores, which is what a grader has by default, none is."""
    monkeypatch.setattr(_grader, "physical", lambda: (0, 2, 4))
    with _grader.Grader(workers=workers) as grader:
        assert (grader.cores.cpus, grader.cores.spare) == (measured, spare)
    with _grader.Grader() as grader:
        assert grader.cores.spare == ()
