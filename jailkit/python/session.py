"""A Python session: one interpreter in a live jail, which is started again when a call has damaged it."""

from __future__ import annotations

import functools
import math
import os
import resource
import threading
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

from jailkit._errors import CallFailed, ClosedError, CommandNotFound, SpecError
from jailkit.process import Captured, ExitReason, Process
from jailkit.python.calls import PER_CALL, Calls, Options
from jailkit.python.interpreter import find_interpreter
from jailkit.python.result import CallResult
from jailkit.spec import UNLIMITED, JailSpec, Limits

if TYPE_CHECKING:
    from jailkit.python.link import Link

# What only a session needs is imported when there is one: most programs that import jailkit have none.

__all__ = ["PythonSession", "new_session"]

_RLIMITS = {
    "cpu_seconds": resource.RLIMIT_CPU,
    "address_space": resource.RLIMIT_AS,
    "file_size": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
    "stack": resource.RLIMIT_STACK,
    "core": resource.RLIMIT_CORE,
}
_START_SECONDS = 60.0
_open_sessions: weakref.WeakSet[PythonSession] = weakref.WeakSet()


@final
class PythonSession(Calls):
    """A Python interpreter in a live jail, which forks for each call. Made by `Jail.python` only.

    Each call has a process of its own, with what was preloaded and nothing else: modules, variables, threads, the
    working directory, the environment, files below ``/tmp``, ``/dev/shm`` and the home are gone before the next one.
    Calls run one after another; from several threads they wait for each other. When a call damages the interpreter
    that serves it, that call fails, and the next one is served by a new interpreter.

    What it does not protect from: a call says what it wants, so a value is the word of the code that ran, and of no
    other call. Files that were there before a call can be changed by it. Sessions of one jail share these directories:
    to use several at once, give each its own jail.

    In a process forked from this one the object is inert.
    """

    def __init__(self, start: Callable[[bytes, list[Process]], Link], options: Options) -> None:
        self._start = start
        self._options = options
        self._session = self
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._closed = False
        self._keep = b""
        self._link: Link | None = None
        self._begun: list[Process] = []  # what starts, and is no link yet
        self._starts = 0
        _open_sessions.add(self)

    @property
    def starts(self) -> int:
        """How often an interpreter was started for it: one more than the calls that have damaged theirs."""
        return self._starts

    @property
    def closed(self) -> bool:
        """Whether it has been closed, or belongs to the process that this one was forked from."""
        return self._closed or self._owner != os.getpid()

    def _ready(self) -> Link:
        if self.closed:
            raise ClosedError("this Python session is closed")
        if self._link is not None and self._link.killed:
            self._drop()
        if self._link is None:
            try:
                self._link = self._start(self._keep, self._begun)
            finally:
                self._begun.clear()
            self._starts += 1
        return self._link

    def _drop(self) -> None:
        """End the interpreter; the next call starts another one."""
        link, self._link = self._link, None
        if link is not None:
            self._keep = link.keep
            link.end()

    def _perform(
        self, request: dict[str, Any], options: Options, cancelled: Callable[[], bool] | None = None
    ) -> CallResult:
        from jailkit.python.wire import MAX_BYTES, WireError, encode  # noqa: PLC0415 - see above

        limits = options.limits
        cpu = limits.cpu_seconds or math.inf
        request["room"], request["seed"] = MAX_BYTES, options.seed
        request["rlimits"] = _rlimits(limits)
        try:
            body = encode(request)
        except WireError as error:
            raise SpecError("arguments", _Arguments(request), str(error)) from None
        bounds = (limits.wall_seconds or math.inf, UNLIMITED if limits.output is None else limits.output, cpu)
        with self._lock:
            for _ in range(2):
                result = self._try(body, *bounds, cancelled)
                if result is not None:
                    return result
        raise CallFailed("the interpreter takes no calls", ExitReason.LOST)

    def _try(
        self, body: bytes, timeout: float, output: float, cpu: float, cancelled: Callable[[], bool] | None
    ) -> CallResult | None:
        """Make the call; None when the interpreter was gone before it."""
        from jailkit.python.exchange import Exchange  # noqa: PLC0415 - see above
        from jailkit.python.wire import MAX_BYTES  # noqa: PLC0415 - see above

        link = self._ready()
        if cancelled is not None and cancelled():  # whoever says so from now on interrupts this interpreter
            raise CallFailed("the call was cancelled before it began", ExitReason.KILLED)
        exchange = Exchange(link, body, timeout, Captured(output), MAX_BYTES, cpu)
        try:
            exchange.run()
            result = exchange.result()
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self._drop()
            return None
        except BaseException:
            self._drop()
            raise
        if exchange.done is None or exchange.done.leaves:
            self._drop()
        return result

    def interrupt(self) -> None:
        """Kill the call that runs, if one does, from another thread; it fails with reason KILLED.

        An interpreter that is just starting is killed as well.
        """
        link = self._link
        if self.closed:
            return
        for process in list(self._begun):
            process.kill()
        if link is not None and not link.killed:
            link.interrupt()

    def close(self) -> None:
        """Kill the interpreter and everything that it has started. Closing twice is fine."""
        if self.closed:
            return
        self.interrupt()
        self._closed = True
        with self._lock:
            link, self._link = self._link, None
            if link is not None:
                link.end()

    def _disown(self) -> None:
        """After a fork, in the child: let go of the parent's interpreter without touching it."""
        self._lock = threading.Lock()
        if self._link is not None:
            self._link.control.close()

    def __enter__(self) -> PythonSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_link", None) is not None:
            self.close()

    def __repr__(self) -> str:
        return f"<jailkit.PythonSession {'closed' if self.closed else 'open'}>"


