"""The same attacks in the tier without namespaces: which of them apply there, and what they come to."""

from __future__ import annotations

import attrs

from tests.escape.attack import Attack

__all__ = ["FACE", "LEFT_OUT", "with_bare_tier"]

FACE = "landlock"

LEFT_OUT = {
    "a mount point that turns": "no root directories",
    "a root whose device": "no root directories",
    "a set-id program of the host's": "no other user",
    "a program of the host with": "no other user",
    "a kept part of": "refused when it is asked for: Landlock cannot take rights back below",
    "written through:": "a bind has one path, inside and outside",
    "of the host's IPC:": "Allow(sysvipc=True) is refused",
    "memory as": "limits.disk is refused",
    "a file that is allocated": "limits.disk is refused",
    "bytes": "limits.disk is refused",
    "empty files": "limits.inodes is refused",
    "directories in": "limits.inodes is refused",
    "links with long": "limits.inodes is refused",
    "a sparse file": "the program works in /tmp, which is out of reach",
    "a file that grows": "the program works in /tmp, which is out of reach",
    "no end: waits for a fifo": "the program works in /tmp, which is out of reach",
    "the compiler reads:": "the program works in /tmp, which is out of reach",
    "a result that acts": "the program works in /tmp, which is out of reach",
    "a service of the jail": "no sockets, so nothing that listens",
    "the port of a service": "no sockets, so nothing that listens",
    "a secret in the host": "the program looks for memory in /proc, which is out of reach",
    "forty": "limits.processes is refused to an ordinary user without control groups",
    "the host's process by its number": "which numbers exist can be seen: the list of protections says so",
    "the host's process: pidfd_open": "a descriptor by which nothing can be done; the rows beside it try",
    "the host's process: signals of": "the owner of a descriptor can be set, and the signal does not arrive",
    "the host's process: its session": "a number that can be seen",
}
"""How the names of rows begin that do not apply, and why."""

_REFUSALS = ("EACCES", "EPERM")
"""What Landlock says of files, and what it says of processes as the filter says it of calls: before the file or the
process is looked for, so in the place of any other word."""


def with_bare_tier(attack: Attack) -> Attack:
    """Have an attack made in the tier too, if it applies there."""
    if any(attack.name.startswith(beginning) for beginning in LEFT_OUT):
        return attack
    words = dict.fromkeys((*attack.refused["sandbox"].split("|"), *_REFUSALS))
    return attrs.evolve(attack, refused={**attack.refused, FACE: "|".join(words)})
