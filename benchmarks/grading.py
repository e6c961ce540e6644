"""What grading costs beside running the same programs without jails, and how steady its figures are."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import floor
from measure import CaseError

TESTS = 200
#: What a jail finds as python3; elsewhere there may be another one first in PATH.
PYTHON = "/usr/bin/python3"
#: Computes for about a tenth of a second, as a test of a contest does; and a program that does next to nothing.
PROGRAMS = {
    "computing": "n = int(input())\nt = 0\nfor i in range(1_200_000):\n    t += i * n\nprint(t)\n",
    "short": "print(int(input()) * 2)\n",
}


def measure(tests: int = TESTS, repeats: int = 20) -> dict[str, Any]:
    """Returns overheads (ratios), spreads of processor time (shares), and submissions per minute by workers.

    Beside each overhead stands that of the jails alone, without grading; beside the spread that of the same program
    without a jail, measured in turn with it: it is what the machine does to any figure.

    Raises:
        CaseError: The grader cannot be imported.
    """
    try:
        grading = importlib.import_module("jailkit.grading")
    except ImportError as error:
        raise CaseError(f"cannot be imported: {error}") from error
    home = Path(tempfile.mkdtemp(prefix="jailkit-bench-"))
    try:
        found: dict[str, Any] = {}
        for name, source in PROGRAMS.items():
            count = tests if name == "short" else tests // 4
            found[f"overhead_{name}"], found[f"jails_{name}"] = _overhead(grading, home / name, source, count)
        found["by_hand"] = _by_hand(grading, home, source)
        found["spread"], found["spread_unjailed"] = _spread(grading, home / "one", repeats)
        found["per_minute"] = _per_minute(grading, home / "short")
    finally:
        shutil.rmtree(home)
    return found


def _package(home: Path, source: str, tests: int) -> Path:
    (home / "data" / "secret").mkdir(parents=True)
    (home / "problem.yaml").write_text("name: Bench\nlimits: {time_limit: 10, memory: 256}\n")
    program = home / "main.py"
    program.write_text(source)
    given = "5\n"  # the same for all: what differs is then not their work
    answer = _plain(program, given)
    for number in range(tests):
        (home / "data" / "secret" / f"{number:03}.in").write_text(given)
        (home / "data" / "secret" / f"{number:03}.ans").write_bytes(answer)
    return program


def _plain(program: Path, given: str) -> bytes:
    return subprocess.run([PYTHON, program], input=given.encode(), capture_output=True, check=True).stdout


def _overhead(grading: Any, home: Path, source: str, tests: int) -> tuple[float, float]:
    """The same commands with the same inputs and the same comparison, one after the other, in turn with a grader.

    The second ratio is of the same jails without a grader.
    """
    program = _package(home, source, tests)
    home.parent.chmod(0o755)
    problem = grading.Problem.load(home)
    jails = _jails(home)
    graded, bare = [], []
    with grading.Grader(workers=1) as grader:
        grader.grade(problem, program)
        for _ in range(5):
            with grader.cores.one():  # pinned, as what is graded is
                plain = _seconds(
                    lambda: [
                        _plain(program, test.input.read_text()) == test.answer.read_bytes() for test in problem.tests
                    ]
                )
                bare.append(_seconds(lambda: [jails(test.input.read_bytes()) for test in problem.tests]) / plain)
            graded.append(_seconds(lambda: grader.grade(problem, program)) / plain)
    return statistics.median(graded), statistics.median(bare)


def _by_hand(grading: Any, home: Path, source: str) -> float | None:
    """The short program in a jail made by hand in C, over the same without, in turn; None where there is none."""
    words = [PYTHON, "-c", source.replace("input()", "5")]
    try:
        program = floor.build(home)
        command = [str(program), "-n", "20", *floor.walls(home), "walls", "--", *words]
    except CaseError:
        return None
    ratios: list[float] = []
    with grading.Grader(workers=1) as grader, grader.cores.one():
        for _ in range(10):
            plain = _seconds(lambda: [subprocess.run(words, capture_output=True, check=True) for _ in range(20)])
            answer = subprocess.run(command, capture_output=True, check=True).stdout
            ratios.append(sum(json.loads(answer[answer.index(b"{") :])["ns"]) / 1e9 / plain)
    return float(statistics.median(ratios))


def _jails(home: Path) -> Callable[[bytes], object]:
    """Returns what runs the program of a package once, in a jail with the limits of a grader."""
    jailkit: Any = importlib.import_module("jailkit")
    mib = jailkit.MiB
    limits = jailkit.Limits(memory=256 * mib, cpu_seconds=20, wall_seconds=32, output=8 * mib, disk=64 * mib)
    options = {"mounts": [jailkit.Bind(str(home), "/work")], "cwd": "/work", "limits": limits}
    return lambda given: jailkit.run(["python3", "main.py"], input=given, **options)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _spread(grading: Any, home: Path, repeats: int) -> tuple[float, float]:
    """Standard deviation over mean of the processor time of one test, with every other processor busy.

    The second figure is that of the same program without a jail, on the same processor, in turn with the first.
    """
    program = _package(home, PROGRAMS["computing"], 1)
    problem = grading.Problem.load(home)
    graded, plain = [], []
    with grading.Grader(workers=1) as grader, _busy(grader.cores.cpus[0]):
        for _ in range(repeats):
            graded.append(grader.grade(problem, program).tests[0].cpu)
            with grader.cores.one():
                plain.append(_processor_time(program))
    return _share(graded), _share(plain)


def _share(times: list[float]) -> float:
    return float(statistics.stdev(times) / statistics.mean(times))


@contextlib.contextmanager
def _busy(free: int) -> Iterator[None]:
    """Has a process compute on each processor but one."""
    with contextlib.ExitStack() as stack:
        for cpu in os.sched_getaffinity(0) - {free}:
            words = [PYTHON, "-c", f"import os\nos.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"]
            process = stack.enter_context(subprocess.Popen(words))
            stack.callback(process.kill)
        yield


def _processor_time(program: Path) -> float:
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    _plain(program, "5\n")
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime


def _per_minute(grading: Any, home: Path) -> dict[str, float]:
    problem = grading.Problem.load(home)
    found = {}
    for workers in range(1, len(grading.Grader().cores.cpus) + 1):
        with grading.Grader(workers=workers) as grader:
            many = [home / "main.py"] * (2 * workers)
            seconds = _seconds(lambda some=many, judge=grader: judge.grade_all(problem, some))  # type: ignore[misc]
        found[str(workers)] = 60 * len(many) / seconds
    return found


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
