"""Python sessions to be awaited."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar, final

from jailkit._errors import ClosedError
from jailkit.aio._block import Block
from jailkit.aio._loop import Lock, in_thread, killable, shielded
from jailkit.python import CallResult, Options, cancellable
from jailkit.python import Calls as SyncCalls
from jailkit.python import LoadedSource as SyncSource
from jailkit.python import PythonSession as SyncSession
from jailkit.spec import Limits

__all__ = ["Calls", "LoadedSource", "PythonSession"]

_T = TypeVar("_T")


class Calls:
    """A Python session, with bounds for the calls that are made through this object. Made by `within`."""

    _session: PythonSession
    _options: Options

    def within(self, *, timeout: float | None = None, limits: Limits | None = None, seed: int | None = None) -> Calls:
        """Return the same session with other bounds for its calls; see `jailkit.PythonSession.within`.

        Raises:
            SpecError: A limit cannot be that of one call, or a value is wrong.
        """
        calls = Calls()
        calls._session, calls._options = self._session, self._options.over(timeout, limits, seed)
        return calls

    async def call(self, target: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function of a module of the jail, in a fresh process; see `jailkit.PythonSession.call`.

        Raises:
            JailkitError: Each of the errors of `jailkit.PythonSession.call`, and of its start if this is the first.
        """
        return await self._make(lambda calls: calls.call(target, *args, **kwargs))

    async def run_call(
        self, target: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> CallResult:
        """Do the same, and return everything there is to know; how it ends is no exception."""
        return await self._make(lambda calls: calls.run_call(target, args, kwargs))

    async def exec(
        self, source: str | bytes, inputs: Mapping[str, Any] | None = None, *, outputs: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """Run source code in a fresh process; return the names that it has bound. See `jailkit.PythonSession.exec`.

        Raises:
            JailkitError: Each of the errors of `call`.
        """
        return await self._make(lambda calls: calls.exec(source, inputs, outputs=outputs))

    async def run_exec(
        self, source: str | bytes, inputs: Mapping[str, Any] | None = None, *, outputs: Iterable[str] | None = None
    ) -> CallResult:
        """Do the same, and return everything there is to know; the value is the dict."""
        return await self._make(lambda calls: calls.run_exec(source, inputs, outputs=outputs))

    async def load(self, source: str | os.PathLike[str] | bytes, *, name: str = "loaded") -> LoadedSource:
        """Return an object whose functions are those of a source file; see `jailkit.PythonSession.load`.

        Raises:
            OSError: The file cannot be read.
        """
        loaded = await in_thread(lambda: SyncCalls().load(source, name=name))
        return LoadedSource(self, loaded)

    async def _make(self, work: Callable[[SyncCalls], _T]) -> _T:
        return await self._session._carry_out(work, self._options)  # noqa: SLF001 - its own


@final
class PythonSession(Calls, Block):
    """A Python interpreter in a live jail, which forks for each call: ``async with jail.python() as py``.

    A `jailkit.PythonSession` for tasks. Its calls are made one after another, each in a thread; tasks wait for their
    turn without one. A task that is cancelled while its call runs, or while the interpreter starts, gets the
    cancellation when that is dead; the next call is served by a new interpreter. Made by `Jail.python` only.
    """

    def __init__(self, make: Callable[[], SyncSession]) -> None:
        self._session = self
        self._options = Options(Limits())
        self._open = make
        self._turn = Lock()
        self._made: SyncSession | None = None
        self._closed = False

    @property
    def starts(self) -> int:
        """How often an interpreter was started for it: one more than the calls that have damaged theirs."""
        return self._made.starts if self._made else 0

    @property
    def closed(self) -> bool:
        """Whether it has been closed, or its jail."""
        return self._closed or (self._made is not None and self._made.closed)

    async def start(self) -> PythonSession:
        """Start the interpreter. Done by the ``async with`` statement, and else by the first call.

        Raises:
            JailkitError: Each of the errors of `jailkit.Jail.python`.
        """
        async with self._turn:
            made = await self._found()
            await killable(lambda _: made._ready(), made.interrupt)  # noqa: SLF001 - its other face
        return self

    async def _found(self) -> SyncSession:
        if self._closed:
            raise ClosedError("this Python session is closed")
        if self._made is None:
            self._made = await in_thread(self._open)
        return self._made

    async def _carry_out(self, work: Callable[[SyncCalls], _T], options: Options) -> _T:
        async with self._turn:
            made = await self._found()
            return await killable(lambda cancelled: work(cancellable(made, options, cancelled)), made.interrupt)

    async def aclose(self) -> None:
        """Kill the interpreter and everything that it has started. Closing twice is fine."""
        self._closed = True
        if self._made is not None:
            await shielded(self._made.close)

    def __repr__(self) -> str:
        return f"<aio of {self._made!r}>" if self._made else "<aio.PythonSession, not started>"


class LoadedSource:
    """A source file whose functions can be awaited, each in a fresh process of the jail. Made by `PythonSession.load`.

    ``await loaded.name(...)`` calls the function of that name, and raises as `PythonSession.call` does. A name that
    this class has itself is reached by `run_call`.
    """

    def __init__(self, calls: Calls, loaded: SyncSource) -> None:
        self._calls = calls
        self._loaded = loaded

    def within(self, **bounds: Any) -> LoadedSource:
        """Return the same source, its calls within other bounds: see `PythonSession.within`."""
        return LoadedSource(self._calls.within(**bounds), self._loaded)

    async def run_call(
        self, name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> CallResult:
        """Call one of its functions, and return everything there is to know; how it ends is no exception."""
        by = self._loaded._by  # noqa: SLF001 - its other face
        return await self._calls._make(lambda calls: by(calls).run_call(name, args, kwargs))

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if name.startswith("__"):
            raise AttributeError(name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return (await self.run_call(name, args, kwargs)).check()

        call.__name__ = name
        return call

    def __repr__(self) -> str:
        return f"<aio of {self._loaded!r}>"
