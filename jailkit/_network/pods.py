"""Pods: jails of one program that see each other by name, in a network of their own. docs/decisions/0020.

In the middle is a network namespace without a way out. Each jail has a pair of interfaces to it, beside what it has
anyhow. It hands on packets from one of its jails to another, and is gone with the last one.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import threading

from jailkit._network.names import NamesFile
from jailkit._network.netlink import address, link, route
from jailkit._network.space import Space, Users, make_space
from jailkit._network.veth import WIDE, pair
from jailkit.plan import POD, NetworkPlan, PodPlan

__all__ = ["Place", "join"]

_FIRST, _LAST = 2, 254
"""Numbers of jails; the first address is that of the middle."""

_lock = threading.Lock()
_pods: dict[tuple[bool, str], Pod] = {}


def join(plan: NetworkPlan, pod: PodPlan) -> Place:
    """Take a place for a jail, in a pod that is made if there is none of that name.

    Raises:
        OSError: There is no place, or another jail has the name (EEXIST).
    """
    with _lock:
        key = (plan.means == "pasta", pod.name)
        found = _pods.get(key)
        if found is None:
            found = _pods[key] = Pod(key, pod, privileged=plan.means != "pasta")
        return found.take(pod)


class Pod:
    """What jails of one pod have in common."""

    def __init__(self, key: tuple[bool, str], plan: PodPlan, *, privileged: bool) -> None:
        """Make the middle."""
        self.key, self.networks = key, plan.networks
        self.lock = threading.Lock()
        """Held while a jail joins: the helper of an ordinary user is in one network at a time."""
        self.users = None if privileged else Users()
        self._places: dict[int, Place] = {}
        try:
            self.middle = self.space(reserved_ports=False, forwarding=True)
        except BaseException:
            if self.users is not None:
                self.users.close()
            raise

    def space(self, *, reserved_ports: bool, forwarding: bool, told: bool = False) -> Space:
        """Make a network namespace of the pod's users."""
        return make_space(
            privileged=self.users is None,
            reserved_ports=reserved_ports,
            beside=self.users,
            forwarding=forwarding,
            told=told,
        )

    def take(self, plan: PodPlan) -> Place:
        """Find a number for a jail; called by one at a time."""
        if any(place.hostname == plan.hostname for place in self._places.values()):
            raise OSError(errno.EEXIST, f"another jail of {plan.name!r} has the host name {plan.hostname!r}")
        free = next((number for number in range(_FIRST, _LAST + 1) if number not in self._places), None)
        if free is None:
            raise OSError(errno.EADDRNOTAVAIL, f"{plan.name!r} has {len(self._places)} jails, and room for no more")
        self._places[free] = place = Place(self, free, plan)
        return place

    def tell(self) -> None:
        """Write down, for each jail that is there, who is."""
        lines = "".join(
            f"{one} {place.hostname}\n" for place in self._places.values() if place.file for one in place.addresses
        )
        for place in self._places.values():
            if place.file:
                place.file.write(lines)

    def leave(self, number: int) -> None:
        """Give a number back; after the last one nothing is left."""
        with _lock:
            place = self._places.pop(number)
            file, place.file = place.file, None
            if file is not None:
                file.close()
            if self._places:
                self.tell()
                return
            _pods.pop(self.key, None)
        self.middle.close()
        if self.users is not None:
            self.users.close()

    def disown(self) -> None:
        """After a fork, in the child: it is the parent's."""
        self.middle.close()
        if self.users is not None:
            self.users.disown()


class Place:
    """One jail's."""

    def __init__(self, pod: Pod, number: int, plan: PodPlan) -> None:
        """Make nothing yet."""
        self.pod, self._number, self._plan = pod, number, plan
        self.hostname = plan.hostname
        self.addresses = tuple(str(ipaddress.ip_network(network)[number]) for network in pod.networks)
        self.file: NamesFile | None = None
        self._taken = True

    def connect(self, space: Space) -> None:
        """Join the jail's network with the middle, and tell the others.

        Raises:
            OSError: A step failed. `close` removes what was made.
        """
        middle, jail, name = self.pod.middle.route, space.route, f"jail{self._number}"
        middle.ask(pair(name, POD, space.net, WIDE))
        inner, outer = jail.has(POD), middle.has(name)
        for network, own in zip(self.pod.networks, self.addresses, strict=True):
            via, six = str(ipaddress.ip_network(network)[1]), ":" in own
            middle.ask(address(outer, via, 128 if six else 32))
            jail.ask(address(inner, own, 128 if six else 32))
        middle.ask(link((), index=outer, up=True))
        jail.ask(link((), index=inner, up=True))
        for network, own in zip(self.pod.networks, self.addresses, strict=True):
            via = str(ipaddress.ip_network(network)[1])
            middle.ask(route(outer, own))
            jail.ask(route(inner, via, source=own), route(inner, network, via, source=own))
        with _lock:
            self.file = NamesFile(self._plan.file, self._plan.names)
            self.pod.tell()

    def close(self) -> None:
        """Leave the pod. Safe to call again."""
        if not self._taken:
            return
        self._taken = False
        middle = self.pod.middle.route
        # Not found: with the jail's namespace the kernel has removed it meanwhile.
        with self.pod.lock, contextlib.suppress(OSError):
            index = middle.has(f"jail{self._number}")
            if index:
                middle.ask(link((), index=index, remove=True))
        self.pod.leave(self._number)


def _forget() -> None:
    """After a fork, in the child: pods are the parent's."""
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that does not exist here
    _lock = threading.Lock()
    for pod in _pods.values():
        pod.disown()
    _pods.clear()


os.register_at_fork(after_in_child=_forget)
