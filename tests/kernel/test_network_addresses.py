"""`Network(ip4=[...], ip6=[...])`: several addresses of one jail, none of a version, and none that is another's."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.facts import PYTHON
from tests.net.bed import LAN, WEB, WEB6, Bed

pytestmark = [pytest.mark.requires("root", "python", "network"), pytest.mark.timeout(120)]

OWN = ["10.77.0.5", "10.77.0.6", "fd00:77::5", "fd00:77::6"]
NET = 'ip4=["10.77.0.5", "10.77.0.6"], ip6=["fd00:77::5", "fd00:77:0::6"]'


CALL = """
import socket
OWN, WEB, LAN, WEB6 = json.loads(sys.argv[1])
def call(to, source=None):
    sock = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
    sock.settimeout(60)
    if source:
        sock.bind((source, 0))
    sock.connect((to, 80))
    return sock
def answer(sock):
    with sock:
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        text = b""
        while more := sock.recv(4096):
            text += more
        return text.decode().split("caller=")[1].split()[0]
"""


def called(world: Bed, net: str, lines: str, *, user: bool) -> Any:
    """Run lines in a jail with this network; return its addresses, and what they say."""
    code = f"""
    with Jail(net=jailkit.Network({net})) as jail:
        result = jail.run(program({CALL + lines!r}, json.dumps({[OWN, WEB, LAN, WEB6]!r})), timeout=100, text=True)
        say([jail.addresses, json.loads(result.stdout or "null"), result.stderr])
    """
    addresses, said, errors = world.python(code, user=user)
    assert errors == ""
    return addresses, said


EACH = """
said = {"plain": [call(to).getsockname()[0] for to in (WEB, WEB6)]}
for own in OWN:
    to = WEB6 if ":" in own else WEB
    # Two at a time, the other one made later and used first: answers find the address that was called from.
    mine, first = call(to, own), call(to)
    first_said = answer(first)
    said[own] = [first_said == answer(mine), attempt(call, "192.168.50.7" if to == WEB else "2001:db8::2", own)]
    said[own] += [attempt(call, {"203.0.113.80": "203.0.113.81"}.get(to, "2001:db8:1::53"), own)]
with socket.socket() as server:
    server.bind((OWN[1], 8080))
    server.listen()
    said["here"] = attempt(socket.create_connection, (OWN[1], 8080), 60)
say(said)
"""


def test_a_jail_has_all_the_addresses_it_was_given(world: Bed, user: bool) -> None:
    """In order; the first of a version is chosen where a program does not choose; rules and NAT are the same for each."""
    net = f"{NET}, allow=['203.0.113.0/24', '2001:db8:1::/64'], deny=['203.0.113.81', '2001:db8:1::53']"
    addresses, said = called(world, net, EACH, user=user)
    assert addresses == OWN
    assert said.pop("plain") == [OWN[0], OWN[2]]
    assert said.pop("here") == "POSSIBLE"
    assert said == {own: [True, "ECONNREFUSED", "ECONNREFUSED"] for own in OWN}


def test_no_two_jails_have_an_address_of_a_list(world: Bed, user: bool) -> None:
    """However it is written, and wherever in the list; the error names it, and nothing of the list stays taken."""
    code = f"""
    def attempt(**fields):
        try:
            with Jail(net=jailkit.Network(allow=[], **fields)):
                return "made"
        except jailkit.LaunchError as error:
            return [error.errno == errno.EADDRINUSE, str(error)]
    with Jail(net=jailkit.Network({NET}, allow=[])):
        said = [attempt(ip4=["10.77.0.9", "10.77.0.6"]), attempt(ip6="FD00:77:0:0::6"), attempt(ip4="10.77.0.9")]
    say([*said, attempt({NET})])
    """
    (four, words4), (six, words6), free, again = world.python(code, user=user)
    assert four
    assert "10.77.0.6" in words4
    assert six
    assert "fd00:77::6" in words6
    assert (free, again) == ("made", "made")


@pytest.mark.parametrize(("net", "lost", "kept"), [("ip4=[]", WEB, WEB6), ("ip6=[]", WEB6, WEB)])
def test_an_empty_list_is_none_of_that_version(world: Bed, user: bool, net: str, lost: str, kept: str) -> None:
    """There is no address and no way; the other version is as it was."""
    lines = f"say([attempt(call, {lost!r}), attempt(call, {kept!r})])"
    addresses, said = called(world, f"{net}, dns=[]", lines, user=user)
    assert len(addresses) == 1
    assert (":" in addresses[0]) == (":" in kept)
    assert said == ["ENETUNREACH", "POSSIBLE"]


def test_a_published_port_leads_to_the_first_address(world: Bed, user: bool) -> None:
    """A server that listens there is reached from outside, and not one on the second."""
    code = f"""
    serve = "import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 8080)); s.listen(); print(flush=True);"
    serve += "one = s.accept()[0]; one.recv(1); one.send(sys.argv[1].encode()); one.close(); sys.stdin.read()"
    with Jail(net=jailkit.Network({NET}, ports={{"192.168.50.1:0": 8080}}, allow=[])) as jail:
        servers = [jail.popen(["python3", "-c", serve, own], stdin=jailkit.PIPE) for own in jail.addresses[1::-1]]
        for server in servers:
            server.stdout.readline()
        print(jail.ports[0].number, flush=True)
        sys.stdin.read()
    """
    with world.program(code, user=user) as program:
        assert program.stdout is not None
        ask = f"import socket; s = socket.create_connection(('192.168.50.1', {int(program.stdout.readline())}), 60); "
        ask += "s.send(b'x'); print(s.recv(9).decode())"
        said = world.sh(f'{PYTHON} -c "{ask}"', place=world.lan)
        assert program.stdin is not None
        program.stdin.close()
    assert said == f"{OWN[0]}\n"


def test_an_address_of_the_host_is_no_jails(world: Bed) -> None:
    """As root the host would keep what is sent to it; the start is refused."""
    code = """
    try:
        Jail(net=jailkit.Network(ip4=["10.77.0.5", "192.168.50.1"])).start()
    except jailkit.UnsupportedError as error:
        say(str(error))
    """
    assert "192.168.50.1 is an address of this host" in world.python(code)


SPOOF = """
import socket
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as plain, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
    to = ("2001:db8:1::80", 5555)
    first = attempt(plain.sendto, b"first", to)
    sock.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND, for which nobody needs a right
    said = [attempt(sock.bind, ("2001:db8:bad::1", 4000)), attempt(sock.sendto, b"spoofed", to)]
    plain.sendto(b"last", to)
    say([first, *said])
