"""What a process of the host does to itself to be in a live jail as a program is: read off the plan of the jail.

The same steps that PID 1 has done, less those that build the jail; where a step of PID 1 works on a descriptor that it
had, here is the path of the same thing inside.
"""

from __future__ import annotations

import attrs

from jailkit.plan.plan import Plan
from jailkit.plan.root import ROOT
from jailkit.plan.steps import Step

__all__ = ["Entry", "PathRule", "entry_of"]


@attrs.frozen
class PathRule:
    """One Landlock rule.

    Attributes:
        path: Where, in the jail.
        mounted: Whether something must be mounted at just that path: a program of the jail may have moved what was.
        directory: Rights where it is a directory, as bits.
        file: Rights where it is something else.
    """

    path: str
    mounted: bool
    directory: int
    file: int


@attrs.frozen(kw_only=True)
class Entry:
    """What is to be done, in this order.

    Attributes:
        keyring: Whether to leave the caller's session keyring.
        outside: Names of the flags of the namespaces around the jail, to be joined before: those of a network with a
            way out, which belongs to the host, or to users beside the jail.
        namespaces: Names of the flags of the namespaces to join, that of users first.
        pid1: The id to take on before anything is looked up in the jail; None where there is one id only.
        keep: Names of the capabilities that the bounding set keeps, or a mask.
        no_new_privs: Whether exec shall raise no privilege.
        ruleset: Landlock's attributes, or None for no rules.
        rules: Its rules.
        filters: The filters of system calls and their flags, in this order: each lets the next one be loaded.
    """

    keyring: bool
    outside: tuple[str, ...]
    namespaces: tuple[str, ...]
    pid1: int | None
    keep: int | tuple[str, ...]
    no_new_privs: bool
    ruleset: bytes | None
    rules: tuple[PathRule, ...]
    filters: tuple[tuple[bytes, tuple[str, ...]], ...]


def entry_of(plan: Plan) -> Entry:
    """Read off a plan of the tiers ``root`` and ``userns`` how to enter its jail."""
    steps = {one.op: one for one in plan.jail_steps}
    born = next(one for one in plan.host_steps if one.op == "clone")
    assert isinstance(born.flags, tuple)  # noqa: S101 - as identity.birth() makes it
    # Of its cgroup namespace PID 1 makes a new one for each program, as who enters does for himself.
    names = tuple(name for name in born.flags if name != "CLONE_NEWCGROUP")
    rules = steps.get("landlock_ruleset")
    return Entry(
        keyring="join_session_keyring" in steps,
        outside=tuple(name for one in plan.host_steps if one.op == "setns" for name in _names(one)),
        namespaces=(*names, "CLONE_NEWNET") if "take" in steps else names,
        pid1=plan.ids.pid1 if "setresuid" in steps else None,
        keep=steps["cap_bound"].value,
        no_new_privs=any("PR_SET_NO_NEW_PRIVS" in _names(one) for one in plan.jail_steps if one.op == "prctl"),
        ruleset=rules.text if rules else None,
        rules=_rules(plan.jail_steps),
        filters=tuple((one.text, _names(one)) for one in plan.jail_steps if one.op == "filter"),
    )


def _names(one: Step) -> tuple[str, ...]:
    return one.flags if isinstance(one.flags, tuple) else ()


def _rules(steps: tuple[Step, ...]) -> tuple[PathRule, ...]:
    places: dict[str | None, tuple[str, bool]] = {ROOT: ("", True)}
    found = []
    for one in steps:
        if one.op in ("attach", "find") and one.slot and one.slot not in places and one.at in places:
            places[one.slot] = (f"{places[one.at][0]}/{one.path}", one.op == "attach")
        elif one.op == "landlock_rule":
            path, mounted = places[one.slot]
            assert isinstance(one.value, int)  # noqa: S101 - as landlock.path_rule() makes it
            assert isinstance(one.flags, int)  # noqa: S101
            found.append(PathRule(path or "/", mounted, one.value, one.flags))
    return tuple(found)
