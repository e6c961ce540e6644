"""Watch the host while hostile programs run: what they reach, and what they leave behind.

The canary sits on the host with things an attacker would like: a secret file, and four sockets that listen.
It gives their addresses away (`Canary.env`), because a jail that holds only while nobody knows where to look
does not hold. Afterwards `Canary.findings` lists whatever got out of a jail or outlived one.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

#: Where a program that escaped could have left a file, beside the canary's own directory.
PUBLIC_DIRECTORIES = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/"))


class Canary:
    """A context manager that compares the host before with the host after.

    It sees processes (children of this program, and any process whose environment holds the token), mounts,
    open descriptors, files named after the token, the secret, and what arrives on its sockets. It does not
    see a change to a file that was there before.
    """

    def __init__(self) -> None:
        self.token = secrets.token_hex(8)
        self._directory = tempfile.TemporaryDirectory(prefix="jailkit-canary-")
        self._home = Path(self._directory.name)
        self._secret = self._home / "secret"
        self._secret.write_text(f"the secret of {self.token}\n")
        self._sockets: dict[str, socket.socket] = {}
        self._before: dict[str, set[str]] = {}

    def __enter__(self) -> Self:
        self._listen("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self._listen("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self._listen("abstract", socket.AF_UNIX, socket.SOCK_STREAM, f"\0jailkit-{self.token}")
        self._listen("path", socket.AF_UNIX, socket.SOCK_STREAM, str(self._home / "socket"))
        self._before = self._census()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._sockets.values():
            line.close()
        self._directory.cleanup()

    def _listen(self, name: str, family: int, kind: int, address: tuple[str, int] | str) -> None:
        line = self._sockets[name] = socket.socket(family, kind)
        line.setblocking(False)
        line.bind(address)
        if kind == socket.SOCK_STREAM:
            line.listen()

    @property
    def env(self) -> dict[str, str]:
        """The environment of every jailed program: the token, and where the bait is."""
        return {
            "JAILKIT_DEMO": self.token,
            "HOST_SECRET": str(self._secret),
            "HOST_TCP": str(self._sockets["tcp"].getsockname()[1]),
            "HOST_UDP": str(self._sockets["udp"].getsockname()[1]),
            "HOST_ABSTRACT": f"jailkit-{self.token}",
            "HOST_SOCKET": str(self._home / "socket"),
        }

    def findings(self, outputs: Mapping[str, bytes]) -> list[str]:
        """Say in words what got out of a jail or outlived one.

        Args:
            outputs: all that each jailed program printed, by its name; searched for the secret.

        Returns:
            One line for each finding; an empty list when the host is as it was.
        """
        after = self._census()
        left = [
            f"{kind} left behind: {item}"
            for kind, before in self._before.items()
            for item in sorted(after[kind] - before)
        ]
        reached = [f"a program reached the host by {name}" for name in self._sockets if self._rang(name)]
        secret = self._secret.read_bytes().strip()
        told = [
            f"the host's secret is in the output of {program}" for program, text in outputs.items() if secret in text
        ]
        return left + reached + told

    def _rang(self, name: str) -> bool:
        line = self._sockets[name]
        try:
            if line.type == socket.SOCK_STREAM:
                line.accept()[0].close()
            else:
                line.recv(64)
        except BlockingIOError:
            return False
        return True

    def _census(self) -> dict[str, set[str]]:
        return {
            "process": set(_children()) | set(_processes_with(self.token)),
            "mount": set(Path("/proc/self/mountinfo").read_text().splitlines()),
            "descriptor": set(_descriptors()),
            "file": set(self._files()),
            "hostname": {socket.gethostname()},
        }

    def _files(self) -> Iterator[str]:
        # Names of others in the public directories come and go; only those with the token are ours to judge.
        for directory in {*PUBLIC_DIRECTORIES, Path.cwd(), self._home.parent}:
            yield from (str(path) for path in directory.glob(f"*{self.token}*"))
        yield from (str(path) for path in self._home.rglob("*"))


def _children() -> Iterator[str]:
    """All children of this process, those included that are dead and not waited for."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may contain anything; the fields after it are: state, parent, …
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # ended while we looked
        if int(fields[1]) == os.getpid():
            yield f"child {entry.parent.name} ({fields[0]})"


def _processes_with(token: str) -> Iterator[str]:
    """All processes whose environment holds the token: survivors, whoever is their parent by now."""
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if token.encode() in entry.read_bytes():
                yield f"survivor {entry.parent.name}"
        except OSError:
            continue  # ended while we looked, or belongs to somebody else


def _descriptors() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            yield f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}"
        except OSError:
            continue  # the descriptor that listed the directory
