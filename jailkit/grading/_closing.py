"""What can be closed, and closes itself at the end of a ``with`` statement."""

from __future__ import annotations

import abc
from typing import Self

__all__ = ["Closing"]


class Closing(abc.ABC):
    """Something that is closed at the end of its ``with`` statement, whatever ends that."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give back what it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
