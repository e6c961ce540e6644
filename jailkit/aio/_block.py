"""What lives as long as an ``async with`` block."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import Self

__all__ = ["Block"]


class Block(abc.ABC):
    """The part of a class that has to do with its block."""

    @abc.abstractmethod
    async def start(self) -> object:
        """Begin."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """End; doing it twice is fine."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
