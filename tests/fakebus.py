"""A message bus with a systemd on it, played by a thread: what it answers, a test chooses."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, Parser, new_error, new_method_return, new_signal

__all__ = ["FakeBus", "Refusal", "served"]

JOB = "/org/freedesktop/systemd1/job/7"
MANAGER = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")


class Refusal(Exception):  # noqa: N818 - an answer
    """Answer a call with an error of this name."""


class FakeBus:
    """What the client said, and how to answer; attributes are set before it connects."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.pid: int | None = None
        """What the bus takes the client's process for; None, as a bus does, for what the kernel says."""
        self.peer = 0
        self.outcome = "done"
        self.on_start: Callable[[str, int], None] = lambda _unit, _pid: None
        """Called with unit and process before a scope is answered; raises `Refusal` to refuse."""
        self.silent: set[str] = set()
        """Calls that get no answer."""
        self.early = False
        """Tell that the job has ended before the answer that names it."""

    def answers(self, call: Message) -> list[Message]:
        """Return what to say to a call."""
        method = str(call.header.fields[HeaderFields.member])
        self.calls.append((method, tuple(call.body)))
        if method in self.silent:
            return []
        if method == "Hello":
            return [new_method_return(call, "s", (":1.7",))]
        if method == "GetConnectionUnixProcessID":
            return [new_method_return(call, "u", (self.peer if self.pid is None else self.pid,))]
        if method != "StartTransientUnit":
            return [new_method_return(call)]
        unit, _, properties, _ = call.body
        try:
            self.on_start(unit, dict(properties)["PIDs"][1][0])
        except Refusal as refusal:
            return [new_error(call, str(refusal), "s", ("because",))]
        other = new_signal(MANAGER, "JobRemoved", "uoss", (6, JOB[:-1] + "6", "other.service", "failed"))
        ended = new_signal(MANAGER, "JobRemoved", "uoss", (7, JOB, unit, self.outcome))
        answer = new_method_return(call, "o", (JOB,))
        return [other, ended, answer] if self.early else [other, answer, ended]

    def serve(self, connection: socket.socket) -> None:
        """Talk to one client until it goes away."""
        (self.peer, _, _) = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        heard = b""
        while b"BEGIN\r\n" not in heard:
            data = connection.recv(1024)
            if not data:
                return
            heard += data
            if heard.endswith(b"\r\n") and b"BEGIN" not in heard:
                connection.sendall(b"OK 0123456789abcdef\r\n" if b"AUTH EXTERNAL" in data else b"ERROR\r\n")
        data = heard.partition(b"BEGIN\r\n")[2]  # the first call may come with it
        parser: Any = Parser()
        serials = itertools.count(1)
        while True:
            parser.add_data(data)
            while (call := parser.get_next_message()) is not None:
                for message in self.answers(call):
                    connection.sendall(message.serialise(serial=next(serials)))
            data = connection.recv(4096)
            if not data:
                return


@contextlib.contextmanager
def served(folder: str) -> Iterator[FakeBus]:
    """Serve a bus on a socket in a folder until the block ends."""
    path = f"{folder}/bus"
    bus = FakeBus(f"unix:path={path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    bus.serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield bus
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
