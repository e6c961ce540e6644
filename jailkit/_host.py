"""The only place that looks at the machine: the facts that decide a plan, found out once."""

from __future__ import annotations

import ctypes
import functools
import os
import pwd
import resource
import secrets
import shutil

from jailkit import _native
from jailkit._cgroups import find_cgroups
from jailkit._uplink import find_uplink
from jailkit.plan import Cgroups, Host, IdArea, SubIds, Uplink, divided, filter_of, id_map, step
from jailkit.spec import Bind, JailSpec

__all__ = ["probe"]

# Above the ids that distributions, container engines and systemd use, below 2**31, where some programs go wrong.
_AREA_FIRST = 0x7000_0000
_SLICE = 65536
_AREA_COUNT = 4096

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("alternatives", "ld.so.cache")
_PROBE_SECONDS = 10.0
_ALL_IDS = 2**32 - 1
_PR_GET_SECCOMP = 21  # <linux/prctl.h>
_GET_ACTION_AVAIL, _RET_USER_NOTIF = 2, 0x7FC0_0000  # <linux/seccomp.h>
_LANDLOCK_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION, <linux/landlock.h>
_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID, _CAP_SETPCAP, _CAP_SYS_ADMIN, _CAP_MKNOD = 0, 6, 7, 8, 21, 27
_RLIMIT_MSGQUEUE = 12  # which the resource module does not name
_RLIMITS = tuple(
    (f"RLIMIT_{name}", int(getattr(resource, f"RLIMIT_{name}", _RLIMIT_MSGQUEUE)))
    for name in ("AS", "CORE", "CPU", "FSIZE", "MEMLOCK", "MSGQUEUE", "NOFILE", "NPROC", "STACK")
)


def probe(spec: JailSpec) -> Host:
    """Return the facts of this host that matter for a spec."""
    now = os.geteuid(), os.getegid(), _hard_limits(), find_cgroups(spec.cgroup)
    lasting = spec.root is None and not spec.mounts and not spec.network  # no path, no route that may have changed
    return (_known if lasting else _found_out)(spec, *now)


def _found_out(
    spec: JailSpec,
    uid: int,
    gid: int,
    hard_limits: tuple[tuple[str, int], ...],
    cgroups: tuple[Cgroups | None, str],
) -> Host:
    bare = spec.tier == "landlock"
    area = _id_area(uid, gid)
    paths = [mount.source for mount in spec.mounts if isinstance(mount, Bind)] + ([spec.root] if spec.root else [])
    idmapped = frozenset(path for path in paths if area and not bare and _has_idmapped_mounts(path, area))
    lent = _lent_id(uid, gid) if bare else None
    seccomp = _seccomp(spec, lent is not None)
    uplink = find_uplink(spec.network, privileged=area is not None) if spec.network and not bare else None
    return _facts(uid, gid, area, idmapped, hard_limits, cgroups, seccomp, lent, uplink)


_known = functools.lru_cache(maxsize=64)(_found_out)


@functools.lru_cache(maxsize=32)
def _facts(
    uid: int,
    gid: int,
    area: IdArea | None,
    idmapped: frozenset[str],
    hard_limits: tuple[tuple[str, int], ...],
    cgroups: tuple[Cgroups | None, str],
    seccomp: tuple[bytes, bytes] | None,
    lent_id: int | None,
    uplink: Uplink | None,
) -> Host:
    """The same object for the same facts: plans are looked up by it."""
    return Host(
        uid=uid,
        gid=gid,
        kernel=_kernel(),
        id_area=area,
        sub_ids=None if area else _sub_ids(uid),
        system=_system_directories(),
        is_root=uid == 0 and _widest("/proc/self/uid_map")[1] == _ALL_IDS,
        keyrings=os.path.exists("/proc/keys"),
        makes_nodes=area is not None and _capable(_CAP_MKNOD),
        etc=_etc_names(),
        staging=_staging(),
        idmapped=idmapped,
        hard_limits=hard_limits,
        cgroups=cgroups[0],
        no_cgroups=cgroups[1],
        seccomp=seccomp,
        notifies=_has_listeners(),
        landlock=_landlock_abi(),
        lent_id=lent_id,
        bounds_capabilities=_capable(_CAP_SETPCAP),
        uplink=uplink,
    )


@functools.lru_cache(maxsize=64)
def _seccomp(spec: JailSpec, lent: bool) -> tuple[bytes, bytes] | None:
    """Compile the two parts of the filter that a spec asks for; None for no filter, and where none can be."""
    wanted = filter_of(spec, lent=lent)
    if wanted is None or not _has_filters():
        return None
    try:
        shared, own = divided(wanted)
        return _native.compile_filter(shared), _native.compile_filter(own) if own.actions else b""
    except _native.LibraryMissingError:
        return None


@functools.cache
def _has_filters() -> bool:
    try:
        return _native.system_call("prctl", _PR_GET_SECCOMP) >= 0
    except OSError:
        return False


@functools.cache
def _has_listeners() -> bool:
    action = ctypes.c_uint32(_RET_USER_NOTIF)
    try:
        return _native.system_call("seccomp", _GET_ACTION_AVAIL, 0, ctypes.addressof(action)) == 0
    except OSError:
        return False


@functools.cache
def _landlock_abi() -> int:
    try:
        return _native.system_call("landlock_create_ruleset", 0, 0, _LANDLOCK_VERSION)
    except OSError:  # ENOSYS: not built in, EOPNOTSUPP: switched off, EPERM: a container's filter
        return 0


