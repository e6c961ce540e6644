"""`Network(interface=..., gateway=...)`: an interface of the host is a jail's for a while, and comes back with its name."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.facts import PYTHON
from tests.net.bed import LAN, WEB, Bed
from tests.patience import patient

pytestmark = [pytest.mark.requires("root", "python", "network"), pytest.mark.timeout(120)]

ALWAYS = ["lo", "eth0", "lan0"]
NET = 'jailkit.Network(interface="eth7", ip4="10.9.9.5/24", ip6="fd09::5/64", allow=["10.9.9.0/24", "fd09::/64"])'


@pytest.fixture
def wire(world: Bed) -> Iterator[Bed]:
    """An interface of the host, the other end of which is in the LAN."""
    world.sh(f"ip link add eth7 type veth peer name up7 netns {world.lan}")
    world.sh(
        "ip addr add 10.9.9.1/24 dev up7; ip addr add fd09::1/64 dev up7 nodad; ip link set up7 up", place=world.lan
    )
    yield world
    world.sh("ip link del up7", place=world.lan)
    assert world.links() == ALWAYS


def back(world: Bed, *names: str) -> bool:
    """Whether these are soon the interfaces of the host, beside those of the world."""
    deadline = time.monotonic() + patient(30)
    while sorted(world.links()) != sorted([*ALWAYS, *names]):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_moved_interface_is_the_jails_and_comes_back(wire: Bed) -> None:
    """With the addresses it was given and no others; the host lacks it meanwhile. What comes back moves again."""
    code = f"""
    for _ in range(2):
        with Jail(net={NET}) as jail:
            there = os.popen("ip -o link").read().count("eth7")
            said = dial(jail, ("10.9.9.1", 80), ("fd09::1", 80), ("{WEB}", 80), ("{LAN}", 80))
            addresses = list(jail.addresses)
        back = os.popen("ip -o link show eth7").read().count("eth7")
    say([there, addresses, said, back])
    """
    there, addresses, said, came = wire.python(code)
    assert (there, addresses, came) == (0, ["10.9.9.5", "fd09::5"], 1)
    reached = {name for name, what in said.items() if what == "REACHED"}
    assert reached == {"10.9.9.1 80", "fd09::1 80"}
    assert back(wire, "eth7")


def test_a_moved_interface_has_several_addresses(wire: Bed) -> None:
    """In one network or in several; the first of a network is chosen there, and the first of all beyond it."""
    wire.sh("ip addr add 10.8.8.1/24 dev up7; ip addr add fd08::1/64 dev up7 nodad", place=wire.lan)
    code = """
    net = jailkit.Network(
        interface="eth7", gateway=["10.8.8.1", "fd08::1"], allow=["10.8.0.0/15", "192.168.50.7", "fd08::/15", "2001:db8::1"],
        ip4=["10.9.9.5/24", "10.9.9.6/24", "10.8.8.5/24"], ip6=["fd09::5/64", "fd09::6/64", "fd08::5/64"],
    )
    look = program('''
    import socket
    found = {}
    for to in ("10.9.9.1", "10.8.8.1", "192.168.50.7", "fd09::1", "fd08::1", "2001:db8::1"):
        with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((to, 80))
            found[to] = sock.getsockname()[0]
    for own, to in (("10.9.9.6", "10.9.9.1"), ("10.8.8.5", "10.8.8.1"), ("fd09::6", "fd09::1"), ("fd08::5", "fd08::1")):
        found[own] = attempt(socket.create_connection, (to, 80), 60, (own, 0))
    say(found)
    ''')
    with Jail(net=net) as jail:
        say([jail.addresses, json.loads(jail.run(look, timeout=100, text=True).check().stdout)])
    """
    own, found = wire.python(code)
    assert own == ["10.9.9.5", "10.9.9.6", "10.8.8.5", "fd09::5", "fd09::6", "fd08::5"]
    assert found == {
        "10.9.9.1": "10.9.9.5",
        "10.8.8.1": "10.8.8.5",
        "192.168.50.7": "10.9.9.5",
        "fd09::1": "fd09::5",
        "fd08::1": "fd08::5",
        "2001:db8::1": "fd09::5",
        **dict.fromkeys(("10.9.9.6", "10.8.8.5", "fd09::6", "fd08::5"), "POSSIBLE"),
    }
    assert back(wire, "eth7")


@pytest.mark.requires("macvlan")
def test_a_macvlan_is_an_interface_too(wire: Bed) -> None:
    """One that the kernel destroys with its namespace outlives the jail, and keeps what it is."""
    wire.sh("ip link set eth7 up; ip link add mac0 link eth7 type macvlan mode bridge")
    code = """
    net = jailkit.Network(interface="mac0", ip4="10.9.9.6/24", allow=["10.9.9.0/24"])
    with Jail(net=net) as jail:
        said = dial(jail, ("10.9.9.1", 80))
    say([list(said.values()), "macvlan" in os.popen("ip -d link show mac0").read()])
    """
    assert wire.python(code) == [["REACHED"], True]
    assert back(wire, "eth7", "mac0")


def test_it_comes_back_after_the_host_program_was_killed(wire: Bed) -> None:
    """By SIGKILL, while a program runs in the jail; nobody has to start again for it."""
    code = f"""
    jail = Jail(net={NET}).start()
    jail.popen(["sleep", "100"], timeout=100)
    print(json.dumps(os.popen("ip -o link").read().count("eth7")), flush=True)
    time.sleep(100)
    """
    with wire.program(code) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "0\n"
        finally:
            program.kill()
    assert back(wire, "eth7")


@pytest.mark.parametrize("killed", [False, True])
def test_a_name_that_was_taken_meanwhile_stays_taken(wire: Bed, killed: bool) -> None:
    """The interface comes back under another, with its own as the alias; the caller is warned, if he is there."""
    code = f"""
    import warnings
    jail = Jail(net={NET}).start()
    os.system("ip link add eth7 type veth peer name eth8")
    if {killed}:
        os.kill(os.getpid(), signal.SIGKILL)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jail.close()
    say([str(one.message) for one in caught if one.category is RuntimeWarning])
    """
    with wire.program(code) as program:
        assert program.stdout is not None
        said = program.stdout.read()
    deadline = time.monotonic() + patient(30)
    while not (found := [name for name in wire.links() if name.startswith("moved")]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert json.loads(wire.sh(f"ip -j link show {found[0]}"))[0]["ifalias"] == "eth7"
    assert back(wire, "eth7", "eth8", found[0])
    wire.sh("ip link del eth8")
    assert "the name eth7" in said or killed


def test_it_comes_back_after_an_error_at_any_step(wire: Bed) -> None:
    """Whatever call of the set-up fails, the start does, and the interface is the host's."""
    code = f"""
    said = set()
    for at in range(1, 30):
        try:
            with failing(at):
                jail = Jail(net={NET}).start()
        except jailkit.LaunchError as error:
            said.add((error.phase, error.errno == errno.ENOBUFS, os.popen("ip -o link").read().count("eth7")))
        else:
            break
    jail.close()
    say([at > 5, sorted(said)])
    """
    assert wire.python(code) == [True, [["network", True, 1]]]
    assert back(wire, "eth7")


