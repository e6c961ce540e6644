"""A running program in the hand of a task."""

from __future__ import annotations

import functools
import signal
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, final

from jailkit.aio._loop import in_thread, moment, shielded, until
from jailkit.aio._streams import Input, Output
from jailkit.process import Chunk, Result, end, half_read, listen, reading_of, watch
from jailkit.process import Outputs as SyncOutputs
from jailkit.process import Process as SyncProcess

__all__ = ["Outputs", "Process"]


@final
class Outputs:
    """What a program writes to stdout and stderr, as it comes: an asynchronous iterator of `Chunk`.

    As `jailkit.Outputs`: the program's time and its other limits are enforced while a task iterates, and nothing is
    kept. Made by `Process.stream` and `Process.lines`.
    """

    def __init__(self, process: Process, outputs: SyncOutputs) -> None:
        self._process = process
        self._reading = reading_of(outputs)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        reading = self._reading
        while not reading.step():
            if reading.over:
                await self._process.wait()
                raise StopAsyncIteration
            await moment(reading)
        return reading.take(1)[0]


@final
class Process:
    """A program that was started in a jail. Made by `Jail.popen` only.

    Its life is that of its ``async with`` block: a block that is left by an exception, a cancellation, or in the middle
    of an iteration over `stream` or `lines`, kills the program and all that it has started, and goes on when they are
    gone. Otherwise leaving it closes stdin and waits for the end. A wait that is cancelled inside the block kills
    nothing.

    Attributes:
        process: The `jailkit.Process` behind it.
        stdin: Where to send what the program reads, or None if no pipe was asked for.
        stdout: Where to receive what it writes, or None.
        stderr: The same.
    """

    def __init__(self, process: SyncProcess) -> None:
        self.process = process
        self.stdin = None if process.stdin is None else Input(process.stdin)
        self.stdout = None if process.stdout is None else Output(process.stdout)
        self.stderr = None if process.stderr is None else Output(process.stderr)

    @property
    def returncode(self) -> int | None:
        """As `jailkit.Process.returncode`: None while nobody has seen its end."""
        return self.process.returncode

    @property
    def pid(self) -> int:
        """The program's process id as the host numbers it; -1 when it is gone. For display."""
        return self.process.pid

    async def wait(self) -> int:
        """Wait for the end of the program; return `returncode`.

        A program whose pipes nobody reads may wait for ever: use `communicate`.

        Raises:
            ClosedError: It was closed before the program had ended.
        """
        await until(watch(self.process))
        # The accounts of the program are closed, which may wait for a control group.
        return await in_thread(self.process.wait)

    async def communicate(self, input: bytes | str | None = None) -> tuple[Any, Any]:  # noqa: A002 - as in subprocess
        """Send `input`, read both outputs, wait for the end; return what it wrote, bounded as in `Result`.

        Raises:
            ClosedError: It was closed before the program had ended.
        """
        listen(self.process, input)
        await self.wait()
        return await in_thread(self.process.communicate)

    async def result(self) -> Result[Any]:
        """Wait for the end and return the result, with the outputs that `communicate` has read."""
        await self.wait()
        return self.process.result()

    def stream(self, input: bytes | str | None = None) -> Outputs:  # noqa: A002 - as in subprocess
        """Read both outputs as they come: ``async for``. As `jailkit.Process.stream`."""
        return Outputs(self, self.process.stream(input))

    def lines(self, input: bytes | str | None = None, *, max_bytes: int = 65536) -> Outputs:  # noqa: A002 - as in subprocess
        """Do as `stream`, by lines. As `jailkit.Process.lines`."""
        return Outputs(self, self.process.lines(input, max_bytes=max_bytes))

    def send_signal(self, number: int) -> None:
        """Send a signal to the program (not to what it started); nothing happens if it has ended."""
        self.process.send_signal(number)

    def terminate(self) -> None:
        """Ask the program to end, with SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the program and everything it has started; `wait` says when it is gone."""
        self.process.kill()

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal of a program that was started with ``pty``."""
        self.process.resize(rows, columns)

    async def aclose(self) -> None:
        """Close the pipes, and kill the program if it still runs; come back when it and all it started is gone."""
        await shielded(functools.partial(end, self.process))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and not half_read(self.process):
                if self.stdin is not None:
                    await self.stdin.aclose()
                await self.wait()
        finally:
            await self.aclose()
