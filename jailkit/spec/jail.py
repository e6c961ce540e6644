"""The whole request for a jail."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, cast

import attrs

from jailkit.spec import _validate as check
from jailkit.spec.allow import Allow, is_allow, read_allow
from jailkit.spec.level import Level
from jailkit.spec.limits import Limits, is_limits
from jailkit.spec.mounts import Mount
from jailkit.spec.network import Joined, Network, read_net
from jailkit.spec.seccomp import SeccompPolicy, is_policy, optional_policy
from jailkit.spec.user import User, optional_user

__all__ = ["JailSpec", "Net", "Tier", "Writable"]

Net = bool | Literal["host"] | Network | Joined
Writable = Literal["no", "ephemeral", "yes"]
Tier = Literal["root", "userns", "landlock"]

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_HOST_NAME_MAX = 64
"""Bytes, see sethostname(2)."""

_ORDINARY_USER = User(1000)
_SUPERUSER = User(0)


def _level(value: Level | str) -> Level:
    return Level.of(value)


def _mounts(value: Iterable[Mount]) -> tuple[Mount, ...]:
    return cast("tuple[Mount, ...]", check.as_tuple(value))


def _check_writable(instance: JailSpec, attribute: Any, value: Any) -> None:
    if not isinstance(value, str) or value not in ("no", "ephemeral", "yes"):
        raise check.refuse(instance, attribute, value, '"no", "ephemeral" or "yes"')
    if value == "yes" and instance.root is None:
        words = '"no" or "ephemeral" while root is None, since that is the host\'s own system'
        raise check.refuse(instance, attribute, value, words)


def _check_tier(instance: object, attribute: Any, value: Any) -> None:
    if value is not None and (not isinstance(value, str) or value not in ("root", "userns", "landlock")):
        raise check.refuse(instance, attribute, value, 'None, "root", "userns" or "landlock"')


def _check_hostname(instance: object, attribute: Any, value: Any) -> None:
    ok = isinstance(value, str) and len(value) <= _HOST_NAME_MAX
    if not ok or not all(_LABEL.fullmatch(label) for label in cast("str", value).split(".")):
        words = "at most 64 bytes of labels joined by dots, each 1-63 of A-Z a-z 0-9 and inner -"
        raise check.refuse(instance, attribute, value, words)


def _check_mounts(instance: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, tuple):
        raise check.refuse(instance, attribute, value, "an iterable of mounts")
    targets = set()
    for mount in value:
        if not isinstance(mount, Mount):
            raise check.refuse(instance, attribute, mount, "Bind, Tmpfs, Proc, Dev, Symlink, File")
        if mount.target in targets:
            raise check.refuse(instance, attribute, mount.target, "each target once")
        targets.add(mount.target)


@attrs.frozen(cache_hash=True)
class JailSpec:
    """What a jail shall be; says nothing about how, and knows no fact of any host.

    Specs are immutable, hashable and comparable. Everything but `root` is keyword-only.

    Attributes:
        root: The directory that becomes ``/`` of the jail, absolute. Default: None, a
            read-only view of the host's own ``/usr``, ``/bin``, ``/lib*`` and a minimal
            ``/etc``. Programs of the jail read all of it that their user may read.
        level: How far the jail is cut off: a `Level` or its name. Default: SANDBOX.
        net: False (own stack, loopback alone), True (own stack, own addresses, a way out to public
            addresses, name resolution), a `Network` (the same, with addresses, ports and rules of the
            caller's), another `Jail` that has one of these (its network: the same addresses, loopback and
            ports, and nothing else in common) or ``"host"`` (the host's stack). Default: False.
            ``"host"`` does not filter: the jail reaches whatever the host reaches, services
            on the local network included; abstract Unix sockets too, where `landlock` has no
            scopes (ABI 6, Linux 6.12).
        writable: What happens to writes in the root: ``"no"`` (refused), ``"ephemeral"`` (kept
            in memory, within `Limits.disk`, until the jail ends) or ``"yes"`` (they are real
            and stay; needs a `root` in which ``/proc`` and ``/dev`` exist). Default: ``"no"``.
            Binds have a switch of their own. A private ``/tmp`` is part of the jail with
            `root` None and with ``"no"``; otherwise the root's own is used, if there is one.
        mounts: What else is in the jail; each target once. Default: none.
        hostname: Name of the jail, as RFC 1123, at most 64 bytes. Default: ``jail``. At level
            CHROOT the host's name stays.
        user: Who runs programs: a uid of the jail, a `User`, or None, see `effective_user`.
        limits: Bounds on resources, see `Limits` and `effective_limits`.
        env: The environment of every program, a mapping or pairs; kept as pairs sorted by
            name. Default: empty, nothing is inherited from the host. Readable by every
            program in the jail: not a place for secrets.
        cwd: Directory in which programs start, absolute, in the jail. Default: None, which is
            the home of the jail's user with `root` None, and ``/`` with a root directory.
        seccomp: The system call filter: a `SeccompPolicy`, the name of a profile, or True (the
            profile ``default``) ask for it by name; False switches it off. Default: None, the
            profile ``default`` at SANDBOX, as far as the host has libseccomp, and no filter below.
            Below SANDBOX the filter leaves what the superuser of a jail has capabilities for,
            and comes with no_new_privs.
        landlock: The Landlock rules (landlock(7)), the second wall behind the mounts: True asks
            for them by name, False switches them off. Default: None, which at SANDBOX means as far
            as the kernel has them, and none below.
        allow: What is opened beyond the rules: an `Allow`, or names of its switches. Default:
            nothing.
        cgroup: A control group in which that of the jail is made: its path below the mount point of
            cgroupfs, or its directory. It must exist, have no processes of its own (version 2), and
            be writable. Default: None, which is the environment variable ``JAILKIT_CGROUP``, else a
            group that this process may write to, else a scope of systemd's, else none.
        tier: By which means the jail is made. ``"landlock"`` needs no namespace and no privilege, as
            inside a locked-down container, and gives less: paths, loopback-less, host name and
            process numbers are the host's, and `root`, `hostname`, `user`, `writable`, every mount
            but a `Bind` to the same path, and levels below SANDBOX are refused. It needs Linux 6.12
            and libseccomp. ``"root"`` and ``"userns"`` are refused where the other one is had.
            Default: None, which is ``"root"`` or ``"userns"`` as the caller is, and never
            ``"landlock"``.
        report_denials: Lists in `Result.denials` what the filter of system calls refused, and the packet filter of a
            network with a way out. Each refused call then waits
            for this process, which answers with the error that the filter would have given, and
            costs tens of microseconds instead of less than one. Needs a filter. Default: False.

    Raises:
        SpecError: A field has a wrong type or value; two mounts have one target; ``writable``
            is ``"yes"`` without a root.

    >>> spec = JailSpec("/srv/rootfs", level="jail", env={"LANG": "C"})
    >>> spec.level, spec.effective_user.uid
    (<Level.JAIL: 2>, 0)
    """

    root: str | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(check.clean_path),
        validator=attrs.validators.optional(check.absolute_path),
    )
    level: Level = attrs.field(default=Level.SANDBOX, kw_only=True, converter=_level)
    net: Net = attrs.field(default=False, kw_only=True, validator=read_net)
    writable: Writable = attrs.field(default="no", kw_only=True, validator=_check_writable)
    mounts: tuple[Mount, ...] = attrs.field(default=(), kw_only=True, converter=_mounts, validator=_check_mounts)
    hostname: str = attrs.field(default="jail", kw_only=True, validator=_check_hostname)
    user: User | None = attrs.field(default=None, kw_only=True, converter=optional_user)
    limits: Limits = attrs.field(default=Limits(), kw_only=True, validator=is_limits)
    env: tuple[tuple[str, str], ...] = attrs.field(
        default=(), kw_only=True, converter=check.clean_env, validator=check.environment
    )
    cwd: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=attrs.converters.optional(check.clean_path),
        validator=attrs.validators.optional(check.absolute_path),
    )
    seccomp: bool | SeccompPolicy | None = attrs.field(
        default=None, kw_only=True, converter=optional_policy, validator=is_policy
    )
    landlock: bool | None = attrs.field(default=None, kw_only=True, validator=check.is_switch)
    cgroup: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=attrs.converters.optional(check.clean_path),
        validator=attrs.validators.optional(check.absolute_path),
    )
    allow: Allow = attrs.field(default=Allow(), kw_only=True, converter=read_allow, validator=is_allow)
    tier: Tier | None = attrs.field(default=None, kw_only=True, validator=_check_tier)
    report_denials: bool = attrs.field(default=False, kw_only=True, validator=check.is_bool)

    @property
    def network(self) -> Network | None:
        """The network with a way out that was asked for, or None."""
        wanted = self.net.network if isinstance(self.net, Joined) else self.net
        return Network() if wanted is True else wanted if isinstance(wanted, Network) else None

    @property
    def effective_user(self) -> User:
        """The user asked for; else uid 1000 at SANDBOX and the jail's superuser below it."""
        if self.user is not None:
            return self.user
        return _ORDINARY_USER if self.level >= Level.SANDBOX else _SUPERUSER

    @property
    def effective_seccomp(self) -> SeccompPolicy | None:
        """The policy asked for; by default that of SANDBOX, and none below it."""
        if isinstance(self.seccomp, SeccompPolicy):
            return self.seccomp
        wanted = self.level >= Level.SANDBOX if self.seccomp is None else self.seccomp
        return SeccompPolicy() if wanted else None

    @property
    def effective_landlock(self) -> bool:
        """Whether there shall be Landlock rules: as asked for; by default at SANDBOX, unless mounts are allowed."""
        if self.landlock is None:
            return self.level >= Level.SANDBOX and not self.allow.mount
        return self.landlock

    @property
    def effective_limits(self) -> Limits:
        """The limits asked for over those of the level; no field of it is None."""
        return self.bounded_limits.over(Limits.default(self.level))

    @property
    def bounded_limits(self) -> Limits:
        """The limits asked for; `Limits.locked_memory` is 0 at SANDBOX, unless that or `Allow.mlock` was."""
        if self.level < Level.SANDBOX or self.allow.mlock or self.limits.locked_memory is not None:
            return self.limits
        return attrs.evolve(self.limits, locked_memory=0)