def test_a_gateway_leads_beyond_the_network(wire: Bed) -> None:
    """With one, what is allowed is reached by way of it; without one, the jail's own network alone."""
    code = f"""
    said = []
    for gateway in (None, "10.9.9.1"):
        net = jailkit.Network(interface="eth7", ip4="10.9.9.5/24", gateway=gateway, allow=["{LAN}", "10.9.9.1"])
        with Jail(net=net) as jail:
            said.append(list(dial(jail, ("{LAN}", 80), ("10.9.9.1", 80)).values()))
    say(said)
    """
    assert wire.python(code) == [["ENETUNREACH", "REACHED"], ["REACHED", "REACHED"]]


def test_who_is_on_that_network_reaches_what_listens_in_the_jail(wire: Bed) -> None:
    """The jail is a machine of that network; and its superuser can do nothing to the interface, or the way it is slowed."""
    code = f"""
    serve = "import socket, sys; s = socket.socket(); s.bind(('', 8080)); s.listen(); print(flush=True); sys.stdin.read()"
    down = "import fcntl; say(attempt(fcntl.ioctl, __import__('socket').socket(), 0x8914, b'eth7'.ljust(40, bytes(1))))"
    net = {NET.replace("allow=", "bandwidth=100_000, allow=")}
    with Jail(level="jail", net=net) as jail:
        said = jail.run(program(down), text=True).stdout
        server = jail.popen(["python3", "-c", serve], stdin=jailkit.PIPE)
        server.stdout.readline()
        print(json.dumps([said, jail.pid]), flush=True)
        sys.stdin.read()
    """
    with wire.program(code) as program:
        assert program.stdout is not None
        said, pid = json.loads(program.stdout.readline())
        assert "tbf" in wire.sh(f"nsenter --net=/proc/{pid}/ns/net tc qdisc show dev eth7")
        dial = "import socket; socket.create_connection(('10.9.9.5', 8080), 20)"
        wire.sh(f'{PYTHON} -c "{dial}"', place=wire.lan)
        assert program.stdin is not None
        program.stdin.close()
    assert said.strip() == '"EPERM"'
    assert back(wire, "eth7")
    assert "tbf" not in wire.sh("tc qdisc show dev eth7")


