"""What the command does: run a program, explain, or call the doctor."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import IO

import attrs

from jailkit import (
    PIPE,
    UNLIMITED,
    CommandNotExecutable,
    CommandNotFound,
    ExitReason,
    Jail,
    JailkitError,
    Limits,
    Process,
    Result,
    doctor,
)
from jailkit._cli import output
from jailkit._cli.grading import GRADING
from jailkit._cli.network import tell_ports
from jailkit._cli.options import EXIT_JAIL_FAILED, parse
from jailkit._cli.signals import Forwarder, Interrupted
from jailkit._cli.terminal import Window, size
from jailkit._cli.trace import Trace
from jailkit._doctor import apparmor_profile

__all__ = ["exit_code", "failure_code", "main"]

EXIT_NO_SANDBOX = 1
EXIT_TIMED_OUT = 124
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
_SIGNAL = 128
_SIGPIPE, _SIGKILL = 13, 9


def main(words: Sequence[str] | None = None) -> int:
    """Carry out a command line; return the exit code.

    Args:
        words: The words after the name of the command. Default: those of this process.

    Raises:
        SystemExit: The command line is wrong (125), or help or the version was asked for (0).
    """
    output.open_standard_streams()
    options = parse(sys.argv[1:] if words is None else words)
    try:
        commands = {"run": _run, "explain": _explain, "doctor": _doctor, **GRADING}
        return commands[options.command](options)
    except Interrupted as interrupted:
        return _SIGNAL + interrupted.number
    except BrokenPipeError:
        return _SIGNAL + _SIGPIPE  # as a program that this signal ends: nobody reads what it says
    except (JailkitError, OSError) as error:
        output.say(str(error))
        return failure_code(error)


def exit_code(result: Result[bytes]) -> int:
    """Return what a shell is told of a program that has run."""
    if result.reason is ExitReason.WALL_TIME:
        return EXIT_TIMED_OUT
    if result.returncode < 0:
        return _SIGNAL - result.returncode
    # It may end by itself while the host is about to kill it: that must not look like success.
    own = result.reason in (ExitReason.EXITED, ExitReason.SIGNALED)
    return result.returncode if own else _SIGNAL + _SIGKILL


def failure_code(error: BaseException) -> int:
    """Return what a shell is told of a program that has not run."""
    if isinstance(error, CommandNotFound):
        return EXIT_NOT_FOUND
    return EXIT_NOT_EXECUTABLE if isinstance(error, CommandNotExecutable) else EXIT_JAIL_FAILED


def _explain(options: argparse.Namespace) -> int:
    jail = Jail.from_spec(options.spec)
    text = output.plan_json(jail) if options.json else jail.explain()
    output.write(output.STDOUT, text.encode(errors="backslashreplace"))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    if options.apparmor_profile:
        output.write(output.STDOUT, apparmor_profile().encode(errors="surrogateescape"))
        return 0
    report = doctor()
    text = json.dumps(report.to_dict(), indent=2) if options.json else str(report)
    output.write(output.STDOUT, f"{text}\n".encode(errors="backslashreplace"))
    return 0 if report.ok else EXIT_NO_SANDBOX


def _run(options: argparse.Namespace) -> int:
    if options.report is None:
        return _finished(_ended(options))
    # Opened before anything runs: a report that cannot be written is no reason to have run the program.
    with open(options.report, "w", encoding="utf-8") as report:
        try:
            result = _ended(options)
        except (JailkitError, OSError) as error:
            _write(report, output.failure_report(error, failure_code(error)))
            raise
        _write(report, output.result_report(result, exit_code(result)))
    return _finished(result)


def _write(report: IO[str], data: object) -> None:
    json.dump(data, report, indent=2)
    report.write("\n")


def _finished(result: Result[bytes]) -> int:
    output.write(output.STDOUT, result.stdout)
    output.write(output.STDERR, result.stderr)
    output.explain_end(result)
    return exit_code(result)


def _ended(options: argparse.Namespace) -> Result[bytes]:
    """Run the program to its end and take the jail away."""
    collected = "output" in options.spec.limits.named()
    if options.tty:
        return _ended_on_terminal(options, unbounded=not collected)
    # Otherwise the streams are the caller's own, terminal and all: nothing is copied, and nothing is delayed.
    stdout, stderr = (PIPE, PIPE) if collected else (output.STDOUT, output.STDERR)
    trace = Trace()
    planned = Jail.from_spec(options.spec)
    trace.mark(f"decide: {len(planned.plan.host_steps) + len(planned.plan.jail_steps)} steps")
    with Forwarder() as forwarder:
        with planned as jail:
            trace.mark("build the jail")
            tell_ports(jail)
            with jail.popen(options.argv, stdin=0, stdout=stdout, stderr=stderr) as program:
                trace.mark("start the program")
                forwarder.aim(program)
                result = _watch(program, collected=collected)
                forwarder.finish()
                trace.mark("the program")
        trace.mark("take the jail away")
    if options.trace:
        output.say(f"where the time went\n{trace}")
    return result


def _ended_on_terminal(options: argparse.Namespace, *, unbounded: bool) -> Result[bytes]:
    """Do the same with a terminal for the program, to which the caller's is a window."""
    spec = options.spec
    if unbounded:  # who works in a jail for a day is not to be ended by the default of a level
        spec = attrs.evolve(spec, limits=Limits(output=UNLIMITED).over(spec.limits))
    kind = os.environ.get("TERM")
    env = {"TERM": kind} if kind and "TERM" not in dict(spec.env) else None
    with (
        Forwarder() as forwarder,
        Jail.from_spec(spec) as jail,
        jail.popen(options.argv, pty=size(), env=env) as program,
    ):
        tell_ports(jail)
        forwarder.aim(program)
        with Window(program) as window:
            window.show()
        result = program.result()
        forwarder.finish()
    return result


def _watch(program: Process, *, collected: bool) -> Result[bytes]:
    if collected:
        program.communicate()
    return program.result()
