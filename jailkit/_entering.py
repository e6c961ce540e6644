"""What lets the caller's own Python into a live jail: `attach`, for good; `inside`, for a while and without walls."""

from __future__ import annotations

import abc
import contextlib
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jailkit._doors import open_namespaces
from jailkit._errors import ClosedError, SpecError, UnsupportedError
from jailkit._launch import Blueprint, program_for
from jailkit._newcomer import Newcomer, enter, fork_into
from jailkit.plan import Entry, Notices, Program, entry_of
from jailkit.process import Denial, Listener, LiveJail, listen_to
from jailkit.spec import User
from jailkit.syscalls import Namespace, chroot, setns

__all__ = ["Entering"]

_ENTERING_SECONDS = 60.0

_LATEST = 100 * 366 * 86400
"""Seconds; the kernel takes 146 years, of which some are over."""


class _Entrance:
    """What is held open for children that are about to enter."""

    def __init__(self, entry: Entry, namespaces: dict[str, int], joins: list[int]) -> None:
        self.entry = entry
        self.namespaces = namespaces
        self.joins = joins
        self.owner = os.getpid()

    def newcomer(self, program: Program, keep: frozenset[int], *, clean_env: bool, **fork: Any) -> Newcomer:
        return Newcomer(
            entry=self.entry,
            program=program,
            namespaces=self.namespaces,
            joins=self.joins,
            keep=keep,
            clean_env=clean_env,
            **fork,
        )


