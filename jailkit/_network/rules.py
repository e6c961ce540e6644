"""Packet filters, nftables: what a jail may send, on its own side and on that of the host. nft(8)."""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterable, Iterator

from jailkit._network.netlink import Pairs, chain, first_of, rule, table, table_set
from jailkit._network.refused import ECHO, MOST, NOTED, PROTOCOLS, SETS
from jailkit.plan import POD, Way
from jailkit.spec import Port

__all__ = ["TABLE", "as_the_first", "brake", "host_side", "jail_side", "senders"]

_Expression = tuple[str, Pairs]
_Expressions = tuple[_Expression, ...]

_PREROUTING, _INPUT, _FORWARD, _OUTPUT, _POSTROUTING = range(5)
_DSTNAT, _SRCNAT, _EARLY = -100, 100, -10
_ICMPV6 = 58
_REG, _REG_2 = 1, 2
_WORDS = 8  # NFT_REG32_00, the first of those of four bytes
_DROP, _ACCEPT = 0, 1
_GOTO = -4
_EQ, _NEQ = 0, 1
_ESTABLISHED = 2 | 4  # NF_CT_STATE_BIT(IP_CT_ESTABLISHED, IP_CT_RELATED)
_DNAT = 32  # IPS_DST_NAT
_PROHIBITED = 3  # NFT_REJECT_ICMPX_ADMIN_PROHIBITED
TABLE = "jailkit"
"""In the jail's network namespace, and how names of those on the host begin."""


def _value(data: bytes) -> dict[str, list[tuple[str, bytes]]]:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _compared(data: bytes, how: int = _EQ) -> _Expression:
    return "cmp", (("NFTA_CMP_SREG", _REG), ("NFTA_CMP_OP", how), ("NFTA_CMP_DATA", _value(data)))


def _meta(key: int, data: bytes, how: int = _EQ) -> _Expressions:
    return (("meta", (("NFTA_META_DREG", _REG), ("NFTA_META_KEY", key))), _compared(data, how))


def _name(key: int, device: str, how: int = _EQ) -> _Expressions:
    return _meta(key, device.encode().ljust(16, b"\0"), how)


_IIFNAME, _OIFNAME, _NFPROTO, _L4PROTO = 6, 7, 15, 16


def _payload(base: int, offset: int, size: int, register: int = _REG) -> _Expression:
    return "payload", (
        ("NFTA_PAYLOAD_DREG", register),
        ("NFTA_PAYLOAD_BASE", base),
        ("NFTA_PAYLOAD_OFFSET", offset),
        ("NFTA_PAYLOAD_LEN", size),
    )


def _masked(mask: bytes) -> _Expression:
    return "bitwise", (
        ("NFTA_BITWISE_SREG", _REG),
        ("NFTA_BITWISE_DREG", _REG),
        ("NFTA_BITWISE_LEN", len(mask)),
        ("NFTA_BITWISE_MASK", _value(mask)),
        ("NFTA_BITWISE_XOR", _value(bytes(len(mask)))),
    )


def _tracked(key: int, bits: int) -> _Expressions:
    """Match connections that have one of some bits of state (0) or status (2)."""
    load: _Expression = ("ct", (("NFTA_CT_DREG", _REG), ("NFTA_CT_KEY", key)))
    # In the order of the machine: numbers in registers are those of the kernel.
    return (load, _masked(struct.pack("=I", bits)), _compared(bytes(4), _NEQ))


