"""The errors of jailkit, each with the data that a program needs to react to it.

::

    JailkitError                              base, never raised itself
    ├── SpecError (ValueError)                the request is wrong: .field .value .allowed
    ├── UnsupportedError                      this host cannot do it: .feature .missing .remedy
    ├── LaunchError (OSError)                 a step failed: .phase .step .errno .description .hint
    │   ├── CommandNotFound (FileNotFoundError)
    │   └── CommandNotExecutable (PermissionError)
    ├── ClosedError (ValueError)              the jail or the process handle is closed
    ├── WaitTimeout (TimeoutError)            a wait ended before the program did: .argv .timeout
    ├── ExitError                             only from Result.check(): .result
    ├── RemoteError                           an exception in a call of Python: .type_name .message .traceback
    └── CallFailed                            a call of Python ended without an answer: .reason .stdout .stderr

Every error survives pickle and copy, so it can cross from a worker process to its parent.
"""

from __future__ import annotations

import errno as _errno
import os
import pickle
import reprlib
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "CallFailed",
    "ClosedError",
    "CommandNotExecutable",
    "CommandNotFound",
    "ExitError",
    "JailkitError",
    "LaunchError",
    "RemoteError",
    "SpecError",
    "UnsupportedError",
    "WaitTimeout",
]

_SHOWN_VALUE = 200
"""Characters of a value that a message repeats."""

_SHOWN_STDERR = 2048
"""Bytes of standard error that the message of `ExitError` repeats at most."""


class _Shown(str):
    """The text of a value that cannot be pickled; it prints as that text, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _show(value: object) -> str:
    """Return a bounded `repr` of any value, however large or badly behaved it is."""
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = shortener.maxlong = _SHOWN_VALUE
    try:
        return _clipped(shortener.repr(value))
    except Exception:  # noqa: BLE001 - a broken repr must not hide the error that is being reported
        # CPython refuses, for example, to print an int of more than 4300 digits.
        return f"<{type(value).__name__} that cannot be printed>"


def _portable(value: object) -> object:
    """Return `value`, or its text when it cannot be pickled (an open file, a lambda)."""
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001 - __reduce__ of a foreign object may raise anything
        return _Shown(_show(value))
    return value


def _rebuild(cls: Callable[..., JailkitError], arguments: dict[str, Any]) -> JailkitError:
    """Make an error again from the keyword arguments of its constructor."""
    return cls(**arguments)


class JailkitError(Exception):
    """Base of all errors of jailkit; catch it, but it is never raised itself."""

    def _arguments(self) -> dict[str, Any] | None:
        """Return the constructor's keyword arguments; None when `args` are enough to rebuild it."""
        return None

    def __reduce__(self) -> Any:
        arguments = self._arguments()
        if arguments is None:
            return super().__reduce__()
        # Exception.__reduce__ repeats the positional `args`, which keyword-only constructors refuse.
        # Of the instance's own dictionary only the notes (PEP 678) are not an argument.
        notes = getattr(self, "__notes__", None)
        state = {"__notes__": notes} if notes else None
        return _rebuild, (type(self), arguments), state


