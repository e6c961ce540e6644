"""What a test may require of the machine: a closed list of words, each found out by trying, once."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable

from jailkit import _native
from jailkit._cgroups import find_cgroups
from tests.patience import patient

__all__ = ["ALL", "BEYOND", "PYTHON", "ROLES", "holds", "meaning"]

PYTHON = "/usr/bin/python3"
"""The interpreter that programs in a jail are run by: part of the host view of every jail."""


def _root() -> bool:
    """The suite runs as the superuser of the machine or of a container, and may share out ids."""
    return os.geteuid() == 0


def _user() -> bool:
    """The suite runs as an ordinary user."""
    return os.geteuid() != 0


def _userns() -> bool:
    """An ordinary process may make user namespaces, with all the others in them (unshare(1))."""
    done = subprocess.run(["unshare", "-Urmpfiun", "true"], capture_output=True, timeout=patient(30), check=False)
    return done.returncode == 0


def _cc() -> bool:
    """A C compiler makes static programs (Debian: gcc and libc6-dev)."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "try")
        done = subprocess.run(
            [*os.environ.get("CC", "cc").split(), "-static", "-xc", "-", "-o", program],
            input=b"int main(void) { return 42; }", capture_output=True, timeout=patient(60), check=False,
        )  # fmt: skip
        return done.returncode == 0 and subprocess.run([program], timeout=patient(30), check=False).returncode == 42


def _python() -> bool:
    """There is a /usr/bin/python3 with ctypes, for programs inside jails."""
    if not os.access(PYTHON, os.X_OK):
        return False
    done = subprocess.run(
        [PYTHON, "-I", "-S", "-c", "import ctypes"], capture_output=True, timeout=patient(30), check=False
    )
    return done.returncode == 0


def _idmap() -> bool:
    """/var/tmp lies on a file system that has idmapped mounts, and this process may make one."""
    script = (
        "import ctypes, os, sys; ctypes.CDLL(None).unshare(0x10000000) and sys.exit(1);"
        "print(flush=True); sys.stdin.read()"
    )
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        subprocess.Popen([PYTHON, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
    ):
        assert holder.stdout is not None
        holder.stdout.readline()
        tree = users = -1
        try:
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{holder.pid}/{name}", "w") as file:
                    file.write("0 1879048192 1")
            users = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY)
            clone = _native.constant("OPEN_TREE_CLONE")
            tree = _native.system_call("open_tree", _native.constant("AT_FDCWD"), folder.encode(), clone)
            attr = (ctypes.c_uint64 * 4)(_native.constant("MOUNT_ATTR_IDMAP"), 0, 0, users)
            flags = _native.constant("AT_EMPTY_PATH")
            _native.system_call("mount_setattr", tree, b"", flags, ctypes.addressof(attr), ctypes.sizeof(attr))
        except OSError:
            return False
        finally:
            for fd in (tree, users):
                if fd >= 0:
                    os.close(fd)
        return True


def _newuidmap() -> bool:
    """The set-id programs newuidmap(1) and newgidmap(1) are installed (Debian: uidmap)."""
    found = [shutil.which(name) for name in ("newuidmap", "newgidmap")]
    # Without arguments they print their usage: that is as far as they go without a range of ids.
    return all(
        name and subprocess.run([name], capture_output=True, timeout=patient(30), check=False).stderr for name in found
    )


def _ipv6() -> bool:
    """The kernel has IPv6: there is a loopback to listen on."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _cgroups() -> bool:
    """Control groups for jails can be made here: by root, or in a group that is delegated to this user."""
    return find_cgroups(None)[0] is not None


def _no_cgroups() -> bool:
    """This caller can make no control group: what is kept then is kept by rlimits, or not."""
    return not _cgroups()


def _cgroups_v2() -> bool:
    """Control groups for jails can be made here, of version 2."""
    made = find_cgroups(None)[0]
    return made is not None and made.version == 2


def _libseccomp() -> bool:
    """libseccomp.so.2 can be loaded (Debian: libseccomp2), and the kernel has filters of system calls."""
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return False
    return os.path.exists("/proc/sys/kernel/seccomp/actions_avail")


def _landlock() -> bool:
    """The kernel has Landlock, ABI 2 at least (Linux 5.19)."""
    return _landlock_abi() >= 2


def _landlock6() -> bool:
    """The kernel's Landlock has scopes, ABI 6 (Linux 6.12)."""
    return _landlock_abi() >= 6


def _landlock_abi() -> int:
    return int(ctypes.CDLL(None).syscall(444, None, ctypes.c_long(0), ctypes.c_long(1)))


