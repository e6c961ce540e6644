"""Many launches at once, from many threads, while signals arrive."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable

import pytest

import jailkit
from jailkit import Jail
from tests import leaks
from tests.patience import patient

pytestmark = pytest.mark.requires("userns")


def in_threads(count: int, work: Callable[[int], None], bound: float) -> None:
    """Do some work in several threads and wait for all of them, within a bound."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - it belongs to the main thread
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patient(bound)
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert not [thread for thread in threads if thread.is_alive()], "deadlock"
    if errors:
        raise errors[0]


def test_threads_share_a_jail(sandbox: Jail) -> None:
    """8 threads with 25 programs each: every answer comes to the thread that asked, and no end of one ends another."""

    def work(number: int) -> None:
        for turn in range(25):
            text = f"{number} {turn}\n".encode()
            assert sandbox.run(["cat"], input=text).stdout == text

    # Something else is always alive, so that the end of each program makes PID 1 look for what that one has left.
    with sandbox.popen(["sleep", "3600"]) as other:
        in_threads(8, work, 50)
        assert other.poll() is None
        other.kill()


def test_threads_have_jails_of_their_own() -> None:
    """8 threads with 25 jails each, beside one that keeps the interpreter busy."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            sum(range(1000))

    burner = threading.Thread(target=busy)
    burner.start()

    def work(number: int) -> None:
        for turn in range(25):
            assert jailkit.run(["echo", f"{number} {turn}"]).stdout == f"{number} {turn}\n".encode()

    try:
        in_threads(8, work, 55)
    finally:
        stop.set()
        burner.join()


@pytest.mark.timeout(240)
def test_1600_launches_from_8_threads(sandbox: Jail) -> None:
    """No deadlock, no mix-up, nothing left: half of them in one jail, half with a jail of their own."""

    def work(number: int) -> None:
        for turn in range(100):
            word = f"{number}-{turn}"
            assert sandbox.run(["echo", word], text=True).stdout == f"{word}\n"
            assert jailkit.run(["echo", word], text=True).stdout == f"{word}\n"

    in_threads(8, work, 220)


def test_many_jails_at_once() -> None:
    """Forty jails alive, each with its own files."""
    jails = [Jail(hostname=f"jail-{number}") for number in range(40)]
    try:
        for jail in jails:
            jail.start()
        for number, jail in enumerate(jails):
            jail.put(f"{number}".encode(), "/tmp/file")
        for number, jail in enumerate(jails):
            result = jail.run(["sh", "-c", "cat /tmp/file; cat /etc/hostname"], text=True)
            assert result.stdout == f"{number}jail-{number}\n"
    finally:
        for jail in jails:
            jail.close()


def test_signals_with_a_handler_do_not_disturb() -> None:
    """A timer that fires a thousand times a second changes no result."""
    fired = []
    previous = signal.signal(signal.SIGALRM, lambda number, frame: fired.append(number and frame is None))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        with Jail() as jail:
            for _ in range(30):
                assert jail.run(["sh", "-c", "cat; exit 7"], input=b"x" * 100_000).returncode == 7
                with jail.popen(["cat"], stdin=jailkit.PIPE) as process:
                    assert process.communicate(b"y" * 100_000, timeout=patient(30)) == (b"y" * 100_000, b"")
            jail.put(b"z" * 1_000_000, "/tmp/file")
            assert jail.get("/tmp/file") == b"z" * 1_000_000
        for _ in range(10):
            assert jailkit.run(["sh", "-c", "cat; exit 7"], input=b"x" * 100_000).returncode == 7
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert fired


def interrupted(number: int, frame: object) -> None:
    """Do what Ctrl-C does."""
    del number, frame
    raise KeyboardInterrupt


def once() -> None:
    """Run in a jail of its own."""
    jailkit.run(["sleep", "0.02"])


def live() -> None:
    """Run in a live jail."""
    with Jail() as jail:
        jail.run(["sleep", "0.01"])


def popen() -> None:
    """Hold a running program."""
    with Jail() as jail, jail.popen(["sleep", "0.01"]) as process:
        process.communicate()


def files() -> None:
    """Move files."""
    with Jail() as jail:
        for _ in range(5):
            jail.put(b"x" * 1000, "/tmp/file")
            jail.get("/tmp/file")


# An exception in a callback of a weak reference or in a destructor is printed by Python and goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("use", [once, live, popen, files])
def test_an_interrupt_anywhere_leaves_nothing(use: Callable[[], None]) -> None:
    """KeyboardInterrupt at a hundred different moments: no program, no jail, no descriptor."""
    use()
    gc.collect()
    before = leaks.snapshot()
    previous = signal.signal(signal.SIGALRM, interrupted)
    hits = 0
    try:
        for turn in range(100):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + turn * 0.00013)
                use()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                hits += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert hits > 10
    assert leaks.left_since(before) == []
    assert jailkit.run(["true"]).ok
