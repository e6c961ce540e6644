"""How many fresh jails a machine makes in a second, on all its processors; and a soak of many."""

from __future__ import annotations

import concurrent.futures
import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import stress
from library import TRUE
from measure import CaseError

SHARE = 0.8
"""Of the rate of the C floor program, as many processes of it as there are threads here."""

TITLES = {
    "with_network": "time for many jails on all processors / C floor with the same walls",
    "without_network": "the same without network namespaces",
}
_MODES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "with_network": ((), {}),
    "without_network": (("--no-net",), {"net": "host"}),
}


def measure(jailkit: Any, program: Path, walls: Sequence[str], count: int, workers: int) -> dict[str, float]:
    """Returns the ratio of both times, each jail with all that is default, and the rate of jailkit.

    Args:
        jailkit: The package.
        program: The floor program.
        walls: What it is told to make the same walls.
        count: How many jails, of each side, three times.
        workers: How many at a time: threads of this process, and processes of the floor program.
    """
    found: dict[str, float] = {}
    each = max(1, count // workers)
    for key, (words, fields) in _MODES.items():
        ratios, rates = [], []
        for _ in range(3):
            ours = _threads(jailkit, fields, each, workers)
            rates.append(each * workers / ours)
            theirs = _processes([str(program), "-n", str(each), *walls, *words, "walls"], workers)
            ratios.append(ours / theirs)
        found[key] = round(statistics.median(ratios), 3)
        found[f"{key}_per_second"] = round(statistics.median(rates), 1)
    return found


def _threads(jailkit: Any, fields: dict[str, Any], each: int, workers: int) -> float:
    def work(_: int) -> None:
        for _ in range(each):
            jailkit.run(TRUE, **fields).check()

    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, number) for number in range(workers)]:
            done.result()
    return time.perf_counter() - begin


def _processes(command: list[str], workers: int) -> float:
    begin = time.perf_counter()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(workers)]
    codes = [process.wait() for process in running]
    if any(codes):
        raise CaseError(f"{command}: exit codes {codes}")
    return time.perf_counter() - begin


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def soak(jailkit: Any, count: int) -> dict[str, float]:
    """Returns how latency and memory changed over many jails, and how many kinds of things they have left behind."""
    for _ in range(100):
        jailkit.run(TRUE).check()
    before, memory, taken = stress.traces(), _resident(), []
    for _ in range(count):
        begin = time.perf_counter_ns()
        jailkit.run(TRUE).check()
        taken.append(time.perf_counter_ns() - begin)
    tenth = count // 10
    left = stress.left_behind(before)
    return {
        "count": count,
        "latency_ratio": round(statistics.median(taken[-tenth:]) / statistics.median(taken[:tenth]), 3),
        "memory_mib": round((_resident() - memory) / 2**20, 2),
        "left": float(len(left)),
    }
