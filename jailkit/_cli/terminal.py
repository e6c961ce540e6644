"""The caller's terminal as a window on the program's: keys go in as they are typed, what comes is shown as it comes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import tty
from types import FrameType, TracebackType
from typing import Any, Self

from jailkit import Process
from jailkit._cli import output

__all__ = ["Window", "size"]

_KEYS = 4096
_LOOK_SECONDS = 0.2
_STDIN = 0
_END_OF_FILE = b"\x04"


def size() -> tuple[int, int]:
    """Return rows and columns of the caller's terminal, or those of a terminal that nobody knows."""
    for fd in (_STDIN, output.STDOUT, output.STDERR):
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(fd)
            if rows and columns:
                return rows, columns
    return 24, 80


class Window:
    """Connects stdin and stdout of the command with the terminal of a program, until that has ended.

    A terminal at stdin is in raw mode meanwhile: Ctrl-C and Ctrl-Z are keys, to which the program's terminal gives
    their meaning. Anything else at stdin is typed, with an end of file behind it.
    """

    def __init__(self, program: Process) -> None:
        self._program = program
        self._typed = b""
        self._listening = True
        self._before: list[Any] | None = None
        self._handler: Any = None

    def __enter__(self) -> Self:
        if os.isatty(_STDIN):
            self._before = termios.tcgetattr(_STDIN)
            tty.setraw(_STDIN, termios.TCSADRAIN)
        self._handler = signal.signal(signal.SIGWINCH, self._resize)
        self._resize()  # it may have changed since the program's was made
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGWINCH, self._handler)
        if self._before is not None:
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._before)

    def _resize(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        with contextlib.suppress(OSError):
            self._program.resize(*size())

    def show(self) -> None:
        """Pass on what is typed and what is written, until the program has ended and all is shown.

        Raises:
            BrokenPipeError: Nobody looks any more.
        """
        keyboard = self._program.stdin
        assert keyboard is not None  # noqa: S101 - it was started with a terminal
        os.set_blocking(keyboard.fileno(), False)
        outputs = self._program.stream()
        while not outputs.over:
            waiting = select.poll()
            waiting.register(outputs.fileno(), select.POLLIN)
            if self._listening and not self._typed:
                waiting.register(_STDIN, select.POLLIN)
            if self._typed:
                waiting.register(keyboard.fileno(), select.POLLOUT)
            ready = dict(waiting.poll(_LOOK_SECONDS * 1000))
            if _STDIN in ready:
                self._listen()
            if self._typed:
                self._type(keyboard.fileno())
            for chunk in outputs.read(0):
                output.write(output.STDOUT, chunk.data)

    def _listen(self) -> None:
        try:
            keys = os.read(_STDIN, _KEYS)
        except OSError:  # the terminal is gone
            keys = b""
        self._listening = bool(keys)
        self._typed = keys or _END_OF_FILE

    def _type(self, keyboard: int) -> None:
        try:
            self._typed = self._typed[os.write(keyboard, self._typed) :]
        except BlockingIOError:
            return
        except OSError:  # the program has let go of its terminal
            self._typed = b""
