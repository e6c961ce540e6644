"""Jails that are built on spare processors: each is used once, on one processor, and means what a fresh one means."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import jailkit
from jailkit import CommandNotFound, ExitReason, Jail, MiB, Result
from jailkit.grading import Grader, Verdict, _run, load
from jailkit.grading._box import ENV, ability, bounded
from jailkit.grading._cores import Cores, physical
from jailkit.grading._standing import Standing, standing
from tests.packages import ECHO, small, submit
from tests.patience import patient

pytestmark = [pytest.mark.requires("cc", "python"), pytest.mark.timeout(300)]

MEASURED, SPARE = physical()[0], physical()[-1]  # on a machine with one processor the same
MEMORY = 128 * MiB
LIMITS = bounded(memory=MEMORY, cpu_seconds=20, wall_seconds=patient(60), output=1 * MiB, cpus=(SPARE,))


class Always(Cores):
    """Processors with a spare one that is always a place for work, however busy the machine of the tests is."""

    def __init__(self) -> None:
        """Have one to measure on and one to spare."""
        super().__init__((MEASURED,), spare=(SPARE,))

    @contextlib.contextmanager
    def bench(self) -> Iterator[bool]:
        """Never refuse."""
        with self.aside():
            yield True


@contextlib.contextmanager
def waiting(**limits: Any) -> Iterator[Standing]:
    """Have a jail that stands ready."""
    with standing(Always(), Jail(limits=attrs.evolve(LIMITS, **limits), env=ENV)) as found:
        assert found
        yield found


@pytest.fixture
def grader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Grader]:
    """A grader whose tests all find a jail that stands ready; the results of these are in its `seen`."""
    seen: list[Result[bytes] | None] = []
    run = Standing.run

    def noted(self: Standing, cpu: int, argv: list[str], data: bytes) -> Result[bytes] | None:
        seen.append(run(self, cpu, argv, data))
        return seen[-1]

    monkeypatch.setattr(Standing, "run", noted)
    with Grader(workers=1, time_limit=patient(20)) as made:
        made.cores = Always()
        made.seen = seen  # type: ignore[attr-defined]
        yield made


SEES = "import os\nprint(sorted(os.sched_getaffinity(0)))\n"
WIDER = (
    "import os\ntry:\n    os.sched_setaffinity(0, range(os.cpu_count()))\nexcept OSError:\n    pass\n"
    "print(sorted(os.sched_getaffinity(0)))\n"
)


def test_a_program_has_one_processor(grader: Grader, tmp_path: Path) -> None:
    """It is the one on which it is measured, and where control groups can hold it there, it gets no other by asking."""
    for script in (SEES, WIDER) if ability().cpuset else (SEES,):
        answers = {"data/sample/1.ans": f"[{MEASURED}]\n", "data/secret/1.ans": f"[{MEASURED}]\n"}
        grade = grader.grade(small(tmp_path, **answers), submit(tmp_path, script))
        assert [test.verdict for test in grade.tests] == [Verdict.AC, Verdict.AC], [test.got for test in grade.tests]
    assert all(grader.seen)  # type: ignore[attr-defined]
    assert os.sched_getaffinity(0) >= {MEASURED, SPARE}


def test_a_jail_is_built_beside_what_is_measured() -> None:
    """What is in a jail that waits has the spare processors, and so has who closes it."""
    before = os.sched_getaffinity(0)
    with waiting() as found:
        assert os.sched_getaffinity(found.jail.pid) == {SPARE}
        assert os.sched_getaffinity(0) == before
    assert found.jail.closed
    assert os.sched_getaffinity(0) == before


def test_each_test_has_a_jail_of_its_own(grader: Grader, tmp_path: Path) -> None:
    """What one test writes, the next one does not find."""
    script = (
        "import os\nn = input()\nprint(n if not os.path.exists('/tmp/note') else 'found')\nopen('/tmp/note', 'w')\n"
    )
    assert grader.grade(small(tmp_path), submit(tmp_path, script)).verdict is Verdict.AC
    assert len(grader.seen) == 2  # type: ignore[attr-defined]
    assert all(grader.seen)  # type: ignore[attr-defined]


ENDS = [
    ({}, "import sys\nsys.exit(3)", ExitReason.EXITED),
    ({}, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", ExitReason.SIGNALED),
    ({"cpu_seconds": 0.3}, "while True: pass", ExitReason.CPU_TIME),
    ({"wall_seconds": 0.5}, "import time\ntime.sleep(1000)", ExitReason.WALL_TIME),
    ({"output": 1000}, "while True: print('x' * 100)", ExitReason.OUTPUT),
]


@pytest.mark.parametrize(("limits", "script", "reason"), ENDS, ids=lambda value: getattr(value, "name", ""))
def test_an_end_means_the_same(limits: dict[str, float], script: str, reason: ExitReason) -> None:
    """Every limit holds, with the same reason and exit code as in a jail for one program."""
    words = ["python3", "-c", script]
    with waiting(**limits) as found:
        stood = found.run(MEASURED, words, b"")
    fresh: Result[bytes] = jailkit.run(words, limits=attrs.evolve(LIMITS, **limits), env=ENV)
    assert stood is not None
    assert (stood.reason, stood.returncode) == (fresh.reason, fresh.returncode)
    assert stood.reason is reason


EATS = "import sys\nkept = bytearray(int(sys.argv[1]))\nfor place in range(0, len(kept), 4096): kept[place] = 1\n"


def test_memory_is_counted_and_bounded_as_ever() -> None:
    """The peak is that of the whole jail, from the same file; what needs more than the limit ends in the same way."""
    words = ["python3", "-c", EATS]
    for amount, enough in ((48 * MiB, True), (256 * MiB, False)):
        with waiting() as found:
            stood = found.run(MEASURED, [*words, str(amount)], b"")
        fresh: Result[bytes] = jailkit.run([*words, str(amount)], limits=LIMITS, env=ENV)
        assert stood is not None
        assert (stood.reason, stood.returncode) == (fresh.reason, fresh.returncode)
        assert (stood.usage.memory_source, stood.usage.cpu_source) == (
            fresh.usage.memory_source,
            fresh.usage.cpu_source,
        )
        assert stood.ok is enough
        if enough:
            for each in (stood, fresh):
                assert each.usage.memory_peak is not None
                assert amount <= each.usage.memory_peak < MEMORY
            assert (stood.usage.processes_peak is None) is (fresh.usage.processes_peak is None)


def test_a_jail_that_has_died_is_replaced(grader: Grader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has waited in vain gets a fresh one: nobody else's deed is the student's."""

    @contextlib.contextmanager
    def dying(cores: Cores, jail: Jail) -> Iterator[Standing | None]:
        with standing(cores, jail) as found:
            os.kill(jail.pid, signal.SIGKILL)
            deadline = time.monotonic() + patient(30)
            while jail.alive and time.monotonic() < deadline:
                time.sleep(0.001)
            yield found

    monkeypatch.setattr(_run, "standing", dying)
    assert grader.grade(small(tmp_path), submit(tmp_path, ECHO)).verdict is Verdict.AC
    assert grader.seen == [None, None]  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nothing_stands_after_an_exception(
    error: type[BaseException], grader: Grader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt in the middle of a test takes the jails away that wait; the fixture of all tests looks for them."""

    def interrupted(self: Standing, *_: object) -> None:
        assert self.jail.alive
        raise error

    monkeypatch.setattr(Standing, "run", interrupted)
    with pytest.raises(error):
        grader.grade(small(tmp_path), submit(tmp_path, ECHO))


def test_what_is_no_program_is_said_as_ever() -> None:
    """An error of the start is that of a fresh jail, and no reason for another attempt."""
    with waiting() as found, pytest.raises(CommandNotFound):
        found.run(MEASURED, ["nonsense"], b"")


def test_a_test_with_files_and_arguments(grader: Grader, tmp_path: Path) -> None:
    """It has a jail of its own, with its own files."""
    extra = {"data/secret/1.args": "--name x", "data/secret/1.files/map.txt": "8"}
    script = "import sys\nprint(open('map.txt').read() if sys.argv[1:] == ['--name', 'x'] else 7)\n"
    assert grader.grade(small(tmp_path, **extra), submit(tmp_path, script)).verdict is Verdict.AC
    assert all(grader.seen)  # type: ignore[attr-defined]


def test_examples_get_the_same_grade(grader: Grader) -> None:
    """Verdict, score and message of each test are those of a grader that uses all processors."""
    problem = load(Path(__file__).parents[2] / "examples" / "problems" / "stairs")
    some = [each.submission for each in problem.examples if each.name.startswith(("accepted/", "wrong_answer/"))][:4]
    with Grader(time_limit=patient(20)) as other:
        found, expected = (
            [
                (
                    grade.verdict,
                    grade.score,
                    [(each.name, each.verdict, each.score, each.message) for each in grade.tests],
                )
                for grade in one.grade_all(problem, some)
            ]
            for one in (grader, other)
        )
    assert found == expected
    assert all(grader.seen)  # type: ignore[attr-defined]
