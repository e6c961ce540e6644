"""What a spec becomes on one host."""

from __future__ import annotations

import attrs

from jailkit.plan.groups import GroupPlan
from jailkit.plan.identity import Ids
from jailkit.plan.isolation import Protection
from jailkit.plan.network import NetworkPlan
from jailkit.plan.steps import Step
from jailkit.spec import User

__all__ = ["Plan"]


@attrs.frozen(kw_only=True)
class Plan:
    """All that happens between a spec and a live jail, and what is true of the jail afterwards.

    Attributes:
        host_steps: Done with the caller's rights, before and just after PID 1 is made.
        jail_steps: Done by PID 1 of the jail, before any program runs.
        ids: Which ids the jail has.
        cwd: Where programs start.
        needs_id_slice: Whether each start must be given a slice of the host's id area.
        tier: By which means: ``root`` (the caller is privileged, the jail is not), ``userns`` (any user) or
            ``landlock`` (no namespaces).
        isolation: Every protection with its state.
        group: The control group that is made before anything else, or None.
        user: Who runs programs where that is not for the spec to say: in the tier ``landlock``.
        private: There, the directory of the host that is made for the jail and removed with it; else None.
        network: A network with a way out that is made before anything else, or None.
    """

    host_steps: tuple[Step, ...]
    jail_steps: tuple[Step, ...]
    ids: Ids
    cwd: str
    needs_id_slice: bool
    tier: str
    isolation: tuple[Protection, ...]
    group: GroupPlan | None = None
    user: User | None = None
    private: str | None = None
    network: NetworkPlan | None = None
