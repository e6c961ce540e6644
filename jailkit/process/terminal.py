"""A terminal for a program, out of the jail's own devpts.

A process of the jail opens the master side, as the program's user, so the terminal belongs to him and ``ttyname`` finds
it inside. The other side is opened by way of the master (TIOCGPTPEER, ioctl_tty(2)): the host walks no path there.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import stat
import struct
import termios
from typing import IO, Any

from jailkit import _native
from jailkit._errors import LaunchError
from jailkit.plan import Program
from jailkit.process.cgroup import Meter
from jailkit.process.files import open_in_jail
from jailkit.process.live import LiveJail
from jailkit.spec import Terminal

__all__ = ["end_of_input", "file_of", "resize", "submit_on_terminal"]

_PTMX = os.makedev(5, 2)
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441  # of asm-generic/ioctls.h, the same on x86_64 and aarch64
_EOF = b"\x04"


def resize(master: int, size: Terminal) -> None:
    """Set the size; the kernel sends SIGWINCH to whoever is in the foreground."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", size.rows, size.columns, 0, 0))


def end_of_input(data: bytes) -> bytes:
    """Return what, after the input, is the end of file for a program that reads lines: in a line it takes two."""
    return _EOF if data.endswith(b"\n") or not data else _EOF * 2


def _open_terminal(live: LiveJail, opening: Program, size: Terminal) -> tuple[int, int]:
    """Open a terminal of the jail; return our side and the program's, which are the caller's to close.

    Raises:
        LaunchError: There is none (any more): kernel.pty.max of them are open, or ``/dev`` is something else.
        ClosedError: The jail is closed, or has ended.
    """
    run = _native.Run()
    master = slave = -1
    try:
        master = os.dup(open_in_jail(run, live, opening, kind=stat.S_IFCHR))
        if os.fstat(master).st_rdev != _PTMX:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))  # noqa: TRY301 - it is handled as the others are
        os.set_blocking(master, True)
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        resize(master, size)
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if master >= 0:
            os.close(master)
        raise LaunchError(
            phase="program",
            errno=error.errno or errno.EIO,
            description="open a terminal of the jail",
            filename=os.fsdecode(opening.argv[0]),
        ) from error
    finally:
        run.close()
    return master, slave


def submit_on_terminal(
    live: LiveJail, run: _native.Run, program: Program, terminal: tuple[Program, Terminal], *, watched: bool
) -> Meter | None:
    """Ask for a program on a new terminal; our side of it becomes streams 0 and 1 of `run`. See `submit_metered`.

    Raises:
        LaunchError: There is no terminal.
        ClosedError: The jail is closed, or has ended.
    """
    master, slave = _open_terminal(live, *terminal)
    try:
        run.lend(1, master)
        run.lend(0, os.dup(master))
        return live.submit_metered(run, program, (slave, slave, slave), watched=watched)
    finally:
        os.close(slave)  # the program's is on its way; with this one here nobody would see it let go


class _Master(io.RawIOBase):
    """Our side. That the program has let go of the terminal is EIO to the kernel, and the end of file to Python."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what there is; 0 when nobody in the jail has the terminal open."""
        try:
            return os.readv(self._fd, [buffer])
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return 0

    def close(self) -> None:
        """Close it, once."""
        if not self.closed:
            os.close(self._fd)
        super().close()


def file_of(master: int) -> IO[bytes]:
    """Return a file to read our side by; it owns the descriptor."""
    return io.BufferedReader(_Master(master))
