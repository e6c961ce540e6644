"""Units of size, and the word for no limit."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["UNLIMITED", "GiB", "KiB", "MiB"]

KiB: Final = 1024
"""1,024 bytes."""

MiB: Final = 1024 * KiB
"""1,048,576 bytes."""

GiB: Final = 1024 * MiB
"""1,073,741,824 bytes."""

UNLIMITED: Final = math.inf
"""Asks in words for no limit, where None asks for the default of the level."""