"""

HEAR = """
import socket
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
    sock.bind(("::", 5555))
    print("ready", flush=True)
    heard = []
    while not heard or heard[-1] != "last":
        heard.append(sock.recvfrom(99)[0].decode())
    print(*heard)
"""

WALLS = {
    "both": "",
    # What the jail's own namespace refuses, the host drops: without the first wall.
    "host": "rules.senders = lambda *rest, **more: ()",
    # Positive control: without either it would go out.
    "none": """
    rules.senders = lambda *rest, **more: ()
    rules._no_other = lambda: rules.rule(f"jailkit-{rules._NAME}", "mine", (rules._verdict(rules._GOTO, "way"),))
    """,
}


@pytest.mark.parametrize(("walls", "heard"), [("both", False), ("host", False), ("none", True)])
def test_nothing_leaves_with_an_address_that_is_not_the_jails(world: Bed, walls: str, heard: bool) -> None:
    """A program may send with any source by IPv6, and NAT knows the jail's own alone: two walls are in front of that."""
    command = world.command(sys.executable, "-I", "-S", "-c", HEAR, place=world.internet)
    code = f"""
    from jailkit._network import rules
    {WALLS[walls].strip()}
    with Jail(net=jailkit.Network(allow=["2001:db8:1::80"])) as jail:
        say(json.loads(jail.run(program({SPOOF!r}), text=True).check().stdout))
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            said = world.python(code)
            words = server.stdout.readline().split()
        finally:
            server.kill()
    assert said == ["POSSIBLE", "POSSIBLE", "EPERM" if walls == "both" else "POSSIBLE"]
    assert ("spoofed" in words) == heard
    assert words[-1] == "last"


def test_an_ordinary_users_jail_sends_with_its_own_addresses_alone(world: Bed) -> None:
    """The wall is in its network; pasta, which would take the source for the jail's new address, does not see it."""
    code = f"""
    with Jail(net=jailkit.Network(allow=["2001:db8:1::80", "203.0.113.80"])) as jail:
        said = json.loads(jail.run(program({SPOOF!r}), text=True).check().stdout)
        say([said, dial(jail, ("{WEB}", 80), ("{WEB6}", 80))])
    """
    said, reached = world.python(code, user=True)
    assert said == ["POSSIBLE", "POSSIBLE", "EPERM"]
    assert set(reached.values()) == {"REACHED"}


@pytest.mark.requires("shaping")
def test_jails_of_a_pod_may_have_several(world: Bed, user: bool) -> None:
    """Their own come first, those of the pod last; names lead to the pod's. What comes from there is not slowed."""
    code = f"""
    serve = "import socket; s = socket.socket(); s.bind(('', 8080)); s.listen(); print(flush=True);"
    serve += "one = s.accept()[0]; one.sendall(bytes(1 << 20)); one.close()"
    fetch = program('''
    import socket
    with socket.create_connection(("db", 8080), timeout=100) as sock:
        size = 0
        while more := sock.recv(1 << 16):
            size += len(more)
    say([size, sock.family])
    ''')
    pod = jailkit.Network(name="shop", {NET}, allow=[])
    # A byte in a thousandth of a second: what is fetched would take a quarter of an hour.
    slow = jailkit.Network(name="shop", allow=[], bandwidth=1024)
    with Jail(net=pod, hostname="db") as db, Jail(net=slow, hostname="web") as web:
        server = db.popen(["python3", "-c", serve])
        server.stdout.readline()
        result = web.run(fetch, timeout=100, text=True)
        say([db.addresses[:4], len(db.addresses), result.stdout, result.stderr])
    """
    own, number, said, errors = world.python(code, user=user)
    assert (own, number, errors) == (OWN, 6, "")
    assert said.startswith("[1048576, ")
