"""File systems and mounts, made in namespaces that end with the attempt."""

from __future__ import annotations

import os

from jailkit._doctor.attempt import At, apart, attempt
from jailkit._doctor.attempts_users import enter, hold
from jailkit.syscalls import (
    At as AtFlag,
)
from jailkit.syscalls import (
    MountAttr,
    MoveMount,
    Namespace,
    OpenTree,
    Propagation,
    Umount,
    fsconfig_create,
    fsconfig_set,
    fsmount,
    fsopen,
    mount_setattr,
    move_mount,
    open_tree,
    pivot_root,
    umount2,
)

__all__ = ["ATTEMPTS"]

_SECONDS = 5.0
_PLACES = ("/", "/tmp", "/var/tmp", "/srv", "/home", "/opt")  # noqa: S108 - nothing is written there


def _private(at: At) -> None:
    """Have mounts of our own, of which nothing comes back."""
    enter(at, Namespace.MOUNT)
    at("mount_setattr(/, MS_PRIVATE)")
    mount_setattr("/", propagation=Propagation.PRIVATE, flags=AtFlag.RECURSIVE)


def _made(at: At, name: str, options: dict[str, str | None]) -> int:
    """Return a detached mount of a new file system."""
    at(f"fsopen({name})")
    context = fsopen(name)
    for key, value in options.items():
        at(f"fsconfig({name}, {key})")
        fsconfig_set(context, key, value)
    at(f"fsconfig({name}, create)")
    fsconfig_create(context)
    at(f"fsmount({name})")
    return fsmount(context)


def _tmpfs(at: At) -> str:
    """Attach a tmpfs somewhere; return where."""
    mount = _made(at, "tmpfs", {"size": "1m", "mode": "755"})
    place = next(path for path in ("/tmp", "/mnt", "/run", "/var", "/srv") if os.path.isdir(path))  # noqa: S108
    at(f"move_mount(tmpfs to {place})")
    move_mount(to_path=place, from_dir_fd=mount, flags=MoveMount.F_EMPTY_PATH)
    os.close(mount)
    return place


def _writable_tmpfs(at: At) -> None:
    _private(at)
    place = _tmpfs(at)
    at("write to it")
    with open(f"{place}/file", "w") as file:
        file.write("x" * 4096)


def _proc(at: At) -> None:
    enter(at, Namespace.MOUNT | Namespace.PID)
    apart(at, lambda inner: os.close(_made(inner, "proc", {})))


def _mount_api(at: At) -> None:
    _private(at)
    at("open_tree(OPEN_TREE_CLONE)")
    os.close(open_tree("/usr", OpenTree.CLONE | AtFlag.RECURSIVE))
    _tmpfs(at)


def _attributes(at: At) -> None:
    _private(at)
    place = _tmpfs(at)
    at("mount_setattr(MOUNT_ATTR_RDONLY)")
    mount_setattr(place, attr_set=MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NODEV)
    at("be refused to write to it")
    try:
        with open(f"{place}/file", "w"):
            raise ValueError("the mount is read-only and could be written to")
    except OSError as error:
        if error.errno != 30:  # EROFS
            raise


def _overlay(at: At) -> None:
    _private(at)
    place = _tmpfs(at)
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{place}/{name}")
    options = {f"{name}dir": f"{place}/{name}" for name in ("lower", "upper", "work")}
    mount = _made(at, "overlay", {**options, "userxattr": None})
    at("move_mount(overlay)")
    move_mount(to_path=f"{place}/merged", from_dir_fd=mount, flags=MoveMount.F_EMPTY_PATH)
    at("write to it")
    with open(f"{place}/merged/file", "w") as file:
        file.write("x")
    os.stat(f"{place}/upper/file")


def _pivot_root(at: At) -> None:
    _private(at)
    os.chdir(_tmpfs(at))
    at("pivot_root")
    pivot_root(".", ".")
    at("umount2(the old root)")
    umount2(".", Umount.DETACH)
    at("see nothing but the new root")
    if os.listdir("/"):
        raise ValueError("the old root is still there")


def _idmapped(at: At) -> str:
    """Give a mount other ids, on each file system that a root or a bind is likely to lie on."""
    found: dict[str, int] = {}
    holder, end = hold(at)
    try:
        for name in ("uid_map", "gid_map"):
            at(f"write the {name} of another process")
            with open(f"/proc/{holder}/{name}", "w") as file:
                file.write("0 0 1")
        users = os.open(f"/proc/{holder}/ns/user", os.O_RDONLY)
        for name, path in _file_systems():
            at(f"mount_setattr(MOUNT_ATTR_IDMAP, {name})")
            found[name] = attempt(lambda inner, path=path: _map_ids(inner, path, users), _SECONDS).errno  # type: ignore[misc]
    finally:
        os.close(end)
        os.waitpid(holder, 0)
    at.data["file systems"] = found
    if all(found.values()):
        raise OSError(next(iter(found.values())), "on none of them")
    return ""


def _map_ids(at: At, path: str, users: int) -> None:
    mount = open_tree(path, OpenTree.CLONE) if path else _made(at, "tmpfs", {})
    mount_setattr(userns_fd=users, dir_fd=mount, flags=AtFlag.EMPTY_PATH)


def _file_systems() -> list[tuple[str, str]]:
    """Return a new tmpfs, and the places of the host that are on different devices; each with a name to print."""
    with open("/proc/self/mountinfo") as file:
        lines = [line.split() for line in file]
    types = {words[2]: words[words.index("-") + 1] for words in lines}
    found, seen = [("a new tmpfs", "")], set()
    for path in _PLACES:
        try:
            device = os.stat(path).st_dev
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            kind = types.get(f"{os.major(device)}:{os.minor(device)}", "unknown")
            found.append((f"{kind} at {path}", path))
    return found


ATTEMPTS = {
    "tmpfs": _writable_tmpfs,
    "proc": _proc,
    "mount-api": _mount_api,
    "mount-attributes": _attributes,
    "overlay": _overlay,
    "pivot-root": _pivot_root,
    "idmapped": _idmapped,
}
