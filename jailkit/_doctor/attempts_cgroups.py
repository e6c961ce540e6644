"""Control groups: below the caller's own, in every hierarchy, one is made, entered by a child, and removed."""

from __future__ import annotations

import os
import time
from typing import Any

import attrs

from jailkit._doctor.attempt import At

__all__ = ["ATTEMPTS"]

_CONTROLLERS = ("cpu", "io", "memory", "pids", "cpuset", "blkio", "freezer", "cpuacct", "devices", "hugetlb", "misc")
_SECONDS_TO_EMPTY = 2.0


@attrs.frozen
class _Hierarchy:
    version: int
    controllers: tuple[str, ...]  # of version 1: bound to it by mounting; of version 2: available in the own group
    path: str  # of the own group
    read_only: bool


def _own_groups() -> dict[str, str]:
    """Return the paths of this process's groups, by the controllers of the hierarchy ("" is version 2)."""
    with open("/proc/self/cgroup") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    return {controllers: path for _, controllers, path in lines}


def _mounted() -> list[tuple[str, str, list[str], bool]]:
    """Return kind, mount point, options and read-only of every mounted hierarchy, each once."""
    found: dict[tuple[str, str], tuple[str, str, list[str], bool]] = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            device, place, flags = (before.split()[index] for index in (2, 4, 5))
            kind, _, options = after.split()
            if kind in ("cgroup", "cgroup2"):
                found[kind, device] = (kind, place, options.split(","), "ro" in flags.split(","))
    return list(found.values())


def _root_of(place: str) -> str:
    """Return the group that is shown at a mount point: not ``/`` in a container that shares its host's view."""
    with open("/proc/self/mountinfo") as file:
        roots = [line.split()[3] for line in file if line.split()[4] == place]
    return roots[-1] if roots else "/"


def _hierarchies() -> list[_Hierarchy]:
    own = _own_groups()
    found = []
    for kind, place, options, read_only in _mounted():
        names = [option for option in options if option in _CONTROLLERS]
        key = "" if kind == "cgroup2" else next((key for key in own if set(names) & set(key.split(","))), None)
        if key is None or (kind == "cgroup" and not names) or key not in own:
            continue  # a named hierarchy, such as systemd's, limits nothing
        root = _root_of(place)
        below = own[key].removeprefix(root.rstrip("/")) if root != "/" else own[key]
        path = os.path.normpath(place + "/" + below)
        if kind == "cgroup2":
            names = _words(f"{path}/cgroup.controllers")
        found.append(_Hierarchy(2 if kind == "cgroup2" else 1, tuple(names), path, read_only))
    return found


def _words(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().split()
    except OSError:
        return []


def _join(path: str) -> None:
    """Put a child into a group; it ends there."""
    child = os.fork()
    if child == 0:
        error = 0
        try:
            with open(f"{path}/cgroup.procs", "w") as file:
                file.write("0")
        except OSError as failed:
            error = failed.errno or 5
        finally:
            os._exit(error)
    if error := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(error, os.strerror(error))


def _remove(path: str) -> None:
    """Remove a group as soon as the child in it is gone for good, which the kernel does a moment after the wait."""
    deadline = time.monotonic() + _SECONDS_TO_EMPTY
    while True:
        try:
            os.rmdir(path)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _try_hierarchy(one: _Hierarchy) -> dict[str, Any]:
    path = f"{one.path}/jailkit-doctor-{os.getpid()}"
    answer: dict[str, Any] = {**attrs.asdict(one), "errno": 0, "step": "", "files": [], "enabled": []}
    try:
        answer["step"] = "mkdir"
        os.mkdir(path)
    except OSError as error:
        return {**answer, "errno": error.errno}
    try:
        answer["files"] = sorted(os.listdir(path))
        answer["enabled"] = _words(f"{path}/cgroup.controllers")
        answer["step"] = "write cgroup.procs"
        _join(path)
    except OSError as error:
        answer["errno"] = error.errno
    finally:
        _remove(path)
    return answer


def _cgroups(at: At) -> None:
    at("look for hierarchies")
    at.data["hierarchies"] = []
    for one in _hierarchies():
        at(f"make a group in {one.path}")
        at.data["hierarchies"].append(_try_hierarchy(one))


ATTEMPTS = {"cgroups": _cgroups}
