"""The jail's tree of files: one tmpfs that holds everything private, and the root in one of four ways.

The tmpfs ("base") is attached somewhere in the old root, which goes away with it, and holds these directories:

    tree     where the jail's root is attached
    tmp home shm dev files    what the jail sees as /tmp, home, /dev/shm, /dev and generated files
    lower upper work          an overlay, where the root is a directory of the caller that must not be written to

Being one file system, it bounds all that the jail can write at once (`Limits.disk`), and it goes with the jail.
"""

from __future__ import annotations

from collections.abc import Iterator

from jailkit._errors import UnsupportedError
from jailkit.plan.bounds import scratch
from jailkit.plan.etc import generated_files, network_files
from jailkit.plan.facts import Host
from jailkit.plan.identity import id_map
from jailkit.plan.steps import Step, file_system, step, way_to
from jailkit.spec import UNLIMITED, JailSpec

__all__ = [
    "ROOT",
    "base",
    "clone_of_base",
    "enter",
    "has_private_home",
    "has_private_tmp",
    "open_root",
    "private_directories",
    "private_places",
    "root_tree",
    "seal",
]

ROOT = "root"
"""The descriptor of the jail's root."""

CLOSED = ("MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NODEV")
READ_ONLY = ("MOUNT_ATTR_RDONLY", *CLOSED)


