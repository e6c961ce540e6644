"""A control group that we made: its files, its life, its end. cgroups(7)."""

from __future__ import annotations

import abc
import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterable

import attrs

from jailkit import _native
from jailkit._janitor import PREFIX
from jailkit.plan import GroupPlan, Setting

__all__ = ["Counters", "Group", "GroupError", "Join", "read_keys", "read_text", "write_text"]

_REMOVE_SECONDS = 5.0
"""How long the last process of a group may take to leave it after its death; microseconds, as a rule."""

_numbers = itertools.count(1)


class GroupError(OSError):
    """A step with a control group failed; the errno is the kernel's, and `step` says what was tried."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(error.errno, os.strerror(error.errno or errno.EIO))
        self.step = step


@attrs.frozen(kw_only=True)
class Counters:
    """What a group has used so far. None: this kernel, or this group, does not tell.

    Attributes:
        cpu_user: Seconds in user mode.
        cpu_system: Seconds in the kernel.
        throttled: Seconds that it was kept from running by `Limits.cpus`.
        memory: Bytes now.
        memory_peak: Most bytes at once.
        oom_kills: How often the kernel killed a process of it for want of memory.
        processes: Processes and threads now.
        processes_peak: Most of them at once.
        io_read: Bytes read from block devices.
        io_written: Bytes written to them.
    """

    cpu_user: float | None = None
    cpu_system: float | None = None
    throttled: float | None = None
    memory: int | None = None
    memory_peak: int | None = None
    oom_kills: int = 0
    processes: int | None = None
    processes_peak: int | None = None
    io_read: int | None = None
    io_written: int | None = None


def read_text(directory: str, file: str) -> str | None:
    """Return the contents of a small file of a group, or None if there is no such file."""
    try:
        return _native.QuickFile(f"{directory}/{file}", os.O_RDONLY).read().decode()
    except OSError:
        return None


def read_keys(directory: str, file: str) -> dict[str, int]:
    """Return a file of lines ``key number``; nothing if there is no such file."""
    return _keys(read_text(directory, file) or "")


def _keys(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def read_number(directory: str, file: str) -> int | None:
    """Return the number in a file, or None."""
    text = (read_text(directory, file) or "").strip()
    return int(text) if text.isdigit() else None


def write_text(directory: str, file: str, text: str) -> None:
    """Write to a file of a group.

    Raises:
        OSError: The kernel refuses.
    """
    opened = _native.QuickFile(f"{directory}/{file}", os.O_WRONLY)
    os.write(opened.fd, text.encode())


def _set(directory: str, file: str, text: str) -> None:
    """Do the same with a group that nobody is in yet, so that the kernel has nothing to wait for."""
    _native.QuickFile(f"{directory}/{file}", os.O_WRONLY).write(text.encode())


class Join(_native.QuickFile):
    """An open file or directory by which a process joins a group; closed when it is forgotten."""


class Group(abc.ABC):
    """The group of a jail or of one program: one directory, or, in version 1, one in each tree that is needed."""

    def __init__(self, plan: GroupPlan, above: Group | None = None, *, program: bool = False) -> None:
        """Make nothing yet.

        Args:
            plan: What it is to be.
            above: A group to make it in, where that has a part in the same tree.
            program: It is for one program of a jail, and not for a jail.
        """
        # Noted before they are made: an exception may come at any point, also of this.
        self._paths: dict[str, str] = {}
        self._watched: dict[str, _native.QuickFile] = {}
        self.plan = plan
        self._above = above
        self._program = program
        self._name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        self._made = False
        self._read: dict[str, tuple[bytes, dict[str, int]]] = {}  # what they said last, and what that means

    def _inside(self, tree: str, parent: str) -> str:
        """Return where the directory in one tree belongs: in the group above, if that is in this tree too."""
        above = self._above._paths.get(tree, parent) if self._above else parent  # noqa: SLF001 - its own class
        return f"{above}/{self._name}"

    def make(self) -> None:
        """Make the directories and write the settings.

        Raises:
            GroupError: One step failed; nothing is left.
        """
        try:
            self._prepare()
            for tree, parent in self.plan.parents:
                path = self._inside(tree, parent)
                known = path in self._paths.values()  # two controllers of version 1 that share a tree
                self._paths[tree] = path
                if not known:
                    self._step(f"make control group {path}", _native.make_directory, path)
            self.write(self.plan.settings)
            self._finish()
            self._made = True
        except BaseException:
            self.remove()
            raise

    def _prepare(self) -> None:
        """Do what has to be done before there is a directory."""
        return

    def _finish(self) -> None:
        """Do what has to be done when all settings are written."""
        return

    @staticmethod
    def _step(words: str, call: object, *arguments: object) -> None:
        try:
            call(*arguments)  # type: ignore[operator]
        except OSError as error:
            raise GroupError(words, error) from error

    def write(self, settings: Iterable[Setting]) -> None:
        """Write settings.

        Raises:
            GroupError: The kernel refuses one.
        """
        for setting in settings:
            directory = self._directory(setting.controller)
            words = f"write {setting.text!r} to {setting.file} for limits.{setting.field}"
            self._step(words, write_text if self._made else _set, directory, setting.file, setting.text)

    def _watch(self, directory: str, file: str) -> dict[str, int]:
        """Return a file of lines ``key number`` that is looked at before and after each program: it stays open."""
        path = f"{directory}/{file}"
        try:
            opened = self._watched.get(path)
            if opened is None:
                # Another thread may have been faster.
                opened = self._watched.setdefault(path, _native.QuickFile(path, os.O_RDONLY).lift())
            text = opened.read()
        except OSError:
            return {}
        known = self._read.get(path)
        if known is None or known[0] != text:
            known = self._read[path] = (text, _keys(text.decode()))
        return known[1]

    def _unwatch(self) -> None:
        while self._watched:
            self._watched.popitem()[1].close()

    @property
    @abc.abstractmethod
    def counts_memory(self) -> bool:
        """Whether memory is counted here, and killing for want of it."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The directories."""
        return tuple(dict.fromkeys(self._paths.values()))

    @property
    def pressure(self) -> dict[str, str]:
        """The kernel's words on pressure (PSI) of cpu, memory and io, where it has them."""
        return {}

    @abc.abstractmethod
    def _directory(self, controller: str) -> str: ...

    @abc.abstractmethod
    def joins(self) -> list[Join]:
        """Open what a process joins the group by; who calls closes it."""

    def entrances(self) -> list[Join]:
        """Open what a process that lives already moves into the group by, writing "0"; who calls closes it."""
        return self.joins()

    @abc.abstractmethod
    def counters(self) -> Counters:
        """Look at what was used so far."""

    @abc.abstractmethod
    def cpu(self) -> tuple[float, float] | None:
        """Look at the processor time alone: seconds in user mode and in the kernel."""

    @abc.abstractmethod
    def oom_kills(self) -> int:
        """Look at the out-of-memory kills alone."""

    @abc.abstractmethod
    def freeze(self, *, frozen: bool) -> None:
        """Stop every process of the group, or let them go on.

        Raises:
            GroupError: The kernel refuses.
            TimeoutError: A process could not be stopped in time.
        """

    @abc.abstractmethod
    def kill(self) -> None:
        """Kill every process of the group at once, where the kernel can; else do nothing."""

    def remove(self) -> None:
        """Remove the directories; their processes must be dead or dying. Safe to call again.

        Raises:
            GroupError: One is still in use after seconds.
        """
        self._unwatch()
        for path in reversed(self.paths):
            self._step(f"remove control group {path}", remove_directory, path)
        self._paths.clear()

    def disown(self) -> None:
        """After a fork, in the child: let go without touching the group, which is the parent's."""
        self._unwatch()
        self._paths.clear()

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.remove()


def remove_directory(path: str) -> None:
    """Remove a group and the groups in it, which must be without living processes.

    Raises:
        OSError: It is still in use after seconds.
    """
    deadline = time.monotonic() + _REMOVE_SECONDS
    while True:
        try:
            _native.remove_directory(path)
        except FileNotFoundError:
            return
        except OSError as error:
            # A process leaves its group a moment after it was seen to be dead.
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            with os.scandir(path) as entries:
                inner = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            for name in inner:
                remove_directory(name)
            time.sleep(0 if inner else 0.0005)
        else:
            return
