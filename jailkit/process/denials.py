"""What a jail refused, told by the listener of its filter: seccomp_unotify(2).

The listener never decides: what the filter refuses, it answers with EPERM, and what the filter only tells of goes on,
to be decided by the kernel. What a program's memory says of an address is for the report alone; the program may have
changed it by the time that the kernel looks.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import ipaddress
import os
import select
import struct
import threading
import time
import weakref

from jailkit import _native
from jailkit.plan import Notices
from jailkit.process.live import LiveJail
from jailkit.process.result import Denial, Refused

__all__ = ["Listener", "denials", "listen", "listen_to"]

_START_SECONDS = 60.0
"""How long a program may take to its exec, the start of a jail of its own included."""

_MOST = 64
"""Different things that are listed. What a program is refused is its own choice, and so is how much of it."""

_AT_FULL_SPEED = 1000
_PAUSE_SECONDS = 0.001
"""After so many refusals each waits so long: a program that does nothing else must not keep the host program busy."""

_END_SECONDS = 2.0

_NOTICE = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp
_RECEIVE, _SEND, _STILL_THERE = 0xC050_2100, 0xC018_2101, 0x4008_2102  # SECCOMP_IOCTL_NOTIF_RECV, _SEND, _ID_VALID
_CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_KIND = "anon_inode:seccomp notify"
_UNIX, _INET, _INET6 = 1, 2, 10
_ADDRESS_BYTES = 128  # struct sockaddr_storage


def listen(live: LiveJail, run: _native.Run, notices: Notices | None) -> Listener | None:
    """Take the listener of a program that is asked for, and answer from now on; None if there is nothing to listen to.

    Raises:
        ClosedError: PID 1 did not start the program.
    """
    if notices is None:
        return None
    while run.file < 0 and run.report is None:
        try:
            if not run.take_file(_START_SECONDS):
                break  # PID 1 is gone: whoever waits for the end hears of it
        except InterruptedError:
            continue
        except BlockingIOError:
            raise live.lost("PID 1 did not start a program") from None
    return listen_to(live, run.file, notices) if run.file >= 0 else None


def listen_to(live: LiveJail, fd: int, notices: Notices) -> Listener | None:
    """Answer a copy of a listener from now on; None if it is none."""
    # A PID 1 in hostile hands may send any descriptor, on which a call might wait for ever.
    if os.readlink(f"/proc/self/fd/{fd}") != _KIND:
        return None
    listener = Listener(os.dup(fd), notices)
    live.look_after(listener)
    return listener


def denials(live: LiveJail, listener: Listener | None, notices: Notices | None) -> tuple[Denial, ...]:
    """Return what a program that has ended was refused, by the filter of calls and by that of its network."""
    told = listener.denials() if listener else ()
    if notices is None or live.annex is None:
        return told
    refused = live.annex.refused()
    told += tuple(_packet(one, notices.packets) for one in refused[:_MOST])
    more = sum(one.count for one in refused[_MOST:])
    return (*told, Denial(call="", what="something else", remedy="", count=more)) if more else told


def _packet(refused: Refused, remedy: str) -> Denial:
    where = _printed(refused.address, refused.port)
    words = f"{where}/{refused.protocol}"
    call, what = "sendto", f"send to {words}"
    if refused.protocol == "tcp":
        call, what = "connect", f"connect to {where}"
    elif refused.protocol == "ping":
        what = f"ping {refused.address}"
    # Of other protocols a rule takes no ports: it opens the address.
    opened = words if refused.protocol in ("tcp", "udp") else refused.address
    return Denial(call=call, what=what, count=refused.count, remedy=remedy.format(opened))


@functools.lru_cache(maxsize=8)
def _names(notices: Notices) -> dict[int, str]:
    return {number: name for name, number in _native.call_numbers(dict(notices.remedies)).items()}


class Listener:
    """A thread that answers the calls which a filter reports, until no process is under it any more."""

    def __init__(self, fd: int, notices: Notices) -> None:
        """Answer from now on. The descriptor is the listener's."""
        self._fd = fd
        self._notices = notices
        self._names = _names(notices)
        self._remedies = dict(notices.remedies)
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str, str], int] = {}
        self._count = 0
        self._thread = threading.Thread(target=self._serve, name="jailkit-denials", daemon=True)
        _listeners.add(self)
        self._thread.start()

    def denials(self) -> tuple[Denial, ...]:
        """Return what was refused so far, in the order in which it was first."""
        with self._lock:
            return tuple(
                Denial(call=call, what=what, remedy=remedy, count=n) for (call, what, remedy), n in self._seen.items()
            )

    @property
    def ended(self) -> bool:
        """Whether nobody is left who could be refused anything."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Wait for the end, which comes by itself when the last process is gone."""
        self._thread.join(_END_SECONDS)

    def disown(self) -> None:
        """After a fork, in the child: the thread is not here, and the descriptor is the parent's to answer."""
        self._lock = threading.Lock()
        _listeners.discard(self)  # a fork of the fork has nothing to close
        os.close(self._fd)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        try:
            while all(event & select.POLLIN for _, event in poll.poll()):
                self._answer_one()
        except OSError:
            return  # nothing more can be told, and with the descriptor closed nothing waits: each such call gets ENOSYS
        finally:
            _listeners.discard(self)
            os.close(self._fd)

    def _answer_one(self) -> None:
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(self._fd, _RECEIVE, notice)
        except OSError as error:
            if error.errno == errno.ENOENT:  # it was killed meanwhile
                return
            raise
        mark, pid, _, number, _, _, *arguments = _NOTICE.unpack(notice)
        call = self._names.get(number, f"system call {number}")
        watched = call in self._notices.watched
        try:
            self._note(call, self._words(mark, pid, call, arguments), watched=watched)
            self._count += 1
            if self._count > _AT_FULL_SPEED:
                time.sleep(_PAUSE_SECONDS)
            answer = (mark, 0, 0, _CONTINUE) if watched else (mark, 0, -errno.EPERM, 0)
            fcntl.ioctl(self._fd, _SEND, _ANSWER.pack(*answer))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def _note(self, call: str, words: tuple[str, str] | None, *, watched: bool) -> None:
        if words is None and watched:
            return
        what, remedy = words or (call, self._remedies.get(call, ""))
        key = (call, what, remedy)
        with self._lock:
            if key not in self._seen and len(self._seen) >= _MOST:
                key = ("", "something else", "")
            self._seen[key] = self._seen.get(key, 0) + 1

    def _words(self, mark: int, pid: int, call: str, arguments: list[int]) -> tuple[str, str] | None:
        """Say what is refused and what allows it; None where the name of the call is all, or nothing is refused."""
        if call == "socket":
            return _socket(arguments, dict(self._notices.families), self._remedies[call])
        if call not in ("connect", "bind"):
            return None
        address = _read(pid, arguments[1], min(arguments[2] & 0xFFFF_FFFF, _ADDRESS_BYTES))
        fcntl.ioctl(self._fd, _STILL_THERE, struct.pack("=Q", mark))  # else the pid is perhaps somebody else's
        host, port = _parse(address)
        if call not in self._notices.watched:
            return (f"{call} to {_printed(host, port)}", self._remedies[call]) if host else None
        if call == "bind":
            return _reserved(port, self._notices)
        return _outside(host, port, self._notices.outside)


