"""Control groups: made for a jail or a program, looked at, removed. cgroups(7)."""

from jailkit.process.cgroup.base import Counters, Group, GroupError, Join
from jailkit.process.cgroup.make import make_group
from jailkit.process.cgroup.meter import Meter

__all__ = ["Counters", "Group", "GroupError", "Join", "Meter", "make_group"]
