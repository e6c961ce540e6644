"""`Jail`, the one class that sees all four stages."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, final

from jailkit._connected import Connected
from jailkit._entering import Entering
from jailkit._errors import ClosedError
from jailkit._launch import Blueprint, explained, launch, make_spec, once_for, program_for, with_terminal
from jailkit._limited import Limited
from jailkit._sessions import Sessions
from jailkit.plan import Plan, Program, Protection, explain, prepare_open
from jailkit.process import (
    DEVNULL,
    PIPE,
    LiveJail,
    Process,
    Result,
    StartFailed,
    Stream,
    open_program,
    read_file,
    run_program,
    write_file,
)
from jailkit.spec import Allow, JailSpec, Level, Limits, Mount, Net, Pty, SeccompPolicy, Tier, User, Writable

__all__ = ["Jail", "adopt"]

_Env = Mapping[str, str] | None
_NO_LIMITS = Limits()
_NOTHING = Allow()
_live_jails: weakref.WeakSet[LiveJail] = weakref.WeakSet()


def _disown_all() -> None:
    """A fork copies descriptors, and a jail lives as long as one is open: the child must not hold the parent's."""
    for live in list(_live_jails):
        live.disown()


os.register_at_fork(after_in_child=_disown_all)


def adopt(live: LiveJail) -> LiveJail:
    """Have a live jail disowned in every process that is forked from this one."""
    _live_jails.add(live)
    return live


