"""`jailkit.aio`: the same jails for asyncio and trio."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

import jailkit
from jailkit import Chunk, ExitReason, Limits, aio
from tests import leaks
from tests.patience import patient

pytestmark = [pytest.mark.requires("userns"), pytest.mark.anyio]

BOUND = patient(30)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Everything here holds for both."""
    return str(request.param)


@pytest.fixture(autouse=True)
def no_idle_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trio keeps a thread for ten seconds after its work; who looks for what was left behind would take it for ours."""
    monkeypatch.setattr("trio._core._thread_cache.IDLE_TIMEOUT", 0.05)


def is_alive(process: str) -> bool:
    """Whether it has memory: what is dead is in the list until PID 1 of its jail has reaped it."""
    with contextlib.suppress(OSError), open(f"/proc/{process.split(maxsplit=1)[0]}/cmdline", "rb") as file:
        return bool(file.read())
    return False


def left_since(before: set[leaks.Thing]) -> list[leaks.Thing]:
    """Return what is new now, without waiting, but for the threads and descriptors of the loop itself."""
    new = leaks.snapshot() - before
    return sorted(
        (kind, what)
        for kind, what in new
        if kind in {"mount", "control group"} or (kind == "process" and is_alive(what))
    )


async def test_run() -> None:
    """A cold jail and a live one; input, text, timeouts, limits, errors, as without a loop."""
    result = await aio.run(["cat"], input="gr\u00fc\u00df", text=True, timeout=BOUND)
    assert (result.ok, result.stdout) == (True, "gr\u00fc\u00df")
    async with aio.Jail() as jail:
        assert (await jail.run(["sh", "-c", "echo a; echo b >&2; exit 3"])).returncode == 3
        assert (await jail.run(["sleep", "3600"], timeout=0.2)).reason is ExitReason.WALL_TIME
        assert (await jail.run(["yes"], limits=Limits(output=1000))).reason is ExitReason.OUTPUT
        assert (await jail.run(["tty"], pty=True, timeout=BOUND)).stdout.startswith(b"/dev/pts/")
        with pytest.raises(jailkit.CommandNotFound):
            await jail.run(["no-such-program"])
        with pytest.raises(jailkit.ExitError):
            await jail.run(["false"], check=True)
        with pytest.raises(jailkit.SpecError):
            await jail.run([])
        await jail.put(b"data", "/tmp/file")
        assert await jail.get("/tmp/file") == b"data"
    assert jail.closed
    with pytest.raises(jailkit.ClosedError):
        await jail.run(["true"])
    with pytest.raises(jailkit.CommandNotFound):
        await aio.run(["no-such-program"])
    assert (await aio.run(["stty", "size"], pty=(7, 9), timeout=BOUND)).stdout == b"7 9\r\n"


async def test_a_conversation() -> None:
    """Send, receive, and again; both directions are streams of anyio's."""
    async with aio.Jail() as jail, await jail.popen(["cat"], stdin=jailkit.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in (b"one\n", b"two\n"):
            await process.stdin.send(word)
            assert await process.stdout.receive() == word
        assert process.returncode is None
        await process.stdin.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await process.stdin.send(b"x")
        assert [chunk async for chunk in process.stdout] == []
        assert await process.wait() == 0
        assert (await process.result()).ok


async def test_both_streams_as_they_come() -> None:
    """With their origin, by chunks or lines; the bound and the clock hold; and the loop goes on meanwhile."""
    script = "for n in 1 2 3; do echo out $n; echo err $n >&2; read x; done"
    async with aio.Jail() as jail:
        async with await jail.popen(["sh", "-c", script], stdin=jailkit.PIPE, timeout=BOUND) as process:
            lines = process.lines("\n\n\n")
            found = [line async for line in lines]
            assert [line.data for line in found if line.stream == "stdout"] == [b"out 1\n", b"out 2\n", b"out 3\n"]
            assert Chunk("stderr", b"err 3\n") in found
            assert (await process.result()).ok
        async with await jail.popen(["yes"], limits=Limits(output=100_000)) as process:
            assert sum([len(chunk.data) async for chunk in process.stream()]) == 100_000
            assert (await process.result()).reason is ExitReason.OUTPUT
        async with await jail.popen(["sleep", "3600"], timeout=0.2) as process:
            assert [chunk async for chunk in process.stream()] == []
            assert (await process.result()).reason is ExitReason.WALL_TIME


async def test_communicate() -> None:
    """More than pipes hold, both ways; and a program that is gone does not mind."""
    data = os.urandom(1_000_000)
    async with aio.Jail() as jail:
        async with await jail.popen(["cat"], stdin=jailkit.PIPE) as process:
            assert await process.communicate(data) == (data, b"")
        async with await jail.popen(["true"], stdin=jailkit.PIPE) as process:
            assert await process.communicate(data) == (b"", b"")
        async with await jail.popen(["true"], stdin=jailkit.PIPE) as process:
            assert await process.wait() == 0
            assert process.stdin is not None
            with pytest.raises(anyio.BrokenResourceError):
                await process.stdin.send(data)


async def test_a_block_that_is_left_early_leaves_nothing() -> None:
    """By an error, and by a break in the middle of an iteration."""
    async with aio.Jail() as jail:
        await jail.run(["true"])
        before = leaks.snapshot()
        with pytest.raises(LookupError):
            async with await jail.popen(["sh", "-c", "setsid sleep 3600 & cat"], stdin=jailkit.PIPE):
                raise LookupError
        assert left_since(before) == []
        async with await jail.popen(["sh", "-c", "setsid sleep 3600 & yes"]) as process:
            async for _ in process.lines():
                break
        assert process.process.result().reason is ExitReason.KILLED
        assert left_since(before) == []


async def test_two_programs_converse() -> None:
    """As without a loop: a game, the end of one as the other's end of file, a clock, bounds, and what is refused."""
    judge = 'for n in 1 2 3; do read x; test "$x" = 7 && { echo right; exit 3; }; echo wrong; done'
    guess = "for n in 5 6 7; do echo $n; read x; done; echo $x >&2"

    async def talk(first: str, second: str, bound: float = BOUND, **of_first: Any) -> jailkit.Conversation:
        async with (
            await jail.popen(["sh", "-c", first], stdin=jailkit.PIPE, **of_first) as one,
            await jail.popen(["sh", "-c", second], stdin=jailkit.PIPE) as two,
        ):
            return await aio.converse(one, two, timeout=bound)

    async with aio.Jail() as jail:
        found = await talk(judge, guess)
        assert [result.returncode for result in found.results] == [3, 0]
        assert found.results[1].stderr == b"right\n"
        assert b"".join(turn.data for turn in found.transcript if turn.who == 1) == b"5\n6\n7\n"
        found = await talk("cat", "cat", bound=0.3)
        assert [result.reason for result in found.results] == [ExitReason.WALL_TIME] * 2
        found = await talk("yes", "sleep 0.2; exec cat >/dev/null", limits=Limits(output=1_000_000))
        assert [result.reason for result in found.results] == [ExitReason.OUTPUT, ExitReason.EXITED]
        async with await jail.popen(["cat"]) as deaf, await jail.popen(["cat"], stdin=jailkit.PIPE) as other:
            with pytest.raises(jailkit.SpecError):
                await aio.converse(deaf, other, timeout=1)
            other.kill()


Work = Callable[[aio.Jail], Awaitable[object]]
TREE = ["sh", "-c", "setsid sleep 3600 & sleep 3600 & echo up; wait"]


async def _popen(jail: aio.Jail) -> None:
    async with await jail.popen(TREE) as process:
        await process.wait()


async def _stream(jail: aio.Jail) -> None:
    async with await jail.popen(TREE) as process:
        async for _ in process.stream():
            pass


async def _converse(jail: aio.Jail) -> None:
    async with (
        await jail.popen([*TREE[:2], f"{TREE[2]}; cat"], stdin=jailkit.PIPE) as one,
        await jail.popen(["cat"], stdin=jailkit.PIPE) as two,
    ):
        await aio.converse(one, two, timeout=BOUND)


WORK: dict[str, Work] = {
    "run": lambda jail: jail.run(TREE),
    "popen": _popen,
    "stream": _stream,
    "converse": _converse,
    "cold": lambda _: aio.run(TREE),
    "terminal": lambda jail: jail.run(TREE, pty=True),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@pytest.mark.parametrize("after", [0.0, 0.003, 0.1])
async def test_a_cancellation_leaves_nothing(work: Work, after: float) -> None:
    """Of a scope, at once, in the middle of a start, and later: when it is delivered, the whole tree is gone."""
    async with aio.Jail() as jail:
        await jail.run(["true"])
        before = leaks.snapshot()
        with anyio.move_on_after(after) as scope:
            await work(jail)
        assert scope.cancelled_caught
        assert left_since(before) == []
        assert (await jail.run(["echo", "lives"])).stdout == b"lives\n"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@pytest.mark.parametrize("after", [0.0, 0.003, 0.1])
async def test_asyncios_own_cancellation_leaves_nothing(work: Work, after: float) -> None:
    """`asyncio.Task.cancel` and `asyncio.timeout` know nothing of anyio's scopes, and do not wait for threads."""
    async with aio.Jail() as jail:
        await jail.run(["true"])
        before = leaks.snapshot()
        task = asyncio.ensure_future(work(jail))
        await asyncio.sleep(after)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # by somebody who has no patience
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left_since(before) == []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(after):
                await work(jail)
        assert left_since(before) == []


@pytest.mark.parametrize("after", [0.0, 0.001, 0.004, 0.01])
async def test_a_jail_whose_start_is_cancelled_is_taken_away(after: float) -> None:
    """At whatever moment."""
    before = leaks.snapshot()
    with anyio.move_on_after(after):
        async with aio.Jail():
            await anyio.sleep_forever()
    assert left_since(before) == []


async def test_a_wait_that_is_cancelled_kills_nothing() -> None:
    """Inside the block it is only a wait."""
    async with aio.Jail() as jail, await jail.popen(["cat"], stdin=jailkit.PIPE) as process:
        with anyio.move_on_after(0.1):
            await process.wait()
        with anyio.move_on_after(0.1):
            async for _ in process.stream():
                pass
        assert process.process.poll() is None
        process.kill()
        assert await process.wait() == -9


@pytest.mark.timeout(120)
async def test_two_hundred_at_once() -> None:
    """In one loop, and no thread waits for any of them."""
    seen: list[int] = []
    gate = anyio.Event()
    running = 0

    async def one(number: int) -> None:
        nonlocal running
        async with await jail.popen(["sh", "-c", f"read x; echo {number}"], stdin=jailkit.PIPE) as process:
            running += 1
            if running == 200:
                gate.set()
            await gate.wait()
            out, _ = await process.communicate(b"go\n")
            seen.append(int(out))

    async with aio.Jail(limits=Limits(processes=1000)) as jail:
        with anyio.fail_after(patient(60)):
            async with anyio.create_task_group() as group:
                for number in range(200):
                    group.start_soon(one, number)
                await gate.wait()
                await anyio.sleep(0.1)
                assert threading.active_count() < 60
    assert sorted(seen) == list(range(200))


async def test_many_runs_wait_at_the_same_time() -> None:
    """Each of forty ends when all of them have begun."""
    results: list[Any] = []
    meet = "mkdir -p /tmp/here/$1; until [ -e /tmp/here/$2 ]; do set -- $1 $2 /tmp/here/*; "
    meet += "test $# -lt 42 || mkdir -p /tmp/here/$2; sleep 0.2; done"

    async def one(number: int) -> None:
        results.append(await jail.run(["sh", "-c", meet, "sh", str(number), "all"], timeout=BOUND))

    async with aio.Jail(limits=Limits(processes=1000)) as jail, anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(one, number)
    assert all(result.ok for result in results)


async def test_a_pool() -> None:
    """Each jail is used once, many tasks share the pool, and what is cancelled leaves nothing."""
    async with aio.JailPool(size=2) as pool:
        script = "cat /tmp/trace; echo was here > /tmp/trace; cat /tmp/trace"
        found: list[bytes] = []

        async def one() -> None:
            found.append((await pool.run(["sh", "-c", script])).stdout)

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(one)
        assert found == [b"was here\n"] * 8
        async with pool.jail() as jail:
            assert (await jail.run(["cat"], input=b"lent")).stdout == b"lent"
            assert jail.jail.alive
        assert jail.closed
        before = leaks.snapshot()
        with anyio.move_on_after(0.3) as scope:
            await pool.run(["sleep", "3600.7"])
        assert scope.cancelled_caught
        assert [what for kind, what in left_since(before) if "3600.7" in what] == []
        with pytest.raises(jailkit.CommandNotFound):
            await pool.run(["no-such-program"])
    with pytest.raises(jailkit.ClosedError):
        await pool.run(["true"])
    with pytest.raises(jailkit.ClosedError):
        await aio.JailPool().run(["true"])
