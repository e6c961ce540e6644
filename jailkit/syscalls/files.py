"""Files opened within bounds, and the control files of cgroups."""

from __future__ import annotations

import array
import errno
import os
import struct

from jailkit.syscalls.call import Path, call, text
from jailkit.syscalls.flags import AT_FDCWD, CGROUP2_SUPER_MAGIC, CGROUP_SUPER_MAGIC, Resolve

__all__ = [
    "cgroup_write",
    "openat2",
]


def openat2(path: Path, flags: int, *, mode: int = 0, resolve: Resolve | int = 0, dir_fd: int = AT_FDCWD) -> int:
    """Open a file, with bounds on the walk along its path. Needs no privilege.

    See openat2(2).

    Args:
        path: What to open.
        flags: As for `os.open`; O_CLOEXEC is added. Unlike there, unknown flags are refused.
        mode: Permission bits of a file that is made (with O_CREAT or O_TMPFILE; 0 otherwise).
        resolve: For paths from elsewhere, `Resolve.BENEATH` with NO_SYMLINKS and NO_MAGICLINKS.
        dir_fd: Where the path starts, and the directory that `Resolve` speaks of.

    Raises:
        OSError: Those of open(2), and: (EXDEV) The path leaves what BENEATH or NO_XDEV allow. (ELOOP) It has a
            link that NO_SYMLINKS or NO_MAGICLINKS forbid. (EAGAIN) Something was renamed meanwhile: try again.
            (EINVAL) A flag is unknown, or `mode` is given and nothing is made.
    """
    packed = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, int(resolve))  # struct open_how, its first published size
    while True:
        try:
            return call("openat2", dir_fd, text(path), packed, len(packed), path=path)
        except InterruptedError:  # Python's handlers have run; go on, as os.open does (PEP 475)
            continue


def _file_system_of(fd: int) -> int:
    """Return the magic number of the file system that a descriptor is on, see fstatfs(2)."""
    # os.statvfs does not give it. f_type is the first long of struct statfs, which has 120 bytes on 64-bit machines.
    buffer = array.array("l", bytes(256))
    call("fstatfs", fd, buffer.buffer_info()[0])
    return buffer[0]


def cgroup_write(dir_fd: int, name: str, data: str | bytes) -> None:
    """Write a control file of a cgroup, with one write(2).

    See cgroups(7). Who may write is decided by the permissions of the file and, for ``cgroup.procs`` of version 2, by
    those of the common ancestor: root, or the user to whom the cgroup was delegated.

    Args:
        dir_fd: Descriptor of the cgroup's directory. It must be on a control group file system, so that nobody who has
            bent the path of the directory makes a privileged caller write elsewhere.
        name: Of the file in it, as in ``cgroup.procs``. Links and mounts on the way are refused.
        data: What to write, as in ``0`` or ``max``.

    Raises:
        OSError: (EMEDIUMTYPE) `dir_fd` is on another kind of file system. (ENOENT) The cgroup has no such file.
            (EACCES) The caller may not write it. (EINVAL and others) The controller refuses the value. (EXDEV, ELOOP)
            The name leads elsewhere. (EIO) Only a part was taken.
    """
    if _file_system_of(dir_fd) not in (CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC):
        raise OSError(errno.EMEDIUMTYPE, "not a directory of a control group file system", name)
    bounds = Resolve.BENEATH | Resolve.NO_SYMLINKS | Resolve.NO_MAGICLINKS | Resolve.NO_XDEV
    fd = openat2(name, os.O_WRONLY, resolve=bounds, dir_fd=dir_fd)
    try:
        payload = data.encode() if isinstance(data, str) else data
        written = os.write(fd, payload)
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
    finally:
        os.close(fd)
    if written != len(payload):
        raise OSError(errno.EIO, os.strerror(errno.EIO), name)
