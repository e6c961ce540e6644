"""Typed wrappers of the extension's functions. An error of the kernel becomes an `OSError`."""

from __future__ import annotations

import functools
import math
import os
import select
import struct
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from jailkit._native._ext import ffi, lib
from jailkit._native._quick import address, keeping
from jailkit._native._report import Report, report_of

__all__ = [
    "INIT_PATH",
    "NULL",
    "PIPE",
    "SAME",
    "First",
    "Ids",
    "Jail",
    "Run",
    "constant",
    "enum_names",
    "system_call",
]

# Beside this module, nowhere else: a searched path would be a way to swap the program that holds the rights.
INIT_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jailkit-init")

PIPE: int = lib.JK_PIPE
NULL: int = lib.JK_NULL
SAME: int = lib.JK_SAME
_NO_FD = -1
_TAKES_SECONDS = 10.0
"""How long a live jail may take for the requests before this one. PID 1 reads at once what it is sent: one that does
not is lost, and nobody may wait for it for ever."""
_KILL_TREE: int = lib.JK_ORDER_KILL_TREE


def constant(name: str) -> int:
    """Return the number that the compiler knows under this name."""
    return int(getattr(lib, name))


def enum_names(enum_name: str) -> dict[int, str]:
    """Return the names of a C enum by value."""
    return {int(value): name for value, name in ffi.typeof(f"enum {enum_name}").elements.items()}


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def _milliseconds(seconds: float | None) -> int:
    # At most a day at a time: C counts milliseconds in an int.
    return -1 if seconds is None else min(max(0, math.ceil(seconds * 1000)), 86_400_000)


def system_call(name: str, *arguments: int | bytes | Any) -> int:
    """Make the system call ``SYS_<name>``; bytes become pointers to text that ends in NUL."""
    kept = [ffi.from_buffer(argument + b"\0") if isinstance(argument, bytes) else argument for argument in arguments]
    numbers = [int(ffi.cast("intptr_t", item)) if isinstance(item, ffi.CData) else item for item in kept]
    numbers += [0] * (6 - len(numbers))
    return _checked(lib.jk_syscall(constant(f"SYS_{name}"), *numbers))


def _joins(fds: Sequence[int]) -> bytes:
    if len(fds) > lib.JK_JOINS:
        raise ValueError(f"there is room for {lib.JK_JOINS} descriptors, not for {len(fds)}")
    return _JOINS.pack(len(fds), *fds, *[_NO_FD] * (lib.JK_JOINS - len(fds)))


class Ids(NamedTuple):
    """Host ids to claim a slice of: see ``struct jk_ids``."""

    first: int
    slice: int
    slices: int


class First(NamedTuple):
    """The first program of a jail, asked for together with the jail."""

    run: Run
    request: bytes
    stdio: tuple[int, int, int]


