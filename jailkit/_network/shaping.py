"""How fast a jail may send and receive: a bucket of tokens at each end of its wire. tc-tbf(8), nft(8).

A bucket holds back what an interface sends. What the jail sends leaves by an interface in its network namespace, which
is not the jail's; what it receives is sent by the host's end of a pair, where there is one. Where there is none, what
arrives too fast is dropped when it arrives, and the sender slows down.
"""

from __future__ import annotations

import errno

from jailkit._errors import UnsupportedError
from jailkit._network.netlink import Netlink, bucket
from jailkit._network.rules import brake

__all__ = ["slow_arrivals", "slow_sending"]

_LARGEST = 1 << 16
"""Bytes that the kernel may handle as one packet, before it is cut up for the wire or after it was put together."""


def slow_sending(words: Netlink, index: int, rate: int) -> None:
    """Bound what an interface sends, to `rate` bytes per second.

    At most a tenth of a second's worth, or 16 KiB, goes at once. What is larger is cut up by the kernel.

    Raises:
        UnsupportedError: The kernel has no such bucket.
    """
    size = max(rate // 10, 1 << 14)
    try:
        words.ask(bucket(index, rate, min(size, 2**30), min(size + max(rate // 5, 2 * _LARGEST), 2**31)))
    except FileNotFoundError as error:
        raise _missing("sch_tbf", "CONFIG_NET_SCH_TBF") from error


def slow_arrivals(words: Netlink, device: str, rate: int) -> None:
    """Bound what arrives by an interface, to `rate` bytes per second; a second's worth may come at once.

    Raises:
        UnsupportedError: The kernel's packet filters cannot count bytes by time.
    """
    try:
        words.transact(*brake(device, rate, _LARGEST))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
            raise
        raise _missing("nft_limit", "CONFIG_NFT_LIMIT") from error


def _missing(module: str, option: str) -> UnsupportedError:
    return UnsupportedError(
        "Network(bandwidth=...)",
        f"this kernel has no {module} ({option}), or may not load it",
        f"modprobe {module}, or no bandwidth",
    )
