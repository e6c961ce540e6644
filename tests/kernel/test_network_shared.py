"""Jails that share a network: one stack for several, and several that know each other by name."""

from __future__ import annotations

import pytest

from tests.net.bed import Bed
from tests.net.remains import gone

pytestmark = [pytest.mark.requires("root", "python", "network"), pytest.mark.timeout(120)]

SERVE = """
import socket, sys
s = socket.socket()
s.bind((sys.argv[1], 8080))
s.listen()
print(flush=True)
while True:
    one = s.accept()[0]
    one.send(b"hello")
    one.close()
"""


def test_a_jail_in_the_network_of_another(world: Bed, user: bool) -> None:
    """The same addresses, loopback and way out; processes, names and files stay each jail's own."""
    code = """
    with Jail(net=True) as one:
        server = one.popen(["python3", "-c", sys.argv[1], "127.0.0.1"])
        server.stdout.readline()
        apart = Jail(net=True).start()
        with Jail(net=one, hostname="second") as other:
            with Jail(net=other) as third:
                same = [third.addresses == other.addresses == one.addresses != (), apart.addresses != one.addresses]
                reached = [dial(jail, ("127.0.0.1", 8080), ("web.test", 80)) for jail in (one, other, third, apart)]
            spaces = [jail.run(["readlink", "/proc/self/ns/net", "/proc/self/ns/pid", "/proc/self/ns/uts",
                                "/proc/self/ns/user"], text=True).stdout.split() for jail in (one, other)]
            name = other.run(["hostname"], text=True).stdout
            seen = other.run(["sh", "-c", "ls /proc | grep -c ^[0-9]"], text=True).stdout
            fact = [item.fact for item in other.isolation if item.name == "network"]
        apart.close()
    say([same, [list(one.values()) for one in reached], spaces, name, seen, fact])
    """
    same, reached, (one, other), name, seen, fact = world.python(code, SERVE, user=user)
    assert same == [True, not user]
    assert reached == [["REACHED", "REACHED"]] * 3 + [["ECONNREFUSED", "REACHED"]]
    assert one[0] == other[0]
    assert not set(one[1:]) & set(other[1:])
    assert (name, int(seen) < 8) == ("second\n", True)
    assert "shared" in fact[0]
    assert gone(world) == []


def test_the_last_jail_takes_the_network_away(world: Bed, user: bool) -> None:
    """A jail whose network others are in can be closed before them, or killed; what it published stays as long."""
    code = """
    with Jail(net=jailkit.Network(ports={0: 8080})) as one:
        other = Jail(net=one).start()
        outsider = Jail(net=one)
        ports = one.ports
    said = [list(dial(other, ("203.0.113.80", 80)).values()), other.ports == ports != ()]
    try:
        outsider.start()
    except jailkit.ClosedError as error:
        said.append(str(error))
    server = other.popen(["python3", "-c", sys.argv[1], "0.0.0.0"])
    server.stdout.readline()
    import socket
    with socket.create_connection(("127.0.0.1", ports[0].number), timeout=60) as sock:
        said.append(sock.recv(99).decode())
    other.close()
    other.close()
    say(said)
    """
    said = world.python(code, SERVE, user=user)
    assert said == [["REACHED"], True, "this jail is closed", "hello"]
    assert gone(world) == []


def test_nothing_is_left_of_a_start_that_fails_beside_another(world: Bed, user: bool) -> None:
    """The jail that was to share does not come; the one that was there stays, and ends as if nothing had been."""
    code = """
    with Jail(net=True) as one:
        try:
            Jail(net=one, mounts=[jailkit.Bind("/nowhere/at/all", "/x")]).start()
        except jailkit.LaunchError as error:
            said = [error.phase != "network", list(dial(one, ("203.0.113.80", 80)).values())]
    say(said)
    """
    assert world.python(code, user=user) == [True, ["REACHED"]]
    assert gone(world) == []


def test_what_can_be_shared_and_what_cannot(world: Bed, user: bool) -> None:
    """Reserved ports are opened by the jail that the network was made for; a spec alone names no jail; `run` takes one."""
    code = """
    said = []
    with Jail(net=True) as one:
        for start in (lambda: Jail(net=one, allow=["reserved_ports"]).start(),
                      lambda: Jail.from_spec(Jail(net=one).spec).start()):
            try:
                start()
            except jailkit.UnsupportedError as error:
                said.append(error.feature)
        mine = jailkit.run(["cat", "/proc/self/net/fib_trie"], net=one, text=True).check().stdout
        said.append(one.addresses[0] in mine)
    say(said)
    """
    assert world.python(code, user=user) == ["reserved_ports in the network of another jail", "net=other", True]
