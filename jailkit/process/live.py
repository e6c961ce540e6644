"""A live jail as the host holds it: a control socket, and PID 1 as a child process."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable

from jailkit import _native
from jailkit._errors import ClosedError
from jailkit._native import Report, ReportKind, RequestLike

__all__ = ["LiveJail", "StartFailed", "memory_file"]

_BIRTH_SECONDS = 60.0
"""How long the steps of a plan may take before the start is given up. They take milliseconds; this is for a file system
that hangs."""

_DEATH_SECONDS = 10.0
"""How long PID 1 may take to die of SIGKILL. It takes a grace period of the kernel; this is for a process in
uninterruptible sleep."""

_INLINE = _native.constant("JK_INLINE")


class StartFailed(Exception):  # noqa: N818 - internal: the caller, who knows the plan, turns it into a LaunchError
    """A jail was not born. `report` says where, or is None where nobody said anything."""

    def __init__(self, report: Report | None, error: int) -> None:
        self.report = report
        self.error = error
        super().__init__(report, error)


class LiveJail:
    """One jail that was started. It lives as long as the control socket is open, in this process and nowhere else."""

    def __init__(self, plan: bytes, claim: Callable[[socket.socket], int] | None) -> None:
        """Start ``jailkit-init``; `claim` gives the jail a slice of host ids that lasts as long as its PID 1."""
        self._lock = threading.Lock()
        self._pidfd = -1
        self._pid = 0
        self._ready = False
        self._ctl, self._starter = _start(plan, claim)

    @property
    def pid(self) -> int:
        """PID 1 of the jail, as the host numbers it."""
        return self._pid

    @property
    def closed(self) -> bool:
        """Whether `end` was called, or this is a copy made by a fork."""
        return self._ctl.fileno() < 0

    def wait_ready(self, timeout: float = _BIRTH_SECONDS) -> None:
        """Wait until every step of the plan is done.

        Raises:
            StartFailed: One failed, or it took longer than `timeout` seconds. Nothing is left of the jail.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            while not self._ready and not self.closed:
                try:
                    answer = _native.receive(self._ctl.fileno(), max(0.0, deadline - time.monotonic()))
                except TimeoutError:
                    self._give_up(None, errno.ETIMEDOUT)
                except InterruptedError:
                    continue
                self._note(answer)

    def _note(self, answer: tuple[Report, int] | None) -> None:
        if answer is None:
            self._give_up(None, errno.ESRCH)
            return
        report, fd = answer
        if report.kind is ReportKind.BORN:
            self._pid, self._pidfd = report.pid, fd
        elif report.kind is ReportKind.READY:
            self._ready = True
        elif report.kind is ReportKind.FAILED:
            self._give_up(report, report.error)

    def _give_up(self, report: Report | None, error: int) -> None:
        self._destroy()
        raise StartFailed(report, error)

    def submit(self, program: RequestLike, stdio: tuple[int, int, int], *, watched: bool) -> _native.Submission:
        """Ask for a program; the answer comes on the channel of the submission.

        Raises:
            ClosedError: The jail is closed, or its PID 1 is gone.
        """
        fd = self._ctl.fileno()
        if fd < 0:
            raise ClosedError("this jail is closed")
        request = _native.encode_request(program)
        memory = memory_file(request) if len(request) > _INLINE else -1
        try:
            return _native.submit(fd, request, memory=memory, stdio=stdio, want_exec_pipe=watched)
        except (BrokenPipeError, ConnectionResetError):
            raise ClosedError("this jail has ended: its PID 1 was killed") from None
        finally:
            if memory >= 0:
                os.close(memory)

    def end(self) -> None:
        """Kill everything in the jail and wait until it is gone. Safe to call again, and from several threads."""
        with self._lock:
            self._destroy()

    def kill(self) -> None:
        """Kill PID 1, and with it everything in the jail, without waiting."""
        with self._lock:
            self._learn_pid1()
            self._kill_pid1()

    def _destroy(self) -> None:
        if self.closed:
            return
        self._learn_pid1()
        self._ctl.close()  # from here on PID 1 ends by itself, and if it cannot ...
        try:
            self._kill_pid1()  # ... by this
            if self._pidfd >= 0:
                _reap(self._pidfd)
        finally:
            if self._pidfd >= 0:
                os.close(self._pidfd)
            self._pidfd = -1
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._starter, 0)

    def _kill_pid1(self) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _learn_pid1(self) -> None:
        """Read the report of PID 1's birth, where nobody waited for it: without it nobody could wait for its end."""
        while self._pidfd < 0 and not self.closed:
            try:
                answer = _native.receive(self._ctl.fileno(), _BIRTH_SECONDS)
            except InterruptedError:
                continue
            except TimeoutError:
                return
            if answer is None or answer[0].kind is ReportKind.FAILED:
                return
            if answer[0].kind is ReportKind.BORN:
                self._pid, self._pidfd = answer[0].pid, answer[1]

    def disown(self) -> None:
        """After a fork, in the child: let go without touching the jail, which is the parent's."""
        self._lock = threading.Lock()  # the parent's may be held by a thread that does not exist here
        self._ctl.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd = -1


def _start(plan: bytes, claim: Callable[[socket.socket], int] | None) -> tuple[socket.socket, int]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = -1
    try:
        base = claim(theirs) if claim else 0
        memory = memory_file(plan)
        return ours, _native.start(_native.INIT_PATH, base, theirs.fileno(), memory)
    except OSError as error:
        ours.close()
        raise StartFailed(None, error.errno or errno.EIO) from error
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        if memory >= 0:
            os.close(memory)


def memory_file(data: bytes) -> int:
    """Make a file in memory with these bytes; the descriptor is the caller's to close."""
    memory = os.memfd_create("jailkit", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(memory, view) :]
    except BaseException:
        os.close(memory)
        raise
    return memory


def _reap(pidfd: int) -> None:
    """Wait for the end of a process that was told to die."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(_DEATH_SECONDS * 1000):
        raise TimeoutError(f"PID 1 of a jail is still there {_DEATH_SECONDS} s after SIGKILL: a process in it cannot be killed")
    # The host program may ignore SIGCHLD, or wait for all its children: then there is nothing left to reap.
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
