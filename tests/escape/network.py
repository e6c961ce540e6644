"""ATK-47, ATK-48 and ATK-120 to ATK-126: sockets of the host, and a network that is not there."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Mapping
from typing import Any

from jailkit import Jail
from tests.escape.attack import HOST, NAMESPACE, SECONDS, Attack, Jailed, everywhere, only
from tests.escape.canaries import Canaries
from tests.inside import program

__all__ = ["ATTACKS"]

DIAL = """
def dial(family, kind, address):
    with socket.socket(family, kind) as sock:
        sock.settimeout(5)
        sock.connect(address)
        if kind == socket.SOCK_DGRAM:
            for _ in range(2):  # the refusal of the first is the error of the second
                sock.send(b"hello")
say(attempt(dial, %s))
"""
SHARED = Jailed({"net": "host"})
GONE = "ECONNREFUSED|ENETUNREACH|EADDRNOTAVAIL|EAFNOSUPPORT"
LOOPBACKS = tuple(
    Attack(id="ATK-120", name=f"a service of the host: {name}", code=DIAL % how, refused=everywhere(GONE), control=SHARED)
    for name, how in (
        ("127.0.0.1", "socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', C['tcp'])"),
        ("another address of the loopback", "socket.AF_INET, socket.SOCK_STREAM, ('127.1', C['tcp'])"),
        ("0.0.0.0", "socket.AF_INET, socket.SOCK_STREAM, ('0.0.0.0', C['tcp'])"),
        ("a decimal address", "socket.AF_INET, socket.SOCK_STREAM, ('2130706433', C['tcp'])"),
        ("an address in octal", "socket.AF_INET, socket.SOCK_STREAM, ('0177.0.0.1', C['tcp'])"),
        ("an IPv4 address in IPv6", "socket.AF_INET6, socket.SOCK_STREAM, ('::ffff:127.0.0.1', C['tcp'])"),
        ("its name", "socket.AF_INET, socket.SOCK_STREAM, ('localhost', C['tcp'])"),
        ("datagrams", "socket.AF_INET, socket.SOCK_DGRAM, ('127.0.0.1', C['udp'])"),
    )
)  # fmt: skip
LOOPBACK6 = (
    Attack(
        id="ATK-120", name="a service of the host: ::1", refused=everywhere(GONE), control=SHARED, needs=("ipv6",),
        code=DIAL % "socket.AF_INET6, socket.SOCK_STREAM, ('::1', C['tcp6'])",
    ),
)  # fmt: skip

UNIX = tuple(
    Attack(id=identity, name=f"a Unix socket of the host: {name}", code=DIAL % how, refused=everywhere(refused))
    for identity, name, how, refused in (
        ("ATK-47", "abstract", "socket.AF_UNIX, socket.SOCK_STREAM, '\\0' + C['abstract']", "ECONNREFUSED"),
        ("ATK-47", "abstract, of datagrams", "socket.AF_UNIX, socket.SOCK_DGRAM, '\\0' + C['datagrams']", "ECONNREFUSED"),
        ("ATK-48", "by its path", "socket.AF_UNIX, socket.SOCK_STREAM, C['socket']", "ENOENT"),
    )
)  # fmt: skip
UNIX_RIGHTS = (
    Attack(
        id="ATK-47", name="abstract, where the network is the host's", refused=only("EPERM"), needs=("landlock6",),
        options={"net": "host"}, control=Jailed({"landlock": False}),
        code=DIAL % "socket.AF_UNIX, socket.SOCK_STREAM, '\\0' + C['abstract']",
    ),
    Attack(
        id="ATK-48", name="a descriptor sent to the host by a datagram", refused=everywhere("ECONNREFUSED"),
        code="""
        import array
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]
        say(attempt(sock.sendmsg, [b"x"], rights, 0, "\\0" + C["datagrams"]))
        """,
    ),
)  # fmt: skip

# In a namespace of its own the superuser of a jail administers the network: it is his, and nobody else's.
OWN = ("sandbox", "bare")
REQUEST = """
def tell(kind, flags, body):
    # The routing netlink: one message, and the answer to it.
    with socket.socket(16, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(5)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)
        answer = struct.unpack_from("=IHHIIi", sock.recv(4096))
        if answer[1] == 2 and answer[5]:
            raise OSError(-answer[5], "netlink")
