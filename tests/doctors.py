"""Machines that are made up, for the tests of the doctor: one where all works, and one for each gate, closed."""

from __future__ import annotations

import errno
from typing import Any

import attrs

from jailkit._doctor.facts import BROKE, Facts, Try

__all__ = [
    "CASES",
    "FILTERED",
    "INIT",
    "INSIDE",
    "MAP",
    "MASKED",
    "STATUS",
    "UNSHARE",
    "healthy",
    "userns_closed",
    "with_settings",
]

INIT = "/usr/lib/python3/dist-packages/jailkit/_native/jailkit-init"

NAMES = (
    "user user-as-nobody clone mount pid net uts ipc cgroup loopback id-range tmpfs proc mount-api mount-attributes "
    "overlay pivot-root idmapped landlock seccomp seccomp-notify libseccomp pidfd close-range clone3 openat2 "
    "pressure cgroups sandbox pyroute2 nftables veth pasta tun"
).split()
ROOT_MOUNT = "27 1 254:0 / / rw - ext4 /dev/vda rw"
STATUS = "Name:\tpython3\nCapEff:\t{caps}\nNoNewPrivs:\t0\nSeccomp:\t{seccomp}\n"
SCOPE = "/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope"
V2: dict[str, Any] = {
    "version": 2,
    "controllers": ["cpu", "memory", "pids"],
    "path": SCOPE,
    "read_only": False,
    "errno": 0,
    "step": "write cgroup.procs",
    "files": ["cgroup.kill", "memory.peak", "memory.swap.max"],
    "enabled": ["cpu", "memory", "pids"],
}
RESTRICT = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"


def healthy(**changes: Try) -> Facts:
    """Return the facts of an ordinary user's machine on which everything works, but for some attempts."""
    tries = dict.fromkeys(NAMES, Try())
    tries |= {
        "filtered": Try(errno.EINVAL, "unshare(CLONE_NEWUSER and a flag that does not exist)"),
        "idmapped": Try(data={"file systems": {"a new tmpfs": 0, "ext4 at /": 0}}),
        "landlock": Try(data={"abi": 6}),
        "libseccomp": Try(note="2.5.5"),
        "id-range": Try(note="65536 uids from 200000, 65536 gids from 200000"),
        "cgroups": Try(data={"hierarchies": [V2]}),
        "pasta": Try(note="pasta 0.0~git20230309.7c7625d-1"),
        "sandbox": Try(data={"tier": "userns"}),
    }
    return Facts(
        uid=1000,
        release="6.12.0-1-amd64",
        machine="x86_64",
        init=INIT,
        settings={
            "/proc/self/status": STATUS.format(caps="0", seccomp="0"),
            "/proc/self/mountinfo": ROOT_MOUNT,
            "/proc/self/ns/pid": "pid:[4026531836]",
            "/proc/self/ns/user": "user:[4026531837]",
            "/proc/sys/kernel/core_pattern": "core",
            "/proc/sys/kernel/yama/ptrace_scope": "1",
            "/proc/swaps": "Filename\n/dev/vdb partition",
            "/run/systemd/system": "there",
        },
        tries=tries | {name.replace("_", "-"): tried for name, tried in changes.items()},
    )


def with_settings(facts: Facts, **settings: str) -> Facts:
    """Return facts with other settings; the names are ends of paths."""
    found = dict(facts.settings)
    for end, value in settings.items():
        known = {
            "status": "/proc/self/status",
            "mountinfo": "/proc/self/mountinfo",
            "restrict": RESTRICT,
            "debian": "/proc/sys/kernel/unprivileged_userns_clone",
            "selinux": "/sys/fs/selinux/enforce",
            "label": "/proc/self/attr/current",
            "dockerenv": "/.dockerenv",
            "pid": "/proc/self/ns/pid",
            "kubernetes": "$KUBERNETES_SERVICE_HOST",
            "container": "$container",
            "podman": "/run/.containerenv",
            "core": "/proc/sys/kernel/core_pattern",
            "yama": "/proc/sys/kernel/yama/ptrace_scope",
            "lsm": "/sys/kernel/security/lsm",
            "cmdline": "/proc/cmdline",
            "version": "/proc/version",
            "systemd": "/run/systemd/system",
            "max_user": "/proc/sys/user/max_user_namespaces",
            "max_net": "/proc/sys/user/max_net_namespaces",
            "swaps": "/proc/swaps",
        }
        found[known[end]] = value
    return attrs.evolve(facts, settings=found)


