"""A network with a way out, in a world of namespaces: what can be reached, and what cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.net.bed import DNS, LAN, METADATA, WEB, WEB6, Bed

pytestmark = [pytest.mark.requires("root", "python", "network"), pytest.mark.timeout(120)]

HOST, HOST_LAN, HOST6, OTHER = "198.51.100.2", "192.168.50.1", "2001:db8::2", "203.0.113.81"
REFUSED = "ECONNREFUSED"
"""What a program hears of a connection that its rules refuse; of a datagram it is EPERM."""


def tried(world: Bed, net: str, *targets: tuple[Any, ...], user: bool = False) -> dict[str, str]:
    """Call each target from a jail with this network; return what came of it."""
    code = f"with Jail(net={net}) as jail:\n    say(dial(jail, *map(tuple, {[list(target) for target in targets]!r})))"
    return dict(world.python(f"from jailkit import Network\n{code}", user=user))


def test_the_world_is_as_the_matrix_says(world: Bed) -> None:
    """Positive control: on the host's own network every address of the matrix answers."""
    targets = [(to, 80) for to in (WEB, WEB6, "web.test", LAN, METADATA, HOST, HOST_LAN, HOST6, "127.0.0.1")]
    assert set(tried(world, "'host'", *targets).values()) == {"REACHED"}


def test_what_is_public_is_reached_and_nothing_else(world: Bed, user: bool) -> None:
    """With net=True: the Internet, by both versions of IP and by name; nothing private or local, however written."""
    said = tried(
        world, "True", (WEB, 80), (WEB6, 80), ("web.test", 80), ("web6.test", 80), (f"::ffff:{WEB}", 80),
        (LAN, 80), ("lan.test", 80), (f"::ffff:{LAN}", 80), ("3232248327", 80), ("0300.0250.062.07", 80),
        (METADATA, 80), ("metadata.test", 80), ("2852039166", 80), (f"::ffff:{METADATA}", 80),
        (HOST, 80), (HOST_LAN, 80), ("10.213.0.2", 80), (LAN, 53, "udp"), (METADATA, 53, "udp"),
        (HOST6, 80), ("fd6a:6169:6c6b::2", 80), ("fe80::1", 80), ("fd00:ec2::254", 80), user=user,
    )  # fmt: skip
    reached = [f"{one} 80" for one in (WEB, WEB6, "web.test", "web6.test", f"::ffff:{WEB}")]
    assert {name: what for name, what in said.items() if what == "REACHED"} == dict.fromkeys(reached, "REACHED")
    assert set(said.values()) <= {"REACHED", REFUSED, "EPERM", "ENETUNREACH", "EINVAL"}


def test_the_hosts_loopback_is_not_the_jails(world: Bed, user: bool) -> None:
    """The web server of the host listens on 127.0.0.1 too; neither that address nor the gateway leads there."""
    code = """
    with Jail(net=True) as jail:
        way = jail.run(["cat", "/proc/net/route"], text=True).stdout.split()
        gateway = ".".join(str(byte) for byte in bytes.fromhex(way[13])[::-1])
        say([gateway, dial(jail, (gateway, 80), ("127.0.0.1", 80), ("::1", 80), ("0.0.0.0", 80), ("localhost", 80))])
    """
    gateway, said = world.python(code, user=user)
    assert gateway.startswith("10.213.")
    assert said.pop(f"{gateway} 80") == REFUSED
    assert set(said.values()) == {"ECONNREFUSED"}


def test_only_what_is_named_is_reached(world: Bed, user: bool) -> None:
    """By network, port and protocol; a private address by its name; a name server only as one of the rules."""
    net = f"Network(allow=['203.0.113.0/24:80/tcp', '{LAN}:53/udp', '{LAN}:80'], deny=['{OTHER}'])"
    said = tried(
        world, net, (WEB, 80), (WEB, 8443), (WEB, 80, "udp"), (OTHER, 80), (WEB6, 80), (LAN, 80), (LAN, 8443),
        (DNS, 53, "udp"), ("web.test", 80), user=user,
    )  # fmt: skip
    assert {name for name, what in said.items() if what == "REACHED"} == {f"{WEB} 80", f"{LAN} 80"}
    assert said["web.test 80"] == "no such name"


def test_an_empty_list_opens_nothing(world: Bed, user: bool) -> None:
    """``allow=[]`` is not the same as no list."""
    said = tried(world, "Network(allow=[])", (WEB, 80), (WEB6, 80), (LAN, 80), (DNS, 53, "udp"), user=user)
    assert "REACHED" not in said.values()


def test_a_closed_network_is_opened_by_its_own_name_alone(world: Bed, user: bool) -> None:
    """The metadata address is not in "everything", and is reached where it is named."""
    everything = tried(world, "Network(allow=['0.0.0.0/0'])", (WEB, 80), (LAN, 80), (METADATA, 80), user=user)
    assert set(everything.values()) == {"REACHED", REFUSED}
    assert everything[f"{METADATA} 80"] == REFUSED
    assert everything[f"{LAN} 80"] == "REACHED"
    named = tried(world, f"Network(allow=['{METADATA}:80'])", (METADATA, 80), (METADATA, 8443), user=user)
    assert named == {f"{METADATA} 80": "REACHED", f"{METADATA} 8443": REFUSED}


