"""What the caller wants to see in the jail: binds, tmpfs, files, links, in the order given."""

from __future__ import annotations

from collections.abc import Iterator

from jailkit._errors import UnsupportedError
from jailkit.plan.facts import Host
from jailkit.plan.identity import OWNER, id_map
from jailkit.plan.root import CLOSED, ROOT, clone_of_base
from jailkit.plan.steps import Step, file_system, step, way_to
from jailkit.spec import Bind, Dev, File, JailSpec, Mount, Proc, Symlink, Tmpfs

__all__ = ["attach_mounts", "open_binds"]


def open_binds(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Take hold of every source, once, and say what can be done through it."""
    for number, mount in enumerate(spec.mounts):
        if isinstance(mount, Bind):
            yield from _open_bind(mount, f"bind:{number}", spec, host)


def _open_bind(bind: Bind, slot: str, spec: JailSpec, host: Host) -> Iterator[Step]:
    flags = ("OPEN_TREE_CLONE", "AT_RECURSIVE")
    yield step("open_tree", "the source of a bind", slot=slot, path=bind.source, flags=flags, optional=bind.optional)
    if host.id_area and (bind.writable or bind.as_owner) and _idmapped(bind, host):
        user = spec.effective_user
        owner = ((OWNER, user.uid, 1, True),), ((OWNER, user.gid, 1, True),)
        yield step(
            "userns", "ids for this mount", slot=f"{slot}.ids", at=slot, text=id_map(owner[0]) + id_map(owner[1])
        )
        yield step(
            "setattr",
            "the jail's user acts on it as the owner of the source, and what it writes belongs to that owner",
            slot=slot,
            at=f"{slot}.ids",
            value=("MOUNT_ATTR_IDMAP",),
        )
    attributes = (
        CLOSED + (() if bind.writable else ("MOUNT_ATTR_RDONLY",)) + (("MOUNT_ATTR_NOEXEC",) if bind.noexec else ())
    )
    why = "no set-id program and no device" + ("" if bind.writable else ", and nothing can be changed")
    yield step("setattr", why, slot=slot, flags=("AT_RECURSIVE",), value=attributes)


def _idmapped(bind: Bind, host: Host) -> bool:
    if bind.source not in host.idmapped:
        raise UnsupportedError(
            f"Bind({bind.source!r}, {'writable' if bind.writable else 'as_owner'}=True)",
            "its file system has no idmapped mounts, so that the jail's ids cannot act as the owner of the source",
            "bind a directory on ext4, xfs, btrfs or tmpfs, or run as an ordinary user",
        )
    return True


def attach_mounts(spec: JailSpec) -> Iterator[Step]:
    """Attach what the spec lists, in its order, so that a later mount may lie inside an earlier one."""
    for number, mount in enumerate(spec.mounts):
        if isinstance(mount, Bind):
            yield from _attach(spec, mount, f"bind:{number}", f"{mount.source} of the host")
        elif isinstance(mount, Tmpfs):
            yield from _tmpfs(spec, mount, f"tmpfs:{number}")
        elif isinstance(mount, File):
            yield from _file(spec, mount, f"files/{number}", f"file:{number}")
        elif isinstance(mount, Symlink):
            yield from _symlink(spec, mount)
        else:
            yield from _view(spec, mount, f"view:{number}")


def _file(spec: JailSpec, mount: File, name: str, slot: str) -> Iterator[Step]:
    user = spec.effective_user
    yield step("file", "its contents", at="base", path=name, text=mount.data, value=mount.mode)
    yield step("chown", "for the jail's user", at="base", path=name, flags=user.gid, value=user.uid)
    yield from clone_of_base(name, slot, "one file, over whatever is there")
    yield step("setattr", "the file is the caller's word", slot=slot, value=("MOUNT_ATTR_RDONLY",))
    yield from _attach(spec, mount, slot, "a file of the caller's")


def _tmpfs(spec: JailSpec, mount: Tmpfs, slot: str) -> Iterator[Step]:
    why, user = "empty, private, and gone with the jail", spec.effective_user
    if mount.size is None:
        name = slot.replace(":", "-")
        yield step("mkdir", f"behind {mount.target}", at="base", path=name, value=mount.mode)
        yield step("chown", "for the jail's user", at="base", path=name, flags=user.gid, value=user.uid)
        yield from clone_of_base(name, slot, "a part of what the jail may write")
    else:
        owner = (("mode", f"{mount.mode:o}"), ("uid", str(user.uid)), ("gid", str(user.gid)))
        options = (*owner, ("size", str(mount.size)), ("nr_inodes", str(max(1024, mount.size // 8192))))
        yield from file_system("tmpfs", why, slot=slot, options=options, attributes=CLOSED)
    yield from _attach(spec, mount, slot, why)


def _view(spec: JailSpec, mount: Proc | Dev, slot: str) -> Iterator[Step]:
    source = "proc" if isinstance(mount, Proc) else "dev"
    if mount.target == f"/{source}":
        return  # it is there anyhow
    why = f"the same /{source} once more"
    yield step("open_tree", why, slot=slot, at=source, flags=("OPEN_TREE_CLONE", "AT_EMPTY_PATH", "AT_RECURSIVE"))
    yield from _attach(spec, mount, slot, why)


def _symlink(spec: JailSpec, mount: Symlink) -> Iterator[Step]:
    if spec.writable == "yes" or _below_a_bind(spec, mount):
        raise UnsupportedError(
            f"Symlink({mount.target!r})",
            "it would have to be written into a directory of the caller",
            "make the link there yourself, or use writable='ephemeral'",
        )
    yield from way_to(mount.target[1:], at=ROOT)
    yield step("symlink", "a link of the caller's", at=ROOT, path=mount.target[1:], text=mount.to.encode())


def _attach(spec: JailSpec, mount: Mount, slot: str, why: str) -> Iterator[Step]:
    path = mount.target[1:]
    # A mount point is never made in a directory of the caller: there, it has to exist.
    if spec.writable != "yes" and not _below_a_bind(spec, mount):
        yield from way_to(path, at=ROOT)
        yield step("target", "a mount point", slot=slot, at=ROOT, path=path)
    yield step("attach", why, slot=slot, at=ROOT, path=path)


def _below_a_bind(spec: JailSpec, mount: Mount) -> bool:
    earlier = spec.mounts[: spec.mounts.index(mount)]
    return any(isinstance(other, Bind) and mount.target.startswith(other.target + "/") for other in earlier)
