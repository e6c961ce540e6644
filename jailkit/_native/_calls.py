"""Typed wrappers of the extension's functions. An error of the kernel becomes an `OSError`."""

from __future__ import annotations

import enum
import errno
import os
from typing import Any, NamedTuple

from jailkit._native._ext import ffi, lib

__all__ = [
    "INIT_PATH",
    "Report",
    "ReportKind",
    "Submission",
    "Talk",
    "TalkEvent",
    "constant",
    "enum_names",
    "receive",
    "start",
    "submit",
    "system_call",
]

# Beside this module, nowhere else: a searched path would be a way to swap the program that holds the rights.
INIT_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jailkit-init")

_NO_FD = -1


class ReportKind(enum.IntEnum):
    """What a report of ``jailkit-init`` says; see ``abi.h``."""

    BORN = lib.JK_REPORT_BORN
    READY = lib.JK_REPORT_READY
    FAILED = lib.JK_REPORT_FAILED
    STARTED = lib.JK_REPORT_STARTED
    OPENED = lib.JK_REPORT_OPENED
    EXITED = lib.JK_REPORT_EXITED


class TalkEvent(enum.IntFlag):
    """Why `Talk.step` came back."""

    REPORT = lib.JK_EVENT_REPORT
    FULL = lib.JK_EVENT_FULL
    TIMEOUT = lib.JK_EVENT_TIMEOUT
    SIGNAL = lib.JK_EVENT_SIGNAL
    LOST = lib.JK_EVENT_LOST


class Report(NamedTuple):
    """One report: which step failed, or how a program ended and what it used."""

    kind: ReportKind
    phase: int
    step: int
    error: int
    pid: int
    status: int
    user_us: int
    system_us: int
    max_rss_kib: int
    minor_faults: int
    major_faults: int
    blocks_in: int
    blocks_out: int
    switches: int
    preemptions: int


class Submission(NamedTuple):
    """The host's ends of one program: -1 where there is none."""

    channel: int
    exec_pipe: int
    stdin: int
    stdout: int
    stderr: int


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


def _report(raw: Any) -> Report:
    return Report(ReportKind(raw.kind), *(getattr(raw, name) for name in Report._fields[1:]))


def start(init: str, id_base: int, ctl: int, plan: int) -> int:
    """Start ``jailkit-init`` with a control socket and a plan; return its pid, a child of this process."""
    return _checked(lib.jk_start(os.fsencode(init), str(id_base).encode(), ctl, plan))


def receive(sock: int, timeout: float) -> tuple[Report, int] | None:
    """Wait for one report and the descriptor beside it (-1 for none); None at end of file.

    Raises:
        TimeoutError: Nothing came within `timeout` seconds.
    """
    raw, fd = ffi.new("struct jk_report *"), ffi.new("int *")
    result = lib.jk_receive(sock, raw, fd, round(timeout * 1000))
    if result == 0:
        return None
    if result == -errno.EAGAIN:
        raise TimeoutError
    _checked(result)
    return _report(raw), int(fd[0])


def submit(
    ctl: int, request: bytes, *, memory: int = _NO_FD, stdio: tuple[int, int, int], want_exec_pipe: bool
) -> Submission:
    """Ask for a program. In `stdio`, -1 makes a pipe and -2 (for stderr) means the same as stdout."""
    data = ffi.from_buffer(request)
    run = ffi.new("struct jk_run *")
    run.ctl, run.request, run.size, run.memory = ctl, data, len(request), memory
    run.want_exec_pipe = want_exec_pipe
    run.theirs = stdio
    _checked(lib.jk_submit(run))
    return Submission(run.channel, run.exec_pipe, *run.ours)


def system_call(name: str, *arguments: int | bytes | Any) -> int:
    """Make the system call ``SYS_<name>``; bytes become pointers to text that ends in NUL."""
    kept = [ffi.from_buffer(argument + b"\0") if isinstance(argument, bytes) else argument for argument in arguments]
    numbers = [int(ffi.cast("intptr_t", item)) if isinstance(item, ffi.CData) else item for item in kept]
    numbers += [0] * (6 - len(numbers))
    return _checked(lib.jk_syscall(constant(f"SYS_{name}"), *numbers))


class Talk:
    """The bytes of one program, between its start and its end.

    Holds no descriptor of its own: the caller opens and closes them.
    """

    def __init__(self, channel: int, *, buffer_size: int = 65536) -> None:
        self._raw = ffi.new("struct jk_talk *")
        self._raw.channel = channel
        self._buffers: list[Any] = [None, None]
        self._size = buffer_size
        self._input: Any = None
        self._raw.input.fd = _NO_FD
        for stream in self._raw.output:
            stream.fd = _NO_FD

    def feed(self, fd: int, data: bytes) -> None:
        """Write `data` to `fd` while stepping; `input_done` says when."""
        self._input = ffi.from_buffer(data)
        stream = self._raw.input
        stream.fd, stream.buffer, stream.size = fd, self._input, len(data)
        stream.used, stream.ended = 0, not data

    def listen(self, index: int, fd: int) -> None:
        """Collect what comes from `fd` as output `index` (0 stdout, 1 stderr)."""
        self._buffers[index] = _uninitialised("char[]", self._size)
        stream = self._raw.output[index]
        stream.fd, stream.buffer, stream.size = fd, self._buffers[index], self._size

    def step(self, timeout: float | None) -> TalkEvent:
        """Move bytes until something is to be decided. `timeout` in seconds; None waits as long as it takes."""
        # At most a day at a time: C counts milliseconds in an int.
        milliseconds = -1 if timeout is None else min(max(0, round(timeout * 1000)), 86_400_000)
        return TalkEvent(_checked(lib.jk_talk(self._raw, milliseconds)))

    def take(self, index: int) -> bytes:
        """Take what has been collected of an output, and make room for more."""
        stream = self._raw.output[index]
        if not stream.used:
            return b""
        data = bytes(ffi.buffer(stream.buffer, stream.used))
        stream.used = 0
        return data

    def ended(self, index: int) -> bool:
        """Whether an output has come to its end of file."""
        return bool(self._raw.output[index].ended)

    @property
    def input_fd(self) -> int:
        """The descriptor that `feed` was given, or -1."""
        return int(self._raw.input.fd)

    @property
    def input_done(self) -> bool:
        """Whether all of the input was written, or nobody reads it any more."""
        return bool(self._raw.input.ended)

    def forget_input(self) -> int:
        """Give up the input; return its descriptor, which is now the caller's to close."""
        fd = int(self._raw.input.fd)
        self._raw.input.fd = _NO_FD
        return fd

    @property
    def report(self) -> Report | None:
        """How the program ended or why it never started; None while it runs."""
        return _report(self._raw.report) if self._raw.got_report else None


# Buffers are read only as far as C has written them; clearing 64 KiB would cost more than the call.
_uninitialised = ffi.new_allocator(should_clear_after_alloc=False)
