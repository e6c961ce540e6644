"""What can be asked of a Python session, within which bounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from jailkit._errors import SpecError
from jailkit.python.result import CallResult
from jailkit.python.source import load_request, target_request
from jailkit.spec import Limits

__all__ = ["PER_CALL", "Calls", "LoadedSource", "Options", "cancellable"]

PER_CALL = ("cpu_seconds", "wall_seconds", "address_space", "file_size", "open_files", "stack", "core", "output")
"""The limits that one call can have."""


class Options(NamedTuple):
    """What holds for a call.

    Attributes:
        limits: Its limits.
        seed: Of its random numbers, or None for others in each call.
    """

    limits: Limits
    seed: int | None = None

    def over(self, timeout: float | None, limits: Limits | None, seed: int | None) -> Options:
        """Return these options with others over them.

        Raises:
            SpecError: A limit cannot be that of one call, or a value is wrong.
        """
        asked = limits if limits is not None else Limits()
        if not isinstance(asked, Limits):
            raise SpecError("limits", limits, "a Limits")
        for name in asked.named():
            if name not in PER_CALL:
                words = f"for a call: {', '.join(PER_CALL)}; the others are for jail.python(limits=...) or the jail"
                raise SpecError(f"limits.{name}", getattr(asked, name), words)
        if timeout is not None:
            asked = Limits(wall_seconds=timeout).over(asked)
        number: Any = 0 if seed is None else seed
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**64:
            raise SpecError("seed", seed, "None, or an int from 0 to 2**64 - 1")
        return Options(asked.over(self.limits), self.seed if seed is None else seed)


class _Session(Protocol):
    def _perform(
        self, request: dict[str, Any], options: Options, cancelled: Callable[[], bool] | None
    ) -> CallResult: ...


class Calls:
    """A Python session, with bounds for the calls that are made through this object. Made by `within`."""

    _options: Options
    _session: _Session
    _cancelled: Callable[[], bool] | None = None

    def within(self, *, timeout: float | None = None, limits: Limits | None = None, seed: int | None = None) -> Calls:
        """Return the same session with other bounds for its calls.

        Args:
            timeout: Seconds until a call is killed, with reason WALL_TIME. Default: as here.
            limits: Limits for one call: ``cpu_seconds`` (whole seconds, for each process of it), ``address_space``,
                ``file_size``, ``open_files``, ``stack``, ``core``, ``output``. Default: as here. The kernel keeps
                them, by setrlimit(2), and the host keeps that on output.
            seed: Of the random numbers of `random` and of ``numpy.random``. Default: None, others in each call.

        Raises:
            SpecError: A limit cannot be that of one call, or a value is wrong.
        """
        calls = Calls()
        calls._session, calls._cancelled = self._session, self._cancelled
        calls._options = self._options.over(timeout, limits, seed)
        return calls

    def call(self, target: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function of a module of the jail, in a fresh process; return what it returns.

        Args:
            target: Module and function, as in ``"json:loads"``.
            *args: Plain data, see the page on Python sessions.
            **kwargs: The same.

        Raises:
            RemoteError: The function, or the import, raised an exception.
            CallFailed: It ended without an answer: the time was over, a signal or its own will has ended it.
            SpecError: The target is no name, or an argument is no plain data.
            ClosedError: The session, or its jail, is closed.
        """
        return self.run_call(target, args, kwargs).check()

    def run_call(self, target: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> CallResult:
        """Do the same, and return everything there is to know; how it ends is no exception.

        Raises:
            SpecError: The target is no name, or an argument is no plain data.
            ClosedError: The session, or its jail, is closed.
        """
        return self._do(target_request(target, args, kwargs or {}))

    def exec(
        self, source: str | bytes, inputs: Mapping[str, Any] | None = None, *, outputs: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """Run source code in a fresh process, as a module ``__main__``; return the names that it has bound.

        Args:
            source: Python source.
            inputs: Names that are there at the start, with plain data.
            outputs: The names that come back; one that is missing, or no plain data, is an exception. Default: every
                name that does not begin with an underscore and has plain data, but not an input that still is the
                same object.

        Raises:
            JailkitError: Each of the errors of `call`.
        """
        value = self.run_exec(source, inputs, outputs=outputs).check()
        return value if isinstance(value, dict) else {}

    def run_exec(
        self, source: str | bytes, inputs: Mapping[str, Any] | None = None, *, outputs: Iterable[str] | None = None
    ) -> CallResult:
        """Do the same, and return everything there is to know; the value is the dict.

        Raises:
            SpecError: An input is no plain data.
            ClosedError: The session, or its jail, is closed.
        """
        return self._do(
            {
                "do": "exec",
                "file": "<exec>",
                "source": _bytes(source),
                "inputs": dict(inputs or {}),
                "outputs": None if outputs is None else list(outputs),
            }
        )

    def load(self, source: str | os.PathLike[str] | bytes, *, name: str = "loaded") -> LoadedSource:
        """Return an object whose functions are those of a source file, each to be called in a fresh process.

        The file is read once, here, and runs in the jail for each call anew: nothing is kept from one to the next.
        Nothing runs before the first call.

        Args:
            source: The path of a file on the host, or Python source as bytes.
            name: What the module is called in the jail. For a file: its name without ``.py``.

        Raises:
            OSError: The file cannot be read.
        """
        if isinstance(source, bytes):
            return LoadedSource(self, source, f"{name}.py", name)
        path = os.fspath(source)
        with open(path, "rb") as file:
            return LoadedSource(self, file.read(), os.path.basename(path), os.path.basename(path).removesuffix(".py"))

    def _do(self, request: dict[str, Any], cancelled: Callable[[], bool] | None = None) -> CallResult:
        return self._session._perform(request, self._options, cancelled or self._cancelled)  # noqa: SLF001 - its own


def cancellable(session: Calls, options: Options, cancelled: Callable[[], bool]) -> Calls:
    """Return a session with other bounds for its calls, which are not made any more once `cancelled` says so."""
    calls = session.within(limits=options.limits, seed=options.seed)
    calls._cancelled = cancelled  # noqa: SLF001 - of the same module
    return calls


def _bytes(source: str | bytes) -> bytes:
    if not isinstance(source, str | bytes):
        raise SpecError("source", source, "Python source as str or bytes")
    return source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source


class LoadedSource:
    """A source file whose functions can be called, each in a fresh process of the jail. Made by `PythonSession.load`.

    ``loaded.name(...)`` calls the function of that name, and raises as `PythonSession.call` does. A name that this
    class has itself is reached by `run_call`.
    """

    def __init__(self, calls: Calls, source: bytes, file: str, name: str) -> None:
        self._calls = calls
        self._source = source
        self._file = file
        self._name = name

    def within(self, **bounds: Any) -> LoadedSource:
        """Return the same source, its calls within other bounds: see `PythonSession.within`."""
        return self._by(self._calls.within(**bounds))

    def _by(self, calls: Calls) -> LoadedSource:
        return LoadedSource(calls, self._source, self._file, self._name)

    def run_call(self, name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> CallResult:
        """Call one of its functions, and return everything there is to know; how it ends is no exception.

        Raises:
            SpecError: An argument is no plain data.
            ClosedError: The session, or its jail, is closed.
        """
        request = load_request(self._name, self._file, self._source, name, args, kwargs or {})
        return self._calls._do(request)  # noqa: SLF001 - of the same module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.run_call(name, args, kwargs).check()

        call.__name__ = name
        return call

    def __repr__(self) -> str:
        return f"<jailkit.LoadedSource {self._file}>"
