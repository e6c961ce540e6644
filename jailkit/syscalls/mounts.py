"""The mount calls of Linux 5.2 and newer."""

from __future__ import annotations

import struct

from jailkit import _native
from jailkit.syscalls.call import Path, call, text
from jailkit.syscalls.flags import AT_FDCWD, At, MountAttr, MoveMount, OpenTree, Propagation, Umount

__all__ = [
    "fsconfig_create",
    "fsconfig_set",
    "fsmount",
    "fsopen",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "umount2",
]


def open_tree(path: Path = "", flags: OpenTree | At | int = 0, *, dir_fd: int = AT_FDCWD) -> int:
    """Open a mount as a descriptor (O_PATH).

    See open_tree(2).

    Args:
        path: Where; ``""`` with `At.EMPTY_PATH` is `dir_fd` itself.
        flags: `OpenTree.CLONE` makes a detached copy (of all mounts below, with `At.RECURSIVE`), which is gone with the
            descriptor unless `move_mount` attaches it. Needs CAP_SYS_ADMIN.
        dir_fd: Where a relative `path` starts.

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing, for CLONE.
        FileNotFoundError: There is no such path.
        OSError: (EINVAL) A flag is unknown, RECURSIVE comes without CLONE, or the mount may not be copied (unbindable,
            or locked to those below it).
    """
    return call("open_tree", dir_fd, text(path), int(flags) | _native.constant("OPEN_TREE_CLOEXEC"), path=path)


def move_mount(
    from_path: Path = "",
    to_path: Path = "",
    *,
    from_dir_fd: int = AT_FDCWD,
    to_dir_fd: int = AT_FDCWD,
    flags: MoveMount | int = 0,
) -> None:
    """Attach a mount, or move one. Needs CAP_SYS_ADMIN.

    See move_mount(2).

    Symbolic links at the end of either path are not followed unless `flags` say so.

    Args:
        from_path: The mount; ``""`` with F_EMPTY_PATH is `from_dir_fd` itself, as `open_tree` and `fsmount` return it.
        to_path: The mount point; ``""`` with T_EMPTY_PATH is `to_dir_fd` itself.
        from_dir_fd: Where a relative `from_path` starts.
        to_dir_fd: Where a relative `to_path` starts.
        flags: See `MoveMount`.

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing.
        FileNotFoundError: One of the paths is not there.
        OSError: (EINVAL) `from_path` is no mount, or the target is not in this mount namespace. (ENOTDIR) One is a
            directory and the other is not. (ELOOP) A mount would be below itself.
    """
    arguments = (from_dir_fd, text(from_path), to_dir_fd, text(to_path), int(flags))
    call("move_mount", *arguments, path=to_path or from_path)


def mount_setattr(
    path: Path = "",
    *,
    attr_set: MountAttr | int = 0,
    attr_clear: MountAttr | int = 0,
    propagation: Propagation | int = Propagation.UNCHANGED,
    userns_fd: int | None = None,
    dir_fd: int = AT_FDCWD,
    flags: At | int = 0,
) -> None:
    """Change attributes of a mount. Needs CAP_SYS_ADMIN.

    See mount_setattr(2).

    With `At.RECURSIVE` all mounts below are changed too, and either all or none of them.

    Args:
        path: The mount point; ``""`` with `At.EMPTY_PATH` is `dir_fd` itself.
        attr_set: To switch on.
        attr_clear: To switch off; done first.
        propagation: The new propagation type.
        userns_fd: A user namespace whose id map the mount gets; `MountAttr.IDMAP` is added to `attr_set`. Only for a
            detached copy, and only where the file system can do it.
        dir_fd: Where a relative `path` starts.
        flags: See `At`.

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing, or the attribute is locked because the mount came from a more
            privileged namespace.
        OSError: (EINVAL) `path` is no mount point, a flag is unknown, or the file system has no idmapped mounts.
    """
    if userns_fd is not None:
        attr_set = int(attr_set) | MountAttr.IDMAP
    # struct mount_attr, its first published size
    packed = struct.pack("=QQQQ", int(attr_set), int(attr_clear), int(propagation), userns_fd or 0)
    call("mount_setattr", dir_fd, text(path), int(flags), packed, len(packed), path=path)


def fsopen(fs_name: str) -> int:
    """Begin a new file system. Needs CAP_SYS_ADMIN over the mount namespace.

    See fsopen(2).

    What the kernel has to say about an error can be read from the descriptor.

    Args:
        fs_name: As in ``/proc/filesystems``: ``tmpfs``, ``proc``, ``overlay``.

    Returns:
        A descriptor for `fsconfig_set`, `fsconfig_create` and `fsmount`.

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing.
        OSError: (ENODEV) The kernel has no such file system.
    """
    return call("fsopen", text(fs_name), _native.constant("FSOPEN_CLOEXEC"), path=fs_name)


def fsconfig_set(fs_fd: int, key: str, value: str | bytes | None = None) -> None:
    """Set a parameter of a new file system.

    See fsconfig(2) with FSCONFIG_SET_STRING, or SET_FLAG without a value.

    Args:
        fs_fd: From `fsopen`.
        key: Name of the parameter, as in ``size``.
        value: Its value, at most 255 bytes. Default: None, the parameter is a flag, as in ``ro``.

    Raises:
        OSError: (EINVAL) The file system has no such parameter, or not this value. (EBUSY) It is created already.
    """
    if value is None:
        call("fsconfig", fs_fd, _native.constant("FSCONFIG_SET_FLAG"), text(key), 0, 0)
    else:
        call("fsconfig", fs_fd, _native.constant("FSCONFIG_SET_STRING"), text(key), text(value), 0)


def fsconfig_create(fs_fd: int) -> None:
    """Create the file system with the parameters set.

    See fsconfig(2) with FSCONFIG_CMD_CREATE.

    Args:
        fs_fd: From `fsopen`.

    Raises:
        PermissionError: The file system may not be made in this user namespace; for ``proc``, also when a procfs that
            is visible is partly covered.
        OSError: (EBUSY) It is created already. (EINVAL) The parameters do not go together.
    """
    call("fsconfig", fs_fd, _native.constant("FSCONFIG_CMD_CREATE"), 0, 0, 0)


def fsmount(fs_fd: int, *, attributes: MountAttr | int = 0) -> int:
    """Make a detached mount of a created file system. Needs CAP_SYS_ADMIN over the mount namespace.

    See fsmount(2).

    Args:
        fs_fd: From `fsopen`, after `fsconfig_create`.
        attributes: Of the mount.

    Returns:
        A descriptor (O_PATH) of the root of the mount, for `move_mount`. Without that it is gone with the descriptor.

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing.
        OSError: (EINVAL) It is not created yet. (EBUSY) It was mounted from this descriptor before.
    """
    return call("fsmount", fs_fd, _native.constant("FSMOUNT_CLOEXEC"), int(attributes))


def umount2(target: Path, flags: Umount | int = 0) -> None:
    """Take a mount away. Needs CAP_SYS_ADMIN.

    See umount2(2).

    Args:
        target: The mount point; symbolic links are followed.
        flags: `Umount.DETACH` hides it now, with all mounts below it, and lets it go when nobody uses it any more.

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing.
        OSError: (EBUSY) It is in use. (EINVAL) It is no mount point, or is locked because it came from a more
            privileged namespace.
    """
    call("umount2", text(target), int(flags), path=target)
