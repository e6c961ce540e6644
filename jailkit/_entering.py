"""What lets the caller's own Python into a live jail: `attach`, for good; `inside`, for a while and without walls."""

from __future__ import annotations

import abc
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping

from jailkit._doors import open_namespaces
from jailkit._errors import ClosedError, UnsupportedError
from jailkit._launch import Blueprint, program_for
from jailkit._newcomer import Newcomer, enter
from jailkit.plan import Entry, entry_of
from jailkit.process import LiveJail
from jailkit.spec import User
from jailkit.syscalls import Namespace, chroot, setns

__all__ = ["Entering"]


class _Entrance:
    """What is held open for children that are about to enter."""

    def __init__(self, entry: Entry, namespaces: dict[str, int], joins: list[int]) -> None:
        self.entry = entry
        self.namespaces = namespaces
        self.joins = joins
        self.owner = os.getpid()


class Entering(abc.ABC):
    """The part of `Jail` that lets the caller in."""

    _live: LiveJail | None
    _entrance: _Entrance | None = None

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
                if mine.owner == os.getpid():
                    for join in joins:
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
        enter(
            Newcomer(
                entry=mine.entry,
                program=program,
                namespaces=mine.namespaces,
                joins=mine.joins,
                keep=keep,
                clean_env=clean_env,
            )
        )
        if not clean_env:
            os.environ.update(env or {})

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


def _refuse_dumps() -> None:
    with open("/proc/sys/fs/suid_dumpable") as file:
        if file.read().strip() == "1":
            raise UnsupportedError(
                "jail.attach()",
                "fs.suid_dumpable is 1, which opens processes that change their user",
                "set it to 0 or 2",
            )
