"""The pipes of a program as streams of anyio's."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import IO, Any, final

from jailkit.aio._loop import (
    BrokenResourceError,
    ByteReceiveStream,
    ByteSendStream,
    ClosedResourceError,
    EndOfStream,
    checkpoint,
    notify_closing,
    wait_readable,
    wait_writable,
)

__all__ = ["Input", "Output"]


def _number(file: IO[Any]) -> int:
    if file.closed:
        raise ClosedResourceError
    # Each time: whoever reads in another way in between may have it blocking again.
    os.set_blocking(file.fileno(), False)
    return file.fileno()


async def _close(file: IO[Any]) -> None:
    if not file.closed:
        notify_closing(file.fileno())
        with contextlib.suppress(OSError):
            file.close()
    await checkpoint()


@final
class Output(ByteReceiveStream):
    """What a program writes to one of its streams, as bytes: ``async for chunk in process.stdout``.

    Who reads it himself bounds it himself; `Process.stream` does both streams, within the program's limits.
    """

    def __init__(self, file: IO[Any]) -> None:
        self._file = file

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Wait for something and return it.

        Raises:
            anyio.EndOfStream: Nothing more comes.
            anyio.ClosedResourceError: It was closed.
        """
        await checkpoint()
        while True:
            fd = _number(self._file)
            try:
                data = os.read(fd, max_bytes)
            except BlockingIOError:
                await wait_readable(fd)
                continue
            except OSError as error:
                if error.errno != errno.EIO:  # a terminal that the program has let go of
                    raise
                data = b""
            if not data:
                raise EndOfStream
            return data

    async def aclose(self) -> None:
        """Close it: a program that still writes gets SIGPIPE."""
        await _close(self._file)


@final
class Input(ByteSendStream):
    """What a program reads from stdin: ``await process.stdin.send(data)``."""

    def __init__(self, file: IO[Any]) -> None:
        self._file = file

    async def send(self, item: bytes) -> None:
        """Write all of it, as fast as the program takes it.

        Raises:
            anyio.BrokenResourceError: The program has ended, or has closed its stdin.
            anyio.ClosedResourceError: It was closed.
        """
        await checkpoint()
        view = memoryview(item)
        while view:
            fd = _number(self._file)
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                await wait_writable(fd)
            except OSError as error:
                raise BrokenResourceError from error

    async def aclose(self) -> None:
        r"""Close it, which is the end of file for the program (but not on a terminal: there it is a ``b"\x04"``)."""
        await _close(self._file)
