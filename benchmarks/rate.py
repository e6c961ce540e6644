"""How many fresh jails a machine makes in a second, on all its processors; and a soak of many."""

from __future__ import annotations

import concurrent.futures
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import stress
from library import TRUE
from measure import CaseError

SHARE = 0.8
"""Of the rate of the C floor program, as many processes of it as there are threads here."""

TITLES = {
    "with_network": "time for many jails on all processors / C floor",
    "without_network": "the same without network namespaces",
}
_MODES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "with_network": ((), {}),
    "without_network": (("--no-net",), {"net": "host"}),
}


def measure(jailkit: Any, program: Path, count: int, workers: int) -> dict[str, float]:
    """Returns the ratio of both times, with what the floor makes alone; and rates with all that is default."""
    found: dict[str, float] = {}
    each = max(1, count // workers)
    bare = {"limits": jailkit.Limits(memory=jailkit.UNLIMITED, swap=jailkit.UNLIMITED)}
    bare |= {"seccomp": False, "landlock": False}
    for key, (words, fields) in _MODES.items():
        ratios, rates = [], []
        for _ in range(3):
            rates.append(each * workers / _threads(jailkit, fields, each, workers))
            ours = _threads(jailkit, {**bare, **fields}, each, workers)
            theirs = _processes([str(program), "-n", str(each), *words, "all"], workers)
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
