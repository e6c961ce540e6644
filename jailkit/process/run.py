"""One program from request to `Result`, without a `Process` in between."""

from __future__ import annotations

import time
from typing import Any

from jailkit import _native
from jailkit.plan import Program, Protection
from jailkit.process.cgroup import Meter
from jailkit.process.failure import launch_error
from jailkit.process.live import LiveJail
from jailkit.process.result import ExitReason, Result
from jailkit.process.streams import Stream, descriptors
from jailkit.process.talk import KILL_SECONDS, Captured, Talk
from jailkit.process.verdict import judge, take_account

__all__ = ["run_program"]

_ALONE_SECONDS = 0.05


def run_program(
    live: LiveJail,
    program: Program,
    streams: tuple[Stream, Stream, Stream],
    *,
    data: bytes | None,
    text: bool,
    isolation: tuple[Protection, ...],
) -> Result[Any]:
    """Run a program to its end.

    Args:
        live: The jail; it is started here for a program that it is to end with.
        program: What to run.
        streams: stdin, stdout and stderr.
        data: What to write to stdin when that is a pipe.
        text: Decode what comes.
        isolation: For the result.

    Raises:
        LaunchError: The program could not be started.
        StartFailed: The jail was never born.
        ClosedError: The jail is closed, or has ended.
    """
    began = time.monotonic()
    alone = "JK_RUN_ALONE" in program.flags
    run = _native.Run()
    meter: Meter | None = None
    talk = Talk(
        run=run,
        captured=Captured(program.output),
        deadline=began + program.wall_seconds,
        kill_jail=live.kill,
        patience=_ALONE_SECONDS if alone else KILL_SECONDS,
        cpu_limit=program.cpu_limit,
    )
    try:
        meter = talk.meter = _start(live, run, program, descriptors(*streams))
        run.feed(data or b"")
        run.listen()
        talk.advance()
        account = take_account(meter, talk.report, alone=alone)
    finally:
        # This is also the order to kill: an exception here leaves nothing running.
        run.close()
        live.ledger.finish(meter, detached="JK_RUN_DETACH" in program.flags)
    report = talk.report
    if report is not None and report.kind is _native.ReportKind.FAILED:
        raise launch_error(report, program.argv)
    if report is None and talk.verdict is None:
        live.wait_ready()  # raises, if the jail was not even born
        live.kill()  # a PID 1 that is not gone has said what it never would: it is in somebody else's hands
        talk.verdict = ExitReason.KILLED if live.closed else None
    return judge(
        report,
        program,
        captured=talk.captured,
        text=text,
        host_verdict=talk.verdict,
        wall=time.monotonic() - began,
        isolation=isolation,
        account=account,
    )


def _start(live: LiveJail, run: _native.Run, program: Program, stdio: tuple[int, int, int]) -> Meter | None:
    """Start the jail for a program that it is to end with, or ask a live one for it; return the program's meter."""
    if "JK_RUN_ALONE" in program.flags:
        live.start_with(run, program, stdio)
        return live.ledger.begin(program)[0]
    return live.submit_metered(run, program, stdio, watched=False)
