"""Checks of file systems and mounts."""

from __future__ import annotations

import errno as errnos

from jailkit._doctor.checks import EVERY, Simple, decide, from_gate
from jailkit._doctor.facts import Facts
from jailkit._doctor.gates import Gate, mount_gate, proc_gate
from jailkit._doctor.report import Check

__all__ = ["checks"]


def _simple(name: str, tried: str, works: str, *needed_by: str) -> Simple:
    return Simple(
        name=name,
        attempt=name,
        tried=tried,
        works=works,
        gate=lambda facts, tried: mount_gate(facts, tried, name),
        needed_by=needed_by,
    )


_SIMPLE = (
    _simple(
        "mount-api",
        "open_tree, fsopen, fsconfig, fsmount and move_mount in new namespaces",
        "a copy of a tree and a new file system made and attached",
        EVERY,
    ),
    _simple(
        "mount-attributes", "make a mount read-only with mount_setattr, and write to it", "the write was refused", EVERY
    ),
    _simple("tmpfs", "mount a tmpfs in new namespaces and write to it", "written", EVERY),
    Simple(
        name="proc",
        attempt="proc",
        tried="mount a fresh procfs in new pid and mount namespaces",
        works="mounted",
        gate=proc_gate,
        needed_by=(EVERY,),
    ),
    _simple(
        "pivot-root",
        "swap the root in new namespaces and let the old one go",
        "swapped; nothing of the old one is left",
        EVERY,
    ),
)
_OVERLAY = _simple(
    "overlay",
    "mount an overlay in new user and mount namespaces and write to it",
    "written, and the write is in the upper layer",
    'writable="ephemeral" over a root as the caller',
)


def _idmapped(facts: Facts) -> Check:
    name, tried = (
        "idmapped-mounts",
        "give a detached mount other ids with mount_setattr, on each file system that is there",
    )
    needed_by = ("Bind(as_owner=True), and writable binds and roots, for root",)
    found = facts.attempt("idmapped")
    each: dict[str, int] = dict(found.data.get("file systems", {}))
    words = ", ".join(
        f"{place}: {errnos.errorcode.get(number, number) if number else 'yes'}" for place, number in each.items()
    )
    if found.ok and not any(each.values()):
        return Check(name=name, state="ok", tried=tried, happened=words, needed_by=needed_by)
    if found.ok:
        lacking = [place for place, number in each.items() if number]
        return from_gate(
            _no_idmap(facts, lacking), name=name, tried=tried, happened=words, needed_by=needed_by, degraded=True
        )
    if not facts.wide:
        gate = Gate(
            "not-privileged",
            "the caller lacks CAP_SYS_ADMIN over the file systems of the machine (CapEff in /proc/self/status)",
            "make the jails as root; those of an ordinary user need none, a bind shows what that user may read",
            "the program that makes the jails runs as root",
        )
        return from_gate(gate, name=name, tried=tried, happened=found.said, needed_by=needed_by)
    gate = _no_idmap(facts, list(each)) if each else mount_gate(facts, found, "idmapped mounts")
    return from_gate(gate, name=name, tried=tried, happened=words or found.said, needed_by=needed_by)


def _no_idmap(facts: Facts, lacking: list[str]) -> Gate:
    return Gate(
        "file-system",
        f"no idmapped mounts of {', '.join(lacking)} with Linux {facts.release}: that file system cannot do them, or "
        "belongs to another user namespace",
        "keep roots and writable directories on ext4, xfs or btrfs, or on tmpfs (Linux 6.3 or newer), on a mount that "
        "the root of the machine made (in a container: a volume, and not the overlay that is its /)",
        "another place for those directories",
    )


def checks(facts: Facts) -> list[Check]:
    """Return the checks of mounts, in their order."""
    return [*(decide(facts, simple) for simple in _SIMPLE), decide(facts, _OVERLAY), _idmapped(facts)]
