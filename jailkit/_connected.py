"""What a jail with a network of its own tells about it."""

from __future__ import annotations

import abc

from jailkit.process import LiveJail
from jailkit.spec import Port

__all__ = ["Connected"]


class Connected(abc.ABC):
    """The part of `Jail` that is about its network."""

    @abc.abstractmethod
    def _started(self) -> LiveJail: ...

    @property
    def ports(self) -> tuple[Port, ...]:
        """What `Network.ports` of the live jail became, each with its number on the host, also where that was any.

        Empty for a jail that publishes nothing.

        Raises:
            ClosedError: It is not started, or closed.
        """
        annex = self._started().annex
        return annex.ports if annex else ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the live jail, IPv4 first; empty without ``net=True`` or a `Network`.

        As an ordinary user's they mean something inside alone: the host reaches only what is published.

        Raises:
            ClosedError: It is not started, or closed.
        """
        annex = self._started().annex
        return annex.addresses if annex else ()
