"""The right kind of group for a plan."""

from __future__ import annotations

from jailkit._janitor import look_after
from jailkit.plan import GroupPlan
from jailkit.process.cgroup.base import Group
from jailkit.process.cgroup.legacy import LegacyGroup
from jailkit.process.cgroup.unified import UnifiedGroup

__all__ = ["make_group"]


def make_group(plan: GroupPlan, above: Group | None = None, *, program: bool = False, several: bool = False) -> Group:
    """Make the group of a jail or of a program.

    Args:
        plan: What it is to be.
        above: For a program, the group of its jail, if that has one.
        program: It is for one program of a jail.
        several: It is for a jail whose programs may get groups of their own.

    Raises:
        GroupError: A step failed; nothing is left.
    """
    look_after(tuple(directory for _, directory in plan.parents))
    group: Group
    if plan.version == 2:
        group = UnifiedGroup(plan, above, program=program, several=several)
    else:
        group = LegacyGroup(plan, above, program=program)
    group.make()
    return group
