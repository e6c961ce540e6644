"""Where control groups for jails can be made: found by making one. cgroups(7), systemd's CGROUP_DELEGATION.

The order is: a group that was named (``cgroup=`` or JAILKIT_CGROUP), a group that this process may write to, a scope
that systemd makes for the asking. This process is never moved.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

import attrs

from jailkit._errors import UnsupportedError
from jailkit._janitor import PREFIX, look_after
from jailkit._scope import transient_scope
from jailkit.plan import Cgroups

__all__ = ["find_cgroups"]

_V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
_V1_TREES = {"memory": "memory", "pids": "pids", "cpu": "cpu", "cpuacct": "cpuacct", "cpuset": "cpuset", "blkio": "io"}
_OPTIONAL_FILES = (
    "cgroup.kill",
    "memory.max",
    "memory.oom.group",
    "memory.peak",
    "memory.swap.max",
    "pids.peak",
    "io.max",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
)


@attrs.frozen
class _Tree:
    """One mounted hierarchy: its controllers ("" for version 2), where it is mounted, the group of this process."""

    controllers: tuple[str, ...]
    mount_point: str
    own: str


def find_cgroups(explicit: str | None) -> tuple[Cgroups | None, str]:
    """Return where groups can be made, or None and the places that were tried, with what was wrong there.

    Args:
        explicit: A group that the caller names: its directory, or its path below the mount point.

    Raises:
        UnsupportedError: No group can be made in the one that was named.
    """
    named = explicit or os.environ.get("JAILKIT_CGROUP") or None
    found, tried = _found(os.geteuid(), named)
    if named and found is None:
        raise UnsupportedError(
            f"control group {named}",
            tried,
            "name a group that exists, holds no process, and that this user may write to",
        )
    return found, tried


@functools.lru_cache(maxsize=8)
def _found(uid: int, named: str | None) -> tuple[Cgroups | None, str]:
    trees = _trees()
    unified = next((tree for tree in trees if not tree.controllers), None)
    legacy = [tree for tree in trees if tree.controllers]
    # On a hybrid host the tree of version 2 is there too, with none of the controllers that matter.
    if unified is not None and (not legacy or "memory" in _controllers(unified.mount_point)):
        return _find_unified(unified, uid, named)
    if legacy:
        return _find_legacy(legacy, named)
    return None, "no cgroup file system is mounted"


# A scope belongs to the process that asked for it, and ends with that.
os.register_at_fork(after_in_child=_found.cache_clear)


def _trees() -> list[_Tree]:
    with open("/proc/self/cgroup") as file:
        own = {names.removeprefix("name="): path for _, names, path in (line.strip().split(":", 2) for line in file)}
    trees: dict[tuple[str, ...], _Tree] = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            words = line.split()
            kind = words[words.index("-") + 1]
            options = words[words.index("-") + 3].split(",")
            if kind == "cgroup2" and "" in own:
                trees[()] = _Tree((), words[4], _directory(words, own[""]))
            elif kind == "cgroup":
                for names, path in own.items():
                    if names and set(names.split(",")) <= {option.removeprefix("name=") for option in options}:
                        trees[tuple(names.split(","))] = _Tree(
                            tuple(names.split(",")), words[4], _directory(words, path)
                        )
    return list(trees.values())


def _directory(mount: list[str], path: str) -> str:
    """Where a group shows, given that a mount may show only a part of the tree."""
    root = mount[3].rstrip("/")
    inside = path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path
    return (mount[4] + inside).rstrip("/")


def _words(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().split()
    except OSError:
        return []


def _controllers(directory: str) -> list[str]:
    return _words(f"{directory}/cgroup.controllers")


# --- version 2 --------------------------------------------------------------------------------------------------------


def _find_unified(tree: _Tree, uid: int, named: str | None) -> tuple[Cgroups | None, str]:
    tried = []
    for directory, source in _candidates(tree, uid, named):
        made, why = _try_unified(directory, source, may_enable=source == "explicit" or _is_ours(directory, uid))
        if made is not None:
            return made, ""
        tried.append(f"{directory}: {why}")
    if not named:
        made, why = _ask_systemd(uid)
        if made is not None:
            return made, ""
        tried.append(why)
    return None, "; ".join(tried)


def _candidates(tree: _Tree, uid: int, named: str | None) -> Iterator[tuple[str, str]]:
    if named:
        yield (named if named.startswith(tree.mount_point) else f"{tree.mount_point}/{named.strip('/')}"), "explicit"
        return
    directory = tree.own
    while directory.startswith(tree.mount_point):
        # What systemd keeps is written to by systemd alone, unless it has delegated it.
        if uid != 0 or not _has_systemd() or _is_delegated(directory):
            yield directory, "delegated"
        if directory == tree.mount_point:
            return
        directory = os.path.dirname(directory)


def _has_systemd() -> bool:
    return os.path.isdir("/run/systemd/system")


def _is_delegated(directory: str) -> bool:
    for name in ("trusted.delegate", "user.delegate"):
        try:
            if os.getxattr(directory, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _is_ours(directory: str, uid: int) -> bool:
    """Whether its settings are ours to change: root does not change those of the host."""
    try:
        return _is_delegated(directory) or (uid != 0 and os.stat(directory).st_uid == uid)
    except OSError:
        return False


def _try_unified(directory: str, source: str, *, may_enable: bool) -> tuple[Cgroups | None, str]:
    """Make a group and remove it: permissions, kind and place of the directory are all in the answer."""
    if not os.path.exists(f"{directory}/cgroup.procs"):
        return None, "not a control group"
    if not os.access(f"{directory}/cgroup.procs", os.W_OK):
        return None, "not writable (not delegated to this user)"
    if may_enable:
        _enable(directory)
    enabled = _words(f"{directory}/cgroup.subtree_control")
    if not enabled:
        busy = bool(_words(f"{directory}/cgroup.procs"))
        why = "it has processes of its own, so the kernel gives groups in it no controllers" if busy else ""
        return None, why or "no controller is enabled for groups in it (cgroup.subtree_control)"
    try:
        files = _files_of_a_group(directory)
    except OSError as error:
        return None, f"making a group fails: {error.strerror}"
    controllers = frozenset(enabled) & set(_V2_CONTROLLERS) | {"cpuacct"}
    made = Cgroups(
        version=2, parents=(("", directory),), controllers=controllers, files=files, source=source, devices=_devices()
    )
    return made, ""


def _enable(directory: str) -> None:
    available = set(_controllers(directory)) - set(_words(f"{directory}/cgroup.subtree_control"))
    for name in sorted(available & set(_V2_CONTROLLERS)):
        try:
            with open(f"{directory}/cgroup.subtree_control", "w") as file:
                file.write(f"+{name}")
        except OSError:
            continue  # what is not enabled is not listed, and says so when it is asked for


def _files_of_a_group(directory: str) -> frozenset[str]:
    look_after((directory,))  # from here on, should this process be killed
    path = f"{directory}/{PREFIX}{os.getpid()}-0"
    os.mkdir(path)
    try:
        return frozenset(os.listdir(path)) & frozenset(_OPTIONAL_FILES)
    finally:
        os.rmdir(path)


def _ask_systemd(uid: int) -> tuple[Cgroups | None, str]:
    if not _has_systemd():
        return None, "systemd does not run here"
    try:
        directory = transient_scope(user=uid != 0)
    except UnsupportedError as error:
        return None, f"a scope of systemd's: {error.missing} ({error.remedy})"
    return _try_unified(directory, "systemd", may_enable=True)


# --- version 1 --------------------------------------------------------------------------------------------------------


def _find_legacy(trees: list[_Tree], named: str | None) -> tuple[Cgroups | None, str]:
    parents: dict[str, str] = {}
    files: frozenset[str] = frozenset()
    tried = []
    for tree in trees:
        directory = f"{tree.mount_point}/{named.strip('/')}" if named else tree.own
        wanted = [name for name in tree.controllers if name in _V1_TREES or name == "freezer"]
        if not wanted:
            continue
        try:
            files |= _files_of_a_group(directory)
        except OSError as error:
            tried.append(f"{directory}: {error.strerror}")
            continue
        parents.update(dict.fromkeys(wanted, directory))
    controllers = frozenset(_V1_TREES[name] for name in parents if name in _V1_TREES)
    if not controllers:
        return None, "; ".join(tried) or "no tree of a controller is mounted"
    made = Cgroups(
        version=1,
        parents=tuple(sorted(parents.items())),
        controllers=controllers,
        files=files,
        source="explicit" if named else "delegated",
        devices=_devices(),
    )
    return made, "; ".join(tried)


def _devices() -> tuple[str, ...]:
    """List the block devices with something behind them: no loop devices, no memory disks, no partitions."""
    found = []
    for name in sorted(os.listdir("/sys/block")) if os.path.isdir("/sys/block") else []:
        if not name.startswith(("loop", "ram", "zram", "nbd", "sr", "fd")):
            found += _words(f"/sys/block/{name}/dev")
    return tuple(found)
