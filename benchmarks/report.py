"""What was promised, what was measured, and the sentence that says which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import library
import stress
from measure import CaseError, Ratio, block_ratio, block_ratio_of_ratios, ratio

BY_HAND = {
    library.COLD: "floor_walls",
    library.LIVE: "floor_live",
    library.POOL: "floor_live",
    library.COLD_SAME: "floor_all",
}
"""Which case of the floor program makes the calls of a case of jailkit."""
OTHERS = {library.BASELINE, library.PIPED, library.RESTED, library.SILENT, "bwrap"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """One promise.

    Attributes:
        name: What is compared.
        limit: The largest value that keeps the promise.
        measured: The value found; None if it could not be measured.
        low: Smallest value among parts of the run, where there are parts.
        high: Largest one.
        unit: Printed after the numbers; empty for a ratio.
        by_hand: What the C floor program takes for the same, in the same run: less is out of reach here.
        reason: Why there is no value.
    """

    name: str
    limit: float
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    by_hand: float | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """`met`, `not met` or `not measured`; with a remark where noise decides."""
        if self.measured is None:
            return "not measured"
        word = "met" if self.measured <= self.limit else "not met"
        if self.low is not None and self.high is not None and self.low <= self.limit < self.high:
            return f"{word}, but parts of the run say otherwise"
        return word

    def line(self) -> str:
        """Returns the sentence for the table."""
        head = f"target {self.name}: at most {self.limit:g}{self.unit}"
        if self.measured is None:
            return f"{head}; {self.verdict} ({self.reason})"
        spread = "" if self.low is None else f" ({self.low:.2f} to {self.high:.2f})"
        floor = "" if self.by_hand is None else f"; by hand in C {self.by_hand:.2f}"
        return f"{head}; measured {self.measured:.2f}{self.unit}{spread}; {self.verdict}{floor}"

    def as_json(self) -> dict[str, object]:
        """Returns the fields and the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def of_ratio(name: str, limit: float, found: Ratio) -> Target:
    """Returns the target of a ratio that has a spread."""
    return Target(name=name, limit=limit, measured=found.value, low=found.low, high=found.high)


def launch_targets(samples: Mapping[str, Sequence[int]], why: Mapping[str, str]) -> list[Target]:
    """Returns the targets of the main table."""
    wanted = (
        ("cold jailkit.run / bwrap, which has fewer walls", 0.45, library.COLD, "bwrap"),
        ("cold jailkit.run / C floor with the same walls", 1.35, library.COLD, "floor_walls"),
        ("cold jailkit.run / C floor with fewer walls", 1.35, library.COLD, "floor_all"),
        ("live jail.run / C floor with the same walls", 1.35, library.LIVE, "floor_live"),
        ("live jail.run / subprocess.run", 1.1, library.LIVE, library.BASELINE),
        ("live jail.run / subprocess.run with capture_output", 1.1, library.LIVE, library.PIPED),
        ("live jail.run, DEVNULL / subprocess.run, DEVNULL", 1.1, library.LIVE_SILENT, library.SILENT),
        ("pool.run / subprocess.run", 1.1, library.POOL, library.BASELINE),
        ("pool.run / subprocess.run, both after a pause", 1.1, library.POOL, library.RESTED),
        ("cold with seccomp and Landlock / without", 1.15, library.COLD, library.COLD_BARE),
        ("live with seccomp and Landlock / without", 1.15, library.LIVE, library.LIVE_BARE),
        ("cold with a control group / without", 1.3, library.COLD, library.COLD_UNGROUPED),
        ("cold, mounts and namespaces alone / bwrap", 0.45, library.COLD_SAME, "bwrap"),
        ("cold, mounts and namespaces alone / C floor", 1.35, library.COLD_SAME, "floor_all"),
    )
    targets = []
    for name, limit, above, below in wanted:
        lacking = [key for key in (above, below) if not samples.get(key)]
        if lacking:
            reasons = "; ".join(f"{key}: {why.get(key, 'no samples')}" for key in lacking)
            targets.append(unmeasured(name, limit, reasons))
        else:
            found = of_ratio(name, limit, ratio(samples[above], samples[below]))
            by_hand = samples.get(BY_HAND.get(above, "")) if below in OTHERS else None
            targets.append(replace(found, by_hand=ratio(by_hand, samples[below]).value) if by_hand else found)
    return targets


def state_targets(
    state: str, limit: float, plain: Mapping[str, Sequence[int]], loaded: Mapping[str, Sequence[int]]
) -> tuple[Target, Target]:
    """Returns the target of a state in time, and the same in units of `subprocess.run`.

    In time, the state may slow down every program that starts another; measured against
    `subprocess.run` in the same state, what is left is what jailkit adds.
    """
    cold, base, hand = library.COLD, library.BASELINE, BY_HAND[library.COLD]
    blocks = stress.BLOCKS
    in_time = block_ratio(loaded[cold], plain[cold], blocks)
    in_units = block_ratio_of_ratios((loaded[cold], loaded[base]), (plain[cold], plain[base]), blocks)
    found = (
        of_ratio(f"cold {state} / cold, in time", limit, in_time),
        of_ratio(f"cold {state} / cold, each in units of subprocess.run in the same state", limit, in_units),
    )
    if not (loaded.get(hand) and plain.get(hand)):
        return found
    by_hand = block_ratio(loaded[hand], plain[hand], blocks).value
    return replace(found[0], by_hand=by_hand), found[1]


def unmeasured(name: str, limit: float, error: CaseError | str, unit: str = "") -> Target:
    """Returns a target without a value, with the reason."""
    return Target(name=name, limit=limit, unit=unit, reason=str(error))
