"""`Process.stream` and `Process.lines`: what a program writes, as it comes."""

from __future__ import annotations

import select
import threading
import time
import tracemalloc

import pytest

import jailkit
from jailkit import Chunk, ExitReason, Jail, KiB, Limits, MiB
from tests import leaks
from tests.patience import at_last, patient

pytestmark = pytest.mark.requires("userns")

BOUND = patient(30)
ECHO = 'for n in 1 2 3; do echo "out $n"; echo "err $n" >&2; read x || exit 9; done'


def test_both_streams_as_they_come(sandbox: Jail) -> None:
    """Each line says where it is from; the program waits for an answer to each, so none can have come later."""
    with sandbox.popen(["sh", "-c", ECHO], stdin=jailkit.PIPE, timeout=BOUND) as process:
        assert process.stdin is not None
        lines = process.lines()
        for number in (b"1", b"2", b"3"):
            pair = {next(lines), next(lines)}
            assert pair == {Chunk("stdout", b"out " + number + b"\n"), Chunk("stderr", b"err " + number + b"\n")}
            process.stdin.write(b"\n")
            process.stdin.flush()
        assert list(lines) == []
        assert lines.over
        result = process.result()
        assert (result.ok, result.stdout, result.stderr, result.truncated) == (True, b"", b"", False)


