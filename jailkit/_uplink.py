"""What the host can give a jail a way out by: routes, addresses, name servers, and who would hand on packets.

All of it is that of the network namespace of the thread that asks: a host program may have several.
"""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator

from jailkit.plan import Uplink
from jailkit.spec import Network

__all__ = ["find_uplink"]

_POOLS = ("10.213.0.0/16", "172.29.0.0/16", "10.91.0.0/16", "192.168.208.0/20")
_POOL6 = ipaddress.IPv6Network("fd6a:6169:6c6b::/48")
_NET = "/proc/thread-self/net"
_SYSTEMD_RESOLVED = "/run/systemd/resolve/resolv.conf"
_TUN = "/dev/net/tun"


def find_uplink(wanted: Network, *, privileged: bool) -> Uplink:
    """Return the facts that decide a network with a way out; names of its rules are looked up now."""
    routes = tuple(_routes4())
    usable, unreachable = _resolvers()
    missing = [] if importlib.util.find_spec("pyroute2") else [_NO_PYROUTE2]
    if wanted.interface or wanted.gateway:
        missing += _missing_for_wire(wanted, privileged=privileged)
    if not wanted.interface:
        missing += _missing_for_veth(wanted, routes) if privileged else _missing_for_pasta()
    return Uplink(
        means="moved" if wanted.interface else "veth" if privileged else "pasta",
        missing=tuple(missing),
        pasta=shutil.which("pasta") or "pasta",
        pool=_pool([network for _, network in routes]),
        way6=_way6(privileged=privileged),
        own=tuple(sorted(set(_own()))),
        resolvers=usable,
        resolvers_out_of_reach="" if usable else ", ".join(unreachable),
        has6=os.path.exists("/proc/sys/net/ipv6"),
        names=_lookup(rule.to for rule in (*wanted.rules, *wanted.refused) if rule.is_name),
    )


_NO_PYROUTE2 = (
    "the Python package pyroute2, by which jailkit speaks to the kernel, is missing",
    'pip install "jailkit[net]"',
)


def _missing_for_wire(wanted: Network, *, privileged: bool) -> list[tuple[str, str]]:
    """An interface of the host and a network that knows the jail's address are root's to give."""
    if not privileged:
        what = "interface" if wanted.interface else "gateway"
        return [(f"{what}= is for root: what an ordinary user's jail sends has the host's address", "run as root")]
    try:
        socket.if_nametoindex(wanted.interface or "lo")
    except OSError:
        words = f"this host has no interface {wanted.interface}, or another jail has it now"
        return [(words, "ip link shows those that it has")]
    return []


def _missing_for_pasta() -> list[tuple[str, str]]:
    missing = []
    if not shutil.which("pasta"):
        missing.append(
            (
                "an ordinary user's network is carried by pasta, which is not installed",
                "apt install passt, or run as root",
            )
        )
    if not os.access(_TUN, os.R_OK | os.W_OK):
        missing.append(
            (f"{_TUN} is not there or may not be opened", f"modprobe tun; chmod 666 {_TUN} (what udev does)")
        )
    return missing


def _missing_for_veth(wanted: Network, routes: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Packets that come back are handed on by the settings of the interface they come in by, which is the host's."""
    if wanted.allow == () or wanted.ip4 == ():
        return []  # nothing goes out, or not by IPv4
    ways = sorted({device for device, network in routes if network == "0.0.0.0/0"}) or ["all"]
    closed = [device for device in ways if _setting(f"ipv4/conf/{device}/forwarding") == "0"]
    if not closed:
        return []
    words = f"this host hands on no packets that come in by {', '.join(closed)}: net.ipv4.ip_forward is 0"
    return [(words, "sysctl net.ipv4.ip_forward=1, which makes the host a router: look at its own filters first")]


def _way6(*, privileged: bool) -> bool:
    lines = _lines(f"{_NET}/ipv6_route")
    # Destination, length of its prefix, source, its prefix, next hop, metric, counts, flags, device.
    default = any(set(line[0]) == {"0"} and line[1] == "00" and line[-1] != "lo" for line in lines if len(line) > 9)
    return default and (not privileged or _setting("ipv6/conf/all/forwarding") == "1")


def _setting(name: str) -> str:
    with contextlib.suppress(OSError), open(f"/proc/sys/net/{name}") as file:
        return file.read().strip()
    return ""


def _lines(path: str) -> list[list[str]]:
    with contextlib.suppress(OSError), open(path) as file:
        return [line.split() for line in file]
    return []


def _routes4() -> Iterator[tuple[str, str]]:
    """Device and destination of every route, in the words of route(8): numbers in the order of the machine."""
    for line in _lines(f"{_NET}/route")[1:]:
        to, mask = (int(line[column], 16).to_bytes(4, "little") for column in (1, 7))
        length = int.from_bytes(mask, "big").bit_count()
        yield line[0], str(ipaddress.ip_network((to, length)))


def _pool(taken: Iterable[str]) -> str:
    """Choose a private network that leads nowhere yet; where all are taken, one address of it may be in the way."""
    others = [ipaddress.ip_network(network) for network in taken if not network.endswith("/0")]
    # A route to one address, or to two, is one to a jail.
    others = [network for network in others if network.prefixlen < 31]
    free = (pool for pool in _POOLS if not any(ipaddress.ip_network(pool).overlaps(network) for network in others))
    return next(free, _POOLS[0])


def _own() -> Iterator[str]:
    """The host's addresses, but those of its loopback, and those towards jails, which come and go."""
    before, apart = "", [ipaddress.ip_network(network) for network in ("127.0.0.0/8", *_POOLS)]
    for line in _lines(f"{_NET}/fib_trie"):
        if line[:2] == ["/32", "host"] and line[-1] == "LOCAL":
            address = ipaddress.IPv4Address(before)
            if not any(address in network for network in apart):
                yield before
        before = line[1] if line[0] == "|--" else before
    for line in _lines(f"{_NET}/if_inet6"):
        six = ipaddress.IPv6Address(bytes.fromhex(line[0]))
        if not six.is_loopback and not six.is_link_local and six not in _POOL6:
            yield str(six)


def _resolvers() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name servers that others than the host can ask, and those that only the host can."""
    named = _nameservers("/etc/resolv.conf")
    usable = tuple(address for address in named if not ipaddress.ip_address(address).is_loopback)
    if not usable and named:  # systemd-resolved keeps a list of those that it asks itself
        usable = tuple(
            address for address in _nameservers(_SYSTEMD_RESOLVED) if not ipaddress.ip_address(address).is_loopback
        )
    return usable[:3], named


def _nameservers(path: str) -> tuple[str, ...]:
    found = [line[1] for line in _lines(path) if len(line) > 1 and line[0] == "nameserver"]
    # A zone (fe80::1%eth0) means an interface of the host.
    return tuple(address for address in found if re.fullmatch("[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", address))


def _lookup(names: Iterable[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = {}
    for name in names:
        addresses: list[str] = []
        with contextlib.suppress(OSError):
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            addresses = [str(answer[4][0]) for answer in answers]
        plain = {str(_unmapped(address)) for address in addresses if "%" not in address}
        found[name] = tuple(sorted(plain))
    return tuple(sorted(found.items()))


def _unmapped(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address; what stands for one of IPv4 is that one."""
    read = ipaddress.ip_address(address)
    return (read.ipv4_mapped or read) if isinstance(read, ipaddress.IPv6Address) else read