class Entering(abc.ABC):
    """The part of `Jail` that lets the caller in."""

    _live: LiveJail | None
    _entrance: _Entrance | None = None
    _listeners: tuple[Listener, ...] = ()

    @property
    @abc.abstractmethod
    def _made(self) -> Blueprint: ...

    @abc.abstractmethod
    def _started(self) -> LiveJail: ...

    @contextlib.contextmanager
    def entrance(self) -> Iterator[None]:
        """Hold the live jail open for children of this process, which enter it with `attach`.

        In the ``with`` block this process has descriptors of the namespaces of the jail, which a fork inherits; an exec
        does not. An ordinary user's jail needs ``cat`` for it: while the block lasts, one waits in the jail.

        Raises:
            UnsupportedError: The jail is of the tier ``landlock``, or there is no way in for this user.
            ClosedError: The jail is not started, or closed; or an entrance is open already.
        """
        made = self._made
        if made.plan.tier == "landlock":
            raise UnsupportedError(
                "entering a jail of the tier landlock", "it has no namespaces to enter", "use another tier, or jail.run"
            )
        if self._entrance is not None:
            raise ClosedError("an entrance of this jail is open already")
        live = self._started()
        entry = entry_of(made.plan)
        with open_namespaces(made, live, entry) as namespaces:
            joins = live.ledger.entrances()
            self._entrance = mine = _Entrance(entry, namespaces, [join.fd for join in joins])
            try:
                yield
            finally:
                self._entrance = None
                for join in joins:
                    if mine.owner != os.getpid():  # who has entered has closed it: by now it may be another's number
                        join.forget()
                    join.close()

    def attach(
        self,
        *,
        keep_fds: Iterable[int] = (),
        env: Mapping[str, str] | None = None,
        clean_env: bool = True,
        cwd: str | None = None,
        user: int | User | None = None,
    ) -> None:
        """Confine this process for good: from here on it is in the jail, with no more rights than a program there.

        For a process that was just forked inside `entrance`, and has one thread. It joins namespaces and control
        groups, takes on the ids of the jail, and has no capability, resource limits, the Landlock rules and the filter
        of system calls, as what `Jail.run` starts. It has a session of its own and is not dumpable, so that no program
        of the jail can trace it or look into it, before, meanwhile and afterwards.

        A process cannot change its pid namespace, its children can: what returns is a child of the process that called.
        That one stays behind, confined as well, waits, and ends as the child did. Only memory comes along:
        descriptors are closed but for those named, threads and timers were left at the fork. **All that is in the
        memory is in reach of what runs from now on**, the caller's variables and secrets included; and modules that are
        imported from now on are those that the jail shows.

        Not watched: `Limits.wall_seconds`, and `Limits.cpu_seconds` of more than this one process. The caller, who can
        wait for the process, does so. The jail ends it when it is closed, which is the way to be rid of it: signals go
        through to it, but SIGKILL hits the process that waits, and what that leaves behind is for the host's init to
        reap.

        Args:
            keep_fds: Descriptors that stay open. Of 0, 1 and 2 those that are not named become ``/dev/null``. What is
                behind a descriptor is not confined: a directory or a socket of the host is a way out.
            env: Variables, over those of the jail and, with `clean_env` off, over the caller's.
            clean_env: Start from what a program of the jail would be given, and nothing else. Default: True.
            cwd: Working directory in the jail. Default: where programs start.
            user: As in `Jail.run`.

        Raises:
            ClosedError: The process is no child that was forked inside `entrance`.
            UnsupportedError: It has other threads; or the host shows memory of processes that change their user
                (fs.suid_dumpable is 1).
            SpecError: An argument is wrong.

        Once anything has changed nothing is raised: what fails then ends the process with exit code 125 and a line on
        stderr.
        """
        mine = self._entrance
        if mine is None or mine.owner == os.getpid():
            raise ClosedError("attach() is for a process forked inside `with jail.entrance():`")
        _refuse_threads("jail.attach()", "fork, and call it first of all in the child")
        _refuse_dumps()
        keep = frozenset(keep_fds)
        program = program_for(self._made, ["attach"], env=env, cwd=cwd, user=user)
        if program.notices:
            raise UnsupportedError(
                "jail.attach() with report_denials=True", "nobody would listen to what is refused", "use Jail.fork"
            )
        enter(mine.newcomer(program, keep, clean_env=clean_env))
        if not clean_env:
            os.environ.update(env or {})

    def fork(
        self,
        *,
        keep_fds: Iterable[int] = (),
        env: Mapping[str, str] | None = None,
        clean_env: bool = True,
        cwd: str | None = None,
        user: int | User | None = None,
        time_offset: float = 0.0,
    ) -> int:
        """Fork this process into the live jail: 0 in the child, which is confined; the child's pid here.

        The same as `entrance`, ``os.fork`` and `attach`, with the same arguments and the same promises, in about half
        the time where root forks into a jail in which nothing has run yet: then the child is born in there, and there
        is no second fork. Until it is confined it has all rights of root beside PID 1, which has none over it.

        The caller waits for the child (`os.waitpid`), before the jail is closed or in another thread meanwhile: a jail
        is not gone before its processes are waited for, so that `close` would raise TimeoutError after 10 s. The child
        should leave by `os._exit`, as after each fork. Other threads of this process are not in the child; a lock that
        one of them holds stays locked there.

        Args:
            keep_fds: As in `attach`.
            env: As in `attach`.
            clean_env: As in `attach`.
            cwd: As in `attach`.
            user: As in `attach`.
            time_offset: Seconds by which the clocks of the child, and of what it starts, are ahead of the host's, or
                behind, if negative: CLOCK_MONOTONIC, CLOCK_BOOTTIME and ``/proc/uptime``, by a time namespace. **Not
                the time of day**: the kernel has one CLOCK_REALTIME for all, see time_namespaces(7).

        Raises:
            UnsupportedError: As in `entrance` and `attach`; or the kernel has no time namespaces.
            ClosedError: The jail is not started, or closed.
            SpecError: An argument is wrong, such as a `time_offset` to before the start of the machine.
            OSError: The kernel forks no more.
        """
        _refuse_dumps()
        _refuse_clocks(time_offset)
        program = program_for(self._made, ["attach"], env=env, cwd=cwd, user=user)
        keep = frozenset(keep_fds)
        live, notices = self._started(), program.notices
        born_inside = self._made.plan.tier == "root" and live.untouched
        with self.entrance(), contextlib.ExitStack() as stack:
            mine = self._entrance
            assert mine is not None  # noqa: S101 - as `entrance` has set it
            born_inside = born_inside and "CLONE_NEWPID" in mine.namespaces
            ours, theirs = (stack.enter_context(line) for line in socket.socketpair()) if notices else (None, None)
            if theirs:
                keep |= {theirs.fileno()}
            child = fork_into(mine.namespaces["CLONE_NEWPID"]) if born_inside else os.fork()
            if child == 0:
                if ours:
                    ours.detach()  # it will be closed, and the number be another's
                options: dict[str, Any] = {
                    "clean_env": clean_env,
                    "born_inside": born_inside,
                    "time_offset": time_offset,
                }
                enter(mine.newcomer(program, keep, report_to=theirs, **options))
                if not clean_env:
                    os.environ.update(env or {})
            elif ours and theirs and notices:
                theirs.close()
                self._hear_of(ours, live, notices)
        return child

    def _hear_of(self, line: socket.socket, live: LiveJail, notices: Notices) -> None:
        line.settimeout(_ENTERING_SECONDS)
        for fd in socket.recv_fds(line, 1, 1)[1]:  # none, if it could not enter
            listener = listen_to(live, fd, notices)
            os.close(fd)
            if listener:
                self._listeners = (*self._listeners, listener)

    def denials(self) -> tuple[Denial, ...]:
        """Return what processes that were forked in here, and all that they started, were refused so far.

        Only with ``report_denials=True``, else nothing; of programs, `Result.denials` tells.
        """
        return tuple(one for listener in self._listeners for one in listener.denials())

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """See the files and the network of the live jail in a ``with`` block, as the host's root, and come back.

        For trusted code that looks at a jail or fills it: ``open``, ``socket`` and subprocesses work in there. **No
        boundary at all**: the block keeps every privilege, its ids and its processes are the host's, and a link or a
        module that hostile code has put into the jail is followed or imported with them. Import before. The working
        directory is ``/``; afterwards it is what it was.

        Raises:
            UnsupportedError: The caller is not root, or has other threads, or the jail is of the tier ``landlock``.
            ClosedError: The jail is not started, or closed.
        """
        live, made = self._started(), self._made
        if made.plan.tier != "root":
            raise UnsupportedError(
                "jail.inside()", f"this jail is of the tier {made.plan.tier!r}", "run as root, or use jail.run"
            )
        _refuse_threads("jail.inside()", "use it in a process without threads, or fork one")
        own_network = made.plan.network is not None or "CLONE_NEWNET" in entry_of(made.plan).namespaces
        kinds = Namespace.MOUNT | (Namespace.NET if own_network else Namespace(0))
        with contextlib.ExitStack() as stack:
            pid1 = os.pidfd_open(live.pid)
            stack.callback(os.close, pid1)
            stack.enter_context(_way_back())
            setns(pid1, kinds)
            yield


