"""``pty``: a program on a terminal of the jail's own."""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Callable

import pytest

import jailkit
from jailkit import ExitReason, Jail, KiB, Level, Limits, Process, Terminal
from tests import leaks
from tests.facts import PYTHON
from tests.patience import patient

pytestmark = pytest.mark.requires("userns")

BOUND = patient(30)


def read_until(process: Process, wanted: bytes) -> bytes:
    """Return what comes on the terminal, up to something that is waited for."""
    assert process.stdout is not None
    found = b""
    while not re.search(wanted, found):
        assert select.select([process.stdout], [], [], BOUND)[0], found
        part = os.read(process.stdout.fileno(), 65536)
        assert part, found
        found += part
    return found


def type_in(process: Process, keys: bytes) -> None:
    """Type something."""
    assert process.stdin is not None
    process.stdin.write(keys)
    process.stdin.flush()


@pytest.mark.parametrize("level", list(Level))
def test_a_terminal_inside(level: Level) -> None:
    """All three streams are it, it has a name and a size, belongs to the user, and is that of the session."""
    script = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && test -O $(tty) && echo ours >/dev/tty; echo $TERM"
    with Jail(level=level) as jail:
        result = jail.run(["sh", "-c", script], pty=(30, 100), timeout=BOUND)
        assert result.stdout.split() == [b"/dev/pts/0", b"30", b"100", b"ours", b"xterm"], result
    assert jailkit.run(["stty", "size"], level=level, pty=Terminal(rows=7), timeout=BOUND).stdout == b"7 80\r\n"


def test_without_it_there_is_none(sandbox: Jail) -> None:
    """The positive control: no terminal, not even that of the caller."""
    master, slave = os.openpty()
    try:
        script = "tty; exec 2>&1; echo x >/dev/tty"
        stdout = sandbox.run(["sh", "-c", script], text=True, timeout=BOUND).stdout
        assert stdout.startswith("not a tty\n")
        assert "No such device" in stdout
        inside = sandbox.run(["sh", "-c", "ls /dev/pts; ls -l /proc/self/fd"], pty=True, text=True, timeout=BOUND)
        assert "ptmx" in inside.stdout
        assert os.ttyname(slave) not in {line.split()[-1] for line in inside.stdout.splitlines() if "->" in line} - {
            "/dev/pts/0"
        }
    finally:
        os.close(master)
        os.close(slave)


def test_control_c_and_control_d(sandbox: Jail) -> None:
    """Typed as at a real one: an interrupt for the program, an end of file for who reads lines."""
    with sandbox.popen(["sh", "-c", "echo up; exec sleep 3600"], pty=True, timeout=BOUND) as process:
        read_until(process, b"up")
        type_in(process, b"\x03")
        assert process.wait(BOUND) == -signal.SIGINT
    with sandbox.popen(["cat"], pty=True, timeout=BOUND) as process:
        type_in(process, b"word\n\x04")
        assert process.stdout is not None
        assert process.stdout.read() == b"word\r\nword\r\n"
        assert process.result().ok


def test_a_new_size_is_told(sandbox: Jail) -> None:
    """By SIGWINCH; what makes no size is refused, and so is what has no terminal."""
    script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done"
    with sandbox.popen(["sh", "-c", script], pty=True, text=True, timeout=BOUND) as process:
        lines = process.lines()
        assert next(lines).data == "up\r\n"
        process.resize(50, 132)
        assert next(lines).data == "50 132\r\n"
        for size in ((0, 80), (24, 65536)):
            with pytest.raises(jailkit.SpecError):
                process.resize(*size)
    with pytest.raises(jailkit.ClosedError):
        process.resize(24, 80)
    with sandbox.popen(["true"]) as process, pytest.raises(jailkit.SpecError):
        process.resize(24, 80)


def test_job_control(sandbox: Jail) -> None:
    """A shell moves jobs between foreground and background, and stops the one in front with ^Z."""
    with sandbox.popen(["sh", "-i"], pty=True, env={"PS1": "ready> "}, timeout=BOUND) as process:
        read_until(process, b"ready> ")
        type_in(process, b"sh -c 'echo begin; exec sleep 3600'\n")
        read_until(process, b"begin\r\n")
        type_in(process, b"\x1a")
        read_until(process, b"Stopped")
        type_in(process, b"kill -9 %1; exit 7\nexit 7\n")
        assert process.wait(BOUND) == 7


