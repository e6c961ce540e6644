"""``submissions/``: programs of the package, and the verdicts that they are examples of."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import attrs

from jailkit.grading._errors import PackageError
from jailkit.grading._model import Example, Expectation, Submission, Verdict
from jailkit.grading._section import Section

__all__ = ["matches", "read_examples"]

_AC, _WA, _TLE, _RTE = Verdict.AC, Verdict.WA, Verdict.TLE, Verdict.RTE
#: The format knows four verdicts; a program that is ended for its memory or its output has crashed, in its words.
_CRASHES = frozenset({_RTE, Verdict.MLE, Verdict.OLE})
_ANY = frozenset({_AC, _WA, _TLE}) | _CRASHES


def _bounds(permitted: frozenset[Verdict], required: frozenset[Verdict]) -> Literal["", "lower", "upper"]:
    if _TLE not in permitted:
        return "lower"
    return "upper" if required == {_TLE} else ""


def _only(*verdicts: Verdict) -> Expectation:
    return Expectation(permitted=frozenset({_AC, *verdicts}), required=frozenset(verdicts))


#: Beyond the format: directories for the verdicts that it does not name.
_OWN = {
    "memory_limit_exceeded": _only(Verdict.MLE),
    "output_limit_exceeded": _only(Verdict.OLE),
    "compile_error": _only(Verdict.CE),
}
_DRAFT = {
    "accepted": Expectation(permitted=frozenset({_AC}), bounds="lower"),
    "rejected": Expectation(permitted=_ANY, required=_ANY - {_AC}),
    "wrong_answer": Expectation(permitted=frozenset({_AC, _WA}), required=frozenset({_WA}), bounds="lower"),
    "time_limit_exceeded": Expectation(permitted=frozenset({_AC, _TLE}), required=frozenset({_TLE}), bounds="upper"),
    "run_time_error": Expectation(permitted=_CRASHES | {_AC}, required=_CRASHES, bounds="lower"),
    "brute_force": Expectation(permitted=_CRASHES | {_AC, _TLE}, required=_CRASHES | {_TLE}),
    **_OWN,
}
_LEGACY = {
    "accepted": _DRAFT["accepted"],
    "partially_accepted": Expectation(permitted=_ANY, score=(-math.inf, math.inf)),
    "rejected": _DRAFT["rejected"],
    "wrong_answer": Expectation(permitted=frozenset({_AC, _WA}), required=frozenset({_WA})),
    "time_limit_exceeded": Expectation(
        permitted=frozenset({_AC, _WA, _TLE}), required=frozenset({_TLE}), bounds="upper"
    ),
    "run_time_error": Expectation(permitted=_ANY, required=_CRASHES),
    "run_time_exception": Expectation(permitted=_ANY, required=_CRASHES),
    **_OWN,
}


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern of the format matches a path or one of the directories it is in.

    ``*`` stops at slashes, and ``{a,b}`` is either.
    """
    parts = name.split("/")
    return any(
        _same(each.split("/"), parts[:count])
        for each in _braces(pattern.strip("/"))
        for count in range(1, len(parts) + 1)
    )


def _same(pattern: list[str], parts: list[str]) -> bool:
    return len(pattern) == len(parts) and all(map(fnmatch.fnmatchcase, parts, pattern))


def _braces(pattern: str) -> Iterator[str]:
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        yield pattern
        return
    for each in found[1].split(","):
        yield from _braces(pattern[: found.start()] + each + pattern[found.end() :])


def read_examples(path: Path, load: Callable[[Path], Section], *, draft: bool, scoring: bool) -> tuple[Example, ...]:
    """Read what is in ``submissions/``.

    Raises:
        PackageError: A directory has no known name, or ``submissions.yaml`` is wrong.
    """
    if not path.is_dir():
        return ()
    file = path / "submissions.yaml"
    config = load(file) if draft and file.is_file() else Section(file, {}, 1)
    rules = {name: config.section(name) for name in config.names}
    defaults = _DRAFT if draft else _LEGACY
    found = []
    for folder in sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")):
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith((".", "__pycache__")):
                continue
            example = _example(entry, f"{folder.name}/{entry.name}", rules, defaults)
            if not example.expected:
                known = ", ".join(defaults)
                raise PackageError(folder, None, f"says nothing about a verdict; known are {known}")
            if folder.name == "partially_accepted" and not scoring:
                raise PackageError(folder, None, "is for problems of type scoring")
            found.append(example)
    return tuple(found)


def _example(path: Path, name: str, rules: dict[str, Section], defaults: dict[str, Expectation]) -> Example:
    folder = name.split("/", maxsplit=1)[0]
    expected: list[Expectation] = []
    if folder in defaults and folder not in rules:
        expected.append(defaults[folder])
    language = entry = ""
    for pattern, section in rules.items():
        if not matches(pattern, name):
            continue
        language = section.text("language", language)
        entry = section.text("entrypoint", entry)
        base = defaults.get(pattern, Expectation(permitted=_ANY, required=_ANY))
        expected += _expectations(section, base)
    submission = Submission(path, name=name, language=language, entry=entry)
    return Example(submission=submission, expected=tuple(expected))


def _expectations(section: Section, base: Expectation) -> Iterator[Expectation]:
    for key in ("authors", "model_solution", "language", "entrypoint"):
        section.take(key)
    yield _expectation(section, base)
    for name in section.nested():
        inner = section.section(name)
        yield _expectation(inner, Expectation(tests=name, permitted=_ANY, required=_ANY))
        inner.done()
    section.done()


def _expectation(section: Section, base: Expectation) -> Expectation:
    permitted = _verdicts(section, "permitted", base.permitted)
    required = _verdicts(section, "required", base.required)
    if not permitted & required:
        raise section.error("required", "no verdict that is permitted is required too")
    bounds = _bounds(permitted, required) if permitted != _ANY or required != _ANY else ""
    use = section.take("use_for_time_limit")
    if use not in (None, True, False, "lower", "upper"):
        raise section.error("use_for_time_limit", "must be true, false, lower or upper")
    return attrs.evolve(
        base,
        permitted=permitted,
        required=required,
        score=_score(section) or base.score,
        message=section.text("message", base.message),
        bounds="" if use is False else "lower" if use == "lower" else "upper" if use == "upper" else bounds,
    )


def _verdicts(section: Section, name: str, default: frozenset[Verdict]) -> frozenset[Verdict]:
    words = section.words(name)
    for word in words:
        if word not in Verdict.__members__ or word == "JE":
            raise section.error(name, f"{word!r} is no verdict")
    found = frozenset(Verdict[word] for word in words)
    if not found:
        return default
    return found | _CRASHES if _RTE in found else found


def _score(section: Section) -> tuple[float, float] | None:
    words = section.words("score")
    if not words:
        return None
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or numbers[0] > numbers[-1]:
        raise section.error("score", "must be a number, or the lowest and the highest one")
    return numbers[0], numbers[-1]
