"""Kernels of Debian packages, unpacked in a cache and never installed."""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

__all__ = ["CACHE", "VmError", "find", "version"]

CACHE = os.environ.get("JAILKIT_VM_CACHE") or os.path.expanduser("~/.cache/jailkit-vm")
"""Where kernels are unpacked; each takes about 100 MB."""

META = "linux-image-cloud-amd64"
"""The package that depends on the newest kernel of a suite. The cloud flavour has what a virtual machine needs, and
is a third of the size."""

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SECONDS = 300


class VmError(Exception):
    """There is no virtual machine, for the reason that the message gives."""


def version(kernel: str) -> str:
    """Return what ``uname -r`` says of the kernel in a directory."""
    return os.listdir(f"{kernel}/lib/modules")[0]


def find(word: str) -> str:
    """Return the directory of a kernel, fetched when it is not there.

    Args:
        word: ``release``, the kernel of the distribution that runs here; ``newest``, of its backports suite; the
            beginning of a version, as in ``6.1``, of one that is there; or a directory.

    Raises:
        VmError: There is none, or the package source does not answer.
    """
    if platform.machine() != "x86_64":
        raise VmError(f"the test bed is for x86_64, and this is {platform.machine()}")
    if word == "release":
        return _fetched(_depends(word, None), None)
    if word == "newest":
        with _backports() as config:
            return _fetched(_depends(word, config), config)
    if os.path.isdir(word):
        return os.path.abspath(word)
    there = [path for path in glob.glob(f"{CACHE}/linux-image-*") if version(path).startswith(f"{word}.")]
    if not there:
        raise VmError(f"no kernel {word} in {CACHE}: name 'release' or 'newest' to have one fetched")
    return max(there, key=_sorted_by)


def _sorted_by(kernel: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version(kernel))]


@contextlib.contextmanager
def _backports() -> Iterator[str]:
    """Make a configuration of apt(8) that knows one suite, and leaves the machine's own lists alone."""
    uri, codename = _mirror()
    with tempfile.TemporaryDirectory(prefix="jailkit-apt-") as top:
        for name in ("lists/partial", "cache/archives/partial"):
            os.makedirs(f"{top}/{name}")
        with open(f"{top}/sources.list", "w") as file:
            file.write(f"deb [signed-by={KEYRING}] {uri} {codename}-backports main\n")
        with open(f"{top}/apt.conf", "w") as file:
            file.write(
                f'Dir::Etc::SourceList "{top}/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
                f'Dir::State::Lists "{top}/lists";\nDir::Cache "{top}/cache";\nAPT::Sandbox::User "root";\n'
            )
        # Without the option an update that got nothing is a warning, and the old lists count.
        _apt(["apt-get", "-o", "APT::Update::Error-Mode=any", "update"], f"{top}/apt.conf")
        yield f"{top}/apt.conf"


def _mirror() -> tuple[str, str]:
    """Return the address and the code name of the distribution's own suite, as this machine's apt has them."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    layout = ["--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages", "Label: Debian"]
    lines = _apt(["apt-get", "indextargets", *layout], None).splitlines()
    found = [uri for uri, name in (line.split() for line in lines) if name == codename]
    if not found:
        raise VmError(f"apt knows no suite {codename or 'of this distribution'} of Debian; is this Debian?")
    return found[0], codename


def _apt(argv: list[str], config: str | None, folder: str | None = None) -> str:
    env = {**os.environ, "LC_ALL": "C", **({"APT_CONFIG": config} if config else {})}
    try:
        done = subprocess.run(
            argv, env=env, cwd=folder, capture_output=True, text=True, timeout=_SECONDS,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise VmError(f"there is no {argv[0]}: kernels come from Debian packages") from None
    except subprocess.TimeoutExpired:
        raise VmError(f"the package source did not answer in {_SECONDS} s: {' '.join(argv)}") from None
    if done.returncode:
        raise VmError(f"the package source did not answer: {' '.join(argv)}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _depends(word: str, config: str | None) -> str:
    """Return the package of the kernel that the newest of a suite is."""
    found = re.findall(r"Depends: (linux-image-\d\S+)", _apt(["apt-cache", "depends", META], config))
    if not found:
        raise VmError(f"apt offers no {META} ({word}): run apt-get update")
    return str(found[0])


def _fetched(package: str, config: str | None) -> str:
    path = f"{CACHE}/{package}"
    if not os.path.isdir(path):
        os.makedirs(CACHE, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _apt(["apt-get", "-o", "APT::Sandbox::User=root", "download", package], config, folder)
            subprocess.run(["dpkg", "-x", *glob.glob(f"{folder}/*.deb"), f"{folder}/new"], check=True, timeout=_SECONDS)
            subprocess.run(["busybox", "depmod", "-b", f"{folder}/new", version(f"{folder}/new")], check=True)
            shutil.rmtree(path, ignore_errors=True)
            os.rename(f"{folder}/new", path)
    return path
