"""``jailkit run --trace``: where the time of a launch goes, as its caller sees it."""

from __future__ import annotations

import time

__all__ = ["Trace"]


class Trace:
    """The clock of one launch: what has been done since the last look, in milliseconds."""

    def __init__(self) -> None:
        """Begin."""
        self._began = self._last = time.perf_counter()
        self._phases: list[tuple[str, float]] = []

    def mark(self, phase: str) -> None:
        """Note that a phase has ended just now."""
        now = time.perf_counter()
        self._phases.append((phase, now - self._last))
        self._last = now

    def __str__(self) -> str:
        rows = [*self._phases, ("all", self._last - self._began)]
        width = max(len(phase) for phase, _ in rows)
        return "\n".join(f"{phase:<{width}}  {seconds * 1000:10.3f} ms" for phase, seconds in rows)
