"""How the command ends: exit codes, reports, and what it does with signals."""

from __future__ import annotations

import errno
import inspect
import json
import signal
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import jailkit
from jailkit import ExitReason, Result, Usage
from jailkit._cli import main, output
from jailkit._cli.command import exit_code, failure_code
from jailkit._cli.signals import Forwarder, Interrupted


def result(returncode: int = 0, reason: ExitReason = ExitReason.EXITED) -> Result[bytes]:
    """Make a result as the library would."""
    usage = Usage(cpu_user=0.25, cpu_system=0.5, wall=1.0, memory_peak=None, memory_source="nobody looked")
    return Result(
        argv=(b"prog", b"\xff"),
        returncode=returncode,
        reason=reason,
        stdout=b"",
        stderr=b"",
        truncated=False,
        usage=usage,
        isolation=(jailkit.Protection("files", "enforced", "pivot_root"),),
    )


@pytest.mark.parametrize(
    ("returncode", "reason", "code"),
    [
        (0, ExitReason.EXITED, 0),
        (7, ExitReason.EXITED, 7),
        (255, ExitReason.EXITED, 255),
        (-signal.SIGSEGV, ExitReason.SIGNALED, 139),
        (-signal.SIGKILL, ExitReason.WALL_TIME, 124),
        (0, ExitReason.WALL_TIME, 124),
        (-signal.SIGXCPU, ExitReason.CPU_TIME, 152),
        (-signal.SIGKILL, ExitReason.MEMORY, 137),
        (-signal.SIGKILL, ExitReason.OUTPUT, 137),
        (0, ExitReason.OUTPUT, 137),
        (-signal.SIGKILL, ExitReason.DISK, 137),
        (-signal.SIGKILL, ExitReason.KILLED, 137),
        (-signal.SIGKILL, ExitReason.LOST, 137),
    ],
)
def test_exit_codes_of_programs(returncode: int, reason: ExitReason, code: int) -> None:
    """As in docker and timeout(1); no program that was ended by force looks successful."""
    assert exit_code(result(returncode, reason)) == code


def launch(cls: type[jailkit.LaunchError], number: int) -> jailkit.LaunchError:
    """Make an error of a launch."""
    return cls(phase="program", errno=number, description="execute 'prog'")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (jailkit.SpecError("net", 1, "True"), 125),
        (jailkit.UnsupportedError("net", "no way out", "stay"), 125),
        (jailkit.ClosedError("closed"), 125),
        (launch(jailkit.LaunchError, errno.ENOENT), 125),
        (launch(jailkit.CommandNotExecutable, errno.EACCES), 126),
        (launch(jailkit.CommandNotFound, errno.ENOENT), 127),
        (FileNotFoundError(2, "No such file or directory", "/report"), 125),
    ],
)
def test_exit_codes_of_failures(error: jailkit.JailkitError | OSError, code: int) -> None:
    """Only the program itself is "not found"."""
    assert failure_code(error) == code


def test_a_report_says_what_the_result_says() -> None:
    """Every field but the streams is in it, as JSON, whatever bytes argv has."""
    said = json.loads(json.dumps(output.result_report(result(-9, ExitReason.WALL_TIME), 124)))
    assert (said["reason"], said["returncode"], said["signal"], said["exit_code"]) == ("WALL_TIME", -9, "SIGKILL", 124)
    assert said["usage"]["cpu"] == 0.75
    assert said["isolation"] == [{"name": "files", "state": "enforced", "fact": "pivot_root"}]
    assert [word.encode(errors="surrogateescape") for word in said["argv"]] == [b"prog", b"\xff"]
    assert {field.name for field in attrs.fields(Result)} - said.keys() == {"stdout", "stderr"}
    assert {field.name for field in attrs.fields(Usage)} < said["usage"].keys()


def test_a_report_of_a_real_time_signal_has_a_name() -> None:
    """Python has no name for signal 35."""
    assert output.result_report(result(-35, ExitReason.SIGNALED), 163)["signal"] == "signal 35"


def test_a_report_of_a_failure_has_the_error() -> None:
    """A reader can tell a program that was not there from one that ended with 127."""
    said = output.failure_report(launch(jailkit.CommandNotFound, errno.ENOENT), 127)
    assert said["error"]["type"] == "CommandNotFound"
    assert "execute 'prog'" in said["error"]["message"]


class Program:
    """As much of a `Process` as a forwarder sees."""

    def __init__(self) -> None:
        self.orders: list[str | int] = []

    def send_signal(self, number: int) -> None:
        """Note it."""
        self.orders.append(number)

    def kill(self) -> None:
        """Note it."""
        self.orders.append("kill")


@pytest.fixture
def default_sigterm() -> Iterator[None]:
    """Let a test change what SIGTERM does."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("default_sigterm")
@pytest.mark.parametrize("early", [False, True], ids=["while it runs", "while it is started"])
def test_the_first_signal_is_handed_on_and_the_second_kills(early: bool) -> None:
    """No signal is lost, none disturbs the end, and the handlers come back."""
    program: Any = Program()
    interrupt = signal.getsignal(signal.SIGINT)
    with Forwarder() as forwarder:
        if early:
            signal.raise_signal(signal.SIGTERM)
        forwarder.aim(program)
        if not early:
            signal.raise_signal(signal.SIGTERM)
        assert program.orders == [signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        forwarder.finish()
        signal.raise_signal(signal.SIGTERM)
    assert program.orders == [signal.SIGTERM, "kill"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is interrupt


@pytest.mark.usefixtures("default_sigterm")
def test_two_signals_end_a_start_that_takes_too_long() -> None:
    """Whoever asks twice does not wait for a file system that hangs."""
    with Forwarder():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted) as interrupted:
            signal.raise_signal(signal.SIGTERM)
    assert interrupted.value.number == signal.SIGTERM


@pytest.mark.usefixtures("default_sigterm")
def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """Nohup and a shell's ``&`` mean it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with Forwarder():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_python_m_is_the_same_command() -> None:
    """Both names lead to one function."""
    from jailkit import __main__

    assert __main__.main is main
    assert "main" in inspect.getsource(__main__)
