"""Landlock rules, the second wall behind the mounts: landlock(7).

PID 1 puts itself under the rules as its last step, and every program inherits them: one domain for the whole jail, so
that its programs may signal each other and meet at abstract sockets, and a start costs nothing more. What the rules say
follows from the mounts: all may be read and executed that is in the jail, written where a mount may be written.
Beneath such rules no mount can be made, changed or taken away, whatever capability a program gets hold of.

TCP is not restricted. With ``net=False`` there is nothing but the jail's own loopback, which programs use; with
``net="host"`` the caller has asked for the host's network.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from jailkit._errors import UnsupportedError
from jailkit.plan.facts import Host
from jailkit.plan.root import ROOT, has_private_home, has_private_tmp
from jailkit.plan.steps import Step, step
from jailkit.spec import Bind, JailSpec, Level, Tmpfs

__all__ = [
    "CHANGE",
    "READ",
    "landlock",
    "path_rule",
    "refuse_unsupported_landlock",
    "rights_in_words",
    "rules_apply",
    "ruleset",
]

_RULES = "rules"
_ATTR = struct.Struct("<QQQ")  # struct landlock_ruleset_attr: what is governed of files, of TCP, of the rest

_RIGHTS = {  # LANDLOCK_ACCESS_FS_*: the number of the bit, and the ABI that brought it
    "execute": (0, 1),
    "write file": (1, 1),
    "read file": (2, 1),
    "read dir": (3, 1),
    "remove dir": (4, 1),
    "remove file": (5, 1),
    "make char": (6, 1),
    "make dir": (7, 1),
    "make reg": (8, 1),
    "make sock": (9, 1),
    "make fifo": (10, 1),
    "make block": (11, 1),
    "make sym": (12, 1),
    "refer": (13, 2),
    "truncate": (14, 3),
    "ioctl dev": (15, 5),
}
READ = ("execute", "read file", "read dir")
CHANGE = (
    *("write file", "truncate", "remove dir", "remove file", "make dir", "make reg", "make sock", "make fifo"),
    *("make sym", "refer"),
)
_OF_FILES = ("execute", "write file", "read file", "truncate", "ioctl dev")
_TCP = 0b11
"""LANDLOCK_ACCESS_NET_BIND_TCP and _CONNECT_TCP, of ABI 4."""
_SCOPES, _SCOPES_ABI = 0b11, 6
"""LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and _SIGNAL."""

_LEAST_ABI = 2
"""The first that lets a file be moved to another directory; before, mv, git and many installers fail (EXDEV)."""


def _bits(names: tuple[str, ...], abi: int) -> int:
    return sum(1 << _RIGHTS[name][0] for name in names if _RIGHTS[name][1] <= abi)


def rights_in_words(bits: int) -> str:
    """Name the rights of a rule.

    >>> rights_in_words(0b1101)
    'execute, read file, read dir'
    """
    return ", ".join(name for name, (bit, _) in _RIGHTS.items() if bits >> bit & 1)


def rules_apply(spec: JailSpec, host: Host) -> bool:
    """Whether there are rules in this jail on this host."""
    if not spec.effective_landlock:
        return False
    return host.landlock >= (1 if spec.landlock else _LEAST_ABI)


def refuse_unsupported_landlock(spec: JailSpec, host: Host) -> None:
    """Refuse rules that were asked for by name and cannot be.

    Raises:
        UnsupportedError: The kernel has no Landlock, or mounts are allowed as well.
    """
    if spec.landlock and not host.landlock:
        raise UnsupportedError(
            "landlock=True",
            "this kernel has no Landlock, or it is switched off",
            "boot a kernel from 5.13 on with landlock in its lsm= list, or leave landlock out",
        )
    if spec.landlock and spec.allow.mount:
        raise UnsupportedError(
            "landlock=True with Allow(mount=True)", "Landlock forbids every mount", "leave one of them out"
        )


def ruleset(why: str, *, slot: str, abi: int, files: bool = True, tcp: bool = False) -> Step:
    """Make a set of rules that scopes signals and abstract sockets; what it governs beside them, rules allow."""
    governed = _bits(tuple(_RIGHTS), abi) if files else 0
    scopes = _SCOPES if abi >= _SCOPES_ABI else 0
    return step("landlock_ruleset", why, slot=slot, text=_ATTR.pack(governed, _TCP if tcp else 0, scopes))


def path_rule(slot: str, rights: tuple[str, ...], why: str, abi: int) -> Step:
    """Allow these rights below a directory, or those that a file has for a file."""
    of_a_file = tuple(name for name in rights if name in _OF_FILES)
    return step("landlock_rule", why, slot=slot, at=_RULES, value=_bits(rights, abi), flags=_bits(of_a_file, abi))


def landlock(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Make the rules, and put PID 1 under them."""
    if not rules_apply(spec, host):
        return
    abi = host.landlock
    yield ruleset("what is forbidden unless a rule allows it: all that this kernel knows", slot=_RULES, abi=abi)
    yield path_rule(ROOT, READ, "all that is in the jail may be read and executed", abi)
    yield path_rule("dev", ("read file", "read dir", "write file"), "device nodes are for reading and writing", abi)
    yield path_rule("pts", (*READ, "write file", "ioctl dev"), "a terminal has settings", abi)
    yield step("find", "for the rule below", slot="tty", at="dev", path="tty", flags=("O_PATH",))
    yield path_rule("tty", ("read file", "write file", "ioctl dev"), "a terminal has settings", abi)
    for slot, why in _writable(spec):
        yield path_rule(slot, (*READ, *CHANGE), why, abi)
    if spec.level < Level.SANDBOX:
        yield path_rule("proc", (*READ, "write file"), "the superuser of a jail has settings of his own", abi)
    yield step("landlock_restrict", "for good, and for every program that is started from here", at=_RULES)


def _writable(spec: JailSpec) -> Iterator[tuple[str, str]]:
    """Name the mounts that may be written to."""
    yield "shm", "shared memory may be written to"
    if spec.writable != "no":
        yield ROOT, f'writable="{spec.writable}"'
    if has_private_tmp(spec):
        yield "private:tmp", "the private /tmp may be written to"
    if has_private_home(spec):
        yield "private:home", "the home of the jail's user may be written to"
    for number, mount in enumerate(spec.mounts):
        if isinstance(mount, Bind) and mount.writable:
            yield f"bind:{number}", f"{mount.target} may be written to"
        elif isinstance(mount, Tmpfs):
            yield f"tmpfs:{number}", f"{mount.target} may be written to"
