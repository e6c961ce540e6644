"""The system calls that jails are made of, one thin function each. For experts: nothing here is a jail by itself.

The functions do what the manual pages of section 2 say and hold no policy. They are not exported by `jailkit`: write
``import jailkit.syscalls``. Common to all:

* A failed call raises `OSError` (or its subclass for the errno, such as `PermissionError`) with ``errno`` and, where
  the call takes a path, ``filename``. A path with a NUL byte is a `ValueError`.
* Use them in a child process made for it: `chroot` and `pivot_root` move all threads of a process, `unshare` and
  `setns` the calling one alone, and for a user namespace they fail with EINVAL beside other threads.
* "Needs CAP_SYS_ADMIN" means: over the user namespace that owns what is changed. Whoever has made a user namespace has
  it there (user_namespaces(7)).
* Every descriptor returned is the caller's to close, and is close-on-exec.
* The numbers are those of the compiler. Where a flag is not named here, an int is accepted.
"""

from jailkit.syscalls.files import cgroup_write, openat2
from jailkit.syscalls.flags import (
    AT_FDCWD,
    CGROUP2_SUPER_MAGIC,
    CGROUP_SUPER_MAGIC,
    At,
    MountAttr,
    MoveMount,
    Namespace,
    OpenTree,
    Propagation,
    Resolve,
    Umount,
)
from jailkit.syscalls.mounts import (
    fsconfig_create,
    fsconfig_set,
    fsmount,
    fsopen,
    mount_setattr,
    move_mount,
    open_tree,
    umount2,
)
from jailkit.syscalls.process import chroot, pivot_root, setns, unshare

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
    "cgroup_write",
    "chroot",
    "fsconfig_create",
    "fsconfig_set",
    "fsmount",
    "fsopen",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "openat2",
    "pivot_root",
    "setns",
    "umount2",
    "unshare",
]
