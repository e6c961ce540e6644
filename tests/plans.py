"""Hosts, requests that those hosts can fulfil, and a reader of plans: what the tests of the plan share."""

from __future__ import annotations

import itertools
import math
import os
import struct
from collections.abc import Iterator
from typing import Any

import attrs
from hypothesis import reject, settings
from hypothesis import strategies as st

from jailkit._errors import UnsupportedError
from jailkit.plan import Cgroups, Host, IdArea, Plan, Step, SubIds, compile_plan
from jailkit.spec import Bind, Dev, File, JailSpec, Level, Limits, Proc, Symlink, Tmpfs, User, Writable
from tests.strategies import ALLOW, HOMES, HOST_PATHS, LEVELS, LIMITS, MOUNT_LISTS, TARGETS, jail_specs

# No deadline: other people use the machine, and nothing here measures time.
QUICK = settings(deadline=None, max_examples=25)

AREA = IdArea(first=0x7000_0000, slice=65536, count=4096)
SUB_IDS = SubIds(
    uid_first=100000,
    uid_count=65536,
    gid_first=200000,
    gid_count=65536,
    newuidmap="/usr/bin/newuidmap",
    newgidmap="/usr/bin/newgidmap",
)
FILTER = (bytes((6, 0, 0, 0, 0, 0, 0xFF, 0x7F)),) * 2
"""A filter of one instruction: allow."""
CONTROLLERS = frozenset({"cpu", "cpuacct", "cpuset", "io", "memory", "pids"})
CGROUPS_V2 = Cgroups(
    version=2,
    parents=(("", "/sys/fs/cgroup/mine"),),
    controllers=CONTROLLERS,
    files=frozenset({"cgroup.kill", "memory.max", "memory.oom.group", "memory.peak", "memory.swap.max", "io.max"}),
    devices=("8:0", "259:1"),
)
_TREES = ("blkio", "cpu", "cpuacct", "cpuset", "freezer", "memory", "pids")
CGROUPS_V1 = Cgroups(
    version=1,
    # Two controllers in one tree, as systemd mounts them.
    parents=tuple(
        (t, f"/sys/fs/cgroup/{'cpu,cpuacct' if t.startswith('cpu') and t != 'cpuset' else t}") for t in _TREES
    ),
    controllers=CONTROLLERS,
    files=frozenset({"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}),
    devices=("8:0",),
)

NEEDS_CGROUPS = (
    "memory", "swap", "cpus", "cpuset", "cpu_weight", "read_bps", "write_bps", "read_iops", "write_iops",
)  # fmt: skip
"""Fields of `Limits` that nothing but a control group keeps."""
VALUES: dict[str, Any] = {"cpuset": "0"}
"""Where 1 is not a value of a field: one that is."""

# Which setrlimit(2) resource stands for which field of Limits: said here anew, not read from what is tested.
RLIMITS = {
    "cpu_seconds": "RLIMIT_CPU",
    "processes": "RLIMIT_NPROC",
    "open_files": "RLIMIT_NOFILE",
    "file_size": "RLIMIT_FSIZE",
    "stack": "RLIMIT_STACK",
    "core": "RLIMIT_CORE",
    "address_space": "RLIMIT_AS",
    "locked_memory": "RLIMIT_MEMLOCK",
    "message_queues": "RLIMIT_MSGQUEUE",
}


def root_host(**fields: Any) -> Host:
    """Root of a machine, with ids to share out."""
    return Host(**{"uid": 0, "gid": 0, "is_root": True, "kernel": (6, 1), "id_area": AREA, **fields})


def user_host(**fields: Any) -> Host:
    """An ordinary user who may map one id, his own."""
    return Host(**{"uid": 501, "gid": 502, "kernel": (6, 1), "id_area": None, **fields})


def sub_host(**fields: Any) -> Host:
    """An ordinary user who was granted a range of ids."""
    return user_host(**{"sub_ids": SUB_IDS, **fields})


def node_host(**fields: Any) -> Host:
    """Root who may also make device nodes."""
    return root_host(**{"makes_nodes": True, **fields})


TIERS = {"root": root_host, "one": user_host, "subid": sub_host, "nodes": node_host}


def paths_of(spec: JailSpec) -> frozenset[str]:
    """Return the host's paths that a spec names: those whose file systems matter."""
    return frozenset(mount.source for mount in spec.mounts if isinstance(mount, Bind)) | {spec.root or "/"}


def wants_cgroups(limits: Limits) -> bool:
    """Whether a limit was asked for that needs control groups."""
    return any(getattr(limits, name) not in (None, math.inf) for name in NEEDS_CGROUPS)


def without_cgroups(limits: Limits) -> Limits:
    """Take away what a host without control groups refuses."""
    return attrs.evolve(limits, **dict.fromkeys(NEEDS_CGROUPS))


@st.composite
def hosts(draw: st.DrawFn, spec: JailSpec) -> Host:
    """Hosts of every kind, with idmapped mounts wherever the spec needs them."""
    links = draw(st.sampled_from([("usr/bin", "usr/lib"), ("usr/bin", ""), ("", "")]))
    fields = {
        "system": tuple(zip(("bin", "lib64"), links, strict=True)),
        "etc": draw(st.sampled_from([(), ("alternatives", "ld.so.cache")])),
        "staging": draw(st.sampled_from(["/tmp", "/mnt"])),
        "idmapped": paths_of(spec) if draw(st.integers(0, 3)) else frozenset(),
        "seccomp": draw(st.sampled_from([None, FILTER])) if spec.effective_seccomp else None,
        "landlock": draw(st.sampled_from([0, 1, 2, 6, 7])),
    }
    return TIERS[draw(st.sampled_from(sorted(TIERS)))](**fields)


def _users(draw: st.DrawFn) -> User | None:
    uid = draw(st.none() | st.sampled_from([0, 1, 1000, 65534]))
    if uid is None:
        return None
    gid = draw(st.none() | st.sampled_from([0, 100]))
    return User(uid, gid, home=draw(st.none() | HOMES.filter(lambda path: path != "/")))


@st.composite
def drawn_pairs(draw: st.DrawFn, /, **fixed: Any) -> tuple[JailSpec, Host]:
    """A spec and a host that can give what it asks for; a keyword fixes a field of the spec."""
    if "mounts" not in fixed:
        switches = {name: st.booleans() for name in ("writable", "as_owner", "noexec")}
        binds = st.builds(Bind, HOST_PATHS, TARGETS, **switches)
        extra = draw(st.lists(binds, max_size=2, unique_by=lambda bind: bind.target))
        taken = {bind.target for bind in extra}
        fixed["mounts"] = (*(mount for mount in draw(MOUNT_LISTS) if mount.target not in taken), *extra)
    fixed.setdefault("level", draw(LEVELS))
    if "root" not in fixed and "writable" not in fixed:
        fixed["writable"] = draw(st.sampled_from(["no", "ephemeral", "yes"]))
        fixed["root"] = draw(HOST_PATHS) if fixed["writable"] == "yes" else draw(st.none() | HOST_PATHS)
    chosen: dict[str, Any] = {
        "net": draw(st.sampled_from([False, "host"])),
        "seccomp": draw(st.sampled_from([None, False])),
        "landlock": draw(st.sampled_from([None, False])),
        "allow": draw(ALLOW),
        "limits": without_cgroups(draw(LIMITS)),
        "user": _users(draw),
        **({"hostname": "jail"} if fixed["level"] < Level.JAIL else {}),
        **fixed,
    }
    spec = draw(jail_specs(**chosen))
    host = draw(hosts(spec))
    try:
        compile_plan(spec, host)
    except UnsupportedError:
        reject()
    return spec, host


ONE_OF_EACH = (
    Bind("/srv/data", "/data"),
    Bind("/srv/out", "/out", writable=True, noexec=True),
    Bind("/srv/maybe", "/maybe", optional=True),
    Tmpfs("/scratch", size=1 << 20, mode=0o700),
    Tmpfs("/shared"),
    Tmpfs("/out/in/side"),
    Proc("/second/proc"),
    Dev("/second/dev"),
    Symlink("/link", "../data"),
    File("/answer", b"42\n", mode=0o400),
    Bind("/srv/lent", "/lent", as_owner=True),
)


ROOTS: tuple[tuple[str | None, Writable], ...] = (
    (None, "no"),
    (None, "ephemeral"),
    ("/srv/root", "no"),
    ("/srv/root", "ephemeral"),
    ("/srv/root", "yes"),
)


def _grid() -> Iterator[tuple[JailSpec, Host]]:
    for (root, writable), level, net, tier in itertools.product(ROOTS, Level, (False, "host"), TIERS):
        # Into a directory of the caller no link is written.
        mounts = tuple(m for m in ONE_OF_EACH if writable != "yes" or not isinstance(m, Symlink))
        spec = JailSpec(root, writable=writable, level=level, net=net, mounts=mounts)
        walls = {"seccomp": FILTER if spec.effective_seccomp else None, "landlock": 7}
        # Hosts of both versions of control groups, and hosts without.
        cgroups = {"root": CGROUPS_V1, "one": CGROUPS_V2}.get(tier)
        yield spec, TIERS[tier](idmapped=paths_of(spec), etc=("ld.so.cache",), cgroups=cgroups, **walls)


BARE = tuple(
    (
        JailSpec(tier="landlock", net=net, mounts=(Bind("/srv/data"), Bind("/srv/maybe", noexec=True, optional=True))),
        host,
    )
    for net in (False, "host")
    for host in (
        user_host(seccomp=FILTER, landlock=7, etc=("ld.so.cache",)),
        root_host(seccomp=FILTER, landlock=7, lent_id=0x7000_4711, bounds_capabilities=True, cgroups=CGROUPS_V2),
        user_host(seccomp=FILTER, landlock=6, cgroups=CGROUPS_V1),
    )
)
"""The tier without namespaces, as an ordinary user and as root with an id to lend."""


GRID = tuple(_grid())
"""Every tier, level, kind of root and kind of network, each with a mount of each kind."""


def pairs(**fixed: Any) -> st.SearchStrategy[tuple[JailSpec, Host]]:
    """A spec and a host that can give what it asks for, plain or strange; a keyword fixes a field of the spec."""
    plain = [pair for pair in GRID if all(getattr(pair[0], name) == value for name, value in fixed.items())]
    return st.one_of(st.sampled_from(plain), drawn_pairs(**fixed)) if plain else drawn_pairs(**fixed)


# A reader of plans. It knows of abi.h what its comments say, and nothing of how plans are made.

FILLS = {
    "clone",
    "socket",
    "open_namespace",
    "take",
    "userns",
    "open_tree",
    "find",
    "fsopen",
    "fsmount",
    "given",
    "landlock_ruleset",
}
CREATES = {"mkdir", "file", "symlink", "target", "write", "chown", "mknod"}


def steps_of(plan: Plan) -> list[Step]:
    """Return all steps in the order in which they happen."""
    return [*plan.host_steps, *plan.jail_steps]


def named(value: int | tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in flags or a value; a number has none."""
    return () if isinstance(value, int) else tuple(value)


def where(steps: list[Step], op: str, **fields: Any) -> list[int]:
    """Return the indices of the steps with this op and these fields."""
    return [
        number
        for number, step in enumerate(steps)
        if step.op == op and all(getattr(step, name) == value for name, value in fields.items())
    ]


def namespaces(plan: Plan) -> set[str]:
    """Return the namespaces that PID 1 has for itself: by birth, or made beside it and taken before it goes on."""
    steps = steps_of(plan)
    born = {name for one in steps if one.op == "clone" for name in named(one.flags)}
    made = {name for one in plan.host_steps if one.op == "unshare" for name in named(one.flags)}
    taken = {name for one in plan.jail_steps if one.op == "setns" for name in named(one.flags)}
    return born | (made & taken)


def entries(text: bytes) -> list[tuple[int, int, int, int]]:
    """Decode ``struct jk_idmap`` entries."""
    return list(struct.iter_unpack("<IIII", text))


def is_below(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies in it."""
    return os.path.commonpath([path, directory]) == directory


@attrs.define
class MountState:
    """What is true of one mount, as far as the steps have said so.

    `whole` are attributes of the mount and all below it, `top` those of its topmost mount alone.
    """

    recursive: bool
    top: set[str]
    whole: set[str]


def attached(plan: Plan) -> Iterator[tuple[Step, MountState]]:
    """Yield every attach with the state of what is attached, followed through the steps."""
    state: dict[str | None, MountState] = {}
    for step in steps_of(plan):
        if step.op == "fsmount":
            state[step.slot] = MountState(recursive=False, top=set(named(step.value)), whole=set(named(step.value)))
        elif step.op == "open_tree":
            base = state.get(step.at)
            recursive = "AT_RECURSIVE" in named(step.flags)
            # Of a tree of our own the parts have had their turn; one of the host is as the host left it.
            copied = (set(base.top), set(base.whole)) if base else (set(), set())
            state[step.slot] = MountState(recursive, *copied)
        elif step.op == "setattr":
            mount, attributes = state[step.slot], {name for name in named(step.value) if name[0] != "-"}
            mount.top |= attributes
            if not mount.recursive or "AT_RECURSIVE" in named(step.flags):
                mount.whole |= attributes
        elif step.op == "attach":
            yield step, state[step.slot]
