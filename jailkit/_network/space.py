"""A network namespace that no jail owns: network_namespaces(7), user_namespaces(7).

A privileged caller makes it in a thread that ends; it belongs to the host's users. An ordinary user makes a user
namespace beside, that owns it and in which he is nobody but himself. The jail is a user namespace of its own either
way, so none of its programs has a right over the network, whatever capability it has in the jail.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from jailkit import _native
from jailkit._network.netlink import FILTER, ROUTE, Netlink

__all__ = ["Space", "make_space", "write_setting"]

_SECONDS = 20.0

# A process of its own, because only one without threads may make a user namespace. -I -S: nothing of the caller's is
# read. In: the settings, on the command line. Out: descriptors of both namespaces, and two sockets, by its stdin. It
# stays until that is closed: pasta, once it is in the user namespace, opens the other by way of a process that is too.
_HELPER = """
import ctypes, os, socket, sys
uid, gid = os.geteuid(), os.getegid()
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x50000000):
    sys.exit(os.strerror(ctypes.get_errno()))
for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
for word in sys.argv[1:]:
    name, _, value = word.partition("=")
    with open(f"/proc/sys/net/{name}", "w") as file:
        file.write(value)
fds = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in ("user", "net")]
words = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) for protocol in (0, 12)]
with socket.socket(fileno=0) as out:
    socket.send_fds(out, [b"x"], [*fds, *(one.fileno() for one in words)])
    out.recv(1)
"""


class Space:
    """The namespace, held by descriptors, and two sockets to administer it with."""

    def __init__(self, net: int, users: int, route: socket.socket, packets: socket.socket) -> None:
        self.net = net
        self.users = users  # -1: those of the host
        self.helper: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self.route = Netlink(route)
        self.filter = Netlink(packets)

    @property
    def fds(self) -> tuple[int, ...]:
        """What a jail enters it by."""
        return (self.net,) if self.users < 0 else (self.users, self.net)

    def close(self) -> None:
        """Let go; it lives as long as somebody is in it. Safe to call again."""
        self.route.close()
        self.filter.close()
        for fd in (self.net, self.users):
            if fd >= 0:
                os.close(fd)
        self.net = self.users = -1
        if self.helper is not None:
            process, words = self.helper
            self.helper = None
            words.close()
            _end(process)


def write_setting(name: str, value: str) -> None:
    """Write a setting of this thread's network namespace, unless it has that value."""
    path = f"/proc/sys/net/{name}"
    with open(path) as file:
        if file.read().split() == value.split():
            return
    with open(path, "w") as file:  # opened once more: what is not written from the start of the file is ignored
        file.write(value)


def _settings(gid: int, *, reserved_ports: bool, told: bool) -> dict[str, str]:
    # A router that is heard of by an interface of the host's shall not give it addresses and routes.
    quiet = told and os.path.exists("/proc/sys/net/ipv6/conf/default/accept_ra")
    return {
        **({"ipv6/conf/default/accept_ra": "0"} if quiet else {}),
        "ipv4/ping_group_range": f"{gid} {gid}" if gid else "0 2147483647",  # ping(8) without a raw socket
        **({"ipv4/ip_unprivileged_port_start": "0"} if reserved_ports else {}),
    }


def make_space(*, privileged: bool, reserved_ports: bool, told: bool = False) -> Space:
    """Make a network namespace with a loopback that is up.

    Args:
        privileged: Whether it belongs to the host's users.
        reserved_ports: Whether every program may listen on ports below 1024.
        told: Whether its interfaces have the addresses and routes they are given, and listen to no router.

    Raises:
        OSError: It cannot be made.
    """
    settings = _settings(0 if privileged else os.getegid(), reserved_ports=reserved_ports, told=told)
    return (
        _in_a_thread(settings) if privileged else _by_a_helper([f"{name}={value}" for name, value in settings.items()])
    )


def _in_a_thread(settings: dict[str, str]) -> Space:
    made: list[Space] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            _native.system_call("unshare", _native.constant("CLONE_NEWNET"))
            for name, value in settings.items():
                write_setting(name, value)
            with contextlib.ExitStack() as undo:
                net = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                undo.callback(os.close, net)
                route = undo.enter_context(Netlink.here(ROUTE).sock)
                packets = undo.enter_context(Netlink.here(FILTER).sock)
                undo.pop_all()
            made.append(Space(net, -1, route, packets))
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
            failed.append(error)

    thread = threading.Thread(target=work, name="jailkit-network")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _by_a_helper(settings: Sequence[str]) -> Space:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-I", "-S", "-c", _HELPER, *settings]
        process = subprocess.Popen(command, stdin=theirs.fileno(), stderr=subprocess.PIPE, cwd="/")
    try:
        ours.settimeout(_SECONDS)
        _, fds, _, _ = socket.recv_fds(ours, 1, 4)
        _check_all_came(fds, process)
    except BaseException:
        ours.close()
        _end(process)
        raise
    users, net, route, packets = fds
    space = Space(net, users, socket.socket(fileno=route), socket.socket(fileno=packets))
    space.helper = (process, ours)
    return space


def _check_all_came(fds: Sequence[int], process: subprocess.Popen[bytes]) -> None:
    if len(fds) != 4:
        said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
        raise OSError(errno.EPERM, f"no network namespace for an ordinary user: {said[-200:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the helper, whose socket is closed."""
    try:
        process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
