"""The facts of a host that decide a plan. `jailkit._host` finds them out; this module only names them."""

from __future__ import annotations

import attrs

__all__ = ["Cgroups", "Host", "IdArea", "SubIds", "Uplink"]


@attrs.frozen(kw_only=True)
class IdArea:
    """Host ids from which every jail of a privileged caller gets a slice that no other jail has.

    Attributes:
        first: First id of the area.
        slice: Ids in one slice.
        count: Number of slices.
    """

    first: int
    slice: int
    count: int


@attrs.frozen(kw_only=True)
class SubIds:
    """What subuid(5) and subgid(5) grant an ordinary user, and the set-id programs that write it down."""

    uid_first: int
    uid_count: int
    gid_first: int
    gid_count: int
    newuidmap: str
    newgidmap: str


@attrs.frozen(kw_only=True, cache_hash=True)
class Cgroups:
    """Where control groups for jails can be made, found out by making one. cgroups(7).

    Attributes:
        version: 2 (one tree) or 1 (a tree for each controller).
        parents: Pairs of a controller and the directory in which groups are made; one pair, with the controller "",
            for version 2.
        controllers: What can be bounded there, in the words of version 2: ``cpu``, ``cpuset``, ``io``, ``memory``,
            ``pids``, and ``cpuacct`` for accounts of processor time.
        files: The files, out of those that not every kernel has, which a group has there.
        source: By what right: ``explicit``, ``delegated`` or ``systemd``.
        devices: Numbers of the block devices that I/O limits are for, as ``8:0``.
    """

    version: int
    parents: tuple[tuple[str, str], ...]
    controllers: frozenset[str]
    files: frozenset[str] = frozenset()
    source: str = "delegated"
    devices: tuple[str, ...] = ()

    def parent(self, controller: str) -> str:
        """Return the directory in which groups of a controller are made."""
        parents = dict(self.parents)
        return parents[controller] if self.version == 1 else parents[""]


@attrs.frozen(kw_only=True, cache_hash=True)
class Uplink:
    """What a host has to give a jail a way out.

    Attributes:
        means: ``veth`` for a privileged caller, else ``pasta``.
        missing: What it lacks for that, and how to get it.
        pasta: Where that program is.
        pool: A private IPv4 network that no route of the host leads to.
        way6: Whether the host has a way out by IPv6, and hands on packets.
        own: Its own addresses, but those of the loopback.
        resolvers: Addresses of its name servers.
        resolvers_out_of_reach: Those of them that only itself can ask, where there are no others.
        names: The names of a spec's rules, and their addresses.
        has6: Whether the kernel has IPv6 at all.
        names_file: Where the host program writes down who is in the jail's pod.
    """

    means: str
    missing: tuple[tuple[str, str], ...] = ()
    pasta: str = "pasta"
    pool: str = "10.213.0.0/16"
    way6: bool = False
    own: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    resolvers_out_of_reach: str = ""
    names: tuple[tuple[str, tuple[str, ...]], ...] = ()
    has6: bool = True
    names_file: str = "/tmp/jailkit"  # noqa: S108 - a made-up one: who starts a jail says which


@attrs.frozen(kw_only=True, cache_hash=True)
class Host:
    """One machine, as one user sees it.

    Attributes:
        uid: Effective user id of this process.
        gid: Effective group id of this process.
        is_root: Whether it is the root of the machine, and not of a user namespace.
        kernel: Version as two numbers.
        makes_nodes: Whether this process may make device nodes (CAP_MKNOD).
        keyrings: Whether this kernel has keyrings (keyrings(7)).
        id_area: Ids to share out, for a caller with CAP_SETUID, CAP_SETGID and CAP_SYS_ADMIN; else None.
        sub_ids: The range of an ordinary user, or None.
        system: Top-level directories that make up the host's system, beside ``/usr``: pairs of a name and the text
            of the link, or "" for a real directory.
        etc: Names in ``/etc`` that programs below ``/usr`` need to run.
        staging: A directory to attach the jail's tmpfs at, in the jail's own view of the host, for a moment.
        idmapped: Paths, out of those a spec names, on file systems that have idmapped mounts.
        seccomp: The spec's filter of system calls as two arrays of ``struct sock_filter``: what PID 1 can live under
            too, and what only programs are refused; or, where refusals are told, the whole and what closes it. None
            where the spec wants none, and where it cannot be made, because libseccomp is missing or the kernel has no
            filters.
        notifies: Whether the kernel has filters with a listener (SECCOMP_RET_USER_NOTIF).
        landlock: The version of the kernel's Landlock ABI (landlock(7)); 0 for none.
        hard_limits: Pairs of RLIMIT names and the hard limits of this process; -1 for none.
        lent_id: An id that owns nothing, for the jails of a privileged caller in the tier ``landlock``; else None.
        bounds_capabilities: Whether this process may drop capabilities from its bounding set (CAP_SETPCAP).
        private: In the tier ``landlock``, the directory that the jail may write to.
        cgroups: Where control groups of jails can be made, or None.
        no_cgroups: Where they were looked for in vain, and why each place would not do.
        uplink: What a jail with a way out needs; None where the spec wants none.
    """

    uid: int
    gid: int
    kernel: tuple[int, int]
    id_area: IdArea | None
    is_root: bool = False
    makes_nodes: bool = False
    keyrings: bool = True
    sub_ids: SubIds | None = None
    system: tuple[tuple[str, str], ...] = (("bin", "usr/bin"), ("lib", "usr/lib"), ("sbin", "usr/sbin"))
    etc: tuple[str, ...] = ()
    staging: str = "/tmp"  # noqa: S108 - nothing is written there
    idmapped: frozenset[str] = frozenset()
    seccomp: tuple[bytes, bytes] | None = None
    notifies: bool = True
    landlock: int = 0
    hard_limits: tuple[tuple[str, int], ...] = ()
    lent_id: int | None = None
    bounds_capabilities: bool = False
    private: str = "/tmp/jailkit"  # noqa: S108 - a made-up one: who starts a jail says which
    cgroups: Cgroups | None = None
    no_cgroups: str = "nobody has looked for a control group"
    uplink: Uplink | None = None

    @property
    def tier(self) -> str:
        """The tier that is had without asking: ``root`` (may map any id, makes idmapped mounts) or ``userns``."""
        return "root" if self.id_area else "userns"
