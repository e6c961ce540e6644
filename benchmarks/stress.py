"""The harder promises: a large heap, busy threads, memory of an idle jail, a thousand jails."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from measure import Case, CaseError, interleave, summary

GIB = 1024**3
THREADS = 8
BLOCKS = 5
Samples = dict[str, list[int]]


def available_bytes() -> int:
    """Returns what the kernel thinks can be used without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise CaseError("/proc/meminfo has no MemAvailable")


def busy_share(seconds: float = 0.5) -> float:
    """Returns the share of all processors that others use while this program sleeps, 0 to 1."""

    def ticks() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
        return fields[3] + fields[4], sum(fields)  # idle and waiting for I/O, and all

    idle_before, all_before = ticks()
    time.sleep(seconds)
    idle_after, all_after = ticks()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


@contextlib.contextmanager
def resident(size: int) -> Iterator[None]:
    """Holds `size` bytes of touched private memory, in small pages, as a heap of objects is.

    Raises:
        CaseError: The machine has not half as much again to spare.
    """
    if available_bytes() < size * 3 // 2:
        raise CaseError(f"{size / GIB:.0f} GiB resident need {size * 1.5 / GIB:.0f} GiB of free memory")
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as heap:
        # Huge pages would hide what copying the page tables of a heap costs.
        with contextlib.suppress(OSError):
            heap.madvise(mmap.MADV_NOHUGEPAGE)
        step = 64 * 1024 * 1024
        for start in range(0, size, step):
            heap[start : start + step : mmap.PAGESIZE] = b"\1" * (step // mmap.PAGESIZE)
        yield


@contextlib.contextmanager
def busy_threads(work: Callable[[], object]) -> Iterator[None]:
    """Keeps `THREADS` threads of this program at work."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            work()

    threads = [threading.Thread(target=loop, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def python_threads() -> contextlib.AbstractContextManager[None]:
    """Threads that hold the interpreter lock whenever they can."""
    return busy_threads(lambda: sum(range(1000)))


def native_threads() -> contextlib.AbstractContextManager[None]:
    """Threads that compute outside the interpreter lock."""
    block = bytes(1024 * 1024)
    return busy_threads(lambda: hashlib.sha256(block))


@contextlib.contextmanager
def busy_processes() -> Iterator[None]:
    """Other processes that take the processors; they end by themselves after a minute."""
    code = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    with contextlib.ExitStack() as stack:
        for _ in range(THREADS):
            process = subprocess.Popen([sys.executable, "-S", "-E", "-c", code])
            stack.callback(process.wait)
            stack.callback(process.kill)
        time.sleep(0.2)  # they have to be past their own start
        yield


def compare_states(
    cases: Sequence[Case],
    state: Callable[[], contextlib.AbstractContextManager[None]],
    rounds: int,
    rng: random.Random,
) -> tuple[Samples, Samples]:
    """Measures the cases in and out of a state, in alternating blocks.

    Returns:
        The samples outside the state, and those within it.

    Raises:
        CaseError: The state cannot be had here, or a case failed in it.
    """
    plain: Samples = {case.key: [] for case in cases}
    loaded: Samples = {case.key: [] for case in cases}
    failed: dict[str, str] = {}
    for _ in range(BLOCKS):
        for into, around in ((plain, contextlib.nullcontext), (loaded, state)):
            with around():
                taken = interleave(cases, max(1, rounds // BLOCKS), rng, failed)
            if failed:
                raise CaseError("; ".join(f"{key}: {why}" for key, why in failed.items()))
            for key, values in taken.items():
                into[key] += values
    return plain, loaded


# ---- processes ----


def processes() -> dict[int, int]:
    """Returns pid to parent pid, of all processes that can be seen.

    A dead process that only waits for a parent other than this program to notice is not counted.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z" or int(parent) == os.getpid():
                found[int(entry.name)] = int(parent)
    return found


def below(root: int, parents: dict[int, int]) -> set[int]:
    """Returns root and all its descendants."""
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def ours(*roots: int) -> set[int]:
    """Returns the processes below this one and below the roots, and all orphans named after jailkit."""
    parents = processes()
    found = below(os.getpid(), parents)
    for root in roots:
        found |= below(root, parents)
    for pid, parent in parents.items():
        with contextlib.suppress(OSError):
            if parent == 1 and Path(f"/proc/{pid}/comm").read_text().startswith("jailkit"):
                found.add(pid)
    return found - {os.getpid()}


def pss_bytes(pid: int) -> int:
    """Returns the proportional set size of a process; shared pages count by share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def idle_memory(jailkit: Any) -> dict[str, object]:
    """Returns the memory of all processes of one idle jail, before and after it ran a program.

    The jail should be the only one alive: its processes then bear their program text alone.
    """
    before = ours()
    with jailkit.Jail() as jail:
        fresh = _pss(ours(jail.pid) - before)
        jail.run(["/bin/true"]).check()
        used = _pss(ours(jail.pid) - before)
    return {"fresh_bytes": sum(fresh.values()), "used_bytes": sum(used.values()), "processes": len(used)}


def _pss(pids: set[int]) -> dict[int, int]:
    sizes = {}
    for pid in pids:
        # A helper may end while it is looked at; a jail that has no process left has no memory either.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            sizes[pid] = pss_bytes(pid)
    if not sizes:
        raise CaseError("the jail has no process that can be seen")
    return sizes


# ---- many jails ----


def traces() -> dict[str, set[str]]:
    """Returns what a jail could leave behind on this host, as sets that can be subtracted."""
    controllers = Path("/sys/fs/cgroup")
    groups = {str(path) for path in controllers.glob("**/*jailkit*")} if controllers.is_dir() else set()
    temporary = Path(tempfile.gettempdir())
    return {
        "processes": {str(pid) for pid in ours()},
        "descriptors": set(os.listdir("/proc/self/fd")),
        "mounts": set(Path("/proc/self/mountinfo").read_text().splitlines()),
        "cgroups": groups,
        "files": {str(path) for path in temporary.glob("*jailkit*")},
    }


def left_behind(before: dict[str, set[str]], patience: float = 5.0) -> dict[str, list[str]]:
    """Returns what has come since `before` and does not go away within `patience` seconds.

    The kernel takes namespaces and processes apart in the background; and other programs of this
    machine, which may use jailkit too, come and go.
    """
    deadline = time.monotonic() + patience
    while True:
        left = {kind: sorted(now - before[kind]) for kind, now in traces().items()}
        left = {kind: found for kind, found in left.items() if found}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.25)


def many_jails(
    jailkit: Any, count: int, by_hand: Callable[[], float] | None = None, edge: int = 20
) -> dict[str, object]:
    """Starts `count` jails, keeps them all, then closes them.

    Args:
        jailkit: The package.
        count: How many.
        by_hand: Measures a jail that is made by hand, before the others and beside them.
        edge: How many of the first and of the last count.

    Returns:
        Medians of the first and of the last `edge` starts, how long closing took, and what was left.

    Raises:
        CaseError: A jail could not be started; those before it are closed.
    """
    with jailkit.Jail() as jail:  # what the library keeps for the life of the program is no leak
        jail.run(["/bin/true"]).check()
    before = traces()
    hand = by_hand() if by_hand else 0.0
    with many_descriptors(), contextlib.ExitStack() as stack:
        jails, taken = _start(jailkit, count, stack)
        hand = by_hand() / hand if by_hand else 0.0
        jails[-1].run(["/bin/true"]).check()
        memory = sum(pss_bytes(jail.pid) for jail in jails)
        begin = time.perf_counter_ns()
        stack.pop_all().close()
        closing = time.perf_counter_ns() - begin
    first, last = taken[:edge], taken[-edge:]
    return {
        "count": count,
        "first": summary(first),
        "last": summary(last),
        "ratio": statistics.median(last) / statistics.median(first),
        "by_hand": round(hand, 3) if by_hand else None,
        "close_all_seconds": round(closing / 1e9, 3),
        "pss_bytes_per_jail": memory // count,
        "left_behind": left_behind(before),
    }


def _start(jailkit: Any, count: int, stack: contextlib.ExitStack) -> tuple[list[Any], list[int]]:
    jails: list[Any] = []
    taken: list[int] = []
    for number in range(count):
        jail = jailkit.Jail()
        begin = time.perf_counter_ns()
        try:
            jail.start()
        except Exception as error:
            raise CaseError(f"jail {number + 1}: {type(error).__name__}: {error}") from error
        taken.append(time.perf_counter_ns() - begin)
        stack.callback(jail.close)
        jails.append(jail)
    return jails, taken


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """Raises the soft limit of open files to the hard one: each live jail holds a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
