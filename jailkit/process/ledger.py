"""Which control group a program is accounted in: the jail's, or one of its own."""

from __future__ import annotations

import threading

from jailkit.plan import GroupPlan, Program
from jailkit.process.cgroup import Group, Join, Meter, make_group

__all__ = ["Ledger", "close_all"]


class Ledger:
    """The control groups of one jail."""

    def __init__(self, plan: GroupPlan | None) -> None:
        """Make nothing yet; with None, the jail has no group."""
        self.plan = plan
        self.group: Group | None = None
        self._lock = threading.Lock()
        self.ended = 0
        """How many programs have ended so far."""
        self._running: set[Meter] = set()
        self._own: list[Group] = []  # of programs that run, or have left something behind

    def open(self, *, alone: bool) -> list[Join]:
        """Make the jail's group; return what the jail joins it by, which the caller closes.

        Raises:
            GroupError: A step failed; nothing is left.
        """
        if self.plan is None:
            return []
        self.group = make_group(self.plan, several=not alone)
        return self.group.joins()

    def begin(self, program: Program) -> tuple[Meter | None, list[Join]]:
        """Open the accounts of a program; return its meter, and what it joins a group of its own by.

        Raises:
            GroupError: Its group cannot be made; nothing is left.
        """
        if "JK_RUN_ALONE" in program.flags:
            return (Meter(self.group, whole=True) if self.group else None), []
        with self._lock:
            crowded = bool(self._running) and any(meter.group is self.group for meter in self._running)
            plan = program.group or (program.group_in_company if crowded else None)
            if plan is not None:
                meter, joins = self._own_group(plan)
            elif self.group is not None:
                meter, joins = Meter(self.group, whole=False), []
            else:
                return None, []
            for other in self._running:
                meter.beside(other)
            self._running.add(meter)
            return meter, joins

    def _own_group(self, plan: GroupPlan) -> tuple[Meter, list[Join]]:
        group = make_group(plan, self.group, program=True)
        self._own.append(group)
        return Meter(group, whole=True, jail=self.group), group.joins()

    def finish(self, meter: Meter | None, *, detached: bool = False) -> None:
        """Close the accounts of a program that has ended, and remove its group unless it left something behind."""
        if meter is None:
            return
        with self._lock:
            self._running.discard(meter)
            self.ended += 1
        if meter.group in self._own and not detached:
            meter.group.kill()  # what the program has started is dead or dying: nothing may be late
            meter.group.remove()
            self._own.remove(meter.group)

    def entrances(self) -> list[Join]:
        """Open what a process moves into the jail's group by, which the caller closes; nothing without a group."""
        return self.group.entrances() if self.group else []

    @property
    def busy(self) -> bool:
        """Whether a program runs that was asked for."""
        return bool(self._running)

    def close(self) -> None:
        """Remove the groups of a jail that has ended. Safe to call again."""
        for group in (*self._own, *([self.group] if self.group else ())):
            group.remove()
        self._own.clear()

    def disown(self) -> None:
        """After a fork, in the child: let go."""
        self._lock = threading.Lock()
        for group in (*self._own, *([self.group] if self.group else ())):
            group.disown()


def close_all(joins: list[Join]) -> None:
    """Close what a jail or a program has joined its groups by."""
    for join in joins:
        join.close()