@final
class Jail(Connected, Limited, Sessions, Entering):
    r"""A place in which programs run as on a machine of their own.

    A jail has its own files, processes, users, superuser, host name, network and limits, and is gone, with all that
    was in it, when the ``with`` block ends, when `close` is called, or when this process dies in any way. Any number of
    programs can run in it, one after another or at once, from any thread.

    All arguments but the root are keywords, and are those of `JailSpec`; see there for their meaning and defaults.
    Nothing happens on the host before `start` or the ``with`` statement.

    Attributes:
        spec: What was asked for.

    Raises:
        SpecError: An argument is wrong.

    >>> with Jail() as jail:
    ...     jail.run(["id", "-u"]).stdout
    b'1000\n'
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        level: Level | str = Level.SANDBOX,
        net: Net | Jail = False,
        writable: Writable = "no",
        mounts: Sequence[Mount] = (),
        hostname: str = "jail",
        user: int | User | None = None,
        limits: Limits | None = None,
        env: _Env = None,
        cwd: str | None = None,
        seccomp: bool | str | SeccompPolicy | None = None,
        landlock: bool | None = None,
        cgroup: str | None = None,
        allow: Allow | Sequence[str] | None = None,
        tier: Tier | None = None,
        report_denials: bool = False,
    ) -> None:
        self.spec = make_spec(
            root=None if root is None else os.fspath(root),
            level=level,
            net=self._connect(net),
            writable=writable,
            mounts=tuple(mounts),
            hostname=hostname,
            user=user,
            limits=limits or _NO_LIMITS,
            env=tuple(env.items()) if env else (),
            cwd=cwd,
            seccomp=seccomp,
            landlock=landlock,
            cgroup=cgroup,
            allow=_allowed(allow),
            tier=tier,
            report_denials=report_denials,
        )
        self._blueprint: Blueprint | None = None
        self._live: LiveJail | None = None
        self._owner = 0

    @classmethod
    def from_spec(cls, spec: JailSpec) -> Jail:
        """Make a jail from a spec that exists already."""
        jail = cls()
        jail.spec = spec
        return jail

    # --- what it is ---------------------------------------------------------------------------------------------

    @property
    def _made(self) -> Blueprint:
        if self._blueprint is None:
            self._blueprint = self._compile()
        return self._blueprint

    @property
    def plan(self) -> Plan:
        """The steps between the spec and a live jail, on this host.

        Raises:
            UnsupportedError: This host cannot give what was asked for.
        """
        return self._made.plan

    @property
    def isolation(self) -> tuple[Protection, ...]:
        """Every protection, and whether it is enforced, degraded or absent."""
        return self.plan.isolation

    def explain(self) -> str:
        """Return the plan in words: each step with its reason, and what is and is not in force."""
        return explain(self.plan)

    @property
    def pid(self) -> int:
        """PID 1 of the jail as the host numbers it, while the jail is live. For display only."""
        return self._started().pid

    @property
    def closed(self) -> bool:
        """Whether the jail has been closed, or belongs to the process that this one was forked from."""
        return self._live is not None and (self._live.closed or self._owner != os.getpid())

    @property
    def alive(self) -> bool:
        """Whether it is live and its PID 1 is there: a jail that nobody closed may have been killed all the same."""
        return self._live is not None and not self.closed and self._live.alive

    # --- its life -----------------------------------------------------------------------------------------------

    def start(self) -> Jail:
        """Build the jail; return it. Done by the ``with`` statement.

        Raises:
            UnsupportedError: This host cannot give what was asked for by name; nothing was done.
            LaunchError: A step failed; nothing is left.
            ClosedError: It was started before.
        """
        if self._live is not None:
            raise ClosedError("this jail is closed" if self.closed else "this jail was started already")
        live = adopt(launch(self._made))
        try:
            live.start()
            live.wait_ready()
        except StartFailed as failed:
            raise explained(self._made, failed) from failed.__cause__
        except BaseException:
            live.end()
            raise
        self._live, self._owner = live, os.getpid()
        return self

    def close(self) -> None:
        """Kill everything in the jail and wait until it is gone. Closing twice is fine."""
        if self._live is not None and self._owner == os.getpid():
            self._end_sessions()
            self._live.end()

    def __enter__(self) -> Jail:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "not started" if self._live is None else "closed" if self.closed else f"live, PID 1 is {self._live.pid}"
        return f"<jailkit.Jail {self.spec.root or 'host view'}, {self.spec.level.name}, {state}>"

    def _started(self) -> LiveJail:
        if self._live is None:
            raise ClosedError("this jail is not started: use it in a with statement, or call start()")
        if self._owner != os.getpid():
            raise ClosedError("this jail belongs to the process that this one was forked from")
        if self._live.closed:
            raise ClosedError("this jail is closed")
        return self._live

    # --- programs -----------------------------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str | bytes | os.PathLike[str]],
        *,
        input: bytes | str | None = None,  # noqa: A002 - as in subprocess
        timeout: float | None = None,
        env: _Env = None,
        cwd: str | None = None,
        user: int | User | None = None,
        limits: Limits | None = None,
        text: bool = False,
        check: bool = False,
        stdin: Stream = None,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        detach: bool = False,
        pty: Pty = False,
    ) -> Result[Any]:
        r"""Run a program in the jail and wait for its end, as `subprocess.run` does.

        Args:
            argv: The program and its arguments. Without a slash it is looked for in the jail's PATH.
            input: What it reads from stdin. Default: nothing; its stdin is empty.
            timeout: Seconds until it and everything it has started is killed, with reason WALL_TIME. Default: what the
                jail's `Limits.wall_seconds` says. Not an error: look at the result.
            env: Variables on top of the jail's.
            cwd: Directory in the jail to start in. Default: the jail's, or the home of its user.
            user: A uid of the jail or a `User`. Default: the jail's.
            limits: Limits for this program, over the jail's.
            text: Give stdout and stderr as str.
            check: Raise `ExitError` unless the program ends by itself with exit code 0.
            stdin: A descriptor or file, instead of `input`.
            stdout: PIPE (captured, the default), DEVNULL, a descriptor or file.
            stderr: The same, or STDOUT.
            detach: Let processes that the program leaves behind live until the jail closes. By default they are
                killed when the program ends.
            pty: Give it a terminal of the jail's own, instead of three pipes: True (24 rows of 80 columns), rows and
                columns, or a `Terminal`. What it writes there is the result's `stdout`, with ``\r\n`` as terminals
                have it; `input` is typed, with ^D at its end. A terminal of the caller's is never handed in.

        Raises:
            SpecError: An argument is wrong.
            UnsupportedError: The jail has no such user, or the host cannot give a limit.
            CommandNotFound: The program, or the interpreter it names, is not in the jail.
            CommandNotExecutable: The program is not executable.
            LaunchError: It could not be started for another reason, such as a `cwd` that is not there.
            ExitError: It failed, and `check` was given.
            ClosedError: The jail is not started, or closed, or its PID 1 was killed.
        """
        once = once_for(
            self._made,
            self._started(),
            argv,
            input=input,
            streams=(stdin, stdout, stderr),
            text=text,
            pty=pty,
            user=user,
            env=env,
            cwd=cwd,
            limits=limits,
            timeout=timeout,
            detach=detach,
        )
        try:
            result = run_program(once)
        except StartFailed as failed:
            raise explained(self._made, failed) from failed.__cause__
        return result.check() if check else result

    def popen(
        self,
        argv: Sequence[str | bytes | os.PathLike[str]],
        *,
        timeout: float | None = None,
        env: _Env = None,
        cwd: str | None = None,
        user: int | User | None = None,
        limits: Limits | None = None,
        text: bool = False,
        stdin: Stream = DEVNULL,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        detach: bool = False,
        pty: Pty = False,
    ) -> Process:
        r"""Start a program in the jail and return while it runs, as `subprocess.Popen` does.

        The arguments are those of `run`. `Limits.output` bounds what `Process.communicate` reads; whoever reads the
        pipes himself bounds it himself. With `pty`, `Process.stdin` and `Process.stdout` are the two directions of the
        terminal: a ``b"\x03"`` is Ctrl-C, a ``b"\x04"`` at the beginning of a line is the end of file.

        Raises:
            JailkitError: Each of the errors of `run` but `ExitError`.
        """
        program = program_for(
            self._made, argv, env=env, cwd=cwd, user=user, limits=limits, timeout=timeout, detach=detach, watched=True
        )
        streams = (stdin, stdout, stderr)
        program, terminal = with_terminal(self._made, program, pty, user, streams)
        return open_program(self._started(), program, streams, text=text, isolation=self.isolation, terminal=terminal)

    # --- files --------------------------------------------------------------------------------------------------

    def put(self, source: bytes | str | os.PathLike[str], target: str, *, mode: int = 0o644) -> None:
        """Write a file into the jail, as the jail's user.

        Args:
            source: The contents as bytes, or the path of a file on the host.
            target: Absolute path in the jail; its directory must exist. A file there is replaced.
            mode: Permission bits.

        Raises:
            OSError: It could not be written, for instance because the jail's user may not.
        """
        data = source if isinstance(source, bytes) else _read(source)
        write_file(self._started(), self._opening(target, ("O_WRONLY", "O_CREAT", "O_TRUNC"), mode), data)

    def _opening(self, path: str, flags: tuple[str, ...], mode: int = 0) -> Program:
        made = self._made
        return prepare_open(path, flags, mode, made.spec, made.plan, made.host)

    def get(self, path: str, *, max_bytes: int = 64 * 1024 * 1024) -> bytes:
        """Read a file of the jail, as the jail's user. What comes is the jail's word: do not trust it.

        Args:
            path: Absolute path in the jail.
            max_bytes: More than that is an error.

        Raises:
            OSError: It could not be read, is not a regular file, or (EFBIG) is larger than `max_bytes`.
        """
        return read_file(self._started(), self._opening(path, ("O_RDONLY",)), max_bytes)


def _allowed(allow: Allow | Sequence[str] | None) -> Any:
    """Make names hashable, so that the same words find the same spec."""
    return _NOTHING if allow is None else tuple(allow) if isinstance(allow, list) else allow


def _read(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read()
