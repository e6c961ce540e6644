"""Host name, interprocess communication, network and devices of a jail are its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import socket
import stat
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import Jail, Level
from tests.inside import as_namespace_root, inside, outside

pytestmark = pytest.mark.requires("userns", "python")


# --- host name ---------------------------------------------------------------------------------------------------

RENAME = "say([os.uname().nodename, call('sethostname', b'pwned', 5), call('setdomainname', b'pwned', 5)])"


def test_the_host_name_is_the_jail_s_own(jail: Jail) -> None:
    """It is what the spec says, and programs cannot change it; the host's stays as it is."""
    before = os.uname().nodename
    assert as_namespace_root(RENAME)[1:] == ["POSSIBLE", "POSSIBLE"]
    assert inside(jail, RENAME) == ["jail", "EPERM", "EPERM"]
    with Jail(level=jail.spec.level, hostname="other") as other:
        assert inside(other, RENAME)[0] == "other"
        assert inside(other, "import socket; say(socket.gethostbyname('other'))").startswith("127.")
    assert os.uname().nodename == before != "other"


# --- interprocess communication ----------------------------------------------------------------------------------

IPC = """
key, name = int(sys.argv[1]), sys.argv[2].encode()
import socket
sock = socket.socket(socket.AF_UNIX)
say({"shm": call("shmget", key, 0, 0), "sem": call("semget", key, 0, 0), "msg": call("msgget", key, 0),
     "mq": call("mq_open", b"/" + name, os.O_RDONLY), "abstract": attempt(sock.connect, b"\\0" + name),
     "dev/shm": attempt(os.stat, b"/dev/shm/" + name)})
"""


