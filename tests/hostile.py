"""A jailkit-init in hostile hands: a script in its place, which says on its sockets whatever a test wants."""

from __future__ import annotations

import contextlib
import os
import subprocess
import textwrap
from collections.abc import Iterator
from typing import Any

from jailkit._native._ext import ffi

from jailkit._native import ReportKind
from tests.facts import PYTHON

__all__ = ["CANARY", "bystander", "hostile_init", "report"]

CANARY = "CANARY"
"""In the words of a hostile init: the process id of a bystander."""

PRELUDE = """
import ctypes, os, signal, socket, struct, time
libc = ctypes.CDLL(None, use_errno=True)
ctl = socket.socket(fileno=3)

def say(sock, data, fds=()):
    try:
        socket.send_fds(sock, [data], fds) if fds else sock.send(data)
    except OSError:
        pass

def be_born():
    "Make PID 1: a child of the host program, as jailkit-init does. It goes on; this process says so, and ends."
    hear, tell = os.pipe()
    pidfd = ctypes.c_int(-1)
    born = libc.syscall(ctypes.c_long(CLONE), ctypes.c_long(0x8000 | 0x1000), None, ctypes.byref(pidfd), None, None)
    if born > 0:
        say(ctl, told("BORN", pid=born), [pidfd.value])
        os._exit(0)
    os.close(tell)
    os.read(hear, 1)  # who starts PID 1 speaks first: nothing hostile has run yet
    os.close(hear)
    for number in set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)

def told(kind, pid=None, **fields):
    data = bytes.fromhex(REPORTS[kind, tuple(sorted(fields.items()))])
    return data if pid is None else data[:PID_AT] + struct.pack("<i", pid) + data[PID_AT + 4:]

def request():
    "Take one request; return its channel, and what else came."
    data, fds, _, _ = socket.recv_fds(ctl, 1 << 16, 16)
    while len(data) == 1:  # what its plan would take: a door to a control group or to a network
        os.close(fds[0])
        data, fds, _, _ = socket.recv_fds(ctl, 1 << 16, 16)
    return socket.socket(fileno=fds[0]), fds[1:]

def null():
    return os.open("/dev/null", os.O_RDWR)

def ever():
    while True:
        time.sleep(3600)

def be_ready():
    be_born()
    say(ctl, told("READY"))
"""


def report(kind: str, **fields: int) -> bytes:
    """Return a report as jailkit-init sends it."""
    number = ReportKind[kind] if kind in ReportKind.__members__ else int(kind)
    room = {"scratch_bytes": 1 << 20, "scratch_names": 100}  # or each end would be that of a full disk
    return bytes(ffi.buffer(ffi.new("struct jk_report *", {"kind": number, **room, **fields})))


def _reports() -> dict[Any, str]:
    odd: list[tuple[str, dict[str, int]]] = [
        *((kind, {}) for kind in ReportKind.__members__),
        *((kind, {}) for kind in ("0", "7", "99", "4294967295")),
        *(("EXITED", {"status": status}) for status in (256, 9, 0x137F, 0xFFFF, -1)),
        *(("FAILED", {"error": error}) for error in (2, 0, -5, -(2**31))),
        ("FAILED", {"error": 2, "step": 2**31 - 1}),
        ("FAILED", {"error": 2, "phase": -1, "step": -7}),
    ]
    return {(kind, tuple(sorted(fields.items()))): report(kind, **fields).hex() for kind, fields in odd}


@contextlib.contextmanager
def bystander() -> Iterator[int]:
    """A process of the host that is no child of this one and must live; yields its process id."""
    with subprocess.Popen(["sh", "-c", "sleep 3600 & echo $!; wait"], stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        try:
            yield pid
            os.kill(pid, 0)
            assert shell.poll() is None
        finally:
            os.kill(pid, 9)
            shell.wait(10)


def hostile_init(folder: str, words: str, canary: int = 0) -> str:
    """Write a program that says these words instead of doing the work of jailkit-init; return its path."""
    path = os.path.join(folder, "hostile-init")
    lines = (
        f"#!{PYTHON} -IS",
        PRELUDE,
        f"REPORTS = {_reports()!r}",
        f"PID_AT = {ffi.offsetof('struct jk_report', 'pid')}",
        f"CLONE = {220 if os.uname().machine == 'aarch64' else 56}",
        f"{CANARY} = {canary}",
        textwrap.dedent(words),
    )
    with open(path, "w") as file:
        file.write("\n".join(lines))
    os.chmod(path, 0o755)
    return path
