"""How long tests wait for what should have happened long ago, on machines of every speed.

``JAILKIT_TEST_SLOWNESS`` multiplies deadlines, and nothing else: how long a program sleeps, the limits that a test
wants to see enforced, and what is asserted stay as they are. ``make test-vm`` sets it to 20.
"""

from __future__ import annotations

import os

__all__ = ["patient"]

_SLOWNESS = max(1.0, float(os.environ.get("JAILKIT_TEST_SLOWNESS") or 1))


def patient(seconds: float) -> float:
    """Return a deadline, in seconds, for a thing that takes far less than `seconds` on an ordinary machine."""
    return seconds * _SLOWNESS
