"""What is kept where no control group can be made, and by all jails beside theirs: of each process by itself."""

from __future__ import annotations

import signal

import pytest

import jailkit
from jailkit import ExitReason, Jail, Limits, MiB
from tests.bombs import BOMBS
from tests.inside import inside, program

pytestmark = pytest.mark.requires("userns", "python")

LEAST, TAKEN = 96 * MiB, "128"
FLOORS = {
    "anonymous": (Limits(address_space=LEAST), "MemoryError"),
    "shared mapping": (Limits(address_space=LEAST), "Cannot allocate memory"),
    "tmpfs": (Limits(disk=LEAST), "No space left on device"),
    "shared memory": (Limits(disk=LEAST), "No space left on device"),
    "memfd": (Limits(file_size=LEAST), "File too large"),
}
"""Kinds of memory, what bounds each of them without a control group, and what the program then sees."""


@pytest.mark.parametrize("kind", FLOORS)
def test_each_kind_of_memory_has_a_bound_without_a_group(kind: str) -> None:
    """The program fails, and is not called out of memory; without that limit the same program goes through."""
    limits, refused = FLOORS[kind]
    bomb = program(BOMBS[kind], TAKEN)
    result = jailkit.run(bomb, limits=limits)
    assert (result.stdout, refused in result.stderr.decode()) == (b"", True)
    assert result.reason is (ExitReason.DISK if limits.disk else ExitReason.EXITED)
    assert jailkit.run(bomb).stdout == b"POSSIBLE\n"


def test_several_processes_have_as_much_each() -> None:
    """Why `limits.address_space` is no bound on the memory of a program: four children take what one may not."""
    limits = Limits(address_space=LEAST)
    assert jailkit.run(program(BOMBS["in children"], TAKEN), limits=limits).stdout == b"POSSIBLE\n"


@pytest.mark.requires("no-cgroups")
def test_the_report_says_what_is_weaker() -> None:
    """Memory has no bound and processor time none for all processes together; what counts has its own source."""
    with Jail(limits=Limits(cpu_seconds=1, processes=20)) as jail:
        states = {item.name: (item.state, item.fact) for item in jail.isolation}
        # Two children, each ended at its own second: together they used more than the limit.
        code = """
        import os
        for _ in range(2):
            if os.fork() == 0:
                while True:
                    pass
        print(*(os.wait()[1] & 127 for _ in range(2)))
        """
        result = jail.run(program(code), limits=Limits(wall_seconds=300))
    for name in ("memory", "swap"):
        state, fact = states[f"limit: {name}"]
        assert (state, " is the default, but " in fact) == ("absent", True)
    assert states["limit: cpu_seconds"] == ("degraded", "1, RLIMIT_CPU, for each process by itself")
    assert states["limit: processes"][0] == "enforced"
    assert (result.reason, result.stdout) == (ExitReason.EXITED, f"{signal.SIGXCPU:d} {signal.SIGXCPU:d}\n".encode())
    assert result.usage.cpu_source == "rusage"
    assert result.usage.memory_source == "maxrss"


@pytest.mark.requires("no-cgroups")
def test_what_needs_a_group_says_so() -> None:
    """To stand still, to count and to tell of events."""
    with Jail() as jail:
        for call in (jail.pause, jail.usage, lambda: jail.on_event(print)):
            with pytest.raises(jailkit.UnsupportedError, match="control group"):
                call()
        assert inside(jail, "say('POSSIBLE')") == "POSSIBLE"
