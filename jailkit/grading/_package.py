"""``problem.yaml`` and what stands around it: the way from a directory to a `Problem`."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import attrs

from jailkit import KiB, MiB, UnsupportedError
from jailkit.grading._archive import read_package
from jailkit.grading._assignment import Assignment
from jailkit.grading._data import Reading, read_data
from jailkit.grading._errors import PackageError
from jailkit.grading._examples import read_examples
from jailkit.grading._model import Problem, ProblemLimits, Test
from jailkit.grading._section import Section

__all__ = ["load", "load_problem"]

LEGACY = ("legacy", "legacy-icpc")
DRAFT = ("2023-07-draft",)

_INPUT_LEGACY = ("input_validators", "input_format_validators")
_EXCLUDING = (
    ("pass-fail", "scoring"),
    ("multi-pass", "submit-answer"),
    ("interactive", "submit-answer"),
)

_DESCRIBING = (
    "uuid version author credits source source_url license rights_owner embargo_until keywords "
    "publication_status privacy_policy"
).split()
"""Keys that say nothing about judging."""


def _yaml_loader() -> Any:
    """Return the function that reads YAML.

    Raises:
        UnsupportedError: PyYAML is not installed.
    """
    try:
        return importlib.import_module("jailkit.grading._yaml").load_yaml
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            "problem packages", f"the Python package {error.name} is not installed", "pip install 'jailkit[grading]'"
        ) from error


def load(path: str | os.PathLike[str]) -> Problem | Assignment:
    """Read what is in a directory or an archive: a problem package, or a Python assignment (``assignment.toml``).

    Args:
        path: The directory, or a ``.zip`` or ``.kpp`` archive of it; see `Problem.load`.

    Raises:
        PackageError: It is not as its format says.
        UnsupportedError: PyYAML is not installed.
    """
    return read_package(Path(path).absolute(), _load)


def _load(path: Path) -> Problem | Assignment:
    return Assignment.load(path) if (path / "assignment.toml").exists() else _load_problem(path)


def load_problem(path: Path) -> Problem:
    """Read a problem package.

    Raises:
        PackageError: It is not as the format says.
        UnsupportedError: PyYAML is not installed.
    """
    return read_package(path.absolute(), _load_problem)


def _load_problem(path: Path) -> Problem:
    load = _yaml_loader()
    if not path.is_dir():
        raise PackageError(path, None, "neither a directory nor an archive")
    config: Section = load(path / "problem.yaml")
    version = config.choice("problem_format_version", "legacy", (*LEGACY, *DRAFT))
    draft = version in DRAFT
    kinds = _kinds(config, draft=draft)
    settings = _settings(config, path, draft=draft, passes="multi-pass" in kinds)
    judges = _judges(path, config, draft=draft, kinds=kinds)
    reading = Reading(
        load=load,
        draft=draft,
        scoring="scoring" in kinds,
        validators=tuple(each.name for each in judges["validators"]),
        grader=judges["grader"] is not None,
        static=judges["static_validator"] is not None,
        flags=() if draft else config.words("validator_flags"),
        constants=settings.get("constants", ()),
    )
    config.done()
    root, trials = read_data(path / "data", reading)
    if kinds & {"interactive", "multi-pass"}:
        _only_inputs(path / "data", trials)
    return Problem(
        path=path,
        version=version,
        scoring=reading.scoring,
        interactive="interactive" in kinds,
        answers_only="submit-answer" in kinds,
        root=root,
        trials=trials,
        examples=read_examples(path / "submissions", load, draft=draft, scoring=reading.scoring),
        include=path / "include" if (path / "include").is_dir() else None,
        **settings,
        **judges,
    )


def _only_inputs(data: Path, trials: tuple[Test, ...]) -> None:
    for test in trials:
        if not test.name.startswith("invalid_input/"):
            raise PackageError(data / test.name, None, "outputs are tried of problems with one pass, that do not talk")


def _settings(config: Section, path: Path, *, draft: bool, passes: bool) -> dict[str, Any]:
    """Return what ``problem.yaml`` says beside how outputs are judged."""
    for key in _DESCRIBING:
        config.take(key)
    found: dict[str, Any] = {
        "name": _name(config, path),
        "languages": _languages(config),
        "limits": _explicit(path, _limits(config.section("limits"), draft=draft, passes=passes)),
    }
    if draft:
        return found | {
            "writes": config.truth("allow_file_writing", default=False),
            "constants": _constants(config),
        }
    grading = config.section("grading")
    found["minimize"] = grading.choice("objective", "max", ("min", "max")) == "min"
    grading.truth("show_test_data_groups", default=False)
    grading.done()
    return found


def _kinds(config: Section, *, draft: bool) -> frozenset[str]:
    kinds = frozenset(config.words("type")) or frozenset({"pass-fail"})
    known = {"pass-fail", "scoring"} | ({"interactive", "multi-pass", "submit-answer"} if draft else set())
    for kind in sorted(kinds - known):
        raise config.error("type", f"no type {kind}")
    for one, other in _EXCLUDING:
        if {one, other} <= kinds:
            raise config.error("type", f"{one} and {other} exclude each other")
    if draft:
        return kinds
    words = config.words("validation") or ("default",)
    if words[0] not in ("default", "custom") or set(words[1:]) - {"score", "interactive"}:
        raise config.error("validation", "must be default, or custom with score and interactive after it")
    if words[0] == "default" and len(words) > 1:
        raise config.error("validation", "the default validator neither scores nor talks")
    if "score" in words and "scoring" not in kinds:
        raise config.error("validation", "score is for problems of type scoring")
    return kinds | set(words) & {"custom", "interactive"}


def _judges(path: Path, config: Section, *, draft: bool, kinds: frozenset[str]) -> dict[str, Any]:
    """Return the programs of the package that judge something."""
    return {
        "validators": _validators(path, config, draft=draft, kinds=kinds),
        "static_validator": _static_validator(path, config, draft=draft, kinds=kinds),
        "input_validators": _programs(path, ("input_validators",) if draft else _INPUT_LEGACY),
        "grader": None if draft else _one(path / "graders", "graders"),
    }


def _validators(path: Path, config: Section, *, draft: bool, kinds: frozenset[str]) -> tuple[Path, ...]:
    folder = path / ("output_validator" if draft else "output_validators")
    if draft:
        found = (folder,) if folder.is_dir() and any(folder.iterdir()) else ()
        for kind in sorted({"interactive", "multi-pass"} & kinds if not found else ()):
            raise config.error("type", f"this problem is {kind}, and needs a program in output_validator/")
        return found
    programs = _programs(path, ("output_validators",))
    if "custom" not in kinds:
        return ()
    if not programs:
        raise config.error("validation", "custom, and there is no program in output_validators/")
    return programs


def _static_validator(path: Path, config: Section, *, draft: bool, kinds: frozenset[str]) -> Path | None:
    folder = path / "static_validator"
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    if not draft:
        raise PackageError(folder, None, "this version of the format has no static validators")
    if "submit-answer" in kinds:
        raise config.error("type", "of answers that are handed in there is no source for static_validator/")
    return folder


def _programs(path: Path, folders: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the programs in directories of the package, by their names."""
    return tuple(
        each for name in folders if (path / name).is_dir() for each in sorted((path / name).iterdir()) if _visible(each)
    )