@functools.cache
def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(digit for digit in minor if digit.isdigit()))


@functools.cache
def _system_directories() -> tuple[tuple[str, str], ...]:
    found = []
    for name in _SYSTEM:
        if os.path.islink(f"/{name}"):
            found.append((name, os.readlink(f"/{name}").lstrip("/")))
        elif os.path.isdir(f"/{name}"):
            found.append((name, ""))
    return tuple(found)


@functools.cache
def _etc_names() -> tuple[str, ...]:
    # Debian's Java keeps its configuration in /etc, behind links from /usr.
    java = [name for name in os.listdir("/etc") if name.startswith("java-") and name.endswith("-openjdk")]
    return tuple(name for name in (*_ETC, *sorted(java)) if os.path.exists(f"/etc/{name}"))


@functools.cache
def _staging() -> str:
    # No directory that a plan opens afterwards. Sources of the caller are opened before, and may lie there.
    return next(path for path in ("/tmp", "/mnt", "/run", "/var", "/srv", "/opt") if os.path.isdir(path))  # noqa: S108


def _hard_limits() -> tuple[tuple[str, int], ...]:
    return tuple((name, resource.getrlimit(number)[1]) for name, number in _RLIMITS)


@functools.lru_cache(maxsize=8)
def _id_area(uid: int, gid: int) -> IdArea | None:
    """Ids to share out, if this process may map any; keyed by its ids, which a program may change."""
    del uid, gid
    return _area() if _capable(_CAP_SETGID, _CAP_SETUID, _CAP_SYS_ADMIN) else None


@functools.lru_cache(maxsize=8)
def _lent_id(uid: int, gid: int) -> int | None:
    """One of these ids, for jails without namespaces: by chance, since nothing outside knows that it is taken."""
    del uid, gid
    area = _area() if _capable(_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID) else None
    return area.first + secrets.randbelow(area.slice * area.count) if area else None


def _area() -> IdArea | None:
    first, count = _widest("/proc/self/uid_map")
    if (first, count) != _widest("/proc/self/gid_map"):
        return None
    if first + count >= _AREA_FIRST + _SLICE * _AREA_COUNT:
        return IdArea(first=_AREA_FIRST, slice=_SLICE, count=_AREA_COUNT)
    # Root of a container: share out the upper half of what there is, in at least 16 slices of at least 16 ids.
    slice_ = min(_SLICE, count // 32)
    if slice_ < 16:
        return None
    return IdArea(first=first + count // 2, slice=slice_, count=count // 2 // slice_)


def _capable(*capabilities: int) -> bool:
    with open("/proc/self/status", "rb") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith(b"CapEff"))
    return all(effective >> capability & 1 for capability in capabilities)


def _widest(path: str) -> tuple[int, int]:
    with open(path) as file:
        extents = [tuple(int(word) for word in line.split()) for line in file]
    first, _, count = max(extents, key=lambda extent: extent[2])
    return first, count


@functools.lru_cache(maxsize=8)
def _sub_ids(uid: int) -> SubIds | None:
    newuidmap, newgidmap = shutil.which("newuidmap"), shutil.which("newgidmap")
    uids, gids = _granted("/etc/subuid", uid), _granted("/etc/subgid", uid)
    if not (newuidmap and newgidmap and uids and gids):
        return None
    return SubIds(
        uid_first=uids[0],
        uid_count=uids[1],
        gid_first=gids[0],
        gid_count=gids[1],
        newuidmap=newuidmap,
        newgidmap=newgidmap,
    )


def _granted(path: str, uid: int) -> tuple[int, int] | None:
    """Find the first range that a file like subuid(5) grants to a user, by name or by number."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    try:
        with open(path) as file:
            entries = [line.strip().split(":") for line in file if line.count(":") == 2]
    except OSError:
        return None
    ranges = [(int(first), int(count)) for owner, first, count in entries if owner in (name, str(uid))]
    return ranges[0] if ranges else None


def _has_idmapped_mounts(path: str, area: IdArea) -> bool:
    try:
        device = os.stat(path).st_dev
    except OSError:
        return True  # the step that opens it says so, with its address
    return _try_idmapped_mount(device, path, area)


_tried: dict[int, bool] = {}


def _try_idmapped_mount(device: int, path: str, area: IdArea) -> bool:
    """Make an idmapped mount of a path, attached nowhere; once for each file system."""
    if device not in _tried:
        why = "a probe"
        one = ((0, area.first, 1, False),)
        steps = (
            step("open_tree", why, slot="tree", path=path, flags=("OPEN_TREE_CLONE",)),
            step("userns", why, slot="ids", text=id_map(one) * 2),
            step("setattr", why, slot="tree", at="ids", value=("MOUNT_ATTR_IDMAP",)),
        )
        _tried[device] = _succeeds(_native.encode_plan(steps, ()))
    return _tried[device]


def _succeeds(plan: bytes) -> bool:
    """Whether every step of a plan that makes no jail can be done."""
    jail = _native.Jail()
    try:
        jail.start(os.fsencode(_native.INIT_PATH), plan, None)
        while True:
            try:
                return jail.hear(_PROBE_SECONDS) is None
            except InterruptedError:
                continue
    finally:
        jail.end(_PROBE_SECONDS)
