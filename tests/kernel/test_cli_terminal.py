"""``jailkit run -t``: the caller's terminal as a window on that of the program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from tests.patience import patient

pytestmark = pytest.mark.requires("userns")

COMMAND = [sys.executable, "-m", "jailkit", "run"]
BOUND = patient(30)


class Person:
    """Somebody at a terminal."""

    def __init__(self, *words: str) -> None:
        self.master, self.slave = os.openpty()
        self.seen = b""
        self.resize(33, 99)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [*COMMAND, *words], stdin=self.slave, stdout=self.slave, stderr=self.slave, cwd="/",
            env={**os.environ, "TERM": "vt100"}, start_new_session=True,
        )  # fmt: skip

    def resize(self, rows: int, columns: int) -> None:
        """Draw at the corner of the window."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Type."""
        os.write(self.master, keys)

    def see(self, wanted: bytes) -> None:
        """Look until something is there."""
        while not re.search(wanted, self.seen):
            assert select.select([self.master], [], [], BOUND)[0], self.seen
            self.seen += os.read(self.master, 65536)
        self.seen = self.seen[re.search(wanted, self.seen).end() :]  # type: ignore[union-attr] # it was found


@contextlib.contextmanager
def person(*words: str) -> Iterator[Person]:
    """Sit down; stand up and leave nothing."""
    somebody = Person(*words)
    try:
        yield somebody
    finally:
        somebody.process.kill()
        somebody.process.wait(BOUND)
        os.close(somebody.slave)
        os.close(somebody.master)


def test_a_shell_by_hand() -> None:
    """Its terminal has the caller's size and name; keys are keys, and the caller's terminal is put back."""
    with person("-t", "--env", "PS1=ready> ", "--", "sh") as somebody:
        somebody.see(b"ready> ")
        somebody.type(b"stty size; tty; echo $TERM\n")
        somebody.see(b"33 99\r\n/dev/pts/\\d+\r\nvt100\r\nready> ")
        somebody.type(b"sh -c 'echo begin; exec sleep 3600'\n")
        somebody.see(b"begin\r\n")
        somebody.type(b"\x03")
        somebody.see(b"ready> ")
        somebody.type(b"sh -c 'echo begin; exec sleep 3600'\n")
        somebody.see(b"begin\r\n")
        somebody.type(b"\x1a")
        somebody.see(b"Stopped")
        assert termios.tcgetattr(somebody.slave) != somebody.before, "raw"
        somebody.type(b"kill -9 %1\nexit 5\nexit 5\n")
        assert somebody.process.wait(BOUND) == 5
        assert termios.tcgetattr(somebody.slave) == somebody.before


def test_a_window_that_changes() -> None:
    """The program is told."""
    script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done"
    with person("-t", "--", "sh", "-c", script) as somebody:
        somebody.see(b"up\r\n")
        somebody.resize(40, 120)
        somebody.process.send_signal(28)  # SIGWINCH: a session without a controlling terminal is not told
        somebody.see(b"40 120\r\n")
        somebody.type(b"\x03")
        assert somebody.process.wait(BOUND) == 130


def test_without_a_terminal_of_the_callers() -> None:
    """What comes on a pipe is typed, with an end of file behind it; exit codes and bounds are as ever."""
    for words, code, said in (
        (["--", "sh", "-c", "tty; stty size; cat; exit 3"], 3, rb"(?s)/dev/pts/\d+.*24 80.*word\r\n"),
        (["--timeout", "300ms", "--", "sleep", "3600"], 124, b""),
        (["--output", "100", "--", "yes"], 137, b"y\r\ny\r\ny\r\ny"),
        (["--", "no-such-program"], 127, b""),
    ):
        done = subprocess.run(
            [*COMMAND, "-t", *words], input=b"word\n", capture_output=True, timeout=BOUND, cwd="/", check=False
        )
        assert done.returncode == code, done
        assert re.search(said, done.stdout), done


def test_a_terminal_that_closes_ends_it() -> None:
    """The window is shut: the program is told so, and the command does not go on for ever."""
    with person("-t", "--", "sh", "-c", "echo up; exec cat") as somebody:
        somebody.see(b"up\r\n")
        os.close(somebody.master)
        os.close(somebody.slave)
        try:
            assert somebody.process.wait(BOUND) != 0
        finally:
            somebody.master, somebody.slave = os.openpty()
