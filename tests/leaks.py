"""What a test can leave behind on the host, listed before and after it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import signal
import tempfile
import time
from collections.abc import Container, Iterable, Iterator

from tests.patience import patient

__all__ = [
    "Thing",
    "adopt_orphans",
    "children",
    "descendants",
    "end_processes",
    "left_since",
    "lost_since",
    "mounts",
    "reap",
    "snapshot",
]

Thing = tuple[str, str]
"""A kind of thing and what tells it from others of its kind."""

SETTLE_SECONDS = patient(25)
"""Bound, not a duration: what is gone is seen to be gone at once."""

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Have lost descendants become children of this process instead of the machine's PID 1, where they would hide."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _small(path: str) -> bytes:
    """Read a file of one page: this is done for every process of the machine, before and after every test."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def _parents() -> dict[int, tuple[int, str, str]]:
    """Return parent, state and name of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                head, _, tail = _small(f"/proc/{name}/stat").decode(errors="replace").rpartition(")")
                state, parent = tail.split(maxsplit=2)[:2]
                found[int(name)] = (int(parent), state, head.partition("(")[2])
    return found


def children() -> dict[int, str]:
    """Return the children of this process, zombies included, with state and name."""
    me = os.getpid()
    return {pid: f"{state} {name}" for pid, (parent, state, name) in _parents().items() if parent == me}


def descendants() -> dict[int, str]:
    """Return all processes below this one: with orphans adopted, everything it or its jails have ever started."""
    table = _parents()
    found: dict[int, str] = {}
    wanted = {os.getpid()}
    while wanted:
        wanted = {pid for pid, (parent, _, _) in table.items() if parent in wanted} - found.keys()
        found.update({pid: f"{table[pid][1]} {table[pid][2]}" for pid in wanted})
    return found


def _descriptors() -> Iterator[Thing]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            yield "descriptor", f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}"


def mounts() -> Iterator[Thing]:
    """Return what is mounted where this process is."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            # Without the optional fields and the options, which others may change meanwhile.
            yield "mount", " ".join(line.split()[:5])


def _cgroups(ours: Container[int]) -> Iterator[Thing]:
    # Others make and remove control groups all the time, other users of jailkit among them: only ours tell something,
    # and those of a host program that is gone.
    for top, names, _ in os.walk("/sys/fs/cgroup"):
        for name in names:
            made = re.match(r"jailkit-(?:[a-z]+-)?(\d+)", name)
            if made and (int(made[1]) in ours or not os.path.exists(f"/proc/{made[1]}")):
                yield "control group", os.path.join(top, name)


def _files() -> Iterator[Thing]:
    # The directory for temporary files is this session's own, see conftest.py; what pytest keeps in it is pytest's.
    for top, ours in ((tempfile.gettempdir(), ""), ("/dev/shm", "jailkit"), ("/run", "jailkit")):
        with contextlib.suppress(OSError):
            yield from (
                ("file", os.path.join(top, name))
                for name in os.listdir(top)
                if ours in name and not name.startswith("pytest-of-")
            )


def snapshot() -> set[Thing]:
    """Return everything there is of the kinds that a jail is made of."""
    # Not processes by their state, which changes; not threads by their number, which is used again.
    below = descendants()
    things = {("process", f"{pid} {what.split(' ', 1)[1]}") for pid, what in below.items()}
    things |= {("thread", name) for name in os.listdir("/proc/self/task")}
    return things.union(_descriptors(), mounts(), _cgroups({os.getpid(), *below}), _files())


def _is_janitor(pid: int) -> bool:
    """Whether it looks after the control groups or directories of this process, and lives as long."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().endswith(f"-{os.getpid()}-\0".encode())  # its last word: the beginning of their names
    return False


def _bury_janitors() -> None:
    """Collect what has looked after the control groups of a host program that ended: it was adopted by this process."""
    for pid, what in children().items():
        if what == "Z sh":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def left_since(before: set[Thing]) -> list[Thing]:
    """Return what is new since a snapshot and does not go away."""
    deadline = time.monotonic() + SETTLE_SECONDS
    left = snapshot() - before
    while left and time.monotonic() < deadline:
        _bury_janitors()
        gc.collect()  # a traceback that pytest keeps for a moment holds on to what its frames do
        time.sleep(0.02)
        left = snapshot() - before
    return sorted(left)


def lost_since(before: set[Thing]) -> list[str]:
    """Return the descriptors of a snapshot that somebody has closed who did not open them; number 0 is mended."""
    now = {what.split()[0] for _, what in _descriptors()}
    lost = sorted(what for kind, what in before if kind == "descriptor" and what.split()[0] not in now)
    if any(what.split()[0] == "0" for what in lost):
        os.open(os.devnull, os.O_RDONLY)  # the lowest free number is 0
    return lost


def end_processes(things: Iterable[Thing]) -> None:
    """Kill and reap the processes among things left behind: they are ours, and the next test is to start clean."""
    processes = [int(what.split()[0]) for kind, what in things if kind == "process"]
    for pid in processes:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    if processes:
        # What a fixture of several tests holds is alive and was there before: nobody waits for it.
        reap(keep={pid for pid, what in children().items() if pid not in processes and not what.startswith("Z")})


def reap(seconds: float = SETTLE_SECONDS, *, keep: Iterable[int] = ()) -> dict[int, str]:
    """Collect adopted orphans that have ended, until no child but those of `keep` is left; return who is left.

    For tests that end a host program: what survives it becomes a child of this process, and what does not survive
    becomes a zombie of it.
    """
    deadline = time.monotonic() + seconds
    kept = set(keep)
    while True:
        for pid, what in children().items():
            if pid not in kept and what.startswith("Z"):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        left = {pid: what for pid, what in children().items() if pid not in kept and not _is_janitor(pid)}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)
