"""What a jailed test costs over a plain one: the same empty tests, in turn with `--jailed`, in bare forks, and plain.

`python benchmarks/jailed_tests.py [--tests N] [--rounds N] [--heap MB]`. What counts is the time from the end of the
first test to the end of the last, in the middle round; what a session pays once is told beside it. The floor is the
same tests in bare forks of pytest, without a jail, as pytest-forked runs them. And what the plugin costs a session that
asks for nothing, against `-p no:jailkit`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

PROMISED_MS = 8.0
FLAT = 1.25
PLUGINS = {
    "stamps": """
        import time
        STAMPS = [time.monotonic()]
        def pytest_runtest_logfinish(): STAMPS.append(time.monotonic())
        def pytest_unconfigure(): print("stamps", *STAMPS)
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


def session(folder: Path, *options: str) -> tuple[list[float], float]:
    """Run pytest; return the milliseconds at which each test ended, and those of the whole process."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "stamps", *options],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    took = time.monotonic() - began
    stamps = next(line for line in done.stdout.splitlines() if line.startswith("stamps"))
    return [float(word) * 1000 for word in stamps.split()[1:]], took * 1000


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


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--heap", type=int, default=0, help="MB of the test module")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        folder = Path(name)
        write(folder, asked.tests, asked.heap)
        rounds = [{kind: session(folder, *options)[0] for kind, options in KINDS.items()} for _ in range(asked.rounds)]
        bare = ("--collect-only", "-p", "no:jailkit")
        unused = [session(folder, "--collect-only")[1] - session(folder, *bare)[1] for _ in range(asked.rounds)]
    each = {kind: [(one[kind][-1] - one[kind][1]) / (asked.tests - 1) for one in rounds] for kind in KINDS}
    over = {kind: [a - b for a, b in zip(each[kind], each["plain"], strict=True)] for kind in KINDS}
    cost = spread("a jailed test over a plain one", over["jailed"])
    floor = spread("the floor: a test in a bare fork, over plain", over["bare fork"])
    spread("once for a session: the first jailed test", [one["jailed"][1] - one["jailed"][0] for one in rounds])
    spread("the plugin in a session that does not use it", unused)
    quarter = asked.tests // 4
    flat = statistics.median(
        (one["jailed"][-1] - one["jailed"][-1 - quarter]) / (one["jailed"][1 + quarter] - one["jailed"][1])
        for one in rounds
    )
    print(f"promised: {PROMISED_MS} ms; over the floor: {cost / floor:.2f} times")
    print(f"flat: the last quarter costs {flat:.2f} times the first, at most {FLAT}")
    return cost > PROMISED_MS or flat > FLAT


if __name__ == "__main__":
    sys.exit(main())
