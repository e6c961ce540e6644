"""What can be changed of a jail that lives: its limits, as far as a control group or the next program takes them."""

from __future__ import annotations

import attrs

from jailkit._errors import UnsupportedError
from jailkit.plan.bounds import bounds
from jailkit.plan.facts import Host
from jailkit.plan.groups import ELSEWHERE, GROUP_FIELDS, Setting, changed_settings
from jailkit.plan.isolation import isolation
from jailkit.plan.plan import Plan
from jailkit.spec import UNLIMITED, JailSpec, Limits

__all__ = ["modify"]

_BUILT_IN = ("disk", "inodes")


def modify(plan: Plan, spec: JailSpec, changes: Limits, host: Host) -> tuple[Plan, JailSpec, tuple[Setting, ...]]:
    """Decide a change of limits.

    Returns:
        The plan and the spec as they are from then on, and what is to be written into the jail's control group.

    Raises:
        UnsupportedError: One of the changes cannot be made while the jail runs, and nothing is changed.
    """
    for field in changes.named():
        if field in _BUILT_IN:
            raise UnsupportedError(
                f"a change of limits.{field}", "the file systems of a live jail keep their size", "start another jail"
            )
    grouped = plan.group.fields if plan.group else frozenset()
    # What an rlimit keeps as well is in force for the next program even without a group.
    to_group = [
        field for field in changes.named() if field in GROUP_FIELDS and (field not in ELSEWHERE or field in grouped)
    ]
    asked = Limits(**{field: getattr(changes, field) for field in to_group})
    if plan.group is None and any(getattr(asked, field) != UNLIMITED for field in asked.named()):
        raise UnsupportedError(
            f"limits.{asked.named()[0]} of a live jail",
            "the jail was started without a control group",
            f"give the jail limits.{asked.named()[0]} when it is made, and change it later",
        )
    changed = attrs.evolve(spec, limits=changes.over(spec.limits))
    # Version 1 takes the bound on memory and swap in one sum.
    if "swap" in grouped and asked.memory is not None:
        asked = attrs.evolve(asked, swap=changed.effective_limits.swap)
    elif asked.swap is not None and asked.memory is None:
        asked = attrs.evolve(asked, memory=changed.effective_limits.memory)
    settings = changed_settings(asked, plan.group, host.cgroups) if plan.group and host.cgroups else ()
    group = attrs.evolve(plan.group, settings=_merged(plan.group.settings, settings)) if plan.group else None
    bounded = bounds(Limits(), changed.bounded_limits, changed.level, plan.ids.source, host.hard_limits)
    protections = isolation(changed, host, plan.ids, bounded, group)
    return attrs.evolve(plan, group=group, isolation=protections), changed, settings


def _merged(old: tuple[Setting, ...], new: tuple[Setting, ...]) -> tuple[Setting, ...]:
    replaced = {_place(setting) for setting in new}
    return (*(setting for setting in old if _place(setting) not in replaced), *new)


def _place(setting: Setting) -> tuple[str, str, str]:
    """Return what a setting sets: a file may hold a line for each device, and in it a word for each limit."""
    return setting.file, setting.text.split()[0] if " " in setting.text else "", setting.field
