"""How to wait in a loop of anyio's; the one module that knows anyio."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

try:
    from anyio import (
        BrokenResourceError,
        CancelScope,
        CapacityLimiter,
        ClosedResourceError,
        EndOfStream,
        Lock,
        move_on_after,
        notify_closing,
        sleep,
        to_thread,
        wait_readable,
        wait_writable,
    )
    from anyio.abc import ByteReceiveStream, ByteSendStream
    from anyio.lowlevel import checkpoint
except ImportError as error:
    raise ImportError("jailkit.aio needs anyio: pip install 'jailkit[async]'") from error

__all__ = [
    "BrokenResourceError",
    "ByteReceiveStream",
    "ByteSendStream",
    "CancelScope",
    "ClosedResourceError",
    "EndOfStream",
    "Lock",
    "Waiting",
    "checkpoint",
    "in_thread",
    "killable",
    "moment",
    "notify_closing",
    "shielded",
    "until",
    "wait_readable",
    "wait_writable",
]

_T = TypeVar("_T")


class Waiting(Protocol):
    """Something of `jailkit.process` that is stepped when its descriptor is readable, or its time has come."""

    def step(self) -> bool: ...
    def due(self) -> float: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class _Call(Generic[_T]):
    """A call in a thread, which either is not made at all or is waited for."""

    def __init__(self, call: Callable[[], _T]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._begun = self._refused = False
        self.over = threading.Event()
        self.result: list[_T] = []

    def make(self) -> _T:
        with self._lock:
            self._begun = not self._refused
        try:
            if self._begun:
                self.result.append(self._call())
            return self.result[0]
        finally:
            self.over.set()

    def refuse(self) -> bool:
        """Have it not made any more; False when it is too late for that."""
        with self._lock:
            self._refused = not self._begun
            return self._refused


async def in_thread(call: Callable[[], _T], undo: Callable[[_T], object] | None = None) -> _T:
    """Do something that may block, and come back when it is done, also where asyncio cancels this task meanwhile.

    With `undo`, what was done is undone before a cancellation goes on. (anyio's own cancellation waits for a thread;
    `asyncio.Task.cancel` and `asyncio.timeout` do not.)
    """
    made = _Call(call)
    try:
        return await to_thread.run_sync(made.make)
    except BaseException:
        if not made.refuse():
            await _over(made.over)
            if undo is not None and made.result:
                await _in_own_thread(functools.partial(undo, made.result[0]))
        raise


async def killable(call: Callable[[Callable[[], bool]], _T], kill: Callable[[], object]) -> _T:
    """Do something that may take long, in a thread of its own, and have it killed when this task is cancelled.

    `call` gets what says whether that has happened; `kill` is repeated until the call has come back.
    """
    cancelled = threading.Event()
    made = _Call(lambda: call(cancelled.is_set))
    try:
        # The threads of the loop are few, and for what is short.
        return await to_thread.run_sync(made.make, abandon_on_cancel=True, limiter=CapacityLimiter(1))
    except BaseException:
        cancelled.set()
        if not made.refuse():
            await _over(made.over, kill)
        raise


async def shielded(call: Callable[[], object]) -> None:
    """Do the same although this task is cancelled, and again: what was made has to be taken away."""
    made = _Call(call)
    with CancelScope(shield=True):
        try:
            await to_thread.run_sync(made.make)
        except BaseException:
            if made.refuse():
                await _in_own_thread(call)
            else:
                await _over(made.over)
            raise


async def _in_own_thread(call: Callable[[], object]) -> None:
    """Where the loop's threads are refused to a task that is cancelled."""
    made = _Call(call)
    threading.Thread(target=made.make, name="jailkit-undo", daemon=True).start()
    await _over(made.over)


async def _over(event: threading.Event, hasten: Callable[[], object] = lambda: None) -> None:
    """Wait for something that does not take long, however often this task is cancelled."""
    while not event.is_set():
        hasten()
        try:
            with CancelScope(shield=True):
                await sleep(0.001)
        except GeneratorExit:  # there is no loop any more
            raise
        except BaseException:  # noqa: BLE001, S112 - the one that brought us here goes on, and says the same
            continue


async def moment(what: Waiting) -> None:
    """Wait until a step is worth it."""
    left = what.due() - time.monotonic()
    if left <= 0:
        await checkpoint()
        return
    with move_on_after(left):
        await wait_readable(what.fileno())


async def until(what: Waiting) -> None:
    """Step something to its end, and close it."""
    try:
        while not what.step():
            await moment(what)
    finally:
        what.close()
