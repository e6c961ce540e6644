"""The exceptions: the data they carry, what they print, and that they survive a trip to another process."""

from __future__ import annotations

import ast
import copy
import errno
import os
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import jailkit._errors as errors
from jailkit._errors import (
    CallFailed,
    ClosedError,
    CommandNotExecutable,
    CommandNotFound,
    ExitError,
    JailkitError,
    LaunchError,
    RemoteError,
    SpecError,
    UnsupportedError,
    WaitTimeout,
)

PACKAGE = Path(errors.__file__).parent


@attrs.frozen
class Ended:
    """As much of a Result as `ExitError` reads."""

    argv: tuple[bytes, ...] = (b"sh", b"-c", b"exit 3")
    returncode: int = 3
    reason: str = "EXITED"
    stderr: bytes | str | None = b""


LAUNCH: dict[str, Any] = {
    "phase": "jail",
    "step": 7,
    "errno": errno.EPERM,
    "description": "mount a fresh proc on /proc",
    "hint": "unmask /proc on the host",
    "filename": "/proc",
}
NO_SUCH: dict[str, Any] = {
    "phase": "exec",
    "step": 0,
    "errno": errno.ENOENT,
    "description": "execute prog",
    "filename": b"\xff",
}
EXAMPLES = [
    SpecError("limits.cpu_seconds", -1, "a finite number of seconds > 0, or UNLIMITED"),
    UnsupportedError("limits.memory", "no writable control group", "run as root"),
    LaunchError(**LAUNCH),
    LaunchError(phase="start", errno=errno.EAGAIN, description="start the jail"),
    CommandNotFound(**NO_SUCH),
    CommandNotExecutable(phase="exec", errno=errno.EACCES, description="execute prog"),
    ClosedError("this jail is closed"),
    WaitTimeout(["sleep", b"9"], 0.5),
    ExitError(Ended(stderr=b"boom\n")),
    RemoteError("ValueError", "no", "Traceback (most recent call last):\nValueError: no\n"),
    CallFailed("the call was ended", "WALL_TIME", b"out", b"err\n"),
]
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
COPIES = [
    *((lambda error, p=p: pickle.loads(pickle.dumps(error, p))) for p in PROTOCOLS),
    copy.copy,
    copy.deepcopy,
]


def data_of(error: BaseException) -> dict[str, Any]:
    """Return all that a program can read from an error."""
    return {**vars(error), "errno": getattr(error, "errno", None), "filename": getattr(error, "filename", None)}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("copied", COPIES)
def test_errors_cross_processes_whole(error: JailkitError, copied: Any) -> None:
    """A copied or unpickled error has the type, the data, the text and the arguments of the original."""
    twin = copied(error)
    assert type(twin) is type(error)
    assert data_of(twin) == data_of(error)
    assert str(twin) == str(error)
    assert twin.args == error.args


def test_every_error_is_an_example_above() -> None:
    """No error of the module is left out of the test of pickling."""
    tested = {type(error).__name__ for error in EXAMPLES}
    assert tested == set(errors.__all__) - {"JailkitError"}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_notes_cross_processes(error: JailkitError) -> None:
    """What add_note() attached is still there after pickling."""
    noted = copy.copy(error)
    noted.add_note("while grading student 7")
    assert pickle.loads(pickle.dumps(noted)).__notes__ == ["while grading student 7"]


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (SpecError, ValueError),
        (UnsupportedError, Exception),
        (LaunchError, OSError),
        (CommandNotFound, FileNotFoundError),
        (CommandNotFound, LaunchError),
        (CommandNotExecutable, PermissionError),
        (CommandNotExecutable, LaunchError),
        (ClosedError, ValueError),
        (WaitTimeout, TimeoutError),
        (ExitError, Exception),
    ],
)
def test_errors_are_caught_as_the_builtin_of_their_kind(kind: type, builtin: type) -> None:
    """Code that knows only Python's own exceptions catches the matching one of jailkit."""
    assert issubclass(kind, builtin)
    assert issubclass(kind, JailkitError)


def test_a_launch_that_failed_for_other_reasons_is_not_a_missing_command() -> None:
    """Only the two errors of execve are FileNotFoundError and PermissionError, whatever the errno."""
    error = LaunchError(phase="jail", errno=errno.ENOENT, description="open the root")
    assert not isinstance(error, FileNotFoundError)


def test_spec_error_names_field_value_and_what_is_allowed() -> None:
    """The message has the form that the documentation shows."""
    expected = "limits.cpu_seconds: -1 is not allowed; allowed: a finite number of seconds > 0, or UNLIMITED"
    assert str(EXAMPLES[0]) == expected


