"""A few calls to systemd by D-Bus, each within a deadline.

The one importer of jeepney: the extra ``jailkit[systemd]`` brings it. jeepney knows the bytes of D-Bus; the socket is
dealt with here, because its own blocking connection says hello without a time limit.
"""

from __future__ import annotations

import itertools
import socket
import time
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, MessageFlag, MessageType, Parser, new_method_call
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.bus import get_connectable_addresses

__all__ = ["Bus", "BusError", "BusRefusal", "socket_of"]

_DAEMON = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
_SYSTEMD = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
_JOBS = f"type='signal',interface='{_SYSTEMD.interface}',member='JobRemoved',path='{_SYSTEMD.object_path}'"


class BusError(Exception):
    """The bus is not there, does not answer in time, or does not speak D-Bus."""


class BusRefusal(Exception):  # noqa: N818 - an answer, and not a failure of the bus
    """Who was called answered with an error; `name` is the one of D-Bus, such as ``…Error.AccessDenied``."""

    def __init__(self, name: str, text: str) -> None:
        """Hold both."""
        super().__init__(name, text)
        self.name = name
        self.text = text


def socket_of(address: str) -> str:
    """Return the socket of an address as in ``DBUS_SESSION_BUS_ADDRESS``: a path, or a NUL and an abstract name.

    Raises:
        BusError: It has none.
    """
    try:
        return str(next(get_connectable_addresses(address)))
    except (RuntimeError, ValueError, StopIteration) as error:
        raise BusError(f"{address}: {error}") from error


class Bus:
    """One connection to a message bus."""

    def __init__(self, address: str, timeout: float) -> None:
        """Connect and authenticate as this user.

        Args:
            address: A path, or an abstract socket's name after a NUL.
            timeout: Seconds that all calls together may take.

        Raises:
            BusError: Nobody listens, or not within `timeout`.
        """
        self._deadline = time.monotonic() + timeout
        self._serials = itertools.count(1)
        self._parser: Any = Parser()
        self._heard: list[Message] = []
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(self._left())
            self._socket.connect(address)
            self._authenticate()
            self.name = str(self._call(_DAEMON, "Hello")[0])
        except (OSError, AuthenticationError) as error:
            self.close()
            raise BusError(f"{address}: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def pid_seen(self) -> int:
        """Return the number that the bus has for this process: another one in another pid namespace."""
        return int(self._call(_DAEMON, "GetConnectionUnixProcessID", "s", (self.name,))[0])

    def start_scope(self, unit: str, pid: int, properties: list[tuple[str, tuple[str, Any]]]) -> str:
        """Have systemd put a process into a new scope; return how the job ended: ``done``, ``failed`` and others.

        See org.freedesktop.systemd1(5), ``StartTransientUnit``.

        Raises:
            BusError: It did not answer in time.
            BusRefusal: It refused.
        """
        # The signal that a job has ended may come before the answer that names the job: ask for it first.
        self._call(_DAEMON, "AddMatch", "s", (_JOBS,))
        self._call(_SYSTEMD, "Subscribe")
        body: tuple[Any, ...] = (unit, "fail", [*properties, ("PIDs", ("au", [pid]))], [])
        (job,) = self._call(_SYSTEMD, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
        while True:
            for message in self._heard:
                fields = message.header.fields
                if (
                    fields.get(HeaderFields.member) == "JobRemoved"
                    and len(message.body) == 4
                    and message.body[1] == job
                ):
                    return str(message.body[3])
            self._heard = [self._receive()]

    def _call(
        self, where: Any, method: str, signature: str | None = None, body: tuple[Any, ...] = ()
    ) -> tuple[Any, ...]:
        message = new_method_call(where, method, signature, body)
        # systemd is there or it is not: no bus is to start one.
        message.header.flags |= MessageFlag.no_auto_start
        serial = next(self._serials)
        self._send(message.serialise(serial=serial))
        while True:
            answer = self._receive()
            fields = answer.header.fields
            if fields.get(HeaderFields.reply_serial) != serial:
                self._heard.append(answer)
            elif answer.header.message_type is MessageType.error:
                text = str(answer.body[0]) if answer.body else ""
                raise BusRefusal(str(fields.get(HeaderFields.error_name, "")), text)
            else:
                return tuple(answer.body)

    def _authenticate(self) -> None:
        conversation = Authenticator()
        for words in conversation:
            self._send(words)
            conversation.feed(self._read())
        self._send(BEGIN)

    def _receive(self) -> Message:
        while True:
            message: Message | None = self._parser.get_next_message()
            if message is not None:
                return message
            self._parser.add_data(self._read())

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise BusError("no answer in time")
        return left

    def _send(self, data: bytes) -> None:
        try:
            self._socket.settimeout(self._left())
            self._socket.sendall(data)
        except OSError as error:
            raise BusError(f"the bus takes no message: {error}") from error

    def _read(self) -> bytes:
        try:
            self._socket.settimeout(self._left())
            data = self._socket.recv(4096)
        except TimeoutError:
            raise BusError("no answer in time") from None
        except OSError as error:
            raise BusError(f"no answer: {error}") from error
        if not data:
            raise BusError("the bus closed the connection")
        return data
