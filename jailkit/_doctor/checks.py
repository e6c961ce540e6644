"""How a check is put together."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from jailkit._doctor.facts import Facts, Try
from jailkit._doctor.gates import Gate
from jailkit._doctor.report import Check

__all__ = ["EVERY", "GateOf", "Simple", "decide", "from_gate"]

EVERY = "every jail"
"""No jail, of any level, can be without it."""

GateOf = Callable[[Facts, Try], Gate]


@attrs.frozen(kw_only=True)
class Simple:
    """A check that one attempt decides: it works, or it is missing."""

    name: str
    attempt: str
    tried: str
    works: str
    gate: GateOf
    needed_by: tuple[str, ...]


def decide(facts: Facts, simple: Simple) -> Check:
    """Decide such a check."""
    tried = facts.attempt(simple.attempt)
    if tried.ok:
        works = simple.works.format(note=tried.note)
        return Check(name=simple.name, state="ok", tried=simple.tried, happened=works, needed_by=simple.needed_by)
    return from_gate(
        simple.gate(facts, tried), name=simple.name, tried=simple.tried, happened=tried.said, needed_by=simple.needed_by
    )


def from_gate(
    gate: Gate, *, name: str, tried: str, happened: str, needed_by: tuple[str, ...], degraded: bool = False
) -> Check:
    """Return a check that is missing, or degraded, because of a gate."""
    return Check(
        name=name,
        state="degraded" if degraded else "missing",
        tried=tried,
        happened=happened,
        needed_by=needed_by,
        **attrs.asdict(gate),
    )
