"""Interleaved sampling, and the few statistics that are shown.

Everything here is in nanoseconds until it is printed.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

SLICES = 5
Values = Sequence[int]
Part = Callable[[Values], Values]


class CaseError(Exception):
    """A case could not be measured; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to run `/bin/true`.

    Attributes:
        key: Name in the JSON file; does not change between versions.
        title: Name in the table.
        sample: Runs the program once and returns nanoseconds. Raises `CaseError`.
        probe: Runs another argv in the same way and returns what it wrote, to see what the case built.
    """

    key: str
    title: str
    sample: Callable[[], int]
    probe: Callable[[Sequence[str]], str] | None = None


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A ratio of two medians, and how far it moved during the measurement.

    Attributes:
        value: Median over median, of all samples; or, paired, the median of the ratios of the parts.
        low: The smallest ratio among consecutive parts of the measurement.
        high: The largest one.
        middle: The median of them.
    """

    value: float
    low: float
    high: float
    middle: float


def interleave(
    cases: Sequence[Case],
    rounds: int,
    rng: random.Random,
    failed: dict[str, str],
) -> dict[str, list[int]]:
    """Takes one sample of each case per round, in a new random order each round.

    A shared machine drifts by more than the differences that matter here, within seconds. Cases that
    are measured one after the other get different machines; interleaved ones share each moment.

    Args:
        cases: What to measure.
        rounds: Samples per case.
        rng: Source of the order.
        failed: Receives the reason of each case that broke; such a case has no samples.

    Returns:
        Samples by key, in the order they were taken.
    """
    samples: dict[str, list[int]] = {case.key: [] for case in cases}
    remaining = list(cases)
    for number in range(-1, rounds):  # round -1 warms caches and is thrown away
        rng.shuffle(remaining)
        for case in tuple(remaining):
            try:
                taken = case.sample()
            except Exception as error:  # noqa: BLE001 - a broken peer must not cost the other figures
                failed[case.key] = f"{type(error).__name__}: {error}"
                remaining.remove(case)
                del samples[case.key]
                continue
            if number >= 0:
                samples[case.key].append(taken)
    return samples


def percentile_95(values: Sequence[int]) -> float:
    """Returns the 95th percentile; with fewer than 20 values that is close to the largest."""
    if len(values) < 2:
        return float(values[0])
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def summary(values: Sequence[int]) -> dict[str, float | int]:
    """Returns count, smallest, median and 95th percentile, in microseconds."""
    return {
        "samples": len(values),
        "min_us": round(min(values) / 1000, 1),
        "median_us": round(statistics.median(values) / 1000, 1),
        "p95_us": round(percentile_95(values) / 1000, 1),
    }


def ratio(above: Values, below: Values) -> Ratio:
    """Returns the ratio of the medians of interleaved samples, with its range over slices of the run.

    Raises:
        CaseError: One of the two has no samples.
    """
    return _ranged(lambda part: _quotient(part(above), part(below)), (above, below), SLICES)


def block_ratio(above: Values, below: Values, blocks: int) -> Ratio:
    """Returns the ratio of samples that were taken in alternating blocks.

    A block and its neighbour had the same machine, the first and the last block did not: the ratio of
    each pair of neighbours counts, not that of all samples together.

    Raises:
        CaseError: One of the two has no samples.
    """
    found = _ranged(lambda part: _quotient(part(above), part(below)), (above, below), blocks)
    return replace(found, value=found.middle)


def block_ratio_of_ratios(above: tuple[Values, Values], below: tuple[Values, Values], blocks: int) -> Ratio:
    """Returns (a / b) / (c / d) of samples that were taken in alternating blocks.

    Raises:
        CaseError: One of the four has no samples.
    """

    def quotient(part: Part) -> float:
        a, b, c, d = (part(values) for values in (*above, *below))
        return _quotient(a, b) / _quotient(c, d)

    found = _ranged(quotient, (*above, *below), blocks)
    return replace(found, value=found.middle)


def _quotient(above: Values, below: Values) -> float:
    return statistics.median(above) / statistics.median(below)


def _ranged(quotient: Callable[[Part], float], of: Sequence[Values], slices: int) -> Ratio:
    count = min(slices, *(len(values) for values in of))
    if count == 0:
        raise CaseError("no samples")

    def part(index: int) -> Part:
        return lambda values: _slice(values, index, count)

    parts = [quotient(part(index)) for index in range(count)]
    whole = quotient(lambda values: values)
    return Ratio(value=whole, low=min(parts), high=max(parts), middle=statistics.median(parts))


def _slice(values: Values, index: int, count: int) -> Values:
    return values[len(values) * index // count : len(values) * (index + 1) // count]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a plain table: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def case_rows(cases: Sequence[Case], samples: Mapping[str, Sequence[int]], baseline: str) -> list[Sequence[str]]:
    """Returns the rows of the main table: medians in microseconds and ratios to the baseline."""
    rows: list[Sequence[str]] = []
    for case in cases:
        if not samples.get(case.key):
            continue
        values = summary(samples[case.key])
        against = ratio(samples[case.key], samples[baseline]).value if samples.get(baseline) else None
        rows.append(
            (
                case.title,
                f"{values['median_us']:.0f}",
                f"{values['p95_us']:.0f}",
                "" if against is None else f"{against:.2f}",
            )
        )
    return rows
