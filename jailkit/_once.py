"""`run`: a jail that is used once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from jailkit._jail import Jail, adopt
from jailkit._launch import explained, launch, once_for
from jailkit.process import PIPE, Result, StartFailed, Stream, run_program
from jailkit.spec import Allow, Level, Limits, Mount, Net, Pty, SeccompPolicy, Tier, User, Writable

__all__ = ["run"]

_Env = Mapping[str, str] | None


def run(
    argv: Sequence[str | bytes | os.PathLike[str]],
    *,
    root: str | os.PathLike[str] | None = None,
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
    input: bytes | str | None = None,  # noqa: A002 - as in subprocess
    timeout: float | None = None,
    text: bool = False,
    check: bool = False,
    stdin: Stream = None,
    stdout: Stream = PIPE,
    stderr: Stream = PIPE,
    pty: Pty = False,
) -> Result[Any]:
    r"""Build a jail, run one program in it, destroy the jail; return how it ended.

    The arguments are those of `Jail` and `Jail.run`; `timeout` counts from the call, the start of the jail included.

    Raises:
        JailkitError: Each of the errors of `Jail.start` and `Jail.run`.

    >>> run(["echo", "hello"]).stdout
    b'hello\n'
    """
    jail = Jail(
        root,
        level=level,
        net=net,
        writable=writable,
        mounts=mounts,
        hostname=hostname,
        user=user,
        limits=limits,
        env=env,
        cwd=cwd,
        seccomp=seccomp,
        landlock=landlock,
        cgroup=cgroup,
        allow=allow,
        tier=tier,
        report_denials=report_denials,
    )
    made = jail._made  # noqa: SLF001 - its shorter face
    live = adopt(launch(made))
    try:
        once = once_for(
            made,
            live,
            argv,
            input=input,
            streams=(stdin, stdout, stderr),
            text=text,
            pty=pty,
            timeout=timeout,
            alone=pty is False,
        )
        result = run_program(once)
    except StartFailed as failed:
        raise explained(made, failed) from failed.__cause__
    finally:
        live.end()
    return result.check() if check else result
