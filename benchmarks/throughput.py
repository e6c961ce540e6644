"""How fast a program's output comes in, and how much memory a flood of it takes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

from measure import Case, CaseError

PIPED, CAPTURED, STREAMED = "subprocess_output", "jailkit_output", "jailkit_stream"
MIB = 1 << 20


def cases(jailkit: Any, jail: Any, size_mib: int) -> list[Case]:
    """Returns the ways to take so much output: all of it in the end, as subprocess does, and as it comes."""
    argv = ["/bin/dd", "if=/dev/zero", "bs=1M", f"count={size_mib}", "status=none"]
    size, unbounded = size_mib * MIB, jailkit.Limits(output=jailkit.UNLIMITED)

    def streamed() -> int:
        with jail.popen(argv, limits=unbounded) as process:
            return sum(len(chunk.data) for chunk in process.stream())

    ways: tuple[tuple[str, str, Callable[[], int]], ...] = (
        (PIPED, "subprocess.run, capture_output", lambda: _subprocess(argv)),
        (CAPTURED, "jail.run", lambda: len(jail.run(argv, limits=unbounded).stdout)),
        (STREAMED, "Process.stream, nothing kept", streamed),
    )
    return [Case(key=key, title=title, sample=_timed(way, size)) for key, title, way in ways]


def _subprocess(argv: list[str]) -> int:
    return len(subprocess.run(argv, check=True, capture_output=True).stdout)


def _timed(way: Callable[[], int], size: int) -> Callable[[], int]:
    def sample() -> int:
        begin = time.perf_counter_ns()
        got = way()
        taken = time.perf_counter_ns() - begin
        if got != size:
            raise CaseError(f"{got} bytes instead of {size}")
        return taken

    return sample


def memory_of_a_flood(jail: Any, limits: Any) -> int:
    """Returns by how many bytes this process grows, at most, while a program that never stops is bounded."""
    jail.run(["/bin/true"])
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew, see proc(5)
    before = _peak()
    result = jail.run(["/bin/dd", "if=/dev/zero", "bs=1M", "status=none"], limits=limits)
    if result.reason.name != "OUTPUT":
        raise CaseError(f"the flood ended otherwise: {result}")
    return _peak() - before


def _peak() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
