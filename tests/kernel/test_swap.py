"""Swap is memory that a jail does not have unless it is given: in a guest, which has a swap file of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import ExitReason, Limits, MiB
from tests.inside import program
from tests.patience import patient

pytestmark = [pytest.mark.requires("vm", "root", "userns", "python", "cgroups"), pytest.mark.timeout(200)]

SWAP_FILE = "/var/tmp/swap"
TAKES = "import sys\nkept = [b'x' * (1 << 20) for _ in range(int(sys.argv[1]))]\nprint('POSSIBLE')"


@pytest.fixture(autouse=True)
def _swap() -> Iterator[None]:
    """Have 128 MiB of swap."""
    with open(SWAP_FILE, "wb") as file:
        os.chmod(SWAP_FILE, 0o600)
        file.writelines(bytes(MiB) for _ in range(128))
    try:
        subprocess.run(["mkswap", SWAP_FILE], check=True, capture_output=True)
        subprocess.run(["swapon", SWAP_FILE], check=True, capture_output=True)
        yield
        subprocess.run(["swapoff", SWAP_FILE], check=True, capture_output=True)
    finally:
        os.remove(SWAP_FILE)


@pytest.mark.parametrize(("swap", "fits"), [(None, False), (0, False), (16 * MiB, False), (100 * MiB, True)])
def test_a_program_that_is_larger_than_its_memory(swap: int | None, fits: bool) -> None:
    """Without swap of its own it ends, though the machine has some; with enough it goes through."""
    limits = Limits(memory=48 * MiB, swap=swap, wall_seconds=patient(60))
    result = jailkit.run(program(TAKES, "96"), limits=limits)
    assert (b"POSSIBLE" in result.stdout) == fits
    assert result.reason is (ExitReason.EXITED if fits else ExitReason.MEMORY)
