"""HOW: from a `JailSpec` and the facts of a host to a `Plan`, without any I/O."""

from jailkit.plan.compile import compile_plan
from jailkit.plan.explain import describe, explain
from jailkit.plan.facts import Host, IdArea, SubIds
from jailkit.plan.hints import hint
from jailkit.plan.identity import Ids, id_map
from jailkit.plan.isolation import Protection
from jailkit.plan.plan import Plan
from jailkit.plan.program import Program, prepare, prepare_open
from jailkit.plan.seccomp import SeccompFilter, filter_of
from jailkit.plan.steps import Step, step

__all__ = [
    "Host",
    "IdArea",
    "Ids",
    "Plan",
    "Program",
    "Protection",
    "SeccompFilter",
    "Step",
    "SubIds",
    "compile_plan",
    "describe",
    "explain",
    "filter_of",
    "hint",
    "id_map",
    "prepare",
    "prepare_open",
    "step",
]
