"""HOW: from a `JailSpec` and the facts of a host to a `Plan`, without any I/O."""

from jailkit.plan.compile import compile_plan
from jailkit.plan.denials import Notices
from jailkit.plan.entry import Entry, PathRule, entry_of
from jailkit.plan.explain import describe, explain
from jailkit.plan.facts import Cgroups, Host, IdArea, SubIds, Uplink
from jailkit.plan.groups import GroupPlan, Setting, accounts_group, changed_settings
from jailkit.plan.hints import hint
from jailkit.plan.identity import Ids, id_map
from jailkit.plan.isolation import Protection
from jailkit.plan.modify import modify
from jailkit.plan.network import POD, POD_ADDRESSES, NetworkPlan, PodPlan, Way
from jailkit.plan.plan import Plan
from jailkit.plan.program import Program, on_terminal, prepare, prepare_open, prepare_terminal
from jailkit.plan.root import private_places
from jailkit.plan.seccomp import SeccompFilter, divided, filter_of
from jailkit.plan.steps import Step, step

__all__ = [
    "POD",
    "POD_ADDRESSES",
    "Cgroups",
    "Entry",
    "GroupPlan",
    "Host",
    "IdArea",
    "Ids",
    "NetworkPlan",
    "Notices",
    "PathRule",
    "Plan",
    "PodPlan",
    "Program",
    "Protection",
    "SeccompFilter",
    "Setting",
    "Step",
    "SubIds",
    "Uplink",
    "Way",
    "accounts_group",
    "changed_settings",
    "compile_plan",
    "describe",
    "divided",
    "entry_of",
    "explain",
    "filter_of",
    "hint",
    "id_map",
    "modify",
    "on_terminal",
    "prepare",
    "prepare_open",
    "prepare_terminal",
    "private_places",
    "step",
]