class SpecError(JailkitError, ValueError):
    """The request is wrong; raised when a spec class is constructed, before anything runs.

    Attributes:
        field: The path of the field as the caller writes it, as in ``limits.cpu_seconds``.
        value: The refused value, after normalising. Its text when the error was pickled and
            the value could not be.
        allowed: What is allowed there, in words.

    The message repeats at most 200 characters of the value. It does not hide secrets: a
    refused value of an environment variable is printed.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(field, value, allowed)
        self.field = field
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.field}: {_show(self.value)} is not allowed; allowed: {self.allowed}"

    def _arguments(self) -> dict[str, Any]:
        return {"field": self.field, "value": _portable(self.value), "allowed": self.allowed}


class UnsupportedError(JailkitError):
    """This host cannot do what was asked for by name; raised before anything runs.

    Attributes:
        feature: What was asked for, as in ``limits.memory``.
        missing: The fact that this host lacks.
        remedy: How to get it, or how to ask for less.
    """

    def __init__(self, feature: str, missing: str, remedy: str) -> None:
        super().__init__(feature, missing, remedy)
        self.feature = feature
        self.missing = missing
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.feature} is not available on this host: {self.missing}; remedy: {self.remedy}"

    def _arguments(self) -> dict[str, Any]:
        return {"feature": self.feature, "missing": self.missing, "remedy": self.remedy}


class LaunchError(JailkitError, OSError):
    """A step of a launch failed; nothing of the jail or of the program was left behind.

    Attributes:
        phase: The part of the launch that failed: ``start``, ``host``, ``jail`` or ``program``.
        step: The index of the step in its plan, from 0; None when the failure has no step.
        errno: The positive error number, see errno(3).
        description: The step in words.
        hint: What usually cures it, or None.
        filename: The path that the failing call was about, or None.
    """

    def __init__(
        self,
        *,
        phase: str,
        errno: int,
        description: str,
        step: int | None = None,
        hint: str | None = None,
        filename: str | bytes | None = None,
    ) -> None:
        super().__init__(errno, os.strerror(errno), filename)
        self.phase = phase
        self.step = step
        self.description = description
        self.hint = hint

    def __str__(self) -> str:
        # OSError leaves its attributes writable and optional; the constructor always sets this one.
        number = self.errno or 0
        name = _errno.errorcode.get(number, f"errno {number}")
        where = self.phase if self.step is None else f"{self.phase} step {self.step}"
        hint = f"; hint: {self.hint}" if self.hint else ""
        return f"{where}, {self.description}: {name} ({self.strerror}){hint}"

    def _arguments(self) -> dict[str, Any]:
        return {
            "phase": self.phase,
            "step": self.step,
            "errno": self.errno,
            "description": self.description,
            "hint": self.hint,
            "filename": self.filename,
        }


class CommandNotFound(LaunchError, FileNotFoundError):  # noqa: N818 - named as in a shell's message
    """The program is not in the jail: no such file, or none of that name in the jail's PATH.

    A script whose interpreter, or a program whose loader, is missing in the jail ends here too:
    execve(2) answers ENOENT for both.
    """


class CommandNotExecutable(LaunchError, PermissionError):  # noqa: N818 - as CommandNotFound
    """The program is in the jail but cannot be executed.

    It lacks the execute permission, is a directory, is on a noexec mount, or is in no
    format that the kernel runs (execve(2): EACCES, ENOEXEC).
    """


class ClosedError(JailkitError, ValueError):
    """The jail or the process handle is closed, or belongs to the parent of a forked process."""


class WaitTimeout(JailkitError, TimeoutError):  # noqa: N818 - the name says what happened
    """`Process.wait` or `Process.communicate` gave up waiting; the program still runs.

    The `timeout` of `run` and `popen` never raises this: it ends the program, and the
    result says ``ExitReason.WALL_TIME``.

    Attributes:
        argv: The command that still runs.
        timeout: How long was waited, in seconds.
    """

    def __init__(self, argv: Iterable[str | bytes], timeout: float) -> None:
        self.argv = tuple(argv)
        self.timeout = timeout
        # One argument: of two, OSError would take the first for its errno.
        super().__init__(f"{_command(self.argv)} still runs after {timeout} seconds")

    def _arguments(self) -> dict[str, Any]:
        return {"argv": self.argv, "timeout": self.timeout}


class ExitError(JailkitError):
    """A program did not end with return code 0; raised by `Result.check` alone.

    The message repeats the last lines of standard error, at most 2 KiB, with control
    characters escaped, because a jailed program must not be able to steer the terminal
    that shows the traceback. The text itself is still whatever the program wrote.

    Attributes:
        result: The whole `Result`.
    """

    # Any, because this module is below every other one and so cannot name Result.
    def __init__(self, result: Any) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        result = self.result
        reason = getattr(result.reason, "name", result.reason)
        head = f"{_command(result.argv)} ended: {reason}, return code {result.returncode}"
        tail = _last_lines(result.stderr)
        return f"{head}; standard error ends:\n{tail}" if tail else head

    def _arguments(self) -> dict[str, Any]:
        return {"result": self.result}


class RemoteError(JailkitError):
    """Code of a Python session raised an exception, inside the jail. All of it is what the jail says: text, no more.

    Attributes:
        type_name: The name of the exception's class, with its module unless that is `builtins`; at most 200 characters.
        message: What `str` made of it, at most 8 KiB.
        traceback: Where it came from, as Python prints it, at most 32 KiB.
    """

    def __init__(self, type_name: str, message: str, traceback: str) -> None:
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        head = f"{_clipped(_printable(self.type_name))}: {_printable(self.message)}"
        tail = _last_lines(self.traceback)
        return f"{head}; in the jail:\n{tail}" if tail else head


class CallFailed(JailkitError):  # noqa: N818 - the name says what happened
    """A call of a Python session ended without a valid answer: it was ended, or ended itself.

    Attributes:
        why: What happened, in words.
        reason: Why it ended, an `ExitReason`.
        stdout: What it wrote there, within the bound on its output.
        stderr: The same.
    """

    def __init__(self, why: str, reason: Any, stdout: bytes = b"", stderr: bytes = b"") -> None:
        super().__init__(why, reason, stdout, stderr)
        self.why = why
        self.reason = reason
        self.stdout = stdout
        self.stderr = stderr

    def __str__(self) -> str:
        head = f"{_printable(self.why)} ({getattr(self.reason, 'name', self.reason)})"
        tail = _last_lines(self.stderr)
        return f"{head}; standard error ends:\n{tail}" if tail else head


def _command(argv: Iterable[str | bytes]) -> str:
    """Return a command as one bounded line that a shell could read back if it is short."""
    text = _printable(shlex.join(os.fsdecode(word) for word in argv)).replace("\n", "\\n")
    return _clipped(text)


def _clipped(text: str) -> str:
    """Return the start of a text that is too long for a message."""
    return text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 3] + "..."


def _last_lines(stderr: str | bytes | None) -> str:
    """Return the end of a stream, whole lines where possible, at most 2 KiB once encoded."""
    if not stderr:
        return ""
    # A character is at least one byte, so this much of a str is enough and bounds the work.
    tail = stderr[-_SHOWN_STDERR:]
    cut = len(tail) < len(stderr)
    text = tail if isinstance(tail, str) else tail.decode("utf-8", "backslashreplace")
    shown = _printable(text).strip("\n").encode("utf-8")
    if len(shown) > _SHOWN_STDERR:
        shown, cut = shown[-_SHOWN_STDERR:], True
    _, newline, rest = shown.partition(b"\n")
    # The first line of a cut text is the end of some line; a single long line is kept as it is.
    return (rest if cut and newline else shown).decode("utf-8", "ignore")


def _printable(text: str) -> str:
    """Escape what a terminal would act on; keep line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)