def test_all_of_a_long_output_arrives(sandbox: Jail) -> None:
    """Also the part that is still in the terminal when the program ends."""
    script = "for n in $(seq 20000); do echo line $n; done"
    result = sandbox.run(["sh", "-c", script], pty=True, timeout=BOUND)
    assert result.stdout.replace(b"\r\n", b"\n") == b"".join(b"line %d\n" % n for n in range(1, 20001))
    with sandbox.popen(["sh", "-c", script], pty=True, timeout=BOUND) as process:
        assert sum(1 for _ in process.lines()) == 20000


def test_input_is_typed(sandbox: Jail) -> None:
    """With an end of file behind it, whether or not its last line has an end; and it is echoed, as typing is."""
    for data in (b"one\ntwo\n", b"one\ntwo", b""):
        for ask in (
            lambda data=data: sandbox.run(["cat"], pty=True, input=data, timeout=BOUND).stdout,
            lambda data=data: _communicated(sandbox, data),
        ):
            typed: Callable[[], bytes] = ask
            assert typed().count(b"two") == 2 * data.count(b"two")


def _communicated(jail: Jail, data: bytes) -> bytes:
    with jail.popen(["cat"], pty=True, timeout=BOUND) as process:
        return bytes(process.communicate(data)[0])


def test_bounds_hold_on_a_terminal(sandbox: Jail) -> None:
    """Output and time, as through pipes."""
    result = sandbox.run(["yes"], pty=True, limits=Limits(output=10 * KiB), timeout=BOUND)
    assert (result.reason, result.truncated) == (ExitReason.OUTPUT, True)
    assert len(result.stdout) <= 10 * KiB
    assert sandbox.run(["sleep", "3600"], pty=True, timeout=0.3).reason is ExitReason.WALL_TIME


@pytest.mark.requires("python")
def test_nothing_can_be_typed_into_it(sandbox: Jail) -> None:
    """The filter refuses TIOCSTI and TIOCLINUX on this terminal too; the control asks it something harmless."""
    code = """
import errno, fcntl, termios
print(len(fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))))
TIOCLINUX = 0x541C
attacks = (termios.TIOCSTI, b"x"), (TIOCLINUX, bytes([3])), (termios.TIOCCONS, b""), (termios.TIOCSETD, bytes(4))
for number, data in attacks:
    try:
        print(fcntl.ioctl(0, number, data))
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    result = sandbox.run([PYTHON, "-I", "-S", "-c", code], pty=True, text=True, timeout=BOUND)
    assert result.stdout.split() == ["8", *["EPERM"] * 4]


def test_a_terminal_leaves_nothing() -> None:
    """Closed, forgotten, killed, or never begun."""
    with Jail() as jail:
        jail.run(["true"], pty=True)
        before = leaks.snapshot()
        with jail.popen(["sh", "-c", "setsid sleep 3600.125 & cat"], pty=True) as process:
            process.kill()
        with pytest.raises(jailkit.CommandNotFound):
            jail.popen(["no-such-program"], pty=True)
        for _ in range(50):
            assert re.fullmatch(rb"/dev/pts/\d\r\n", jail.run(["tty"], pty=True).stdout), "a number is used again"
        assert leaks.left_since(before) == []


def test_it_is_all_three_streams_or_none(sandbox: Jail) -> None:
    """Streams beside it make no sense; what is no size neither."""
    with pytest.raises(jailkit.SpecError, match="stdout"):
        sandbox.run(["true"], pty=True, stdout=jailkit.DEVNULL)
    with pytest.raises(jailkit.SpecError, match="stderr"):
        sandbox.popen(["true"], pty=True, stderr=jailkit.STDOUT)
    for wrong in ((1, 2, 3), (0, 80), (24, -1), "80x24"):
        with pytest.raises(jailkit.SpecError):
            sandbox.run(["true"], pty=wrong)  # type: ignore[arg-type]
