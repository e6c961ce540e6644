"""The results of groups: the default grader of the legacy format, and the scoring of 2023-07-draft. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from jailkit.grading._errors import PackageError
from jailkit.grading._model import Group, Rules, Test, Verdict

__all__ = ["Outcome", "bounded_score", "combine", "judge_tree", "share_out"]

_WORST = (Verdict.JE, Verdict.CE, Verdict.RTE, Verdict.MLE, Verdict.TLE, Verdict.OLE, Verdict.WA)
"""What counts most, first."""
_HAIR = 1e-9
"""Thirds do not add up."""


@attrs.frozen
class Outcome:
    """The result of a test or a group: a verdict, and a score where there are scores.

    Attributes:
        verdict: What became of it.
        score: Points; 0 where there are none.
        name: Name of the test or group.
        message: What there is to say about a group that could not be judged.
    """

    verdict: Verdict
    score: float = 0.0
    name: str = ""
    message: str = ""


def combine(rules: Rules, outcomes: Sequence[Outcome]) -> Outcome:
    """Return the result of a group from those of what was judged of it."""
    used = outcomes[1:] if rules.ignore_sample and len(outcomes) > 1 else outcomes
    verdict = _verdict(rules, used)
    if not rules.scoring:
        return Outcome(verdict)
    if rules.aggregation == "pass-fail":
        passed = all(outcome.verdict is Verdict.AC for outcome in used)
        return Outcome(verdict, rules.best if passed and math.isfinite(rules.best) else 0.0)
    return bounded_score(rules, verdict, _score(rules, [outcome.score for outcome in used]))


def bounded_score(rules: Rules, verdict: Verdict, score: float) -> Outcome:
    """Return a result, or a judge error where the points are more or less than the package says there can be."""
    accepted_with_less = verdict is Verdict.AC and score < rules.least - _HAIR
    if verdict is not Verdict.JE and (accepted_with_less or score > rules.best + _HAIR):
        return Outcome(Verdict.JE, message=f"{score:g} points, and the package says {_span(rules)}")
    return Outcome(verdict, score)


def _span(rules: Rules) -> str:
    return f"{rules.least:g} to {rules.best:g}" if math.isfinite(rules.least) else f"at most {rules.best:g}"


def _verdict(rules: Rules, outcomes: Sequence[Outcome]) -> Verdict:
    verdicts = [outcome.verdict for outcome in outcomes]
    if Verdict.JE in verdicts:
        return Verdict.JE  # whatever the rules say: nobody is accepted because the judge failed
    bad = [verdict for verdict in verdicts if verdict is not Verdict.AC]
    if not bad or rules.verdicts == "always_accept" or (rules.accept_if_any and len(bad) < len(verdicts)):
        return Verdict.AC
    return bad[0] if rules.verdicts == "first_error" else min(bad, key=_WORST.index)


def _score(rules: Rules, scores: Sequence[float]) -> float:
    if not scores:
        return 0.0
    if rules.aggregation == "avg":
        return math.fsum(scores) / len(scores)
    return {"min": min, "max": max}.get(rules.aggregation, math.fsum)(scores)


def judge_tree(
    group: Group,
    judge: Callable[[Test], Outcome],
    *,
    everything: bool = False,
    grade: Callable[[Rules, Sequence[Outcome]], Outcome] = combine,
    seen: dict[str, Outcome] | None = None,
) -> tuple[Outcome, dict[str, Outcome]]:
    """Judge the tests of a group in order, and return its result and those of all groups below, by name.

    What is judged depends on nothing but the results that came before, in the order of the tests: with any number of
    workers it is the same.

    Args:
        group: Where to begin.
        judge: Returns the result of a test; called in the order of the tests, and not for those that are left out.
        everything: Judge the tests too that come after one that was not accepted.
        grade: Makes the result of a group from those of what was judged of it.
        seen: Results of tests and groups so far, by name.
    """
    seen = {} if seen is None else seen
    rules, outcomes = group.rules, []
    blocked = any(seen.get(name, Outcome(Verdict.JE)).verdict is not Verdict.AC for name in rules.require_pass)
    if blocked and not everything:
        seen[group.name] = Outcome(Verdict.WA, 0.0, group.name)
        return seen[group.name], seen
    for child in group.children:
        if isinstance(child, Group):
            outcome, _ = judge_tree(child, judge, everything=everything, grade=grade, seen=seen)
        else:
            outcome = seen[child.name] = judge(child)
        outcomes.append(outcome)
        # A sample that does not count ends nothing.
        if outcome.verdict is not Verdict.AC and rules.stop and not everything and not rules.ignore_sample:
            break
    result = grade(rules, outcomes)
    if blocked:
        result = Outcome(result.verdict, 0.0)
    seen[group.name] = attrs.evolve(result, name=group.name)
    return seen[group.name], seen


def share_out(root: Group, path: Path) -> Group:
    """Give each group and test of a scoring problem (2023-07-draft) its highest score.

    Raises:
        PackageError: The parts of a group have more points than the group.
    """
    groups = [_share(child, path, 100.0) if isinstance(child, Group) else child for child in root.children]
    best = next((group.rules.best for group in groups if isinstance(group, Group) and group.name == "secret"), 100.0)
    return attrs.evolve(root, rules=attrs.evolve(root.rules, best=best), children=tuple(groups))


def _share(group: Group, path: Path, inherited: float) -> Group:
    if group.name.startswith("sample"):
        return attrs.evolve(group, rules=attrs.evolve(group.rules, scoring=False))
    own = group.rules.best
    best = inherited if math.isnan(own) else own
    for each in group.children if math.isfinite(best) else ():
        if _own_best(each) == math.inf:
            raise PackageError(path / each.name, None, "unbounded, and the group that it is in has a highest score")
    rules = attrs.evolve(group.rules, best=best)
    if rules.aggregation == "pass-fail":
        if math.isinf(best):
            raise PackageError(path / group.name, None, "a group of aggregation pass-fail needs a score with a bound")
        return attrs.evolve(group, rules=rules, children=tuple(_bare(child, path) for child in group.children))
    known = [own for own in map(_own_best, group.children) if not math.isnan(own)]
    rest = best
    if rules.aggregation == "sum" and not math.isinf(best):
        spent, open_parts = math.fsum(known), len(group.children) - len(known)
        if spent > best:
            raise PackageError(path / group.name, None, f"its parts have {spent:g} points, and it has {best:g}")
        rest = (best - spent) / open_parts if open_parts else 0.0
    children = tuple(
        _share(child, path, rest)
        if isinstance(child, Group)
        else attrs.evolve(child, best=rest if child.best is None else child.best)
        for child in group.children
    )
    return attrs.evolve(group, rules=rules, children=children)


def _own_best(part: Test | Group) -> float:
    """Return the highest score that the package gives to a part of a group; not a number where it gives none."""
    if isinstance(part, Group):
        return part.rules.best
    return math.nan if part.best is None else part.best


def _bare(child: Test | Group, path: Path) -> Test | Group:
    """What is in a group that is all or nothing has no points of its own."""
    if isinstance(child, Test):
        return child
    if child.rules.aggregation != "pass-fail":
        raise PackageError(path / child.name, None, "the group that it is in is all or nothing, and so are its groups")
    rules = attrs.evolve(child.rules, scoring=False, best=0.0)
    return attrs.evolve(child, rules=rules, children=tuple(_bare(each, path) for each in child.children))
