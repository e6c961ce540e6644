"""From a request to a `Process` in the caller's hand."""

from __future__ import annotations

import io
import time
from typing import IO, Any

from jailkit import _native
from jailkit.plan import Program, Protection
from jailkit.process.cgroup import Meter
from jailkit.process.denials import listen
from jailkit.process.failure import answered, launch_error
from jailkit.process.live import LiveJail
from jailkit.process.process import Process
from jailkit.process.streams import Stream, descriptors
from jailkit.process.terminal import file_of, submit_on_terminal
from jailkit.spec import Terminal

__all__ = ["open_program"]

_EXEC_SECONDS = 60.0
"""How long PID 1 may take to start a program, which it does in a millisecond; this is for a file system that hangs, or
for a PID 1 in hostile hands."""


def open_program(
    live: LiveJail,
    program: Program,
    streams: tuple[Stream, Stream, Stream],
    *,
    text: bool,
    isolation: tuple[Protection, ...],
    terminal: tuple[Program, Terminal] | None = None,
) -> Process:
    """Start a program and return when it runs.

    Raises:
        LaunchError: The program could not be started.
        ClosedError: The jail is closed, or has ended.
    """
    began = time.monotonic()
    run = _native.Run()
    meter: Meter | None = None
    try:
        if terminal is None:
            meter = live.submit_metered(run, program, descriptors(*streams), watched=True)
        else:
            meter = submit_on_terminal(live, run, program, terminal, watched=True)
        _wait_exec(live, run, program)
        listener = listen(live, run, program.notices)
        files = tuple(_file(run, number, text=text, terminal=terminal is not None) for number in range(3))
        return Process(
            live, run, program, isolation, files=files, began=began, text=text, meter=meter, listener=listener
        )
    except BaseException:
        run.close()
        live.ledger.finish(meter)
        raise


def _wait_exec(live: LiveJail, run: _native.Run, program: Program) -> None:
    alive = answered(run.wait_exec, _EXEC_SECONDS, live.lost, "start a program")
    report = run.report
    if report is not None and report.kind is _native.ReportKind.FAILED:
        raise launch_error(report, program.argv)
    if not alive and report is None:
        raise live.lost()


def _file(run: _native.Run, number: int, *, text: bool, terminal: bool) -> IO[Any] | None:
    fd = run.stream(number)
    if fd < 0:
        return None
    if terminal and number:
        raw: Any = file_of(fd)
    else:
        raw = open(fd, "rb" if number else "wb")  # noqa: SIM115 - the Process closes it
    run.lend(number, -1)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="replace", write_through=True) if text else raw
