"""`popen` and `Process`: a running program in the caller's hand, as subprocess.Popen has it."""

from __future__ import annotations

import gc
import select
import signal
import threading
import time
import warnings
from typing import Any

import pytest

import jailkit
from jailkit import ExitReason, Jail, KiB, Limits
from tests import leaks
from tests.patience import patient

pytestmark = pytest.mark.requires("userns")

BOUND = patient(30)


def test_a_conversation(sandbox: Jail) -> None:
    """Write, read, and again, while it runs."""
    with sandbox.popen(["cat"], stdin=jailkit.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        assert [process.poll(), process.returncode] == [None, None]
        process.stdin.close()
        assert process.wait(BOUND) == 0
        assert process.poll() == process.returncode == 0
        assert process.args == (b"cat",)


def test_text_pipes(sandbox: Jail) -> None:
    """With text=True pipes carry str."""
    with sandbox.popen(["cat"], stdin=jailkit.PIPE, text=True) as process:
        assert process.communicate("gr\u00fc\u00df", timeout=BOUND) == ("gr\u00fc\u00df", "")


def test_wait_gives_up_and_the_program_runs_on(sandbox: Jail) -> None:
    """WaitTimeout, a TimeoutError, is not the end of anything."""
    with sandbox.popen(["sh", "-c", "echo part; sleep 3600"]) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], BOUND)[0]
        with pytest.raises(jailkit.WaitTimeout) as caught:
            process.wait(0.05)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.argv == process.args
        with pytest.raises(jailkit.WaitTimeout):
            process.communicate(timeout=0.2)
        assert process.poll() is None
        process.kill()
        assert process.communicate(timeout=BOUND)[0] == b"part\n"