def test_an_interface_is_roots_to_give(wire: Bed) -> None:
    """An ordinary user, and root for one that is not there, hear so before anything is done; a gateway is the same."""
    code = """
    said = []
    for net in json.loads(sys.argv[1]):
        try:
            Jail(net=jailkit.Network(**net)).start()
        except jailkit.UnsupportedError as error:
            said.append(str(error))
    say(said)
    """
    named = [{"interface": "eth7", "ip4": "10.9.9.5/24"}, {"ip4": "10.9.9.5/24", "gateway": "10.9.9.1"}]
    said = wire.python(code, json.dumps(named), user=True)
    assert ["for root" in one for one in said] == [True, True]
    (said,) = wire.python(code, json.dumps([{"interface": "eth99", "ip4": "10.9.9.5/24"}]))
    assert "no interface eth99" in said


def test_a_forked_child_does_not_bring_it_back(wire: Bed) -> None:
    """Its end changes nothing for its parent, and its copies keep nothing from the janitor."""
    code = f"""
    jail = Jail(net={NET}).start()
    child = os.fork()
    if child == 0:
        jail.close()
        os._exit(0)
    os.waitpid(child, 0)
    there = list(dial(jail, ("10.9.9.1", 80)).values())
    child = os.fork()
    if child == 0:
        time.sleep(100)
        os._exit(0)
    print(json.dumps([there, child]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    with wire.program(code) as program:
        assert program.stdout is not None
        there, child = json.loads(program.stdout.readline())
    try:
        assert there == ["REACHED"]
        assert back(wire, "eth7")
    finally:
        wire.sh(f"kill -9 {child}")


def test_packets_of_a_jail_with_a_gateway_have_its_own_address(world: Bed) -> None:
    """Of IPv4, which was named; by IPv6, which was not, they have the host's. Nobody connects to it from outside."""
    world.sh("ip route add 10.88.0.0/24 via 198.51.100.2", place=world.internet)
    code = """
    net = jailkit.Network(ip4="10.88.0.5/24", gateway="10.88.0.1")
    serve = "import socket, sys; s = socket.socket(); s.bind(('', 8080)); s.listen(); print(flush=True); sys.stdin.read()"
    with Jail(net=net) as jail:
        got = [jail.run(["curl", "-s", f"http://{name}.test/"], text=True).stdout.split()[0] for name in ("web", "web6")]
        way = jail.run(["cat", "/proc/net/route"], text=True).stdout.split()
        server = jail.popen(["python3", "-c", serve], stdin=jailkit.PIPE)
        server.stdout.readline()
        print(json.dumps([got, list(jail.addresses)[0], way[13]]), flush=True)
        sys.stdin.read()
    """
    probe = 'import socket; s = socket.socket(); s.settimeout(1)\ntry: s.connect(("10.88.0.5", 8080)); print(1)\n'
    probe += "except OSError: print(0)"
    with world.program(code) as program:
        assert program.stdout is not None
        got, own, way = json.loads(program.stdout.readline())
        reached = world.sh(f"{PYTHON} -c '{probe}'", place=world.internet)
        assert program.stdin is not None
        program.stdin.close()
    world.sh("ip route del 10.88.0.0/24", place=world.internet)
    assert (got, own) == (["caller=10.88.0.5", "caller=2001:db8::2"], "10.88.0.5")
    assert bytes.fromhex(way)[::-1] == bytes([10, 88, 0, 1])
    assert reached == "0\n"
    assert world.links() == ALWAYS
