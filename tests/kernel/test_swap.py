"""Swap is memory that a jail does not have unless it is given: in a guest, which has some."""

from __future__ import annotations

import pytest

import jailkit
from jailkit import ExitReason, Jail, Limits, MiB
from tests.inside import program
from tests.patience import patient

pytestmark = [pytest.mark.requires("vm", "userns", "python", "cgroups"), pytest.mark.timeout(200)]

TAKES = "import sys\nkept = [b'x' * (1 << 20) for _ in range(int(sys.argv[1]))]\nprint('POSSIBLE')"


def test_the_machine_has_some() -> None:
    """More than any of these tests takes."""
    with open("/proc/meminfo") as file:
        words = dict(line.split(":") for line in file)
    assert int(words["SwapFree"].split()[0]) * 1024 > 128 * MiB


@pytest.mark.parametrize(("swap", "fits"), [(None, False), (0, False), (16 * MiB, False), (100 * MiB, True)])
def test_a_program_that_is_larger_than_its_memory(swap: int | None, fits: bool) -> None:
    """Without swap of its own it ends, though the machine has some; with enough it goes through."""
    limits = Limits(memory=48 * MiB, swap=swap, wall_seconds=patient(60))
    result = jailkit.run(program(TAKES, "96"), limits=limits)
    assert (b"POSSIBLE" in result.stdout) == fits
    assert result.reason is (ExitReason.EXITED if fits else ExitReason.MEMORY)


def test_one_program_of_a_jail_may_have_swap_of_its_own() -> None:
    """As much as it is given, of what the jail has; its neighbour has what the jail has."""
    with Jail(limits=Limits(memory=64 * MiB, swap=100 * MiB, wall_seconds=patient(60))) as jail:
        assert jail.run(program(TAKES, "96"), limits=Limits(memory=48 * MiB, swap=0)).reason is ExitReason.MEMORY
        assert jail.run(program(TAKES, "96")).stdout == b"POSSIBLE\n"