class Jail:
    """One started jail: a control socket and two child processes. Owns them from the moment they exist."""

    def __init__(self, *, patient: bool = False, death_seconds: float = 10.0) -> None:
        """Own nothing yet.

        Args:
            patient: It is ended by its PID 1, and not by the kernel with it.
            death_seconds: How long to wait for its end when it is forgotten about.
        """
        self._raw = ffi.new("struct jk_jail *", [_NO_FD, _NO_FD, _NO_FD, _NO_FD, patient])
        self._at = address(self._raw)
        # A destructor in C: one in Python, which an interrupt stops, ends nothing. It is that of the second argument.
        bound = ffi.cast("int", _milliseconds(death_seconds))
        self._end = ffi.gc(bound, functools.partial(lib.jk_end, self._raw))

    def start(self, init: bytes, plan: bytes, ids: Ids | None) -> None:
        """Start ``jailkit-init`` with a plan; with `ids`, claim a slice for the jail's life."""
        # Tried from anywhere: from the clock, because os.urandom() would give the interpreter lock away.
        area = _IDS.pack(*(ids or (0, 0, 0)), time.monotonic_ns() >> 8 & 0xFFFF)
        _checked(_start(self._at, init, plan, len(plan), area))

    def give(self, gifts: Sequence[int], first: First | None) -> None:
        """Give it the descriptors that its plan waits for, in that order, and ask for its first program.

        The descriptors stay the caller's.

        Raises:
            BrokenPipeError: It has ended before; what it has said of that is still to be heard.
        """
        if first is None:
            _checked(_give(self._at, _joins(gifts), None, None, 0, None))
            return
        run, request, stdio = first
        _checked(_give(self._at, _joins(gifts), run.at, request, len(request), _STDIO.pack(*stdio)))

    @property
    def ctl(self) -> int:
        """The control socket, or -1."""
        return int(self._raw.ctl)

    @property
    def pid(self) -> int:
        """PID 1 of the jail, or -1 as long as its birth was not heard of."""
        return int(self._raw.pid)

    @property
    def pidfd(self) -> int:
        """A descriptor of PID 1, or -1."""
        return int(self._raw.pidfd)

    def hear(self, timeout: float) -> Report | None:
        """Wait for the next report; None at end of file, or for what no honest PID 1 says.

        Raises:
            BlockingIOError: Nothing came within `timeout` seconds.
            InterruptedError: A signal came first.
        """
        raw = ffi.new("struct jk_report *")
        return report_of(raw) if _checked(lib.jk_hear(self._raw, raw, _milliseconds(timeout))) else None

    def end(self, timeout: float) -> None:
        """Kill everything, wait for it, close everything. Nothing happens the second time.

        Raises:
            TimeoutError: PID 1 did not die within `timeout` seconds.
        """
        _checked(lib.jk_end(self._raw, _milliseconds(timeout)))

    def disown(self) -> None:
        """Close the descriptors and forget the rest, which belongs to the process that this one was forked from."""
        for fd in (self._raw.ctl, self._raw.pidfd):
            if fd >= 0:
                os.close(fd)
        self._raw.ctl = self._raw.pidfd = self._raw.pid = self._raw.starter = _NO_FD


