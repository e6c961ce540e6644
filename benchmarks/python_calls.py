"""What a Python call in a fresh process costs, against starting Python, and with a heap that was loaded before."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import report
from measure import Case, CaseError, ratio

START = "python_start"
CALL, NEXT = "python_call", "python_call_next"
HEAP_CALL, HEAP_NEXT = "python_call_heap", "python_call_heap_next"
HEAP_MIB = 50
PAUSE = 0.01
"""Seconds between two calls that do not follow one another at once: as long as a small piece of other work."""

# Touched small pages of many objects, as imported modules are.
_HEAP = f"""
import os
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
first, junk = resident(), []
while resident() < first + {HEAP_MIB}:
    junk += [str(n) * 3 for n in range(10000)]
"""


def _interpreter() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _start() -> int:
    command = [_interpreter(), "-I", "-S", "-c", "pass"]
    begin = time.perf_counter_ns()
    done = subprocess.run(command, check=False)
    taken = time.perf_counter_ns() - begin
    if done.returncode:
        raise CaseError(f"{command} failed")
    return taken


def _sampler(py: Any, *, pause: bool) -> Callable[[], int]:
    def sample() -> int:
        # At once: the call before may have left the session busy with getting ready for this one.
        if not pause:
            py.call("builtins:abs", -1)
        else:
            time.sleep(PAUSE)
        begin = time.perf_counter_ns()
        value = py.call("builtins:abs", -1)
        taken = time.perf_counter_ns() - begin
        if value != 1:
            raise CaseError(f"a call returned {value!r}")
        return taken

    return sample


def cases(jailkit: Any, stack: contextlib.ExitStack) -> list[Case]:
    """The start of an interpreter, and calls: after a pause and one upon the other, with and without a heap."""
    found = [Case(key=START, title="subprocess.run([python, -I, -S, -c, pass])", sample=_start)]
    for title, preload, keys in (
        ("py.call", [], (CALL, NEXT)),
        (f"py.call, {HEAP_MIB} MiB heap", ["jailkit_heap"], (HEAP_CALL, HEAP_NEXT)),
    ):
        jail = stack.enter_context(jailkit.Jail(mounts=[jailkit.File("/opt/modules/jailkit_heap.py", _HEAP)]))
        py = stack.enter_context(jail.python(preload, path=["/opt/modules"]))
        found += [
            Case(key=keys[0], title=title, sample=_sampler(py, pause=True)),
            Case(key=keys[1], title=f"{title}, at once after another", sample=_sampler(py, pause=False)),
        ]
    return found


def targets(samples: Mapping[str, Sequence[int]], why: Mapping[str, str]) -> list[report.Target]:
    """What was promised of a call; the same for calls without a pause is shown, and promised by nobody."""
    wanted = (("py.call / start of Python", 0.15, CALL), (f"the same with a {HEAP_MIB} MiB heap", 0.3, HEAP_CALL))
    found = []
    for name, limit, key in wanted:
        if samples.get(key) and samples.get(START):
            found.append(report.of_ratio(name, limit, ratio(samples[key], samples[START])))
        else:
            found.append(report.unmeasured(name, limit, why.get(key) or why.get(START, "no samples")))
    return found