@functools.lru_cache(maxsize=64)
def _rlimits(limits: Limits) -> list[tuple[int, int]]:
    amounts = ((number, getattr(limits, name)) for name, number in _RLIMITS.items())
    return [(number, math.ceil(amount)) for number, amount in amounts if amount not in (None, UNLIMITED)]


class _Arguments:
    """What an error shows of a request."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._what = request.get("args") or request.get("kwargs") or request.get("inputs")

    def __repr__(self) -> str:
        return repr(self._what)


def _disown_all() -> None:
    for session in list(_open_sessions):
        session._disown()  # noqa: SLF001 - its own class


os.register_at_fork(after_in_child=_disown_all)


def new_session(
    popen: Callable[..., Process],
    spec: JailSpec,
    places: tuple[str, ...],
    *,
    scoped: bool,
    preload: Iterable[str] = (),
    interpreter: str | None = None,
    packages: bool | None = None,
    path: Iterable[str] = (),
    timeout: float | None = None,
    limits: Limits | None = None,
    seed: int | None = None,
    start_timeout: float | None = None,
) -> PythonSession:
    """Return a session whose interpreter is still to be started; the arguments are those of `Jail.python`."""
    from jailkit.python.link import Link  # noqa: PLC0415 - see above

    names, more = _words("preload", preload, "names of modules"), _words("path", path, "directories of the jail")
    found = find_interpreter(spec, interpreter, packages=packages)
    asked = limits if limits is not None else Limits()
    if not isinstance(asked, Limits):
        raise SpecError("limits", limits, "a Limits")
    of_calls = Limits(**{name: getattr(asked, name) for name in asked.named() if name in PER_CALL})
    of_all = Limits(**{name: getattr(asked, name) for name in asked.named() if name not in PER_CALL})
    jail = spec.effective_limits
    usual = Limits(cpu_seconds=jail.cpu_seconds, wall_seconds=jail.wall_seconds, output=jail.output)
    options = Options(usual).over(timeout, of_calls, seed)
    # What bounds one program in time is for each call: an interpreter that serves thousands may live longer.
    bounds = Limits(cpu_seconds=UNLIMITED, wall_seconds=UNLIMITED).over(of_all)

    def start(keep: bytes, begun: list[Process]) -> Link:
        def begin(argv: Any, **more: Any) -> Process:
            begun.append(popen(argv, limits=bounds, **more))
            return begun[-1]

        config = {
            "path": [*found.path, *more],
            "preload": names,
            "places": list(places),
            "keep": keep,
            "scoped": scoped,
        }
        seconds = _START_SECONDS if start_timeout is None else start_timeout
        try:
            return Link.start(begin, found.command, config, seconds)
        except CommandNotFound as error:
            error.hint = (
                "there is no such Python in the jail, or its loader is missing: install one in its root, name another "
                'with interpreter="/path", or bring that of this program along with mounts=jailkit.python_binds()'
            )
            raise

    return PythonSession(start, options)


def _words(field: str, value: Any, what: str) -> list[str]:
    words = [] if isinstance(value, str) else list(value)
    if isinstance(value, str) or not all(isinstance(word, str) for word in words):
        raise SpecError(field, value, f"an iterable of {what}")
    return words