def test_signals_reach_the_program(sandbox: Jail) -> None:
    """send_signal, terminate and kill; afterwards they do nothing."""
    with sandbox.popen(
        ["sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.01; done"]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(BOUND) == 5
        assert process.stdout.read() == b"got\n"
        process.terminate()
        process.kill()
        assert process.wait(BOUND) == 5
    for end, code in (("terminate", -signal.SIGTERM), ("kill", -signal.SIGKILL)):
        with sandbox.popen(["sleep", "3600"]) as process:
            getattr(process, end)()
            assert process.wait(BOUND) == code


def test_kill_ends_the_whole_tree(sandbox: Jail) -> None:
    """And the result says that it was the caller."""
    with sandbox.popen(["sh", "-c", "setsid sleep 3600.75 & echo up; wait"]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        result = process.result()
        assert (result.reason, result.returncode) == (ExitReason.KILLED, -signal.SIGKILL)
        assert b"3600.75" not in sandbox.run(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).stdout.replace(
            b"sh -c", b""
        )


def test_closing_the_jail_kills_its_programs() -> None:
    """Their results say so; a wait in another thread returns."""
    codes: list[int] = []
    with Jail() as jail:
        process = jail.popen(["sleep", "3600"])
        waiter = threading.Thread(target=lambda: codes.append(process.wait(BOUND)))
        waiter.start()
    waiter.join(BOUND)
    assert codes == [-signal.SIGKILL]
    assert process.result().reason is ExitReason.KILLED
    process.close()


def test_a_timeout_is_a_result(sandbox: Jail) -> None:
    """popen(timeout=) ends the program by itself, whatever its caller does."""
    with sandbox.popen(["sleep", "3600"], timeout=0.2) as process:
        assert process.wait(BOUND) == -signal.SIGKILL
        assert process.result().reason is ExitReason.WALL_TIME
    with sandbox.popen(["sleep", "3600"], timeout=0.2) as process:
        process.communicate(timeout=BOUND)
        assert process.result().reason is ExitReason.WALL_TIME


def test_communicate_is_bounded(sandbox: Jail) -> None:
    """A flood ends with reason OUTPUT, and what is returned is within the bound, then and later."""
    bound = 100 * KiB
    with sandbox.popen(["yes"], limits=Limits(output=bound)) as process:
        out, err = process.communicate(timeout=BOUND)
        assert len(out) + len(err) <= bound
        again = process.communicate(timeout=BOUND)
        assert len(again[0]) + len(again[1]) <= bound
        result = process.result()
        assert (result.reason, result.truncated) == (ExitReason.OUTPUT, True)
        assert 0 < len(result.stdout) <= bound


def test_the_pidfd_tells_of_the_end(sandbox: Jail) -> None:
    """It can be polled beside other things; the pid is the host's, for display."""
    with sandbox.popen(["sleep", "3600"]) as process:
        assert select.select([process.pidfd], [], [], 0)[0] == []
        assert process.pid in leaks.descendants()
        process.kill()
        assert select.select([process.pidfd], [], [], BOUND)[0] == [process.pidfd]
        process.wait(BOUND)


@pytest.mark.parametrize("timeout", [None, 3000.0])
def test_a_forgotten_process_is_killed(timeout: float | None) -> None:
    """Without a close: its program, its descriptors and its clock go when nobody holds it any more."""
    with Jail() as jail:
        jail.run(["true"])  # from the first program on, the jail keeps a file of its control group open
        before = leaks.snapshot()
        process: Any = jail.popen(["sleep", "3600.5"], timeout=timeout)
        process.pid  # noqa: B018 - as a caller would use it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # its pipes say so, as those of subprocess do
            del process
            gc.collect()
        assert leaks.left_since(before) == []


def test_an_exception_in_the_block_kills_the_program(sandbox: Jail) -> None:
    """As with every other thing that a with statement holds."""

    class Oops(Exception):  # noqa: N818
        """Only for this."""

    began = time.monotonic()
    with pytest.raises(Oops), sandbox.popen(["sleep", "3600"]) as process:
        raise Oops
    assert process.returncode == -signal.SIGKILL
    assert time.monotonic() - began < BOUND


def test_use_after_close(sandbox: Jail) -> None:
    """A closed handle keeps what it knows and does nothing any more."""
    with sandbox.popen(["true"]) as process:
        process.wait(BOUND)
    process.close()
    process.kill()
    process.terminate()
    assert process.returncode == 0
    assert process.poll() == 0
    assert process.wait(BOUND) == 0
    process = sandbox.popen(["sleep", "3600"])
    process.close()
    with pytest.raises(jailkit.ClosedError):
        process.wait(BOUND)


def test_orders_after_the_program_has_ended_reach_nobody(sandbox: Jail) -> None:
    """A number that was used again by another program is never signalled."""
    with sandbox.popen(["true"]) as process:
        select.select([process.pidfd], [], [], BOUND)
        with sandbox.popen(["sleep", "3600"]) as other:
            process.kill()
            process.send_signal(signal.SIGKILL)
            assert process.wait(BOUND) == 0
            assert other.poll() is None
            other.kill()


def test_sixty_programs_at_once(sandbox: Jail) -> None:
    """In one jail, each with its own streams."""
    processes = [sandbox.popen(["sh", "-c", f"read x; echo {n}$x"], stdin=jailkit.PIPE) for n in range(60)]
    try:
        for process in processes:
            assert process.poll() is None
        answers = [process.communicate(b"!\n", timeout=BOUND)[0] for process in processes]
        assert answers == [f"{n}!\n".encode() for n in range(60)]
        assert {process.wait(BOUND) for process in processes} == {0}
    finally:
        for process in processes:
            process.close()


def test_kill_from_another_thread(sandbox: Jail) -> None:
    """While one thread waits in communicate, another can end the program."""
    with sandbox.popen(["sh", "-c", "echo up; sleep 3600"]) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], BOUND)[0]
        timer = threading.Timer(0.1, process.kill)
        timer.start()
        assert process.communicate(timeout=BOUND)[0] == b"up\n"
        timer.join()
        assert process.result().reason is ExitReason.KILLED


def test_stdin_that_nobody_reads(sandbox: Jail) -> None:
    """Communicate does not fail on a program that has gone or closed its stdin."""
    with sandbox.popen(["true"], stdin=jailkit.PIPE) as process:
        assert process.communicate(b"x" * 1_000_000, timeout=BOUND) == (b"", b"")
    with sandbox.popen(["sh", "-c", "exec <&-; echo ok"], stdin=jailkit.PIPE) as process:
        assert process.communicate(b"x" * 1_000_000, timeout=BOUND)[0] == b"ok\n"


def test_a_signal_handler_may_kill_in_the_middle_of_anything() -> None:
    """Also in the middle of an order to the same program: the handler runs in the thread that holds its lock."""
    with Jail() as jail, jail.popen(["sleep", "60"]) as process:

        def handler(number: int, frame: object) -> None:
            del number, frame
            process.kill()

        previous = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
            for _ in range(3000):
                process.send_signal(signal.SIGCONT)
            assert process.wait(BOUND) == -signal.SIGKILL
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