class Mute:
    """An object without a usable repr."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value", ["x" * 10**6, [["x" * 999] * 99] * 99, b"x" * 10**5, 10**5000, Mute()], ids=type)
def test_spec_error_prints_any_value_in_bounds(value: object) -> None:
    """Neither a huge value nor one without a repr makes the message huge or fail."""
    assert 0 < len(str(SpecError("f", value, "less"))) < 300


@pytest.mark.parametrize("value", [lambda: None, open(os.devnull, "rb"), Mute])  # noqa: SIM115
def test_spec_error_pickles_whatever_the_value(value: object) -> None:
    """A value that cannot be pickled arrives as its text, and the message is the same."""
    error = SpecError("argv", value, "a list")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_launch_error_prints_phase_step_words_errno_and_hint() -> None:
    """The message has the form that the documentation shows."""
    strerror = os.strerror(errno.EPERM)
    expected = f"jail step 7, mount a fresh proc on /proc: EPERM ({strerror}); hint: unmask /proc on the host"
    assert str(LaunchError(**LAUNCH)) == expected


def test_launch_error_without_step_and_hint_leaves_them_out() -> None:
    """What is not known is not printed, not even as None."""
    error = LaunchError(phase="start", errno=errno.EAGAIN, description="start the jail")
    assert str(error) == f"start, start the jail: EAGAIN ({os.strerror(errno.EAGAIN)})"
    assert (error.step, error.hint, error.filename) == (None, None, None)


@given(step=st.integers(0, 10**6))
def test_launch_error_prints_every_step(step: int) -> None:
    """Step 0 is a step, not the lack of one."""
    assert str(LaunchError(**{**LAUNCH, "step": step})).startswith(f"jail step {step}, ")


def test_launch_error_of_an_unknown_errno_prints_its_number() -> None:
    """An errno that this Python has no name for is still told."""
    assert "errno 4095 (" in str(LaunchError(**{**LAUNCH, "errno": 4095}))


def test_launch_error_has_the_attributes_of_oserror() -> None:
    """Handlers written for OSError find errno, strerror and filename."""
    error = LaunchError(**LAUNCH)
    assert (error.errno, error.strerror, error.filename) == (errno.EPERM, os.strerror(errno.EPERM), "/proc")


def test_unsupported_error_says_what_is_missing_and_how_to_get_it() -> None:
    """All three parts are in the message."""
    expected = "limits.memory is not available on this host: no writable control group; remedy: run as root"
    assert str(EXAMPLES[1]) == expected


def test_wait_timeout_is_no_errno() -> None:
    """The command does not end up in the errno that TimeoutError inherits from OSError."""
    error = WaitTimeout(["sleep", b"9"], 0.5)
    assert (error.argv, error.timeout, error.errno) == (("sleep", b"9"), 0.5, None)
    assert str(error) == "sleep 9 still runs after 0.5 seconds"


def test_exit_error_says_command_reason_and_last_lines() -> None:
    """The message alone is enough to see what went wrong."""
    error = ExitError(Ended(stderr=b"Traceback\nValueError: no\n"))
    expected = "sh -c 'exit 3' ended: EXITED, return code 3; standard error ends:\nTraceback\nValueError: no"
    assert str(error) == expected


@pytest.mark.parametrize("stderr", [None, b"", "", b"\n\n"])
def test_exit_error_without_stderr_ends_after_the_return_code(stderr: bytes | str | None) -> None:
    """No empty section is announced."""
    assert str(ExitError(Ended(stderr=stderr))) == "sh -c 'exit 3' ended: EXITED, return code 3"


@given(st.binary(max_size=6000) | st.text(max_size=6000))
@example(b"\0" * 2048)  # each byte is four characters once escaped
def test_exit_error_is_bounded_and_cannot_steer_a_terminal(stderr: bytes | str) -> None:
    """Whatever a program wrote, at most 2 KiB of it are repeated, without control characters."""
    head, _, tail = str(ExitError(Ended(stderr=stderr))).partition("\n")
    assert head.startswith("sh -c")
    assert len(tail.encode()) <= 2048
    assert all(c.isprintable() or c in "\n\t" for c in tail)


@pytest.mark.parametrize("text", [True, False])
def test_exit_error_keeps_the_end_in_whole_lines(text: bool) -> None:
    """Of a long stream the last lines are kept, none of them cut at its start."""
    lines = [f"line {n}" for n in range(5000)]
    stream = "\n".join(lines)
    shown = str(ExitError(Ended(stderr=stream if text else stream.encode()))).splitlines()[1:]
    assert len(shown) > 100
    assert shown == lines[-len(shown) :]


def test_exit_error_keeps_the_end_of_one_long_line() -> None:
    """A stream without line ends is not dropped for having none."""
    assert str(ExitError(Ended(stderr=b"a" * 9000 + b"z"))).endswith("a" * 2047 + "z")


def test_exit_error_repeats_a_long_command_in_part() -> None:
    """A command of megabytes does not make a message of megabytes."""
    assert len(str(ExitError(Ended(argv=(b"x" * 10**6, b"\x1b[31m\n"))))) < 400
    assert "\x1b" not in str(ExitError(Ended(argv=(b"x", b"\x1b[31m"))))


def raised_names(tree: ast.AST) -> set[str]:
    """Return the names after ``raise`` in a module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            found.add(ast.unparse(called).split(".")[-1])
    return found


def test_the_base_is_never_raised() -> None:
    """Every failure has a type of its own, so the base is only for catching."""
    names = {path: raised_names(ast.parse(path.read_text())) for path in PACKAGE.rglob("*.py")}
    assert any("SpecError" in found for found in names.values())
    assert [path for path, found in names.items() if "JailkitError" in found] == []
