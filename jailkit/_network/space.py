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

__all__ = ["Space", "Users", "make_space", "write_setting"]

_SECONDS = 20.0

# A process of its own, because only one without threads may make a user namespace. -I -S: nothing of the caller's is
# read. By its stdin, for each network, in: the settings. Out: descriptors of both namespaces, and two sockets. It
# stays until that is closed: pasta, once it is in the user namespace, opens the other by way of a process that is too.
_HELPER = """
import ctypes, os, socket, sys
uid, gid = os.geteuid(), os.getegid()
libc = ctypes.CDLL(None, use_errno=True)
def leave(kind):
    if libc.unshare(kind):
        sys.exit(os.strerror(ctypes.get_errno()))
leave(0x10000000)
for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
with socket.socket(fileno=0) as out:
    while words := out.recv(65536).decode():
        leave(0x40000000)
        for word in words.splitlines():
            name, _, value = word.partition("=")
            with open(f"/proc/sys/net/{name}", "w") as file:
                file.write(value)
        fds = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in ("user", "net")]
        both = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) for protocol in (0, 12)]
        socket.send_fds(out, [b"x"], [*fds, *(one.fileno() for one in both)])
        for fd in fds:
            os.close(fd)
        for one in both:
            one.close()
"""


class Space:
    """The namespace, held by descriptors, and two sockets to administer it with."""

    def __init__(self, net: int, users: int, route: socket.socket, packets: socket.socket) -> None:
        self.net = net
        self.users = users  # -1: those of the host
        self.helper: Users | None = None
        self.alone = True
        """Whether the helper makes no other network."""
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
        helper, self.helper = self.helper, None
        if helper is not None and self.alone:
            helper.close()


def write_setting(name: str, value: str) -> None:
    """Write a setting of this thread's network namespace, unless it has that value."""
    path = f"/proc/sys/net/{name}"
    with open(path) as file:
        if file.read().split() == value.split():
            return
    with open(path, "w") as file:  # opened once more: what is not written from the start of the file is ignored
        file.write(value)


def _settings(gid: int, *, reserved_ports: bool, forwarding: bool | None, told: bool) -> dict[str, str]:
    passes = {} if forwarding is None else {"ipv4/ip_forward": str(int(forwarding))}
    if forwarding and os.path.exists("/proc/sys/net/ipv6"):
        passes["ipv6/conf/all/forwarding"] = "1"
    # A router that is heard of by an interface of the host's shall not give it addresses and routes.
    quiet = told and os.path.exists("/proc/sys/net/ipv6/conf/default/accept_ra")
    return {
        **passes,
        **({"ipv6/conf/default/accept_ra": "0"} if quiet else {}),
        "ipv4/ping_group_range": f"{gid} {gid}" if gid else "0 2147483647",  # ping(8) without a raw socket
        **({"ipv4/ip_unprivileged_port_start": "0"} if reserved_ports else {}),
    }


def make_space(
    *,
    privileged: bool,
    reserved_ports: bool,
    beside: Users | None = None,
    forwarding: bool | None = None,
    told: bool = False,
) -> Space:
    """Make a network namespace.

    Args:
        privileged: Whether it belongs to the host's users.
        reserved_ports: Whether every program may listen on ports below 1024.
        beside: For an ordinary user, who shall have it. Default: None, somebody new.
        forwarding: Whether it hands on packets. Default: None, as the host does.
        told: Whether its interfaces have the addresses and routes they are given, and listen to no router.

    Raises:
        OSError: It cannot be made.
    """
    gid = 0 if privileged else os.getegid()
    settings = _settings(gid, reserved_ports=reserved_ports, forwarding=forwarding, told=told)
    if privileged:
        return _in_a_thread(settings)
    helper = beside or Users()
    try:
        space = helper.make(settings)
    except BaseException:
        if beside is None:
            helper.close()
        raise
    space.alone = beside is None
    return space


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


class Users:
    """A user namespace beside the jails, in which the caller is himself and nobody else, and networks that it owns."""

    def __init__(self) -> None:
        """Start the process that makes it."""
        self._words, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-I", "-S", "-c", _HELPER]
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), stderr=subprocess.PIPE, cwd="/")
        self._words.settimeout(_SECONDS)

    @property
    def pid(self) -> int:
        """A process in it, and in the network that was made last."""
        return self._process.pid

    def make(self, settings: dict[str, str]) -> Space:
        """Make a network namespace.

        Raises:
            OSError: It cannot be made.
        """
        with contextlib.suppress(BrokenPipeError):  # then its last words say why
            self._words.send("\n".join(f"{name}={value}" for name, value in settings.items()).encode())
        _, fds, _, _ = socket.recv_fds(self._words, 1, 4, socket.MSG_CMSG_CLOEXEC)
        _check_all_came(fds, self._process)
        users, net, route, packets = fds
        space = Space(net, users, socket.socket(fileno=route), socket.socket(fileno=packets))
        space.helper = self
        return space

    def close(self) -> None:
        """End the process; the namespaces live as long as somebody is in them. Safe to call again."""
        self._words.close()
        _end(self._process)

    def disown(self) -> None:
        """After a fork, in the child: it is the parent's."""
        self._words.close()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process.returncode = 0  # nobody here may wait for it


def _check_all_came(fds: Sequence[int], process: subprocess.Popen[bytes]) -> None:
    if len(fds) != 4:
        said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
        raise OSError(errno.EPERM, f"no network namespace for an ordinary user: {said[-200:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the helper, whose socket is closed."""
    if process.stderr is None or process.stderr.closed:
        return  # that was done
    try:
        process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
