"""A `Command` in one jail, decided: who runs it, where, with which variables and limits, looked up where."""

from __future__ import annotations

import os

import attrs

from jailkit._errors import UnsupportedError
from jailkit.plan.bare import refuse_user_limits
from jailkit.plan.bounds import bounds
from jailkit.plan.denials import Notices, notices
from jailkit.plan.facts import Host
from jailkit.plan.groups import GroupPlan, accounts_group, program_group
from jailkit.plan.identity import check_user
from jailkit.plan.plan import Plan
from jailkit.plan.privileges import granted
from jailkit.spec import UNLIMITED, Command, JailSpec, Level, Limits, User

__all__ = ["Program", "on_terminal", "prepare", "prepare_open", "prepare_terminal"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UMASK = 0o022
_AFTER_SIGNAL = 0.05
"""Processor time between SIGXCPU, which comes with the kernel's next tick, and the host's own look at it."""


@attrs.frozen(kw_only=True, eq=False)  # found again by identity
class Program:
    """What PID 1 is asked to start, and what the host watches.

    Attributes:
        flags: Names of ``enum jk_request_flag``.
        uid: User id in the jail.
        gid: Group id in the jail.
        groups: Supplementary groups.
        umask: Its file mode mask.
        rlimits: Names, soft and hard limits.
        candidates: Paths to try, the first that can be run wins.
        argv: The program and its arguments.
        env: Its variables, as NAME=value.
        cwd: Where it starts.
        cpu_seconds: Processor time that the rlimit of each process allows, or inf.
        cpu_limit: Processor time of it and all that it starts, or inf.
        wall_seconds: Time that it may take, or inf.
        output: Bytes that it may write to stdout and stderr together, or inf.
        capabilities: What it starts with, where it is not the superuser of a jail.
        open_flags: Where a file is to be opened instead of executed: names of flags of open(2).
        group: The control group that it gets for itself, or None.
        group_in_company: The same, for the time when other programs are in the group of the jail.
        notices: What the host is told of refused calls, or None.
        disk: Bytes that the jail may write, or inf: whether it was full in the end is for the verdict.
    """

    flags: tuple[str, ...]
    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int
    rlimits: tuple[tuple[str, int, int], ...]
    candidates: tuple[bytes, ...]
    argv: tuple[bytes, ...]
    env: tuple[bytes, ...]
    cwd: bytes
    cpu_seconds: float
    cpu_limit: float
    wall_seconds: float
    output: float
    capabilities: tuple[str, ...] = ()
    open_flags: tuple[str, ...] = ()
    group: GroupPlan | None = None
    group_in_company: GroupPlan | None = None
    notices: Notices | None = None
    disk: float = UNLIMITED

    @property
    def cpu_watched(self) -> float:
        """Processor time at which the host kills; where SIGXCPU comes at the same time, it is let go first."""
        return self.cpu_limit + (_AFTER_SIGNAL if self.cpu_seconds == self.cpu_limit else 0)


def prepare(
    command: Command, spec: JailSpec, plan: Plan, host: Host, *, alone: bool = False, watched: bool = False
) -> Program:
    """Decide a command.

    Args:
        command: What is asked for.
        spec: The jail's spec, which gives what the command leaves open.
        plan: The jail's plan.
        host: The facts of the host.
        alone: The jail ends with this program.
        watched: An exec pipe comes with the request.

    Raises:
        UnsupportedError: The jail has no such user, or this host cannot give one of the limits.
    """
    user = command.user or plan.user or spec.effective_user
    check_user(user, plan.ids)
    bounded = bounds(command.limits, spec.bounded_limits, spec.level, plan.ids.source, host.hard_limits)
    group, in_company = (None, None) if alone else _groups(command.limits, spec, host)
    if plan.tier == "landlock":
        refuse_user_limits(command.limits, plan.ids, group or plan.group)
    env = _environment(command, spec, user, plan.private)
    flags = {
        "JK_RUN_ALONE": alone,
        "JK_RUN_DETACH": command.detach,
        "JK_RUN_KEEP_CAPS": user.uid == 0 and spec.level < Level.SANDBOX,
        "JK_RUN_EXEC_PIPE": watched,
        "JK_RUN_SETGROUPS": plan.ids.setgroups,
    }
    return Program(
        flags=tuple(name for name, wanted in flags.items() if wanted),
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        umask=_UMASK,
        rlimits=bounded.rlimits,
        candidates=_candidates(command.argv[0], env.get("PATH", _PATH)),
        argv=command.argv,
        env=tuple(os.fsencode(f"{name}={value}") for name, value in env.items()),
        cwd=os.fsencode(command.cwd or plan.cwd),
        cpu_seconds=bounded.cpu_seconds,
        cpu_limit=bounded.cpu_limit,
        wall_seconds=bounded.wall_seconds,
        output=bounded.output,
        capabilities=granted(spec),
        group=group,
        group_in_company=in_company,
        notices=notices(spec),
        disk=UNLIMITED if plan.private or spec.effective_limits.disk is None else spec.effective_limits.disk,
    )


def _groups(own: Limits, spec: JailSpec, host: Host) -> tuple[GroupPlan | None, GroupPlan | None]:
    """Decide the group of a program: for limits of its own, or to tell its processor time from that of others."""
    group = program_group(own, spec.effective_limits, host)
    if group or spec.limits.cpu_seconds in (None, UNLIMITED):
        return group, None
    accounts = accounts_group(host)
    # In version 1 the jail's group has no part that is for programs without a group of their own, and to join one
    # is cheap; in version 2 it may take milliseconds (cgroups(7): a move waits for a grace period).
    return (accounts, None) if accounts and accounts.version == 1 else (None, accounts)


def prepare_open(
    path: str,
    open_flags: tuple[str, ...],
    mode: int,
    spec: JailSpec,
    plan: Plan,
    host: Host,
    user: User | None = None,
) -> Program:
    """Decide the opening of a file by the jail's user, or another; `mode` is for one that is made."""
    opening = prepare(Command([path], user=user), spec, plan, host)
    flags = (*opening.flags, "JK_RUN_OPEN")
    # O_NONBLOCK: a fifo without a reader is an error, not a wait.
    open_flags = (*open_flags, "O_NONBLOCK", "O_NOCTTY")
    return attrs.evolve(
        opening,
        group=None,
        group_in_company=None,
        notices=None,
        flags=flags,
        umask=0o777 & ~mode,
        open_flags=open_flags,
        candidates=opening.argv,
        cwd=b"/",
    )


def prepare_terminal(user: User | None, spec: JailSpec, plan: Plan, host: Host) -> Program:
    """Decide the opening of a terminal for a program of this user.

    Raises:
        UnsupportedError: The jail has no terminals of its own.
    """
    if plan.tier == "landlock":
        raise UnsupportedError(
            "pty=True",
            "a jail of tier landlock has no file system of terminals of its own",
            "a host with user namespaces, or root, see jailkit doctor",
        )
    return prepare_open("/dev/pts/ptmx", ("O_RDWR",), 0, spec, plan, host, user)


def on_terminal(program: Program) -> Program:
    """Decide what a terminal changes: it is that of the program's session, and of a kind that every software knows."""
    named = any(entry.startswith(b"TERM=") for entry in program.env)
    env = program.env if named else (*program.env, b"TERM=xterm")
    return attrs.evolve(program, flags=(*program.flags, "JK_RUN_TERMINAL"), env=env)


def _environment(command: Command, spec: JailSpec, user: User, private: str | None) -> dict[str, str]:
    """Nothing is inherited: a clean set, then the jail's variables, then the command's."""
    base = {"PATH": _PATH, "HOME": user.home, "USER": user.name, "LOGNAME": user.name, "LANG": "C.UTF-8"}
    if private:
        base["TMPDIR"] = private
    return {**base, **dict(spec.env), **dict(command.env)}


def _candidates(name: bytes, path: str) -> tuple[bytes, ...]:
    """Where a program is looked for, as execvp(3) does."""
    if b"/" in name:
        return (name,)
    # An empty entry of PATH means the working directory; a jail does not look there by accident.
    directories = [directory for directory in path.split(":") if directory] or _PATH.split(":")
    return tuple(os.fsencode(directory) + b"/" + name for directory in directories)
