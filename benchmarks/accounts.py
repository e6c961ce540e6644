"""What limits cost, and how well the accounts of a jail agree with loads that are known."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from measure import CaseError

PYTHON = ["/usr/bin/python3", "-I", "-S", "-c"]
#: Says how much processor time it has used, and ends at once: taking down an interpreter would be time as well.
BURN = "import os, time\nwhile time.process_time() < 1: pass\nprint(time.process_time(), flush=True)\nos._exit(0)"
#: Touches so many MiB.
TOUCH = "import sys; kept = bytearray(b'x') * (int(sys.argv[1]) << 20)"
#: Says how long a fixed amount of work has taken in processor time.
WORK = """
import time
begin = time.process_time()
total = 0
for number in range(600_000):
    total += number * number
print(time.process_time() - begin)
"""
#: Samples of the loop for each round. The fastest counts: whatever else the machine does only adds to one.
LOOPS = 10
SIZE_MIB = 128
#: Forks whenever it can, in every process.
BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
PROCESSES = 200
PATIENCE_SECONDS = 60.0


def measure(jailkit: Any, rounds: int) -> dict[str, float]:
    """Returns relative errors of processor time and peak memory, and the overhead of a limited jail on a loop.

    Raises:
        CaseError: The jail has no control group to tell.
    """
    limits = jailkit.Limits(memory=1 << 30, cpu_seconds=100, cpus=64)
    cpu, memory, inside, outside = [], [], [], []
    for _ in range(rounds):
        burnt = _run(jailkit, BURN, limits)
        if burnt.usage.cpu_source != "cgroup":
            raise CaseError(f"processor time is from {burnt.usage.cpu_source}: no control group")
        cpu.append(abs(burnt.usage.cpu / float(burnt.stdout) - 1))
        small, large = (_run(jailkit, TOUCH, limits, str(size)).usage.memory_peak for size in (1, SIZE_MIB + 1))
        memory.append(abs((large - small) / (SIZE_MIB << 20) - 1))
        for _ in range(LOOPS):
            outside.append(float(subprocess.run([*PYTHON, WORK], capture_output=True, check=True).stdout))
            inside.append(float(_run(jailkit, WORK, limits).stdout))
    overhead = min(inside) / min(outside) - 1
    return {"cpu_error": _median(cpu), "memory_error": _median(memory), "loop_overhead": overhead}


def fork_bomb(jailkit: Any, rounds: int) -> float:
    """Returns the longest time from the decision to kill a fork bomb at its limit until its jail and group are gone.

    Raises:
        CaseError: The jail has no control group to tell how many there are, or the bomb does not reach its limit.
    """
    longest = 0.0
    for _ in range(rounds):
        with jailkit.Jail(limits=jailkit.Limits(processes=PROCESSES)) as jail:
            bomb = jail.popen([*PYTHON, BOMB], stdout=jailkit.DEVNULL, stderr=jailkit.DEVNULL)
            _wait_for_limit(jailkit, jail)
            began = time.monotonic()
            bomb.kill()
            bomb.wait()
            jail.close()
            longest = max(longest, time.monotonic() - began)
            bomb.close()
    return longest


def _wait_for_limit(jailkit: Any, jail: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while (jail.usage().processes or 0) < PROCESSES:
            if time.monotonic() > deadline:
                raise CaseError(f"the bomb has not come to {PROCESSES} processes in {PATIENCE_SECONDS:.0f} s")
            time.sleep(0.01)
    except jailkit.UnsupportedError as error:
        raise CaseError(str(error)) from None


def _run(jailkit: Any, code: str, limits: Any, *arguments: str) -> Any:
    return jailkit.run([*PYTHON, code, *arguments], limits=limits).check()


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    import library

    print(json.dumps({**measure(library.load(), 5), "fork_bomb": fork_bomb(library.load(), 5)}, indent=1))
