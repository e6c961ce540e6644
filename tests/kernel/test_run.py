"""`run`: input, output, time, and how a program ended."""

from __future__ import annotations

import os
import resource
import signal
import time
from typing import Any

import pytest

import jailkit
from jailkit import ExitReason, Jail, KiB, Limits, MiB
from tests.patience import at_last, patient

pytestmark = pytest.mark.requires("userns")

PROMPT = patient(20)
"""Seconds that stand for "at once" on a machine that others use too; what is waited for in vain takes far longer."""


def run_in_jail(*arguments: Any, **options: Any) -> jailkit.Result[Any]:
    """Build a jail, run in it, close it."""
    with Jail() as jail:
        return jail.run(*arguments, **options)


both_ways = pytest.mark.parametrize("run", [jailkit.run, run_in_jail], ids=["once", "live"])


@both_ways
def test_output_and_exit_code(run: Any) -> None:
    """Both streams, apart from each other, and the code."""
    result = run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.stdout, result.stderr, result.returncode) == (b"out\n", b"err\n", 3)
    assert (result.reason, result.ok, result.truncated) == (ExitReason.EXITED, False, False)
    assert result.argv == (b"sh", b"-c", b"echo out; echo err >&2; exit 3")
    assert result.usage.wall > 0
    assert result.usage.memory_peak > 0
    assert result.usage.memory_source in ("maxrss", "memory.peak", "memory.max_usage_in_bytes")


@both_ways
def test_a_signal_is_a_negative_code(run: Any) -> None:
    """As in subprocess; an exit code over 128 is an exit code."""
    result = run(["sh", "-c", "kill -SEGV $$"])
    assert (result.returncode, result.reason, result.signal) == (-11, ExitReason.SIGNALED, signal.SIGSEGV)
    result = run(["sh", "-c", "exit 137"])
    assert (result.returncode, result.reason) == (137, ExitReason.EXITED)
    assert run(["sh", "-c", "kill -KILL $$"]).reason is ExitReason.SIGNALED


@both_ways
def test_check(run: Any) -> None:
    """A failure becomes an exception only where asked for, and carries the result."""
    assert run(["true"], check=True).ok
    with pytest.raises(jailkit.ExitError) as caught:
        run(["sh", "-c", "echo why >&2; exit 4"], check=True)
    assert caught.value.result.returncode == 4
    assert "why" in str(caught.value)


@both_ways
@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_001])
def test_input_comes_back(run: Any, size: int) -> None:
    """Any amount, while the program writes at the same time."""
    data = os.urandom(size)
    assert run(["cat"], input=data, timeout=patient(50)).stdout == data


@both_ways
def test_input_that_nobody_reads(run: Any) -> None:
    """A program that ends, or closes its stdin, without reading is no error and no hang."""
    data = b"x" * MiB
    assert run(["true"], input=data, timeout=patient(50)).ok
    assert run(["sh", "-c", "exec <&-; echo done"], input=data, timeout=patient(50)).stdout == b"done\n"
    assert run(["sh", "-c", "sleep 0.3; head -c 1"], input=data, timeout=patient(50)).stdout == b"x"


@both_ways
def test_without_input_there_is_none(run: Any) -> None:
    """Stdin is empty, not the terminal or the pipe of the host program."""
    assert run(["cat"], timeout=patient(50)).stdout == b""


@both_ways
def test_text(run: Any) -> None:
    """Str both ways; what is no UTF-8 is replaced."""
    result = run(["sh", "-c", r"cat; printf '\377' >&2"], input="gr\u00fc\u00df", text=True)
    assert (result.stdout, result.stderr) == ("gr\u00fc\u00df", "\ufffd")


@both_ways
def test_streams_as_in_subprocess(run: Any, tmp_path: Any) -> None:
    """Files, descriptors, DEVNULL, and stderr where stdout goes."""
    with open(tmp_path / "out", "wb") as file:
        result = run(["sh", "-c", "echo out; echo err >&2"], stdout=file)
    assert (result.stdout, result.stderr, (tmp_path / "out").read_bytes()) == (b"", b"err\n", b"out\n")
    result = run(["sh", "-c", "echo out; echo err >&2"], stderr=jailkit.STDOUT)
    assert (result.stdout, result.stderr) == (b"out\nerr\n", b"")
    result = run(["sh", "-c", "echo out; echo err >&2"], stdout=jailkit.DEVNULL)
    assert (result.stdout, result.stderr) == (b"", b"err\n")
    with open(tmp_path / "out", "rb") as file:
        assert run(["cat"], stdin=file).stdout == b"out\n"


