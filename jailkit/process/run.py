"""One program from request to `Result`, without a `Process` in between."""

from __future__ import annotations

import os
import time
from typing import Any

from jailkit import _native
from jailkit.plan import Program, Protection
from jailkit.process.failure import launch_error
from jailkit.process.live import LiveJail
from jailkit.process.result import ExitReason, Result
from jailkit.process.streams import Stdio, Stream
from jailkit.process.talk import KILL_SECONDS, Captured, Conversation
from jailkit.process.verdict import judge

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
        live: The jail.
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
    stdio = Stdio(*streams)
    try:
        ends = live.submit(program, stdio.passed, watched=False)
    finally:
        stdio.close()
    captured = Captured(program.output)
    talk = _native.Talk(ends.channel)
    conversation = Conversation(
        talk=talk,
        channel=ends.channel,
        captured=captured,
        deadline=began + program.wall_seconds,
        kill_jail=live.kill,
        patience=_ALONE_SECONDS if "JK_RUN_ALONE" in program.flags else KILL_SECONDS,
    )
    try:
        if ends.stdin >= 0:
            os.set_blocking(ends.stdin, False)
            talk.feed(ends.stdin, data or b"")
        for index, fd in enumerate((ends.stdout, ends.stderr)):
            if fd >= 0:
                talk.listen(index, fd)
        report = conversation.until_end()
    finally:
        # Closing the channel is also the order to kill: an exception here leaves nothing running.
        for fd in (ends.channel, ends.stdout, ends.stderr, talk.forget_input()):
            if fd >= 0:
                os.close(fd)
    if report is not None and report.kind is _native.ReportKind.FAILED:
        raise launch_error(report, program.argv)
    if report is None and conversation.verdict is None:
        live.wait_ready()
    output: Any = (captured.contents(0), captured.contents(1))
    return judge(
        report,
        argv=program.argv,
        output=tuple(part.decode(errors="replace") for part in output) if text else output,
        truncated=captured.full,
        host_verdict=conversation.verdict or (ExitReason.KILLED if report is None and live.closed else None),
        cpu_seconds=program.cpu_seconds,
        wall=time.monotonic() - began,
        isolation=isolation,
    )