def _one(folder: Path, what: str) -> Path | None:
    found = _programs(folder.parent, (folder.name,))
    if len(found) > 1:
        raise PackageError(folder, None, f"{len(found)} {what}; this version runs one")
    return found[0] if found else None


def _visible(path: Path) -> bool:
    return not path.name.startswith((".", "_"))


def _name(config: Section, path: Path) -> str:
    value = config.take("name")
    if isinstance(value, Section):
        names = [value.text(each) for each in value.names]
        return names[0] if names else path.name
    return str(value) if value is not None else path.name


def _languages(config: Section) -> tuple[str, ...]:
    words = config.words("languages")
    return () if words in ((), ("all",)) else words


def _constants(config: Section) -> tuple[tuple[str, str], ...]:
    section = config.section("constants")
    found = tuple((name, section.text(name)) for name in section.names)
    for name, _ in found:
        if not name.isidentifier() or not name.isascii():
            raise section.error(name, "a constant's name is a word of letters, digits and _")
    return found


def _passes(section: Section, *, several: bool) -> int:
    if "validation_passes" in section and not several:
        raise section.error("validation_passes", "is for problems of type multi-pass")
    number = section.number("validation_passes", 2, least=2)
    if number not in range(10_001):
        raise section.error("validation_passes", f"{number:g} is no whole number, or too many")
    return int(number) if several else 1


def _limits(section: Section, *, draft: bool, passes: bool) -> ProblemLimits:
    default = ProblemLimits()

    def size(name: str, unit: int, value: int) -> int:
        return int(section.number(name, value / unit, least=0, above=True) * unit)

    def seconds(name: str, value: float | None) -> Any:
        return section.number(name, value, least=0, above=True)

    if draft:
        inner = section.section("time_multipliers")
        factors = (inner.number("ac_to_time_limit", 2.0, least=1), inner.number("time_limit_to_tle", 1.5, least=1))
        inner.done()
    else:
        factors = (section.number("time_multiplier", 5.0, least=1), section.number("time_safety_margin", 2.0, least=1))
    limits = ProblemLimits(
        time=seconds("time_limit", None),
        ac_to_time_limit=factors[0],
        time_limit_to_tle=factors[1],
        resolution=seconds("time_resolution", 1.0) if draft else 1.0,
        memory=size("memory", MiB, default.memory),
        output=size("output", MiB, default.output),
        code=size("code", KiB, default.code),
        compile_time=seconds("compilation_time", default.compile_time),
        compile_memory=size("compilation_memory", MiB, default.compile_memory),
        validation_time=seconds("validation_time", default.validation_time),
        validation_memory=size("validation_memory", MiB, default.validation_memory),
        validation_output=size("validation_output", MiB, default.validation_output),
        passes=_passes(section, several=passes),
    )
    section.done()
    return limits


def _explicit(path: Path, limits: ProblemLimits) -> ProblemLimits:
    """Take the time limit from ``.timelimit``, where contests keep it beside a legacy package."""
    file = path / ".timelimit"
    if limits.time is not None or not file.is_file():
        return limits
    try:
        seconds = float(file.read_text())
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise PackageError(file, 1, "must hold one number of seconds above 0")
    return attrs.evolve(limits, time=seconds)
