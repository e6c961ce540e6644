"""What a jailed test costs over a plain one: the same empty tests, in turn with and without `--jailed`.

`python benchmarks/jailed_tests.py [tests] [rounds]`. Each round is two sessions; the median of the differences counts.
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile

PROMISED_MS = 8.0


def seconds(folder: str, *options: str) -> tuple[float, float]:
    """Run the session; return what pytest says that it took, and the processor time of all that ran."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", *options],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    match = re.search(r"passed in ([\d.]+)s", done.stdout)
    assert match, done.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(match[1]), after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    """Measure and print."""
    tests, rounds = (int(word) for word in (sys.argv[1:] + ["200", "5"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        with open(f"{folder}/test_many.py", "w") as file:
            file.write(f"import pytest\n@pytest.mark.parametrize('n', range({tests}))\ndef test_n(n): pass\n")
        with open(f"{folder}/pytest.ini", "w") as file:
            file.write("[pytest]\n")
        pairs = [(seconds(folder, "--jailed"), seconds(folder)) for _ in range(rounds)]
    costs = [(jailed[0] - plain[0]) * 1000 / tests for jailed, plain in pairs]
    cost = statistics.median(costs)
    cpu = statistics.median((jailed[1] - plain[1]) * 1000 / tests for jailed, plain in pairs)
    print(f"{cost:.1f} ms for each jailed test over a plain one, of {tests}; rounds: {[round(c, 1) for c in costs]}")
    print(f"processor time: {cpu:.1f} ms")
    print(f"promised: {PROMISED_MS} ms")
    return cost > PROMISED_MS


if __name__ == "__main__":
    sys.exit(main())
