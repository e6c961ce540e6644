"""For programs that use jailkit on the host of a test bed: what they try in a jail, and how they tell of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import jailkit
from jailkit import Jail
from tests.inside import program

__all__ = [
    "Jail",
    "dial",
    "errno",
    "failing",
    "jailkit",
    "json",
    "os",
    "program",
    "say",
    "signal",
    "sys",
    "threading",
    "time",
]

DIAL = """
import socket
def dial(address, port, kind="tcp"):
    kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
    try:
        found = socket.getaddrinfo(address, port, type=kinds[kind])[0]
        with socket.socket(found[0], found[1]) as sock:
            sock.settimeout(20)
            sock.connect(found[4])
            for _ in range(100 if kind == "udp" else 0):  # who refuses may take his time
                sock.send(b"hello")
                time.sleep(0.05)
    except socket.gaierror as error:
        return "no such name"
    except OSError as error:
        return "timeout" if isinstance(error, TimeoutError) else errno.errorcode[error.errno]
    return "REACHED"
say({" ".join(map(str, one)): dial(*one) for one in json.loads(sys.argv[1])})
"""


def say(what: Any) -> None:
    """Tell the test."""
    print(json.dumps(what), flush=True)


def dial(jail: Jail, *targets: tuple[Any, ...]) -> Any:
    """Have a program in the jail call each of these; return what came of it by target."""
    result = jail.run(program(DIAL, json.dumps(targets)), timeout=100, text=True)
    assert result.ok, (str(result), result.stderr)
    return json.loads(result.stdout)


@contextlib.contextmanager
def failing(at: int) -> Iterator[None]:
    """Have one of the words with the kernel about networks fail with ENOBUFS: the one with this number, from 1 on."""
    from jailkit._network.netlink import Netlink

    names = ("ask", "transact", "has")
    saved: dict[str, Any] = {name: getattr(Netlink, name) for name in names}
    calls: list[str] = []

    def breaking(name: str) -> Any:
        def call(self: Netlink, *rest: Any) -> Any:
            calls.append(name)
            if len(calls) == at:
                raise OSError(errno.ENOBUFS, "no room")
            return saved[name](self, *rest)

        return call

    try:
        for name in names:
            setattr(Netlink, name, breaking(name))
        yield
    finally:
        for name in names:
            setattr(Netlink, name, saved[name])
