"""The numbers, as the compiler knows them; the names are those of the headers, without their prefix."""

from __future__ import annotations

import enum

from jailkit import _native

__all__ = [
    "AT_FDCWD",
    "CGROUP2_SUPER_MAGIC",
    "CGROUP_SUPER_MAGIC",
    "At",
    "MountAttr",
    "MoveMount",
    "Namespace",
    "OpenTree",
    "Propagation",
    "Resolve",
    "Umount",
]

AT_FDCWD = _native.constant("AT_FDCWD")
"""As ``dir_fd``: relative paths start at the current directory."""
CGROUP_SUPER_MAGIC = _native.constant("CGROUP_SUPER_MAGIC")
"""``f_type`` of a control group file system, version 1, see statfs(2)."""
CGROUP2_SUPER_MAGIC = _native.constant("CGROUP2_SUPER_MAGIC")
"""The same, version 2."""


class Namespace(enum.IntFlag):
    """Namespaces, for `unshare` and `setns`; see namespaces(7)."""

    CGROUP = _native.constant("CLONE_NEWCGROUP")
    IPC = _native.constant("CLONE_NEWIPC")
    NET = _native.constant("CLONE_NEWNET")
    MOUNT = _native.constant("CLONE_NEWNS")
    PID = _native.constant("CLONE_NEWPID")
    USER = _native.constant("CLONE_NEWUSER")
    UTS = _native.constant("CLONE_NEWUTS")


class At(enum.IntFlag):
    """How a path is looked up, for `open_tree` and `mount_setattr`."""

    EMPTY_PATH = _native.constant("AT_EMPTY_PATH")
    RECURSIVE = _native.constant("AT_RECURSIVE")
    SYMLINK_NOFOLLOW = _native.constant("AT_SYMLINK_NOFOLLOW")


class OpenTree(enum.IntFlag):
    """For `open_tree`, together with `At`."""

    CLONE = _native.constant("OPEN_TREE_CLONE")


class MoveMount(enum.IntFlag):
    """For `move_mount`: F is about the path from which, T about the path to which."""

    F_EMPTY_PATH = _native.constant("MOVE_MOUNT_F_EMPTY_PATH")
    F_SYMLINKS = _native.constant("MOVE_MOUNT_F_SYMLINKS")
    T_EMPTY_PATH = _native.constant("MOVE_MOUNT_T_EMPTY_PATH")
    T_SYMLINKS = _native.constant("MOVE_MOUNT_T_SYMLINKS")


class MountAttr(enum.IntFlag):
    """Attributes of a mount, for `mount_setattr` and `fsmount`; see mount_setattr(2)."""

    RDONLY = _native.constant("MOUNT_ATTR_RDONLY")
    NOSUID = _native.constant("MOUNT_ATTR_NOSUID")
    NODEV = _native.constant("MOUNT_ATTR_NODEV")
    NOEXEC = _native.constant("MOUNT_ATTR_NOEXEC")
    NOATIME = _native.constant("MOUNT_ATTR_NOATIME")
    STRICTATIME = _native.constant("MOUNT_ATTR_STRICTATIME")
    NODIRATIME = _native.constant("MOUNT_ATTR_NODIRATIME")
    NOSYMFOLLOW = _native.constant("MOUNT_ATTR_NOSYMFOLLOW")
    IDMAP = _native.constant("MOUNT_ATTR_IDMAP")
    ATIME_MASK = _native.constant("MOUNT_ATTR__ATIME")


class Propagation(enum.IntEnum):
    """Whether mounts spread to other namespaces, for `mount_setattr`; see mount_namespaces(7)."""

    UNCHANGED = 0
    PRIVATE = _native.constant("MS_PRIVATE")
    SHARED = _native.constant("MS_SHARED")
    SLAVE = _native.constant("MS_SLAVE")
    UNBINDABLE = _native.constant("MS_UNBINDABLE")


class Umount(enum.IntFlag):
    """For `umount2`."""

    DETACH = _native.constant("MNT_DETACH")


class Resolve(enum.IntFlag):
    """Bounds on the walk along a path, for `openat2`."""

    BENEATH = _native.constant("RESOLVE_BENEATH")
    IN_ROOT = _native.constant("RESOLVE_IN_ROOT")
    NO_MAGICLINKS = _native.constant("RESOLVE_NO_MAGICLINKS")
    NO_SYMLINKS = _native.constant("RESOLVE_NO_SYMLINKS")
    NO_XDEV = _native.constant("RESOLVE_NO_XDEV")
