"""Python sessions for asyncio and trio."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine
from textwrap import dedent
from typing import Any

import anyio
import pytest

import jailkit
from jailkit import ExitReason, Limits, aio
from tests import leaks
from tests.kernel.test_aio import anyio_backend, left_since, no_idle_threads  # noqa: F401 - fixtures
from tests.patience import patient

pytestmark = [pytest.mark.requires("userns", "python"), pytest.mark.anyio]

BOUND = patient(30)
SLEEP = "import subprocess; subprocess.run(['sleep', '3600'])"
SOURCE = b"calls = 0\ndef add(a, b):\n    global calls\n    calls += 1\n    return a + b, calls\n"


async def test_calls() -> None:
    """Of functions, of source, of a file and of the caller's own program; values and errors as without a loop."""
    async with aio.Jail() as jail, jail.python(["json"], timeout=BOUND) as py:
        assert await py.call("json:loads", '{"a": [1, 2]}') == {"a": [1, 2]}
        assert await py.exec("total = sum(numbers)", {"numbers": [20, 22]}) == {"total": 42}
        loaded = await py.load(SOURCE, name="student")
        assert [await loaded.add(1, 2), await loaded.within(timeout=BOUND).add(3, 4)] == [(3, 1), (7, 1)]
        assert (await loaded.run_call("add", (b"x", b"y"))).value == (b"xy", 1)
        with pytest.raises(jailkit.RemoteError, match="ZeroDivisionError"):
            await py.exec("1 / 0")
        assert (await py.run_call("math:sqrt", [-1])).error.__class__ is jailkit.RemoteError
        assert [await jail.call(dedent, f" {word}") for word in "ab"] == ["a", "b"]
        assert py.starts == 1
        with pytest.raises(jailkit.SpecError):
            await py.call("json:loads", object())
    assert py.closed
    with pytest.raises(jailkit.ClosedError):
        await py.call("math:sqrt", 4)
    with pytest.raises(jailkit.ClosedError):
        await jail.call(dedent, "x")


async def test_bounds_of_calls() -> None:
    """Those of the session, with those of `within` over them."""
    async with aio.Jail() as jail, jail.python(limits=Limits(output=100), seed=7) as py:
        assert (await py.within(timeout=0.3).run_exec("import time; time.sleep(3600)")).reason is ExitReason.WALL_TIME
        assert (await py.within(timeout=BOUND).run_exec("print('x' * 200)")).reason is ExitReason.OUTPUT
        numbers = [await one.call("random:random") for one in (py, py.within(timeout=BOUND), py.within(seed=8))]
        assert numbers[0] == numbers[1] != numbers[2]
        with pytest.raises(jailkit.SpecError):
            py.within(limits=Limits(memory=1))


async def test_a_start_that_fails() -> None:
    """It is the error of the block, or of the first call where there is none; nothing is left."""
    async with aio.Jail() as jail:
        before = leaks.snapshot()
        with pytest.raises(jailkit.RemoteError, match="no_such_module"):
            async with jail.python(["no_such_module"]):
                pass
        with pytest.raises(jailkit.CommandNotFound):
            await jail.python(interpreter="/no/python").call("math:sqrt", 4)
        assert left_since(before) == []


async def test_tasks_take_turns() -> None:
    """As many as there are, and no thread waits for a turn."""
    found: list[int] = []

    async def one(number: int) -> None:
        found.append(await py.call("operator:add", number, 0))
        assert threading.active_count() < 40

    async with aio.Jail() as jail, jail.python(timeout=BOUND) as py, anyio.create_task_group() as group:
        for number in range(60):
            group.start_soon(one, number)
    assert sorted(found) == list(range(60))


Work = Callable[[aio.Jail, aio.PythonSession], Coroutine[Any, Any, Any]]


async def _start(jail: aio.Jail, _: aio.PythonSession) -> None:
    await jail.put(SLEEP.encode(), "/tmp/slow_module.py")
    async with jail.python(["slow_module"], path=["/tmp"], start_timeout=3600):
        pass


WORK: dict[str, Work] = {
    "exec": lambda _, py: py.exec(SLEEP),
    "turn": lambda _, py: _both(py),
    "start": _start,
}


async def _both(py: aio.PythonSession) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(py.exec, SLEEP)
        group.start_soon(py.exec, SLEEP)


def asleep(before: set[leaks.Thing]) -> list[str]:
    """Return what a call has started since; and what it is that is no process, if anything."""
    return [what for kind, what in left_since(before) if kind != "process" or what.endswith(" sleep")]


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
async def test_a_cancellation_kills_the_call(work: Work) -> None:
    """Whatever it does; when the cancellation is delivered it is dead, and the session and the jail live on."""
    async with aio.Jail() as jail, jail.python() as py:
        assert await py.call("math:sqrt", 4) == 2
        before = leaks.snapshot()
        with anyio.move_on_after(BOUND) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(work, jail, py)
                while not asleep(before):  # noqa: ASYNC110 - a process has no event
                    await anyio.sleep(0.02)
                group.cancel_scope.cancel()
        assert not scope.cancelled_caught
        assert asleep(before) == []
        with anyio.fail_after(BOUND):
            assert await py.call("math:sqrt", 9) == 3
            assert await jail.call(dedent, " x") == "x"


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@pytest.mark.parametrize("after", [0.0, 0.01])
async def test_an_early_cancellation_leaves_nothing(work: Work, after: float) -> None:
    """In the middle of a start, or of the way there."""
    async with aio.Jail() as jail:
        py = jail.python()
        before = leaks.snapshot()
        with anyio.move_on_after(after) as scope:
            await work(jail, py)
        assert scope.cancelled_caught
        assert asleep(before) == []
        with anyio.fail_after(BOUND):
            assert await py.call("math:sqrt", 9) == 3


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
async def test_asyncios_own_cancellation_kills_the_call(work: Work) -> None:
    """`asyncio.Task.cancel`, twice, by somebody who has no patience."""
    async with aio.Jail() as jail, jail.python() as py:
        task = asyncio.ensure_future(work(jail, py))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(BOUND):
            assert await py.call("math:sqrt", 9) == 3


async def test_a_call_that_is_cancelled_harms_no_other() -> None:
    """One that waits for its turn gets it, and its own answer."""
    found: list[Any] = []

    async def brief() -> None:
        with anyio.move_on_after(0.2):
            await py.exec(SLEEP)

    async def other() -> None:
        found.append(await py.call("math:floor", math.pi))

    async with aio.Jail() as jail, jail.python() as py:
        for _ in range(2):
            async with anyio.create_task_group() as group:
                for task in (brief, other, brief, other):
                    group.start_soon(task)
    assert found == [3] * 4
