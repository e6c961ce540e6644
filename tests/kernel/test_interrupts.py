"""Ctrl-C at every place where Python looks for signals: what was begun is ended, whoever has to do it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from types import FrameType

import pytest

import jailkit
from jailkit import Jail
from tests import leaks

pytestmark = pytest.mark.requires("userns")

PACKAGE = os.path.dirname(jailkit.__file__) + os.sep
PLACES = {"call", "c_return"}
"""Where Python looks for signals: where a function begins, and where a call of C comes back, whose result is lost."""


class Interrupt:
    """Raises KeyboardInterrupt, once, at such a place of the package, by number."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.where: tuple[str, str, int] | None = None

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Be told of a call or of its end."""
        if event in PLACES and frame.f_code.co_filename.startswith(PACKAGE):
            self.left -= 1
            if self.left == 0:
                self.where = event, frame.f_code.co_qualname, frame.f_lineno
                raise KeyboardInterrupt  # and Python calls this no more


def descriptors() -> set[str]:
    """Return the numbers of what is open; of its own one, which was the lowest free, they tell nothing."""
    listing = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        return set(os.listdir(listing)) - {str(listing)}
    finally:
        os.close(listing)


def once() -> None:
    """Run in a jail of its own."""
    jailkit.run(["true"])


def live() -> None:
    """Run in a live jail."""
    with Jail() as jail:
        jail.run(["true"])


def popen() -> None:
    """Hold a running program."""
    with Jail() as jail, jail.popen(["true"]) as process:
        process.communicate()


def files() -> None:
    """Move files."""
    with Jail() as jail:
        jail.put(b"x" * 1000, "/tmp/file")
        jail.get("/tmp/file")


# An exception in a callback of a weak reference or in a destructor is printed by Python and goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("use", "step"), [(once, 1), (live, 1), (popen, 1), (files, 13)])
def test_an_interrupt_at_every_place_leaves_nothing(use: Callable[[], None], step: int) -> None:
    """KeyboardInterrupt at the first place, the second, and so on: no program, no jail, no descriptor.

    What opens files has thousands of places, most of them in checks of what was asked for: of those, one in so many.
    """
    use()
    gc.collect()
    before, opened, number, hit = leaks.snapshot(), descriptors(), 1 - step, True
    previous = sys.getprofile()
    while hit:
        number += step
        interrupt = Interrupt(number)
        try:
            sys.setprofile(interrupt)
            use()
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(previous)
        hit = interrupt.left <= 0
        if descriptors() != opened:
            gc.collect()
            assert descriptors() == opened, f"at place {number}: {interrupt.where}"
    assert number > 100
    assert leaks.left_since(before) == []
