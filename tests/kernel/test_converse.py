"""`converse`: two programs, each in a jail, that talk to each other."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import jailkit
from jailkit import PIPE, Conversation, ExitReason, Jail, Limits, converse
from tests import leaks
from tests.inside import wait_for_file
from tests.patience import at_last, patient

pytestmark = pytest.mark.requires("userns")

BOUND = patient(30)


@pytest.fixture
def jails() -> Iterator[tuple[Jail, Jail]]:
    """Two of them, in which a program has run: from then on, a jail keeps a file of its control group open."""
    with Jail() as first, Jail() as second:
        for jail in (first, second):
            jail.run(["true"])
        yield first, second


def talk(
    jails: tuple[Jail, Jail],
    first: str | Sequence[str],
    second: str | Sequence[str],
    *,
    timeout: float = BOUND,
    transcript_bytes: int = 65536,
    of_first: dict[str, Any] | None = None,
    first_of_all: Callable[[], object] = lambda: None,
) -> Conversation:
    """Have two programs, or scripts, talk; `of_first` is for the start of the first; do a thing when both run."""
    argvs = [["sh", "-c", argv] if isinstance(argv, str) else argv for argv in (first, second)]
    with (
        jails[0].popen(argvs[0], stdin=PIPE, **of_first or {}) as one,
        jails[1].popen(argvs[1], stdin=PIPE) as two,
    ):
        first_of_all()
        return converse(one, two, timeout=timeout, transcript_bytes=transcript_bytes)


def reasons(conversation: Conversation) -> list[ExitReason]:
    """Return why both have ended."""
    return [result.reason for result in conversation.results]


def test_a_game(jails: tuple[Jail, Jail]) -> None:
    """One guesses, the other answers; the transcript has every turn, and stderr is in the results."""
    judge = 'echo 100; for n in 1 2 3; do read x; test "$x" = 7 && { echo right; exit 3; }; echo wrong; done'
    guess = 'read top; for n in 5 6 7; do echo $n; read x; done; test "$x" = right; echo "$top $x" >&2'
    for pair in (jails, (jails[0], jails[0])):
        found = talk(pair, judge, guess)
        assert [result.returncode for result in found.results] == [3, 0]
        assert reasons(found) == [ExitReason.EXITED] * 2
        assert [result.stdout for result in found.results] == [b"", b""]
        assert found.results[1].stderr == b"100 right\n"
        said = [(turn.who, turn.data) for turn in found.transcript]
        answers = [(1, b"5\n"), (0, b"wrong\n"), (1, b"6\n"), (0, b"wrong\n"), (1, b"7\n"), (0, b"right\n")]
        assert said == [(0, b"100\n"), *answers]
        assert not found.truncated
        times = [turn.at for turn in found.transcript]
        assert times == sorted(times)
        assert times[0] >= 0


def test_each_waits_for_the_other(jails: tuple[Jail, Jail]) -> None:
    """A deadlock is no riddle: the time of both is over."""
    found = talk(jails, ["cat"], ["cat"], timeout=0.3)
    assert reasons(found) == [ExitReason.WALL_TIME] * 2
    assert found.transcript == ()


def test_the_end_of_one_is_the_end_of_file_of_the_other(jails: tuple[Jail, Jail]) -> None:
    """However it ends: by itself, by a signal, by its own time; and closing stdout is enough."""
    for end, reason in (
        ("exit 4", ExitReason.EXITED),
        ("kill -9 $$", ExitReason.SIGNALED),
        ("exec sleep 3600", ExitReason.WALL_TIME),
    ):

        def heard(seconds: float, end: str = end, reason: ExitReason = reason) -> bytes:
            own = {"timeout": seconds} if reason is ExitReason.WALL_TIME else {}
            found = talk(jails, f"echo one; {end}", "cat >&2; echo end >&2", of_first=own, timeout=2 * BOUND)
            assert reasons(found) == [reason, ExitReason.EXITED]
            return found.results[1].stderr if found.transcript else b""

        assert at_last(heard, 0.3) == b"one\nend\n"
    found = talk(jails, "exec >&-; read x; echo $x >&2", "cat; echo bye")
    assert found.results[0].stderr == b"bye\n"
    assert reasons(found) == [ExitReason.EXITED] * 2


@pytest.mark.parametrize("deaf", ["exit 0", "exec <&-; sleep 0.2"])
def test_the_last_word_kills_nobody(jails: tuple[Jail, Jail], deaf: str) -> None:
    """Who speaks to one that has ended, or does not listen, is not killed by SIGPIPE: that would depend on chance."""
    found = talk(jails, "sleep 0.1; for n in 1 2 3; do echo $n; sleep 0.05; done; echo fine >&2", deaf)
    assert reasons(found) == [ExitReason.EXITED] * 2
    assert found.results[0].stderr == b"fine\n"
    assert b"".join(turn.data for turn in found.transcript) == b"1\n2\n3\n"


def test_a_host_program_with_sigpipe_survives(jails: tuple[Jail, Jail]) -> None:
    """Many programs set its default action; a closed stdin must not end them."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        found = talk(jails, "head -c 300000 /dev/zero", "exec <&-; sleep 0.2")
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert reasons(found) == [ExitReason.EXITED] * 2
    assert signal.SIGPIPE not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_flood_waits_for_the_reader(jails: tuple[Jail, Jail]) -> None:
    """There is back pressure: the host holds little, and who does not read does not make it hold more."""

    def flooded(seconds: float) -> Conversation | None:
        found = talk(jails, ["yes"], ["sleep", "3600"], timeout=seconds, transcript_bytes=10)
        assert reasons(found) == [ExitReason.WALL_TIME] * 2
        return found if found.transcript else None

    found = at_last(flooded, 0.4)
    assert found
    assert [turn.data for turn in found.transcript] == [b"y\n" * 5]
    assert found.truncated


