"""A network of a jail's own, with a way out: addresses, ports, and what may be reached."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import attrs

from jailkit._errors import SpecError
from jailkit.spec import _validate as check
from jailkit.spec._wire import check_wire

__all__ = ["Joined", "Network", "Port", "Rule", "read_net"]

Protocol = Literal["tcp", "udp"]
Addresses = tuple[str, ...]

_RULE = re.compile(
    r"(?P<to>\[[^\]]+\](/[0-9]+)?|[^:\[\]]+?)(:(?P<first>[0-9]{1,5})(-(?P<last>[0-9]{1,5}))?)?(?P<protocol>/tcp|/udp)?"
)
_PORT = re.compile(r"(?:(?P<address>\[[^\]]+\]|[^:\[\]/]+):)?(?P<number>[0-9]{1,5})(?P<protocol>/tcp|/udp)?")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MOST_ADDRESSES = 64
_RULE_WORDS = (
    'TARGET[:PORT[-PORT]][/tcp or /udp], where TARGET is "public", an address, a network such as 10.0.0.0/8 or '
    "[2001:db8::]/32, or a host name"
)
_PORT_WORDS = "[ADDRESS:]PORT[/tcp or /udp], with an IPv4 address of the host, and PORT 0 for any that is free"


@attrs.frozen
class Rule:
    """One thing that may be reached, or not, in parts; made of the text that `Network` is given.

    Attributes:
        to: ``public``, a network in CIDR notation, or a host name in lower case.
        ports: First and last port, or None for all.
        protocol: ``tcp``, ``udp`` or None: with ports both, without them every protocol.
    """

    to: str
    ports: tuple[int, int] | None = None
    protocol: Protocol | None = None

    @property
    def is_name(self) -> bool:
        """Whether it is about a host name, which has to be looked up."""
        return self.to != "public" and "/" not in self.to

    @classmethod
    def of(cls, text: object, field: str) -> Rule:
        """Read one rule.

        Raises:
            SpecError: It is none.
        """
        if isinstance(text, cls):
            return text
        network = _network(text) if isinstance(text, str) else None
        if network:
            return cls(network)
        match = _RULE.fullmatch(text) if isinstance(text, str) else None
        to = _target(match["to"]) if match else None
        if not match or not to:
            raise SpecError(field, text, _RULE_WORDS)
        ports = None
        if match["first"]:
            ports = (int(match["first"]), int(match["last"] or match["first"]))
            if not 1 <= ports[0] <= ports[1] <= 65535:
                raise SpecError(field, text, "ports from 1 to 65535, the lower one first")
        protocol = match["protocol"][1:] if match["protocol"] else None
        return cls(to, ports, cast("Protocol | None", protocol))


def _network(text: str) -> str | None:
    """Return a network in the one way to write it; None for anything else."""
    address, slash, length = text.partition("/")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        found = ipaddress.ip_network(bare + slash + length)
    except ValueError:
        return None
    first: Any = found.network_address
    # What stands for an address of IPv4 never leaves as IPv6; a zone (fe80::1%eth0) is an interface of the host's.
    strange = first.version == 6 and (first.ipv4_mapped or first.scope_id)
    return None if strange else str(found)


def _target(text: str) -> str | None:
    text = text.lower()
    if network := _network(text):
        return network
    labels = text.removesuffix(".").split(".")
    # What ends in a number is no name but an address in one of the ways of inet_aton(3): decimal, octal, short.
    ok = len(text) <= 253 and all(map(_LABEL.fullmatch, labels)) and not re.fullmatch("0x[0-9a-f]*|[0-9]+", labels[-1])
    return text.removesuffix(".") if ok else None


@attrs.frozen
class Port:
    """A port of the host behind which is one of the jail.

    Attributes:
        number: On the host; 0 for any that is free.
        inside: In the jail.
        address: Address of the host. Default: ``127.0.0.1``, which only the host itself reaches.
        protocol: ``tcp`` (default) or ``udp``.
    """

    number: int
    inside: int
    address: str = "127.0.0.1"
    protocol: Protocol = "tcp"

    @classmethod
    def of(cls, outside: object, inside: object) -> Port:
        """Read one entry of a mapping.

        Raises:
            SpecError: It is none.
        """
        field = "network.ports"
        match = _PORT.fullmatch(str(outside)) if isinstance(outside, str) or check.is_int(outside, 0, 65535) else None
        address = (match["address"] or "127.0.0.1") if match else ""
        if not match or int(match["number"]) > 65535 or not _is_address(address, 4):
            raise SpecError(field, outside, _PORT_WORDS)
        if not check.is_int(inside, 1, 65535):
            raise SpecError(field, inside, "a port of the jail, 1 to 65535")
        protocol = cast("Protocol", match["protocol"][1:] if match["protocol"] else "tcp")
        return cls(int(match["number"]), cast("int", inside), address, protocol)


def _is_address(text: object, version: int) -> bool:
    try:
        return isinstance(text, str) and "%" not in text and ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _texts(value: Iterable[str]) -> Addresses:
    return cast("Addresses", check.as_tuple(value))


def _rules(value: Any) -> Any:
    return check.as_tuple(value)


def _ports(value: Any) -> Any:
    return tuple(sorted(value.items(), key=str)) if isinstance(value, Mapping) else value


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else check.as_tuple(value)


def _gateways(value: Any) -> Any:
    return () if value is None else _one_or_more(value)


def _addresses(version: int) -> check.Validator:
    def validate(instance: object, attribute: Any, value: Any) -> None:
        words = f"IPv{version} addresses that one machine can have, or None"
        if value is None:
            return
        if not isinstance(value, tuple) or len(value) > _MOST_ADDRESSES:
            raise check.refuse(instance, attribute, value, f"{words}; at most {_MOST_ADDRESSES}")
        for one in value:
            if not _is_own(one, version):
                raise check.refuse(instance, attribute, one, words)
        if len({ipaddress.ip_interface(one).ip for one in value}) < len(value):
            raise check.refuse(instance, attribute, value, "each address once")

    return validate


def _is_own(text: object, version: int) -> bool:
    """Whether it is an address, with or without the length of its network, that a machine can have."""
    bare, slash, length = text.partition("/") if isinstance(text, str) else ("", "", "")
    if not _is_address(bare, version) or (slash and not _is_length(length, version)):
        return False
    found: Any = ipaddress.ip_address(bare)
    strange = found.is_loopback or found.is_multicast or found.is_unspecified or found.is_link_local
    return not strange and not (version == 6 and found.ipv4_mapped)


def _is_length(text: str, version: int) -> bool:
    return re.fullmatch("[1-9][0-9]{0,2}", text) is not None and int(text) <= (32 if version == 4 else 128)


def _check_dns(instance: object, attribute: Any, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, tuple) or len(value) > 3:
        raise check.refuse(instance, attribute, value, "at most three addresses of name servers, or None")
    for one in value:
        usable = _is_address(one, 4) or _is_address(one, 6)
        if not usable or ipaddress.ip_address(one).is_loopback:
            raise check.refuse(instance, attribute, one, "an address that is not of a loopback")


def _check_name(instance: object, attribute: Any, value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not _NAME.fullmatch(value)):
        raise check.refuse(instance, attribute, value, "1 to 63 letters, digits and inner -, or None")


def _check_bandwidth(instance: object, attribute: Any, value: Any) -> None:
    if value is not None and not check.is_int(value, 1024, 2**32 - 1):
        raise check.refuse(instance, attribute, value, "bytes per second, 1024 to 4294967295, or None")


def _check_gateway(instance: object, attribute: Any, value: Any) -> None:
    given = value if isinstance(value, tuple) else ()
    versions = {version for one in given for version in (4, 6) if _is_address(one, version)}
    if not isinstance(value, tuple) or len(versions) < len(value):
        raise check.refuse(instance, attribute, value, "an address, or one of each version of IP")


def _check_interface(instance: object, attribute: Any, value: Any) -> None:
    ok = isinstance(value, str) and re.fullmatch(r"[^\s/:%\0]{1,15}", value) and value not in (".", "..", "lo")
    if value is not None and not (ok and value.isascii()):
        raise check.refuse(instance, attribute, value, "the name of an interface of the host, or None")


@attrs.frozen(cache_hash=True)
class Network:
    """A network stack of the jail's own with a way out, as `Jail` takes for ``net``; ``net=True`` is ``Network()``.

    What may be reached is decided by packet filters (nftables) in the jail's network namespace and, for a privileged
    caller, once more on the host's side. The namespace does not belong to the jail: no program in it, its superuser
    included, can change an address, a route or a rule. The order is: what is in `deny` is refused; what is named in
    `allow` and lies in a closed network (link-local addresses, the metadata services of clouds, addresses of the host)
    is opened; the rest of the closed networks is refused; what is in `allow` is opened; everything else is refused,
    before the first packet.

    It does not look into what is sent: whoever may be reached may hand on to others, and a name server that may be
    asked can be told things.

    Attributes:
        ip4: The IPv4 addresses of the jail: one as a text, or a list of at most 64. The first is the one that its
            connections come from, unless a program binds to another, and that published ports lead to. The rules hold
            for all of them, and nothing leaves with an address that is none of them; of an ordinary user, whatever
            leaves has the host's. Default: None, one of a private network that no other jail has; with `interface`,
            none. An empty list: no IPv4, as ``ip4=disable`` of FreeBSD's jail(8). An address that another jail on this
            host has is a `LaunchError`. With `interface` or `gateway` each has the length of its network behind it:
            ``"192.0.2.9/24"``.
        ip6: The same for IPv6; no published port leads there.
        dns: Addresses of name servers for the jail's ``/etc/resolv.conf``, which may be asked (port 53) whatever the
            rules say. Default: None, those of the host, if ``public`` may be reached, and else none.
        ports: Ports of the host behind which are ports of the jail: a mapping from a port, or a text such as
            ``"192.0.2.1:8080/udp"``, to the port in the jail. Without an address it is that of 127.0.0.1. `Jail.ports`
            tells which ports they became.
        allow: What may be reached, each a text ``TARGET[:PORT[-PORT]][/tcp or /udp]``. The target is an address, a
            network in CIDR notation, a host name, or ``public``: the Internet's public address space. A name is
            looked up when the jail is made, by the host; the answer is what is opened, and what the name is in the jail
            (``/etc/hosts``) for its whole life. Default: None, which is ``["public"]``. An empty list opens nothing.
        deny: The same for what may not be reached, whatever `allow` says.
        name: Of a pod: jails of this program whose network has the same name reach each other, all ports of it, by
            their `JailSpec.hostname`, which only one of them has at a time. They have one more interface for that, with
            addresses of its own, and their ``/etc/hosts`` says who is there; rules, ports and the way out stay each
            jail's own. Others reach nothing of it. At most 63 letters, digits and inner ``-``. Default: None, no pod.
        bandwidth: Bytes per second that the jail may send, and that it may receive, all its programs together: 1024 to
            4294967295, counted with the heads of the packets. Kept by the kernel, outside the jail (tc-tbf(8)); for an
            ordinary user, what arrives too fast is dropped (nft(8)), so that senders slow down. For a moment after a
            quiet time more is let through: a tenth of a second's worth, at least 16 KiB; for an ordinary user, what
            arrives in a second. Neither the loopback nor a pod is counted; nor is it a share: it bounds this jail, and
            keeps nothing free for others. Default: None, no bound.
        interface: An interface of the host, physical or virtual, that is the jail's as long as it lives: its only way
            out, with the addresses that `ip4` and `ip6` name (nobody is asked for any). For root. The rules are those
            above, for what the jail sends; whoever is on that network may connect to what listens in the jail. It comes
            back to the host under its name when the jail ends, also after SIGKILL of the host program, and is then
            down and without addresses; under the name ``moved0`` or the like, with the old one as its alias, where
            another took its name meanwhile (`RuntimeWarning`). Default: None.
        gateway: Address of the machine that knows the way to other networks, or two, one of each version of IP; it lies
            in the network of one of `ip4` or `ip6`, or is link-local. With `interface`, the next hop; default: none,
            the jail reaches its own networks alone. Without `interface`, the address of the host towards the jail:
            packets leave the host with the jail's address, not translated, and the networks beyond have to know the
            way to it. For root. Default: the address comes from the private network, and is translated to that of the
            host.

    Raises:
        SpecError: Something is no address, port or rule; or is there twice.

    >>> Network(allow=["pypi.org:443", "10.1.2.0/24:5432/tcp"]).rules[1]
    Rule(to='10.1.2.0/24', ports=(5432, 5432), protocol='tcp')
    >>> Network(ports={8080: 80}).published
    (Port(number=8080, inside=80, address='127.0.0.1', protocol='tcp'),)
    """

    ip4: Any = attrs.field(
        default=None, kw_only=True, converter=attrs.converters.optional(_one_or_more), validator=_addresses(4)
    )
    ip6: Any = attrs.field(
        default=None, kw_only=True, converter=attrs.converters.optional(_one_or_more), validator=_addresses(6)
    )
    dns: Addresses | None = attrs.field(
        default=None, kw_only=True, converter=attrs.converters.optional(_texts), validator=_check_dns
    )
    ports: Any = attrs.field(default=(), kw_only=True, converter=_ports)
    allow: Any = attrs.field(default=None, kw_only=True, converter=attrs.converters.optional(_rules))
    deny: Any = attrs.field(default=(), kw_only=True, converter=_rules)
    name: str | None = attrs.field(default=None, kw_only=True, validator=_check_name)
    bandwidth: int | None = attrs.field(default=None, kw_only=True, validator=_check_bandwidth)
    interface: str | None = attrs.field(default=None, kw_only=True, validator=_check_interface)
    gateway: Any = attrs.field(default=(), kw_only=True, converter=_gateways, validator=_check_gateway)

    def __attrs_post_init__(self) -> None:
        """Read rules and ports, so that a wrong one is an error here."""
        check_wire(self)
        for field, value, read in (
            ("allow", self.allow, lambda: self.rules),
            ("deny", self.deny, lambda: self.refused),
            ("ports", self.ports, lambda: self.published),
        ):
            if value is not None and not isinstance(value, tuple):
                words = "a mapping" if field == "ports" else "a list of rules, each a text"
                raise SpecError(f"network.{field}", value, words)
            found: tuple[object, ...] = read()
            if len(set(found)) < len(found):
                raise SpecError(f"network.{field}", value, "each once")
        hosts = [(port.address, port.number, port.protocol) for port in self.published if port.number]
        if len(set(hosts)) < len(hosts):
            raise SpecError("network.ports", self.ports, "each port of the host once")

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What `allow` says, in parts."""
        words = ("public",) if self.allow is None else self.allow
        return tuple(Rule.of(word, "network.allow") for word in words)

    @property
    def refused(self) -> tuple[Rule, ...]:
        """What `deny` says, in parts."""
        return tuple(Rule.of(word, "network.deny") for word in self.deny)

    @property
    def published(self) -> tuple[Port, ...]:
        """What `ports` says, in parts."""
        return tuple(Port.of(outside, inside) for outside, inside in self.ports)


@attrs.frozen(cache_hash=True)
class Joined:
    """The network of another jail: what `Jail` makes of ``net=other``. A spec alone does not say which jail that is.

    Attributes:
        network: What the other one asked for.
        reserved_ports: Whether ports below 1024 are open in it, by `Allow.reserved_ports` of the other one.
        reported: Whether it notes what it refuses, by `JailSpec.report_denials` of the other one.
    """

    network: Network
    reserved_ports: bool = False
    reported: bool = False


def read_net(instance: object, attribute: Any, value: Any) -> None:
    """Refuse what `Jail` does not take for ``net``."""
    # Not "in (False, True, 'host')": 0 and 1 compare equal to the bools.
    if not isinstance(value, bool | Network | Joined) and not (isinstance(value, str) and value == "host"):
        raise check.refuse(instance, attribute, value, 'False, True, "host", a Network or another Jail')
