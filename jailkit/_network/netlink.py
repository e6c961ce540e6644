"""Words with the kernel about interfaces and packet filters: netlink(7), in the messages of pyroute2.

The sockets are plain ones, because they come from other network namespaces, and because a set of rules has to be
one transaction: pyroute2's own sockets have neither. The only module that imports pyroute2; it is imported when a
network is made.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import (
    nft_chain_msg,
    nft_rule_msg,
    nft_set_elem_list_msg,
    nft_set_msg,
    nft_table_msg,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg

__all__ = [
    "FILTER",
    "ROUTE",
    "Netlink",
    "Pairs",
    "address",
    "bucket",
    "chain",
    "first_of",
    "link",
    "parts",
    "question",
    "route",
    "rule",
    "table",
    "table_set",
]

Pairs = Sequence[tuple[str, Any]]
"""Attributes of a message: names and values."""

ROUTE, FILTER = 0, 12  # NETLINK_ROUTE, NETLINK_NETFILTER
_SECONDS = 10.0
_REQUEST, _ACK, _EXCL, _CREATE, _APPEND = 1, 4, 0x200, 0x400, 0x800
_MAKE = _REQUEST | _ACK | _CREATE | _EXCL
_NLMSG_ERROR, _NLMSG_DONE, _DUMP = 2, 3, 0x300
_HEAD = struct.Struct("=IHHII")  # struct nlmsghdr
_TABLES = 10 << 8  # NFNL_SUBSYS_NFTABLES
_BEGIN, _END = 0x10, 0x11
_INET = 1  # NFPROTO_INET: both versions of IP


class Netlink:
    """One socket. What is asked for is done, or an `OSError` says why not."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a netlink socket, of whatever network namespace."""
        self.sock = sock
        sock.settimeout(_SECONDS)

    @classmethod
    def here(cls, protocol: int) -> Netlink:
        """Open one in the network namespace of this thread."""
        return cls(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol))

    def ask(self, *messages: bytes) -> None:
        """Have things done one after another, and stop at the first that cannot be."""
        for message in messages:
            self.sock.send(message)
            self._hear(1)

    def transact(self, *messages: bytes) -> None:
        """Have all of some messages about packet filters done, or none."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.sock.send(b"".join((_bracket(_BEGIN), *messages, _bracket(_END))))
        self._hear(len(messages))

    def has(self, name: str) -> int:
        """Return the index of an interface, or 0."""
        self.sock.send(question(name))
        answer = self.sock.recv(1 << 16)
        return 0 if _HEAD.unpack_from(answer)[1] == _NLMSG_ERROR else int(struct.unpack_from("=i", answer, 20)[0])

    def elements(self, of: str, name: str) -> Iterator[bytes]:
        """Return the elements of a set, each as its attributes are."""
        asked = (("NFTA_SET_ELEM_LIST_TABLE", of), ("NFTA_SET_ELEM_LIST_SET", name))
        self.sock.send(
            _encoded(nft_set_elem_list_msg(), {"nfgen_family": _INET}, asked, _TABLES | 13, _REQUEST | _DUMP)
        )
        while True:
            data = self.sock.recv(1 << 16)
            while len(data) >= 20:
                size, kind = _HEAD.unpack_from(data)[:2]
                if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    if error := -struct.unpack_from("=i", data, 16)[0]:
                        raise OSError(error, os.strerror(error))
                    return
                listed = (value for number, value in parts(data[20:size]) if number == 3)  # NFTA_SET_ELEM_LIST_ELEMENTS
                yield from (value for one in listed for _, value in parts(one))
                data = data[size + 3 & ~3 :]

    def _hear(self, answers: int) -> None:
        while answers > 0:
            data = self.sock.recv(1 << 16)
            while len(data) >= 20:
                size, kind = _HEAD.unpack_from(data)[:2]
                error = -struct.unpack_from("=i", data, 16)[0]
                if kind == _NLMSG_ERROR:
                    if error:
                        raise OSError(error, os.strerror(error))
                    answers -= 1
                data = data[size + 3 & ~3 :]

    def close(self) -> None:
        """Close it: tables that it owns go with it."""
        self.sock.close()


def parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take attributes apart, into their numbers and values."""
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4:
            return
        yield kind & 0x3FFF, data[4:size]
        data = data[size + 3 & ~3 :]


def _encoded(message: Any, fields: dict[str, Any], pairs: Pairs, kind: int, flags: int) -> bytes:
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(pairs)
    message["header"]["type"], message["header"]["flags"], message["header"]["sequence_number"] = kind, flags, 1
    message.encode()
    return bytes(message.data)


# --- interfaces -------------------------------------------------------------------------------------------------


def question(name: str) -> bytes:
    """Ask for the interface of a name."""
    return _encoded(ifinfmsg(), {}, (("IFLA_IFNAME", name),), 18, _REQUEST)


def link(pairs: Pairs, *, index: int = 0, make: bool = False, remove: bool = False, up: bool = False) -> bytes:
    """Make, change or remove an interface."""
    fields = {"index": index, "flags": 1 if up else 0, "change": 1 if up else 0}
    return _encoded(ifinfmsg(), fields, pairs, 17 if remove else 16, _MAKE if make else _REQUEST | _ACK)


def first_of(own: Sequence[str], other: str) -> str:
    """Return the first of some addresses that is of the version of another one: what a jail's connections come from."""
    return next(one for one in own if (":" in one) == (":" in other))


_NODAD, _NOPREFIXROUTE = 0x2, 0x200


