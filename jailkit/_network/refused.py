"""What the packet filter of a jail has refused: the kernel keeps the list, in two sets that rules add to. nft(8)."""

from __future__ import annotations

import socket

from jailkit._network.netlink import Netlink, parts
from jailkit.process import Refused

__all__ = ["ECHO", "MOST", "NOTED", "PROTOCOLS", "SETS", "Seen"]

SETS = (("refused4", socket.AF_INET, 2, 16, 4), ("refused6", socket.AF_INET6, 10, 24, 16))
"""Name, family, NFPROTO, where the destination is in the packet, its bytes."""

MOST = 1024
"""Elements of a set; what is refused beyond them is refused all the same, and not noted."""

PROTOCOLS = {"tcp": 6, "udp": 17}
"""Those that a rule may name."""

NOTED = {**PROTOCOLS, "dccp": 33, "sctp": 132, "udplite": 136}
"""Those whose packets begin with two ports, and that a program needs no right to send."""

ECHO = {"refused4": (1, 8), "refused6": (58, 128)}
"""The same without ports: what ping(8) sends. Protocol and type, by the set; other ICMP is the kernel's own."""

_NAMES = {**{number: word for word, number in NOTED.items()}, **{number: "ping" for number, _ in ECHO.values()}}
_KEY, _EXPRESSION, _VALUE, _DATA, _PACKETS = 1, 7, 1, 2, 2  # of elements, expressions, data and counters


class Seen:
    """What a jail was refused so far, and how much of it was told already."""

    def __init__(self, packets: socket.socket, table: str) -> None:
        """Use a copy of a netlink socket of the jail's network."""
        self._words = Netlink(packets.dup())
        self._table = table
        self._told: dict[tuple[str, str, int], int] = {}

    def more(self) -> tuple[Refused, ...]:
        """Return what was refused since the last time, in the order of addresses."""
        new = []
        for name, family, _, _, size in SETS:
            for element in self._words.elements(self._table, name):
                found = dict(parts(element))
                key, count = _value(found), _packets(found)
                protocol = _NAMES[key[0]]
                to = (socket.inet_ntop(family, key[4 : 4 + size]), int.from_bytes(key[4 + size : 6 + size], "big"))
                more = count - self._told.get((protocol, *to), 0)
                self._told[protocol, *to] = count
                if more > 0:
                    new.append(Refused(protocol, *to, more))
        return tuple(sorted(new))

    def close(self) -> None:
        """Close the socket."""
        self._words.close()


def _value(found: dict[int, bytes]) -> bytes:
    return dict(parts(found[_KEY]))[_VALUE]


def _packets(found: dict[int, bytes]) -> int:
    counter = dict(parts(dict(parts(found[_EXPRESSION]))[_DATA]))
    return int.from_bytes(counter[_PACKETS], "big")
