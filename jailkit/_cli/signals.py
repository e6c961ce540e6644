"""SIGINT and SIGTERM are the program's: a jail has a session of its own, which a terminal's Ctrl-C does not reach."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from jailkit import Process

__all__ = ["Forwarder", "Interrupted"]

FORWARDED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A second signal came before there was a program. As KeyboardInterrupt, it is not to be caught on its way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Forwarder:
    """Hands the first signal to the program; the second one kills the program and all that it has started."""

    def __init__(self) -> None:
        self._program: Process | None = None
        self._first = 0
        self._over = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in FORWARDED:
            # What nohup or a shell's "&" has switched off stays off.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def aim(self, program: Process) -> None:
        """From here on signals go to this program; so does the one that came while it was being started."""
        self._program = program
        if self._first:
            program.send_signal(self._first)

    def finish(self) -> None:
        """The program has ended: a signal can no longer reach it, and must not disturb the cleaning up."""
        self._over = True

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._over:
            return
        if self._first:
            if self._program is None:
                raise Interrupted(number)
            self._program.kill()
            return
        # No exception even when no program is known yet: it may run already, and then the signal is its to handle.
        self._first = number
        if self._program is not None:
            self._program.send_signal(number)
