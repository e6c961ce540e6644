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
