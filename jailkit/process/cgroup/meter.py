"""What one program has used, by the accounts of its group, or of a group that it has to itself for its time."""

from __future__ import annotations

from jailkit.process.cgroup.base import Counters, Group

__all__ = ["Meter"]

_NOTHING_COUNTED = Counters()


class Meter:
    """The accounts of one program.

    The group may be the program's own, or the jail's while nothing else runs in it: then what counts is what was
    added since the start.

    Attributes:
        group: Whose accounts they are.
        whole: The group is the program's own, and all that was used in it counts.
        crowded: Another program was in the same group at the same time: its processor time cannot be told.
    """

    def __init__(self, group: Group, *, whole: bool, jail: Group | None = None) -> None:
        """Begin to count; memory in the group of the jail, where the group of the program does not count it."""
        self.group = group
        self.whole = whole
        self.crowded = False
        self.company = False
        self._memory = group if group.counts_memory or jail is None else jail
        self._cpu_before = (0.0, 0.0) if whole else group.cpu() or (0.0, 0.0)
        self._oom_before = self._memory.oom_kills()

    def beside(self, other: Meter) -> None:
        """Take note that another program of the jail runs at the same time."""
        for one, two in ((self, other), (other, self)):
            one.crowded |= one.group is two.group
            one.company |= one._memory is two._memory  # noqa: SLF001 - its own class

    def cpu(self) -> tuple[float, float] | None:
        """Return the seconds used so far, in user mode and in the kernel; None if it cannot be told."""
        now = None if self.crowded else self.group.cpu()
        if now is None:
            return None
        return max(0.0, now[0] - self._cpu_before[0]), max(0.0, now[1] - self._cpu_before[1])

    def oom_kills(self) -> int:
        """Return how often the kernel has killed in the group, for want of memory, since the start."""
        return self._memory.oom_kills() - self._oom_before

    def starved(self) -> bool:
        """Return whether it has."""
        return self.oom_kills() > 0

    def counters(self) -> Counters:
        """Return all there is to know of a group of the program's own; of a shared one nothing."""
        return self.group.counters() if self.whole else _NOTHING_COUNTED
