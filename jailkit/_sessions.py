"""What a jail has to do with Python: sessions, and calls of the caller's own functions."""

from __future__ import annotations

import abc
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jailkit._launch import Blueprint
from jailkit.plan import private_places
from jailkit.process import STDOUT, LiveJail, Process
from jailkit.python import PythonSession, function_request, new_session
from jailkit.spec import JailSpec, Limits, User

__all__ = ["Sessions"]

_lock = threading.Lock()


class Sessions(abc.ABC):
    """The part of `Jail` that runs Python."""

    spec: JailSpec
    _own: PythonSession | None = None
    _sessions: weakref.WeakSet[PythonSession] | None = None

    @property
    @abc.abstractmethod
    def _made(self) -> Blueprint: ...

    @abc.abstractmethod
    def _started(self) -> LiveJail: ...

    popen: Any

    def python(
        self,
        preload: Iterable[str] = (),
        *,
        interpreter: str | None = None,
        packages: bool | None = None,
        path: Iterable[str] = (),
        timeout: float | None = None,
        limits: Limits | None = None,
        seed: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | User | None = None,
        start_timeout: float | None = None,
    ) -> PythonSession:
        """Start a Python interpreter in the live jail that serves calls, each in a fresh process.

        Args:
            preload: Modules to import before the first call; each call then finds them imported.
            interpreter: The path, or the name, of a Python in the jail, 3.9 or newer. Default: the one that runs this
                program, without its virtual environment; where a jail with a root directory does not have that one,
                its own ``python3``.
            packages: Whether packages that are installed for it can be imported. Default: None, those that are in the
                jail. True makes it an error when some are not; see `python_binds`.
            path: Directories of the jail in which modules are looked for too. Default: none.
            timeout: Seconds until a call is killed. Default: what the jail's `Limits.wall_seconds` says.
            limits: Limits. Those that one call can have (see `PythonSession.within`) hold for each call, all others
                for the interpreter and all its calls together.
            seed: Of the random numbers of each call. Default: None, others in each call.
            env: Variables on top of the jail's.
            cwd: Directory in the jail in which each call starts.
            user: Who runs the interpreter. Default: the jail's user.
            start_timeout: Seconds that the start may take, imports included. Default: 60.

        Raises:
            CommandNotFound: There is no such Python in the jail; the error says what to do.
            RemoteError: A module could not be imported.
            CallFailed: The interpreter ended while it started, or took too long.
            JailkitError: Each of the errors of `popen`.
        """
        session = self._session(
            preload,
            env=env,
            cwd=cwd,
            user=user,
            interpreter=interpreter,
            packages=packages,
            path=path,
            timeout=timeout,
            limits=limits,
            seed=seed,
            start_timeout=start_timeout,
        )
        session._ready()  # noqa: SLF001 - a part of the library: what cannot start is an error here and now
        return session

    def _session(
        self,
        preload: Iterable[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: int | User | None = None,
        **words: Any,
    ) -> PythonSession:
        """Return a session whose interpreter is still to be started, by its first call at the latest."""

        def popen(argv: Any, *, stdin: Any, limits: Limits) -> Process:
            options = {"env": env, "cwd": cwd, "user": user, "limits": limits}
            process: Process = self.popen(argv, stdin=stdin, stderr=STDOUT, **options)
            return process

        self._started()
        plan = self._made.plan
        places = (plan.private,) if plan.private else private_places(self.spec)
        session = new_session(popen, self.spec, places, scoped=bool(plan.private), preload=preload, **words)
        with _lock:
            if self._sessions is None:
                self._sessions = weakref.WeakSet()
            self._sessions.add(session)
        return session

    def call(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function of the caller's own in the jail, in a fresh process; return what it returns.

        The source file of the function's module is read here and runs there, so whatever that module imports has to be
        in the jail. Its name in the jail is its own, and ``__jailed_main__`` for the program that runs. The interpreter
        is started by the first call, as `python` does without arguments, and lives as long as the jail.

        Args:
            func: A function that its module defines at its top.
            *args: Plain data.
            **kwargs: The same.

        Raises:
            SpecError: It is a lambda, a closure, a method or a builtin, its module has no source file, or an argument
                is no plain data.
            RemoteError: It raised an exception.
            CallFailed: It ended without an answer.
            JailkitError: Each of the errors of `python`.
        """
        request = function_request(func, args, kwargs)
        if self._own is None or self._own.closed:
            self._own = self.python()
        return self._own._do(request).check()  # noqa: SLF001 - a part of the library

    def _end_sessions(self) -> None:
        """The jail ends: so do they."""
        for session in list(self._sessions or ()):
            session.close()
