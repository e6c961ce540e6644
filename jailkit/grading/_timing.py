"""The time limit, from the example submissions of the package and its multipliers. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable

from jailkit.grading._examples import matches
from jailkit.grading._grade import Grade
from jailkit.grading._model import Example, Problem

__all__ = ["bounding", "slowest", "time_limit_from"]


def bounding(problem: Problem, how: str) -> tuple[Example, ...]:
    """Return the examples that bound the time limit, ``lower`` or ``upper``."""
    return tuple(each for each in problem.examples if any(one.bounds == how for one in each.expected))


def slowest(example: Example, grade: Grade, how: str) -> float:
    """Return the processor time of the slowest test that counts."""
    patterns = [each.tests for each in example.expected if each.bounds == how]
    return max(
        (test.cpu for test in grade.tests if any(not each or matches(each, test.name) for each in patterns)),
        default=0.0,
    )


def time_limit_from(problem: Problem, seconds: Iterable[float]) -> float:
    """Return the time limit that the slowest of the accepted submissions asks for."""
    limits = problem.limits
    least = max(seconds, default=0.0) * limits.ac_to_time_limit
    # A hair of tolerance: 0.3 / 0.1 is more than 3 for a computer.
    return max(1, math.ceil(least / limits.resolution - 1e-9)) * limits.resolution
