"""Jails that share a network: one stack for several, and several that know each other by name."""

from __future__ import annotations

import os
import time

import pytest

from tests.net.bed import Bed
from tests.net.remains import gone
from tests.patience import patient

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


def test_jails_of_a_pod_see_each_other_by_name(world: Bed, user: bool) -> None:
    """Also who came earlier sees who comes later, and nobody sees who has gone; each keeps its own way out and rules."""
    code = """
    net = jailkit.Network(name="shop", allow=["203.0.113.80"])
    calls = (("db", 8080), ("web", 8080), ("203.0.113.80", 80), ("203.0.113.81", 80), ("192.168.50.7", 80))
    def serve(jail, kept=[]):
        kept.append(jail.popen(["python3", "-c", sys.argv[1], "0.0.0.0"]))
        kept[-1].stdout.readline()
    with Jail(net=net, hostname="db") as db:
        serve(db)
        with Jail(net=net, hostname="web") as web:
            serve(web)
            said = [list(dial(jail, *calls).values()) for jail in (db, web)]
            by_address = list(dial(web, *((address, 8080) for address in db.addresses[-2:])).values())
            stranger, other = Jail(net=True), Jail(net=jailkit.Network(name="else", allow=["10.0.0.0/8", "fd00::/8"]))
            with stranger, other:
                apart = [dial(jail, ("db", 8080), (db.addresses[-2], 8080)) for jail in (stranger, other)]
            try:
                Jail(net=net, hostname="web").start()
            except jailkit.LaunchError as error:
                taken = str(error)
        alone = list(dial(db, *calls).values())
        hosts = db.run(["cat", "/etc/hosts"], text=True).stdout
        with Jail(net=net, hostname="web") as web:
            again = list(dial(web, *calls).values())
    say([said, by_address, [list(one.values()) for one in apart], taken, alone, hosts.count("web"), again])
    """
    said, by_address, apart, taken, alone, lines, again = world.python(code, SERVE, user=user)
    out = ["REACHED", "ECONNREFUSED", "ECONNREFUSED"]
    assert said == [["REACHED", "REACHED", *out]] * 2
    assert by_address[0] == "REACHED"
    assert all("REACHED" not in one and one[0] == "no such name" for one in apart)
    assert "'web'" in taken
    assert alone == ["REACHED", "no such name", *out]
    assert lines == 0
    assert again == ["REACHED", "ECONNREFUSED", *out]
    assert gone(world) == []


def test_a_jail_of_a_pod_has_its_own_name(world: Bed, user: bool) -> None:
    """A server that listens on its own name is reached by it; names of rules are there too, and nobody can change them."""
    code = """
    net = jailkit.Network(name="shop", allow=["web.test"])
    with Jail(net=net, hostname="db") as db, Jail(net=net, hostname="web", level="jail") as web:
        server = db.popen(["python3", "-c", sys.argv[1], "db"])
        server.stdout.readline()
        change = web.run(["sh", "-c", "echo 192.0.2.1 db >>/etc/hosts || umount /etc/hosts"])
        with Jail(net=db) as beside:
            near = dial(beside, ("127.0.0.1", 8080), ("db", 8080))
        say([list(dial(web, ("db", 8080), ("web.test", 80)).values()), list(near.values()), change.returncode != 0])
    """
    assert world.python(code, SERVE, user=user) == [["REACHED", "REACHED"], ["ECONNREFUSED", "REACHED"], True]


def test_the_middle_of_a_pod_leads_nowhere(world: Bed, user: bool) -> None:
    """Packets that a jail sends into its pod for somebody outside reach nobody, also with rules that allow them."""
    code = """
    net = jailkit.Network(name="shop", allow=["0.0.0.0/0"], dns=[])
    out = program('''
    import socket
    def through(device, seconds):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            sock.settimeout(seconds)
            try:
                sock.connect(("203.0.113.80", 80))
            except OSError as error:
                return "no"
            return "REACHED"
    say([through(b"eth0", 60), through(b"pod0", 2)])
    ''')
    with Jail(net=net, hostname="db") as db, Jail(net=net, hostname="web") as web:
        middle = ".".join([*web.addresses[-2].split(".")[:3], "1"])
        say([json.loads(web.run(out, text=True).check().stdout), list(dial(web, (middle, 80), (middle, 8080)).values())])
    """
    assert world.python(code, user=user) == [["REACHED", "no"], ["ECONNREFUSED", "ECONNREFUSED"]]


def test_nothing_is_left_of_a_pod_whose_program_is_killed(world: Bed, user: bool) -> None:
    """After SIGKILL of the host program its jails, networks, helpers and files of names end by themselves."""
    code = """
    net = jailkit.Network(name="shop")
    jails = [Jail(net=net, hostname=name).start() for name in ("db", "web")]
    print(os.getpid(), flush=True)
    sys.stdin.read()
    """
    with world.program(code, user=user) as program:
        assert program.stdout is not None
        number = program.stdout.readline().strip()
        ours = f"jailkit-files-{number}-"
        there = [name for name in os.listdir("/tmp") if name.startswith(ours)]
        program.kill()
    assert len(there) == 1
    assert gone(world) == []
    deadline = time.monotonic() + patient(20)
    while os.path.exists(f"/tmp/{there[0]}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/tmp/{there[0]}")


def test_a_forked_child_leaves_a_pod_to_its_parent(world: Bed, user: bool) -> None:
    """The end of the child changes nothing; a pod of its own with the same name is another one."""
    code = """
    net = jailkit.Network(name="shop")
    with Jail(net=net, hostname="db") as db:
        server = db.popen(["python3", "-c", sys.argv[1], "0.0.0.0"])
        server.stdout.readline()
        child = os.fork()
        if child == 0:
            with Jail(net=net, hostname="db") as mine, Jail(net=net, hostname="web") as web:
                os._exit(list(dial(web, ("db", 8080)).values()) != ["ECONNREFUSED"])
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with Jail(net=net, hostname="web") as web:
            say([code, list(dial(web, ("db", 8080)).values())])
    """
    assert world.python(code, SERVE, user=user) == [0, ["REACHED"]]
    assert gone(world) == []
