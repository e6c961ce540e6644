"""`JailExecutor`: the interface of `concurrent.futures.Executor`, with each task in a jail."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures import InvalidStateError as _InvalidStateError
from typing import Any, final

from jailkit._errors import SpecError
from jailkit._jail import Jail
from jailkit.python import PythonSession, function_request, target_request
from jailkit.spec import JailSpec, Limits

__all__ = ["JailExecutor"]


class _Task(Future[Any]):
    """A future that can be cancelled while it runs: its process is killed."""

    def __init__(self) -> None:
        super().__init__()
        self._session: PythonSession | None = None

    def cancel(self) -> bool:
        """Cancel it; a task that runs is killed. False only when it has ended before."""
        if super().cancel():
            return True
        with self._condition:
            if self._state != "RUNNING":
                return False
            self._state = "CANCELLED"
            self._condition.notify_all()
            if self._session is not None:
                self._session.interrupt()
        self._invoke_callbacks()  # type: ignore[attr-defined]
        self.set_running_or_notify_cancel()  # tells wait() and as_completed()
        return True

    def begin(self, session: PythonSession | None) -> None:
        """Say who is to be interrupted from now on."""
        with self._condition:
            self._session = session

    def end(self, finish: Callable[[], None]) -> None:
        """Take the outcome, unless it was cancelled."""
        self.begin(None)
        with contextlib.suppress(_InvalidStateError):
            finish()


@final
class JailExecutor(Executor):
    """Runs functions in jails: each task in a fresh process, each worker in a jail of its own.

    The interface is that of `concurrent.futures.Executor`: `submit`, `map`, `shutdown`, the ``with`` statement, and the
    functions `concurrent.futures.wait` and `concurrent.futures.as_completed`. What can be submitted: a function that
    its module defines at its top, as for `Jail.call`; or the name of a function in the jail, as in ``"json:loads"``.
    Arguments and results are plain data.

    A task that raises has a `RemoteError`, one that ends without an answer a `CallFailed`; no other task notices. Other
    than in the standard library, ``Future.cancel()`` of a task that runs returns True, and kills it.

    Args:
        max_workers: Jails, each with a thread here that waits for it. They are made when there is work for them.
            Default: the number of processors that this process may use.
        spec: The jails. Default: a `JailSpec` with all defaults.
        preload: Modules that each interpreter imports at its start.
        timeout: Seconds until a task is killed. Default: what the spec's `Limits.wall_seconds` says.
        limits: Limits, as for `Jail.python`.
        **options: The other arguments of `Jail.python`.

    Raises:
        SpecError: An argument is wrong.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        spec: JailSpec | None = None,
        *,
        preload: Iterable[str] = (),
        timeout: float | None = None,
        limits: Limits | None = None,
        **options: Any,
    ) -> None:
        workers: Any = len(os.sched_getaffinity(0)) if max_workers is None else max_workers
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise SpecError("max_workers", max_workers, "None, or an int >= 1")
        self._spec = spec if spec is not None else JailSpec()
        self._options: dict[str, Any] = {"preload": list(preload), "timeout": timeout, "limits": limits, **options}
        self._threads = ThreadPoolExecutor(workers, "jailkit")
        self._lock = threading.Lock()
        self._idle: list[tuple[Jail, PythonSession]] = []
        self._tasks: set[_Task] = set()
        self._ended = False

    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a function called in a jail; return the future of its result.

        Raises:
            SpecError: It is none that can be called in a jail.
            RuntimeError: This was shut down.
        """
        request = target_request(fn, args, kwargs) if isinstance(fn, str) else function_request(fn, args, kwargs)
        task = _Task()
        with self._lock:
            if self._ended:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._tasks.add(task)
            self._threads.submit(self._work, task, request)
        return task

    def map(
        self,
        fn: Callable[..., Any] | str,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Call a function with the items of iterables, and yield the results in their order.

        Args:
            fn: As for `submit`.
            *iterables: Its arguments, as for `map`.
            timeout: Seconds, from now, until a result that is not there is a `TimeoutError`. Default: none.
            chunksize: Has no effect: each item is a task.

        Raises:
            JailkitError: Each of the errors of `submit`; those of a task when its result is taken.
        """
        return super().map(fn, *iterables, timeout=timeout, chunksize=chunksize)  # type: ignore[arg-type]

    def _work(self, task: _Task, request: dict[str, Any]) -> None:
        try:
            if task.set_running_or_notify_cancel():
                self._run(task, request)
        except BaseException as error:  # noqa: BLE001 - it is the task's, whatever it is
            failed = error
            task.end(lambda: task.set_exception(failed))
        finally:
            with self._lock:
                self._tasks.discard(task)
                over = self._ended and not self._tasks
            if over:
                self._close()

    def _run(self, task: _Task, request: dict[str, Any]) -> None:
        with self._lock:
            place = self._idle.pop() if self._idle else None
        jail, session = place or self._open()
        try:
            task.begin(session)
            result = session._do(request, task.cancelled)  # noqa: SLF001 - a part of the library
        except BaseException:
            jail.close()
            raise
        finished = task.set_result if result.error is None else task.set_exception
        outcome: Any = result.value if result.error is None else result.error
        task.begin(None)  # before another task has it
        with self._lock:
            self._idle.append((jail, session))
        task.end(lambda: finished(outcome))

    def _open(self) -> tuple[Jail, PythonSession]:
        jail = Jail.from_spec(self._spec).start()
        try:
            return jail, jail.python(**self._options)
        except BaseException:
            jail.close()
            raise

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; end the jails when the tasks have ended.

        Args:
            wait: Return when everything is gone. Default: True.
            cancel_futures: Cancel the tasks that have not begun. Those that run are waited for; cancel their futures
                to kill them. Default: False.
        """
        with self._lock:
            self._ended = True
            waiting = [task for task in self._tasks if not task.running()] if cancel_futures else []
            over = not self._tasks
        for task in waiting:
            Future.cancel(task)
        self._threads.shutdown(wait=wait)
        if wait or over:
            self._close()

    def _close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for jail, _ in idle:
            jail.close()