def test_a_name_is_what_it_was_at_the_start(world: Bed, user: bool) -> None:
    """A rule for a name opens the address that the host found, which the jail is told; no other name, no name server."""
    said = tried(
        world, "Network(allow=['Web.test:80'])", ("web.test", 80), (WEB, 80), ("web.test", 8443), (OTHER, 80),
        ("other.test", 80), (DNS, 53, "udp"), (DNS, 53), user=user,
    )  # fmt: skip
    assert {name for name, what in said.items() if what == "REACHED"} == {"web.test 80", f"{WEB} 80"}
    assert said["other.test 80"] == "no such name"


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (["metadata.test"], "link-local"),
        (["lan.test"], "private"),
        (["nobody.test"], "no address of that name"),
        (["lan.test", "public"], "private"),
        (["metadata.test", "0.0.0.0/0"], "link-local"),
    ],
)
def test_a_name_cannot_open_what_is_private(world: Bed, rules: list[str], words: str) -> None:
    """Whoever answers for a name does not decide what is private: the start is refused, and nothing is made."""
    code = f"""
    try:
        jailkit.run(["true"], net=jailkit.Network(allow={rules!r}))
    except jailkit.UnsupportedError as error:
        say(str(error))
    """
    assert words in world.python(code)


def test_a_name_for_what_is_allowed_is_fine(world: Bed) -> None:
    """A name with a private address is opened where that address is."""
    said = tried(world, f"Network(allow=['lan.test:80', '{LAN}:8443'])", ("lan.test", 80), ("lan.test", 8443))
    assert set(said.values()) == {"REACHED"}


SERVE = """
import socket
s = socket.socket()
s.bind(("", 80))
s.listen()
print(flush=True)
while True:
    one = s.accept()[0]
    one.recv(99)
    one.send(b"HTTP/1.0 200 fine\\r\\n\\r\\nhello")
    one.close()
"""


@pytest.mark.parametrize("address", ["127.0.0.1", "192.168.50.1", "0.0.0.0"])
def test_what_is_published_is_reached_where_it_is(world: Bed, user: bool, address: str) -> None:
    """On the host alone by default; from the LAN where an address of it was named, or all; `Jail.ports` tells which."""
    code = f"""
    net = jailkit.Network(ports={{"{address}:0": 80, "{address}:8081": 80}})
    with Jail(net=net, allow=["reserved_ports"]) as jail:
        server = jail.popen(["python3", "-c", sys.argv[1]], stderr=None)
        server.stdout.readline()
        first, second = jail.ports
        here = os.popen(f"curl -s http://127.0.0.1:{{first.number}}/").read()
        print(json.dumps([first.number > 1024, first.inside, second.number, here]), flush=True)
        sys.stdin.read()
    """
    with world.program(code, SERVE, user=user) as program:
        assert program.stdout is not None
        said = json.loads(program.stdout.readline())
        ask = "curl -s -m 20 -o /dev/null -w '%{http_code}' http://192.168.50.1:8081/ || true"
        there = world.sh(ask, place=world.lan)
        assert program.stdin is not None
        program.stdin.close()
    assert said == [True, 80, 8081, "" if address == "192.168.50.1" else "hello"]
    assert there == ("000" if address == "127.0.0.1" else "200")


def test_a_port_that_is_taken_is_an_error(world: Bed, user: bool) -> None:
    """Of the host's own server, and of another jail; nothing is left."""
    code = """
    said = []
    for port in (80 if os.geteuid() == 0 else 8443, 8082):
        net = jailkit.Network(ports={port: 80})
        with Jail(net=jailkit.Network(ports={8082: 80})):
            try:
                Jail(net=net).start()
            except jailkit.LaunchError as error:
                said.append(error.strerror if error.phase == "network" else error.phase)
    say(said)
    """
    assert len(world.python(code, user=user)) == 2
    assert world.links() == ["lo", "eth0", "lan0"]


def test_two_jails_listen_on_the_same_port(world: Bed, user: bool) -> None:
    """127.0.0.1:8080 and *:8080 are each jail's own."""
    code = """
    serve = "import socket, sys; s = socket.socket(); s.bind(('', 8080)); s.listen(); print(flush=True); sys.stdin.read()"
    with Jail(net=True) as one, Jail(net=True) as other:
        servers = [jail.popen(["python3", "-c", serve], stdin=jailkit.PIPE) for jail in (one, other)]
        said = [server.stdout.readline().decode() for server in servers]
        there = dial(other, (one.addresses[0], 8080)) if os.geteuid() == 0 else {"": "ECONNREFUSED"}
        say([said, list(dial(one, ("127.0.0.1", 8080)).values()), list(there.values())])
    """
    assert world.python(code, user=user) == [["\n", "\n"], ["REACHED"], [REFUSED]]


