"""What a jailed test costs over a plain one: the same empty tests, in turn with `--jailed`, in bare forks, and plain.

`python benchmarks/jailed_tests.py [--tests N] [--rounds N] [--heap MB]`. What counts is the time from the end of the
first test to the end of the last, in the middle round; what a session pays once is told beside it. There are two
floors, without a jail: the same tests in bare forks of pytest, as pytest-forked runs them, and a process of the size of
pytest that forks and does nothing but touch as many pages. Page faults are counted as well, because those do not depend
on how busy the machine is. And what the plugin costs a session that asks for nothing, against `-p no:jailkit`.
"""

from __future__ import annotations

import argparse
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass, replace
from pathlib import Path

from measure import CaseError
from report import Target

PROMISED_MS = 8.0
FLAT = 1.25
HUNDRED = 100
PLUGINS = {
    "stamps": """
        import resource, time
        def stamp():
            own, inside = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            return f"{time.monotonic()}:{own.ru_minflt}:{inside.ru_minflt}"
        STAMPS = [stamp()]
        def pytest_runtest_logfinish(): STAMPS.append(stamp())
        def pytest_unconfigure():
            with open("/proc/self/status") as file:
                size = next(line.split()[1] for line in file if line.startswith("RssAnon"))
            print("stamps", size, *STAMPS)
    """,
    "forked": """
        import os, pytest
        from _pytest.runner import runtestprotocol

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item, nextitem):
            child = os.fork()
            if not child:
                runtestprotocol(item, log=False, nextitem=nextitem)
                os._exit(0)
            os.waitpid(child, 0)
            for when in ("setup", "call", "teardown"):
                item.ihook.pytest_runtest_logreport(report=pytest.TestReport(
                    item.nodeid, item.location, {}, "passed", None, when, duration=0.0, start=0.0, stop=0.0))
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            return True
    """,
}
KINDS = {"jailed": ("--jailed",), "bare fork": ("-p", "forked"), "plain": ()}


@dataclass(frozen=True)
class Session:
    """What one session of pytest took.

    Attributes:
        ends: Milliseconds at which each test ended, the beginning first.
        faults: Page faults of pytest so far, at the same times.
        inside: Those of the processes that it has waited for.
        took: Milliseconds of the whole process.
        size: KiB of memory that a fork shares.
    """

    ends: list[float]
    faults: list[int]
    inside: list[int]
    took: float
    size: int

    def each(self) -> float:
        """Milliseconds of a test, without the first."""
        return (self.ends[-1] - self.ends[1]) / (len(self.ends) - 2)

    def flat(self) -> float:
        """How much longer a test takes in the last hundred than in the first: the one in the middle of each."""
        took = [after - before for before, after in zip(self.ends[1:], self.ends[2:], strict=False)]
        return statistics.median(took[-HUNDRED:]) / statistics.median(took[:HUNDRED])

    def faults_of(self, which: list[int], first: int, last: int) -> float:
        """Page faults of a test, from one test to another."""
        numbers = range(len(which))
        return (which[last] - which[first]) / (numbers[last] - numbers[first])


def session(folder: Path, *options: str) -> Session:
    """Run pytest."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "stamps", *options],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise CaseError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    took = time.monotonic() - began
    _, size, *words = next(line for line in done.stdout.splitlines() if line.startswith("stamps")).split()
    stamps = [word.split(":") for word in words]
    ends, own, others = zip(*stamps, strict=True)
    return Session([float(end) * 1000 for end in ends], [*map(int, own)], [*map(int, others)], took * 1000, int(size))


def bare_fork(size: int, faults: int) -> float:
    """Milliseconds for a process with so many KiB to fork, and for the child to touch as many pages and to end."""
    with mmap.mmap(-1, size * 1024, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        places = range(0, len(memory), mmap.PAGESIZE)
        for place in places:
            memory[place] = 1
        took = []
        for _ in range(30):
            began = time.monotonic()
            child = os.fork()
            if not child:
                for place in places[:faults]:
                    memory[place] = 2
                os._exit(0)
            os.waitpid(child, 0)
            took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)


def write(folder: Path, tests: int, heap: int) -> None:
    """Write the tests, with as much memory to be forked as was asked for."""
    ballast = f"heap = [bytes([n % 256]) * 4000 for n in range({heap} * 250)]\n" if heap else ""
    test = f"@pytest.mark.parametrize('n', range({tests}))\ndef test_n(n): pass\n"
    (folder / "test_many.py").write_text(f"import pytest\n{ballast}{test}")
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in PLUGINS.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))


def spread(name: str, values: list[float]) -> float:
    """Print; return the median."""
    print(f"{name:44} {statistics.median(values):7.2f} ms, {min(values):.2f} to {max(values):.2f}")
    return statistics.median(values)


def print_faults(found: dict[str, Session]) -> None:
    """Print what can be counted, and what the fork alone takes."""
    for kind in ("jailed", "bare fork"):
        one = found[kind]
        own, inside = (one.faults_of(which, 1, -1) for which in (one.faults, one.inside))
        print(f"{kind}: {one.size / 1024:.0f} MiB; page faults of a test: {own:.0f} of pytest, {inside:.0f} inside")
    bare = found["bare fork"]
    inside = bare.faults_of(bare.inside, 1, -1)
    took = bare_fork(bare.size, round(inside))
    print(f"the fork of a process of that size, and {inside:.0f} page faults, without pytest: {took:.2f} ms")
    faults = found["jailed"].faults
    few = min(HUNDRED, len(faults) - 2)
    first, last = found["jailed"].faults_of(faults, 1, 1 + few), found["jailed"].faults_of(faults, -1 - few, -1)
    print(f"page faults of pytest for a jailed test: {first:.0f} in the first {few}, {last:.0f} in the last")


def measure(tests: int, rounds: int, heap: int = 0) -> list[Target]:
    """Measure and print; return what was promised."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        folder = Path(name)
        write(folder, tests, heap)
        found = [{kind: session(folder, *options) for kind, options in KINDS.items()} for _ in range(rounds)]
        bare = ("--collect-only", "-p", "no:jailkit")
        unused = [session(folder, "--collect-only").took - session(folder, *bare).took for _ in range(rounds)]
    over = {kind: [one[kind].each() - one["plain"].each() for one in found] for kind in KINDS}
    cost = spread("a jailed test over a plain one", over["jailed"])
    floor = spread("the floor: a test in a bare fork, over plain", over["bare fork"])
    jailed = [one["jailed"] for one in found]
    spread("once for a session: the first jailed test", [one.ends[1] - one.ends[0] for one in jailed])
    spread("the plugin in a session that does not use it", unused)
    print(f"a jailed test / a test in a bare fork: {cost / floor:.2f}")
    print_faults(found[-1])
    flat = [one.flat() for one in jailed]
    measured = (over["jailed"], cost), (flat, statistics.median(flat))
    return [
        replace(target, measured=value, low=min(values), high=max(values))
        for target, (values, value) in zip(promised(tests), measured, strict=True)
    ]


def promised(tests: int) -> list[Target]:
    """Return the promises, not measured yet."""
    return [
        Target(name="a jailed test over a plain one", limit=PROMISED_MS, unit=" ms"),
        Target(name=f"the last hundred of {tests} jailed tests / the first", limit=FLAT),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--heap", type=int, default=0, help="MB of the test module")
    asked = parser.parse_args()
    targets = measure(asked.tests, asked.rounds, asked.heap)
    for target in targets:
        print(target.line())
    return any(target.verdict != "met" for target in targets)


if __name__ == "__main__":
    sys.exit(main())
