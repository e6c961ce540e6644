"""What belongs to a live jail and is somebody else's work: its network, and threads that look at it."""

from __future__ import annotations

from typing import Protocol

from jailkit.process.result import Refused
from jailkit.spec import Port

__all__ = ["Annex", "Ending"]


class Annex(Protocol):
    """What is made for a jail before it starts, and removed after it has ended: its network."""

    @property
    def ports(self) -> tuple[Port, ...]:
        """What is published."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The jail's."""

    def refused(self) -> tuple[Refused, ...]:
        """Return what was refused since this was asked last."""

    def open(self) -> tuple[int, ...]:
        """Make it; return descriptors for the jail, which the caller closes."""

    def close(self) -> None:
        """Remove it. Safe to call again."""

    def disown(self) -> None:
        """After a fork, in the child: let go."""


class Ending(Protocol):
    """A thread that ends with the jail, or before."""

    @property
    def ended(self) -> bool:
        """Whether it has."""

    def stop(self) -> None:
        """Wait for its end."""