def test_the_pipe_itself_can_be_iterated_too(sandbox: Jail) -> None:
    """`Process.stdout` is a file, as in subprocess."""
    with sandbox.popen(["sh", "-c", "echo one; read x; echo $x"], stdin=jailkit.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert next(iter(process.stdout)) == "one\n"
        process.stdin.write("two\n")
        process.stdin.flush()
        assert list(process.stdout) == ["two\n"]


def test_what_was_read_ahead_is_not_lost(sandbox: Jail) -> None:
    """A caller may read a greeting from the pipe, and iterate over the rest."""
    with sandbox.popen(["printf", "hello\\nworld\\n"], timeout=BOUND) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"hello\n"
        assert [chunk.data for chunk in process.lines()] == [b"world\n"]


def test_input_while_it_is_read(sandbox: Jail) -> None:
    """More than two pipes hold goes in and comes out: neither side waits for the other for ever."""
    data = b"0123456789abcde\n" * 50_000
    with sandbox.popen(["cat"], stdin=jailkit.PIPE, timeout=BOUND) as process:
        assert b"".join(chunk.data for chunk in process.stream(data)) == data
        assert process.result().ok


def test_text(sandbox: Jail) -> None:
    """A character that comes in two parts is one; what is none is U+FFFD."""
    script = "printf '\\303'; sleep 0.1; printf '\\274\\377\\n'"
    for lines in (True, False):
        with sandbox.popen(["sh", "-c", script], text=True, timeout=BOUND) as process:
            found = process.lines() if lines else process.stream()
            assert "".join(chunk.data for chunk in found) == "\u00fc\ufffd\n"


def test_a_line_without_an_end_comes_in_pieces(sandbox: Jail) -> None:
    """So that a program cannot fill the memory with one; a carriage return is no end of a line."""
    with sandbox.popen(["printf", "%s", "a\rb" + "x" * 1000 + "\n\ny"], timeout=BOUND) as process:
        found = [chunk.data for chunk in process.lines(max_bytes=400)]
    assert [len(line) for line in found] == [400, 400, 204, 1, 1]
    assert b"".join(found).startswith(b"a\rbxxx")


def test_the_bound_on_output_holds_while_somebody_iterates(sandbox: Jail) -> None:
    """No more than the bound is handed out, and the reason says why it ended."""
    for bound in (1, 1000, 300 * KiB):
        with sandbox.popen(["yes"], limits=Limits(output=bound)) as process:
            assert sum(len(chunk.data) for chunk in process.stream()) == bound
            result = process.result()
            assert (result.reason, result.truncated) == (ExitReason.OUTPUT, True)


def test_the_clock_holds_while_somebody_iterates(sandbox: Jail) -> None:
    """A timeout ends the iteration."""

    def said(seconds: float) -> list[bytes]:
        with sandbox.popen(["sh", "-c", "echo up; exec sleep 3600"], timeout=seconds) as process:
            lines = [chunk.data for chunk in process.lines()]
            assert process.result().reason is ExitReason.WALL_TIME
            return lines

    assert at_last(said, 0.3) == [b"up\n"]


def test_a_slow_reader_is_not_blamed_on_the_program(sandbox: Jail) -> None:
    """It ended in time, and is read later: that is neither WALL_TIME nor KILLED."""

    def read_late(seconds: float) -> bool:
        began = time.monotonic()
        with sandbox.popen(["echo", "quick"], timeout=seconds) as process:
            select.select([process.pidfd], [], [], BOUND)
            in_time = time.monotonic() - began < seconds
            threading.Event().wait(seconds + 0.2)
            process.kill()
            said = [chunk.data for chunk in process.stream()]
            assert not in_time or (said == [b"quick\n"] and process.result().ok)
        return in_time

    assert at_last(read_late, 0.5)


def test_a_flood_takes_no_memory(sandbox: Jail) -> None:
    """64 MiB go by, and what the caller does not keep is not kept."""
    size = 64 * MiB
    with sandbox.popen(["head", "-c", str(size), "/dev/zero"], limits=Limits(output=2 * size)) as process:
        tracemalloc.start()
        try:
            assert sum(len(chunk.data) for chunk in process.stream()) == size
            assert tracemalloc.get_traced_memory()[1] < 4 * MiB
        finally:
            tracemalloc.stop()


def test_who_stops_early_leaves_nothing() -> None:
    """A break out of the loop, and out of the block: the program is killed, and it says so."""
    with Jail() as jail:
        jail.run(["true"])  # from the first program on, the jail keeps a file of its control group open
        before = leaks.snapshot()
        with jail.popen(["sh", "-c", "setsid sleep 3600.25 & yes"]) as process:
            for number, _ in enumerate(process.lines()):
                if number == 5:
                    break
        assert process.result().reason is ExitReason.KILLED
        assert leaks.left_since(before) == []


def test_a_wait_in_the_middle_fills_no_memory(sandbox: Jail) -> None:
    """Who has stopped to read does not read: the program waits, and goes on with the next chunk."""
    with sandbox.popen(["sh", "-c", "head -c 1000000 /dev/zero; echo end"], timeout=BOUND) as process:
        outputs = process.stream()
        size = len(next(outputs).data)
        with pytest.raises(jailkit.WaitTimeout):
            process.wait(0.2)
        assert process.poll() is None
        assert size + sum(len(chunk.data) for chunk in process.stream()) == 1_000_004


def test_two_iterators_share_one_program(sandbox: Jail) -> None:
    """The second goes on where the first has stopped, even when more had been read already."""
    with sandbox.popen(["printf", "1\\n2\\n3\\n4"], timeout=BOUND) as process:
        select.select([process.pidfd], [], [], BOUND)
        assert next(process.lines()).data == b"1\n"
        assert [chunk.data for chunk in process.lines()] == [b"2\n", b"3\n", b"4"]


def test_a_loop_of_the_callers_own(sandbox: Jail) -> None:
    """`Outputs.fileno` is readable when there is something, and `Outputs.read` takes all that is there."""
    with sandbox.popen(["sh", "-c", "read x; echo $x; read y"], stdin=jailkit.PIPE, timeout=BOUND) as process:
        assert process.stdin is not None
        outputs = process.stream()
        assert outputs.read(0) == []
        assert select.select([outputs.fileno()], [], [], 0)[0] == []
        process.stdin.write(b"word\n")
        process.stdin.flush()
        assert select.select([outputs.fileno()], [], [], BOUND)[0]
        assert outputs.read(BOUND) == [Chunk("stdout", b"word\n")]
        assert outputs.read(0.05) == []
        assert not outputs.over
        process.stdin.close()
        assert outputs.read() == []
        assert outputs.over


def test_a_pipe_that_the_caller_closes_is_not_read(sandbox: Jail) -> None:
    """Its number may be somebody else's; the other stream goes on."""
    script = "echo one; read x; echo two; echo three >&2"
    with sandbox.popen(["sh", "-c", script], stdin=jailkit.PIPE, timeout=BOUND) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = process.lines()
        assert next(lines).data == b"one\n"
        process.stdout.close()
        with open("/etc/passwd") as other:
            process.stdin.write(b"\n")
            process.stdin.flush()
            found = list(lines)
            assert other.tell() == 0
        assert {chunk.stream for chunk in found} <= {"stderr"}


def test_a_closed_handle_is_not_read(sandbox: Jail) -> None:
    """Its descriptors may be somebody else's by now."""
    process = sandbox.popen(["sleep", "3600"])
    outputs = process.stream()
    process.close()
    assert list(outputs) == []
    process = sandbox.popen(["sleep", "3600"])
    process.close()
    with pytest.raises(jailkit.ClosedError):
        process.stream()