def _uplink() -> bool:
    """The host has a way to addresses that are not its own (ip route)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return sock.connect_ex(("198.51.100.7", 53)) == 0


def _git() -> bool:
    """Git is installed."""
    return os.access("/usr/bin/git", os.X_OK)


def _make() -> bool:
    """Make is installed."""
    return os.access("/usr/bin/make", os.X_OK)


def _node() -> bool:
    """Node is installed in /usr."""
    return os.access("/usr/bin/node", os.X_OK)


def _java() -> bool:
    """A Java with its compiler is installed in /usr."""
    return os.access("/usr/bin/javac", os.X_OK)


def _cpython_tests() -> bool:
    """The tests of CPython itself are installed (make apt-test; Debian: libpython3-testsuite)."""
    find = "import importlib.util as u, sys; sys.exit(u.find_spec('test.test_grammar') is None)"
    return subprocess.run([PYTHON, "-I", "-c", find], check=False).returncode == 0


def _blkio() -> bool:
    """Control groups can be made that bound I/O (controller io, or the tree blkio)."""
    found = find_cgroups(None)[0]
    return found is not None and "io" in found.controllers


def _loop() -> bool:
    """A file can be a disk, with a file system on it (loop devices, losetup, mke2fs)."""
    programs = shutil.which("losetup") and shutil.which("mke2fs")
    return bool(programs) and subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode == 0


def _pip() -> bool:
    """The interpreter that runs the suite has pip."""
    return importlib.util.find_spec("pip") is not None


def _network() -> bool:
    """The kernel has veth and nftables, and pasta, ip(8), curl and pyroute2 are installed (make apt-net)."""
    if not all(map(shutil.which, ("pasta", "ip", "curl"))) or not importlib.util.find_spec("pyroute2"):
        return False
    return _networked("true", "table('try', owned=True)")


def _shaping() -> bool:
    """The kernel has the queueing discipline tbf (sch_tbf) and nft's limit (nft_limit), and tc(8) is there."""
    bucket = "tc qdisc add dev one root tbf rate 1mbit burst 32k latency 50ms"
    return _network() and _networked(bucket, "*brake('one', 9, 9)")


def _macvlan() -> bool:
    """The kernel has a second kind of virtual interface, macvlan."""
    return _network() and _networked("ip link add mac0 link one type macvlan", "table('try', owned=True)")


def _networked(command: str, messages: str) -> bool:
    """Whether a new network with a pair of interfaces takes a command, and messages about packet filters."""
    filters = "from jailkit._network.rules import *; from jailkit._network.netlink import *; "
    filters += f"Netlink.here(FILTER).transact({messages})"
    script = f'ip link add one type veth peer name other && {command} && exec "$0" -c "$1"'
    words = ["unshare", *(() if os.geteuid() == 0 else ("-Ur",)), "-n", "sh", "-c", script, sys.executable, filters]
    return subprocess.run(words, capture_output=True, timeout=patient(30), check=False, cwd="/").returncode == 0


def _vm() -> bool:
    """The suite runs in a virtual machine of the test bed (make test-vm), where it may do what a host would mind."""
    return "JAILKIT_VM_CGROUP" in os.environ


def _systemd() -> bool:
    """Systemd and dbus-daemon are installed, though not necessarily running (Debian: systemd and dbus)."""
    return os.path.exists("/lib/systemd/systemd") and shutil.which("dbus-daemon") is not None


_FACTS: dict[str, Callable[[], bool]] = {
    "root": _root, "user": _user, "userns": _userns, "cc": _cc, "python": _python, "idmap": _idmap,
    "cgroups": _cgroups, "no-cgroups": _no_cgroups, "cgroups-v2": _cgroups_v2,
    "newuidmap": _newuidmap, "ipv6": _ipv6, "libseccomp": _libseccomp, "landlock": _landlock,
    "landlock6": _landlock6, "git": _git, "make": _make, "node": _node, "java": _java, "vm": _vm,
    "blkio": _blkio, "loop": _loop, "cpython_tests": _cpython_tests, "systemd": _systemd, "uplink": _uplink,
    "network": _network, "shaping": _shaping, "macvlan": _macvlan, "pip": _pip,
}  # fmt: skip
ALL = frozenset(_FACTS)
ROLES = frozenset({"root", "user", "cgroups", "no-cgroups", "cgroups-v2", "vm"})
"""Who runs the suite, and what he was given. It runs in several ways: a test for another is left out, no skip."""

BEYOND = frozenset({"node", "java", "loop", "macvlan", "shaping"})
"""What no `make apt-*` brings: big languages, and what a kernel or a container may not have. A test of them is
skipped where they are missing, also where all others must run."""


@functools.cache
def holds(word: str) -> bool:
    """Whether this machine, and this caller, is what a word says."""
    return _FACTS[word]()


def meaning(word: str) -> str:
    """Return what a word says."""
    return (_FACTS[word].__doc__ or "").rstrip(".")
