"""What the command prints and reports. It writes bytes: no encoding and no closed stream of the caller can stop it."""

from __future__ import annotations

import json
import os
from typing import Any

import attrs

from jailkit import ExitReason, Jail, JailkitError, Result, __version__

__all__ = [
    "STDERR",
    "STDOUT",
    "explain_end",
    "failure_report",
    "open_standard_streams",
    "plan_json",
    "result_report",
    "say",
    "write",
]

STDOUT, STDERR = 1, 2


def open_standard_streams() -> None:
    """Make sure that 0, 1 and 2 are open: a jail's own descriptors must not end up under these numbers."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)


def write(fd: int, data: bytes) -> None:
    """Write all of it.

    Raises:
        OSError: It cannot be written; BrokenPipeError when nobody reads it any more.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def say(text: str) -> None:
    """Write a line of the command's own to stderr. That nobody can read it must not change how the command ends."""
    try:
        write(STDERR, f"jailkit: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        return


def _step(number: int, step: Any) -> dict[str, Any]:
    found = {"number": number, **attrs.asdict(step)}
    text = found["text"]
    # The contents of a file may be large or secret; what is printed ends up in logs.
    found["text"] = None if step.op == "file" else text.decode(errors="backslashreplace")
    found["text_size"] = len(text)
    return found


def plan_json(jail: Jail) -> str:
    """Return the plan of a jail as a JSON object: ``host_steps``, ``jail_steps``, ``isolation``."""
    plan = jail.plan
    first = len(plan.host_steps)
    data = {
        "jailkit": __version__,
        "host_steps": [_step(number, step) for number, step in enumerate(plan.host_steps)],
        "jail_steps": [_step(number, step) for number, step in enumerate(plan.jail_steps, first)],
        "isolation": [attrs.asdict(protection) for protection in plan.isolation],
    }
    return json.dumps(data, indent=2) + "\n"


def result_report(result: Result[bytes], exit_code: int) -> dict[str, Any]:
    """Return what `Result` says, for a reader that is no Python program."""
    return {
        "jailkit": __version__,
        "exit_code": exit_code,
        "argv": [os.fsdecode(word) for word in result.argv],
        "reason": result.reason.name,
        "returncode": result.returncode,
        "signal": result.signal_name,
        "truncated": result.truncated,
        "usage": {**attrs.asdict(result.usage), "cpu": result.usage.cpu},
        "isolation": [attrs.asdict(protection) for protection in result.isolation],
        "denials": [attrs.asdict(denial) for denial in result.denials],
        "error": None,
    }


def failure_report(error: JailkitError | OSError, exit_code: int) -> dict[str, Any]:
    """Return the same for a program that never ran."""
    return {
        "jailkit": __version__,
        "exit_code": exit_code,
        "error": {"type": type(error).__name__, "message": str(error)},
    }


_OWN_ENDS = frozenset({ExitReason.EXITED, ExitReason.SIGNALED, ExitReason.KILLED})
"""Reasons that need no word of explanation: the program, or who called, knows them."""


def explain_end(result: Result[bytes]) -> None:
    """Say why a program is gone, where its exit code does not; and what it was refused, where that was asked for."""
    for denial in result.denials:
        say(str(denial))
    if result.reason not in _OWN_ENDS:
        say(f"the program was ended: {result.reason.value}, after {result.usage.wall:.3f} s")
