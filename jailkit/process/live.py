"""A live jail as the host holds it: a control socket, and PID 1 as a child process."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jailkit import _native
from jailkit._errors import ClosedError, UnsupportedError
from jailkit._native import Report, ReportKind, RequestLike
from jailkit.plan import GroupPlan, Program, Setting
from jailkit.process.annex import Annex, Ending
from jailkit.process.cgroup import GroupError, Join, Meter
from jailkit.process.events import JailEvent, Watcher
from jailkit.process.failure import group_failure
from jailkit.process.ledger import Ledger, close_all
from jailkit.process.private import PrivateDirectory

__all__ = ["LiveJail", "StartFailed"]

_BIRTH_SECONDS = 60.0
"""How long the steps of a plan may take before the start is given up. They take milliseconds; this is for a file system
that hangs."""

_DEATH_SECONDS = 10.0
"""How long PID 1 may take to die of SIGKILL. It takes a grace period of the kernel; this is for a process in
uninterruptible sleep."""


@functools.lru_cache(maxsize=256)
def _encoded(program: Any, null: tuple[bool, bool, bool], merge: bool, joins: int) -> bytes:
    return _native.encode_request(program, null, merge=merge, joins=joins)


_SMALL = 4096


def _request(program: RequestLike, stdio: tuple[int, int, int], joins: int = 0) -> bytes:
    null = (stdio[0] == _native.NULL, stdio[1] == _native.NULL, stdio[2] == _native.NULL)
    # What is asked for again and again is encoded once; what is large is not worth the memory.
    encode: Any = _encoded if sum(map(len, program.argv)) < _SMALL else _encoded.__wrapped__
    return bytes(encode(program, null, stdio[2] == _native.SAME, joins))


class StartFailed(Exception):  # noqa: N818 - internal: the caller, who knows the plan, turns it into a LaunchError
    """A jail was not born. `report` says where, or is None where nobody said anything."""

    def __init__(self, report: Report | None, error: int, *, out_of_memory: bool = False) -> None:
        self.report = report
        self.error = error
        self.out_of_memory = out_of_memory
        super().__init__(report, error)


class LiveJail:
    """One jail that was started. It lives as long as the control socket is open, in this process and nowhere else."""

    # Until there is something to end: an exception may come at any point of __init__.
    _ended = True
    _gone = True

    def __init__(
        self,
        plan: bytes,
        ids: _native.Ids | None,
        group: GroupPlan | None = None,
        private: PrivateDirectory | None = None,
        annex: Annex | None = None,
    ) -> None:
        """Hold what a start needs.

        With `ids`, the jail claims a slice of host ids for as long as its PID 1 lives. With `private`, it has no
        namespaces: the directory is made for it, and its PID 1 is given time to end it. With `annex`, that is made
        before it, entered by it, and removed after it.
        """
        # Forgotten in this order: the processes first, what they are in afterwards.
        self._jail = _native.Jail(patient=private is not None, death_seconds=_DEATH_SECONDS)
        self._private = private
        self.annex = annex
        self.ledger = Ledger(group)
        self.began = time.monotonic()
        self._watchers: list[Ending] = []
        self._frozen = False
        self._plan = plan
        self._ids = ids
        self._lock = threading.RLock()
        self._ready = False
        self._ended = self._gone = False
        self.untouched = True
        """Whether PID 1 was asked for nothing yet, so that nothing but itself has ever run in the jail."""

    def start(self, first: _native.First | None = None) -> None:
        """Start ``jailkit-init``, and make the jail's control group while it gets ready.

        Raises:
            StartFailed: It could not be started. Nothing is left.
        """
        doors: tuple[int, ...] = ()
        try:
            if self._private:
                self._private.make()
            doors = self.annex.open() if self.annex else ()
            self._jail.start(os.fsencode(_native.INIT_PATH), self._plan, self._ids)
            self._furnish(doors, first)
        except OSError as error:
            self.end()
            raise StartFailed(None, error.errno or errno.EIO) from error
        finally:
            for fd in doors:
                os.close(fd)

    def _furnish(self, doors: tuple[int, ...], first: _native.First | None) -> None:
        """Give the jail what its plan waits for: the doors of its network, then what it joins its group by."""
        joins: list[Join] = []
        try:
            joins = self.ledger.open(alone=first is not None)
            if doors or joins or first:
                self._give([*doors, *(join.fd for join in joins)], first)
        finally:
            close_all(joins)

    def _give(self, gifts: list[int], first: _native.First | None) -> None:
        try:
            self._jail.give(gifts, first)
        except (BrokenPipeError, ConnectionResetError):
            self.wait_ready()  # raises: it has ended, and said why
            raise

    def start_with(self, run: _native.Run, program: RequestLike, stdio: tuple[int, int, int]) -> None:
        """Start, and have `program` run as soon as the jail is there.

        Raises:
            StartFailed: ``jailkit-init`` could not be started. Whether the jail is born, `wait_ready` knows.
        """
        self.start(_native.First(run, _request(program, stdio), stdio))

    def begin(self) -> None:
        """Start, unless that was done, and wait until it is there: something is to be opened in it.

        Raises:
            StartFailed: It was not born.
        """
        if self._jail.ctl < 0 and not self._ended:
            self.start()
        self.wait_ready()

    @property
    def pid(self) -> int:
        """PID 1 of the jail, as the host numbers it."""
        return self._jail.pid

    @property
    def alive(self) -> bool:
        """Whether PID 1 is there."""
        with self._lock:
            if self._ended or self._jail.pidfd < 0:
                return False
            looks = select.poll()
            looks.register(self._jail.pidfd, select.POLLIN)
            return not looks.poll(0)

    @property
    def closed(self) -> bool:
        """Whether `end` was called, or this is a copy made by a fork."""
        return self._ended

    def wait_ready(self, timeout: float = _BIRTH_SECONDS) -> None:
        """Wait until every step of the plan is done.

        Raises:
            StartFailed: One failed, or it took longer than `timeout` seconds. Nothing is left of the jail.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            while not self._ready and not self._ended:
                try:
                    report = self._jail.hear(max(0.0, deadline - time.monotonic()))
                except BlockingIOError:
                    self._give_up(None, errno.ETIMEDOUT)
                    return
                except InterruptedError:
                    continue
                except OSError as error:  # our own limit on descriptors
                    self._give_up(None, error.errno or errno.EIO)
                    return
                self._note(report)

    def _note(self, report: Report | None) -> None:
        if report is None:
            self._give_up(None, errno.ESRCH)
        elif report.kind is ReportKind.READY:
            self._ready = True
        elif report.kind is ReportKind.FAILED:
            self._give_up(report, report.error)

    def _give_up(self, report: Report | None, error: int) -> None:
        starved = self.ledger.group is not None and self.ledger.group.oom_kills() > 0
        self.end()
        raise StartFailed(report, error, out_of_memory=starved)

    def submit(
        self,
        run: _native.Run,
        program: RequestLike,
        stdio: tuple[int, int, int],
        *,
        watched: bool,
        joins: Sequence[int] = (),
    ) -> None:
        """Ask for a program; the answer comes to `run`. It joins the control groups that `joins` stand for.

        Raises:
            StartFailed: The jail was not born.
            ClosedError: It is closed, or its PID 1 is gone.
        """
        request = _request(program, stdio, len(joins))
        # Locked, because another thread may end the jail, and the number of its socket be somebody else's by then.
        with self._lock:
            if self._ended:
                raise ClosedError("this jail is closed")
            self.untouched = False
            try:
                run.submit(self._jail.ctl, request, stdio, watched=watched, joins=joins)
            except (BrokenPipeError, ConnectionResetError):
                self.wait_ready()  # raises, if it was never born
                raise self.lost() from None
            except BlockingIOError:
                raise self.lost("PID 1 takes no requests") from None

    def lost(self, why: str = "its PID 1 was killed") -> ClosedError:
        """Kill a jail whose PID 1 is gone, or does not keep to its words; return the error for it."""
        self.kill()
        return ClosedError(f"this jail has ended: {why}")

    def submit_metered(
        self, run: _native.Run, program: Program, stdio: tuple[int, int, int], *, watched: bool
    ) -> Meter | None:
        """Ask for a program that is accounted for; return its meter, to be given to `Ledger.finish`.

        Raises:
            LaunchError: Its control group could not be made.
            StartFailed: The jail was not born.
            ClosedError: It is closed, or its PID 1 is gone.
        """
        try:
            meter, joins = self.ledger.begin(program)
        except GroupError as error:
            raise group_failure(error) from error
        try:
            self.submit(run, program, stdio, watched=watched, joins=[join.fd for join in joins])
        except BaseException:
            self.ledger.finish(meter)
            raise
        finally:
            close_all(joins)
        return meter

    def kill(self) -> None:
        """Kill PID 1, and with it everything in the jail, without waiting."""
        with self._lock:
            while self._jail.pid < 0 and not self._ended:  # nobody waited for its birth, which is heard of first
                try:
                    self._jail.hear(_BIRTH_SECONDS)
                except InterruptedError:
                    continue
                except OSError:
                    return
                break
            self._kill_now()

    def _kill_now(self) -> None:
        """Send SIGKILL to PID 1, if its birth was heard of."""
        if self._jail.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._jail.pidfd, signal.SIGKILL)

    def end(self) -> None:
        """Kill everything in the jail and wait until it is gone. Safe to call again, and from several threads.

        Raises:
            TimeoutError: PID 1 is still there 10 s after SIGKILL: a process in the jail cannot be killed.
        """
        with self._lock:
            self._ended = True
            if self._frozen:  # in version 1 who is frozen does not die
                self._kill_frozen()
            self._jail.end(_DEATH_SECONDS)
        for watcher in self._watchers:
            watcher.stop()
        with self._lock:
            self.ledger.close()
            if self._private:
                self._private.remove()
            if self.annex:
                self.annex.close()
            self._gone = True

    def change(self, settings: Iterable[Setting]) -> None:
        """Write new settings into the files of the jail's control group.

        Raises:
            LaunchError: The kernel refuses one.
        """
        with self._lock:
            if self._ended:
                raise ClosedError("this jail is closed")
            try:
                if self.ledger.group is not None:
                    self.ledger.group.write(tuple(settings))
            except GroupError as error:
                raise group_failure(error) from error

    def watch(self, callback: Callable[[JailEvent], object], threshold: float | None) -> None:
        """Have a function called for events, from a thread that ends with the jail.

        Raises:
            UnsupportedError: The jail has no control group that counts memory.
        """
        self.look_after(Watcher(self.ledger, callback, threshold))

    def look_after(self, ending: Ending) -> None:
        """Wait, when the jail ends, for something that ends with it or before."""
        self._watchers = [*(one for one in self._watchers if not one.ended), ending]

    def freeze(self, *, frozen: bool) -> None:
        """Stop everything in the jail, or let it go on.

        Raises:
            UnsupportedError: The jail has no control group that can do it.
            LaunchError: The kernel refuses.
            TimeoutError: A process cannot be stopped: it is in uninterruptible sleep.
        """
        group = self.ledger.group
        if group is None or (group.plan.version == 1 and group.plan.freezer is None):
            raise UnsupportedError(
                "pause()",
                "the jail has no control group, or the host no freezer",
                "give the jail a limit that needs a control group, such as limits.memory, on a host that has them",
            )
        with self._lock:
            if self._ended:
                raise ClosedError("this jail is closed")
            self._frozen = True  # also when it fails half-way
            try:
                group.freeze(frozen=frozen)
            except GroupError as error:
                raise group_failure(error) from error
            self._frozen = frozen

    def _kill_frozen(self) -> None:
        """Kill what is frozen, and only then let it go on: it never runs again."""
        self._kill_now()
        if self.ledger.group is not None:
            with contextlib.suppress(OSError):
                self.ledger.group.freeze(frozen=False)

    def disown(self) -> None:
        """After a fork, in the child: let go without touching the jail, which is the parent's."""
        self._lock = threading.RLock()  # the parent's may be held by a thread that does not exist here
        self._ended = self._gone = True
        self.ledger.disown()
        if self._private:
            self._private.disown()
        if self.annex:
            self.annex.disown()
        self._jail.disown()

    def __del__(self) -> None:
        if not self._gone:  # an exception may have come at any point of end(), too
            self.end()
