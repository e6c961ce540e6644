"""What a program writes, as it comes: one iterator over both streams, with the bound and the clock in force."""

from __future__ import annotations

import codecs
import contextlib
import io
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, Any, Literal, NamedTuple, final

from jailkit._native import Run
from jailkit.process.ready import Ready
from jailkit.process.talk import Talk

__all__ = ["Chunk", "Outputs", "Reading", "buffered"]

_NAMES: tuple[Literal["stdout"], Literal["stderr"]] = ("stdout", "stderr")
_PIECE = 65536


class Chunk(NamedTuple):
    """Something that a program has written.

    Attributes:
        stream: ``"stdout"`` or ``"stderr"``. Of two streams the order is that in which the host has read them.
        data: Bytes, or str with ``text=True`` (UTF-8, undecodable bytes as U+FFFD). Never empty.
    """

    stream: Literal["stdout", "stderr"]
    data: Any


def buffered(file: IO[Any]) -> bytes:
    """Take what Python has read of a pipe on behalf of somebody who then did not want all of it."""
    os.set_blocking(file.fileno(), False)
    raw: Any = file.buffer if isinstance(file, io.TextIOWrapper) else file
    data = raw.read1(_PIECE) or b""
    os.set_blocking(file.fileno(), True)
    return bytes(data)


class _Decoder:
    """The bytes of one stream as chunks: as they come or by lines, as bytes or as text."""

    def __init__(self, index: int, *, text: bool, longest: int) -> None:
        self._name = _NAMES[index]
        self._text = codecs.getincrementaldecoder("utf-8")("replace") if text else None
        self._longest = longest
        self._line = bytearray()

    def chunks(self, data: bytes, *, last: bool = False) -> Iterator[Chunk]:
        """Turn what has come into chunks; with `last`, what was held back as well."""
        for piece in self._pieces(data, last=last):
            found: Any = self._text.decode(piece) if self._text else piece
            if found:
                yield Chunk(self._name, found)
        if last and self._text and (rest := self._text.decode(b"", final=True)):
            yield Chunk(self._name, rest)

    def _pieces(self, data: bytes, *, last: bool) -> Iterator[bytes]:
        if not self._longest:
            yield data
            return
        for part in io.BytesIO(data):  # splitlines() would also split at a carriage return
            self._line += part
            while len(self._line) > self._longest:
                yield bytes(self._line[: self._longest])
                del self._line[: self._longest]
            if self._line.endswith(b"\n"):
                yield bytes(self._line)
                self._line.clear()
        if last and self._line:
            yield bytes(self._line)
            self._line.clear()


