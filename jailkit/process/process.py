"""A running program in the caller's hand: `Process`, with the interface of `subprocess.Popen`."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import signal
import socket
import threading
import time
from types import TracebackType
from typing import IO, Any, final

from jailkit import _native
from jailkit._errors import ClosedError, WaitTimeout
from jailkit._native import Report, ReportKind
from jailkit.plan import Program, Protection
from jailkit.process.failure import launch_error
from jailkit.process.live import LiveJail
from jailkit.process.result import ExitReason, Result
from jailkit.process.streams import Stdio, Stream
from jailkit.process.talk import KILL_TREE, Captured, order
from jailkit.process.verdict import judge

__all__ = ["Process", "open_program"]


@final
class Process:
    """A program that was started in a jail. Made by `Jail.popen` only.

    Its life hangs on this object: when it is closed or forgotten before the program has ended, or when this process
    dies, the program and all that it started is killed. All methods may be called from any thread.

    Attributes:
        args: The program and its arguments.
        pidfd: A descriptor of the program (pidfd_open(2)), readable when it has ended.
        stdin: Where to write what the program reads, or None if no pipe was asked for.
        stdout: Where to read what it writes, or None.
        stderr: The same.
    """

    def __init__(
        self,
        channel: int,
        pidfd: int,
        program: Program,
        files: tuple[IO[Any] | None, IO[Any] | None, IO[Any] | None],
        isolation: tuple[Protection, ...],
        *,
        text: bool,
    ) -> None:
        self.args = program.argv
        self.stdin, self.stdout, self.stderr = files
        self.pidfd = pidfd
        self._program = program
        self._isolation = isolation
        self._text = text
        # A socket object, not a number: when this object is forgotten, it closes, and the program is killed.
        self._channel = socket.socket(fileno=channel)
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._ended = math.nan
        self._report: Report | None = None
        self._done = False
        self._verdict: ExitReason | None = None
        self._captured = Captured(program.output)
        self._talk: _native.Talk | None = None
        self._timer: threading.Timer | None = None
        if program.wall_seconds != math.inf:
            self._timer = threading.Timer(program.wall_seconds, self._kill, [ExitReason.WALL_TIME])
            self._timer.daemon = True
            self._timer.start()

    @property
    def pid(self) -> int:
        """The program's process id as the host numbers it; -1 when it is gone. For display: act on `pidfd`."""
        with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{self.pidfd}") as file:
            for line in file:
                if line.startswith("Pid:"):
                    return int(line.split()[1])
        return -1

    @property
    def returncode(self) -> int | None:
        """The exit code, the negative number of the signal that ended it, or None while nobody has seen its end."""
        if not self._done:
            return None
        return os.waitstatus_to_exitcode(self._report.status) if self._report else -signal.SIGKILL

    def poll(self) -> int | None:
        """Look whether the program has ended; return `returncode`."""
        with self._lock, contextlib.suppress(TimeoutError):
            self._receive(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the program; return `returncode`.

        A program whose pipes nobody reads may wait for ever: use `communicate`.

        Raises:
            WaitTimeout: It has not ended within `timeout` seconds, and runs on.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while (code := self.returncode) is None:
            left = deadline - time.monotonic()
            try:
                # In slices, so that the lock is free for kill() in another thread.
                with self._lock:
                    self._receive(max(0.0, min(left, 0.05)))
            except TimeoutError:
                if left <= 0 and timeout is not None:
                    raise WaitTimeout(self.args, timeout) from None
        return code

    def _receive(self, timeout: float) -> None:
        while not self._done:
            try:
                answer = _native.receive(self._channel.fileno(), timeout)
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise ClosedError("this process handle is closed") from None
                raise
            if answer is None or answer[0].kind is ReportKind.EXITED:
                self._finish(answer[0] if answer else None)

    def _finish(self, report: Report | None) -> None:
        self._report, self._done, self._ended = report, True, time.monotonic()
        if self._timer:
            self._timer.cancel()

    def communicate(self, input: bytes | str | None = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002 - as in subprocess
        """Write `input`, read both outputs, wait for the end; return what was written so far, bounded as in `Result`.

        Raises:
            WaitTimeout: It has not ended within `timeout` seconds. It runs on, nothing is lost, and this may be
                called again, without `input`.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        with self._lock:
            talk = self._talk or self._begin_talk(input)
            while not self._done:
                left = deadline - time.monotonic()
                if left <= 0 and timeout is not None:
                    raise WaitTimeout(self.args, timeout)
                # In slices: a thread that wants to kill needs no lock, but a closed channel has to be noticed.
                events = talk.step(min(left, 0.5))
                self._take(talk)
                if not events & _native.TalkEvent.FULL and events & (_native.TalkEvent.REPORT | _native.TalkEvent.LOST):
                    self._finish(talk.report)
            self._take(talk)
        return self._contents()

    def _begin_talk(self, data: bytes | str | None) -> _native.Talk:
        talk = self._talk = _native.Talk(self._channel.fileno())
        for index, file in enumerate((self.stdout, self.stderr)):
            if file is not None:
                talk.listen(index, file.fileno())
        if self.stdin is not None:
            self.stdin.flush()
            os.set_blocking(self.stdin.fileno(), False)
            talk.feed(self.stdin.fileno(), data.encode() if isinstance(data, str) else data or b"")
        return talk

    def _take(self, talk: _native.Talk) -> None:
        for index in (0, 1):
            self._captured.add(index, talk.take(index))
        if self.stdin is not None and talk.input_fd >= 0 and talk.input_done:
            talk.forget_input()
            self.stdin.close()
        if self._captured.full and self._verdict is None:
            self._kill(ExitReason.OUTPUT)

    def _contents(self) -> tuple[Any, Any]:
        parts = (self._captured.contents(0), self._captured.contents(1))
        return (parts[0].decode(errors="replace"), parts[1].decode(errors="replace")) if self._text else parts

    def send_signal(self, number: int) -> None:
        """Send a signal to the program (not to what it started); nothing happens if it has ended."""
        if not self._done and number > 0:
            order(self._channel.fileno(), number)

    def terminate(self) -> None:
        """Ask the program to end, with SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the program and everything it has started; `wait` says when it is gone."""
        self._kill(ExitReason.KILLED)

    def _kill(self, verdict: ExitReason) -> None:
        if not self._done and self._channel.fileno() >= 0:
            self._verdict = self._verdict or verdict
            order(self._channel.fileno(), KILL_TREE)

    def result(self) -> Result[Any]:
        """Wait for the end and return the result, with the outputs that `communicate` has read."""
        if self._talk is None:
            self.wait()
        else:
            self.communicate()
        return judge(
            self._report,
            argv=self.args,
            output=self._contents(),
            truncated=self._captured.full,
            host_verdict=self._verdict,
            cpu_seconds=self._program.cpu_seconds,
            wall=self._ended - self._began,
            isolation=self._isolation,
        )

    def close(self) -> None:
        """Close the pipes and let go of the program, which is killed if it still runs."""
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                with contextlib.suppress(BrokenPipeError):
                    file.close()
        if self._timer:
            self._timer.cancel()
        self._channel.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    self.stdin.close()
            if kind is not None:
                self.kill()
            self.wait()
        finally:
            self.close()

    def __repr__(self) -> str:
        state = "running" if self.returncode is None else f"returncode {self.returncode}"
        return f"<jailkit.Process {self.args!r}: {state}>"


def open_program(
    live: LiveJail,
    program: Program,
    streams: tuple[Stream, Stream, Stream],
    *,
    text: bool,
    isolation: tuple[Protection, ...],
) -> Process:
    """Start a program and return when it runs.

    Raises:
        LaunchError: The program could not be started.
        ClosedError: The jail is closed, or has ended.
    """
    stdio = Stdio(*streams)
    try:
        ends = live.submit(program, stdio.passed, watched=True)
    finally:
        stdio.close()
    pidfd = -1
    try:
        try:
            os.read(ends.exec_pipe, 1)  # end of file: exec worked, or the program has said why not
        finally:
            os.close(ends.exec_pipe)
        pidfd = _started(ends.channel, program)
    except BaseException:
        for fd in (ends.channel, ends.stdin, ends.stdout, ends.stderr, pidfd):
            if fd >= 0:
                os.close(fd)
        raise
    files = (
        _file(ends.stdin, "w", text=text),
        _file(ends.stdout, "r", text=text),
        _file(ends.stderr, "r", text=text),
    )
    return Process(ends.channel, pidfd, program, files, isolation, text=text)


def _started(channel: int, program: Program) -> int:
    """Wait for the word of PID 1, and take the program's own, if it could not start, before it."""
    while True:
        answer = _native.receive(channel, 60.0)
        if answer is None:
            raise ClosedError("this jail has ended: its PID 1 was killed")
        report, pidfd = answer
        if report.kind is ReportKind.STARTED:
            break
        if report.kind is ReportKind.FAILED:
            raise launch_error(report, program.argv)
    return pidfd


def _file(fd: int, mode: str, *, text: bool) -> IO[Any] | None:
    if fd < 0:
        return None
    raw = open(fd, f"{mode}b")  # noqa: SIM115 - the Process closes it
    return io.TextIOWrapper(raw, encoding="utf-8", errors="replace", write_through=True) if text else raw