@pytest.fixture
def ipc() -> Iterator[tuple[str, str]]:
    """One thing of each kind on the host, open to everybody: a System V key and a name."""
    libc = ctypes.CDLL(None, use_errno=True)
    key, name, create = secrets.randbits(30) + 1, f"canary-{secrets.token_hex(8)}", 0o1000 | 0o2000 | 0o666
    with contextlib.ExitStack() as stack:
        for get, control, extra in (
            ("shmget", "shmctl", (4096,)),
            ("semget", "semctl", (1,)),
            ("msgget", "msgctl", ()),
        ):
            number = getattr(libc, get)(key, *extra, create)
            assert number >= 0
            remove = (number, 0, 0, None) if control == "semctl" else (number, 0, None)
            stack.callback(getattr(libc, control), *remove)
        queue = libc.mq_open(f"/{name}".encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
        assert queue >= 0
        os.close(queue)
        stack.callback(libc.mq_unlink, f"/{name}".encode())
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.bind(f"\0{name}")
        sock.listen()
        with open(f"/dev/shm/{name}", "w"):
            stack.callback(os.remove, f"/dev/shm/{name}")
        yield str(key), name


def test_nothing_of_the_host_s_ipc_is_there(jail: Jail, ipc: tuple[str, str]) -> None:
    """Shared memory, semaphores, queues of both kinds, abstract sockets and /dev/shm are the jail's own."""
    assert set(outside(IPC, *ipc).values()) == {"POSSIBLE"}
    with Jail(level=jail.spec.level, allow=["sysvipc"]) as open_jail:
        tried = inside(open_jail, IPC, *ipc)
    assert tried.pop("abstract") == "ECONNREFUSED"
    assert tried == dict.fromkeys(("shm", "sem", "msg", "mq", "dev/shm"), "ENOENT")


def test_two_jails_share_no_memory(jail: Jail) -> None:
    """What one puts into /dev/shm or under a key, the other does not find, and nor does the host."""
    name = f"mine-{secrets.token_hex(8)}"
    make = "open(sys.argv[1], 'w').close(); say(call('shmget', 4242, 4096, 0o1666))"
    find = "say([attempt(os.stat, sys.argv[1]), call('shmget', 4242, 0, 0)])"
    level = jail.spec.level
    with Jail(level=level, allow=["sysvipc"]) as mine, Jail(level=level, allow=["sysvipc"]) as other:
        assert inside(mine, make, f"/dev/shm/{name}") == "POSSIBLE"
        assert inside(mine, find, f"/dev/shm/{name}") == ["POSSIBLE", "POSSIBLE"]
        assert inside(other, find, f"/dev/shm/{name}") == ["ENOENT", "ENOENT"]
    assert not os.path.exists(f"/dev/shm/{name}")


# --- network -----------------------------------------------------------------------------------------------------

DIAL = """
import socket
def dial(kind, family, address, port):
    with socket.socket(family, kind) as sock:
        sock.settimeout(5)
        sock.connect((address, port))
        sock.send(b"hello")
tcp, udp, v4, v6 = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.AF_INET, socket.AF_INET6
port = int(sys.argv[1])
say({"host": attempt(dial, tcp, v4, "127.0.0.1", port), "lan": attempt(dial, tcp, v4, "192.168.1.1", 80),
     "metadata": attempt(dial, tcp, v4, "169.254.169.254", 80), "dns": attempt(dial, udp, v4, "192.0.2.53", 53),
     "multicast": attempt(dial, udp, v4, "224.0.0.1", 5353), "v6": attempt(dial, udp, v6, "2001:db8::1", 53),
     "interfaces": [name for _, name in socket.if_nameindex()]})
"""


@pytest.fixture
def listener() -> Iterator[str]:
    """A port of the host's loopback on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def test_the_network_is_a_loopback_and_nothing_else(jail: Jail, listener: str) -> None:
    """No address can be reached: not the host's loopback, not its neighbours, not the world."""
    assert outside(DIAL, listener)["host"] == "POSSIBLE"
    tried = inside(jail, DIAL, listener)
    assert tried.pop("interfaces") == ["lo"]
    assert tried.pop("host") == "ECONNREFUSED"
    assert set(tried.values()) <= {"ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT"}


def test_with_the_host_s_network_the_host_is_reached(jail: Jail, listener: str) -> None:
    """The same program with that one protection away."""
    with Jail(level=jail.spec.level, net="host") as open_jail:
        assert inside(open_jail, DIAL, listener)["host"] == "POSSIBLE"


LOOPBACK = """
import socket
family, address = (socket.AF_INET6, "::1") if sys.argv[1] == "6" else (socket.AF_INET, "127.0.0.1")
with socket.create_server((address, 0), family=family) as server, socket.socket(family) as client:
    client.connect(server.getsockname()[:2])
    with server.accept()[0] as peer:
        client.sendall(b"hello")
        say(peer.recv(5).decode())
"""


@pytest.mark.parametrize("version", ["4", pytest.param("6", marks=pytest.mark.requires("ipv6"))])
def test_programs_of_a_jail_reach_themselves(jail: Jail, version: str) -> None:
    """The loopback is up."""
    assert inside(jail, LOOPBACK, version) == "hello"


# --- devices -----------------------------------------------------------------------------------------------------

DEVICES = """
found = {}
for top, folders, files in os.walk("/dev"):
    for name in files:
        info = os.lstat(os.path.join(top, name))
        if info.st_mode & 0o170000 != 0o120000:
            found[os.path.relpath(os.path.join(top, name), "/dev")] = [info.st_mode & 0o170000, info.st_rdev]
say([sorted(os.listdir("/dev")), found])
"""


def test_exactly_the_harmless_devices_are_there(jail: Jail) -> None:
    """Six nodes, the usual links, private terminals and shared memory."""
    names, found = inside(jail, DEVICES)
    nodes = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
    links = {"fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm"}
    assert set(names) - {"console", "mqueue"} == nodes.keys() | links
    expected = {name: [stat.S_IFCHR, os.makedev(*number)] for name, number in nodes.items()}
    assert found == {**expected, "pts/ptmx": [stat.S_IFCHR, os.makedev(5, 2)]}
    assert len(outside(DEVICES)[0]) > len(names) or os.getuid() != 0


MAKE = """
os.chdir("/tmp")
S_IFCHR, S_IFBLK = 0o020000, 0o060000
say({"disk": attempt(os.mknod, "disk", 0o666 | S_IFBLK, os.makedev(254, 0)),
     "memory": attempt(os.mknod, "memory", 0o666 | S_IFCHR, os.makedev(1, 1)),
     "kmsg": attempt(os.mknod, "kmsg", 0o666 | S_IFCHR, os.makedev(1, 11)),
     "fifo": attempt(os.mkfifo, "fifo"), "in dev": attempt(open, "/dev/new", "w"),
     "replace": attempt(os.remove, "/dev/null"), "open": attempt(os.open, "/tmp/kmsg", os.O_RDONLY)})
"""


def test_no_device_can_be_made(jail: Jail) -> None:
    """Not even by the jail's superuser; a fifo is no device."""
    tried = inside(jail, MAKE)
    assert tried.pop("fifo") == "POSSIBLE"
    assert tried.pop("open") == "ENOENT"
    assert set(tried.values()) <= {"EPERM", "EROFS", "EBUSY", "EACCES"}


@pytest.mark.requires("root")
def test_root_of_the_host_can_make_a_device(public: str) -> None:
    """The control of the test above: the same call, on a directory of the host."""
    os.mknod(f"{public}/null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def test_there_is_no_terminal_of_the_host(jail: Jail) -> None:
    """A program in a jail has no controlling terminal to push input into, and its own terminals are private."""
    terminal, other = os.openpty()
    try:
        code = "say([attempt(os.open, '/dev/tty', os.O_RDWR), os.listdir('/dev/pts'), attempt(os.openpty)])"
        assert inside(jail, code) == ["ENXIO", ["ptmx"], "POSSIBLE"]
        assert inside(
            jail, "import fcntl, termios; say(attempt(fcntl.ioctl, 0, termios.TIOCSTI, b'x'))", stdin=other
        ) in ("EIO", "EPERM")
    finally:
        os.close(terminal)
        os.close(other)


def test_level_chroot_says_what_it_shares() -> None:
    """What level CHROOT does not separate is listed as absent, not as enforced."""
    with Jail(level=Level.CHROOT) as jail:
        states = {protection.name: protection.state for protection in jail.isolation}
        assert inside(jail, "say(os.uname().nodename)") == os.uname().nodename
    assert {states["hostname"], states["ipc"], states["proc"]} == {"absent"}
    assert {p.state for p in jailkit.run(["true"]).isolation if p.name in ("hostname", "ipc", "proc")} == {"enforced"}
