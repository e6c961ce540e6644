"""What the server of a session does about processes, files, System V objects and memory.

This file runs inside jails, by whatever Python is there: it uses the standard library alone, of Python 3.9.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from typing import Any

__all__ = ["Ipc", "Places", "bury", "use_huge_pages", "vitals"]

_BURIAL_SECONDS = 2.0
"""How long what a call has left behind may outrun its end. Then PID 1 of the jail ends it, with the server."""

_MOST_DIRECTORIES = 1000
_MOST_FILES = 200_000
_SLEEP = 0.0005
_HUGE = 2 << 20
_MADV_COLLAPSE = 25
_MOST_COLLAPSED = 512 << 20
"""Bytes, at about 1 ms for each of 2 MiB: what is above is not worth the wait."""
_RLIMITS = 16


def bury(*, scoped: bool) -> bool:
    """Kill and collect every descendant of this process, which adopts those that lose their parent.

    Args:
        scoped: Signals of this process reach its descendants only, as Landlock (ABI 6) has it: the kernel ends them at
            once, and no fork bomb is faster.
    """
    deadline = time.monotonic() + _BURIAL_SECONDS
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return True
        for pid in (-1,) if scoped else _children():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        if time.monotonic() > deadline:
            return False
        time.sleep(_SLEEP)


def _children() -> list[int]:
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) == me]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return -1


def vitals() -> tuple[object, ...]:
    """Return what a call can change of this process from outside: the next call would inherit it."""
    limits = tuple(resource.getrlimit(number) for number in range(_RLIMITS))
    return limits, os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0)


def use_huge_pages(libc: Any) -> None:
    """Put large heaps into pages of 2 MiB: a fork, and the end of a process, cost time for each page.

    madvise(2), MADV_COLLAPSE, from Linux 6.1 on; elsewhere nothing happens.
    """
    if libc is None:
        return
    import ctypes  # noqa: PLC0415 - it was imported before, or there was no libc

    left = _MOST_COLLAPSED
    with contextlib.suppress(OSError), open("/proc/self/maps") as file:
        for line in file.read().splitlines():
            where, rights, *rest = line.split()
            if rights != "rw-p" or rest[3:] not in ([], ["[heap]"]):
                continue
            first, _, end = where.partition("-")
            for start in range(-(-int(first, 16) // _HUGE) * _HUGE, int(end, 16) - _HUGE + 1, _HUGE):
                left -= _HUGE
                if left < 0 or libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(_HUGE), _MADV_COLLAPSE):
                    return


class Ipc:
    """The shared memory, semaphores and message queues of System V, which outlive processes."""

    def __init__(self, libc: Any) -> None:
        """Look at them by files that stay open, because this is done after each call."""
        self._libc = libc
        self._files: list[tuple[str, int]] = []
        for name in ("shm", "sem", "msg"):
            with contextlib.suppress(OSError):
                self._files.append((name, os.open(f"/proc/sysvipc/{name}", os.O_RDONLY)))

    def close(self) -> None:
        """In a call: it has no business here."""
        for _, file in self._files:
            os.close(file)

    def forget(self) -> bool:
        """Remove them; return whether none is left."""
        for name, file in self._files:
            while len(lines := os.pread(file, 65536, 0).splitlines()) > 1:
                for line in lines[1:]:
                    number = int(line.split()[1])
                    arguments = (number, 0, 0) if name == "sem" else (number, 0, None)
                    if getattr(self._libc, f"{name}ctl")(*arguments) != 0:  # 0 is IPC_RMID
                        return False
        return True


class Places:
    """The directories that are private to the jail, and what is in them."""

    def __init__(self, paths: list[str]) -> None:
        """Hold directories; those that are not there do not count."""
        self.paths = [path for path in paths if os.path.isdir(path)]
        self._devices = {os.lstat(path).st_dev for path in self.paths}

    def look(self) -> dict[str, set[str]]:
        """Return the names in each directory, and in those below it."""
        found: dict[str, set[str]] = {}
        todo = list(self.paths)
        while todo and len(found) < _MOST_DIRECTORIES:
            path = todo.pop()
            try:
                names = os.listdir(path)
            except OSError:
                continue
            found[path] = set(names)
            todo += [f"{path}/{name}" for name in names if self._is_ours(f"{path}/{name}")]
        return found

    def _is_ours(self, path: str) -> bool:
        """Whether it is a directory, and no mount of something else."""
        try:
            about = os.lstat(path)
        except OSError:
            return False
        return about.st_mode & 0o170000 == 0o040000 and about.st_dev in self._devices

    def clean(self, keep: dict[str, set[str]]) -> bool:
        """Remove every name that is not to be kept; return whether nothing of it is left."""
        budget = [_MOST_FILES]
        try:
            for path, names in keep.items():
                if self._is_ours(path):
                    self._clean(path, names, budget)
        except OSError:
            return False
        return True

    def _clean(self, path: str, keep: set[str], budget: list[int]) -> None:
        fresh = set(os.listdir(path)) - keep
        if not fresh:
            return
        place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(place).st_dev in self._devices:
                _empty(place, list(fresh), budget)
        finally:
            os.close(place)


def _empty(place: int, todo: list[str], budget: list[int]) -> None:
    """Remove names and all below them. Directories move up first: no path gets too long, and nothing recurses."""
    count = 0
    while todo:
        name = todo.pop()
        if _unlink(name, place, budget):
            continue
        _open_up(name, place)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
        try:
            for below in os.listdir(inner):
                if not _unlink(below, inner, budget):
                    _open_up(below, inner)  # or it could not be moved (rename(2))
                    count += 1
                    moved = f".jailkit-{os.urandom(8).hex()}-{count}"
                    os.rename(below, moved, src_dir_fd=inner, dst_dir_fd=place)
                    todo.append(moved)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=place)


def _open_up(name: str, place: int) -> None:
    """Give a directory back to its owner, who may have shut himself out."""
    with contextlib.suppress(PermissionError):  # in the tier landlock nobody may; it is as open as it was made
        os.chmod(name, 0o700, dir_fd=place)


def _unlink(name: str, place: int, budget: list[int]) -> bool:
    """Remove what is no directory."""
    budget[0] -= 1
    if budget[0] < 0:
        raise OSError("too many files")
    try:
        os.unlink(name, dir_fd=place)
    except IsADirectoryError:
        return False
    return True