def test_a_jail_cannot_reach_another_that_its_rules_would_let_it_reach(world: Bed) -> None:
    """The other side has to publish: the host hands on nothing else to it."""
    code = """
    serve = "import socket, sys; s = socket.socket(); s.bind(('', 8080)); s.listen(); print(flush=True); sys.stdin.read()"
    with Jail(net=True) as one, Jail(net=jailkit.Network(allow=["10.0.0.0/8"])) as other:
        server = one.popen(["python3", "-c", serve], stdin=jailkit.PIPE)
        server.stdout.readline()
        probe = "import socket; s = socket.socket(); s.settimeout(1)\\ntry: s.connect((%r, 8080)); print('in')\\n"
        probe += "except TimeoutError: print('out')"
        say([dial(one, (one.addresses[0], 8080)), other.run(["python3", "-c", probe % one.addresses[0]], text=True).stdout])
    """
    mine, others = world.python(code)
    assert (list(mine.values()), others) == (["REACHED"], "out\n")


OTHERS = """
import socket
def other(protocol, kind, to):
    with socket.socket(socket.AF_INET, kind, protocol) as sock:
        sock.settimeout(60)
        sock.connect((to, 80))
        if kind == socket.SOCK_DGRAM:
            sock.send(b"hello")
kinds = {"udplite": (136, socket.SOCK_DGRAM), "sctp": (132, socket.SOCK_STREAM), "mptcp": (262, socket.SOCK_STREAM)}
say({name: attempt(other, *kind, "192.168.50.7") for name, kind in kinds.items()})
"""


def test_no_other_protocol_goes_round_the_rules(world: Bed, user: bool) -> None:
    """What a kernel has beside TCP and UDP, and gives to everybody, is refused where they are."""
    code = f"""
    def others(net):
        with Jail(net=net) as jail:
            return json.loads(jail.run(program({OTHERS!r}), timeout=100, text=True).check().stdout)
    say([others(True), others("host")])
    """
    refused, control = world.python(code, user=user)
    assert [name for name, what in refused.items() if what == "POSSIBLE"] == []
    assert {refused[name] for name, what in control.items() if what == "POSSIBLE"} <= {"EPERM", REFUSED}


def test_real_clients(world: Bed, user: bool) -> None:
    """A client fetches by name, also what is large; ping needs no raw socket."""
    code = """
    with Jail(net=True) as jail:
        small = jail.run(["curl", "-s", "http://web.test/"], text=True).check().stdout
        six = jail.run(["curl", "-s", "http://web6.test/"], text=True).check().stdout
        large = len(jail.run(["curl", "-s", "http://web.test/large"], timeout=60).check().stdout)
        ping = "import socket; s = socket.socket(2, 2, 1); s.connect(('203.0.113.80', 0)); s.settimeout(20);"
        ping += "s.send(bytes([8, 0, 0, 0, 0, 1, 0, 1])); print(s.recv(99)[0])"
        echo = jail.run(["python3", "-c", ping], text=True).stdout if os.geteuid() == 0 else "0\\n"
        say([small, six, large > 1 << 22, echo])
    """
    small, six, large, echo = world.python(code, user=user)
    assert small == f"caller=198.51.100.2 here={WEB}\n"
    assert six == f"caller={HOST6} here={WEB6}\n"
    assert (large, echo) == (True, "0\n")


@pytest.mark.parametrize("level", ["JAIL", "SANDBOX"])
def test_who_attaches_is_in_the_jails_network(world: Bed, user: bool, level: str) -> None:
    """A process of the caller's that enters reaches what a program of the jail reaches, from the same namespaces."""
    code = """
    import socket
    from tests.entered import entered
    from tests.inside import inside
    from tests.patience import patient
    SPACES = "{name: os.readlink(f'/proc/self/ns/{name}') for name in ('user', 'net', 'mnt', 'pid', 'uts', 'ipc')}"

    def look():
        found = {}
        for address in TARGETS:
            with socket.socket() as sock:
                sock.settimeout(patient(60))
                found[address] = sock.connect_ex((address, 80)) == 0
        with open("/proc/self/status") as file:
            rights = [line for line in file if line.startswith("Cap")]
        return found, eval(SPACES), rights

    TARGETS = sys.argv[1].split()
    with Jail(net=True, level=sys.argv[2]) as jail:
        program = inside(jail, f"say([{SPACES}, [line for line in open('/proc/self/status') if line[:3] == 'Cap']])")
        code, (found, spaces, rights) = entered(jail, look)
        say([code, found, look()[0], [spaces, rights] == program])
    """
    code, inside, outside, same = world.python(code, f"{WEB} {LAN} {HOST} 127.0.0.1", level, user=user)
    assert code == 0
    assert inside == {WEB: True, LAN: False, HOST: False, "127.0.0.1": False}
    assert set(outside.values()) == {True}
    assert same
