"""How long tests wait for what should have happened long ago, on machines of every speed.

``JAILKIT_TEST_SLOWNESS`` multiplies deadlines, and nothing else: how long a program sleeps, the limits that a test
wants to see enforced, and what is asserted stay as they are. ``make test-vm`` sets it to 20. Where nobody has set it,
the start of a Python interpreter says how slow this machine is. That is looked at once, and others may come to use the
machine later: no deadline is less than three times what it would be on a machine that is the tests' own.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["at_last", "patient", "slowness"]

Found = TypeVar("Found")

_ORDINARY = 0.04
"""Seconds: twice what the start of an interpreter without its site takes on an ordinary machine."""

_AT_LEAST = 3.0


@functools.cache
def slowness() -> float:
    """Return how many times slower than an ordinary machine this one is, from 1 on."""
    if said := os.environ.get("JAILKIT_TEST_SLOWNESS"):
        return max(1.0, float(said))
    took = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True, timeout=60)
        took.append(time.monotonic() - began)
    return min(20.0, max(1.0, min(took) / _ORDINARY))


def patient(seconds: float) -> float:
    """Return a deadline, in seconds, for a thing that takes far less than `seconds` on an ordinary machine."""
    return seconds * max(slowness(), _AT_LEAST)


def at_last(attempt: Callable[[float], Found], seconds: float) -> Found:
    """Return what the first attempt that finds something finds.

    For a test of a timeout that needs a program to come to a point before it: what the test asserts of a timeout it
    asserts in each attempt, and only the point may come in a later one.

    Args:
        attempt: Is called with a timeout, and finds something, or nothing true where the program did not come so far.
        seconds: The first timeout; two more are each ten times as long as the one before.
    """
    return attempt(seconds) or attempt(seconds * 10) or attempt(seconds * 100)
