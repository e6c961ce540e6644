"""How far a jail is cut off from its host."""

from __future__ import annotations

import enum

from jailkit._errors import SpecError

__all__ = ["Level"]


class Level(enum.IntEnum):
    """The isolation levels, ordered: each contains the one before it.

    A level says what is asked for. What a host really provides is in `Jail.isolation`.

    >>> Level.of("sandbox") > Level.CHROOT
    True
    """

    CHROOT = 1
    """A private view of files, as chroot(2) of 1979. Not meant as a security boundary: the host
    name and IPC are the host's and ``/proc`` tells of the host. So that nothing outlives the
    jail or acts as the host's root, it has processes and ids of its own, and the network that
    ``net`` says, as every level has."""

    JAIL = 2
    """Adds an own hostname, own IPC and a masked ``/proc``, for a machine of its own as that of
    FreeBSD's jail(8). Programs run as the jail's superuser, with the capabilities that container
    engines give. Does not bound what a program uses up, and leaves the whole system call
    interface of the kernel open to it."""

    CONTAINER = 3
    """Adds finite default limits and an own view of control groups. The programs still have the
    capabilities of the jail's own superuser."""

    SANDBOX = 4
    """Adds what untrusted code needs; the default. No capabilities, no_new_privs, an ordinary
    user, no setting of the kernel that can be written, and, as far as the host has them, a
    filter of system calls and Landlock rules (`Jail.isolation` says). Does not protect from a
    flaw in the kernel itself."""

    @classmethod
    def of(cls, value: Level | str) -> Level:
        """Return the level for a `Level` or for its name in any case.

        A plain number is refused: ``level=1`` does not tell its reader how little it asks for.

        Raises:
            SpecError: `value` is neither a level nor the name of one.
        """
        if isinstance(value, cls):
            return value
        name = value.upper() if isinstance(value, str) else ""
        if name in cls.__members__:
            return cls[name]
        allowed = ", ".join(level.name for level in cls)
        raise SpecError("level", value, f"one of {allowed}, or its name in any case")
