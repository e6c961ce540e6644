"""What the programs of a SANDBOX may do beyond its rules: switches in the words of FreeBSD's jail(8)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import attrs

from jailkit._errors import SpecError
from jailkit.spec import _validate as check

__all__ = ["Allow", "is_allow", "read_allow"]


def _check_mount(instance: Allow, attribute: Any, value: Any) -> None:
    check.is_bool(instance, attribute, value)
    if value and not instance.nested:
        words = "False without nested=True: only in namespaces of its own has a program the right to mount"
        raise check.refuse(instance, attribute, value, words)


@attrs.frozen(kw_only=True, cache_hash=True)
class Allow:
    """Switches that open one thing each; all are off by default.

    They matter at level SANDBOX, and for the filter of a lower level where one is asked for by name: the superuser of
    a jail below SANDBOX has the rights to `raw_sockets` and `reserved_ports` anyhow. Each switch widens what hostile
    code can attack in the kernel.

    Attributes:
        raw_sockets: Raw and packet sockets (ping, tcpdump) in the jail's own network: the
            capability CAP_NET_RAW, and AF_PACKET in the filter. Not with ``net="host"``, where
            the capability means nothing (`UnsupportedError`).
        reserved_ports: Ports below 1024 in the jail's own network: CAP_NET_BIND_SERVICE. Not
            with ``net="host"``.
        sysvipc: System V shared memory, semaphores and message queues (sysvipc(7)), of the
            jail's own IPC namespace. POSIX message queues need `landlock=False` instead: no rule of
            Landlock can name them.
        ptrace: Debuggers and tracers for processes of the same jail and user: ptrace(2),
            process_vm_readv(2), kcmp(2), pidfd_getfd(2).
        mlock: Memory that is never swapped out, within the RLIMIT_MEMLOCK of the caller; without
            it that limit is 0. See mlock(2).
        nested: New namespaces, a user namespace first of all: sandboxes within the jail. In it a
            program has every capability over what is its own, so that far more of the kernel can be
            attacked. The one namespace it cannot make is that of control groups, by which
            jailkit finds what a program has started.
        mount: The calls that mount, in namespaces that a program has made itself; needs `nested`.
            Mounts of the jail stay as they are: the kernel locks them. There is no Landlock
            then, which forbids every mount.

    Raises:
        SpecError: A field is not a bool, or `mount` is asked for without `nested`.

    >>> Allow(ptrace=True).named()
    ('ptrace',)
    """

    raw_sockets: bool = attrs.field(default=False, validator=check.is_bool)
    reserved_ports: bool = attrs.field(default=False, validator=check.is_bool)
    sysvipc: bool = attrs.field(default=False, validator=check.is_bool)
    ptrace: bool = attrs.field(default=False, validator=check.is_bool)
    mlock: bool = attrs.field(default=False, validator=check.is_bool)
    nested: bool = attrs.field(default=False, validator=check.is_bool)
    mount: bool = attrs.field(default=False, validator=_check_mount)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all switches."""
        return tuple(field.name for field in attrs.fields(cls))

    def named(self) -> tuple[str, ...]:
        """Return the names of the switches that are on."""
        return tuple(name for name in self.names() if getattr(self, name))

    @classmethod
    def of(cls, names: Iterable[str]) -> Allow:
        """Return the switches with these names on.

        Raises:
            SpecError: There is no such switch.

        >>> Allow.of(["ptrace"]) == Allow(ptrace=True)
        True
        """
        known = cls.names()
        fields: dict[str, bool] = {}
        for name in names:
            if name not in known:
                raise SpecError("allow", name, f"names out of {', '.join(known)}")
            fields[name] = True
        return cls(**fields)


def read_allow(value: Allow | Iterable[str] | None) -> Allow:
    """Read names of switches; None is none of them."""
    if value is None:
        return Allow()
    if isinstance(value, list | tuple | set | frozenset) and all(isinstance(name, str) for name in value):
        return Allow.of(value)
    return cast("Allow", value)


def is_allow(instance: object, attribute: Any, value: object) -> None:
    """Accept an `Allow`."""
    if not isinstance(value, Allow):
        raise check.refuse(instance, attribute, value, "an Allow, or names of its switches")
