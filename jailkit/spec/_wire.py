"""What of a network has to fit together when an interface or a gateway is named."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Protocol

from jailkit._errors import SpecError

__all__ = ["Wire", "check_wire", "gateway_of"]


class Wire(Protocol):
    """What is looked at of a `Network`."""

    @property
    def ip4(self) -> tuple[str, ...] | None: ...
    @property
    def ip6(self) -> tuple[str, ...] | None: ...
    @property
    def interface(self) -> str | None: ...
    @property
    def gateway(self) -> tuple[str, ...]: ...
    @property
    def ports(self) -> object: ...


def gateway_of(wire: Wire, version: int) -> str:
    """Return the gateway of one version of IP, or an empty text."""
    return next((one for one in wire.gateway if ipaddress.ip_address(one).version == version), "")


def check_wire(wire: Wire) -> None:
    """Refuse what does not fit together.

    Raises:
        SpecError: A length is missing or too many, a gateway is in another network, or there is no address.
    """
    if wire.interface and not (wire.ip4 or wire.ip6):
        raise SpecError("network.ip4", None, "an address for the interface, as 192.0.2.9/24; or ip6, or both")
    if wire.ip4 == () == wire.ip6:
        raise SpecError("network.ip6", (), "with ip4=[], at least one address, or None; net=False has neither")
    if wire.interface and wire.ports:
        raise SpecError("network.ports", wire.ports, "nothing with interface: the jail itself is on that network")
    if wire.ip4 == () and wire.ports:
        raise SpecError("network.ports", wire.ports, "nothing with ip4=[]: ports of the host are published by IPv4")
    for field, addresses, version in (("ip4", wire.ip4, 4), ("ip6", wire.ip6, 6)):
        _check_version(wire, f"network.{field}", addresses or (), gateway_of(wire, version))


def _check_version(wire: Wire, field: str, addresses: tuple[str, ...], gateway: str) -> None:
    if gateway and not addresses:
        raise SpecError(field, None, f"an address in the network of the gateway {gateway}")
    for address in addresses:
        _check_length(wire, field, address, gateway)
    named = [ipaddress.ip_interface(address) for address in addresses]
    found = ipaddress.ip_address(gateway) if gateway else None
    taken = any(found == address.ip for address in named)
    if gateway and (taken or not any(_fits(gateway, address, wire.interface) for address in named)):
        words = f"another address in the network of {' or '.join(addresses)}"
        raise SpecError("network.gateway", gateway, words)


def _check_length(wire: Wire, field: str, address: str, gateway: str) -> None:
    wanted = bool(wire.interface or gateway)
    if wanted and "/" not in address:
        raise SpecError(field, address, "with interface or gateway, an address and the length of its network: /24")
    if not wanted and "/" in address:
        raise SpecError(field, address, "an address alone; a length goes with interface or gateway")


def _fits(gateway: str, address: ipaddress.IPv4Interface | ipaddress.IPv6Interface, interface: str | None) -> bool:
    found = ipaddress.ip_address(gateway)
    if found.version == 6 and found.is_link_local:
        return interface is not None
    return found in address.network and found not in _special(address.network)


def _special(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Iterator[object]:
    """Name the network and everybody in it, which are nobody's addresses (RFC 3021: not of a pair)."""
    if network.version == 4 and network.prefixlen < 31:
        yield from (network.network_address, network.broadcast_address)