def _address(network: str, *, source: bool = False) -> _Expressions:
    """Match packets to a network, or from it."""
    found = ipaddress.ip_network(network)
    four = found.version == 4
    proto = _meta(_NFPROTO, bytes([2 if four else 10]))  # NFPROTO_IPV4, NFPROTO_IPV6
    if found.prefixlen == 0:
        return proto
    offset = (12 if four else 8) + (0 if source else found.max_prefixlen // 8)
    load = _payload(1, offset, found.max_prefixlen // 8)
    mask = () if found.prefixlen == found.max_prefixlen else (_masked(found.netmask.packed),)
    return (*proto, load, *mask, _compared(found.network_address.packed))


def _ports(ports: tuple[int, int]) -> _Expressions:
    load = _payload(2, 2, 2)  # both TCP and UDP have the destination there
    if ports[0] == ports[1]:
        return (load, _compared(struct.pack(">H", ports[0])))
    first, last = (_value(struct.pack(">H", port)) for port in ports)
    between: Pairs = (
        ("NFTA_RANGE_SREG", _REG),
        ("NFTA_RANGE_OP", _EQ),
        ("NFTA_RANGE_FROM_DATA", first),
        ("NFTA_RANGE_TO_DATA", last),
    )
    return (load, ("range", between))


def _protocol(name: str) -> _Expressions:
    return _meta(_L4PROTO, bytes([PROTOCOLS[name]]))


def _verdict(code: int, to: str = "") -> _Expression:
    words: list[tuple[str, object]] = [("NFTA_VERDICT_CODE", code)]
    if to:
        words.append(("NFTA_VERDICT_CHAIN", to))
    return "immediate", (
        ("NFTA_IMMEDIATE_DREG", 0),
        ("NFTA_IMMEDIATE_DATA", {"attrs": [("NFTA_DATA_VERDICT", {"attrs": words})]}),
    )


# The kernel drops a message of ICMP about a connection that it is in the middle of making; a reset waits its turn.
_RESET: _Expression = ("reject", (("NFTA_REJECT_TYPE", 1), ("NFTA_REJECT_ICMP_CODE", 0)))
_REJECT: _Expression = ("reject", (("NFTA_REJECT_TYPE", 2), ("NFTA_REJECT_ICMP_CODE", _PROHIBITED)))
_FINE = _verdict(_ACCEPT)
_COUNTER: _Expression = ("counter", (("NFTA_COUNTER_BYTES", 0), ("NFTA_COUNTER_PACKETS", 0)))


def _neighbours() -> _Expressions:
    """Match neighbour discovery (133 to 136 of ICMPv6), without which no address of IPv6 is found."""
    limits = (("FROM", 133), ("TO", 136))
    data = [(f"NFTA_RANGE_{word}_DATA", _value(bytes([number]))) for word, number in limits]
    between: Pairs = (("NFTA_RANGE_SREG", _REG), ("NFTA_RANGE_OP", _EQ), *data)
    return (*_meta(_L4PROTO, bytes([_ICMPV6])), _payload(2, 0, 1), ("range", between))


def _policy(ways: Iterable[Way], refusal: _Expressions) -> Iterator[_Expressions]:
    """What a jail may send: the first rule that matches decides, and in the end everything is refused."""
    yield (*_tracked(0, _ESTABLISHED), _FINE)
    yield (*_neighbours(), _FINE)
    for way in ways:
        protocols = (way.protocol,) if way.protocol else tuple(PROTOCOLS) if way.ports else (None,)
        for protocol in protocols:
            yield (
                *_address(way.to),
                *(_protocol(protocol) if protocol else ()),
                *(_ports(way.ports) if way.ports else ()),
                *((_FINE,) if way.open else refusal),
            )
    yield refusal


@functools.lru_cache(maxsize=32)
def jail_side(ways: tuple[Way, ...], pod: tuple[str, ...] = (), *, noted: bool = False) -> tuple[bytes, ...]:
    """Return the table for the jail's own network namespace: a program whose packet is refused hears of it at once.

    To the networks of its pod, by the interface that leads there, a jail sends what it likes.
    With `noted`, what is refused is noted first.
    """
    return (
        table(TABLE, owned=False),
        chain(TABLE, "no"),
        chain(TABLE, "out", _OUTPUT),
        *(_notes() if noted else ()),
        rule(TABLE, "no", (*_protocol("tcp"), _RESET)),
        rule(TABLE, "no", (_REJECT,)),
        rule(TABLE, "out", (*_name(_OIFNAME, "lo"), _FINE)),
        *(rule(TABLE, "out", (*_name(_OIFNAME, POD), *_address(network), _FINE)) for network in pod),
        *(rule(TABLE, "out", expressions) for expressions in _policy(ways, (_verdict(_GOTO, "no"),))),
    )


def _notes() -> Iterator[bytes]:
    """Make the sets, and rules that add to them: protocol, destination and port, a register or four for each."""
    counter = {"attrs": [("NFTA_EXPR_NAME", _COUNTER[0]), ("NFTA_EXPR_DATA", {"attrs": list(_COUNTER[1])})]}
    for name, _, proto, offset, size in SETS:
        yield table_set(TABLE, name, 8 + size, MOST)
        last = _WORDS + 1 + size // 4
        port = _payload(2, 2, 2, last)
        none: _Expression = ("immediate", (("NFTA_IMMEDIATE_DREG", last), ("NFTA_IMMEDIATE_DATA", _value(bytes(4)))))
        key = (
            ("meta", (("NFTA_META_DREG", _WORDS), ("NFTA_META_KEY", _L4PROTO))),
            _payload(1, offset, size, _WORDS + 1),
        )
        where = (("NFTA_DYNSET_SET_NAME", name), ("NFTA_DYNSET_OP", 0), ("NFTA_DYNSET_SREG_KEY", _WORDS))
        added = ("dynset", (*where, ("NFTA_DYNSET_EXPR", counter)))
        family = _meta(_NFPROTO, bytes([proto]))
        for number in NOTED.values():
            yield rule(TABLE, "no", (*family, *_meta(_L4PROTO, bytes([number])), *key, port, added))
        number, kind = ECHO[name]
        echo = (*_meta(_L4PROTO, bytes([number])), _payload(2, 0, 1), _compared(bytes([kind])))
        yield rule(TABLE, "no", (*family, *echo, *key, none, added))


_NAME = "jk#####"
"""In place of the name of an interface, and as long as one: encoding takes longer than all else, and is done once."""


def host_side(
    name: str,
    ways: tuple[Way, ...],
    addresses: tuple[str, ...],
    ports: tuple[Port, ...],
    *,
    hidden: tuple[str, ...],
) -> list[bytes]:
    """Return the table of one jail for the host's network namespace; it ends with the socket that makes it.

    Args:
        name: The interface towards the jail, seven letters, which is in the name of the table too.
        ways: What the jail may send.
        addresses: The jail's, IPv4 first.
        ports: What is published, with the ports that they became.
        hidden: Those of the addresses that become one of the host's on the way out.
    """
    here, toward = f"{TABLE}-{name}", _name(_OIFNAME, name)
    messages = [*_for_any(ways), *(_about(one, _mine) for one in addresses), _no_other()]
    messages += [_about(one, _away) for one in hidden]
    messages = [message.replace(_NAME.encode(), name.encode()) for message in messages]
    if ports:  # a connection from the host's loopback is to be answered to the interface, and not to 127.0.0.1
        messages.append(rule(here, "from", (*toward, *_address("127.0.0.0/8", source=True), ("masq", ()))))
    for port in ports:
        four = next(one for one in addresses if ":" not in one)
        messages += [rule(here, hook, _published(port, four)) for hook in ("to", "own")]
    return messages


_STAND_INS = ("243.154.92.231", "f39a:5ce7:81d6:2b4f:43c8:e50f:9d17:b26a")
"""The same in place of addresses, one of each version: bytes that are nothing else in a message."""


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _about(address: str, encoded: Callable[[str], bytes]) -> bytes:
    """Return a rule about an address, which was encoded once for all of that version."""
    stand_in = _STAND_INS[":" in address]
    return encoded(stand_in).replace(_packed(stand_in), _packed(address))


@functools.lru_cache(maxsize=32)
def _for_any(ways: tuple[Way, ...]) -> tuple[bytes, ...]:
    here, from_jail, toward = f"{TABLE}-{_NAME}", _name(_IIFNAME, _NAME), _name(_OIFNAME, _NAME)
    # The host offers nothing: answers to what it has asked, neighbour discovery, and its name server if it is one.
    asked = [way for way in ways if way.open and way.ports == (53, 53)]
    own = [(*_tracked(0, _ESTABLISHED), _FINE), (*_neighbours(), _FINE)]
    own += [(*_address(way.to), *_protocol(word), *_ports((53, 53)), _FINE) for way in asked for word in PROTOCOLS]
    return (
        table(here, owned=True),
        chain(here, "way"),
        chain(here, "mine"),
        chain(here, "in", _INPUT, priority=_EARLY),
        chain(here, "through", _FORWARD, priority=_EARLY),
        chain(here, "to", _PREROUTING, kind="nat", priority=_DSTNAT),
        chain(here, "own", _OUTPUT, kind="nat", priority=_DSTNAT),
        chain(here, "from", _POSTROUTING, kind="nat", priority=_SRCNAT),
        *(rule(here, "way", expressions) for expressions in _policy(ways, (_verdict(_DROP),))),
        # Of IPv6 a program may send with any source (IPV6_FREEBIND): what is not the jail's would not be translated.
        rule(here, "through", (*from_jail, _verdict(_GOTO, "mine"))),
        # To the jail: answers, and what was sent to a port that is published.
        *(rule(here, "through", (*toward, *_tracked(*what), _FINE)) for what in ((0, _ESTABLISHED), (2, _DNAT))),
        rule(here, "through", (*toward, _verdict(_DROP))),
        *(rule(here, "in", (*from_jail, *one)) for one in (*own, (_verdict(_DROP),))),
    )


@functools.lru_cache(maxsize=2)
def _mine(address: str) -> bytes:
    return rule(f"{TABLE}-{_NAME}", "mine", (*_address(address, source=True), _verdict(_GOTO, "way")))


@functools.lru_cache(maxsize=1)
def _no_other() -> bytes:
    return rule(f"{TABLE}-{_NAME}", "mine", (_verdict(_DROP),))


@functools.lru_cache(maxsize=2)
def _away(address: str) -> bytes:
    away = (*_address(address, source=True), *_name(_OIFNAME, _NAME, _NEQ), ("masq", ()))
    return rule(f"{TABLE}-{_NAME}", "from", away)


def _loaded(*data: bytes) -> list[_Expression]:
    return [
        ("immediate", (("NFTA_IMMEDIATE_DREG", register), ("NFTA_IMMEDIATE_DATA", _value(text))))
        for register, text in zip((_REG, _REG_2), data, strict=False)
    ]


def _published(port: Port, to: str) -> _Expressions:
    loads = _loaded(socket.inet_aton(to), struct.pack(">H", port.inside))
    nat: Pairs = (
        ("NFTA_NAT_TYPE", 1),
        ("NFTA_NAT_FAMILY", 2),
        ("NFTA_NAT_REG_ADDR_MIN", _REG),
        ("NFTA_NAT_REG_PROTO_MIN", _REG_2),
    )
    where = (*_address(port.address), *_protocol(port.protocol), *_ports((port.number, port.number)))
    return (*where, *loads, ("nat", nat))


def senders(device: str, own: tuple[str, ...], *, moved: bool) -> tuple[bytes, ...]:
    """Return rules for the jail's own network namespace: by a device packets leave with one of its addresses alone.

    Args:
        device: The way out.
        own: The jail's addresses.
        moved: Whether it is a machine of that network, with a link-local address by which it reaches neighbours.
    """
    first, last = _around(device, moved=moved)
    return (*first, *(_about(one, _fine) for one in own), *last)


@functools.lru_cache(maxsize=8)
def _around(device: str, *, moved: bool) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    local = rule(TABLE, "mine", (*_address("fe80::/10", source=True), _FINE))
    first = (
        chain(TABLE, "mine", _OUTPUT, priority=_EARLY),
        rule(TABLE, "mine", (*_name(_OIFNAME, device, _NEQ), _FINE)),
        rule(TABLE, "mine", (*_neighbours(), _FINE)),
    )
    return first, (*((local,) if moved else ()), rule(TABLE, "mine", (_verdict(_GOTO, "no"),)))


@functools.lru_cache(maxsize=2)
def _fine(address: str) -> bytes:
    return rule(TABLE, "mine", (*_address(address, source=True), _FINE))


def as_the_first(device: str, own: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return the same for who carries a single address of each version: the others become that on the way out."""
    messages = [chain(TABLE, "from", _POSTROUTING, kind="nat", priority=_SRCNAT)]
    for address in own:
        six, first = ":" in address, first_of(own, address)
        nat: Pairs = (("NFTA_NAT_TYPE", 0), ("NFTA_NAT_FAMILY", 10 if six else 2), ("NFTA_NAT_REG_ADDR_MIN", _REG))
        data = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, first)
        words = (*_name(_OIFNAME, device), *_address(address, source=True), *_loaded(data), ("nat", nat))
        messages += [rule(TABLE, "from", words)] * (address != first)
    return tuple(messages)


def brake(device: str, rate: int, burst: int) -> tuple[bytes, ...]:
    """Return a table for the jail's own network namespace: what arrives faster is dropped, and sent again later.

    Args:
        device: By which it arrives.
        rate: Bytes per second. What may arrive at once, after a quiet time, is what a second lets through.
        burst: Bytes on top of that.
    """
    here = f"{TABLE}-rate"
    limit: Pairs = (
        ("NFTA_LIMIT_RATE", rate),
        ("NFTA_LIMIT_UNIT", 1),
        ("NFTA_LIMIT_BURST", burst),
        ("NFTA_LIMIT_TYPE", 1),  # NFT_LIMIT_PKT_BYTES
        ("NFTA_LIMIT_FLAGS", 1),  # NFT_LIMIT_F_INV: matches what is above
    )
    return (
        table(here, owned=False),
        chain(here, "in", _INPUT, priority=_EARLY),
        rule(here, "in", (*_name(_IIFNAME, device), ("limit", limit), _verdict(_DROP))),
    )
