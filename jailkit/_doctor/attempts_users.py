"""User namespaces, and the other namespaces in them: what every jail begins with."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess

from jailkit._doctor import kernel
from jailkit._doctor.attempt import At, Attempt, apart
from jailkit._doctor.facts import BECOME
from jailkit.syscalls import Namespace, unshare

__all__ = ["ATTEMPTS", "enter"]

_NOBODY = 65534
_BOGUS = 1  # no flag of unshare(2)
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_EVERYTHING = Namespace.USER | Namespace.MOUNT | Namespace.PID | Namespace.UTS | Namespace.IPC


def enter(at: At, namespaces: Namespace | int = 0) -> None:
    """Enter a user namespace as its superuser, then others in it.

    In steps, because AppArmor (Ubuntu) lets the first succeed and refuses what follows.
    """
    uid, gid = os.geteuid(), os.getegid()
    at("unshare(CLONE_NEWUSER)")
    unshare(Namespace.USER)
    at.data["label"] = _label()
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        at(f"write /proc/self/{name}")
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    for one in Namespace:
        if namespaces & one:
            at(f"unshare(CLONE_NEW{'NS' if one is Namespace.MOUNT else one.name})")
            unshare(one)


def _label() -> str:
    """Return what a security module calls this process, for instance ``unprivileged_userns (enforce)``."""
    try:
        with open("/proc/self/attr/current") as file:
            return file.read().strip("\n\0")
    except OSError:
        return ""


def _user(at: At) -> None:
    enter(at)


def _user_as_nobody(at: At) -> None:
    at(BECOME)
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    at("be dumpable again")  # else /proc/self stays root's, and the map could not be written
    kernel.set_dumpable()
    enter(at)


def _filtered(at: At) -> None:
    """Ask for what the kernel refuses with EINVAL before it looks at any right: another answer is that of a filter."""
    at("unshare(CLONE_NEWUSER and a flag that does not exist)")
    unshare(Namespace.USER | _BOGUS)


def _clone(at: At) -> None:
    at("clone(CLONE_NEWUSER|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUTS|CLONE_NEWIPC)")
    kernel.clone(_EVERYTHING)


def _namespace(one: Namespace) -> Attempt:
    def attempt(at: At) -> None:
        enter(at, one)
        if one is Namespace.PID:
            apart(at, _first)

    return attempt


def _first(at: At) -> None:
    at("be PID 1 of it")
    if os.getpid() != 1:
        raise ValueError(f"this is process {os.getpid()}")


def _loopback(at: At) -> None:
    enter(at, Namespace.NET)
    at("socket(AF_INET)")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        at("ioctl(SIOCSIFFLAGS): switch the loopback on")
        found = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        flags = struct.unpack_from("16sH", found)[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _id_range(at: At) -> str:
    """Have newuidmap and newgidmap write the maps of a process with the first id of the range granted."""
    programs = [shutil.which("newuidmap"), shutil.which("newgidmap")]
    at.data["programs"] = all(programs)
    ranges = [_granted("/etc/subuid"), _granted("/etc/subgid")]
    at.data["ranges"] = ranges
    at("look for newuidmap and newgidmap")
    if not all(programs):
        raise FileNotFoundError(2, "newuidmap and newgidmap are not both in PATH")
    at("look for a range in /etc/subuid and /etc/subgid")
    if not all(ranges):
        raise FileNotFoundError(2, "no range for this user")
    holder, end = hold(at)
    try:
        for program, (first, _), mine in zip(programs, ranges, (os.geteuid(), os.getegid()), strict=True):  # type: ignore[misc]
            at(f"{os.path.basename(str(program))}: map two ids")
            words = [str(program), str(holder), "0", str(mine), "1", "1", str(first), "1"]
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
            if done.returncode:
                raise PermissionError(1, done.stderr.decode(errors="replace").strip())
    finally:
        os.close(end)
        os.waitpid(holder, 0)
    return f"{ranges[0][1]} uids from {ranges[0][0]}, {ranges[1][1]} gids from {ranges[1][0]}"  # type: ignore[index]


def _granted(path: str) -> tuple[int, int] | None:
    """Return the first range that a file like subuid(5) grants to the caller."""
    import pwd  # noqa: PLC0415 - a name service may be slow, and only this attempt needs it

    uid = str(os.geteuid())
    try:
        names = {uid, pwd.getpwuid(int(uid)).pw_name}
    except KeyError:
        names = {uid}
    try:
        with open(path) as file:
            entries = [line.strip().split(":") for line in file if line.count(":") == 2]
    except OSError:
        return None
    return next(((int(first), int(count)) for owner, first, count in entries if owner in names), None)


def hold(at: At) -> tuple[int, int]:
    """Make a process in a user namespace without maps; return it, and a descriptor to close when it may end."""
    at("unshare(CLONE_NEWUSER) in another process")
    (ready_reading, ready_writing), (end_reading, end_writing) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(end_writing)
            unshare(Namespace.USER)
            os.write(ready_writing, b"\0")
        except OSError as error:
            os.write(ready_writing, bytes([error.errno or 5]))
        finally:
            os.read(end_reading, 1)
            os._exit(0)
    os.close(ready_writing)
    os.close(end_reading)
    number = os.read(ready_reading, 1)
    os.close(ready_reading)
    if number != b"\0":
        os.close(end_writing)
        os.waitpid(child, 0)
        raise OSError(number[0] if number else 5, "no user namespace")
    return child, end_writing


ATTEMPTS = {
    "user": _user,
    "user-as-nobody": _user_as_nobody,
    "filtered": _filtered,
    "clone": _clone,
    "mount": _namespace(Namespace.MOUNT),
    "pid": _namespace(Namespace.PID),
    "net": _namespace(Namespace.NET),
    "uts": _namespace(Namespace.UTS),
    "ipc": _namespace(Namespace.IPC),
    "cgroup": _namespace(Namespace.CGROUP),
    "loopback": _loopback,
    "id-range": _id_range,
}
