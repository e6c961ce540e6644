"""The cases of jailkit itself and of `subprocess`, as a user would write them."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from measure import Case, CaseError

BASELINE = "subprocess"
COLD = "jailkit_cold"
LIVE = "jailkit_live"
POOL = "jailkit_pool"
COLD_BARE, LIVE_BARE = "jailkit_cold_bare", "jailkit_live_bare"
COLD_UNGROUPED, LIVE_UNGROUPED = "jailkit_cold_ungrouped", "jailkit_live_ungrouped"
COLD_SAME = "jailkit_cold_same"
PIPED, SILENT, LIVE_SILENT = "subprocess_piped", "subprocess_devnull", "jailkit_live_devnull"
POOL_BUSY = "jailkit_pool_busy"
RESTED, PAUSE = "subprocess_rested", 0.005
TRUE = ["/bin/true"]


def load() -> Any:
    """Imports the installed jailkit.

    Raises:
        CaseError: It cannot be imported, or cannot build a jail here.
    """
    try:
        jailkit = importlib.import_module("jailkit")
    except ImportError as error:
        raise CaseError(f"cannot be imported: {error}") from error
    try:
        jailkit.run(TRUE).check()
    except Exception as error:
        raise CaseError(f"cannot run /bin/true: {type(error).__name__}: {error}") from error
    return jailkit


def timed(run: Callable[[], object], succeeded: Callable[[Any], bool]) -> Callable[[], int]:
    """Returns a sampler: the clock covers the call alone, the check comes after it."""

    def sample() -> int:
        begin = time.perf_counter_ns()
        result = run()
        taken = time.perf_counter_ns() - begin
        if not succeeded(result):
            raise CaseError(f"/bin/true failed: {result!r}")
        return taken

    return sample


def subprocess_cases() -> list[Case]:
    """`subprocess.run` bare, which everything is compared with; and like for like what jailkit is measured as."""

    def done(result: subprocess.CompletedProcess[bytes]) -> bool:
        return result.returncode == 0

    bare = timed(lambda: subprocess.run(TRUE, check=False), done)
    piped = timed(lambda: subprocess.run(TRUE, check=False, capture_output=True), done)
    null = subprocess.DEVNULL
    silent = timed(lambda: subprocess.run(TRUE, check=False, stdin=null, stdout=null, stderr=null), done)

    def rested() -> int:
        time.sleep(PAUSE)
        return bare()

    return [
        Case(key=RESTED, title="subprocess.run, after a pause", sample=rested),
        Case(key=BASELINE, title="subprocess.run", sample=bare),
        Case(key=PIPED, title="subprocess.run, capture_output", sample=piped),
        Case(key=SILENT, title="subprocess.run, DEVNULL", sample=silent),
    ]


def cold_case(jailkit: Any) -> Case:
    """One whole jail per program: built, run, taken away."""
    return Case(
        key=COLD,
        title="jailkit.run, cold",
        sample=timed(lambda: jailkit.run(TRUE), lambda result: bool(result.ok)),
        probe=lambda argv: _output(jailkit.run(argv)),
    )


def bare_cases(jailkit: Any, stack: contextlib.ExitStack) -> list[Case]:
    """The same two without the filter of system calls and without Landlock: what those walls cost."""
    off: dict[str, Any] = {"seccomp": False, "landlock": False}
    jail = stack.enter_context(jailkit.Jail(**off))
    cold = timed(lambda: jailkit.run(TRUE, **off), lambda result: bool(result.ok))
    live = timed(lambda: jail.run(TRUE), lambda result: bool(result.ok))
    return [
        Case(key=COLD_BARE, title="jailkit.run, cold, no seccomp, no Landlock", sample=cold),
        Case(key=LIVE_BARE, title="jail.run, live, no seccomp, no Landlock", sample=live),
    ]


def ungrouped_cases(jailkit: Any, stack: contextlib.ExitStack) -> list[Case]:
    """Without a control group; and with nothing but what the floor and bwrap make: mounts and namespaces."""
    off: dict[str, Any] = {"limits": jailkit.Limits(memory=jailkit.UNLIMITED, swap=jailkit.UNLIMITED)}
    if _has_group(jailkit.Jail(**off)):  # version 2 costs the same for one limit as for all
        unlimited = dict.fromkeys(("memory", "swap", "cpu_seconds", "processes"), jailkit.UNLIMITED)
        off = {"limits": jailkit.Limits(**unlimited)}
    same = {**off, "seccomp": False, "landlock": False}
    jail = stack.enter_context(jailkit.Jail(**off))
    cold = timed(lambda: jailkit.run(TRUE, **off), lambda result: bool(result.ok))
    live = timed(lambda: jail.run(TRUE), lambda result: bool(result.ok))
    bare = timed(lambda: jailkit.run(TRUE, **same), lambda result: bool(result.ok))
    return [
        Case(key=COLD_UNGROUPED, title="jailkit.run, cold, no control group", sample=cold),
        Case(key=LIVE_UNGROUPED, title="jail.run, live, no control group", sample=live),
        Case(key=COLD_SAME, title="jailkit.run, cold, mounts and namespaces alone", sample=bare),
    ]


def _has_group(jail: Any) -> bool:
    return "control group" in jail.explain().partition("With the rights")[0]


def live_cases(jailkit: Any, stack: contextlib.ExitStack) -> list[Case]:
    """One program in a jail that already stands; and without capturing what it writes."""
    jail = stack.enter_context(jailkit.Jail())
    null = jailkit.DEVNULL
    silent = timed(lambda: jail.run(TRUE, stdout=null, stderr=null), lambda result: bool(result.ok))
    return [
        Case(
            key=LIVE,
            title="jail.run, live jail",
            sample=timed(lambda: jail.run(TRUE), lambda result: bool(result.ok)),
            probe=lambda argv: _output(jail.run(argv)),
        ),
        Case(key=LIVE_SILENT, title="jail.run, live jail, DEVNULL", sample=silent),
    ]


def pool_cases(jailkit: Any, stack: contextlib.ExitStack) -> list[Case]:
    """A program in a fresh jail that has waited for it, the refilling not on the clock; and with no time for it."""
    pool = stack.enter_context(jailkit.JailPool(size=4))
    sample = timed(lambda: pool.run(TRUE), lambda result: bool(result.ok))

    def ready() -> int:
        if not pool.wait_full(30):
            raise CaseError("the pool is not refilled")
        time.sleep(PAUSE)  # what was thrown away is being taken away
        return sample()

    return [
        Case(key=POOL, title="pool.run, a fresh jail that waited", sample=ready),
        Case(key=POOL_BUSY, title="pool.run, whatever the pool is doing", sample=sample),
    ]


def _output(result: Any) -> str:
    return bytes(result.check().stdout).decode()


# ---- what a case has built ----

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_SCRIPT = "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done; cat /proc/self/mountinfo"


def shape(case: Case) -> dict[str, list[str]] | None:
    """Returns the namespaces and the mounts that a program of this case finds itself in.

    A comparison of prices means something only if the goods are the same.
    """
    if case.probe is None:
        return None
    script: Sequence[str] = ("/bin/sh", "-c", _SCRIPT)
    try:
        inside = case.probe(script).splitlines()
    except Exception as error:  # noqa: BLE001 - a shape is information, never a reason to stop
        return {"error": [f"{type(error).__name__}: {error}"]}
    outside = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    count = len(NAMESPACES)
    own = [name for name, a, b in zip(NAMESPACES, inside[:count], outside[:count], strict=True) if a != b]
    mounts = sorted(line.split()[4] for line in inside[count:] if " - " in line)
    return {"namespaces": own, "mounts": mounts}
