"""Builds the C floor program and takes samples from it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from measure import Case, CaseError
from server import Server

HERE = Path(__file__).resolve().parent
# Static, so that the cost of its own clone is that of a small program and not of the dynamic linker's mappings.
FLAGS = ("-O2", "-static", "-Wall", "-Wextra", "-Werror")
MODES = (
    ("floor_vfork", "C floor: vfork and exec, no jail", ("vfork",)),
    ("floor_ask", "C floor: ask a process for it, no jail", ("ask",)),
    ("floor_enter", "C floor: enter live namespaces", ("enter",)),
    ("floor_no_net", "C floor: cold, without network namespace", ("--no-net", "all")),
    ("floor_all", "C floor: cold, all seven namespaces", ("all",)),
)
WALLED_MODES = (
    ("floor_walls", "C floor: cold, with all walls of a SANDBOX", ("walls",)),
    ("floor_live", "C floor: ask PID 1 of a live jail with all walls", ("live",)),
)


def build(directory: Path) -> Path:
    """Compiles the floor program into a directory, if that was not done.

    Raises:
        CaseError: It must run as root, and does not; or it does not compile.
    """
    if os.geteuid() != 0:
        raise CaseError("needs root, to map a range of ids that no one else uses")
    target = directory / "floor"
    if target.exists():
        return target
    command = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS, "-o", str(target)]
    command += [str(HERE / f"{name}.c") for name in ("floor", "floor_steps", "floor_ask", "floor_walls")]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        raise CaseError(f"no C compiler: {error}") from error
    if done.returncode:
        raise CaseError(f"does not compile: {done.stderr.strip()}")
    return target


def walls(directory: Path) -> tuple[str, ...]:
    """Returns the options that say what walls jailkit builds here: its filter, and where it makes control groups.

    Raises:
        CaseError: It has not all of them here.
    """
    try:
        host = importlib.import_module("jailkit._host").probe(importlib.import_module("jailkit").JailSpec())
    except ImportError as error:
        raise CaseError(f"cannot be imported: {error}") from error
    if host.cgroups is None or not host.seccomp or not host.landlock:
        raise CaseError("jailkit has no control groups, no filter or no Landlock here")
    (directory / "filter").write_bytes(b"".join(host.seccomp))
    return "--groups", host.cgroups.parent("memory"), "--filter", str(directory / "filter")


def available(directory: Path, stack: contextlib.ExitStack, missing: dict[str, str]) -> list[Case]:
    """Builds the program and starts what can be had here; the reasons for the rest go to `missing`."""
    try:
        program = build(directory)
    except CaseError as error:
        missing["floor_all"] = str(error)
        return []
    try:
        return cases(program, stack, walls(directory))
    except CaseError as error:
        missing["floor_walls"] = missing["floor_live"] = str(error)
        return cases(program, stack)


def cases(program: Path, stack: contextlib.ExitStack, walls: Sequence[str] = ()) -> list[Case]:
    """Starts one server per mode; they end with the stack. With `walls`, also those that build them."""
    found = []
    modes = [*MODES, *((key, title, (*walls, *mode)) for key, title, mode in WALLED_MODES if walls)]
    for key, title, arguments in modes:
        server = Server([str(program), "--serve", *arguments])
        stack.callback(server.close)
        found.append(Case(key=key, title=title, sample=server.sample, probe=_probe(program, arguments)))
    return found


def _probe(program: Path, arguments: Sequence[str]) -> Callable[[Sequence[str]], str]:
    def probe(argv: Sequence[str]) -> str:
        command = [str(program), *arguments, "--", *argv]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return probe


def steps(program: Path, arguments: Sequence[str], count: int) -> tuple[list[int], dict[str, list[int]]]:
    """Returns the nanoseconds of `count` launches, whole and by step.

    Raises:
        CaseError: The program failed.
    """
    command = [str(program), "--steps", "-n", str(count), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CaseError(done.stderr.strip())
    answer = json.loads(done.stdout)
    return answer["ns"], answer["steps"]


def median(directory: Path, count: int = 40) -> Callable[[], float] | None:
    """Returns what measures a jail made by hand, in nanoseconds; None where there is no floor program."""
    try:
        program = build(directory)
    except CaseError:
        return None
    return lambda: statistics.median(steps(program, ("all",), count)[0])