FILTERED = STATUS.format(caps="0", seccomp="2")
BY_FILTER = Try(errno.EPERM, "unshare(CLONE_NEWUSER and a flag that does not exist)")
UNSHARE = "unshare(CLONE_NEWUSER)"
MAP = "write /proc/self/uid_map"
DEAD = Try(errno.EPERM, "make PID 1", data={"tier": "userns"})
MASKED = f"{ROOT_MOUNT}\n90 22 0:21 /sys /proc/sys ro - proc proc rw\n91 22 0:5 /null /proc/kcore rw - tmpfs tmpfs rw"
CGROUP_REFUSED = {**V2, "errno": errno.EACCES, "step": "mkdir", "files": []}
INSIDE = {"pid": "pid:[4026532999]"}


def userns_closed(number: int, step: str = UNSHARE, **data: str) -> Facts:
    """Return the facts where user namespaces fail in one way, for everything that begins with one."""
    tried = Try(number, step, data=data)
    kinds = (
        "user",
        "clone",
        "mount",
        "pid",
        "net",
        "uts",
        "ipc",
        "cgroup",
        "loopback",
        "tmpfs",
        "proc",
        "mount_api",
        "mount_attributes",
        "overlay",
        "pivot_root",
    )
    changes = dict.fromkeys(kinds, tried)
    return healthy(**changes, sandbox=DEAD)


