"""`Network(bandwidth=...)`: how fast a jail may send and receive, in a world of namespaces."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.net.bed import Bed

pytestmark = [pytest.mark.requires("root", "python", "network", "shaping"), pytest.mark.timeout(120)]

RATE, DOWN, UP = 2 << 20, 4 << 20, 2 << 20
BUCKET = {False: RATE // 10, True: RATE + (1 << 16)}
"""What may arrive at once: for root's jail the host's end waits, what a user's receives too fast is dropped."""

MOVE = """
import http.client
def move(method, path, body):
    began = time.monotonic()
    web = http.client.HTTPConnection("203.0.113.80", timeout=90)
    web.request(method, path, body)
    size = len(web.getresponse().read()) or len(body)
    return [size, time.monotonic() - began]
say([move("GET", "/large", b""), move("POST", "/", bytes(1 << 21))])
"""


def moved(world: Bed, net: str, *, user: bool) -> Any:
    """Receive 4 MiB and send 2 in a jail; return bytes and seconds of both, and what tc(8) says of each interface."""
    code = f"""
    with Jail(net={net}) as jail:
        result = jail.run(program({MOVE!r}), timeout=100, text=True)
        print(json.dumps([result.stdout, result.stderr, jail.pid]), flush=True)
        sys.stdin.read()
    """
    with world.program(code.replace("\n    ", "\n"), user=user) as program:
        assert program.stdout is not None
        said, errors, pid = json.loads(program.stdout.readline())
        there = world.sh(f"nsenter --net=/proc/{pid}/ns/net tc -s -j qdisc show dev eth0")
        here = world.sh("tc -s -j qdisc show")
        assert program.stdin is not None
        program.stdin.close()
    assert not errors
    buckets = [one for one in json.loads(there) + json.loads(here) if one["kind"] == "tbf"]
    return json.loads(said), buckets


def test_a_jail_is_as_slow_as_it_was_bid(world: Bed, user: bool) -> None:
    """In both directions no more passes than the rate allows, and packets had to wait. Control: without, none is held."""
    (down, up), buckets = moved(world, f"jailkit.Network(bandwidth={RATE})", user=user)
    assert down[0] >= DOWN
    assert down[0] <= RATE * down[1] + BUCKET[user]
    assert up[0] == UP
    assert up[0] <= RATE * up[1] + BUCKET[False]
    assert len(buckets) == (1 if user else 2)
    assert all(one["overlimits"] > 0 for one in buckets)
    (down, up), buckets = moved(world, "True", user=user)
    assert (down[0] >= DOWN, up[0] == UP, buckets) == (True, True, [])


LIFT = """
import socket, struct
def tell(kind, body):
    with socket.socket(16, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(20)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, 5, 1, 0) + body)
        answer = struct.unpack_from("=IHHIIi", sock.recv(4096))
        if answer[1] == 2 and answer[5]:
            raise OSError(-answer[5], "netlink")
# RTM_DELQDISC, of the root of the interface
body = struct.pack("=BBHiIII", 0, 0, 0, socket.if_nametoindex("eth0"), 0, 0xFFFFFFFF, 0)
say(attempt(tell, 37, body))
"""


def test_no_program_of_the_jail_lifts_the_bound(world: Bed, user: bool) -> None:
    """Its superuser at level JAIL is refused. Control: root of the host, in the same network, is not."""
    code = f"""
    with Jail(level="jail", net=jailkit.Network(bandwidth=100_000)) as jail:
        result = jail.run(program({LIFT!r}), text=True)
        print(json.dumps([result.stdout, result.stderr, jail.pid]), flush=True)
        sys.stdin.read()
    """
    with world.program(code.replace("\n    ", "\n"), user=user) as program:
        assert program.stdout is not None
        said, errors, pid = json.loads(program.stdout.readline())
        world.sh(f"nsenter --net=/proc/{pid}/ns/net tc qdisc del dev eth0 root")
        assert program.stdin is not None
        program.stdin.close()
    assert (errors, said.strip()) == ("", '"EPERM"')


def test_a_kernel_that_cannot_says_so(world: Bed) -> None:
    """A bound that was asked for is kept or refused: the error names the module, and nothing is left."""
    code = """
    from jailkit._network import netlink, shaping
    real = netlink.Netlink.ask
    def ask(self, *messages):
        if any(b"tbf" in message for message in messages):
            raise FileNotFoundError(2, "No such file or directory")
        return real(self, *messages)
    netlink.Netlink.ask = ask
    try:
        Jail(net=jailkit.Network(bandwidth=100_000)).start()
    except jailkit.UnsupportedError as error:
        say([error.feature, error.remedy])
    """
    feature, remedy = world.python(code)
    assert "bandwidth" in feature
    assert "modprobe sch_tbf" in remedy
    assert world.links() == ["lo", "eth0", "lan0"]
