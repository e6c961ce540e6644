"""From facts to a report: pure, so that every gate can be tested without the machine that has it."""

from __future__ import annotations

import attrs

from jailkit._doctor import checks_cgroups, checks_kernel, checks_mounts, checks_network, checks_users
from jailkit._doctor.apparmor import apparmor_profile
from jailkit._doctor.checks import EVERY, from_gate
from jailkit._doctor.facts import Facts
from jailkit._doctor.gates import Gate
from jailkit._doctor.report import Check, Report

__all__ = ["diagnose"]


def diagnose(facts: Facts) -> Report:
    """Decide every check."""
    before = [
        *checks_kernel.machine(facts),
        *checks_users.checks(facts),
        *checks_mounts.checks(facts),
        *checks_kernel.calls(facts),
        *checks_kernel.walls(facts),
        *checks_cgroups.checks(facts),
        *checks_network.checks(facts),
        *checks_kernel.settings(facts),
    ]
    last = _sandbox(facts, before)
    if last.state == "ok":
        before = [_outweighed(check) for check in before]
    return Report(
        ok=last.state == "ok",
        caller=facts.tier,
        checks=(*before, last),
        apparmor_profile=apparmor_profile(facts.init),
    )


def _outweighed(check: Check) -> Check:
    """Weigh an attempt that failed against the jail that ran.

    AppArmor goes by the path of a program: this interpreter is refused, and jailkit-init need not be.
    """
    exempt = check.gate == "apparmor-userns"
    if check.state != "missing" or not (exempt or EVERY in check.needed_by):
        return check
    why = "jailkit-init may do what this interpreter may not" if exempt else "a jail runs all the same"
    return attrs.evolve(
        check,
        state="degraded",
        fact=f"{check.fact}; but {why}, as the last check shows",
        remedy="none is needed",
        cost="none",
    )


_SCOPES = 6
"""The Landlock ABI with scopes of signals and sockets, without which there is no tier of that name."""


def _without(facts: Facts) -> str:
    """Name the tier that needs no namespace, where all that it needs works."""
    walls = [facts.attempt(name) for name in ("landlock", "seccomp", "libseccomp")]
    if not all(wall.ok for wall in walls) or int(walls[0].data.get("abi", 0)) < _SCOPES:
        return ""
    return '; with tier="landlock" a jail needs no namespaces and all that it needs is here: it isolates less'


def _sandbox(facts: Facts, before: list[Check]) -> Check:
    """Judge the real jail. Its gate is that of the first check that it cannot be without, where there is one."""
    name, tried = "sandbox", "run /bin/true in a jail with all defaults (level SANDBOX)"
    found = facts.attempt("sandbox")
    if found.ok:
        beside = f"; beside: {found.note}" if found.note else ""
        return Check(name=name, state="ok", tried=tried, happened=f"it ran{beside}", needed_by=(EVERY,))
    cause = next((check for check in before if check.state == "missing" and EVERY in check.needed_by), None)
    if cause:
        gate = Gate(cause.gate, f"see {cause.name}: {cause.fact}", cause.remedy, cause.cost)
    else:
        hint = found.data.get("hint") or found.note or "no more is known"
        gate = Gate("unknown", f"every attempt that it is made of works by itself; {hint}",
                    "see dmesg and the audit log of the host for this moment", "none")  # fmt: skip
    return from_gate(gate, name=name, tried=tried, happened=found.said + _without(facts), needed_by=(EVERY,))
