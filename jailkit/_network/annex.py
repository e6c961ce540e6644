"""One jail's network, from before its start until after its end."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from jailkit.plan import NetworkPlan
from jailkit.process import Refused
from jailkit.spec import Port

if TYPE_CHECKING:
    from jailkit._network.pods import Place
    from jailkit._network.refused import Seen
    from jailkit._network.space import Space

__all__ = ["Annex"]

_OUTSIDE = 1500
"""Bytes in a packet that leaves the host: what an Ethernet takes."""


class Annex:
    """Made before the jail, whose PID 1 is born in it; gone with the last jail that is in it, or with this process."""

    def __init__(self, plan: NetworkPlan) -> None:
        """Make nothing yet."""
        # Here, and not above: pyroute2 is an extra, and takes a quarter of a second to import.
        from jailkit._network.moved import Moved  # noqa: PLC0415
        from jailkit._network.pasta import Pasta  # noqa: PLC0415
        from jailkit._network.veth import Veth  # noqa: PLC0415

        self._plan = plan
        made: dict[str, Callable[[NetworkPlan], Veth | Pasta | Moved]] = {"veth": Veth, "pasta": Pasta, "moved": Moved}
        self._means = made[plan.means](plan)
        self._held: list[socket.socket] = []
        self._lock = threading.Lock()
        self._doors: tuple[int, ...] = ()
        self._inside = 0
        self._mine = True
        self._place: Place | None = None
        self._seen: Seen | None = None
        self.ports: tuple[Port, ...] = ()
        self.addresses: tuple[str, ...] = ()
        """The jail's, once it is made."""

    def open(self) -> tuple[int, ...]:
        """Make it; return copies of the descriptors that the jail enters it by, which the caller closes.

        Raises:
            OSError: A step failed; nothing is left.
        """
        from jailkit._network.pods import join  # noqa: PLC0415

        self._inside = 1
        try:
            self._claim()
            if self._plan.pod is None:
                return self._make(None)
            self._place = join(self._plan, self._plan.pod)
            with self._place.pod.lock:
                return self._make(self._place)
        except BaseException:
            self.close()
            raise

    def _make(self, place: Place | None) -> tuple[int, ...]:
        from jailkit._network.space import make_space  # noqa: PLC0415

        reserved, told = self._plan.reserved_ports, self._plan.means == "moved"
        if place is None:
            space = make_space(privileged=self._plan.means != "pasta", reserved_ports=reserved, told=told)
        else:
            space = place.pod.space(reserved_ports=reserved, forwarding=False, told=told)
        try:
            self._furnish(space, place.pod.networks if place else ())
            if place:
                place.connect(space)
                self.addresses += place.addresses
            self._doors = tuple(os.dup(fd) for fd in space.fds)
            return tuple(os.dup(fd) for fd in self._doors)
        finally:
            space.close()

    def _furnish(self, space: Space, pod: tuple[str, ...]) -> None:
        from jailkit._network.moved import Moved  # noqa: PLC0415
        from jailkit._network.netlink import link  # noqa: PLC0415
        from jailkit._network.refused import Seen  # noqa: PLC0415
        from jailkit._network.rules import TABLE, jail_side, senders  # noqa: PLC0415
        from jailkit._network.veth import INSIDE  # noqa: PLC0415

        space.route.ask(link((), index=space.route.has("lo"), up=True))
        space.filter.transact(*jail_side(self._plan.ways, pod, noted=self._plan.reported))
        if self._plan.reported:
            self._seen = Seen(space.filter.sock, TABLE)
        if isinstance(self._means, Moved):
            index, self.addresses = self._means.furnish(space)
        else:
            index = self._wire(space, *self._means.open(space, self.ports))
        device = self._plan.interface or INSIDE
        space.filter.transact(*senders(device, self.addresses, moved=bool(self._plan.interface)))
        if self._plan.bandwidth:
            self._slow(space, index, device, self._plan.bandwidth)

    def _wire(self, space: Space, gateways: tuple[str, ...], own: tuple[str, ...]) -> int:
        """Give the jail's end of its wire addresses and routes; return its number."""
        from jailkit._network.netlink import address, first_of, link, route  # noqa: PLC0415
        from jailkit._network.veth import INSIDE  # noqa: PLC0415

        index, mtu = space.route.has(INSIDE), _OUTSIDE if self._plan.means == "veth" else 0
        space.route.ask(
            *(address(index, mine, 128 if ":" in mine else 32) for mine in own),
            link((), index=index, up=True),
            *(route(index, gateway, source=first_of(own, gateway)) for gateway in gateways),
            *(
                route(index, via=gateway, source=first_of(own, gateway), mtu=mtu)
                for gateway in gateways
                if self._plan.way6 or ":" not in gateway
            ),
        )
        self.addresses = own
        return index

    def _slow(self, space: Space, index: int, device: str, rate: int) -> None:
        from jailkit._network.shaping import slow_arrivals, slow_sending  # noqa: PLC0415

        slow_sending(space.route, index, rate)
        if self._plan.means != "veth":  # whose other end is the host's, and does it there
            slow_arrivals(space.filter, device, rate)

    def _claim(self) -> None:
        """Take the addresses and ports that the caller has named; as long as we live nobody else gets them."""
        for address in (*(self._plan.ip4 or ()), *(self._plan.ip6 or ())):
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._held.append(claim)
            try:
                claim.bind(f"\0jailkit/address/{address}")
            except OSError as error:
                raise OSError(error.errno, f"{address}: {os.strerror(error.errno or 0)}") from error
        self.ports = tuple(self._take_port(port) for port in self._plan.ports)

    def _take_port(self, port: Port) -> Port:
        tcp = port.protocol == "tcp"
        if self._plan.means == "pasta" and port.number:  # which binds it itself
            return port
        taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self._held.append(taken)
        try:
            # Of a server that has ended, connections may be about for a minute; with this they are in nobody's way, and
            # a second listener is an error all the same.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, tcp)
            taken.bind((port.address, port.number))
            if tcp and self._plan.means == "veth":
                taken.listen(0)
        except OSError as error:
            raise OSError(error.errno, f"port {port.address}:{port.number} of the host") from error
        number = taken.getsockname()[1]
        if self._plan.means == "pasta":
            self._held.remove(taken)
            taken.close()
        return attrs.evolve(port, number=number)

    def close(self) -> None:
        """The jail that it was made for has ended: remove it, unless others are in it. Safe to call again."""
        if self._mine:
            self._mine = False
            self.leave()

    def enter(self) -> tuple[int, ...]:
        """One more jail will be in it; return copies of the descriptors that it enters by.

        Raises:
            OSError: It is gone.
        """
        with self._lock:
            if not self._doors:
                raise OSError(errno.ENETDOWN, "the other jail's network is gone")
            self._inside += 1
            return tuple(os.dup(fd) for fd in self._doors)

    def leave(self) -> None:
        """One less is in it; remove it after the last one."""
        with self._lock:
            self._inside -= 1
            if self._inside <= 0:
                self._means.close()
                if self._place is not None:
                    self._place.close()
                self._release()

    def refused(self) -> tuple[Refused, ...]:
        """Return what the filter has refused since it was asked last, where that is noted."""
        with self._lock:
            return self._seen.more() if self._seen is not None else ()

    def disown(self) -> None:
        """After a fork, in the child: it is the parent's."""
        self._lock = threading.Lock()  # the parent's may be held by a thread that does not exist here
        self._means.disown()
        self._release()

    def _release(self) -> None:
        for one in self._held:
            one.close()
        self._held.clear()
        seen, self._seen = self._seen, None
        if seen is not None:
            seen.close()
        doors, self._doors = self._doors, ()
        for fd in doors:
            os.close(fd)


class Beside:
    """The place of another jail in a network that is there already."""

    def __init__(self, annex: object) -> None:
        """Enter nothing yet. What another one is beside of is the same network."""
        found = annex.network if isinstance(annex, Beside) else annex
        assert isinstance(found, Annex)  # noqa: S101 - who has no network is not shared with
        self.network: Annex = found
        self._entered = False

    @property
    def ports(self) -> tuple[Port, ...]:
        """As of the jail that it was made for."""
        return self.network.ports

    @property
    def addresses(self) -> tuple[str, ...]:
        """The same."""
        return self.network.addresses

    def refused(self) -> tuple[Refused, ...]:
        """The same: packets do not say which of the jails they come from."""
        return self.network.refused()

    def open(self) -> tuple[int, ...]:
        """Enter it; return copies of the descriptors.

        Raises:
            OSError: It is gone.
        """
        doors = self.network.enter()
        self._entered = True
        return doors

    def close(self) -> None:
        """Leave it. Safe to call again."""
        if self._entered:
            self._entered = False
            self.network.leave()

    def disown(self) -> None:
        """After a fork, in the child: it is the parent's."""
        self._entered = False
        self.network.disown()
