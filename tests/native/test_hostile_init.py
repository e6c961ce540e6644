"""A PID 1 in hostile hands can end its jail, and do nothing else to the host."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Callable, Iterator

import pytest

import jailkit
from jailkit import ExitReason, Jail, _native
from jailkit._launch import blueprint
from jailkit.plan import prepare
from jailkit.spec import Command, JailSpec
from tests.hostile import bystander, hostile_init
from tests.inside import public_directory

pytestmark = [pytest.mark.requires("userns", "python"), pytest.mark.timeout(50)]


class Hands:
    """The place where jailkit-init is looked for, and a process that has nothing to do with it."""

    def __init__(self, folder: str, canary: int) -> None:
        self.folder, self.canary = folder, canary

    def say(self, words: str) -> None:
        """Put a hostile program there."""
        hostile_init(self.folder, words, self.canary)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hands]:
    """Hostile hands; the bystander lives to the end."""
    with public_directory() as folder, bystander() as canary:
        monkeypatch.setattr(_native, "INIT_PATH", os.path.join(folder, "hostile-init"))
        yield Hands(folder, canary)


def is_over(jail: Jail) -> bool:
    """Whether no program runs in a jail any more. PID 1 may still be dying: then the program is lost with it."""
    try:
        return jail.run(["true"]).reason in (ExitReason.LOST, ExitReason.KILLED)
    except jailkit.ClosedError:
        return True


BIRTHS = {
    "nothing": "",
    "an empty message": "say(ctl, b'')",
    "a short one": "say(ctl, told('READY')[:-1])",
    "a long one": "say(ctl, told('READY') + b'x')",
    "a very long one": "say(ctl, told('READY') * 500)",
    "kinds that do not exist": "say(ctl, told('0'))",
    "another": "say(ctl, told('99'))",
    "the largest": "say(ctl, told('4294967295'))",
    "what belongs to a program": "say(ctl, told('STARTED'))",
    "an end": "say(ctl, told('EXITED'))",
    "a birth without descriptor": "say(ctl, told('BORN', pid=7))",
    "a birth with something else": "say(ctl, told('BORN', pid=7), [null()])",
    "a birth with two descriptors": "say(ctl, told('BORN', pid=7), [null(), null()])",
    "a birth with forty": "say(ctl, told('BORN', pid=7), [null() for _ in range(40)])",
    "a negative process": "say(ctl, told('BORN', pid=-1), [os.pidfd_open(os.getpid())]); ever()",
    "no process": "say(ctl, told('BORN', pid=0), [os.pidfd_open(os.getpid())])",
    "a second birth": "be_born(); say(ctl, told('BORN', pid=7), [os.pidfd_open(os.getpid())]); ever()",
    "the birth of a bystander": "be_born(); say(ctl, told('BORN', pid=CANARY), [os.pidfd_open(CANARY)]); ever()",
    "an endless flood of births": "be_born()\nwhile True: say(ctl, told('BORN', pid=7), [null()])",
    "an endless flood of ends": "be_born()\nwhile True: say(ctl, told('EXITED'), [null()])",
    "a failure without an error": "be_born(); say(ctl, told('FAILED', error=0)); ever()",
    "a failure with a negative one": "be_born(); say(ctl, told('FAILED', error=-5)); ever()",
    "silence before it ends": "be_born(); os._exit(0)",
}


@pytest.mark.parametrize("words", BIRTHS.values(), ids=BIRTHS)
def test_of_a_birth(hands: Hands, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """What no honest PID 1 says at its birth is an error of the start."""
    if "pid=-1" in words:  # who makes no PID 1, and does not end, is waited for
        monkeypatch.setattr("jailkit.process.live._DEATH_SECONDS", 1.0)
    hands.say(words)
    with pytest.raises(jailkit.LaunchError) as caught:
        Jail().start()
    assert caught.value.phase in ("start", "host", "jail")
    assert caught.value.errno == errno.ESRCH


@pytest.mark.parametrize("fields", ["error=2, step=2147483647", "error=2, phase=-1, step=-7"])
def test_of_a_failure_that_names_no_step(hands: Hands, fields: str) -> None:
    """It is a failure all the same."""
    hands.say(f"be_born(); say(ctl, told('FAILED', {fields})); ever()")
    with pytest.raises(jailkit.LaunchError) as caught:
        Jail().start()
    assert (caught.value.step, caught.value.errno) == (None, errno.ENOENT)


def test_of_a_birth_that_is_somebody_elses(hands: Hands) -> None:
    """Who is no child of the host program is neither killed nor waited for."""
    hands.say("say(ctl, told('BORN', pid=CANARY), [os.pidfd_open(CANARY)]); say(ctl, told('READY'))")
    jail = Jail().start()
    jail.close()
    hands.say("say(ctl, told('BORN', pid=CANARY), [os.pidfd_open(CANARY)])\nwhile True: say(ctl, told('READY'))")
    jail = Jail().start()
    assert jail._live is not None
    jail._live.kill()
    jail.close()


ANSWERS = {
    "nothing": "channel.close(); ever()",
    "an empty message": "say(channel, b'')",
    "a short one": "say(channel, told('EXITED')[:-1])",
    "a long one": "say(channel, told('EXITED') + b'x')",
    "a kind that does not exist": "say(channel, told('7'))",
    "what belongs to a jail": "say(channel, told('READY'))",
    "a start that nobody watches": "say(channel, told('STARTED'), [null()])",
    "a file that nobody wanted": "say(channel, told('OPENED'), [null()])",
    "a birth": "say(channel, told('BORN', pid=CANARY), [os.pidfd_open(CANARY)])",
    "an end that is a stop": "say(channel, told('EXITED', status=0x137f))",
    "an end that is a continuation": "say(channel, told('EXITED', status=0xffff))",
    "an end that is nothing": "say(channel, told('EXITED', status=-1))",
    "an end with three descriptors": "say(channel, told('EXITED'), [null(), null(), null()])",
    "a failure without an error": "say(channel, told('FAILED', error=0))",
    "an endless flood": "while True: say(channel, told('STARTED'), [null()])",
    "its own end": "os._exit(0)",
}


@pytest.mark.parametrize("words", ANSWERS.values(), ids=ANSWERS)
def test_of_a_program(hands: Hands, words: str) -> None:
    """What no honest PID 1 says of a program makes the program LOST, and the jail is over."""
    hands.say(f"be_ready()\nchannel, more = request()\n{words}\never()")
    with Jail() as jail:
        assert jail.run(["true"], timeout=40).reason is ExitReason.LOST
        assert is_over(jail)
    hands.say(f"be_born(); channel, more = request()\nsay(ctl, told('READY'))\n{words}\never()")
    assert jailkit.run(["true"], timeout=40).reason is ExitReason.LOST


def test_of_the_same_end_again_and_again(hands: Hands) -> None:
    """The first word counts, and what comes after it costs nothing."""
    words = "say(channel, told('EXITED', status=256)); say(channel, told('FAILED', error=2))"
    hands.say(f"be_ready()\nwhile True:\n channel, more = request()\n {words}\n channel.close()\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Jail() as jail:
        for _ in range(200):
            result = jail.run(["true"])
            assert (result.reason, result.returncode) == (ExitReason.EXITED, 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_of_answers_in_another_order(hands: Hands) -> None:
    """Each program has a channel of its own, so an answer cannot be taken for that of another program."""
    hands.say("be_ready(); first, _ = request(); second, _ = request()\n"
              "say(second, told('EXITED', status=9)); say(first, told('EXITED', status=256)); ever()")  # fmt: skip
    made = blueprint(JailSpec())
    program = prepare(Command(["true"]), made.spec, made.plan, made.host)
    with Jail() as jail:
        assert jail._live is not None
        runs = [_native.Run(), _native.Run()]
        for run in runs:
            jail._live.submit(run, program, (_native.NULL,) * 3, watched=False)
        for run in runs:
            assert run.talk(20) & _native.Event.REPORT
        assert [run.report.status for run in runs if run.report] == [256, 9]
        for run in runs:
            run.close()


STARTS = {
    "nothing": "channel.close(); ever()",
    "no descriptor": "say(channel, told('STARTED'))",
    "two descriptors": "say(channel, told('STARTED'), [null(), null()])",
    "a short one": "say(channel, told('STARTED')[:8])",
    "two starts": "[say(channel, told('STARTED'), [null()]) for _ in range(2)]; os.close(more[-1]); ever()",
    "a file": "say(channel, told('OPENED'), [null()])",
    "an endless flood": "while True: say(channel, told('READY'), [null()])",
    "silence": "ever()",
    "an exec that never comes": "say(channel, told('STARTED'), [null()]); pipe = os.dup(more[-1]); ever()",
}


@pytest.mark.parametrize("words", STARTS.values(), ids=STARTS)
def test_of_a_program_that_is_watched(hands: Hands, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """The start of a program ends with an error, in bounded time, and the jail is over."""
    monkeypatch.setattr("jailkit.process.opening._EXEC_SECONDS", 0.5)
    close = "" if "ever" in words else "os.close(more[-1])\n"
    hands.say(f"be_ready()\nchannel, more = request()\n{close}{words}\never()")
    with Jail() as jail:
        with pytest.raises(jailkit.ClosedError):
            jail.popen(["true"])
        assert is_over(jail)


FILES = {
    "nothing": ("channel.close(); ever()", jailkit.ClosedError, None),
    "no file": ("say(channel, told('OPENED'))", jailkit.ClosedError, None),
    "two files": ("say(channel, told('OPENED'), [null(), null()])", jailkit.ClosedError, None),
    "an endless flood": ("while True: say(channel, told('STARTED'), [null()])", jailkit.ClosedError, None),
    "silence": ("ever()", jailkit.ClosedError, None),
    "a device": ("say(channel, told('OPENED'), [null()])", OSError, errno.EINVAL),
    "a pipe": ("say(channel, told('OPENED'), [os.pipe()[0]])", OSError, errno.EINVAL),
    "a directory": ("say(channel, told('OPENED'), [os.open('/', 0)])", OSError, errno.EINVAL),
    "a path": ("say(channel, told('OPENED'), [os.open('/etc/passwd', os.O_PATH)])", OSError, errno.EBADF),
    "an end": ("say(channel, told('EXITED'))", OSError, errno.EIO),
}


@pytest.mark.parametrize(("words", "error", "number"), FILES.values(), ids=FILES)
def test_of_a_file(
    hands: Hands, monkeypatch: pytest.MonkeyPatch, words: str, error: type[Exception], number: int | None
) -> None:
    """What is no file is not read and not written."""
    if words == "ever()":  # whoever answers may take his time: the machine may be slow
        monkeypatch.setattr("jailkit.process.files._OPEN_SECONDS", 0.5)
    uses: tuple[Callable[[Jail], object], ...] = (
        lambda jail: jail.get("/etc/passwd"),
        lambda jail: jail.put(b"x", "/tmp/x"),
    )
    for use in uses:
        hands.say(f"be_ready()\nchannel, more = request()\n{words}\never()")
        with Jail() as jail, pytest.raises(error) as caught:
            use(jail)
        assert getattr(caught.value, "errno", None) == number
        del caught


LISTENERS = {
    "nothing": "say(channel, told('OPENED'))",
    "a file": "say(channel, told('OPENED'), [null()])",
    "a pipe that nobody writes to": "say(channel, told('OPENED'), [os.pipe()[0]])",
    "a start": "say(channel, told('STARTED'), [null()])",
    "silence": "ever()",
}


@pytest.mark.requires("libseccomp")
@pytest.mark.parametrize("words", LISTENERS.values(), ids=LISTENERS)
def test_of_what_is_no_listener(hands: Hands, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Nobody listens to a descriptor that is none of a filter's; the program has no end that is believed."""
    monkeypatch.setattr("jailkit.process.denials._START_SECONDS", 0.5)
    hands.say(f"be_ready()\nchannel, more = request()\n{words}\nos._exit(0)")
    with Jail(report_denials=True) as jail:
        assert is_over(jail)
    assert not [thread for thread in threading.enumerate() if thread.name == "jailkit-denials"]


def test_of_requests_that_nobody_takes(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks a PID 1 that does not listen waits for seconds, and not for ever; then the jail is over."""
    monkeypatch.setattr("jailkit._native._calls._TAKES_SECONDS", 0.2)
    hands.say("be_ready(); ever()")
    made = blueprint(JailSpec())
    program = prepare(Command(["true", "x" * 50000]), made.spec, made.plan, made.host)
    with Jail() as jail:
        assert jail._live is not None
        runs = []
        with pytest.raises(jailkit.ClosedError, match="takes no requests"):  # noqa: PT012 - the machine decides when
            for _ in range(200):
                runs.append(_native.Run())
                jail._live.submit(runs[-1], program, (_native.NULL,) * 3, watched=False)
        for run in runs:
            run.close()
