"""What a jailed test costs over a plain one: the same empty tests, in turn with and without `--jailed`.

`python benchmarks/jailed_tests.py [--tests N] [--rounds N] [--heap MB]`. The median counts. Beside it:

* the floor: the same tests in bare forks of pytest, without a jail, as pytest-forked runs them;
* flat: whether a test costs the same among ten times as many;
* unused: what the plugin costs a session that asks for nothing, against `-p no:jailkit`.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

PROMISED_MS = 8.0
FLAT = 1.25
FORKED = """
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
        return True
"""


def session(folder: Path, *options: str) -> tuple[float, float, float]:
    """Run pytest; return what it says that it took, the time of the whole process, and the processor time of all."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", *options],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    took = time.monotonic() - began
    match = re.search(r"in ([\d.]+)s", done.stdout)
    assert match, done.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(match[1]), took, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def over_plain(folder: Path, tests: int, rounds: int, *options: str) -> tuple[list[float], float]:
    """Return milliseconds for each test over a plain one, of each round; and the processor time of the middle one."""
    chosen = ("-k", f"n{tests}_")
    pairs = [(session(folder, *chosen, *options), session(folder, *chosen)) for _ in range(rounds)]
    costs = [(one[0] - plain[0]) * 1000 / tests for one, plain in pairs]
    return costs, statistics.median((one[2] - plain[2]) * 1000 / tests for one, plain in pairs)


def write(folder: Path, tests: int, heap: int) -> None:
    """Write the tests, few and ten times as many, with as much memory to be forked as was asked for."""
    body = "import pytest\n" + (f"heap = [bytes([n % 256]) * 4000 for n in range({heap} * 250)]\n" if heap else "")
    for many in (tests, 10 * tests):
        body += f"@pytest.mark.parametrize('n', range({many}))\ndef test_n{many}_(n): pass\n"
    (folder / "test_many.py").write_text(body)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "forked.py").write_text(textwrap.dedent(FORKED))


def told(name: str, costs: list[float], cpu: float) -> float:
    """Print; return the median."""
    cost = statistics.median(costs)
    print(f"{name:28} {cost:6.1f} ms, {min(costs):.1f} to {max(costs):.1f}; processor time {cpu:.1f} ms")
    return cost


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--heap", type=int, default=0, help="MB of the test module")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        folder = Path(name)
        write(folder, asked.tests, asked.heap)
        cost = told("a jailed test", *over_plain(folder, asked.tests, asked.rounds, "--jailed"))
        floor = told("a test in a bare fork", *over_plain(folder, asked.tests, asked.rounds, "-p", "forked"))
        many = told("one of ten times as many", *over_plain(folder, 10 * asked.tests, 1, "--jailed"))
        unused = [
            (session(folder, "--collect-only")[1] - session(folder, "--collect-only", "-p", "no:jailkit")[1]) * 1000
            for _ in range(asked.rounds)
        ]
        told("the plugin, not asked for", unused, 0.0)
    print(f"promised: {PROMISED_MS} ms, of which the fork is {floor:.1f}; flat: {many / cost:.2f}, at most {FLAT}")
    return cost > PROMISED_MS or many > FLAT * cost


if __name__ == "__main__":
    sys.exit(main())
