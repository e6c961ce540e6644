"""The programs that jailkit is compared with, each asked for the jail that jailkit builds.

All are started with `subprocess.run`, which is how a Python program would use them. What a peer
cannot do, or does besides, is listed in README.md; `--shapes` prints what each really built.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import oci
from jail_files import ETC, LINKS, TMPFS_BYTES
from measure import Case, CaseError

TRUE = ("/bin/true",)
Build = Callable[[Path, contextlib.ExitStack], "Launcher"]


class Launcher:
    """A command line prefix, and the descriptors it reads its files from."""

    def __init__(self, prefix: Callable[[], Sequence[str]], data: Sequence[int] = ()) -> None:
        self._prefix = prefix
        self._data = tuple(data)

    def run(self, argv: Sequence[str], *, capture: bool = False) -> subprocess.CompletedProcess[str]:
        """Runs argv under the launcher."""
        for fd in self._data:
            os.lseek(fd, 0, os.SEEK_SET)
        command = [*self._prefix(), *argv]
        return subprocess.run(command, check=False, pass_fds=self._data, capture_output=capture, text=True)

    def sample(self) -> int:
        """Runs `/bin/true` once and returns nanoseconds.

        Raises:
            CaseError: The launcher failed.
        """
        begin = time.perf_counter_ns()
        done = self.run(TRUE)
        taken = time.perf_counter_ns() - begin
        if done.returncode:
            raise CaseError(f"status {done.returncode}")
        return taken

    def probe(self, argv: Sequence[str]) -> str:
        """Runs argv and returns its output.

        Raises:
            CaseError: The launcher or the program failed.
        """
        done = self.run(argv, capture=True)
        if done.returncode:
            raise CaseError(done.stderr.strip() or f"status {done.returncode}")
        return done.stdout


def bwrap(directory: Path, stack: contextlib.ExitStack) -> Launcher:
    """Runs bubblewrap with the namespaces, mounts, user and files of a SANDBOX jail."""
    command = ["bwrap", "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-uts", "--unshare-cgroup", "--uid", "1000", "--gid", "1000"]
    command += ["--hostname", "jail", "--new-session", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin"]
    command += ["--ro-bind", "/usr", "/usr"]
    for name, text in LINKS.items():
        command += ["--symlink", text, f"/{name}"]
    fds = []
    for name, text in ETC.items():
        path = directory / name
        path.write_text(text)
        fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        stack.callback(os.close, fds[-1])
        command += ["--file", str(fds[-1]), f"/etc/{name}"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for target in ("/tmp", "/dev/shm"):
        command += ["--perms", "1777", "--size", str(TMPFS_BYTES), "--tmpfs", target]
    command += ["--remount-ro", "/", "--chdir", "/", "--"]
    return Launcher(lambda: command, fds)


def unshare(_directory: Path, _stack: contextlib.ExitStack) -> Launcher:
    """Runs util-linux unshare: the namespaces and a fresh /proc, and none of the other mounts."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--uts", "--ipc"]
    command += ["--net", "--cgroup", "--mount-proc", "--"]
    return Launcher(lambda: command)


def firejail(_directory: Path, _stack: contextlib.ExitStack) -> Launcher:
    """Runs firejail with its nearest options; as root it makes no user and no cgroup namespace."""
    command = ["firejail", "--quiet", "--noprofile", "--net=none", "--private-dev", "--private-tmp"]
    command += ["--ipc-namespace", "--hostname=jail", "--caps.drop=all", "--nonewprivs", "--noroot"]
    command += ["--nogroups", "--"]
    return Launcher(lambda: command)


PEERS: tuple[tuple[str, str, Build], ...] = (
    ("unshare", "unshare (namespaces and /proc only)", unshare),
    ("bwrap", "bwrap", bwrap),
    ("firejail", "firejail", firejail),
)


def cases(directory: Path, stack: contextlib.ExitStack, missing: dict[str, str], skip: Sequence[str]) -> list[Case]:
    """Returns a case for each installed peer, and adds the others to `missing`."""
    found = []
    for key, title, build in PEERS:
        if _wanted(key, missing, skip):
            own = directory / key
            own.mkdir()
            launcher = build(own, stack)
            found.append(Case(key=key, title=title, sample=launcher.sample, probe=launcher.probe))
    if _wanted("crun", missing, skip):
        try:
            found.append(oci.case(directory, stack))
        except CaseError as error:
            missing["crun"] = str(error)
    return found


def _wanted(key: str, missing: dict[str, str], skip: Sequence[str]) -> bool:
    if key in skip:
        missing[key] = "left out by --skip"
    elif shutil.which(key) is None:
        missing[key] = "not installed"
    return key not in missing