class Reading:
    """The state of a reader who comes and goes. It never holds more than a step of `Talk` brings, and one long line."""

    def __init__(
        self, talk: Talk, run: Run, files: tuple[IO[Any] | None, IO[Any] | None], lock: threading.RLock, *, text: bool
    ) -> None:
        self._talk = talk
        self._lock = lock
        self._run = run
        self._text = text
        self._files: dict[int, IO[Any]] = {}
        self._chunks: deque[Chunk] = deque()
        self._longest = 0
        self._decoders = self._make_decoders(0)
        self.over = False
        """Whether the program has ended and all that it wrote was handed out."""
        talk.captured.passing = []
        for number, file in enumerate(files, 1):
            if file is not None and not file.closed and run.stream(number) < 0:
                talk.captured.add(number - 1, buffered(file))
                self._files[number] = file
        self._ready = Ready(run)

    def _make_decoders(self, longest: int) -> tuple[_Decoder, _Decoder]:
        return _Decoder(0, text=self._text, longest=longest), _Decoder(1, text=self._text, longest=longest)

    def by(self, longest: int) -> None:
        """From here on give lines of so many bytes at most, or, with 0, what comes as it comes."""
        if longest != self._longest:
            for decoder in self._decoders:
                self._chunks += decoder.chunks(b"", last=True)
            self._longest, self._decoders = longest, self._make_decoders(longest)

    @property
    def waiting(self) -> bool:
        """Whether something has come that nobody has taken."""
        return bool(self._chunks)

    def due(self) -> float:
        """Return when `step` is to be called although nothing has come, on the monotonic clock."""
        return -math.inf if self._chunks else self._talk.due(time.monotonic())

    def fileno(self) -> int:
        """Return what is readable when `step` has something to do."""
        with self._lent():
            return self._ready.fileno()

    def wait(self, until: float) -> None:
        """Wait for that, or until a time on the monotonic clock."""
        self._ready.wait(until)

    def step(self) -> bool:
        """Look what has come, without waiting; return whether there is something to take."""
        with self._lock:
            if not self._chunks and not self.over:
                with self._lent():
                    last = self._talk.step(0)
                self._decode(last=last)
                self.over = last
            return bool(self._chunks)

    def _decode(self, *, last: bool) -> None:
        passing = self._talk.captured.passing
        assert passing is not None  # noqa: S101 - set from the start on
        for index, data in passing:
            self._chunks += self._decoders[index].chunks(data)
        passing.clear()
        if last:
            for decoder in self._decoders:
                self._chunks += decoder.chunks(b"", last=True)

    def take(self, most: int | None = None) -> list[Chunk]:
        """Return what has come, or so much of it."""
        count = len(self._chunks) if most is None else min(most, len(self._chunks))
        return [self._chunks.popleft() for _ in range(count)]

    @contextlib.contextmanager
    def _lent(self) -> Iterator[None]:
        """Have the pipes read, which at any other time are not: a wait for the end must not fill the memory."""
        with self._lock:
            for number, file in self._files.items():
                if not file.closed:  # or its number may be somebody else's by now
                    self._run.lend(number, file.fileno())
            self._run.listen()
            try:
                yield
            finally:
                for number in self._files:
                    self._run.lend(number, -1)

    def close(self) -> None:
        """Let go. The pipes are the files' to close."""
        with self._lock:
            self.over = True
            self._chunks.clear()
            self._files.clear()
            self._ready.close()


@final
class Outputs:
    """What a program writes to stdout and stderr, as it comes. Made by `Process.stream` and `Process.lines` only.

    An iterator of `Chunk`, which ends when the program has ended and all that it wrote was handed out. While somebody
    iterates, the program's time, its `Limits.output` and its other limits are enforced as in `Jail.run`: over a bound
    the iteration ends, and the result says why. Nothing is kept, so a flood takes no memory; a program that writes
    faster than it is read waits.

    Made by two calls one after the other, both go on where the other has stopped.
    """

    def __init__(self, reading: Reading, finish: Callable[[float], object]) -> None:
        self._reading = reading
        self._finish = finish

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        for chunk in self._read(math.inf, 1):
            return chunk
        raise StopIteration

    def read(self, timeout: float | None = None) -> list[Chunk]:
        """Wait for something, and return all that is there.

        Args:
            timeout: Seconds to wait at most; 0 only looks. Default: until there is something.

        Returns:
            Nothing when the time is over, or when `over` is true.

        Raises:
            ClosedError: The process handle was closed before the program had ended.
        """
        return self._read(math.inf if timeout is None else time.monotonic() + timeout, None)

    def _read(self, until: float, most: int | None) -> list[Chunk]:
        while True:
            over_before = self._reading.over
            found = self._reading.take(most) if self._reading.step() else []
            over = self._reading.over
            if over and not over_before:
                self._finish(0)
            if found or over or time.monotonic() >= until:
                return found
            self._reading.fileno()
            self._reading.wait(min(until, self._reading.due()))

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``read(0)`` may have something, for a loop that waits for more.

        Ask for it before each wait. Whoever waits with it calls ``read(0)`` at least every 0.25 s, or limits that the
        host has to look at, such as `Limits.cpu_seconds` of a whole tree, are enforced later.
        """
        return self._reading.fileno()

    @property
    def over(self) -> bool:
        """Whether the program has ended and all was read."""
        return self._reading.over and not self._reading.waiting
