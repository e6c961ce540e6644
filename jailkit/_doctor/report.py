"""What the doctor says: checks, and the report that they make up."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import attrs

__all__ = ["SCHEMA", "Check", "Report", "State"]

State = Literal["ok", "degraded", "missing"]

SCHEMA = 1
"""Raised when a field of `Report.to_dict` changes its meaning or goes away; a new one is no reason."""

_WIDTH = 110
_MARKS = {"ok": "ok      ", "degraded": "degraded", "missing": "MISSING "}


@attrs.frozen(kw_only=True)
class Check:
    """One ability of this host, as its caller has it.

    Attributes:
        name: Which; the names do not change between hosts.
        state: ``ok``, ``degraded`` (there, but with something to know about it) or ``missing``.
        tried: What was done to find out.
        happened: What came of it, with the name of the errno of a failed step.
        gate: One word for what stands in the way, the same on all hosts; empty when nothing does.
        fact: What shows that it is this gate.
        remedy: Commands or settings that open it.
        cost: What is given up by that.
        needed_by: Which parts of jailkit need it. ``every jail`` is among them where no jail can be without.
    """

    name: str
    state: State
    tried: str
    happened: str
    gate: str = ""
    fact: str = ""
    remedy: str = ""
    cost: str = ""
    needed_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self._text({})

    def _text(self, said: dict[tuple[str, ...], str]) -> str:
        """Return it in words; a remedy that was `said` with an earlier check is not repeated."""
        lines = textwrap.wrap(
            f"{_MARKS[self.state]}  {self.name}: {self.happened}", _WIDTH, subsequent_indent=" " * 12,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        if self.state == "ok":
            return "\n".join(lines)
        first = said.setdefault((self.gate, self.remedy, self.cost), self.name)
        known = {} if first == self.name else {"fact": "", "remedy": f"that of {first}", "cost": ""}
        for label in ("tried", "gate", "fact", "remedy", "cost"):
            lines += _field(label, known.get(label, getattr(self, label)))
        return "\n".join([*lines, *_field("needed by", ", ".join(self.needed_by))])


def _field(label: str, text: str) -> list[str]:
    """Return a field, indented; lines of the remedy stay as they are, so that they can be copied."""
    if not text:
        return []
    first, rest = f"{'':12}{label + ':':11}", " " * 23
    if "\n" in text:
        lines = text.splitlines()
        return [first + lines[0], *(f"{rest}{line}".rstrip() for line in lines[1:])]
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


@attrs.frozen(kw_only=True)
class Report:
    """What this host can do for this caller.

    ``str(report)`` is for people: every check on a line, and below each that is not ``ok`` what to do about it.

    Attributes:
        ok: Whether a jail of level SANDBOX, the default, has really run a program.
        caller: ``root`` (may map any id, see `Plan.tier`) or ``userns`` (anybody else).
        checks: In a fixed order; the last one is that jail.
        apparmor_profile: Text of a profile that lets the installed ``jailkit-init`` make user namespaces where AppArmor
            restricts them.
    """

    ok: bool
    caller: str
    checks: tuple[Check, ...]
    apparmor_profile: str = attrs.field(repr=False)

    def __getitem__(self, name: str) -> Check:
        """Return the check of a name.

        Raises:
            KeyError: There is none.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as what JSON knows: ``schema``, ``ok``, ``caller``, ``checks``, ``apparmor_profile``."""
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "caller": self.caller,
            "checks": [{**attrs.asdict(check), "needed_by": list(check.needed_by)} for check in self.checks],
            "apparmor_profile": self.apparmor_profile,
        }

    def __str__(self) -> str:
        said: dict[tuple[str, ...], str] = {}
        lines = [check._text(said) for check in self.checks]  # noqa: SLF001 - of the same module
        return "\n".join([*lines, "", self._verdict()])

    def _verdict(self) -> str:
        vital = [check for check in self.checks if check.state == "missing" and "every jail" in check.needed_by]
        if self.ok:
            vital = []
            said = "This caller can run programs in a SANDBOX here."
        else:
            said = f"This caller cannot run programs in a SANDBOX here. In the way: {_first_of_each(vital)}."
        gates = {check.gate for check in vital}
        worse = [check for check in self.checks if check.state != "ok" and check.gate not in gates]
        said = f"{said} Worth a look: {_first_of_each(worse)}." if worse else said
        return textwrap.fill(said, _WIDTH, break_on_hyphens=False)


def _first_of_each(checks: Sequence[Check]) -> str:
    """Return the names of gates, each with the first check that it closes; the rest is a consequence."""
    first: dict[str, str] = {}
    for check in checks:
        first.setdefault(check.gate, check.name)
    return ", ".join(f"{name} ({gate})" for gate, name in first.items())
