"""A pool of jails to be awaited."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, final

from jailkit._errors import ClosedError
from jailkit._jail import Jail as SyncJail
from jailkit._pool import JailPool as SyncPool
from jailkit.aio._block import Block
from jailkit.aio._jail import Jail
from jailkit.aio._loop import in_thread, shielded
from jailkit.process import Result
from jailkit.spec import JailSpec

__all__ = ["JailPool"]


@final
class JailPool(Block):
    """A `jailkit.JailPool` for tasks: ``async with JailPool(size=4) as pool: await pool.run([...])``.

    A task that is cancelled while its program runs gets the cancellation when the program is dead and its jail gone.

    Args:
        spec: What each jail is like. Default: that of ``Jail()``.
        size: How many jails to keep ready, at least 1.
    """

    def __init__(self, spec: JailSpec | None = None, *, size: int = 4) -> None:
        self._make = functools.partial(SyncPool, spec, size=size)
        self._pool: SyncPool | None = None

    @property
    def pool(self) -> SyncPool:
        """The `jailkit.JailPool` behind it.

        Raises:
            ClosedError: It is not started.
        """
        if self._pool is None:
            raise ClosedError("this pool is not started: use it in an async with statement, or await start()")
        return self._pool

    async def start(self) -> JailPool:
        """Build the first jail; the others follow. Done by the ``async with`` statement.

        Raises:
            JailkitError: Each of the errors of `jailkit.JailPool`.
        """
        if self._pool is not None:
            raise ClosedError("this pool was started already")
        self._pool = await in_thread(self._make, SyncPool.close)
        return self

    async def aclose(self) -> None:
        """Take away all jails that wait. Closing twice is fine."""
        if self._pool is not None:
            await shielded(self._pool.close)

    async def run(self, argv: Sequence[str | bytes | os.PathLike[str]], **options: Any) -> Result[Any]:
        """Run one program in a jail of its own, and throw the jail away; see `jailkit.JailPool.run`.

        Args:
            argv: The program and its arguments.
            options: The other arguments of `Jail.run`.

        Raises:
            JailkitError: Each of the errors of `jailkit.JailPool.run`.
        """
        stock = self.pool._stock  # noqa: SLF001 - its other face
        while True:
            waited = stock.take()
            jail = waited or await self._fresh()
            try:
                result = await Jail.of(jail).run(argv, **options)
            except BaseException as error:
                await shielded(jail.close)
                if waited and isinstance(error, ClosedError):
                    continue  # it died after the look at it and before the program was asked for
                raise
            await shielded(functools.partial(stock.throw_away, jail))
            return result

    async def _fresh(self) -> SyncJail:
        return await in_thread(SyncJail.from_spec(self.pool.spec).start, SyncJail.close)

    @contextlib.asynccontextmanager
    async def jail(self) -> AsyncIterator[Jail]:
        """Lend a jail for an ``async with`` block; at its end it is closed, and gone.

        Raises:
            JailkitError: Each of the errors of `jailkit.JailPool.jail`.
        """
        jail = self.pool._stock.take() or await self._fresh()  # noqa: SLF001 - its other face
        try:
            yield Jail.of(jail)
        finally:
            await shielded(jail.close)

    def __repr__(self) -> str:
        return f"<aio of {self._pool!r}>" if self._pool else "<aio.JailPool, not started>"
