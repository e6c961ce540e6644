"""An interface of the host that is a jail's for a while, and comes back. rtnetlink(7), network_namespaces(7).

When a network namespace ends, the kernel destroys what is virtual in it, and gives what is physical to the namespace
that the machine booted with. So nobody lets it end before the interface is out: this program holds it by a socket, and
so does a shell in the background, which brings the interface back when this program is gone. Both look for it by its
name in the jail's namespace, where nobody but the host makes interfaces: what was not moved is not touched.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import sys
import warnings
from collections.abc import Iterator

from jailkit._janitor import keeper
from jailkit._network.netlink import ROUTE, Netlink, address, first_of, link, question, route
from jailkit._network.space import Space
from jailkit.plan import NetworkPlan

__all__ = ["Moved"]

_OTHER_NAME = "moved%d"
"""The kernel puts the first number there that is free."""

# A line means that it is back already; the end of the file without one, that the host program is gone.
_SCRIPT = """
read -r line <&3 && exit
exec "$@"
"""

# -I -S: nothing of the caller's is read. In: a socket in the jail's namespace, the question for the interface, and
# requests of which the first that works is enough; all made by the host program: here only a number is put in.
_BACK = """
import socket, struct, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.settimeout(10)
def ask(message):
    sock.send(message)
    answer = sock.recv(1 << 16)
    return answer, struct.unpack_from("=H", answer, 4)[0] == 2 and struct.unpack_from("=i", answer, 16)[0]
question, *requests = map(bytes.fromhex, sys.argv[2:])
answer, error = ask(question)
for request in [] if error else requests:
    if ask(request[:20] + answer[20:24] + request[24:])[1] == 0:
        break
"""


def _networks6(own: tuple[tuple[str, int], ...]) -> Iterator[tuple[str, str]]:
    """Name each network of IPv6, and the first address in it: of several the kernel would take any."""
    found: dict[str, str] = {}
    for text, length in own:
        if ":" in text:
            found.setdefault(str(ipaddress.ip_interface(f"{text}/{length}").network), text)
    yield from found.items()


class Moved:
    """The interface while it is the jail's."""

    def __init__(self, plan: NetworkPlan) -> None:
        """Move nothing yet."""
        self._plan = plan
        self._words: Netlink | None = None
        self._host = self._pipe = -1

    def furnish(self, space: Space) -> tuple[int, tuple[str, ...]]:
        """Move it, with its addresses and routes; return its number in the jail's namespace, and the addresses.

        Raises:
            OSError: A step failed. `close` brings back what was moved.
        """
        name = self._plan.interface
        self._host = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._words = Netlink(space.route.sock.dup())
        self._keep()
        host = Netlink.here(ROUTE)
        try:
            index = host.has(name)
            if not index:
                raise OSError(errno.ENODEV, f"no interface {name}")
            host.ask(link((("IFLA_NET_NS_FD", space.net),), index=index))
        finally:
            host.close()
        index = self._words.has(name)
        own = (*(self._plan.ip4 or ()), *(self._plan.ip6 or ()))
        with_lengths = tuple(zip(own, self._plan.lengths, strict=True))
        self._words.ask(
            *(address(index, text, length) for text, length in with_lengths),
            link((), index=index, up=True),
            *(route(index, network, source=text) for network, text in _networks6(with_lengths)),
            *(route(index, via=gateway, source=first_of(own, gateway)) for gateway in self._plan.gateways),
        )
        return index, own

    def _keep(self) -> None:
        """Have it brought back when this program is gone; before it is moved, so that there is no moment without."""
        assert self._words is not None  # noqa: S101 - for mypy
        fds = (self._words.sock.fileno(), self._host)
        messages = (question(self._plan.interface), *self._requests())
        python = [sys.executable, "-I", "-S", "-c", _BACK, str(fds[0]), *(one.hex() for one in messages)]
        self._pipe = keeper(_SCRIPT, *python, keep=fds)
        if self._pipe < 0:
            raise OSError(errno.EAGAIN, f"nobody to bring {self._plan.interface} back")

    def _requests(self, index: int = 0) -> tuple[bytes, bytes]:
        """Return what brings it back: under its name, and, where that is taken, under another."""
        there = ("IFLA_NET_NS_FD", self._host)
        other = (there, ("IFLA_IFNAME", _OTHER_NAME), ("IFLA_IFALIAS", self._plan.interface))
        return link((there,), index=index), link(other, index=index)

    def close(self) -> None:
        """Bring it back. Safe to call again."""
        try:
            self._bring_back()
        except OSError as error:  # the shell tries once more
            warnings.warn(f"{self._plan.interface} did not come back yet: {error}", RuntimeWarning, stacklevel=2)
        else:
            if self._pipe >= 0:
                os.write(self._pipe, b"\n")
        self.disown()

    def _bring_back(self) -> None:
        index = self._words.has(self._plan.interface) if self._words is not None else 0
        if self._words is None or not index:
            return
        under_its_name, under_another = self._requests(index)
        try:
            self._words.ask(under_its_name)
        except FileExistsError:
            self._words.ask(under_another)
            words = (
                f"another interface has the name {self._plan.interface} now: the one that came back has it as its alias"
            )
            warnings.warn(words, RuntimeWarning, stacklevel=2)

    def disown(self) -> None:
        """Let go."""
        if self._words is not None:
            self._words.close()
            self._words = None
        for fd in (self._host, self._pipe):
            if fd >= 0:
                os.close(fd)
        self._host = self._pipe = -1
