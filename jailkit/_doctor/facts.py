"""What was found out, as plain data: it crosses from a child as JSON, and `diagnose` decides from nothing else."""

from __future__ import annotations

import errno as errnos
import re
from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["BECOME", "BROKE", "INITIAL_NAMESPACES", "KILLED", "TIMED_OUT", "Facts", "Try", "kernel_version"]

BROKE, TIMED_OUT, KILLED = -1, -2, -3
"""In place of an errno: the attempt itself went wrong, was not over in time, or a signal ended it."""

BECOME = "become an ordinary user"
"""A step that diagnosis knows by its name."""

INITIAL_NAMESPACES = {"pid": "pid:[4026531836]", "user": "user:[4026531837]"}
"""The host's own, on every kernel: enum proc_ns ino numbers, ``include/linux/proc_ns.h``."""

_WIDE = 1 << 21 | 1 << 7 | 1 << 6  # CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID


@attrs.frozen
class Try:
    """One attempt.

    Attributes:
        errno: 0 when all of it worked, else the errno of the step that failed, or one of the numbers above.
        step: The last step that was begun.
        note: What it found, or what went wrong in words.
        data: What it found, where that is more than a word.
    """

    errno: int = 0
    step: str = ""
    note: str = ""
    data: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def ok(self) -> bool:
        """Whether all of it worked."""
        return self.errno == 0

    @property
    def said(self) -> str:
        """The failure in words: the step and the name of its errno."""
        if self.errno == BROKE:
            return f"{self.step}: {self.note}"
        if self.errno == TIMED_OUT:
            return f"{self.step}: no answer in time"
        if self.errno == KILLED:
            return f"{self.step}: ended by {self.note}"
        return f"{self.step}: {errnos.errorcode.get(self.errno, self.errno)}"


_NOT_TRIED = Try(TIMED_OUT, "not tried")


@attrs.frozen(kw_only=True)
class Facts:
    """Everything that a diagnosis may depend on.

    Attributes:
        uid: Effective user id of the caller.
        release: Of the kernel, as uname(2) gives it.
        machine: The same for the processor.
        init: Path of the installed ``jailkit-init``.
        settings: Texts of files below /proc and /sys, and of some signs, by name; what cannot be read is not there.
        tries: Attempts by name.
    """

    uid: int
    release: str
    machine: str
    init: str
    settings: Mapping[str, str] = attrs.field(factory=dict)
    tries: Mapping[str, Try] = attrs.field(factory=dict)

    def attempt(self, name: str) -> Try:
        """Return an attempt; one that was never begun counts as out of time."""
        return self.tries.get(name, _NOT_TRIED)

    def setting(self, name: str) -> str:
        """Return the text of a file; empty where it is not there."""
        return self.settings.get(name, "")

    def status(self, field: str) -> str:
        """Return a field of ``/proc/self/status``."""
        for line in self.setting("/proc/self/status").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return value.strip()
        return ""

    @property
    def tier(self) -> str:
        """``root`` or ``userns``, as the plan of the jail at the end has it; else by the capabilities."""
        return str(self.attempt("sandbox").data.get("tier") or ("root" if self.wide else "userns"))

    @property
    def wide(self) -> bool:
        """Whether the caller may map ids and mount: root of the machine or of a container."""
        return int(self.status("CapEff") or "0", 16) & _WIDE == _WIDE


def kernel_version(release: str) -> tuple[int, int]:
    """Return the two numbers of a kernel's release; zeros for what is no number."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)
