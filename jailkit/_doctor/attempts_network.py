"""What a network with a way out is made of: interfaces, packet filters, and the helpers of an ordinary user."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import struct
import subprocess

from jailkit._doctor.attempt import At, Attempt
from jailkit._doctor.attempts_users import enter
from jailkit.syscalls import Namespace

__all__ = ["ATTEMPTS"]

_ROUTE, _NETFILTER = 0, 12
_REQUEST, _MAKE = 1, 0x605  # NLM_F_REQUEST; with ACK, EXCL and CREATE
_ERROR, _BEGIN, _END = 2, 0x10, 0x11
_NEW_LINK, _NEW_TABLE = 16, 10 << 8
_SECONDS = 8.0


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, data: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(data), kind) + data).ljust(4 + (len(data) + 3 & ~3), b"\0")


def _ask(protocol: int, messages: bytes) -> None:
    """Ask for one thing, and wait for the answer to it: netlink(7)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as words:
        words.settimeout(_SECONDS)
        words.send(messages)
        answer = words.recv(1 << 16)
    kind, error = struct.unpack_from("=H", answer, 4)[0], -struct.unpack_from("=i", answer, 16)[0]
    if kind == _ERROR and error:
        raise OSError(error, os.strerror(error))


def _veth(at: At) -> None:
    enter(at, Namespace.NET)
    at("RTM_NEWLINK: make a pair of interfaces (veth)")
    info = _attribute(18, _attribute(1, b"veth"))  # IFLA_LINKINFO, IFLA_INFO_KIND
    _ask(_ROUTE, _message(_NEW_LINK, _MAKE, bytes(16) + _attribute(3, b"try0\0") + info))


def _nftables(at: At) -> None:
    enter(at, Namespace.NET)
    at("NFT_MSG_NEWTABLE: make a table of packet filters that ends with its socket")
    bracket = struct.pack("=BB", 0, 0) + struct.pack(">H", 10)  # NFNL_SUBSYS_NFTABLES
    table = _attribute(1, b"try\0") + _attribute(2, struct.pack(">I", 2))  # its name, NFT_TABLE_F_OWNER
    made = _message(_NEW_TABLE, _MAKE, struct.pack("=BBH", 1, 0, 0) + table)  # NFPROTO_INET
    _ask(_NETFILTER, _message(_BEGIN, _REQUEST, bracket) + made + _message(_END, _REQUEST, bracket))


def _tun(at: At) -> None:
    at("open /dev/net/tun")
    os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))


def _pasta(at: At) -> str:
    at("look for pasta in PATH")
    path = shutil.which("pasta")
    if path is None:
        raise FileNotFoundError(2, "pasta is not in PATH")
    at("pasta --version")
    done = subprocess.run([path, "--version"], capture_output=True, timeout=_SECONDS, check=True, cwd="/")
    return (done.stdout or done.stderr).decode(errors="replace").partition("\n")[0].strip()


def _pyroute2(at: At) -> None:
    at("look for the package pyroute2")
    if importlib.util.find_spec("pyroute2") is None:
        raise FileNotFoundError(2, "there is no such package")


ATTEMPTS: dict[str, Attempt] = {
    "pyroute2": _pyroute2,
    "nftables": _nftables,
    "veth": _veth,
    "pasta": _pasta,
    "tun": _tun,
}
