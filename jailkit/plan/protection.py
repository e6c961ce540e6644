"""One line of the honest list."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["Protection", "State"]

State = Literal["enforced", "degraded", "absent"]


@attrs.frozen
class Protection:
    """One protection of a jail.

    Attributes:
        name: What is protected or bounded.
        state: ``enforced``, ``degraded`` (in force, but weaker than its name says) or ``absent``.
        fact: What makes it so.
    """

    name: str
    state: State
    fact: str
