"""/proc and /dev: made fresh, never taken from the caller's root, where a link may stand in their place."""

from __future__ import annotations

import os
from collections.abc import Iterator

from jailkit.plan.facts import Host
from jailkit.plan.root import ROOT, clone_of_base
from jailkit.plan.steps import Step, file_system, step, way_to
from jailkit.spec import JailSpec, Level

__all__ = ["NODES", "dev", "nodes", "proc"]

# Minor and major numbers as fixed by the kernel's devices.txt.
NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
# What anybody may read there and tells of the host. What only the host's root may read or write (kcore, timer_list,
# sysrq-trigger, the host's settings in sys) is closed already: no id of the jail is the host's root.
_HIDDEN_FILES = ("keys", "key-users", "interrupts", "sched_debug", "latency_stats")
_HIDDEN_DIRECTORIES = ("acpi", "asound", "scsi")


def nodes(host: Host) -> Iterator[Step]:
    """Make the nodes of /dev with the caller's rights: one mount instead of one for each node."""
    if not host.makes_nodes:
        return
    # A tmpfs of the host's user namespace, because in one of the jail's no device could be opened.
    options = (("mode", "0755"), ("size", "64k"), ("nr_inodes", "32"))
    attributes = ("MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NOEXEC")
    yield from file_system("tmpfs", "for the nodes of /dev", slot="dev", options=options, attributes=attributes)
    for name, major, minor in NODES:
        number = os.makedev(major, minor)
        yield step("mknod", f"/dev/{name}", at="dev", path=name, flags=0o020666, value=number)
    yield from _links("dev")
    yield step("setattr", "the nodes and links stay as they are", slot="dev", value=("MOUNT_ATTR_RDONLY",))


def _links(at: str) -> Iterator[Step]:
    for name, target in _LINKS:
        yield step("symlink", "the usual link", at=at, path=name, text=target.encode())
    for name in ("shm", "pts"):
        yield step("mkdir", "a mount point", at=at, path=name, value=0o755)


def _bound_nodes(spec: JailSpec) -> Iterator[Step]:
    """Bind each node of the host by itself, for callers who may not make any."""
    yield step("mkdir", "behind /dev", at="base", path="dev", value=0o755)
    yield from clone_of_base("dev", "dev", "a /dev of the jail's own")
    yield from _mount_point(spec, "dev", "/dev")
    for name, major, minor in NODES:
        slot = f"dev:{name}"
        why = "a node that exists: a jail may not make one"
        yield step("open_tree", why, slot=slot, path=f"/dev/{name}", flags=("OPEN_TREE_CLONE",))
        why = "what stands at that name must be that device"
        yield step("check_device", why, slot=slot, value=os.makedev(major, minor))
        yield step("setattr", "nothing there to execute", slot=slot, value=("MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NOEXEC"))
        yield step("file", "a mount point", at="dev", path=name, value=0o666)
        yield step("attach", f"/dev/{name}", slot=slot, at="dev", path=name)
    yield from _links("dev")
    yield step("setattr", "the nodes and links stay as they are", slot="dev", value=("MOUNT_ATTR_RDONLY",))


def dev(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Make a /dev of six nodes, the usual links, a private /dev/shm and a private terminal file system."""
    if host.makes_nodes:
        yield from _mount_point(spec, "dev", "/dev")
    else:
        yield from _bound_nodes(spec)
    yield step("mkdir", "behind /dev/shm", at="base", path="shm", value=0o1777)
    yield from clone_of_base("shm", "shm", "shared memory of this jail alone")
    yield step("attach", "shared memory of this jail alone", slot="shm", at="dev", path="shm")
    options = (("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"))
    attributes = ("MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NOEXEC")
    yield from file_system("devpts", "terminals of this jail alone", slot="pts", options=options, attributes=attributes)
    yield step("attach", "terminals of this jail alone", slot="pts", at="dev", path="pts")


def proc(spec: JailSpec) -> Iterator[Step]:
    """Mount the process information of the jail's own pid namespace, and hide what tells of the host."""
    attributes = ("MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NODEV", "MOUNT_ATTR_NOEXEC")
    yield from file_system("proc", "the processes of this jail alone", slot="proc", attributes=attributes)
    yield from _mount_point(spec, "proc", "/proc")
    yield step(
        "prepare", "how PID 1 finds all that a program has started, and what it has filled", slot="proc", at="base"
    )
    # With a user namespace of its own, a program has capabilities to attack the kernel with, and can leave the mark by
    # which PID 1 finds all that it has started. It cannot take this back without CAP_SYS_RESOURCE, which no level has.
    if not spec.allow.nested:
        yield step("write", "no user namespaces inside", at="proc", path="sys/user/max_user_namespaces", text=b"0")
    if spec.level >= Level.SANDBOX:
        yield step("setattr", "no setting of the kernel can be written", slot="proc", value=("MOUNT_ATTR_RDONLY",))
    if spec.level >= Level.JAIL:
        yield step("mkdir", "what hides a directory", at="base", path="empty", value=0o555)
        yield step(
            "find", "what hides a directory", slot="empty", at="base", path="empty", flags=("O_PATH", "O_DIRECTORY")
        )
        yield step("find", "what hides a file", slot="null", at="dev", path="null", flags=("O_PATH",))
        for name in _HIDDEN_FILES:
            yield step("mask", "it tells of the host", slot="null", at="proc", path=name)
        for name in _HIDDEN_DIRECTORIES:
            yield step("mask", "it tells of the host", slot="empty", at="proc", path=name)


def _mount_point(spec: JailSpec, slot: str, target: str) -> Iterator[Step]:
    # The mount point is not made in a root that is the caller's own directory; if it is missing, attaching fails.
    if spec.writable != "yes":
        yield from way_to(target[1:], at=ROOT)
        yield step("target", "a mount point", slot=slot, at=ROOT, path=target[1:])
    yield step("attach", f"{target} of the jail", slot=slot, at=ROOT, path=target[1:])