class Run:
    """One program: its channel and our ends of its pipes. Owns them from the moment they exist.

    Closing it, or forgetting it, kills the program if it still runs.
    """

    def __init__(self, buffer_size: int = 65536) -> None:
        # In this order: zeros are descriptors too, and an exception may come at any point.
        self._raw = ffi.gc(ffi.new(_RUN, _CLOSED_RUN[0]), lib.jk_close)
        self.at = address(self._raw)
        self._report: Report | None = None
        self._streams = tuple(self._raw.stream)  # views of it: each look through the array would make a new one
        self._room = 0
        self._size = buffer_size
        # One thread may send an order while another closes: then the number may be somebody else's. Re-entrant, because
        # a signal handler of the host program may send an order in the middle of another.
        self._lock = threading.RLock()
        self._kept: list[Any] = [None] * 3

    def submit(
        self, ctl: int, request: bytes, stdio: tuple[int, int, int], *, watched: bool, joins: Sequence[int] = ()
    ) -> None:
        """Ask for the program. In `stdio`: a descriptor, PIPE, NULL, or SAME (for stderr).

        Raises:
            BlockingIOError: PID 1 has taken none of the requests before it for seconds.
        """
        asked = self.at, ctl, request, len(request), _STDIO.pack(*stdio), watched, _joins(joins)
        try:
            _checked(_submit(*asked))
        except BlockingIOError:
            _close(self.at)
            look = select.poll()
            look.register(ctl, select.POLLOUT)
            look.poll(_TAKES_SECONDS * 1000)
            _checked(_submit(*asked))

    def wait_exec(self, timeout: float) -> bool:
        """Wait until a watched program runs, or has failed to (see `report`); False if PID 1 is gone or talks nonsense.

        Raises:
            BlockingIOError: PID 1 said nothing within `timeout` seconds.
            InterruptedError: A signal came first; call again.
        """
        return bool(_checked(lib.jk_wait_exec(self._raw, _milliseconds(timeout))))

    def take_file(self, timeout: float) -> bool:
        """Wait for the file that the request asked for (see `file`) or a `report`.

        False, and the errors, as of `wait_exec`.
        """
        return bool(_checked(lib.jk_take_file(self._raw, _milliseconds(timeout))))

    @property
    def channel(self) -> int:
        """The socket on which PID 1 tells of the program, or -1."""
        return int(self._raw.channel)

    @property
    def file(self) -> int:
        """The descriptor of the file that the request asked for, which closes with this; or -1."""
        return int(self._raw.file)

    def stream(self, number: int) -> int:
        """Our end of the pipe of stream 0, 1 or 2; -1 for none."""
        return int(self._streams[number].fd)

    def open_streams(self) -> tuple[int, int, int]:
        """Our ends of the pipes that `talk` still has something to do with; -1 for the others."""
        first, second, third = self._streams
        feeding = first.fd if first.buffer != ffi.NULL and not first.ended else _NO_FD
        return int(feeding), _NO_FD if second.ended else int(second.fd), _NO_FD if third.ended else int(third.fd)

    def lend(self, number: int, fd: int) -> None:
        """Set our end of a stream, or, with -1, forget it without closing it."""
        self._streams[number].fd = fd

    def feed(self, data: bytes) -> None:
        """Write this to stdin while talking, then close it."""
        stream = self._streams[0]
        if stream.fd < 0:
            return
        self._kept[0] = stream.buffer = ffi.from_buffer(data)
        stream.size, stream.used, stream.ended = len(data), 0, not data
        os.set_blocking(stream.fd, False)

    def listen(self) -> None:
        """Collect stdout and stderr while talking, where they are pipes."""
        for number in (1, 2):
            stream = self._streams[number]
            if stream.fd >= 0 and self._kept[number] is None:
                self._kept[number] = stream.buffer = _uninitialised(_BUFFER, self._size)
                stream.size = self._room = self._size

    def allow(self, size: int | None) -> None:
        """Come back when both outputs together may be over this many bytes; with None, when a buffer is full."""
        room = self._size if size is None else min(self._size, size // 2 + 1)
        if room != self._room:
            self._room = self._streams[1].size = self._streams[2].size = room

    def talk(self, timeout: float | None) -> int:
        """Move bytes until something is to be decided; return `Event` bits. `timeout` in seconds; None for ever."""
        return _checked(lib.jk_talk(self._raw, _milliseconds(timeout)))

    def take(self, number: int) -> bytes:
        """Take what has been collected of an output, and make room for more."""
        stream = self._streams[number]
        if not stream.used:
            return b""
        data = bytes(ffi.buffer(stream.buffer, stream.used))
        stream.used = 0
        return data

    def order(self, signal: int | None) -> None:
        """Have the program sent a signal, or, with None, it and all it has started killed. It may have ended."""
        with self._lock:
            lib.jk_order(self._raw, _KILL_TREE if signal is None else signal)

    @property
    def report(self) -> Report | None:
        """How the program ended or why it never started; None while it runs."""
        if self._report is None and self._raw.got_report:  # the first one counts, in C too
            self._report = report_of(self._raw.report)
        return self._report

    @property
    def closed(self) -> bool:
        """Whether there is no channel (any more)."""
        return int(self._raw.channel) < 0

    @property
    def pidfd(self) -> int:
        """A descriptor of a watched program, or -1."""
        return int(self._raw.pidfd)

    def exited(self) -> bool:
        """Whether a watched program has ended, although nobody may have heard of it, or this is closed."""
        look = select.poll()
        with self._lock:
            if self.pidfd < 0:
                return self.closed
            look.register(self.pidfd, select.POLLIN)
            return bool(look.poll(0))

    def close(self) -> None:
        """Close every descriptor. Safe to call again."""
        with self._lock:
            _close(self.at)

    def disown(self) -> None:
        """After a fork, in the child: close without the lock, which a thread that does not exist here may hold."""
        lib.jk_close(self._raw)


# Buffers are read only as far as C has written them; clearing 64 KiB would cost more than the call.
_uninitialised = ffi.new_allocator(should_clear_after_alloc=False)
_RUN, _BUFFER = ffi.typeof("struct jk_run *"), ffi.typeof("char[]")
_CLOSED_RUN = ffi.new(_RUN, [_NO_FD] * 4)
_IDS, _JOINS, _STDIO = struct.Struct("4I"), struct.Struct(f"{1 + lib.JK_JOINS}i"), struct.Struct("3i")
_start, _give, _close = keeping("jk_start", "pbbnb"), keeping("jk_give", "pbpbnb"), keeping("jk_close", "p", None)
_submit = keeping("jk_submit", "pibnbib")
for _stream in _CLOSED_RUN.stream:
    _stream.fd = _NO_FD
