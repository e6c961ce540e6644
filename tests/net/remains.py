"""What the networks of jails have left on the host of a test bed."""

from __future__ import annotations

import time

from tests.facts import PYTHON
from tests.net.bed import Bed
from tests.patience import patient

__all__ = ["gone", "left"]

TABLES = """
import socket, struct
with socket.socket(16, socket.SOCK_RAW, 12) as sock:
    # NFT_MSG_GETTABLE of every family; the first attribute of an answer is the name of a table.
    sock.send(struct.pack("=IHHIIBBH", 20, 10 << 8 | 1, 0x301, 1, 0, 0, 0, 0))
    data = sock.recv(1 << 16)
    while len(data) >= 20 and struct.unpack_from("=H", data, 4)[0] == 10 << 8:
        size, name = struct.unpack_from("=I", data)[0], struct.unpack_from("=H", data, 20)[0]
        print(data[24:20 + name].rstrip(b"\\0").decode())
        data = data[size:]
"""


def left(world: Bed) -> list[str]:
    """Return what there is on the host that a jail's network is made of."""
    words = "ip -o link | cut -d: -f2; ip route | grep jk; ip -6 route | grep jk; ps -eo args | grep '^[^ ]*pasta'"
    script = f"{words}; {PYTHON} -IS -c '{TABLES}'"
    return [
        line
        for line in world.sh(f"({script}) || true").split("\n")
        if line and not line.startswith((" lo", " eth0", " lan0"))
    ]


def gone(world: Bed) -> list[str]:
    """The same, when the kernel has had time to take away what nobody holds any more."""
    deadline = time.monotonic() + patient(20)
    while (found := left(world)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