"""
ADMINISTER = tuple(
    Attack(id="ATK-125", name=f"the network: {name}", code=REQUEST + code, refused=only(refused, *OWN), control=NAMESPACE)
    for name, code, refused in (
        ("an address", "say(attempt(tell, 20, 0x600, struct.pack('=BBBBI', 2, 8, 0, 254, 1)\n"
         "    + struct.pack('=HH4s', 8, 2, bytes([10, 9, 8, 7]))))", "EPERM"),
        ("an interface", "body = struct.pack('=BxHiII', 0, 0, 0, 0, 0)\n"
         "kind = struct.pack('=HH', 10, 1) + b'bridge' + b'\\0\\0'\n"
         "name = struct.pack('=HH', 8, 3) + b'jk0\\0'\n"
         "said = attempt(tell, 16, 0x600, body + name + struct.pack('=HH', 4 + len(kind), 18) + kind)\n"
         "say('POSSIBLE' if said == 'EOPNOTSUPP' else said)", "EPERM"),
        ("its loopback down", "import fcntl\nsock = socket.socket()\n"
         "say(attempt(fcntl.ioctl, sock, 0x8914, struct.pack('16sH22x', b'lo', 0)))", "EPERM"),
        ("another size of packets", "import fcntl\nsock = socket.socket()\n"
         "say(attempt(fcntl.ioctl, sock, 0x8922, struct.pack('16si20x', b'lo', 1400)))", "EPERM"),
        ("a reserved port", "say(attempt(socket.socket().bind, ('127.0.0.1', 80)))", "EACCES"),
        ("an address that is not its own", "sock = socket.socket()\n"
         "say(attempt(sock.setsockopt, socket.SOL_IP, 19, 1))", "EPERM"),
        ("a mark on packets", "sock = socket.socket()\nsay(attempt(sock.setsockopt, socket.SOL_SOCKET, 36, 1))", "EPERM"),
    )
)  # fmt: skip

# A datagram socket that connects asks for a way and sends nothing: where the host has a way, a jail has none.
WORLD = tuple(
    Attack(
        id="ATK-120", name=f"a way out: {name}", refused=everywhere("ENETUNREACH|EADDRNOTAVAIL"), needs=("uplink",),
        code=f"say(attempt(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect, ({address!r}, 53)))", control=HOST,
    )
    for name, address in (
        ("the metadata of a cloud", "169.254.169.254"), ("a private network", "192.168.1.1"), ("a name server", "192.0.2.53"),
        ("the world", "198.51.100.7"),
    )
)  # fmt: skip

SERVE = """
import socket, time
server = socket.socket()
server.bind(("0.0.0.0", 0))
server.listen()
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""


def _served(options: Mapping[str, Any] | None, canaries: Canaries) -> str:
    """A program listens on every address that it has; somebody on the host calls it."""
    del canaries
    with (
        Jail(**({"net": "host"} if options is None else options)) as jail,
        jail.popen(program(SERVE), timeout=SECONDS) as server,
    ):
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except OSError as error:
            return errno_name(error)
        finally:
            server.kill()
    return "POSSIBLE"


def _other_jail(options: Mapping[str, Any] | None, canaries: Canaries) -> str:
    """A program listens in one jail; a program in another calls it. Control: both in one."""
    del canaries
    call = "import socket; say(attempt(socket.create_connection, ('127.0.0.1', int(sys.argv[1])), 10))"
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(Jail(**(options or {})))
        other = one if options is None else stack.enter_context(Jail(**options))
        server = stack.enter_context(one.popen(program(SERVE), timeout=SECONDS))
        stack.callback(server.kill)
        assert server.stdout is not None
        port = server.stdout.readline().strip().decode()
        return str(other.run(program(call, port), text=True, timeout=SECONDS).check().stdout).strip().strip('"')


def errno_name(error: OSError) -> str:
    """Return the name of an error, as the attacking programs say it."""
    return errno.errorcode[error.errno or 0]


def _taken(options: Mapping[str, Any] | None, canaries: Canaries) -> str:
    """A program takes the port of a service of the host; then somebody on the host calls that service.

    Control: the same program on the host's network finds the port taken by somebody else, and knows it.
    """
    code = "import socket; say(attempt(socket.socket().bind, ('127.0.0.1', int(sys.argv[1]))))"
    port = str(canaries.facts["tcp"])
    with Jail(**({"net": "host"} if options is None else options)) as jail:
        said = jail.run(program(code, port), text=True, timeout=SECONDS).check().stdout.strip().strip('"')
    return "seen by the host" if said == "EADDRINUSE" else "of its own"


REACHED = (
    Attack(id="ATK-125", name="a service of the jail, for the host", act=_served, refused=everywhere("ECONNREFUSED")),
    Attack(id="ATK-125", name="a service of the jail, for another jail", act=_other_jail, refused=everywhere("ECONNREFUSED")),
    Attack(
        id="ATK-125", name="the port of a service of the host", act=_taken, refused=everywhere("of its own"),
        works="seen by the host",
    ),
)  # fmt: skip

ATTACKS = LOOPBACKS + LOOPBACK6 + UNIX + UNIX_RIGHTS + ADMINISTER + WORLD + REACHED
