"""Programs to run inside a jail, and the same ones outside, where what they attempt works."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from typing import Any

from jailkit import Bind, Jail
from tests.facts import PYTHON
from tests.patience import patient

__all__ = [
    "NAMESPACES",
    "as_namespace_root",
    "fingerprint",
    "host_program",
    "inside",
    "outside",
    "program",
    "public_directory",
    "small_root",
    "wait_for_file",
]

PRELUDE = """
import contextlib, ctypes, errno, json, os, platform, sys, time
libc = ctypes.CDLL(None, use_errno=True)
# Numbers of calls without a function in the C library; those from 424 on are the same everywhere.
X86 = platform.machine() == "x86_64"
NR = dict(pivot_root=155 if X86 else 41, bpf=321 if X86 else 280, ptrace=101 if X86 else 117,
          open_tree=428, move_mount=429, fsopen=430, fsmount=432, mount_setattr=442)

def said(result):
    return "POSSIBLE" if result >= 0 else errno.errorcode[ctypes.get_errno()]

def call(name, *arguments):
    "Make a system call, by number or by its function in the C library; say POSSIBLE or why not."
    words = [ctypes.c_char_p(a) if isinstance(a, bytes) or a is None else ctypes.c_long(a) for a in arguments]
    if name in NR:
        return said(libc.syscall(ctypes.c_long(NR[name]), *words))
    return said(getattr(libc, name)(*words))

def attempt(function, *arguments, **options):
    "Call a function of Python; say POSSIBLE or why not."
    try:
        function(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "POSSIBLE"

def read(path, size=4096):
    with open(path, "rb") as file:
        return file.read(size)

def say(what):
    print(json.dumps(what))
"""

PUBLIC = "/var/tmp"
"""Where directories are made that everybody may enter."""

NAMESPACES = ("unshare", "-Urmpfiun", "--mount-proc")
"""In front of a program: root of new namespaces of its own, with every capability in them. Where attacks work."""


def program(code: str, *arguments: str) -> list[str]:
    """Return the command that runs some lines of Python, in a jail or not."""
    return [PYTHON, "-I", "-S", "-c", PRELUDE + textwrap.dedent(code), *arguments]


def inside(jail: Jail, code: str, *arguments: str, **options: Any) -> Any:
    """Run some lines of Python in a jail and return what they `say`."""
    result = jail.run(program(code, *arguments), **{"timeout": patient(60), **options})
    assert result.ok, (str(result), result.stderr.decode(errors="replace"))
    return json.loads(result.stdout)


def wait_for_file(jail: Jail, path: str) -> None:
    """Wait until a program of a jail has made a file there: it says so how far it is."""
    deadline = time.monotonic() + patient(30)
    while True:
        try:
            jail.get(path)
        except FileNotFoundError:
            assert time.monotonic() < deadline, path
            time.sleep(0.01)
        else:
            return


def outside(code: str, *arguments: str, prefix: tuple[str, ...] = (), **options: Any) -> Any:
    """Run the same lines on the host."""
    done = subprocess.run(
        [*prefix, *program(code, *arguments)], capture_output=True, timeout=patient(60), check=False, **options
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return json.loads(done.stdout)


def as_namespace_root(code: str, *arguments: str, **options: Any) -> Any:
    """Run the same lines as root of new namespaces, from which nothing reaches the host."""
    return outside(code, *arguments, prefix=NAMESPACES, **options)


def host_program(code: str, *arguments: str, prefix: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
    """Start a program that uses jailkit on the host, as a program of its own."""
    lines = "import os, signal, sys, time\nimport jailkit\n" + textwrap.dedent(code)
    return subprocess.Popen(
        [*prefix, sys.executable, "-W", "error", "-c", lines, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/", **options,
    )  # fmt: skip


@contextlib.contextmanager
def public_directory() -> Iterator[str]:
    """Make a directory that everybody on the host may enter: what is in it is safe only if it is out of reach."""
    # Not below /tmp, which every jail has for itself: whatever hid it there would hide it by chance.
    path = tempfile.mkdtemp(prefix="public-", dir=PUBLIC)
    os.chmod(path, 0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def small_root(path: str, *, points: bool = True) -> tuple[Bind, ...]:
    """Fill a directory so that it can be a root; return the binds that bring the host's programs into it.

    Args:
        path: The directory.
        points: Make every mount point, as writable="yes" asks for.
    """
    binds = [Bind("/usr")]
    os.mkdir(f"{path}/usr")
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{path}/{name}")
        elif os.path.isdir(f"/{name}"):
            os.mkdir(f"{path}/{name}")
            binds.append(Bind(f"/{name}"))
    if points:
        for name in ("proc", "dev", "tmp", "etc"):
            os.mkdir(f"{path}/{name}")
        os.chmod(f"{path}/tmp", 0o1777)
    return tuple(binds)


def fingerprint(path: str) -> str:
    """Return a hash over all that makes up a tree of files, except when it was last read."""
    digest = hashlib.sha256()
    names = [path, *(os.path.join(top, name) for top, folders, files in os.walk(path) for name in (*folders, *files))]
    for name in sorted(names):
        info = os.lstat(name)
        content = b""
        if stat.S_ISLNK(info.st_mode):
            content = os.fsencode(os.readlink(name))
        elif stat.S_ISREG(info.st_mode):
            with open(name, "rb") as file:
                content = file.read()
        facts = (info.st_mode, info.st_uid, info.st_gid, info.st_nlink, info.st_mtime_ns, info.st_ctime_ns)
        digest.update(repr((name, facts, content)).encode())
    return digest.hexdigest()