def test_a_flood_both_ways(jails: tuple[Jail, Jail]) -> None:
    """Everything arrives, although neither reads before it has written what its pipes cannot hold."""
    size = 2_000_000
    script = f"head -c {size} /dev/zero & head -c {size} | wc -c >&2; wait"
    found = talk(jails, script, script)
    assert [int(result.stderr) for result in found.results] == [size, size]
    assert found.truncated


def test_the_bound_on_output_counts_what_is_said(jails: tuple[Jail, Jail]) -> None:
    """And what comes on stderr; the other one sees an end of file."""
    for script in ("yes", "yes >&2"):
        found = talk(jails, script, "cat >/dev/null", of_first={"limits": Limits(output=100_000)})
        assert reasons(found) == [ExitReason.OUTPUT, ExitReason.EXITED]
        assert len(found.results[0].stderr) <= 100_000


def test_a_child_that_is_left_behind_holds_nothing_up(jails: tuple[Jail, Jail]) -> None:
    """It has the pipe open still, but its program has ended."""
    found = talk(jails, "echo one; sleep 3600 & exit 0", "cat >&2", of_first={"detach": True})
    assert reasons(found) == [ExitReason.EXITED] * 2
    assert found.results[1].stderr == b"one\n"


def test_what_was_read_before_is_part_of_it(jails: tuple[Jail, Jail]) -> None:
    """Python reads ahead of a caller who wanted a line: the rest is not lost."""
    with (
        jails[0].popen(["printf", "hello\\nworld\\n"], stdin=PIPE) as one,
        jails[1].popen(["sh", "-c", "cat >&2"], stdin=PIPE) as two,
    ):
        assert one.stdout is not None
        assert one.stdout.readline() == b"hello\n"
        assert converse(one, two, timeout=BOUND).results[1].stderr == b"world\n"


def test_an_interrupt_kills_both(jails: tuple[Jail, Jail]) -> None:
    """As any error in the middle does."""

    class Interrupt(Exception):  # noqa: N818
        """Only for this."""

    def handler(number: int, frame: object) -> None:
        del number, frame
        raise Interrupt

    before, previous = leaks.snapshot(), signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Interrupt):
            talk(jails, ["cat"], ["cat"], timeout=3600, first_of_all=lambda: signal.setitimer(signal.ITIMER_REAL, 0.2))
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert leaks.left_since(before) == []


def test_closing_a_jail_ends_its_side(jails: tuple[Jail, Jail]) -> None:
    """From another thread; the other side sees the end of file."""
    timer = threading.Timer(0.2, jails[0].close)
    found = talk(jails, ["cat"], ["cat"], first_of_all=timer.start)
    timer.join()
    assert reasons(found) == [ExitReason.KILLED, ExitReason.EXITED]


def test_closing_a_handle_in_the_middle_is_an_error(jails: tuple[Jail, Jail]) -> None:
    """From another thread; the other side does not live on."""
    before = leaks.snapshot()
    one = jails[0].popen(["sh", "-c", "echo word; exec cat"], stdin=PIPE)
    two = jails[1].popen(["sh", "-c", "read x; echo >/tmp/heard; exec cat"], stdin=PIPE)

    def close() -> None:
        wait_for_file(jails[1], "/tmp/heard")  # so the conversation has begun
        one.close()

    thread = threading.Thread(target=close)
    thread.start()
    try:
        with pytest.raises(jailkit.ClosedError):
            converse(one, two, timeout=BOUND)
        assert two.wait(BOUND) == -signal.SIGKILL
    finally:
        thread.join()
        two.close()
    assert leaks.left_since(before) == []


def test_what_cannot_converse_is_refused(sandbox: Jail) -> None:
    """One program alone, one without pipes, and one that somebody else reads already."""
    with sandbox.popen(["cat"], stdin=PIPE) as one, sandbox.popen(["sleep", "3600"]) as deaf:
        for first, second in ((one, one), (one, deaf), (deaf, one)):
            with pytest.raises(jailkit.SpecError):
                converse(first, second, timeout=1)
        assert one.poll() is None
        with sandbox.popen(["cat"], stdin=PIPE) as read:
            read.lines()
            with pytest.raises(jailkit.SpecError):
                converse(one, read, timeout=1)
        deaf.kill()
