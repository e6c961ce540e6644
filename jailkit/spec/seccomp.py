"""Which system calls the programs of a jail may make: `SeccompPolicy`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from jailkit._errors import SpecError
from jailkit.spec import _validate as check
from jailkit.spec._calls import ALWAYS, GROUPS, KNOWN, PROFILES, profile_actions

__all__ = ["Refusal", "SeccompPolicy", "is_policy", "optional_policy"]

Refusal = Literal["EPERM", "ENOSYS", "kill"]
_REFUSALS = ("EPERM", "ENOSYS", "kill")
_ACTIONS = ("allow", "log", *_REFUSALS)


def _check_profile(instance: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, str) or value not in PROFILES:
        raise check.refuse(instance, attribute, value, f"one of {', '.join(PROFILES)}")


def _pairs(value: Any) -> Any:
    """Keep the last word on each call, sorted by name, so that equal policies are equal."""
    try:
        return tuple(sorted(dict(value).items()))
    except (TypeError, ValueError):
        return value


def _check_changes(instance: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, tuple):
        raise check.refuse(instance, attribute, value, "pairs of the name of a call and an action")
    for name, action in value:
        if not isinstance(name, str) or name not in KNOWN:
            raise check.refuse(instance, attribute, name, "the name of a system call, as in the table of groups")
        if not isinstance(action, str) or action not in _ACTIONS:
            raise check.refuse(instance, attribute, action, f"one of {', '.join(_ACTIONS)}")
        if name in ALWAYS and action not in ("allow", "log"):
            words = f"anything but {', '.join(ALWAYS)}: the filter is in force before the program begins"
            raise check.refuse(instance, attribute, name, words)


@attrs.frozen(cache_hash=True)
class SeccompPolicy:
    """Which system calls the programs of a jail may make; every other one is refused. See seccomp(2).

    The filter is compiled by libseccomp on the host, and loaded by each program of the jail just before its exec; it
    cannot be taken back, and is inherited. What it does not do: look behind pointers (paths, the contents of
    structures), or protect from a flaw in a call that is allowed.

    Some calls are allowed with conditions, whatever the profile: `clone` without new namespaces, `ioctl` without
    TIOCSTI, TIOCLINUX, TIOCSETD and TIOCCONS, `socket` and `socketpair` of usual families, a list of `prctl` options,
    `personality` of plain Linux, `prlimit64` of the caller itself, `open`, `chmod` and `mknod` without set-id bits.
    `add` and `log` take these conditions away. System calls of another architecture, and of x32, are refused always.

    Attributes:
        profile: Where it starts: ``default`` (what ordinary software needs, compilers and language
            runtimes included), ``strict`` (files, memory, processes and time: a program that
            computes) or ``empty`` (nothing but execve, exit_group and write, without which no
            program begins). Default: ``default``.
        changes: Pairs of the name of a call and an action, which `add`, `remove` and `log` make:
            ``allow``, ``log``, ``EPERM``, ``ENOSYS`` or ``kill``; sorted by name. Default: none.

    Raises:
        SpecError: There is no such profile, call or action; or a call is refused without which no
            program begins.

    >>> policy = SeccompPolicy("strict").add("socket").remove("personality", refusal="kill")
    >>> print(policy)
    strict, personality=kill, socket=allow
    >>> print(policy.diff(SeccompPolicy("strict")))
    personality: kill -> check
    socket: allow -> EPERM
    """

    profile: str = attrs.field(default="default", validator=_check_profile)
    changes: tuple[tuple[str, str], ...] = attrs.field(
        default=(), kw_only=True, converter=_pairs, validator=_check_changes
    )

    def _with(self, names: Iterable[str], action: str) -> SeccompPolicy:
        return SeccompPolicy(self.profile, changes=(*self.changes, *((name, action) for name in names)))

    def add(self, *names: str) -> SeccompPolicy:
        """Return a policy that allows these calls too, whatever their arguments.

        Raises:
            SpecError: There is no such call.
        """
        return self._with(names, "allow")

    def remove(self, *names: str, refusal: Refusal = "EPERM") -> SeccompPolicy:
        """Return a policy that refuses these calls too.

        Args:
            names: Names of system calls.
            refusal: ``EPERM`` or ``ENOSYS``, the error that the caller gets, or ``kill``: its process ends with SIGSYS.

        Raises:
            SpecError: There is no such call or refusal; or no program begins without the call.
        """
        if refusal not in _REFUSALS:
            raise SpecError("refusal", refusal, f"one of {', '.join(_REFUSALS)}")
        return self._with(names, refusal)

    def log(self, *names: str) -> SeccompPolicy:
        """Return a policy that allows these calls and has the kernel log each, in the audit log or in dmesg.

        Raises:
            SpecError: There is no such call.
        """
        return self._with(names, "log")

    def actions(self) -> dict[str, str]:
        """Return what is done about each call: ``allow``, ``check``, ``log``, ``EPERM``, ``ENOSYS`` or ``kill``."""
        return {**profile_actions(self.profile), **dict(self.changes)}

    @staticmethod
    def group_calls(*groups: str) -> tuple[str, ...]:
        """Return the names of the calls in some groups of the table that the profiles are made of.

        >>> SeccompPolicy.group_calls("io_uring")
        ('io_uring_setup', 'io_uring_enter', 'io_uring_register')
        """
        return tuple(name for group in GROUPS if group.name in groups for name in group.calls)

    def diff(self, other: SeccompPolicy) -> str:
        """Return, a line for each call that two policies treat differently, what this and what the other one does."""
        ours, theirs = self.actions(), other.actions()
        lines = [f"{name}: {ours[name]} -> {theirs[name]}" for name in sorted(ours) if ours[name] != theirs[name]]
        return "\n".join(lines)

    def __str__(self) -> str:
        return ", ".join([self.profile, *(f"{name}={action}" for name, action in self.changes)])


def optional_policy(value: bool | str | SeccompPolicy | None) -> bool | SeccompPolicy | None:
    """Read the name of a profile; everything else stays as it is."""
    return SeccompPolicy(value) if isinstance(value, str) and value in PROFILES else value  # type: ignore[return-value]


def is_policy(instance: object, attribute: Any, value: object) -> None:
    """Accept a switch, None, or a policy."""
    if value is not None and not isinstance(value, bool | SeccompPolicy):
        raise check.refuse(instance, attribute, value, "True, False, None, the name of a profile or a SeccompPolicy")
