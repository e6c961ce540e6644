"""What the packets of a jail with a way out are like, and what is told of those that were refused."""

from __future__ import annotations

import pytest

from tests.net.bed import Bed

pytestmark = [pytest.mark.requires("root", "python", "network"), pytest.mark.timeout(120)]


def test_packets_are_wide_as_far_as_the_host(world: Bed) -> None:
    """What stays on this host is sent in packets as wide as the loopback's; what leaves it fits an Ethernet."""
    code = """
    import socket
    serve = "import socket, sys; s = socket.socket(); s.bind(('', 8080)); s.listen(); print(flush=True); sys.stdin.read()"
    out = program('''
    import socket
    found = []
    for address in ("203.0.113.80", "2001:db8:1::80"):
        with socket.create_connection((address, 80), timeout=60) as sock:
            found.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
    say(found)
    ''')
    with Jail(net=jailkit.Network(ports={0: 8080})) as jail:
        server = jail.popen(["python3", "-c", serve], stdin=jailkit.PIPE)
        server.stdout.readline()
        with socket.create_connection(("127.0.0.1", jail.ports[0].number), timeout=60) as sock:
            here = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        say([here, json.loads(jail.run(out, text=True).check().stdout)])
    """
    here, there = world.python(code)
    assert here > 32000
    assert all(1200 < size <= 1460 for size in there)


CALLS = """
    code = program('''
    import socket
    def call(address, port, kind=socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as sock:
            sock.settimeout(60)
            if kind == socket.SOCK_STREAM:
                return attempt(sock.connect, (address, port))
            return attempt(sock.sendto, b"x", (address, port))
    say([call("192.168.50.7", 80), call("192.168.50.7", 80), call("2001:db8:1::80", 81), call("203.0.113.80", 80),
         call("192.168.50.7", 53, socket.SOCK_DGRAM)])
    ''')
"""


def test_what_was_refused_is_told(world: Bed, user: bool) -> None:
    """Every connection and datagram that a rule refuses is in the result, with its count and what would allow it."""
    code = (
        CALLS
        + """
    with Jail(net=jailkit.Network(allow=["203.0.113.80"], deny=["10.0.0.1"]), report_denials=True) as jail:
        result = jail.run(code, text=True).check()
        quiet = jail.run(["true"]).denials
        with jail.popen(code, text=True) as process:
            process.communicate()
            watched = process.result().denials
    with Jail(net=jailkit.Network(allow=["203.0.113.80"])) as jail:
        silent = jail.run(["curl", "-s", "http://192.168.50.7/"]).denials
    once = jailkit.run(["curl", "-s", "http://192.168.50.7/"], net=True, report_denials=True).denials
    say([json.loads(result.stdout), [str(one) for one in result.denials], len(quiet), watched == result.denials,
         len(silent), str(once[0])])
    """
    )
    heard, told, quiet, again, silent, first = world.python(code, user=user)
    assert heard[3] == "POSSIBLE"
    allow = 'allow it with the Network of the jail with allow=[..., "{}"] and less in deny'
    assert told == [
        "connect to 192.168.50.7:80 was refused 2 times; " + allow.format("192.168.50.7:80/tcp"),
        "connect to [2001:db8:1::80]:81 was refused; " + allow.format("[2001:db8:1::80]:81/tcp"),
        "send to 192.168.50.7:53/udp was refused; " + allow.format("192.168.50.7:53/udp"),
    ]
    assert (quiet, again, silent) == (0, True, 0)
    assert 'net=Network(allow=["public", "192.168.50.7:80/tcp"])' in first


def test_a_ping_that_was_refused_is_told(world: Bed, user: bool) -> None:
    """By both versions of IP, without a port; a rule for the address alone opens it. What the kernel sends is not told."""
    code = """
    ping = program('''
    import socket
    def ping(address):
        six = ":" in address
        kind, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
        with socket.socket(kind, socket.SOCK_DGRAM, protocol) as sock:
            return attempt(sock.sendto, bytes([128 if six else 8, 0, 0, 0, 0, 1, 0, 1]), (address, 0))
    say([ping(address) for address in ("203.0.113.80", "192.168.50.7", "fd12::1")])
    ''')
    said = []
    for allow in (["203.0.113.80"], ["203.0.113.80", "192.168.50.7", "fd12::1"], ["203.0.113.80:80"]):
        with Jail(net=jailkit.Network(allow=allow), report_denials=True) as jail:
            result = jail.run(ping, text=True).check()
            said.append([json.loads(result.stdout), [[one.call, one.what, one.remedy[-18:]] for one in result.denials]])
    say(said)
    """
    one, every, ports = world.python(code, user=user)
    lan = ["sendto", "ping 192.168.50.7", '[..., "192.168.50.7"]'[-18:]]
    six = ["sendto", "ping fd12::1", 'allow=[..., "fd12::1"]'[-18:]]
    assert (one[0][:2], one[1]) == (["POSSIBLE", "EPERM"], [lan, six])  # by IPv6 the program hears nothing of it
    assert every == [["POSSIBLE"] * 3, []]
    assert [what for _, what, _ in ports[1]] == ["ping 192.168.50.7", "ping 203.0.113.80", "ping fd12::1"]


def test_a_flood_of_refused_packets_is_bounded(world: Bed) -> None:
    """A program that is refused all the time fills no list of the host program; the rest is counted."""
    code = """
    flood = program('''
    import socket
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(1500):
            attempt(sock.sendto, b"x", ("192.168.50.7", 1000 + number))
    ''')
    with Jail(net=True, report_denials=True) as jail:
        told = jail.run(flood).check().denials
        reached = list(dial(jail, ("203.0.113.80", 80), ("192.168.50.7", 80)).values())
    say([len(told), told[-1].call, sum(one.count for one in told), reached])
    """
    assert world.python(code) == [65, "", 1024, ["REACHED", "ECONNREFUSED"]]


def test_a_network_that_notes_nothing_cannot_tell(world: Bed) -> None:
    """A jail in the network of another one tells of refusals if that one does."""
    code = """
    with Jail(net=True) as one, Jail(net=True, report_denials=True) as other:
        try:
            Jail(net=one, report_denials=True).start()
        except jailkit.UnsupportedError as error:
            said = error.remedy
        with Jail(net=other, report_denials=True) as third:
            told = third.run(["curl", "-s", "http://192.168.50.7/"]).denials
    say([said, [one.what for one in told]])
    """
    said, told = world.python(code)
    assert "report_denials=True" in said
    assert told == ["connect to 192.168.50.7:80"]
