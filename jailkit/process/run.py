"""One program from request to `Result`, without a `Process` in between."""

from __future__ import annotations

import time
from typing import Any

from jailkit import _native
from jailkit.plan import Program, Protection
from jailkit.process.cgroup import Meter
from jailkit.process.denials import Listener, denials, listen
from jailkit.process.failure import launch_error
from jailkit.process.live import LiveJail
from jailkit.process.result import ExitReason, Result
from jailkit.process.streams import Stream, descriptors
from jailkit.process.talk import KILL_SECONDS, Captured, Talk
from jailkit.process.terminal import end_of_input, submit_on_terminal
from jailkit.process.verdict import NO_ACCOUNT, judge, take_account
from jailkit.spec import Terminal

__all__ = ["Once", "run_program"]

_ALONE_SECONDS = 0.05


class Once:
    """A program that nobody talks to while it runs: what happens before, while and after, for who waits in his own way.

    Attributes:
        talk: To be stepped until its end.
    """

    def __init__(
        self,
        live: LiveJail,
        program: Program,
        streams: tuple[Stream, Stream, Stream],
        *,
        data: bytes | None,
        text: bool,
        isolation: tuple[Protection, ...],
        terminal: tuple[Program, Terminal] | None = None,
    ) -> None:
        """Ask for nothing yet.

        Args:
            live: The jail; it is started for a program that it is to end with.
            program: What to run.
            streams: stdin, stdout and stderr.
            data: What to write to stdin when that is a pipe.
            text: Decode what comes.
            isolation: For the result.
            terminal: How to open a terminal that all three streams are, and its size.
        """
        self.live, self.program, self.isolation = live, program, isolation
        self._streams, self._data, self._text, self._terminal = streams, data or b"", text, terminal
        self._began = time.monotonic()
        self._alone = "JK_RUN_ALONE" in program.flags
        self._account = NO_ACCOUNT
        self._listener: Listener | None = None
        self.run = _native.Run()
        self.talk = Talk(
            run=self.run,
            captured=Captured(program.output),
            deadline=self._began + program.wall_seconds,
            kill_jail=live.kill,
            patience=_ALONE_SECONDS if self._alone else KILL_SECONDS,
            cpu_limit=program.cpu_watched,
        )

    def start(self) -> None:
        """Ask for the program.

        Raises:
            LaunchError: Its control group or its terminal could not be made.
            StartFailed: The jail was never born.
            ClosedError: The jail is closed, or has ended.
        """
        data = self._data
        if self._terminal is None:
            self.talk.meter = _start(self.live, self.run, self.program, descriptors(*self._streams))
        else:
            data += end_of_input(data)
            self.live.begin()
            self.talk.meter = submit_on_terminal(self.live, self.run, self.program, self._terminal, watched=False)
        self._listener = listen(self.live, self.run, self.program.notices)
        self.run.feed(data)
        self.run.listen()

    def finish(self) -> None:
        """Read the accounts of a program that has ended, and let go."""
        try:
            self._account = take_account(self.talk.meter, self.talk.report, alone=self._alone)
        finally:
            self.close()

    def abort(self) -> None:
        """Kill a program, if there is one, and come back when all that it has started is gone."""
        try:
            if not self.run.closed:
                self.talk.kill(ExitReason.KILLED)
                self.talk.advance()
        finally:
            self.close()

    def close(self) -> None:
        """Let go. This is also the order to kill: after an error nothing is left running."""
        self.run.close()
        self.live.ledger.finish(self.talk.meter, detached="JK_RUN_DETACH" in self.program.flags)

    def result(self) -> Result[Any]:
        """Return how it ended.

        Raises:
            LaunchError: The program could not be started.
            StartFailed: The jail was never born.
        """
        talk, report = self.talk, self.talk.report
        if report is not None and report.kind is _native.ReportKind.FAILED:
            raise launch_error(report, self.program.argv)
        if report is None and talk.verdict is None:
            talk.verdict = _lost(self.live)
        return judge(
            report,
            self.program,
            captured=talk.captured,
            text=self._text,
            host_verdict=talk.verdict,
            wall=time.monotonic() - self._began,
            isolation=self.isolation,
            account=self._account,
            denials=denials(self.live, self._listener, self.program.notices),
        )


def run_program(once: Once) -> Result[Any]:
    """Run a program to its end.

    Raises:
        LaunchError: The program could not be started.
        StartFailed: The jail was never born.
        ClosedError: The jail is closed, or has ended.
    """
    try:
        once.start()
        once.talk.advance()
    except BaseException:
        once.close()
        raise
    once.finish()
    return once.result()


def _lost(live: LiveJail) -> ExitReason | None:
    """End a jail whose PID 1 has said nothing of a program's end; return the reason, if it was the host."""
    live.wait_ready()  # raises, if the jail was not even born
    live.kill()  # a PID 1 that is not gone has said what it never would: it is in somebody else's hands
    return ExitReason.KILLED if live.closed else None


def _start(live: LiveJail, run: _native.Run, program: Program, stdio: tuple[int, int, int]) -> Meter | None:
    """Start the jail for a program that it is to end with, or ask a live one for it; return the program's meter."""
    if "JK_RUN_ALONE" in program.flags:
        live.start_with(run, program, stdio)
        return live.ledger.begin(program)[0]
    return live.submit_metered(run, program, stdio, watched=False)
