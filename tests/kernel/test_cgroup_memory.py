"""Memory of a whole jail, whatever it is taken as; and who is told what about it."""

from __future__ import annotations

import os

import pytest

import jailkit
from jailkit import ExitReason, Jail, Limits, MiB
from tests.bombs import BOMBS
from tests.inside import program

pytestmark = pytest.mark.requires("cgroups", "userns", "python")

SMALL, LARGE, TAKEN = 48 * MiB, 512 * MiB, "128"


@pytest.mark.parametrize("kind", BOMBS)
def test_a_memory_bomb_ends_with_reason_memory(kind: str) -> None:
    """Killed by the kernel, and called so; with more memory the same program goes through."""
    bomb = program(BOMBS[kind], TAKEN)
    limits = Limits(memory=SMALL, disk=LARGE, wall_seconds=100)
    result = jailkit.run(bomb, limits=limits)
    assert (result.reason, result.stdout) == (ExitReason.MEMORY, b"")
    assert result.usage.memory_peak is not None
    if result.usage.memory_source != "maxrss":
        assert SMALL * 0.8 <= result.usage.memory_peak <= SMALL * 1.05
    with Jail(limits=limits) as jail:
        assert jail.run(bomb).reason is ExitReason.MEMORY
        assert jail.run(["true"]).ok, "the jail lives on"
    assert b"POSSIBLE" in jailkit.run(bomb, limits=Limits(memory=LARGE, disk=LARGE, wall_seconds=100)).stdout


def test_caches_are_given_back_and_not_killed_for(public: str) -> None:
    """A program may read and write files that are larger than its memory: the page cache is part of it, and shrinks."""
    code = """
    import os
    with open("/data/file", "wb") as file:
        for _ in range(96):
            file.write(os.urandom(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    with open("/data/file", "rb") as file:
        while file.read(1 << 20):
            pass
    print("POSSIBLE")
    """
    if os.geteuid() == 0:
        os.chmod(public, 0o777)
    bind = jailkit.Bind(public, "/data", writable=True)
    with Jail(mounts=[bind], limits=Limits(memory=SMALL, wall_seconds=200)) as jail:
        result = jail.run(program(code))
        assert (result.reason, result.stdout) == (ExitReason.EXITED, b"POSSIBLE\n")


def test_a_parent_that_outlives_its_child_does_not_tell_another_story() -> None:
    """It ends by itself, with code 0, after the kernel has killed its child for want of memory: reason MEMORY."""
    code = """
    import os, sys
    child = os.fork()
    if child == 0:
        kept = [b"x" * (1 << 20) for _ in range(128)]
        os._exit(0)
    os.waitpid(child, 0)
    print("all is well")
    """
    for use in (jailkit.run, _live_run):
        result = use(program(code), limits=Limits(memory=SMALL, wall_seconds=100))
        assert result.reason is ExitReason.MEMORY


def _live_run(argv: list[str], *, limits: Limits) -> jailkit.Result[bytes]:
    with Jail(limits=limits) as jail:
        return jail.run(argv)


def test_a_program_that_kills_itself_is_not_out_of_memory() -> None:
    """SIGKILL by its own hand is SIGNALED; by the host's it is what the host says."""
    limits = Limits(memory=SMALL)
    assert jailkit.run(["sh", "-c", "kill -9 $$"], limits=limits).reason is ExitReason.SIGNALED
    with Jail(limits=limits) as jail:
        assert jail.run(["sh", "-c", "kill -9 $$"]).reason is ExitReason.SIGNALED
        with jail.popen(["sleep", "1000"]) as sleeper:
            sleeper.kill()
            assert sleeper.result().reason is ExitReason.KILLED


def test_one_program_may_have_less_than_the_jail() -> None:
    """Its own limit ends it and it alone: its neighbour with the jail's limit takes as much and lives."""
    bomb = program(BOMBS["anonymous"], TAKEN)
    with Jail(limits=Limits(memory=LARGE, wall_seconds=100)) as jail, jail.popen(["sleep", "1000"]) as neighbour:
        result = jail.run(bomb, limits=Limits(memory=SMALL))
        assert result.reason is ExitReason.MEMORY
        assert result.usage.memory_source in ("memory.peak", "memory.max_usage_in_bytes", "maxrss")
        assert jail.run(bomb).stdout == b"POSSIBLE\n"
        assert neighbour.poll() is None
        neighbour.kill()


def test_the_memory_of_one_jail_is_not_that_of_another() -> None:
    """A jail at its limit takes nothing from the next."""
    limits = Limits(memory=96 * MiB, wall_seconds=100)
    hold = "kept = [b'x' * (1 << 20) for _ in range(64)]; print(flush=True); import time; time.sleep(1000)"
    with Jail(limits=limits) as full, full.popen(program(hold)) as holder, Jail(limits=limits) as other:
        assert holder.stdout is not None
        holder.stdout.readline()
        taken = program("kept = [b'x' * (1 << 20) for _ in range(64)]; print('POSSIBLE')")
        assert other.run(taken).stdout == b"POSSIBLE\n"
        # The kernel chooses one of two that are equally large: exactly that one is told so.
        reasons = {full.run(taken).reason}
        if holder.poll() is None:
            holder.kill()
        reasons.add(holder.result().reason)
        assert ExitReason.MEMORY in reasons
        assert len(reasons) == 2


@pytest.mark.many
@pytest.mark.parametrize("turn", range(4))
def test_at_the_very_limit_there_is_exactly_one_verdict(turn: int) -> None:
    """Fifty programs that take a little more each: each ended by itself, or was killed for memory, and nothing else."""
    taken = program("import sys; kept = b'x' * (int(sys.argv[1]) << 20); print('done')")
    seen = set()
    with Jail(limits=Limits(memory=24 * MiB, wall_seconds=100)) as jail:
        for step in range(50):
            result = jail.run([*taken, str((turn + step * 4) // 8)])
            assert (result.reason, result.returncode, result.stdout) in (
                (ExitReason.EXITED, 0, b"done\n"),
                (ExitReason.MEMORY, -9, b""),
                (ExitReason.MEMORY, -9, b"done\n"),  # it had said so, and took more on its way out
            )
            seen.add(result.reason)
    assert seen == {ExitReason.EXITED, ExitReason.MEMORY}
