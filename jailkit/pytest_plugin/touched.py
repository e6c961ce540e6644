"""What a test touches that a hermetic test would not.

Files are seen from inside the interpreter, by its audit events: what the test itself does, not the programs that it
starts. Connections and refused system calls, of programs and of C code too, are told by the jail's filter. Neither is a
wall: the jail is. They are there to make a suite hermetic step by step.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from jailkit import Denial

__all__ = ["PROPERTY", "Watch", "note", "summary", "unseen"]

PROPERTY = "jailkit_touched"
_MOST = 100
_OWN = ("/tmp", "/dev", "/proc")  # noqa: S108 - the jail's own
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives", "/etc/ld.so.cache")
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_LOCAL = ("localhost", "127.", "::1", "0.0.0.0", "")  # noqa: S104 - addresses to compare with


class Watch:
    """The audit hook of one jailed test. It cannot be taken away; the process ends with the test."""

    def __init__(self, mounts: Iterable[Any], home: str) -> None:
        self._write = [*_OWN, home, *(one.target for one in mounts if getattr(one, "writable", False))]
        self._read = [*self._write, *_SYSTEM, *(one.target for one in mounts)]
        self._seen: dict[str, None] = {}
        self._told = 0
        self._before = frozenset(_processes())  # what an ordinary user has entered by may be ending
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._open(arguments[0], arguments[2])
        elif event == "socket.connect":
            self._address("connects to", arguments[1])
        elif event == "socket.getaddrinfo" and not _is_local(arguments[0]) and not _is_address(arguments[0]):
            self._add(f"looks up {arguments[0]}")
        elif event in _CHANGES:
            self._path(f"changes ({event})", arguments[0], self._write)

    def _open(self, path: Any, flags: Any) -> None:
        if isinstance(flags, int) and flags & _WRITES:
            self._path("writes", path, self._write)
        else:
            self._path("reads", path, self._read)

    def _path(self, verb: str, path: Any, allowed: list[str]) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        full = os.path.abspath(os.fsdecode(path))
        if not any(full == place or full.startswith(place + "/") for place in allowed):
            self._add(f"{verb} {full}")

    def _address(self, verb: str, address: Any) -> None:
        if isinstance(address, tuple) and address and not _is_local(address[0]):
            self._add(f"{verb} {address[0]} port {address[1]}")

    def _add(self, words: str) -> None:
        if len(self._seen) < _MOST:
            self._seen.setdefault(words)

    def new(self) -> list[str]:
        """Return what was seen since the last time."""
        found = list(self._seen)[self._told :]
        self._told += len(found)
        return found

    def left_behind(self) -> list[str]:
        """Name the processes of the jail that were not there before the test."""
        names = []
        for pid in _processes():
            if pid not in self._before:
                try:
                    with open(f"/proc/{pid}/comm") as file:
                        names.append(f"leaves process {file.read().strip()} behind")
                except OSError:
                    continue
        return names


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _is_local(host: Any) -> bool:
    text = host.decode(errors="replace") if isinstance(host, bytes) else host or ""
    return not isinstance(text, str) or text in _LOCAL or text.startswith("127.") or text == socket.gethostname()


def _is_address(host: Any) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


_CONNECT = re.compile(r"connect to \[?([^]]*)\]?:(\d+)")


def unseen(refused: Iterable[Denial], told: Iterable[str]) -> list[str]:
    """Say what the jail has refused, to the test or to what it has started, that nobody has told of yet."""
    found = []
    for one in refused:
        match = _CONNECT.fullmatch(one.what)
        words = f"connects to {match[1]} port {match[2]}" if match else f"is refused {one.what}"
        if words not in told:
            found.append(words)
    return found


def note(report: pytest.TestReport, things: list[str], *, strict: bool) -> None:
    """Put into a report what the test touched; with `strict`, that makes it a failure."""
    if not things:
        return
    report.user_properties = [*report.user_properties, (PROPERTY, "\n".join(things))]
    if strict and report.passed:
        report.outcome = "failed"
        report.longrepr = "not hermetic:\n" + "\n".join(f"  {thing}" for thing in things)


def summary(terminalreporter: Any) -> None:
    """Print what the tests of the session touched."""
    found: dict[str, list[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    lines = found.setdefault(report.nodeid, [])
                    lines += [line for line in str(value).split("\n") if line not in lines]
    terminalreporter.section("touched by jailed tests")
    for nodeid, lines in sorted(found.items()):
        terminalreporter.write_line(nodeid)
        for line in lines:
            terminalreporter.write_line(f"    {line}")
    terminalreporter.write_line(f"{len(found)} tests touched what a hermetic test does not")
