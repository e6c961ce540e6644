"""Jails that wait: each is used once, and none is left."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import ClosedError, ExitError, Jail, JailPool, JailSpec, Limits, SpecError, UnsupportedError
from tests.patience import patient

pytestmark = pytest.mark.requires("userns")

BOUND = patient(30)


@pytest.fixture
def pool() -> Iterator[JailPool]:
    """Two jails that stand ready."""
    with JailPool(size=2) as made:
        assert made.wait_full(BOUND)
        yield made


def test_a_jail_is_used_once(pool: JailPool) -> None:
    """What one program writes where all may write, the next does not find; in one jail it would."""
    for _ in range(5):
        result = pool.run(["sh", "-c", "cat /tmp/trace; echo was here > /tmp/trace; cat /tmp/trace"], text=True)
        assert result.stdout == "was here\n"
    with pool.jail() as jail:
        jail.run(["sh", "-c", "echo was here > /tmp/trace"]).check()
        assert jail.run(["cat", "/tmp/trace"]).stdout == b"was here\n"


def test_what_waits_is_bounded_and_refilled(pool: JailPool) -> None:
    """Never more than asked for, and as many again after a burst that was larger than the pool."""
    with pool.jail() as one, pool.jail() as two, pool.jail() as three:
        assert len({jail.pid for jail in (one, two, three)}) == 3
        assert pool.wait_full(BOUND)
        assert pool.ready == 2
    for _ in range(6):
        assert pool.run(["true"]).ok
        assert pool.ready <= 2
    assert pool.wait_full(BOUND)


def kill(jail: Jail) -> None:
    """Kill PID 1 of a jail, and wait until it is dead."""
    os.kill(jail.pid, signal.SIGKILL)
    deadline = time.monotonic() + BOUND
    while jail.alive and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not jail.alive


def test_a_jail_that_dies_while_it_waits_is_replaced() -> None:
    """Whether it is seen to be dead before it is handed out, or dies just after that."""
    with JailPool(size=1) as pool:
        for _ in range(3):
            assert pool.wait_full(BOUND)
            victim = pool._stock.ready[0]
            assert victim.alive
            kill(victim)
            assert pool.run(["echo", "fine"]).stdout == b"fine\n"


def test_the_one_that_dies_in_between_is_replaced_too(pool: JailPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that takes every jail for alive notices when the program is asked for."""
    for jail in tuple(pool._stock.ready):
        kill(jail)
    monkeypatch.setattr(Jail, "alive", True)
    assert pool.run(["echo", "fine"]).stdout == b"fine\n"


def test_many_threads_share_one_pool(pool: JailPool) -> None:
    """Eight threads, twenty programs each: every answer belongs to its question."""
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(20):
            word = f"{number}-{turn}"
            result = pool.run(["cat"], input=word, text=True)
            if result.stdout != word:
                wrong.append(result)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND * 4)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_the_spec_holds_for_each(public: str) -> None:
    """Limits and files are those of the spec; options of a run are those of `Jail.run`."""
    with open(f"{public}/note", "w") as file:
        file.write("here")
    spec = JailSpec(mounts=(jailkit.Bind(public, "/note"),), limits=Limits(open_files=77))
    with JailPool(spec, size=1) as pool:
        assert pool.spec is spec
        result = pool.run(["sh", "-c", "cat /note/note; ulimit -n; pwd"], cwd="/note", text=True)
        assert result.stdout == "here77\n/note\n"
        with pytest.raises(ExitError):
            pool.run(["false"], check=True)
        assert pool.run(["sleep", "60"], timeout=0.2).reason is jailkit.ExitReason.WALL_TIME


def test_nothing_is_left_of_a_closed_pool() -> None:
    """The jails that waited are gone at once, the one in use at its own end; closing twice is fine."""
    pool = JailPool(size=3)
    assert pool.wait_full(BOUND)
    waiting = [jail.pid for jail in pool._stock.ready]
    with pool.jail() as jail:
        pool.close()
        pool.close()
        assert pool.closed
        assert jail.run(["true"]).ok
        assert not any(os.path.exists(f"/proc/{pid}") for pid in waiting if pid != jail.pid)
        with pytest.raises(ClosedError):
            pool.run(["true"])
    assert not os.path.exists(f"/proc/{waiting[0]}")


def test_a_pool_that_nobody_holds_drains() -> None:
    """Collected like any object; its thread does not keep it."""
    pool = JailPool(size=2)
    assert pool.wait_full(BOUND)
    pids = [jail.pid for jail in pool._stock.ready]
    del pool
    gc.collect()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_a_fork_has_no_pool(pool: JailPool) -> None:
    """In the child each use is a ClosedError and closing does nothing; the parent's pool goes on."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            pool.close()
            pool.run(["true"])
        except ClosedError:
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + BOUND
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended == (pid, 0)
    assert pool.run(["true"]).ok


def test_what_cannot_be_built_is_said_at_once() -> None:
    """By the constructor; and a size is a number."""
    with pytest.raises(UnsupportedError):
        JailPool(JailSpec(tier="landlock", hostname="other"))
    for size in (0, -1, 1.5, True, "2"):
        with pytest.raises(SpecError):
            JailPool(size=size)  # type: ignore[arg-type]


def test_a_host_that_stops_building_is_reported_to_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool runs empty instead of trying for ever, and goes on when the host does."""
    with JailPool(size=1) as pool:
        attempts: list[object] = []

        def broken(spec: JailSpec) -> Jail:
            attempts.append(spec)
            raise UnsupportedError("a jail", "this is a test", "end the test")

        with monkeypatch.context() as patch:
            patch.setattr(Jail, "from_spec", broken)
            assert pool.run(["true"]).ok
            for _ in range(3):
                with pytest.raises(UnsupportedError):
                    pool.run(["true"])
            assert len(attempts) < 10
        assert pool.run(["true"]).ok
        assert pool.wait_full(BOUND)
