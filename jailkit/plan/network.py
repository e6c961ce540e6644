"""A way out: which packets of a jail go where, decided before there is a network. docs/decisions/0012-network.md."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from jailkit._errors import UnsupportedError
from jailkit.plan.facts import Host, Uplink
from jailkit.plan.protection import Protection
from jailkit.plan.steps import Step, step
from jailkit.spec import JailSpec, Joined, Network, Port, Rule

__all__ = [
    "LOOPBACK_NAMES",
    "POD",
    "POD_ADDRESSES",
    "NetworkPlan",
    "PodPlan",
    "Way",
    "enter_network",
    "network_plan",
    "network_protection",
    "open_names",
    "resolvers",
    "rule_names",
]

_CLOSED = (
    "169.254.0.0/16",  # link-local: the metadata services of most clouds
    "100.100.100.200/32",  # metadata of Alibaba Cloud
    "168.63.129.16/32",  # the wire server of Azure
    "192.0.0.0/24",  # special purposes; 192.0.0.192 is metadata of Oracle Cloud
    "fe80::/10",
    "fd00:ec2::/32",  # metadata and name server of AWS
)
"""In no mode to be reached, unless an `allow` names something in it."""

_PRIVATE = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *("198.18.0.0/15", "224.0.0.0/3"),
)
"""What ``public`` is not, of IPv4."""

_PUBLIC6 = "2000::/3"
"""What ``public`` is of IPv6: all that is shared out to networks so far."""


@attrs.frozen
class Way:
    """One rule in numbers: packets to here are let through, or refused.

    Attributes:
        open: Whether they are let through.
        to: A network in CIDR notation.
        ports: First and last port, or None for all.
        protocol: ``tcp``, ``udp`` or None: with ports both, without them every protocol.
    """

    open: bool
    to: str
    ports: tuple[int, int] | None = None
    protocol: str | None = None


POD = "pod0"
"""The interface of a jail towards its pod."""

POD_ADDRESSES = 256
"""How many of a pool are for pods, the last of it; all pods use the same, as nothing of them is seen outside."""

_POD6 = "fd6a:6169:6c6b:ffff::/64"


@attrs.frozen(kw_only=True)
class PodPlan:
    """A jail's place among others that it sees by name.

    Attributes:
        name: Of the pod.
        hostname: What the others call the jail.
        networks: Of the pod, by IPv4 and, where the host has it, by IPv6.
        file: What is bound over the jail's ``/etc/hosts``, and written by the host program.
        names: How that begins.
    """

    name: str
    hostname: str
    networks: tuple[str, ...]
    file: str
    names: str


@attrs.frozen(kw_only=True)
class NetworkPlan:
    """A network that is made for one jail before it starts.

    Attributes:
        means: ``veth`` (a pair of interfaces, NAT by the kernel), ``pasta`` (a process of the caller's) or ``moved``
            (an interface of the host).
        ways: Rules, the first that matches decides; what none matches is refused.
        pool: The private IPv4 network that addresses are taken from.
        ip4: Addresses asked for, none for no IPv4, or None for one of the pool.
        ip6: The same for IPv6.
        way6: Whether the jail gets a way out by IPv6: without one, programs use IPv4 at once.
        own: Addresses of the host: what is published on 0.0.0.0 is published on these and on 127.0.0.1.
        ports: What is published.
        reserved_ports: Whether every program may listen on ports below 1024.
        pasta: Where that program is.
        pod: The place in a pod, or None.
        bandwidth: Bytes per second in each direction, or None.
        interface: The one that is moved.
        lengths: Of the networks of `ip4` and then `ip6`, where they are named.
        gateways: Those that were named; of veth, packets of these versions of IP are not translated.
        reported: Whether what is refused is noted, to be told of.
    """

    means: str
    ways: tuple[Way, ...]
    pool: str
    ip4: tuple[str, ...] | None
    ip6: tuple[str, ...] | None
    way6: bool
    own: tuple[str, ...]
    ports: tuple[Port, ...]
    reserved_ports: bool
    pasta: str
    pod: PodPlan | None = None
    bandwidth: int | None = None
    interface: str = ""
    lengths: tuple[int, ...] = ()
    gateways: tuple[str, ...] = ()
    reported: bool = False


def network_plan(spec: JailSpec, host: Host) -> NetworkPlan | None:
    """Decide the network of a jail; None for one without a way out.

    Raises:
        UnsupportedError: This host lacks something for it, or a name of a rule has no address that may be opened.
    """
    wanted, uplink = spec.network, host.uplink
    if wanted is None:
        return None
    if uplink is None:
        raise UnsupportedError(_asked(spec), "nobody has looked for a way out of this host", "let Jail look")
    _refuse_what_cannot_be(spec, uplink)
    return NetworkPlan(
        means=uplink.means,
        ways=_ways(wanted, uplink),
        pool=uplink.pool,
        ip4=_bare(wanted.ip4),
        # Without a way out, pasta has no use for an address of IPv6, and programs would try it first.
        ip6=_bare(wanted.ip6 if uplink.has6 and (uplink.way6 or uplink.means != "pasta") else wanted.ip6 or ()),
        way6=any(":" in one for one in wanted.gateway) if wanted.interface else uplink.way6,
        own=uplink.own,
        ports=wanted.published,
        reserved_ports=spec.allow.reserved_ports,
        pasta=uplink.pasta,
        pod=_pod_plan(spec, wanted, uplink),
        bandwidth=wanted.bandwidth,
        interface=wanted.interface or "",
        lengths=tuple(_length(one) for one in (*(wanted.ip4 or ()), *(wanted.ip6 or ()))),
        gateways=wanted.gateway,
        reported=spec.report_denials,
    )


def _refuse_what_cannot_be(spec: JailSpec, uplink: Uplink) -> None:
    if spec.allow.raw_sockets:
        raise UnsupportedError(
            f"raw_sockets with {_asked(spec)}",
            "the network is the host's, not the jail's, and packets made by hand would go round its rules",
            "use net=False; ping needs no raw socket here",
        )
    for missing, remedy in (*uplink.missing, *_missing_for_addresses(spec.network or Network(), uplink)):
        raise UnsupportedError(_asked(spec), missing, remedy)
    if isinstance(spec.net, Joined) and spec.report_denials and not spec.net.reported:
        raise UnsupportedError(
            "report_denials in the network of another jail",
            "it is the network that notes what it refuses, and the jail it was made for did not ask for it",
            "give the other jail report_denials=True",
        )
    if isinstance(spec.net, Joined) and spec.allow.reserved_ports and not spec.net.reserved_ports:
        raise UnsupportedError(
            "reserved_ports in the network of another jail",
            "it is the network that has them open or closed, and the jail it was made for did not ask for them",
            'give the other jail allow=["reserved_ports"]',
        )


def _missing_for_addresses(wanted: Network, uplink: Uplink) -> Iterator[tuple[str, str]]:
    if wanted.ip6 and not uplink.has6:
        yield "ip6 names an address, and this kernel has no IPv6", "boot without ipv6.disable=1, or no ip6"
    if wanted.ip4 == () and not wanted.interface and not uplink.way6 and (wanted.rules or uplink.means == "pasta"):
        words = "ip4=[] leaves IPv6 alone, by which this host has no way out, or hands on no packets"
        yield words, "sysctl net.ipv6.conf.all.forwarding=1 and a default route, or an address of IPv4"
    taken = {*(_bare(wanted.ip4) or ()), *(_bare(wanted.ip6) or ())}.intersection(uplink.own)
    if uplink.means == "veth" and taken:
        yield f"{', '.join(sorted(taken))} is an address of this host", "give the jail another one"


def _pod_plan(spec: JailSpec, wanted: Network, uplink: Uplink) -> PodPlan | None:
    if wanted.name is None:
        return None
    last = ipaddress.IPv4Network(uplink.pool)[-POD_ADDRESSES]
    return PodPlan(
        name=wanted.name,
        hostname=spec.hostname,
        networks=(f"{last}/24", _POD6) if uplink.has6 else (f"{last}/24",),
        file=uplink.names_file,
        names=LOOPBACK_NAMES + rule_names(spec, uplink),
    )


def _bare(addresses: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return addresses without lengths, each in the one way to write it: it is claimed by that."""
    return None if addresses is None else tuple(str(ipaddress.ip_interface(one).ip) for one in addresses)


def _length(address: str) -> int:
    return int(ipaddress.ip_interface(address).network.prefixlen)


def _asked(spec: JailSpec) -> str:
    return "net=True" if spec.net is True else "net=other" if isinstance(spec.net, Joined) else "net=Network(...)"


def resolvers(wanted: Network, uplink: Uplink) -> tuple[str, ...]:
    """Name the servers that the jail may ask.

    Raises:
        UnsupportedError: Those of the host are out of reach for a jail.
    """
    if wanted.dns is not None:
        return wanted.dns
    if not any(rule.to == "public" for rule in wanted.rules):
        return ()  # names of rules are in /etc/hosts; a name server would be a way to tell things to anybody
    usable = tuple(one for one in uplink.resolvers if (wanted.ip6 if ":" in one else wanted.ip4) != ())
    found = uplink.resolvers_out_of_reach and f"listen on its own loopback: {uplink.resolvers_out_of_reach}"
    if uplink.resolvers and not usable:
        found = f"have addresses of a version of IP that the jail has not: {', '.join(uplink.resolvers)}"
    if found:
        raise UnsupportedError(
            "name resolution with a network",
            f"the host's name servers {found}",
            'name others, as in net=Network(dns=["192.0.2.53"]), or none: dns=[]',
        )
    return usable


LOOPBACK_NAMES = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
"""How every jail's hosts(5) begins."""


def rule_names(spec: JailSpec, uplink: Uplink) -> str:
    """Return lines of hosts(5) for names that rules open, with the addresses they have for the jail's whole life."""
    wanted = spec.network
    opened = {rule.to for rule in wanted.rules if rule.is_name} if wanted else set()
    return "".join(f"{address} {name}\n" for name, found in uplink.names if name in opened for address in found)


# --- rules ------------------------------------------------------------------------------------------------------


def _ways(wanted: Network, uplink: Uplink) -> tuple[Way, ...]:
    servers = (Way(True, _single(address), (53, 53)) for address in resolvers(wanted, uplink))
    refused = (one for rule in wanted.refused for one in _of_rule(rule, wanted, uplink, opens=False))
    opened = [one for rule in wanted.rules if rule.to != "public" for one in _of_rule(rule, wanted, uplink, opens=True)]
    closed = (*_CLOSED, *map(_single, uplink.own))
    return (
        *servers,
        *refused,
        *(one for one in opened if _lies_in(one.to, closed)),
        *(Way(False, network) for network in closed),
        *(one for one in opened if not _lies_in(one.to, closed)),
        *_public([rule for rule in wanted.rules if rule.to == "public"], opens=True),
    )


def _of_rule(rule: Rule, wanted: Network, uplink: Uplink, *, opens: bool) -> Iterable[Way]:
    if rule.to == "public":
        return _public([rule], opens=False)
    if not rule.is_name:
        return [Way(opens, rule.to, rule.ports, rule.protocol)]
    addresses = dict(uplink.names).get(rule.to, ())
    if not addresses:
        raise UnsupportedError(f"the rule for {rule.to}", "the host finds no address of that name", "name an address")
    for address in addresses if opens else ():
        _refuse_rebinding(rule, address, wanted, uplink)
    return [Way(opens, _single(address), rule.ports, rule.protocol) for address in addresses]


def _refuse_rebinding(rule: Rule, address: str, wanted: Network, uplink: Uplink) -> None:
    """Whoever answers for a name must not open what is private with it."""
    closed = _lies_in(_single(address), (*_CLOSED, *map(_single, uplink.own)))
    given = [other.to for other in wanted.rules if not other.is_name and other.to != "public"]
    if closed:  # opened by its own address, or by a network within the closed one
        given = [one for one in given if _lies_in(one, (*_CLOSED, *map(_single, uplink.own)))]
    public = _lies_in(_single(address), ("0.0.0.0/0", _PUBLIC6)) and not _lies_in(_single(address), _PRIVATE)
    if (closed or not public) and not _lies_in(_single(address), given):
        raise UnsupportedError(
            f"the rule for {rule.to}",
            f"the name has the address {address}, which is private, link-local or the host's own",
            f"if that is right, name the address as well: allow=[..., {address!r}]",
        )


def _public(rules: Iterable[Rule], *, opens: bool) -> Iterator[Way]:
    rules = list(rules)
    if rules and opens:
        yield from (Way(False, network) for network in _PRIVATE)
    for rule, network in itertools.product(rules, ("0.0.0.0/0", _PUBLIC6)):
        yield Way(opens, network, rule.ports, rule.protocol)


def _single(address: str) -> str:
    return str(ipaddress.ip_network(address))


def _lies_in(network: str, others: Iterable[str]) -> bool:
    inner: Any = ipaddress.ip_network(network)
    return any(inner.version == outer.version and inner.subnet_of(outer) for outer in map(ipaddress.ip_network, others))


# --- steps and words --------------------------------------------------------------------------------------------


def open_names(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Take hold of the file that says who is in the jail's pod."""
    if spec.network is None or spec.network.name is None or host.uplink is None or spec.writable == "yes":
        return
    why = "the names of jails in the same pod, which the host program writes down"
    attributes = ("MOUNT_ATTR_RDONLY", "MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NODEV")
    yield step("open_tree", why, slot="net:hosts", path=host.uplink.names_file, flags=("OPEN_TREE_CLONE",))
    yield step("setattr", "for reading", slot="net:hosts", value=attributes)


def enter_network(plan: NetworkPlan | None) -> Iterator[Step]:
    """Enter, before PID 1 exists, the network that the host program has made."""
    if plan is None:
        return
    why = "the jail's network, which belongs to the host: no program of the jail can change it"
    if plan.means == "pasta":
        yield step("given", "the users that own the network", slot="net.users")
        yield step("setns", why, at="net.users", flags=("CLONE_NEWUSER",))
    yield step("given", "the network that the host program has made", slot="net")
    yield step("setns", why, at="net", flags=("CLONE_NEWNET",))


def network_protection(spec: JailSpec, plan: NetworkPlan | None) -> Protection | None:
    """Say what the network of a jail with a way out keeps apart; None for other jails."""
    if plan is None or spec.network is None:
        return None
    names = [_in_words(rule) for rule in spec.network.rules]
    nat = "" if plan.gateways else " and NAT"
    moved = f"the interface {plan.interface}, the host's before and after"
    by = {"veth": f"a pair of interfaces{nat}", "pasta": "pasta, as the caller", "moved": moved}[plan.means]
    found = f"a network namespace of its own; out by {by}: {', '.join(names) or 'nothing'}{_details(spec.network)}"
    if isinstance(spec.net, Joined):
        found = f"the network namespace of another jail, shared with it; {found.partition('; ')[2]}"
    if plan.pod:
        found += f"; to and from the jails of {plan.pod.name!r}: everything"
    six = "" if plan.way6 else "; no way out by IPv6"
    speed = f"; at most {plan.bandwidth} bytes per second each way" if plan.bandwidth else ""
    return Protection("network", "enforced", f"{found}; closed: the host, link-local, metadata of clouds{six}{speed}")


def _in_words(rule: Rule) -> str:
    """Write a rule as it may be given."""
    ports = "" if rule.ports is None else ":" + "-".join(map(str, dict.fromkeys(rule.ports)))
    to = f"[{rule.to.replace('/', ']/', 1)}" if ":" in rule.to and ports else rule.to
    return f"{to}{ports}" + (f"/{rule.protocol}" if rule.protocol else "")


def _details(wanted: Network) -> str:
    """Say what was asked for beside `allow`."""
    refused = ", ".join(map(_in_words, wanted.refused))
    servers = ", ".join(wanted.dns or ()) or "none"
    own = ", ".join((*(wanted.ip4 or ()), *(wanted.ip6 or ())))
    ports = ", ".join(f"{one.address}:{one.number} to {one.inside}/{one.protocol}" for one in wanted.published)
    return (
        (f", but not {refused}" if refused else "")
        + (f"; addresses: {own}" if own else "")
        + ("" if wanted.dns is None else f"; name servers: {servers}")
        + (f"; published: {ports}" if ports else "")
    )
