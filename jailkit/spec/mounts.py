"""What the jail sees in its tree of files beside its root."""

from __future__ import annotations

import os
from typing import Any, cast

import attrs

from jailkit.spec import _validate as check

__all__ = ["Bind", "Dev", "File", "Mount", "Proc", "Symlink", "Tmpfs"]

_TMPFS_BITS = 0o7777
_FILE_BITS = 0o1777
"""Without setuid and setgid, which no generated file needs and a stray one turns into a way up."""


def _contents(value: bytes | str) -> bytes:
    try:
        return value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        return cast("bytes", value)


def _check_contents(instance: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, bytes):
        raise check.refuse(instance, attribute, value, "bytes, or a str that is encoded as UTF-8")


def _link_text(value: check.StrPath) -> str:
    # Not folded like a path: readlink(2) in the jail must give what the caller wrote.
    return cast("str", check.path_text(value))


def _check_link_text(instance: object, attribute: Any, value: Any) -> None:
    ok = isinstance(value, str) and value and check.encodable(value)
    if not ok or len(os.fsencode(cast("str", value))) >= check.PATH_BYTES:
        words = "a path of 1 to 4095 bytes, without NUL bytes or lone surrogates"
        raise check.refuse(instance, attribute, value, words)


@attrs.frozen
class Bind:
    """A file or directory of the host in the jail, as ``mount --rbind`` (mount(8)).

    The kernel enforces that the jail cannot change what is not `writable`, mounts below the
    source included. Read-only does not hide anything: the jail reads whatever its user may
    read, and may connect to a Unix socket or write to a fifo in it. Writable means every
    right of the owner: a program can make a set-id program of his there, which works on the
    host for everybody who can reach it. No other user should be able to.

    Attributes:
        source: Path on the host, absolute. Looked up when the jail starts, following links.
        target: Path in the jail. Default: that of `source`. Missing directories on the way
            are made in the jail, never in a directory of the caller: below another bind and
            with ``writable="yes"`` they must exist.
        writable: Lets the jail change it; the changes are real and stay, and belong to the owner of
            `source`, as whom the jail's user acts on it. Default: False.
        as_owner: Lets the jail's user read it as the owner of `source` would. Default: False:
            as root's jail, it may read what anybody may. Implied by `writable`. An ordinary
            user's jail acts as that user in any case. With a source that belongs to root,
            this gives the jail what only root may read: do not use it on system directories.
        noexec: Refuses to execute files from there. Default: False. Does not stop an
            interpreter in the jail from reading a script.
        optional: Leaves the mount out when `source` does not exist. Default: False, which
            makes a missing source an error when the jail starts.

    Raises:
        SpecError: `source` is relative; `target` is relative, is ``/``, or contains ``.``
            or ``..``; either has a NUL byte or is too long.

    >>> Bind("/srv/data/").target
    '/srv/data'
    """

    source: str = attrs.field(converter=check.clean_path, validator=check.absolute_path)
    target: str = attrs.field(default=None, converter=check.clean_path_or_default)
    writable: bool = attrs.field(default=False, kw_only=True, validator=check.is_bool)
    as_owner: bool = attrs.field(default=False, kw_only=True, validator=check.is_bool)
    noexec: bool = attrs.field(default=False, kw_only=True, validator=check.is_bool)
    optional: bool = attrs.field(default=False, kw_only=True, validator=check.is_bool)

    def __attrs_post_init__(self) -> None:
        """Mount at the path of the source when no target was given."""
        check.fill(self, target=self.source)
        check.check_target("bind.target", self.target)


@attrs.frozen
class Tmpfs:
    """An empty directory in memory, private to the jail and gone with it, as tmpfs(5).

    Attributes:
        target: Path in the jail.
        size: Bytes it can hold. Default: None: it shares the `Limits.disk` of the jail with
            everything else that is private. Enforced by the kernel (ENOSPC). What is in it is memory of the host.
        mode: Permission bits of the directory. Default: 0o1777, everyone may write. It belongs
            to the jail's user.

    Raises:
        SpecError: `target` is relative, is ``/``, or contains ``.`` or ``..``; `size` is not
            an int > 0; `mode` is out of range.
    """

    target: str = attrs.field(converter=check.clean_path, validator=check.target_path)
    size: int | None = attrs.field(default=None, kw_only=True, validator=check.count_of("bytes", 1, unlimited=False))
    mode: int = attrs.field(default=0o1777, kw_only=True, validator=check.mode_bits(_TMPFS_BITS))


@attrs.frozen
class Proc:
    """A fresh proc(5) that shows the processes of the jail alone, its kernel knobs masked.

    Every jail has one at ``/proc``; this shows it at another place too. At level CHROOT what
    tells of the host is not masked.

    Attributes:
        target: Path in the jail. Default: ``/proc``.

    Raises:
        SpecError: `target` is relative, is ``/``, or contains ``.`` or ``..``.
    """

    target: str = attrs.field(default="/proc", converter=check.clean_path, validator=check.target_path)


@attrs.frozen
class Dev:
    """A small device directory: null, zero, full, random, urandom, tty, pts, shm, fd links.

    No device of the host's hardware is in it. Its random numbers are those of the host. Every
    jail has one at ``/dev``; this shows it at another place too.

    Attributes:
        target: Path in the jail. Default: ``/dev``.

    Raises:
        SpecError: `target` is relative, is ``/``, or contains ``.`` or ``..``.
    """

    target: str = attrs.field(default="/dev", converter=check.clean_path, validator=check.target_path)


@attrs.frozen
class Symlink:
    """A symbolic link in the jail, as ``ln -s to target``.

    Attributes:
        target: Path of the link itself, in the jail.
        to: The text of the link, kept as written: absolute or relative, ``..`` allowed, as
            it is only ever followed inside the jail. It need not exist.

    Raises:
        SpecError: `target` is relative, is ``/``, or contains ``.`` or ``..``; `to` is empty,
            has a NUL byte or has 4096 bytes or more.
    """

    target: str = attrs.field(converter=check.clean_path, validator=check.target_path)
    to: str = attrs.field(converter=_link_text, validator=_check_link_text)


@attrs.frozen
class File:
    """A file made for the jail, private to it and gone with it.

    Attributes:
        target: Path in the jail.
        data: The contents; a str is encoded as UTF-8. Held in memory.
        mode: Permission bits, without setuid and setgid. Default: 0o644. The file belongs to the
            jail's user, but cannot be changed: it is mounted read-only.

    Raises:
        SpecError: `target` is relative, is ``/``, or contains ``.`` or ``..``; `data` is
            neither bytes nor text that UTF-8 can hold; `mode` is out of range.
    """

    target: str = attrs.field(converter=check.clean_path, validator=check.target_path)
    # The contents may be large or secret; a repr ends up in logs.
    data: bytes = attrs.field(converter=_contents, validator=_check_contents, repr=lambda data: f"<{len(data)} bytes>")
    mode: int = attrs.field(default=0o644, kw_only=True, validator=check.mode_bits(_FILE_BITS))


Mount = Bind | Tmpfs | Proc | Dev | Symlink | File
"""Everything that may be in ``mounts=``."""