def _socket(arguments: list[int], families: dict[int, str], otherwise: str) -> tuple[str, str]:
    family, kind = arguments[0] & 0xFFFF_FFFF, arguments[1] & 0xF
    names = {1: "AF_UNIX", _INET: "AF_INET", _INET6: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET", 38: "AF_ALG"}
    kinds = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}
    words = f"socket({names.get(family, family)}, {kinds.get(kind, kind)})"
    return words, families.get(family, otherwise)


def _reserved(port: int | None, notices: Notices) -> tuple[str, str] | None:
    return (f"bind to port {port}", notices.ports) if port and port < notices.first_port else None


def _outside(host: str, port: int | None, remedy: str) -> tuple[str, str] | None:
    """Say what is beyond the jail's own loopback."""
    if port is None:
        return None
    address = ipaddress.ip_address(host)
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        return None
    where = _printed(str(address), port)
    return f"connect to {where}", remedy.format(where)


def _printed(host: str, port: int | None) -> str:
    return host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _read(pid: int, address: int, size: int) -> bytes:
    """Read a program's memory; nothing where the kernel does not let us, or there is none."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            return os.pread(memory.fileno(), size, address)
    except (OSError, OverflowError, ValueError):
        return b""


def _parse(address: bytes) -> tuple[str, int | None]:
    """Return host and port; of a socket with a path, the path and None; ("", None) for anything else."""
    family = int.from_bytes(address[:2], "little")
    port = int.from_bytes(address[2:4], "big")
    if family == _INET and len(address) >= 8:
        return str(ipaddress.IPv4Address(address[4:8])), port
    if family == _INET6 and len(address) >= 24:
        return str(ipaddress.IPv6Address(address[8:24])), port
    if family == _UNIX and len(address) > 2:
        name = address[2:].split(b"\0", 1)[0] or b"@" + address[3:].split(b"\0", 1)[0]
        return ascii(os.fsdecode(name)), None  # it may hold what steers a terminal
    return "", None


_listeners: weakref.WeakSet[Listener] = weakref.WeakSet()


def _disown_all() -> None:
    for listener in list(_listeners):
        listener.disown()


os.register_at_fork(after_in_child=_disown_all)
