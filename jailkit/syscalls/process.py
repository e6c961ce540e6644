"""The root and the namespaces of a process."""

from __future__ import annotations

from jailkit.syscalls.call import Path, call, text
from jailkit.syscalls.flags import Namespace

__all__ = [
    "chroot",
    "pivot_root",
    "setns",
    "unshare",
]


def chroot(path: Path) -> None:
    """Change the root directory of the calling process.

    See chroot(2).

    The working directory stays where it is, and a process with CAP_SYS_CHROOT leaves such a root in three calls: not a
    security boundary.

    Args:
        path: A directory; symbolic links are followed.

    Raises:
        PermissionError: CAP_SYS_CHROOT is missing, or a directory on the way cannot be searched.
        FileNotFoundError: There is no such directory.
        NotADirectoryError: It is something else.
    """
    call("chroot", text(path), path=path)


def unshare(namespaces: Namespace | int) -> None:
    """Move the calling thread into new namespaces.

    See unshare(2).

    A new pid namespace is for the children made afterwards; the first of them is its PID 1.

    Args:
        namespaces: Which ones. `Namespace.USER` is entered first, so that it grants the rest.

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing (not needed for USER), or this host forbids user namespaces.
        OSError: (EINVAL) The process has other threads and asks for USER. (ENOSPC) Too many namespaces exist, see
            ``/proc/sys/user``.
    """
    call("unshare", int(namespaces))


def setns(fd: int, namespaces: Namespace | int = 0) -> None:
    """Move the calling thread into namespaces that exist.

    See setns(2).

    Args:
        fd: A file of ``/proc/PID/ns``, or a pidfd.
        namespaces: The kind that `fd` must be, or for a pidfd those to enter. Default: 0, any kind; not for a pidfd.

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing, over the target and (for MOUNT, CAP_SYS_CHROOT too) over the own one.
        OSError: (EINVAL) `fd` is of another kind, or the process has other threads. (EBADF) No such descriptor.
    """
    call("setns", fd, int(namespaces))


def pivot_root(new_root: Path, put_old: Path) -> None:
    """Swap the root mount of the mount namespace. Needs CAP_SYS_ADMIN.

    See pivot_root(2).

    ``pivot_root(".", ".")`` with the new root as working directory stacks the old root on the new one; ``umount2(".",
    Umount.DETACH)`` then takes it away.

    Args:
        new_root: A mount point.
        put_old: A directory at or below it, where the old root goes.

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing.
        OSError: (EINVAL) `new_root` is no mount point, `put_old` is not below it, a mount involved is shared, or the
            process is in a chroot. (EBUSY) Either is on the current root mount.
    """
    call("pivot_root", text(new_root), text(put_old), path=new_root)