# For each gate: facts, the check that tells of it, its state, and a word of the remedy.
CASES: dict[str, tuple[Facts, str, str, str]] = {
    "apparmor-userns": (
        with_settings(userns_closed(errno.EPERM, MAP), restrict="1"),
        "user-namespaces",
        "missing",
        "jailkit doctor --apparmor-profile",
    ),
    "apparmor-userns by its label": (
        userns_closed(errno.EACCES, MAP, label="unprivileged_userns (enforce)"),
        "user-namespaces",
        "missing",
        "apparmor_parser -r",
    ),
    "apparmor-userns but for jailkit-init": (
        with_settings(healthy(user=Try(errno.EACCES, MAP)), restrict="1"),
        "user-namespaces",
        "degraded",
        "none is needed",
    ),
    "max-user-namespaces": (
        with_settings(userns_closed(errno.ENOSPC), max_user="0"),
        "user-namespaces",
        "missing",
        "sysctl user.max_user_namespaces=",
    ),
    "max-net-namespaces": (
        with_settings(healthy(net=Try(errno.ENOSPC, "unshare(CLONE_NEWNET)"), sandbox=DEAD), max_net="0"),
        "net-namespaces",
        "missing",
        "sysctl user.max_net_namespaces=",
    ),
    "unprivileged-userns-clone": (
        with_settings(userns_closed(errno.EPERM), debian="0"),
        "user-namespaces",
        "missing",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    "container-seccomp": (
        with_settings(
            attrs.evolve(userns_closed(errno.EPERM), tries={**userns_closed(errno.EPERM).tries, "filtered": BY_FILTER}),
            status=FILTERED,
            dockerenv="there",
            **INSIDE,
        ),
        "user-namespaces",
        "missing",
        "docker run --security-opt seccomp=unconfined",
    ),
    "container-seccomp for clone alone": (
        with_settings(healthy(clone=Try(errno.EPERM, "clone(CLONE_NEWUSER)"), sandbox=DEAD), status=FILTERED),
        "clone-namespaces",
        "missing",
        "RestrictNamespaces=no",
    ),
    "container-seccomp for mounts": (
        with_settings(healthy(mount_api=Try(errno.ENOSYS, "fsopen(tmpfs)"), sandbox=DEAD), status=FILTERED),
        "mount-api",
        "missing",
        "seccomp=unconfined",
    ),
    "container-seccomp for clone3": (
        with_settings(healthy(clone3=Try(errno.ENOSYS, "clone3")), status=FILTERED, podman="there", **INSIDE),
        "clone3",
        "degraded",
        "podman run",
    ),
    "container-apparmor": (
        with_settings(
            healthy(tmpfs=Try(errno.EACCES, "mount_setattr(/, MS_PRIVATE)"), sandbox=DEAD),
            label="docker-default (enforce)",
            kubernetes="10.0.0.1",
            **INSIDE,
        ),
        "tmpfs",
        "missing",
        "appArmorProfile: {type: Unconfined}",
    ),
    "masked-proc": (
        with_settings(
            healthy(proc=Try(errno.EPERM, "fsconfig(proc, create)"), sandbox=DEAD),
            mountinfo=MASKED,
            dockerenv="there",
            **INSIDE,
        ),
        "proc",
        "missing",
        "systempaths=unconfined",
    ),
    "selinux": (
        with_settings(userns_closed(errno.EACCES), selinux="1", label="system_u:system_r:httpd_t:s0"),
        "user-namespaces",
        "missing",
        "audit2allow",
    ),
    "chroot": (
        with_settings(userns_closed(errno.EPERM), mountinfo="40 27 0:30 / /proc rw - proc proc rw"),
        "user-namespaces",
        "missing",
        "pivot_root",
    ),
    "kernel without user namespaces": (userns_closed(errno.EINVAL), "user-namespaces", "missing", "5.15"),
    "kernel too old": (
        attrs.evolve(healthy(sandbox=DEAD), release="5.10.0-28-amd64"),
        "kernel",
        "missing",
        "bullseye-backports",
    ),
    "kernel with an old Landlock": (healthy(landlock=Try(data={"abi": 3})), "landlock", "degraded", "newer kernel"),
    "architecture": (attrs.evolve(healthy(), machine="riscv64"), "architecture", "degraded", "none"),
    "boot-parameter for landlock": (
        with_settings(healthy(landlock=Try(errno.EOPNOTSUPP, "landlock_create_ruleset")), lsm="lockdown,yama"),
        "landlock",
        "missing",
        "lsm=landlock,lockdown,yama",
    ),
    "not-compiled": (
        healthy(landlock=Try(errno.ENOSYS, "landlock_create_ruleset")),
        "landlock",
        "missing",
        "Debian 12",
    ),
    "not-installed": (
        healthy(libseccomp=Try(BROKE, "load", "no such file")),
        "libseccomp",
        "missing",
        "apt-get install libseccomp2",
    ),
    "not-installed pyroute2": (
        healthy(pyroute2=Try(2, "look for the package pyroute2", "there is no such package")),
        "pyroute2",
        "missing",
        'pip install "jailkit[net]"',
    ),
    "not-installed passt": (
        healthy(pasta=Try(2, "look for pasta in PATH", "pasta is not in PATH")),
        "pasta",
        "missing",
        "apt-get install passt",
    ),
    "no-tun": (healthy(tun=Try(errno.ENOENT, "open /dev/net/tun")), "tun", "missing", "--device /dev/net/tun"),
    "no-tun for others": (healthy(tun=Try(errno.EACCES, "open /dev/net/tun")), "tun", "missing", "chmod 666"),
    "no-module": (
        healthy(nftables=Try(errno.EOPNOTSUPP, "NFT_MSG_NEWTABLE: make a table")),
        "nftables",
        "missing",
        "modprobe nf_tables",
    ),
    "no-module veth": (
        attrs.evolve(
            healthy(veth=Try(errno.EOPNOTSUPP, "RTM_NEWLINK: make a pair"), sandbox=Try(data={"tier": "root"})),
            uid=0,
        ),
        "veth",
        "missing",
        "modprobe veth",
    ),
    "max-net-namespaces for filters": (
        healthy(nftables=Try(errno.ENOSPC, "unshare(CLONE_NEWNET)")),
        "nftables",
        "missing",
        "max_net_namespaces",
    ),
    "not-installed uidmap": (
        healthy(id_range=Try(2, "look", data={"programs": False, "ranges": [None, None]})),
        "id-range",
        "missing",
        "apt-get install uidmap",
    ),
    "no-id-range": (
        healthy(id_range=Try(2, "look", data={"programs": True, "ranges": [[1, 2], None]})),
        "id-range",
        "missing",
        "usermod --add-subuids",
    ),
    "no-new-privs": (
        with_settings(
            healthy(id_range=Try(1, "newuidmap", data={"programs": True, "ranges": [[1, 2], [1, 2]]})),
            status="CapEff:\t0\nNoNewPrivs:\t1\nSeccomp:\t0",
        ),
        "id-range",
        "missing",
        "NoNewPrivileges=no",
    ),
    "not-privileged": (
        healthy(idmapped=Try(errno.EPERM, "write the uid_map")),
        "idmapped-mounts",
        "missing",
        "as root",
    ),
    "file-system": (
        healthy(idmapped=Try(data={"file systems": {"ext4 at /srv": 0, "overlay at /": errno.EINVAL}})),
        "idmapped-mounts",
        "degraded",
        "ext4, xfs or btrfs",
    ),
    "no-cgroup-delegation": (
        healthy(cgroups=Try(data={"hierarchies": [CGROUP_REFUSED]})),
        "cgroups",
        "missing",
        "systemd-run --user --scope -p Delegate=yes",
    ),
    "no-cgroup-delegation of one controller": (
        healthy(cgroups=Try(data={"hierarchies": [{**V2, "controllers": ["memory", "pids"]}]})),
        "cgroups",
        "degraded",
        "Delegate=cpu",
    ),
    "no-cgroup-delegation in v1": (
        healthy(
            cgroups=Try(
                data={
                    "hierarchies": [
                        {**CGROUP_REFUSED, "version": 1, "controllers": ["memory"], "path": "/sys/fs/cgroup/memory/me"}
                    ]
                }
            )
        ),
        "cgroups",
        "missing",
        "chown -R 1000 /sys/fs/cgroup/memory/me/jailkit",
    ),
    "container-cgroups": (
        with_settings(
            healthy(cgroups=Try(data={"hierarchies": [{**CGROUP_REFUSED, "errno": errno.EROFS, "read_only": True}]})),
            dockerenv="there",
            **INSIDE,
        ),
        "cgroups",
        "missing",
        "writable-cgroups=true",
    ),
    "no-cgroups": (healthy(cgroups=Try(data={"hierarchies": []})), "cgroups", "missing", "mount -t cgroup2"),
    "kernel without memory.peak": (
        healthy(cgroups=Try(data={"hierarchies": [{**V2, "files": ["cgroup.kill"]}]})),
        "memory-peak",
        "degraded",
        "5.19",
    ),
    "boot-parameter for pressure": (healthy(pressure=Try(errno.EOPNOTSUPP, "read")), "pressure", "missing", "psi=1"),
    "core-pattern": (
        with_settings(healthy(), core="|/usr/lib/systemd/systemd-coredump"),
        "core-pattern",
        "degraded",
        "kernel.core_pattern=core",
    ),
    "yama": (with_settings(healthy(), yama="0"), "yama", "degraded", "ptrace_scope=1"),
    "slow": (attrs.evolve(healthy(), tries={}), "user-namespaces", "missing", "more time"),
    "docker": (
        with_settings(healthy(), dockerenv="there", **INSIDE),
        "container",
        "degraded",
        "Do not use --privileged",
    ),
}
