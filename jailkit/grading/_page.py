"""One HTML page that needs nothing else, for people: the only module that imports Jinja."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Sequence

import jinja2

from jailkit import MiB
from jailkit.grading._grade import Grade
from jailkit.grading._model import Verdict

__all__ = ["render"]

_MOST = 1.5
"""Bars end at this many times the limit."""
_PIECE = re.compile(r"[^/_.-]*[/_.-]|[^/_.-]+")
"""A long name is broken after one of these, and not within a word."""


def render(grades: Sequence[Grade]) -> str:
    """Return the page. What submissions wrote is escaped, and the page may run no script, whatever is in it."""
    names = dict.fromkeys(test.name for grade in grades for test in grade.tests)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    source = (importlib.resources.files("jailkit.grading") / "page.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        title=grades[0].problem if grades else "No submissions",
        grades=grades,
        tests=sorted(names),
        cells=[{test.name: test for test in grade.tests} for grade in grades],
        notes=dict.fromkeys(note for grade in grades for note in grade.notes),
        verdicts=list(Verdict),
        share=_share,
        mib=_mib,
        pieces=_PIECE.findall,
    )


def _share(amount: float, limit: float) -> float:
    return min(_MOST, amount / limit) if limit else 0.0


def _mib(size: int | None) -> str:
    return "?" if size is None else f"{size / MiB:.0f} MiB"
