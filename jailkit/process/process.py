"""A running program in the caller's hand: `Process`, with the interface of `subprocess.Popen`."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
import weakref
from types import TracebackType
from typing import IO, Any, final

from jailkit import _native
from jailkit._errors import ClosedError, SpecError, WaitTimeout
from jailkit.plan import Program, Protection
from jailkit.process.alarm import call_at
from jailkit.process.cgroup import Meter
from jailkit.process.denials import Listener, denials
from jailkit.process.live import LiveJail
from jailkit.process.reading import Outputs, Reading
from jailkit.process.result import Denial, ExitReason, Result
from jailkit.process.talk import Captured, Talk
from jailkit.process.terminal import end_of_input, resize
from jailkit.process.verdict import Account, judge, take_account
from jailkit.spec import Terminal

__all__ = ["Process", "oom_kills"]

_SLICE = 0.05
"""Seconds for which the lock is held at a time, so that other threads can look at the program too."""


@final
class Process:
    """A program that was started in a jail. Made by `Jail.popen` only.

    Its life hangs on this object: when it is closed or forgotten before the program has ended, or when this process
    dies, the program and all that it started is killed. All methods may be called from any thread. In a process forked
    from this one the object is inert.

    Attributes:
        args: The program and its arguments.
        stdin: Where to write what the program reads, or None if no pipe was asked for.
        stdout: Where to read what it writes, or None.
        stderr: The same.
    """

    def __init__(
        self,
        live: LiveJail,
        run: _native.Run,
        program: Program,
        isolation: tuple[Protection, ...],
        *,
        files: tuple[IO[Any] | None, ...],
        began: float,
        text: bool,
        meter: Meter | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.args = program.argv
        self._live = live
        self._run = run
        self._program = program
        self._isolation = isolation
        self._text = text
        self._lock = threading.RLock()
        self._began = began
        self._wall = math.nan
        self._meter = meter
        self._listener = listener
        self._denials: tuple[Denial, ...] | None = None
        self._account: Account | None = None
        self._reading: Reading | None = None
        self._talk = Talk(
            run,
            Captured(program.output),
            began + program.wall_seconds,
            live.kill,
            meter=meter,
            cpu_limit=program.cpu_watched,
        )
        self.stdin, self.stdout, self.stderr = files
        self._on_terminal = "JK_RUN_TERMINAL" in program.flags
        if program.wall_seconds != math.inf:
            self._watch(began + program.wall_seconds)
        _open_processes.add(self)

    def _watch(self, when: float) -> None:
        """Have the program killed in time, even if nobody waits for it; without keeping this object alive."""
        mine = weakref.ref(self)

        def expire() -> None:
            process = mine()
            if process is not None and not process._run.exited():  # noqa: SLF001 - its own
                process._talk.kill(ExitReason.WALL_TIME)  # noqa: SLF001 - its own

        self._forget_timer = weakref.finalize(self, call_at(when, expire).cancel)

    @property
    def pidfd(self) -> int:
        """A descriptor of the program (pidfd_open(2)), readable when it has ended; -1 when this is closed."""
        return self._run.pidfd

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
        if not self._talk.ended:
            return None
        report = self._talk.report
        return os.waitstatus_to_exitcode(report.status) if report else -signal.SIGKILL

    def poll(self) -> int | None:
        """Look whether the program has ended; return `returncode`."""
        with contextlib.suppress(WaitTimeout):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the program; return `returncode`.

        A program whose pipes nobody reads may wait for ever: use `communicate`.

        Raises:
            WaitTimeout: It has not ended within `timeout` seconds, and runs on.
            ClosedError: This handle was closed before the program had ended.
        """
        self._advance(timeout)
        code = self.returncode
        assert code is not None  # noqa: S101 - _advance() returns at the end only
        return code

    def _advance(self, timeout: float | None) -> None:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not self._talk.ended:
            if self._run.closed:
                raise ClosedError("this process handle is closed")
            with self._lock:
                # With no time left still one look: that is poll().
                now = time.monotonic()
                ended = self._talk.advance(max(now + 1e-6, min(deadline, now + _SLICE)))
            if not ended and time.monotonic() >= deadline and timeout is not None:
                raise WaitTimeout(self.args, timeout)
        if math.isnan(self._wall):
            if self._talk.report is None:
                self._live.kill()  # as run_program() does
            self._wall = time.monotonic() - self._began
        self._settle()

    def _settle(self) -> None:
        """Read the meter once, at the end, and give it back."""
        with self._lock:
            if self._account is None:
                self._account = take_account(self._meter, self._talk.report, alone=False)
                self._live.ledger.finish(self._meter, detached="JK_RUN_DETACH" in self._program.flags)

    def communicate(self, input: bytes | str | None = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002 - as in subprocess
        """Write `input`, read both outputs, wait for the end; return what it wrote, bounded as in `Result`.

        Raises:
            WaitTimeout: It has not ended within `timeout` seconds. It runs on, nothing is lost, and this may be
                called again, without `input`.
            ClosedError: This handle was closed before the program had ended.
        """
        self._listen(input)
        self._advance(timeout)
        return self._talk.captured.outputs(text=self._text)

    def _listen(self, data: bytes | str | None) -> None:
        """Have the input written and the outputs kept by whoever waits for the end from now on."""
        with self._lock:
            if self.stdin is not None and not self.stdin.closed:
                self._hand_over_stdin(data)
            for number, file in ((1, self.stdout), (2, self.stderr)):
                if file is not None and not file.closed and self._run.stream(number) < 0 and not self._talk.ended:
                    self._run.lend(number, file.fileno())
            self._run.listen()

    def _hand_over_stdin(self, data: bytes | str | None) -> None:
        assert self.stdin is not None  # noqa: S101 - the caller has looked
        with contextlib.suppress(BrokenPipeError):
            self.stdin.flush()
        self._run.lend(0, os.dup(self.stdin.fileno()))
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        data = data.encode() if isinstance(data, str) else data or b""
        self._run.feed(data + end_of_input(data) if self._on_terminal else data)

    def stream(self, input: bytes | str | None = None) -> Outputs:  # noqa: A002 - as in subprocess
        r"""Read what the program writes to its pipes as it comes, both streams in one iteration.

        Afterwards, `result` returns how it ended, with empty outputs: who reads them himself has them. A ``with`` block
        of the process that is left in the middle of an iteration kills the program.

        Args:
            input: What to write to stdin meanwhile, which is then closed. Default: stdin is left to the caller, who may
                write to it between two chunks, and closes it.

        Raises:
            ClosedError: This handle is closed.

        >>> from jailkit import Jail
        >>> with Jail() as jail, jail.popen(["sh", "-c", "echo one; echo two >&2"]) as process:
        ...     sorted(process.stream())
        [Chunk(stream='stderr', data=b'two\n'), Chunk(stream='stdout', data=b'one\n')]
        """
        return self._outputs(input, 0)

    def lines(self, input: bytes | str | None = None, *, max_bytes: int = 65536) -> Outputs:  # noqa: A002 - as in subprocess
        r"""Do as `stream`, by lines, with their line feeds.

        Args:
            input: As of `stream`.
            max_bytes: A longer line comes in pieces of this size, so that a program without line feeds cannot fill the
                memory. The last line may have no line feed.

        Raises:
            ClosedError: This handle is closed.
        """
        return self._outputs(input, max(1, max_bytes))

    def _outputs(self, data: bytes | str | None, longest: int) -> Outputs:
        with self._lock:
            if self._reading is None:
                if self._run.closed:
                    raise ClosedError("this process handle is closed")
                files = (self.stdout, self.stderr)
                self._reading = Reading(self._talk, self._run, files, self._lock, text=self._text)
            self._reading.by(longest)
            if data is not None and self.stdin is not None and not self.stdin.closed:
                self._hand_over_stdin(data)
        return Outputs(self._reading, self.wait)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal of a program that was started with ``pty``, which gets SIGWINCH.

        Raises:
            SpecError: One of them is not an int from 1 to 65535, or the program has no terminal.
            ClosedError: This handle is closed.
        """
        size = Terminal(rows, columns)
        if not self._on_terminal or self.stdout is None:
            raise SpecError("pty", False, "a program that was started with pty")
        with self._lock:
            if self.stdout.closed:
                raise ClosedError("this process handle is closed")
            resize(self.stdout.fileno(), size)

    def send_signal(self, number: int) -> None:
        """Send a signal to the program (not to what it started); nothing happens if it has ended."""
        if not self._talk.ended and number > 0:
            self._run.order(number)

    def terminate(self) -> None:
        """Ask the program to end, with SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the program and everything it has started; `wait` says when it is gone."""
        if not self._run.exited():
            self._talk.kill(ExitReason.KILLED)

    def result(self) -> Result[Any]:
        """Wait for the end and return the result, with the outputs that `communicate` has read."""
        self._advance(None)
        verdict = self._talk.verdict
        if verdict is None and self._talk.report is None and self._live.closed:
            verdict = ExitReason.KILLED
        if self._denials is None:  # what packets were refused is told once
            self._denials = denials(self._live, self._listener, self._program.notices)
        return judge(
            self._talk.report,
            self._program,
            captured=self._talk.captured,
            text=self._text,
            host_verdict=verdict,
            wall=self._wall,
            isolation=self._isolation,
            account=self._account or Account(),
            denials=self._denials,
        )

    def close(self) -> None:
        """Close the pipes and let go of the program, which is killed if it still runs."""
        if self._reading is not None:
            self._reading.close()
        for number, file in enumerate((self.stdin, self.stdout, self.stderr)):
            if file is not None:
                if number:
                    self._run.lend(number, -1)  # it is the file's to close
                with contextlib.suppress(BrokenPipeError):
                    file.close()
        if hasattr(self, "_forget_timer"):
            self._forget_timer()
        self._run.close()
        if self._account is None and not self._live.closed:
            self._account = Account()
            self._live.ledger.finish(self._meter, detached="JK_RUN_DETACH" in self._program.flags)

    def _insides(self) -> tuple[Talk, _native.Run, threading.RLock]:
        """For what else moves the bytes of a program, in this package: under the lock, and for as long as it runs."""
        if self._run.closed and not self._talk.ended:
            raise ClosedError("this process handle is closed")
        if self._reading is not None or self._on_terminal:
            raise SpecError("process", self, "a program with pipes, whose output is not read by stream() or lines()")
        return self._talk, self._run, self._lock

    def _disown(self) -> None:
        """After a fork, in the child: let go without touching the program, which is the parent's."""
        self._lock = threading.RLock()
        self._reading = None
        for number in (1, 2):
            self._run.lend(number, -1)
        self._run.disown()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    self.stdin.close()
            if kind is not None or (self._reading is not None and not self._reading.over):
                self.kill()
            self.wait()
        finally:
            self.close()

    def __repr__(self) -> str:
        state = "running" if self.returncode is None else f"returncode {self.returncode}"
        return f"<jailkit.Process {self.args!r}: {state}>"


def oom_kills(process: Process) -> int:
    """Return how often the kernel has killed for want of memory where this program counts, since its start."""
    meter = process._meter  # noqa: SLF001 - its own module
    return meter.oom_kills() if meter else 0


_open_processes: weakref.WeakSet[Process] = weakref.WeakSet()


def _disown_all() -> None:
    for process in list(_open_processes):
        process._disown()  # noqa: SLF001 - its own class


os.register_at_fork(after_in_child=_disown_all)
