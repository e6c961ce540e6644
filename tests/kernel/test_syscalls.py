"""The wrappers of `jailkit.syscalls`, each in a child process with namespaces of its own, for better and for worse.

This file is also the program of those children: ``python test_syscalls.py NAME`` enters new user and mount namespaces
and calls the function NAME of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jailkit import syscalls
from jailkit.syscalls import At, MountAttr, MoveMount, Namespace, OpenTree, Propagation, Resolve, Umount

EACH = pytest.mark.requires("userns")
CHILDREN: dict[str, Callable[[], None]] = {}


def child(function: Callable[[], None]) -> Callable[[], None]:
    """Make a function one that runs in a child of its own."""
    CHILDREN[function.__name__] = function
    return function


@contextlib.contextmanager
def fails(number: int, *, filename: str | None = None) -> Iterator[None]:
    """Expect an `OSError` with this errno, about this path."""
    try:
        yield
    except OSError as error:
        assert (errno.errorcode[error.errno or 0], error.filename) == (errno.errorcode[number], filename)  # noqa: PT017
        return
    raise AssertionError(f"no {errno.errorcode[number]}")


def enter() -> None:
    """Become root of a user namespace, with a mount namespace whose root is an empty tmpfs beside the old one."""
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(Namespace.USER | Namespace.MOUNT)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    syscalls.mount_setattr("/", propagation=Propagation.PRIVATE, flags=At.RECURSIVE)


def tmpfs(*options: tuple[str, str], attributes: MountAttr | int = 0) -> int:
    """Make a detached tmpfs."""
    context = syscalls.fsopen("tmpfs")
    for key, value in options:
        syscalls.fsconfig_set(context, key, value)
    syscalls.fsconfig_create(context)
    mount = syscalls.fsmount(context, attributes=attributes)
    os.close(context)
    return mount


def attach(mount: int, target: str) -> None:
    """Attach a mount, and let its descriptor go."""
    syscalls.move_mount("", target, from_dir_fd=mount, flags=MoveMount.F_EMPTY_PATH)
    os.close(mount)


@child
def a_tmpfs_is_made_sized_attached_and_taken_away() -> None:
    """fsopen, fsconfig, fsmount, move_mount and umount2 work together."""
    before = os.stat("/tmp").st_dev
    attach(tmpfs(("size", "65536"), ("mode", "0700")), "/tmp")
    assert os.stat("/tmp").st_dev != before
    assert os.stat("/tmp").st_mode & 0o7777 == 0o700
    Path("/tmp/fits").write_bytes(bytes(32768))
    with fails(errno.ENOSPC):
        Path("/tmp/large").write_bytes(bytes(65536))
    syscalls.umount2("/tmp", Umount.DETACH)
    assert os.stat("/tmp").st_dev == before


@child
def file_system_parameters_are_checked() -> None:
    """What the file system does not know is refused, and so is a mount of what was not created."""
    with fails(errno.ENODEV, filename="nosuchfs"):
        syscalls.fsopen("nosuchfs")
    context = syscalls.fsopen("tmpfs")
    syscalls.fsconfig_set(context, "ro")
    with fails(errno.EINVAL):
        syscalls.fsconfig_set(context, "nosuchkey", "1")
    with fails(errno.EINVAL):
        syscalls.fsconfig_set(context, "nosuchflag")
    with fails(errno.EINVAL):
        syscalls.fsmount(context)
    syscalls.fsconfig_create(context)
    with fails(errno.EBUSY):
        syscalls.fsconfig_create(context)
    attach(syscalls.fsmount(context), "/tmp")
    with fails(errno.EROFS, filename="/tmp/file"):
        os.close(os.open("/tmp/file", os.O_CREAT | os.O_WRONLY))


@child
def attributes_hold_and_can_be_taken_back() -> None:
    """A mount that is set read-only refuses writes until it is cleared."""
    attach(tmpfs(attributes=MountAttr.NODEV), "/tmp")
    assert os.statvfs("/tmp").f_flag & os.ST_NODEV
    Path("/tmp/file").write_text("1")
    syscalls.mount_setattr("/tmp", attr_set=MountAttr.RDONLY)
    with fails(errno.EROFS, filename="/tmp/file"):
        Path("/tmp/file").write_text("2")
    syscalls.mount_setattr("/tmp", attr_clear=MountAttr.RDONLY)
    Path("/tmp/file").write_text("3")
    with fails(errno.EINVAL, filename="/tmp/file"):
        syscalls.mount_setattr("/tmp/file", attr_set=MountAttr.RDONLY)  # no mount point
    with fails(errno.EINVAL, filename="/tmp"):
        syscalls.mount_setattr("/tmp", attr_set=1 << 40)  # no such attribute


@child
def a_tree_is_copied_without_touching_the_original() -> None:
    """A clone has attributes of its own; move_mount refuses what is not a mount."""
    attach(tmpfs(), "/tmp")
    Path("/tmp/file").write_text("1")
    Path("/tmp/view").mkdir()
    tree = syscalls.open_tree("/tmp", OpenTree.CLONE)
    assert not os.get_inheritable(tree)
    syscalls.mount_setattr("", dir_fd=tree, attr_set=MountAttr.RDONLY, flags=At.EMPTY_PATH)
    attach(tree, "/tmp/view")
    assert Path("/tmp/view/file").read_text() == "1"
    with fails(errno.EROFS, filename="/tmp/view/file"):
        Path("/tmp/view/file").write_text("2")
    Path("/tmp/file").write_text("2")
    assert Path("/tmp/view/file").read_text() == "2"
    with fails(errno.EINVAL, filename="/tmp/view"):
        syscalls.move_mount("/tmp/file", "/tmp/view")
    with fails(errno.ENOENT, filename="/tmp/none"):
        syscalls.open_tree("/tmp/none")
    with fails(errno.EINVAL, filename="/tmp"):
        syscalls.open_tree("/tmp", At.RECURSIVE)  # without CLONE
    plain = syscalls.open_tree("/tmp")  # needs no privilege; still the same place
    assert os.stat(plain).st_ino == os.stat("/tmp").st_ino


@child
def the_root_is_swapped() -> None:
    """pivot_root with umount2 leaves nothing of the old root; a plain directory cannot become the root."""
    attach(tmpfs(), "/tmp")
    os.mkdir("/tmp/plain")
    with fails(errno.EINVAL, filename="/tmp/plain"):
        syscalls.pivot_root("/tmp/plain", "/tmp/plain")
    os.chdir("/tmp")
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", Umount.DETACH)
    os.chdir("/")
    assert os.listdir("/") == ["plain"]


@child
def the_root_directory_is_changed() -> None:
    """After chroot, ``/`` is that directory; what is no directory is refused."""
    attach(tmpfs(), "/tmp")
    os.mkdir("/tmp/root")
    Path("/tmp/file").write_text("")
    with fails(errno.ENOTDIR, filename="/tmp/file"):
        syscalls.chroot("/tmp/file")
    with fails(errno.ENOENT, filename="/tmp/none"):
        syscalls.chroot(Path("/tmp/none"))
    syscalls.chroot(b"/tmp")
    os.chdir("/")
    assert sorted(os.listdir("/")) == ["file", "root"]


@child
def namespaces_are_made_and_entered() -> None:
    """A host name set in a new UTS namespace is not seen in the old one, which setns goes back to."""
    outside = os.uname().nodename
    syscalls.unshare(Namespace.UTS)
    old = os.open("/proc/self/ns/uts", os.O_RDONLY)
    import socket

    socket.sethostname("first")
    syscalls.unshare(Namespace.UTS)
    socket.sethostname("second")
    with fails(errno.EINVAL):
        syscalls.setns(old, Namespace.IPC)
    syscalls.setns(old, Namespace.UTS)
    assert os.uname().nodename == "first" != outside
    with fails(errno.EINVAL):
        syscalls.unshare(1)
    with fails(errno.EBADF):
        syscalls.setns(-1)


@child
def without_privilege_the_kernel_refuses() -> None:
    """The positive control is every other test here: the same calls by somebody with rights."""
    attach(tmpfs(), "/tmp")
    os.mkdir("/tmp/mine")
    syscalls.unshare(Namespace.USER)  # no id is mapped here, and all rights over the mounts stay behind
    for number, path, attempt in (
        (errno.EPERM, "tmpfs", lambda: syscalls.fsopen("tmpfs")),
        (errno.EPERM, "/tmp", lambda: syscalls.umount2("/tmp")),
        (errno.EPERM, "/tmp", lambda: syscalls.mount_setattr("/tmp", attr_set=MountAttr.RDONLY)),
        (errno.EPERM, "/tmp", lambda: syscalls.open_tree("/tmp", OpenTree.CLONE)),
        (errno.EPERM, "/tmp", lambda: syscalls.pivot_root("/tmp", "/tmp")),
        (errno.EPERM, "/tmp/mine", lambda: syscalls.move_mount("/tmp", "/tmp/mine")),
    ):
        with fails(number, filename=path):
            attempt()


@child
def a_walk_stays_in_its_bounds() -> None:
    """openat2 refuses links, dots and mounts that `Resolve` forbids, and opens them when it does not."""
    attach(tmpfs(), "/tmp")
    os.makedirs("/tmp/dir/mount")
    Path("/tmp/dir/file").write_text("inside")
    Path("/tmp/outside").write_text("outside")
    os.symlink("file", "/tmp/dir/link")
    attach(tmpfs(), "/tmp/dir/mount")
    Path("/tmp/dir/mount/file").write_text("mounted")
    top = os.open("/tmp/dir", os.O_RDONLY)
    cases = (
        ("../outside", Resolve.BENEATH, errno.EXDEV),
        ("/tmp/outside", Resolve.BENEATH, errno.EXDEV),
        ("link", Resolve.NO_SYMLINKS, errno.ELOOP),
        ("mount/file", Resolve.NO_XDEV, errno.EXDEV),
    )
    for path, bound, number in cases:
        with fails(number, filename=path):
            syscalls.openat2(path, os.O_RDONLY, resolve=bound, dir_fd=top)
        fd = syscalls.openat2(path, os.O_RDONLY, dir_fd=top)
        assert not os.get_inheritable(fd)
        os.close(fd)
    with fails(errno.ELOOP, filename="/proc/self/exe"):
        syscalls.openat2("/proc/self/exe", os.O_RDONLY, resolve=Resolve.NO_MAGICLINKS)
    inside = syscalls.openat2("/file", os.O_RDONLY, resolve=Resolve.IN_ROOT, dir_fd=top)
    assert os.read(inside, 99) == b"inside"
    made = syscalls.openat2("new", os.O_CREAT | os.O_WRONLY, mode=0o640, dir_fd=top)
    assert os.stat(made).st_mode & 0o777 == 0o640 & ~_umask()
    with fails(errno.EINVAL, filename="file"):
        syscalls.openat2("file", os.O_RDONLY, mode=0o600, dir_fd=top)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@child
def a_mount_is_idmapped_only_where_that_is_possible() -> None:
    """The descriptor of the user namespace arrives: a wrong one is refused as such."""
    tree = tmpfs()
    null = os.open("/dev/null", os.O_RDONLY)
    with fails(errno.EINVAL, filename=""):
        syscalls.mount_setattr("", userns_fd=null, dir_fd=tree, flags=At.EMPTY_PATH)
    with fails(errno.EBADF, filename=""):
        syscalls.mount_setattr("", userns_fd=9999, dir_fd=tree, flags=At.EMPTY_PATH)


@child
def a_control_file_of_a_cgroup_is_written() -> None:
    """The kernel takes a good value and refuses a bad one, so both have reached it."""
    syscalls.unshare(Namespace.CGROUP)
    context = syscalls.fsopen("cgroup2")
    syscalls.fsconfig_create(context)
    attach(syscalls.fsmount(context), "/tmp")
    directory = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
    if os.access("/tmp/cgroup.procs", os.W_OK):
        syscalls.cgroup_write(directory, "cgroup.procs", "0")  # into the cgroup where it is already
        with fails(errno.EINVAL, filename="cgroup.procs"):
            syscalls.cgroup_write(directory, "cgroup.procs", b"no number")
    else:
        with fails(errno.EACCES, filename="cgroup.procs"):
            syscalls.cgroup_write(directory, "cgroup.procs", "0")
    with fails(errno.ENOENT, filename="no.such.file"):
        syscalls.cgroup_write(directory, "no.such.file", "0")
    with fails(errno.EXDEV, filename="../etc/passwd"):
        syscalls.cgroup_write(directory, "../etc/passwd", "0")


@child
def only_cgroup_file_systems_are_written() -> None:
    """A directory elsewhere is refused, and the file in it is as it was."""
    attach(tmpfs(), "/tmp")
    Path("/tmp/cgroup.procs").write_text("untouched")
    directory = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
    with fails(errno.EMEDIUMTYPE, filename="cgroup.procs"):
        syscalls.cgroup_write(directory, "cgroup.procs", "0")
    assert Path("/tmp/cgroup.procs").read_text() == "untouched"
    with fails(errno.EBADF):
        syscalls.cgroup_write(9999, "cgroup.procs", "0")


def run_child(name: str) -> subprocess.CompletedProcess[str]:
    """Run this file as the program of a child."""
    from tests.patience import patient  # not above: the program finds no `tests`

    return subprocess.run(
        [sys.executable, __file__, name], capture_output=True, text=True, timeout=patient(30), check=False
    )


@EACH
@pytest.mark.parametrize("name", list(CHILDREN))
def test_in_a_child(name: str) -> None:
    """Each function above holds, and leaves this process where it was."""
    before = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("user", "mnt", "uts", "cgroup")], os.stat("/tmp").st_dev
    done = run_child(name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    after = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("user", "mnt", "uts", "cgroup")], os.stat("/tmp").st_dev
    assert before == after


@EACH
def test_a_child_that_fails_is_seen() -> None:
    """The test above can fail: a function that is not there is an error of the child."""
    done = run_child("none")
    assert done.returncode != 0
    assert "KeyError" in done.stderr


if __name__ == "__main__":
    enter()
    CHILDREN[sys.argv[1]]()
    print("done")  # noqa: T201 - the parent looks for it
