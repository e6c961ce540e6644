"""Each switch of `Allow` opens one thing, which is closed without it."""

from __future__ import annotations

import pytest

from jailkit import Allow, Jail, UnsupportedError
from tests.inside import inside

pytestmark = pytest.mark.requires("userns", "python", "libseccomp")

PROBES = {
    "raw_sockets": """
import socket
def both():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
say(attempt(both))
""",
    "reserved_ports": """
import socket
say(attempt(socket.socket().bind, ("127.0.0.1", 80)))
""",
    "sysvipc": "say(call('shmget', 0, 4096, 0o1600))",
    "ptrace": """
child = os.fork()
if child == 0:
    time.sleep(30)
    os._exit(0)
attached = said(libc.syscall(ctypes.c_long(NR["ptrace"]), *map(ctypes.c_long, (16, child, 0, 0))))
os.kill(child, 9)
os.waitpid(child, 0)
say(attached)
""",
    "mlock": "memory = ctypes.create_string_buffer(4096); say(said(libc.mlock(memory, ctypes.c_size_t(4096))))",
    "nested": "say(call('unshare', 0x10000000))",
    "mount": """
ids = os.getuid(), os.getgid()
result = call("unshare", 0x10020000)
if result == "POSSIBLE":
    result = call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
say(result)
""",
}


def test_each_switch_has_a_probe() -> None:
    """A new switch comes with a program that fails without it."""
    assert PROBES.keys() == set(Allow.names())


@pytest.mark.parametrize("switch", PROBES)
def test_a_switch_is_off_until_it_is_on(switch: str) -> None:
    """The same program fails in a SANDBOX and works in one with the switch."""
    with Jail(allow=["nested"] if switch == "mount" else []) as jail:
        assert inside(jail, PROBES[switch]) in ("EPERM", "EACCES")
    with Jail(allow=[switch, *(["nested"] if switch == "mount" else [])]) as jail:
        assert inside(jail, PROBES[switch]) == "POSSIBLE"
        assert jail.run(["true"]).ok


def test_nested_namespaces_do_not_hide_what_a_program_has_started() -> None:
    """The namespace of control groups stays: what a program leaves behind ends with it, all the same."""
    code = "say([call('unshare', 0x10000000), call('unshare', 0x02000000)])"
    with Jail(allow=["nested"]) as jail:
        assert inside(jail, code) == ["POSSIBLE", "EPERM"]


def test_mounts_of_the_jail_stay_as_they_are() -> None:
    """Who may mount in namespaces of its own can neither open nor take away what the jail has closed."""
    code = """
result = call("unshare", 0x10020000)
tree = libc.syscall(ctypes.c_long(NR["open_tree"]), ctypes.c_long(-100), b"/usr", ctypes.c_long(0))
say([result, call("mount", None, b"/usr", None, 0x20 | 0x1000, None), call("umount2", b"/usr", 0),
     attempt(os.open, "/usr/canary", os.O_CREAT | os.O_WRONLY)])
"""
    with Jail(allow=["nested", "mount"]) as jail:
        first, *rest = inside(jail, code)
    assert first == "POSSIBLE"
    assert all(said in ("EPERM", "EINVAL", "EROFS", "EACCES") for said in rest), rest


def test_a_capability_for_the_network_of_the_host_is_refused() -> None:
    """The kernel would not listen to it, so it is not given."""
    with pytest.raises(UnsupportedError):
        _ = Jail(allow=["raw_sockets"], net="host").plan