@contextlib.contextmanager
def _way_back() -> Iterator[None]:
    """Come back to files, network, root and working directory as they are now."""
    paths = (".", "/", "/proc/self/ns/net", "/proc/self/ns/mnt")
    with contextlib.ExitStack() as stack:
        fds = []
        for path in paths:
            fds.append(os.open(path, (os.O_RDONLY if path.startswith("/proc") else os.O_PATH) | os.O_CLOEXEC))
            stack.callback(os.close, fds[-1])
        here, root, network, mounts = fds
        try:
            yield
        finally:
            setns(network, Namespace.NET)
            setns(mounts, Namespace.MOUNT)
            os.fchdir(root)
            chroot(".")
            os.fchdir(here)


def _refuse_threads(feature: str, remedy: str) -> None:
    count = len(os.listdir("/proc/self/task"))
    if count > 1:
        raise UnsupportedError(feature, f"this process has {count} threads, and the kernel moves one at a time", remedy)


def _refuse_clocks(offset: float) -> None:
    if not -time.monotonic() < offset < _LATEST:
        words = f"a number of seconds, less than {_LATEST}, and not to before the start of the machine"
        raise SpecError("time_offset", offset, words)
    if offset and not os.path.exists("/proc/self/timens_offsets"):
        raise UnsupportedError(f"time_offset={offset}", "the kernel has no time namespaces", "one with CONFIG_TIME_NS")


def _refuse_dumps() -> None:
    with open("/proc/sys/fs/suid_dumpable") as file:
        if file.read().strip() == "1":
            raise UnsupportedError(
                "jail.attach()",
                "fs.suid_dumpable is 1, which opens processes that change their user",
                "set it to 0 or 2",
            )
