"""`JailExecutor`: concurrent.futures, with each task in a jail."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pytest

from jailkit import Bind, CallFailed, ExitReason, Jail, JailExecutor, JailSpec, Limits, RemoteError, SpecError
from tests.patience import patient

pytestmark = pytest.mark.requires("userns", "python")

BOUND = patient(40)


def begun(future: Future[object]) -> bool:
    """Wait until a worker has taken a task."""
    deadline = time.monotonic() + BOUND
    while not future.running() and time.monotonic() < deadline:
        time.sleep(0.01)
    return future.running()


def test_submit_and_map() -> None:
    """Results come in order; each task is another process, each worker another jail."""
    with JailExecutor(2, timeout=BOUND) as executor:
        assert list(executor.map("builtins:pow", range(6), [2] * 6, timeout=BOUND)) == [n * n for n in range(6)]
        future = executor.submit("json:dumps", {"a": 1}, indent=None)
        assert future.result(BOUND) == '{"a": 1}'
        assert (future.done(), future.cancel(), future.cancelled()) == (True, False, False)
        pids = [executor.submit("os:getpid") for _ in range(6)]
        assert len(concurrent.futures.wait(pids, BOUND).done) == 6
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit("os:getpid")
    with pytest.raises(SpecError, match="lambda"), JailExecutor(1) as executor:
        executor.submit(lambda: 1)


def test_an_exception_and_a_crash_are_of_their_task_alone() -> None:
    """All others have their results."""
    with JailExecutor(2, JailSpec(hostname="worker"), preload=["json"], timeout=BOUND) as executor:
        good = [executor.submit("socket:gethostname")]
        bad = executor.submit("json:loads", "{")
        crash = executor.submit("os:abort")
        over = executor.submit("os:_exit", 0)
        good += [executor.submit("socket:gethostname") for _ in range(4)]
        error = bad.exception(BOUND)
        assert isinstance(error, RemoteError)
        assert error.type_name == "json.decoder.JSONDecodeError"
        for future, reason in ((crash, ExitReason.SIGNALED), (over, ExitReason.EXITED)):
            failed = future.exception(BOUND)
            assert isinstance(failed, CallFailed)
            assert failed.reason is reason
        assert [future.result(BOUND) for future in good] == ["worker"] * 5


def test_cancel_kills_what_runs() -> None:
    """It says so at once, wakes whoever waits, and the worker goes on with the next task."""
    with JailExecutor(1, timeout=BOUND) as executor:
        assert executor.submit("builtins:abs", -1).result(BOUND) == 1
        called: list[Future[object]] = []
        running, queued = executor.submit("time:sleep", 3600), executor.submit("time:sleep", 3600)
        running.add_done_callback(called.append)
        assert begun(running)
        threading.Timer(0.2, running.cancel).start()
        assert not concurrent.futures.wait([running], BOUND).not_done
        assert (running.cancelled(), running.done(), called) == (True, True, [running])
        with pytest.raises(CancelledError):
            running.result(0)
        assert queued.cancel()
        assert executor.submit("builtins:abs", -2).result(BOUND) == 2


def test_shutdown(public: str) -> None:
    """What has not begun is cancelled if asked for; without waiting, the jails go when the last task has ended."""
    executor = JailExecutor(1, JailSpec(mounts=(Bind(public, "/here"),)), timeout=BOUND)
    first = executor.submit("subprocess:call", ["sh", "-c", "until [ -e /here/go ]; do sleep 0.1; done; exit 5"])
    rest = [executor.submit("time:sleep", 3600) for _ in range(3)]
    assert begun(first)
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in rest)
    Path(f"{public}/go").touch()
    assert first.result(BOUND) == 5
    executor.shutdown()
    executor.shutdown()


def test_a_worker_that_cannot_start() -> None:
    """The error is that of the task."""
    with JailExecutor(1, preload=["no_such_module"]) as executor:
        assert isinstance(executor.submit("os:getpid").exception(BOUND), RemoteError)
    with JailExecutor(1, limits=Limits(cpu_seconds=1), timeout=BOUND) as executor:
        failed = executor.submit("itertools:chain.from_iterable", []).exception(BOUND)
        assert isinstance(failed, RemoteError)


def test_a_live_jail_and_an_executor_do_not_meet() -> None:
    """A worker's jail is its own: files of the caller's jail are not there."""
    with Jail() as jail, JailExecutor(1, timeout=BOUND) as executor:
        jail.put(b"x", "/tmp/mine")
        assert executor.submit("os:listdir", "/tmp").result(BOUND) == []