def base(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Make the tmpfs that holds everything private to the jail."""
    yield step("propagation", "no mount of the jail may show up on the host", path="/", value=("MS_PRIVATE",))
    options: tuple[tuple[str, str], ...] = (("mode", "0755"),)
    bound = scratch(spec.effective_limits)
    for name, option in (("disk", "size"), ("inodes", "nr_inodes")):
        if bound[name] != UNLIMITED:
            options += ((option, str(bound[name])),)
    yield from file_system(
        "tmpfs",
        "all that the jail can write without being asked, in one bound",
        slot="base",
        options=options,
        attributes=CLOSED,
    )
    # Not on "/": pivot_root(2) would then leave two file systems over the new root, and detaching takes one away.
    yield step("attach", "anywhere: it goes away with the old root", slot="base", path=host.staging)
    yield step("mkdir", "where the jail's root is attached", at="base", path="tree", value=0o755)
    yield step("mkdir", "generated files, to be bound where they belong", at="base", path="files", value=0o755)


def open_root(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Take hold of the caller's root directory, once; from here on it is a descriptor."""
    if spec.root is None:
        return
    # Mounts below the directory come along for an ordinary user because the kernel does not let him look under
    # them, and not for root, because an idmapped mount is made of one file system.
    slot = ROOT if spec.writable == "yes" else "source"
    flags: tuple[str, ...] = ("OPEN_TREE_CLONE",) if host.id_area else ("OPEN_TREE_CLONE", "AT_RECURSIVE")
    yield step("open_tree", "the directory that becomes the root", slot=slot, path=spec.root, flags=flags)
    if host.id_area and _idmapped(spec, host):
        whole = ((0, 0, host.id_area.slice, True),)
        yield step("userns", "ids for the mount of the root", slot="source.ids", text=id_map(whole) * 2)
        yield step(
            "setattr",
            "what is root's on disk is the jail root's inside, and the other way round",
            slot=slot,
            at="source.ids",
            value=("MOUNT_ATTR_IDMAP",),
        )


def _idmapped(spec: JailSpec, host: Host) -> bool:
    if spec.root in host.idmapped:
        return True
    if spec.writable == "yes":
        raise UnsupportedError(
            f'writable="yes" for {spec.root}',
            "its file system has no idmapped mounts, so that files would be left with ids of the jail",
            'use writable="ephemeral" and copy results out, or keep the root on ext4, xfs, btrfs or tmpfs',
        )
    return False


def root_tree(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Attach the jail's root at base/tree."""
    if spec.root is None:
        yield from _host_view(host)
    elif spec.writable == "yes":
        why = "a root of the caller carries no set-id programs and no devices"
        yield step("setattr", why, slot=ROOT, flags=("AT_RECURSIVE",), value=CLOSED)
        yield step("attach", "the caller's directory itself is the root", slot=ROOT, at="base", path="tree")
    else:
        yield from _overlay()


def _host_view(host: Host) -> Iterator[Step]:
    yield from clone_of_base("tree", ROOT, "an empty root, not writable in the end, over the bounded tmpfs")
    yield step("attach", "the root of the jail", slot=ROOT, at="base", path="tree")
    for name, link in (("usr", ""), *host.system):
        if link:
            yield step("symlink", f"as on the host: /{name} is /{link}", at=ROOT, path=name, text=link.encode())
        else:
            yield from _read_only_view(f"/{name}", "the host's programs and libraries, for reading")
    yield step("mkdir", "generated below", at=ROOT, path="etc", value=0o755)
    yield from _open_etc()
    for name in host.etc:
        yield from _read_only_view(f"/etc/{name}", "programs below /usr need it to run", at="etc")


def _open_etc() -> Iterator[Step]:
    yield step(
        "find", "one walk for all that is made in it", slot="etc", at=ROOT, path="etc", flags=("O_PATH", "O_DIRECTORY")
    )


def _read_only_view(path: str, why: str, *, at: str = ROOT, forced: bool = True) -> Iterator[Step]:
    name = path.rpartition("/")[2]
    slot = f"host:{path}"
    flags = ("OPEN_TREE_CLONE", "AT_RECURSIVE")
    yield step("open_tree", why, slot=slot, path=path, flags=flags, optional=True)
    yield step(
        "setattr",
        "nothing below it can be changed or raise a privilege",
        slot=slot,
        flags=("AT_RECURSIVE",),
        value=READ_ONLY,
    )
    yield step("target", "a mount point", slot=slot, at=at, path=name)
    yield step("attach", why, slot=slot, at=at, path=name, optional=not forced)


def _overlay() -> Iterator[Step]:
    yield step(
        "setattr", "the caller's directory is never written to", slot="source", flags=("AT_RECURSIVE",), value=READ_ONLY
    )
    for name in ("lower", "upper", "work"):
        yield step("mkdir", "a layer of the overlay", at="base", path=name, value=0o755)
    yield step("attach", "the lower layer", slot="source", at="base", path="lower")
    yield step(
        "fchdir", "layers are named by relative paths: no path of the host in the jail's mount table", slot="base"
    )
    # userxattr: an ordinary user cannot set trusted.* attributes. Where the upper file system has no user.* either
    # (tmpfs before Linux 6.6), the kernel does without, at the price of EIO for a directory that was removed and
    # made again over one of the lower layer.
    options = (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work"), ("userxattr", ""))
    yield from file_system(
        "overlay",
        "mount points and writes go to the tmpfs, not to the caller's directory",
        slot=ROOT,
        options=options,
        attributes=CLOSED,
    )
    yield step("attach", "the root of the jail", slot=ROOT, at="base", path="tree")


def clone_of_base(directory: str, slot: str, why: str) -> Iterator[Step]:
    """Take a directory of the base tmpfs as a mount of its own."""
    yield step("open_tree", why, slot=slot, at="base", path=directory, flags=("OPEN_TREE_CLONE",))


def has_private_home(spec: JailSpec) -> bool:
    """Whether the jail's user has a private home: in the host's view, where no mount of the caller lies over it."""
    home = spec.effective_user.home
    covered = any(f"{home}/".startswith(f"{mount.target}/") for mount in spec.mounts)
    return spec.root is None and not covered and home not in ("/", "/tmp")  # noqa: S108 - the jail's own


def has_private_tmp(spec: JailSpec) -> bool:
    """Whether the jail has a /tmp of its own, where the caller has put nothing else."""
    covered = any(mount.target == "/tmp" for mount in spec.mounts)  # noqa: S108 - the jail's own
    return not covered and (spec.root is None or spec.writable == "no")


def private_places(spec: JailSpec) -> tuple[str, ...]:
    """Name the directories that the jail's programs may write to, that are the jail's own, and are empty at first."""
    places = ["/tmp"] if has_private_tmp(spec) else []  # noqa: S108 - the jail's own
    if has_private_home(spec):
        places.append(spec.effective_user.home)
    if not any(mount.target in ("/dev", "/dev/shm") for mount in spec.mounts):  # noqa: S108 - the jail's own
        places.append("/dev/shm")  # noqa: S108 - the jail's own
    return tuple(places)


def private_directories(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Give the jail its /tmp, the home of its user, and the files of /etc that it lacks.

    A root of the caller's that can be written to has its own /tmp, and a root of the caller's has its own homes.
    """
    taken = {"/", *(mount.target for mount in spec.mounts)}
    user = spec.effective_user
    if has_private_tmp(spec):
        yield step("mkdir", "behind /tmp", at="base", path="tmp", value=0o1777)
        yield from _private("/tmp", "tmp")  # noqa: S108 - the jail's own
    if has_private_home(spec):
        yield step("mkdir", f"behind {user.home}", at="base", path="home", value=0o755)
        yield step("chown", "the user's own", at="base", path="home", flags=user.gid, value=user.uid)
        yield from _private(user.home, "home")
    if spec.writable != "yes":
        yield from _names(spec, host, taken)


def _private(target: str, name: str) -> Iterator[Step]:
    slot, path = f"private:{name}", target[1:]
    yield from clone_of_base(name, slot, f"a private {target}")
    yield from way_to(path, at=ROOT)
    yield step("target", "a mount point", slot=slot, at=ROOT, path=path)
    yield step("attach", f"{target}, inside the bound for all that the jail writes", slot=slot, at=ROOT, path=path)


def _names(spec: JailSpec, host: Host, taken: set[str]) -> Iterator[Step]:
    if spec.root is not None:
        yield step("mkdir", "for the files below", at=ROOT, path="etc", value=0o755, keep=True)
        yield from _open_etc()
    for name, text in network_files(spec, host):
        if f"/etc/{name}" not in taken:
            taken = taken | {f"/etc/{name}"}
            yield from _network_file(name, text)
    for name, text in generated_files(spec):
        if f"/etc/{name}" not in taken:
            yield step(
                "file", "names resolve without asking anybody", at="etc", path=name, text=text, value=0o644, keep=True
            )
    if spec.net == "host":
        # Optional: in a root of the caller's it may be a link to nowhere.
        yield from _read_only_view(
            "/etc/resolv.conf", "the host's network, the host's resolver", at="etc", forced=False
        )


def _network_file(name: str, text: bytes | None) -> Iterator[Step]:
    """Attach a file over what the root has of that name; what it says there is about another network."""
    why, path, slot = "the jail's network has its own names", f"files/{name}", f"net:{name}"
    if text is not None:  # else it was opened with the other sources
        yield step("file", why, at="base", path=path, text=text, value=0o644)
        yield from clone_of_base(path, slot, why)
        yield step("setattr", "the names stay as they are", slot=slot, value=("MOUNT_ATTR_RDONLY",))
    yield step("target", "a mount point", slot=slot, at="etc", path=name)
    # Optional: in a root of the caller's it may be a link to nowhere.
    yield step("attach", why, slot=slot, at="etc", path=name, optional=True)


def seal(spec: JailSpec) -> Iterator[Step]:
    """Make the root read-only where it is to be, now that every mount point in it exists."""
    if spec.writable == "no":
        yield step("setattr", 'writable="no": the root itself is read-only', slot=ROOT, value=("MOUNT_ATTR_RDONLY",))


def enter() -> Iterator[Step]:
    """Make the new root the root, and let go of the host's."""
    yield step("fchdir", "pivot_root(2) below names both roots by the current directory", slot=ROOT)
    yield step("pivot_root", "the host's tree is no longer the root of anything here", path=".")
    yield step("umount", "the host's tree leaves the namespace, with everything in it", path=".", flags=("MNT_DETACH",))
    yield step("chdir", "start inside", path="/")
