"""What a jail with a network of its own tells about it."""

from __future__ import annotations

import abc

from jailkit._errors import SpecError
from jailkit._launch import Blueprint, blueprint, blueprint_beside
from jailkit.process import LiveJail
from jailkit.spec import JailSpec, Joined, Net, Port

__all__ = ["Connected"]


class Connected(abc.ABC):
    """The part of `Jail` that is about its network.

    Attributes:
        spec: What was asked for.
    """

    spec: JailSpec
    _beside: Connected | None = None

    @property
    @abc.abstractmethod
    def _made(self) -> Blueprint: ...

    @abc.abstractmethod
    def _started(self) -> LiveJail: ...

    def _connect(self, net: Net | Connected) -> Net:
        """Say in the words of a spec what was given for ``net``, and keep the jail if it was one."""
        if not isinstance(net, Connected):
            return net
        if net.spec.network is None:
            words = "a jail with net=True or a Network; one that reaches nothing has Network(allow=[])"
            raise SpecError("net", net, words)
        self._beside = net
        other = net.spec
        if isinstance(other.net, Joined):
            return other.net
        return Joined(net.spec.network, other.allow.reserved_ports, other.report_denials)

    def _compile(self) -> Blueprint:
        if self._beside is None:
            return blueprint(self.spec)
        return blueprint_beside(self.spec, self._beside._made, self._beside._started)  # noqa: SLF001 - a jail too

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
