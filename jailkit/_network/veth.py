"""The way out of a privileged caller's jail: a pair of interfaces, routes to it, and NAT by the kernel. veth(4).

The host's end has the name ``jk`` and a number. The number is the claim to the addresses that follow from it: the
kernel makes no second interface of a name. There is no bridge: each jail is behind an interface of its own, and reaches
another only through the host's filters.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
from collections.abc import Iterator

import attrs

from jailkit._network.netlink import FILTER, ROUTE, Netlink, address, link, route
from jailkit._network.rules import host_side
from jailkit._network.shaping import slow_sending
from jailkit._network.space import Space, write_setting
from jailkit.plan import POD_ADDRESSES, NetworkPlan
from jailkit.spec import Port

__all__ = ["INSIDE", "WIDE", "Veth", "addresses_of", "pair"]

INSIDE = "eth0"
"""The name of the interface in the jail."""

WIDE = 65535
"""Bytes in a packet between the jail and the host, as on the loopback: with 1500, what the host itself fetches of a
published port comes at half the speed. What goes further is kept to 1500 by the route that it takes."""

_NARROW = 1500
"""As an Ethernet, for a wire with a bound on its speed: its bucket (`shaping.py`) holds no packet much wider."""

_POOL6 = ipaddress.IPv6Network("fd6a:6169:6c6b::/48")


def addresses_of(plan: NetworkPlan, number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return gateways, one for each version of IP that the jail has, and the jail's addresses; IPv4 first."""
    gateways: list[str] = []
    own: list[str] = []
    for pool, asked, six in ((ipaddress.IPv4Network(plan.pool), plan.ip4, False), (_POOL6, plan.ip6, True)):
        if asked == ():
            continue
        named = [one for one in plan.gateways if (":" in one) == six]
        gateways.append(named[0] if named else str(pool[2 * number]))
        own += asked or [str(pool[2 * number + 1])]
    return tuple(gateways), tuple(own)


def pair(name: str, inner: str, net: int, mtu: int) -> bytes:
    """Make a pair of interfaces, one of them in another network namespace."""
    peer = {"attrs": [("IFLA_IFNAME", inner), ("IFLA_NET_NS_FD", net), ("IFLA_MTU", mtu)]}
    kind = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})]}
    return link((("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_LINKINFO", kind)), make=True)


class Veth:
    """A pair of interfaces and the filters and routes of the host's side."""

    def __init__(self, plan: NetworkPlan) -> None:
        """Make nothing yet."""
        self._plan = plan
        self._filter: Netlink | None = None
        self.name = ""

    def open(self, space: Space, ports: tuple[Port, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Make all of it; return the gateways' and the jail's addresses.

        Raises:
            OSError: A step failed. `close` removes what was made.
        """
        host = Netlink.here(ROUTE)
        try:
            number = self._make_pair(host, space.net)
            index = host.has(self.name)
            gateways, own = addresses_of(self._plan, number)
            # The filters first: no packet passes before them.
            self._filter = Netlink.here(FILTER)
            named = {":" in gateway for gateway in self._plan.gateways}
            hidden = tuple(one for one in own if (":" in one) not in named)
            each = tuple(self._each_address(ports))
            self._filter.transact(*host_side(self.name, self._plan.ways, own, each, hidden=hidden))
            self._settings(local=bool(ports))
            if self._plan.bandwidth:
                slow_sending(host, index, self._plan.bandwidth)
            host.ask(
                *(address(index, text, 128 if ":" in text else 32) for text in gateways),
                link((), index=index, up=True),
                *(route(index, to) for to in own),
            )
        finally:
            host.close()
        return gateways, own

    def _make_pair(self, host: Netlink, net: int) -> int:
        pairs = (ipaddress.IPv4Network(self._plan.pool).num_addresses - POD_ADDRESSES) // 2
        first = secrets.randbelow(pairs)
        for turn in range(pairs):
            number = (first + turn) % pairs
            name = f"jk{number:05}"
            try:
                host.ask(pair(name, INSIDE, net, _NARROW if self._plan.bandwidth else WIDE))
            except FileExistsError:
                continue
            self.name = name
            return number
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    def _each_address(self, ports: tuple[Port, ...]) -> Iterator[Port]:
        """Name the addresses that 0.0.0.0 stands for."""
        every = ("127.0.0.1", *(own for own in self._plan.own if ":" not in own))
        for port in ports:
            for one in every if port.address == "0.0.0.0" else (port.address,):  # noqa: S104 - what the caller said
                yield attrs.evolve(port, address=one)

    def _settings(self, *, local: bool) -> None:
        """Settings of an interface of our own; the host's are left alone."""
        write_setting(f"ipv4/conf/{self.name}/forwarding", "1")
        if local:  # what is published on 127.0.0.1 is answered by way of this interface
            write_setting(f"ipv4/conf/{self.name}/route_localnet", "1")
        if self._plan.way6:
            write_setting(f"ipv6/conf/{self.name}/accept_ra", "0")

    def close(self) -> None:
        """Remove it, with addresses and routes; the other end goes with it. Safe to call again."""
        if self.name:
            host, name = Netlink.here(ROUTE), self.name
            self.name = ""
            try:
                index = host.has(name)
                if index:
                    host.ask(link((), index=index, remove=True))
            except OSError:
                pass  # with the jail's namespace the kernel has removed it meanwhile
            finally:
                host.close()
        self.disown()

    def disown(self) -> None:
        """Close the socket that owns the filters."""
        if self._filter is not None:
            self._filter.close()
            self._filter = None
