"""Jails to be awaited."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Unpack, final

from jailkit._jail import Jail as SyncJail
from jailkit._jail import adopt
from jailkit._launch import explained, launch, once_for
from jailkit._options import RunOptions
from jailkit.aio._block import Block
from jailkit.aio._loop import in_thread, shielded, until
from jailkit.aio._process import Process
from jailkit.aio._python import PythonSession
from jailkit.plan import Plan, Protection
from jailkit.process import DEVNULL, PIPE, Once, Result, StartFailed, Stream, Watch, end
from jailkit.python import function_request
from jailkit.spec import JailSpec, Pty

__all__ = ["Jail", "run"]

_Argv = Sequence[str | bytes | os.PathLike[str]]


@final
class Jail(Block):
    """A `jailkit.Jail` for a task: ``async with Jail() as jail: result = await jail.run([...])``.

    A task that is cancelled while it awaits something of a jail gets the cancellation when everything that this call
    had started is dead and taken away, and not before.

    Args:
        root: As of `jailkit.Jail`.
        options: The other arguments of `jailkit.Jail`.

    Attributes:
        jail: The `jailkit.Jail` behind it, for all that takes no time: its spec, its limits, `explain`.

    Raises:
        SpecError: An argument is wrong.
    """

    _own: PythonSession | None = None

    def __init__(self, root: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self.jail = SyncJail(root, **_plain(options))

    @classmethod
    def from_spec(cls, spec: JailSpec) -> Jail:
        """Make a jail from a spec that exists already."""
        return cls.of(SyncJail.from_spec(spec))

    @classmethod
    def of(cls, jail: SyncJail) -> Jail:
        """Make one of a `jailkit.Jail` that exists already, live or not."""
        made = cls()
        made.jail = jail
        return made

    @property
    def spec(self) -> JailSpec:
        """What was asked for."""
        return self.jail.spec

    @property
    def plan(self) -> Plan:
        """As `jailkit.Jail.plan`."""
        return self.jail.plan

    @property
    def isolation(self) -> tuple[Protection, ...]:
        """Every protection, and whether it is enforced, degraded or absent."""
        return self.jail.isolation

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self.jail.closed

    async def start(self) -> Jail:
        """Build the jail; return it. Done by the ``async with`` statement.

        Raises:
            JailkitError: Each of the errors of `jailkit.Jail.start`.
        """
        await in_thread(self.jail.start, SyncJail.close)
        return self

    async def aclose(self) -> None:
        """Kill everything in the jail and wait until it is gone. Closing twice is fine."""
        await shielded(self.jail.close)

    async def run(self, argv: _Argv, **options: Unpack[RunOptions]) -> Result[Any]:
        """Run a program in the jail and wait for its end; arguments and defaults are those of `jailkit.Jail.run`.

        Cancelled, it kills the program and all that it has started, waits until they are gone, and lets the
        cancellation through.

        Raises:
            JailkitError: Each of the errors of `jailkit.Jail.run`.
        """
        made, live = self.jail._made, self.jail._started()  # noqa: SLF001 - its other face
        check = options.pop("check", False)
        streams = (options.pop("stdin", None), options.pop("stdout", PIPE), options.pop("stderr", PIPE))
        once = once_for(made, live, argv, streams=streams, **options)
        try:
            result = await _carried_out(once)
        except StartFailed as failed:
            raise explained(made, failed) from failed.__cause__
        return result.check() if check else result

    async def popen(self, argv: _Argv, *, stdin: Stream = DEVNULL, **options: Any) -> Process:
        """Start a program in the jail and return while it runs: ``async with await jail.popen([...]) as process``.

        Args:
            argv: The program and its arguments.
            stdin: PIPE, to send it something.
            options: The other arguments of `jailkit.Jail.popen`.

        Raises:
            JailkitError: Each of the errors of `jailkit.Jail.popen`.
        """
        return Process(await in_thread(functools.partial(self.jail.popen, argv, stdin=stdin, **options), end))

    def python(self, preload: Iterable[str] = (), **options: Any) -> PythonSession:
        """Return a Python session, whose interpreter starts with its block: ``async with jail.python() as py``.

        Args:
            preload: Modules to import before the first call.
            options: The other arguments of `jailkit.Jail.python`.
        """
        return PythonSession(functools.partial(self.jail._session, preload, **options))  # noqa: SLF001 - its other face

    async def call(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function of the caller's own in the jail, in a fresh process; see `jailkit.Jail.call`.

        Cancelled, it kills the call, and lets the cancellation through when that is dead.

        Raises:
            JailkitError: Each of the errors of `jailkit.Jail.call`.
        """
        request = await in_thread(functools.partial(function_request, func, args, kwargs))
        if self._own is None or self._own.closed:
            self._own = self.python()
        return (await self._own._make(lambda calls: calls._do(request))).check()  # noqa: SLF001 - parts of the library

    async def put(self, source: bytes | str | os.PathLike[str], target: str, *, mode: int = 0o644) -> None:
        """Write a file into the jail, as the jail's user; see `jailkit.Jail.put`."""
        await in_thread(functools.partial(self.jail.put, source, target, mode=mode))

    async def get(self, path: str, *, max_bytes: int = 64 * 1024 * 1024) -> bytes:
        """Read a file of the jail, as the jail's user; see `jailkit.Jail.get`."""
        return await in_thread(functools.partial(self.jail.get, path, max_bytes=max_bytes))

    def __repr__(self) -> str:
        return f"<aio of {self.jail!r}>"


async def run(
    argv: _Argv,
    *,
    root: str | os.PathLike[str] | None = None,
    input: bytes | str | None = None,  # noqa: A002 - as in subprocess
    timeout: float | None = None,  # noqa: ASYNC109 - a timeout is a result, and not an exception
    text: bool = False,
    check: bool = False,
    stdin: Stream = None,
    stdout: Stream = PIPE,
    stderr: Stream = PIPE,
    pty: Pty = False,
    **options: Any,
) -> Result[Any]:
    """Build a jail, run one program in it, destroy the jail; return how it ended.

    The arguments are those of `jailkit.run`. Cancelled, it destroys the jail and then lets the cancellation through.

    Raises:
        JailkitError: Each of the errors of `jailkit.run`.
    """
    made = SyncJail(root, **_plain(options))._made  # noqa: SLF001 - its other face
    live = adopt(launch(made))
    try:
        streams = (stdin, stdout, stderr)
        once = once_for(
            made, live, argv, input=input, streams=streams, text=text, pty=pty, timeout=timeout, alone=pty is False
        )
        result = await _carried_out(once)
    except StartFailed as failed:
        raise explained(made, failed) from failed.__cause__
    finally:
        await shielded(live.end)
    return result.check() if check else result


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a `jailkit.Jail`: for ``net``, another jail may be one of these too."""
    net = options.get("net")
    return {**options, "net": net.jail} if isinstance(net, Jail) else options


async def _carried_out(once: Once) -> Result[Any]:
    """Run a program to its end, or to its death when this task is cancelled."""
    try:
        await in_thread(once.start)
        await until(Watch(once.talk, once.run))
    except BaseException:
        await shielded(once.abort)
        raise
    await shielded(once.finish)
    # With no report there is something to wait for: whether the jail was born at all.
    return once.result() if once.talk.report is not None else await in_thread(once.result)