def address(index: int, text: str, length: int) -> bytes:
    """Give an interface an address, at once: nobody else can have it, so nobody is asked (IFA_F_NODAD).

    Of IPv6, a route to its network is the caller's to make.
    """
    six = ":" in text
    fields = {"family": socket.AF_INET6 if six else socket.AF_INET, "prefixlen": length, "index": index}
    pairs: list[tuple[str, Any]] = [("IFA_ADDRESS", text), ("IFA_LOCAL", text)]
    pairs += [("IFA_FLAGS", _NODAD | _NOPREFIXROUTE)] * six
    return _encoded(ifaddrmsg(), fields, pairs, 20, _MAKE)


def route(index: int, to: str = "", via: str = "", *, source: str = "", mtu: int = 0) -> bytes:
    """Make a route to an address or a network, or, with `via` alone, to everywhere.

    Args:
        index: Of the interface that it leads out of.
        to: Where it leads.
        via: The next hop, if there is one.
        source: The address that packets have whose sender has not chosen one.
        mtu: Bound on packets, in bytes.
    """
    family = socket.AF_INET6 if ":" in (to or via) else socket.AF_INET
    # RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_LINK or _UNIVERSE, RTN_UNICAST
    fields = {"family": family, "table": 254, "proto": 4, "scope": 0 if via else 253, "type": 1}
    to, _, length = to.partition("/")
    fields["dst_len"] = int(length or (32 if family == socket.AF_INET else 128)) if to else 0
    pairs: list[tuple[str, Any]] = [("RTA_OIF", index)]
    named = (("RTA_DST", to), ("RTA_GATEWAY", via), ("RTA_PREFSRC", source))
    pairs += [(name, value) for name, value in named if value]
    pairs += [("RTA_METRICS", {"attrs": [("RTAX_MTU", mtu)]})] * bool(mtu)
    return _encoded(rtmsg(), fields, pairs, 24, _MAKE)


def bucket(index: int, rate: int, size: int, queue: int) -> bytes:
    """Have what an interface sends wait for its turn: tc-tbf(8).

    Args:
        index: Of the interface.
        rate: Bytes per second.
        size: Bytes that may be sent at once, after a time in which nothing was.
        queue: Bytes that may wait; what comes on top is dropped.
    """
    # 64 ns each (PSCHED_SHIFT); the kernel keeps four seconds of them at the most, and no number that has more bits.
    ticks = min(size * 10**9 // rate >> 6, 2**32 - 1)
    words = {"rate": rate, "rate___reserved": 1, "limit": queue, "buffer": ticks}  # 1: frames of Ethernet, no table
    pairs = (("TCA_KIND", "tbf"), ("TCA_OPTIONS", {"attrs": [("TCA_TBF_PARMS", words)]}))
    return _encoded(tcmsg(), {"index": index, "handle": 1 << 16, "parent": 0xFFFFFFFF}, pairs, 36, _MAKE)


# --- packet filters ---------------------------------------------------------------------------------------------


def _bracket(kind: int) -> bytes:
    return _encoded(nfgen_msg(), {"res_id": 10}, (), kind, _REQUEST)


def table(name: str, *, owned: bool) -> bytes:
    """Make a table; an owned one ends with the socket that made it (NFT_TABLE_F_OWNER, Linux 5.12)."""
    pairs = (("NFTA_TABLE_NAME", name), ("NFTA_TABLE_FLAGS", 2 if owned else 0))
    return _encoded(nft_table_msg(), {"nfgen_family": _INET}, pairs, _TABLES, _MAKE)


def chain(of: str, name: str, hook: int | None = None, *, kind: str = "filter", priority: int = 0) -> bytes:
    """Make a chain; one with a hook sees every packet that comes there, and lets through what no rule refuses."""
    pairs: list[tuple[str, Any]] = [("NFTA_CHAIN_TABLE", of), ("NFTA_CHAIN_NAME", name)]
    if hook is not None:
        where = {"attrs": [("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", priority)]}
        pairs += [("NFTA_CHAIN_HOOK", where), ("NFTA_CHAIN_TYPE", kind), ("NFTA_CHAIN_POLICY", 1)]
    return _encoded(nft_chain_msg(), {"nfgen_family": _INET}, pairs, _TABLES | 3, _MAKE)


def table_set(of: str, name: str, size: int, most: int) -> bytes:
    """Make a set that rules may add to (NFT_SET_EVAL): how many bytes a key has, and how many keys there may be."""
    bound = {"attrs": [("NFTA_SET_DESC_SIZE", most)]}
    pairs = (
        *(("NFTA_SET_TABLE", of), ("NFTA_SET_NAME", name), ("NFTA_SET_FLAGS", {"NFT_SET_EVAL"}), ("NFTA_SET_ID", 1)),
        *(("NFTA_SET_KEY_TYPE", 0), ("NFTA_SET_KEY_LEN", size), ("NFTA_SET_DESC", bound)),
    )
    return _encoded(nft_set_msg(), {"nfgen_family": _INET}, pairs, _TABLES | 9, _MAKE)


def rule(of: str, name: str, expressions: Sequence[tuple[str, Pairs]]) -> bytes:
    """Put a rule at the end of a chain. An expression is its name and its attributes."""
    listed = [
        {"attrs": [("NFTA_EXPR_NAME", word), ("NFTA_EXPR_DATA", {"attrs": list(pairs)})]} for word, pairs in expressions
    ]
    pairs = (("NFTA_RULE_TABLE", of), ("NFTA_RULE_CHAIN", name), ("NFTA_RULE_EXPRESSIONS", listed))
    flags = _REQUEST | _ACK | _CREATE | _APPEND
    return _encoded(nft_rule_msg(), {"nfgen_family": _INET}, pairs, _TABLES | 6, flags)
