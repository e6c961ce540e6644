"""How an attempt is made: in a child of its own, with a bound, and with the step that it failed at."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from jailkit._doctor.facts import BROKE, KILLED, TIMED_OUT, Try

__all__ = ["At", "Attempt", "apart", "attempt"]

_LARGEST = 1 << 20


class At:
    """Where an attempt is: call it with the name of the step that comes next. It also carries what was found."""

    def __init__(self) -> None:
        self.step = ""
        self.data: dict[str, Any] = {}

    def __call__(self, step: str) -> None:
        """Begin a step."""
        self.step = step


Attempt = Callable[[At], str | None]
"""Makes the attempt; returns a note. An `OSError` is the answer of the kernel."""


def _answer(attempt_: Attempt) -> dict[str, Any]:
    at = At()
    number, note = 0, ""
    try:
        note = attempt_(at) or ""
    except OSError as error:
        number, note = error.errno or BROKE, str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs into the report and ends nothing else
        number, note = BROKE, f"{type(error).__name__}: {error}"
    return {"errno": number, "step": at.step, "note": note, "data": at.data}


def attempt(attempt_: Attempt, seconds: float) -> Try:
    """Make an attempt in a child, and end the child and what it has started.

    This process must have one thread only: the child goes on in Python.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)  # so that all of it can be killed by one name that nobody else has
            os.close(reading)
            os.write(writing, json.dumps(_answer(attempt_)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        text = _read(reading, time.monotonic() + seconds)
    finally:
        os.close(reading)
        status = _end(child)
    if text:
        return Try(**json.loads(text))
    if text is None:
        return Try(TIMED_OUT, "wait for the attempt")
    return Try(KILLED, "wait for the attempt", _signal_name(status))


def _signal_name(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"exit code {os.waitstatus_to_exitcode(status)}"
    return signal.Signals(os.WTERMSIG(status)).name


def _read(fd: int, deadline: float) -> bytes | None:
    """Read an answer to its end; None when there is none in time, and empty when the child died of something."""
    text = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while len(text) < _LARGEST:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        piece = os.read(fd, 65536)
        if not piece:
            return text
        text += piece
        try:
            json.loads(text)
        except ValueError:
            continue
        return text  # without waiting for a grandchild that holds the other end
    return None


def _end(child: int) -> int:
    """Kill what is left of an attempt and wait for it; as long as nobody has waited, the number is its own."""
    try:
        os.killpg(child, signal.SIGKILL)
    except OSError:
        os.kill(child, signal.SIGKILL)  # it had not made its group yet
    return os.waitpid(child, 0)[1]  # one that a signal had ended before still says so


def apart(at: At, attempt_: Attempt) -> str:
    """Go on in a further child, as the first process of a new pid namespace must; its failure is that of this one.

    Raises:
        OSError: A step in there failed.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(_answer(attempt_)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        text = _read(reading, time.monotonic() + 60)  # who started this one has a shorter bound
    finally:
        os.close(reading)
        os.waitpid(child, 0)
    answer = json.loads(text or b'{"errno": 5, "step": "", "note": "it died", "data": {}}')
    if answer["step"]:
        at(answer["step"])
    at.data.update(answer["data"])
    if answer["errno"]:
        raise OSError(answer["errno"], answer["note"])
    return str(answer["note"])