@both_ways
def test_a_timeout_is_a_result(run: Any) -> None:
    """With what was written until then; the whole tree is gone, though a child holds the pipe and ignores signals."""
    script = "trap '' TERM INT HUP; echo before; (trap '' TERM INT HUP; setsid sleep 3600) & sleep 3600"

    def timed_out(seconds: float) -> bytes:
        began = time.monotonic()
        result = run(["sh", "-c", script], timeout=seconds)
        assert time.monotonic() - began < seconds + PROMPT
        assert (result.reason, result.ok, result.returncode) == (ExitReason.WALL_TIME, False, -signal.SIGKILL)
        assert result.usage.wall >= seconds
        return bytes(result.stdout)

    assert at_last(timed_out, 0.5) == b"before\n"


def test_the_timeout_of_a_limit_is_the_same() -> None:
    """`Limits.wall_seconds` of the jail, of the run, and `timeout` over both."""
    with Jail(limits=Limits(wall_seconds=0.3)) as jail:
        assert jail.run(["sleep", "3600"]).reason is ExitReason.WALL_TIME
        assert jail.run(["sleep", "0.6"], timeout=patient(50)).ok
        assert jail.run(["sleep", "0.6"], limits=Limits(wall_seconds=patient(50))).ok


@both_ways
def test_a_child_that_holds_the_pipe_does_not_delay_the_result(run: Any) -> None:
    """The program has ended when it has ended; what it left behind is killed."""
    began = time.monotonic()
    result = run(["sh", "-c", "setsid sleep 3600 & echo done"])
    assert (result.ok, result.stdout) == (True, b"done\n")
    assert time.monotonic() - began < PROMPT


@both_ways
@pytest.mark.parametrize("stream", ["1", "2"])
def test_an_output_flood_ends(run: Any, stream: str) -> None:
    """With reason OUTPUT; the head and the tail are kept, and the host program does not grow."""
    script = f"echo first >&{stream}; yes 0123456789 >&{stream}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    result = run(["sh", "-c", script], limits=Limits(output=256 * KiB), timeout=patient(50))
    assert time.monotonic() - began < PROMPT
    assert (result.reason, result.truncated) == (ExitReason.OUTPUT, True)
    text = result.stdout if stream == "1" else result.stderr
    assert text.startswith(b"first\n0123456789\n")
    assert len(result.stdout) + len(result.stderr) <= 256 * KiB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB


def test_the_bound_of_the_output_is_exact() -> None:
    """Output exactly at the bound is complete; one byte more is cut."""
    with Jail(limits=Limits(output=1000)) as jail:
        result = jail.run(["sh", "-c", "head -c 1000 /dev/zero"])
        assert (result.reason, len(result.stdout), result.truncated) == (ExitReason.EXITED, 1000, False)
        result = jail.run(["sh", "-c", "head -c 600 /dev/zero; head -c 401 /dev/zero >&2"], timeout=patient(50))
        # It may have ended by itself before the host saw that it was over the bound.
        assert result.truncated
        assert result.reason in (ExitReason.OUTPUT, ExitReason.EXITED)
        assert 900 <= len(result.stdout) + len(result.stderr) <= 1000
        assert jail.run(["sh", "-c", "head -c 0 /dev/zero"], limits=Limits(output=0)).ok


@both_ways
def test_a_deadline_holds_during_a_flood_without_bound(run: Any) -> None:
    """With output=UNLIMITED the clock is still looked at while bytes keep coming."""
    script = "i=0; while :; do echo 0123456789; done"
    began = time.monotonic()
    result = run(["sh", "-c", script], limits=Limits(output=jailkit.UNLIMITED), timeout=0.5)
    assert time.monotonic() - began < PROMPT
    assert result.reason is ExitReason.WALL_TIME
    result = run(["yes"], limits=Limits(output=jailkit.UNLIMITED), timeout=0.2)
    assert time.monotonic() - began < 2 * PROMPT
    assert result.reason is ExitReason.WALL_TIME


def test_a_detached_program_may_hold_the_pipe() -> None:
    """What it leaves behind keeps running and cannot delay the result."""
    with Jail() as jail:
        began = time.monotonic()
        assert jail.run(["sh", "-c", "sleep 3600 & echo done"], detach=True).stdout == b"done\n"
        assert time.monotonic() - began < PROMPT


def test_programs_follow_one_another_in_one_jail() -> None:
    """Files stay between them, processes and variables do not."""
    with Jail() as jail:
        assert jail.run(["sh", "-c", "echo kept > /tmp/file; export LOST=1"]).ok
        assert jail.run(["sh", "-c", "cat /tmp/file; echo $LOST"]).stdout == b"kept\n\n"
    with Jail() as jail:
        assert jail.run(["cat", "/tmp/file"]).returncode == 1


def test_a_large_command() -> None:
    """Arguments and variables far over what one message holds."""
    words = [f"{n:0100000d}" for n in range(3)]
    with Jail() as jail:
        result = jail.run(["sh", "-c", 'echo "$#:${#1}:${#BIG}"', "sh", *words], env={"BIG": "x" * 120_000})
        assert result.stdout == b"3:100000:120000\n"
    assert jailkit.run(["sh", "-c", 'echo "$#"', "sh", *words]).stdout == b"3\n"
