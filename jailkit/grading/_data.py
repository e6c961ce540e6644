"""``data/``: nested groups of tests with ``testdata.yaml`` (legacy) or ``test_group.yaml`` (2023-07-draft)."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from jailkit.grading._compare import Comparison, read_flags
from jailkit.grading._errors import PackageError
from jailkit.grading._model import Group, Rules, Test
from jailkit.grading._scores import share_out
from jailkit.grading._section import Section
from jailkit.grading._static import read_static

__all__ = ["TRIALS", "Reading", "read_data"]

TRIALS = ("invalid_input", "invalid_output", "valid_output")

_OTHER = (".ans", ".args", ".files", ".hint", ".desc", ".interaction", ".out", ".statement", ".download", ".yaml")
NamedArgs = tuple[tuple[str, tuple[str, ...]], ...]
_PICTURES = (".png", ".jpg", ".jpeg", ".svg")


@attrs.frozen(kw_only=True)
class Reading:
    """What has to be known of a problem to read its tests."""

    load: Callable[..., Section]
    draft: bool
    scoring: bool
    validators: tuple[str, ...]
    grader: bool
    static: bool
    flags: tuple[str, ...]
    constants: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> str:
        """The name of the file with the rules of a group."""
        return "test_group.yaml" if self.draft else "testdata.yaml"

    def comparison(self, words: tuple[str, ...], error: Callable[[str], PackageError]) -> Comparison | None:
        """Return how the default validator compares, or None where there is another one."""
        if self.validators:
            return None
        try:
            return read_flags(words)
        except ValueError as wrong:
            raise error(str(wrong)) from wrong


@attrs.frozen(kw_only=True)
class _Config:
    """What a group hands on to its tests and, as its format says, to its subgroups."""

    rules: Rules
    args: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    named: NamedArgs = ()
    inputs: NamedArgs = ()
    hint: str = ""
    best: float = 1.0
    least: float = 0.0
    section: Section | None = None
    static: Test | None = None


def read_data(path: Path, reading: Reading) -> tuple[Group, tuple[Test, ...]]:
    """Read all tests of a problem, and what its validators are tried with.

    Raises:
        PackageError: Something in ``data/`` is not as the format says.
    """
    if not (path / "secret").is_dir():
        raise PackageError(path / "secret", None, "no directory: a problem has secret tests")
    top = _config(path, reading, _Config(rules=Rules(scoring=reading.scoring)), "", depth=0)
    groups = [
        _group(path / name, name, reading, top, depth=1) for name in ("sample", "secret") if (path / name).is_dir()
    ]
    root = Group(name="", rules=top.rules, children=tuple(groups))
    if not any(not test.sample for test in root.tests()):
        raise PackageError(path / "secret", None, "holds no test: no file that ends with .in")
    return share_out(root, path) if reading.draft and reading.scoring else root, _trials(path, reading, top)


def _trials(path: Path, reading: Reading, top: _Config) -> tuple[Test, ...]:
    """Read the inputs and outputs that have to be accepted or rejected; the legacy format has none."""
    found: list[Test] = []
    for name in TRIALS if reading.draft else ():
        if (path / name).is_dir():
            found += _group(path / name, name, reading, top, depth=1).tests()
    for test in found:
        output = test.input.with_suffix(".out")
        if not test.name.startswith(TRIALS[0]) and not output.is_file():
            raise PackageError(output, None, f"missing: {test.input.name} is here for its output")
    return tuple(found)


def _group(path: Path, name: str, reading: Reading, above: _Config, *, depth: int) -> Group:
    config = _config(path, reading, above, name, depth=depth)
    children: list[Test | Group] = [config.static] if config.static else []  # it costs least: first
    entries = sorted(path.iterdir(), key=lambda each: each.stem if each.suffix == ".in" else each.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and entry.suffix != ".files":
            if entry.with_name(f"{entry.name}.in").exists():
                raise PackageError(entry, None, "a test of the same name stands beside this group")
            if reading.draft and name == "sample":
                raise PackageError(entry, None, "the samples have no groups in this version of the format")
            children.append(_group(entry, f"{name}/{entry.name}", reading, config, depth=depth + 1))
        elif entry.suffix == ".in":
            if reading.draft and entry.stem == "test_group":
                raise PackageError(entry, None, "no test has this name: its settings would be those of the group")
            children.append(_test(entry, f"{name}/{entry.stem}", reading, config))
        else:
            _check_stray(entry, reading)
    return Group(name=name, rules=config.rules, children=tuple(children))


def _check_stray(entry: Path, reading: Reading) -> None:
    """Refuse a file that belongs to a test which is not there: an input with a mistyped name is a test lost."""
    if entry.name in ("testdata.yaml", "test_group.yaml"):
        if entry.name != reading.file:
            raise PackageError(entry, None, f"this version of the format calls it {reading.file}")
        return
    if entry.suffix in (*_OTHER, *_PICTURES) and entry.suffix != ".interaction":
        base = entry.with_suffix("").with_suffix("") if entry.suffix in (".statement", ".download") else entry
        if not base.with_suffix(".in").exists():
            raise PackageError(entry, None, f"there is no {base.with_suffix('.in').name} that it belongs to")


def _test(entry: Path, name: str, reading: Reading, config: _Config) -> Test:
    answer = entry.with_suffix(".ans")
    if not answer.is_file() and not name.startswith(TRIALS[0]):
        raise PackageError(answer, None, f"missing: {entry.name} needs an answer file, even if it is empty")
    files = entry.with_suffix(".files")
    args, flags, inputs, hint = config.args, config.flags, config.inputs, config.hint
    where: Callable[[str], PackageError] = _pointing(config, entry)
    own = entry.with_suffix(".yaml")
    if reading.draft and own.is_file():
        section = reading.load(own)
        if "args" in section:
            args = section.words("args")
        if "output_validator_args" in section:
            flags = section.words("output_validator_args")
            where = _naming(section, "output_validator_args")
        inputs = _inputs(section, "input_validator_args", inputs)
        hint = section.text("hint", hint)
        for key in ("args", "output_validator_args", "full_feedback", "description"):
            section.take(key)
        section.done()
    extra = entry.with_suffix(".args")
    if extra.is_file():
        args = _args(extra)
    return Test(
        name=name,
        input=entry,
        answer=answer,
        files=files if files.is_dir() else None,
        args=args,
        validator_args=flags,
        named_args=config.named,
        comparison=reading.comparison(flags, where),
        input_args=inputs,
        best=config.best if reading.scoring and not reading.draft else None,
        least=config.least,
        hint=hint,
    )


def _pointing(config: _Config, entry: Path) -> Callable[[str], PackageError]:
    if config.section is not None:
        return _naming(config.section, "output_validator_args")
    return lambda words: PackageError(entry.parent, None, words)


def _naming(section: Section, key: str) -> Callable[[str], PackageError]:
    if key not in section:
        key = "output_validator_flags"
    return lambda words: section.error(key, words)


def _args(file: Path) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(file.read_bytes().decode()))
    except ValueError as error:
        raise PackageError(file, 1, f"no words of a command line: {error}") from error


def _config(path: Path, reading: Reading, above: _Config, name: str, *, depth: int) -> _Config:
    file = path / reading.file
    if not file.is_file():
        if not reading.draft:
            if depth:  # of what is handed down, one flag is for the root alone
                return attrs.evolve(above, rules=attrs.evolve(above.rules, ignore_sample=False))
            return attrs.evolve(above, flags=reading.flags)
        return attrs.evolve(above, rules=_draft_default(reading, depth), static=None)
    section = reading.load(file, reading.constants)
    config = (_draft if reading.draft else _legacy)(section, reading, above, depth)
    if reading.draft:
        config = attrs.evolve(config, static=read_static(section, config.rules, name, there=reading.static))
    section.done()
    return config


def _legacy(section: Section, reading: Reading, above: _Config, depth: int) -> _Config:
    custom = section.choice("grading", "default", ("default", "custom")) == "custom"
    if custom and not reading.grader:
        raise section.error("grading", "custom, and there is no program in graders/")
    low_high = section.words("range")
    for name in ("accept_score", "reject_score"):
        if name in section and not reading.scoring:
            raise section.error(name, "is for problems of type scoring")
    least, best = _range(section, low_high)
    rules = Rules(
        scoring=reading.scoring,
        stop=section.choice("on_reject", "break", ("break", "continue")) == "break",
        least=least,
        best=best,
        **(_own_grader(section) if custom else _grader_flags(section, depth)),
    )
    own, named = _output_flags(section, reading)
    return _Config(
        rules=rules,
        args=above.args,
        flags=(*reading.flags, *own),
        named=named,
        inputs=_inputs(section, "input_validator_flags", ()),
        best=section.number("accept_score", 1.0),
        least=section.number("reject_score", 0.0),
        section=section,
    )


def _inputs(section: Section, key: str, above: NamedArgs) -> NamedArgs:
    """Return the arguments of input validators: the same for all, or by their names."""
    if key not in section:
        return above
    given = section.take(key)
    if not isinstance(given, Section):
        return (("", section.words(key)),)
    if key == "input_validator_flags":
        found: NamedArgs = ((given.text("name"), given.words("flags")),)
    else:
        found = tuple((name, given.words(name)) for name in given.names)
    given.done()
    return found


def _output_flags(section: Section, reading: Reading) -> tuple[tuple[str, ...], NamedArgs]:
    """Return the arguments of all output validators, and those that are for one of them."""
    given = section.take("output_validator_flags")
    if not isinstance(given, Section):
        return section.words("output_validator_flags"), ()
    name, words = given.text("name"), given.words("flags")
    given.done()
    if not reading.validators:
        return words, ()
    if name not in {form for each in reading.validators for form in (each, each.split(".", maxsplit=1)[0])}:
        raise given.error("name", f"there is no {name!r} in output_validators/")
    return (), ((name, words),)


def _own_grader(section: Section) -> dict[str, Any]:
    return {"custom": True, "flags": section.words("grader_flags")}


def _grader_flags(section: Section, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in section.words("grader_flags"):
        if word in ("worst_error", "first_error", "always_accept"):
            found["verdicts"] = word
        elif word in ("sum", "avg", "min", "max"):
            found["aggregation"] = word
        elif word == "accept_if_any_accepted":
            found["accept_if_any"] = True
        elif word == "ignore_sample":
            if depth:
                raise section.error("grader_flags", "ignore_sample is for data/testdata.yaml only")
            found["ignore_sample"] = True
        else:
            raise section.error("grader_flags", f"the default grader has no flag {word!r}")
    return found


def _range(section: Section, words: tuple[str, ...]) -> tuple[float, float]:
    if not words:
        return -math.inf, math.inf
    try:
        low, high = (float(word) for word in words)
    except ValueError:
        low, high = 1.0, 0.0
    if not low <= high:
        raise section.error("range", "must be two numbers, the smaller one first")
    return low, high


def _draft_default(reading: Reading, depth: int) -> Rules:
    return Rules(
        scoring=reading.scoring,
        aggregation="sum" if depth <= 1 else "pass-fail",
        ignore_sample=not depth and reading.scoring,
        stop=not (reading.scoring and depth <= 1),  # where each part has points of its own, all are judged
        best=math.nan,  # shared out when all groups are known
    )


def _draft(section: Section, reading: Reading, above: _Config, depth: int) -> _Config:
    rules = _draft_default(reading, depth)
    scoring = section.section("scoring")
    if scoring.names:
        if not reading.scoring:
            raise section.error("scoring", "is for problems of type scoring")
        if depth == 0 or section.path.parent.name == "sample":
            raise section.error("scoring", "is for secret and the groups in it")
        score = scoring.take("score")
        best = math.inf if score == "unbounded" else scoring.number("score", math.nan, least=0)
        if math.isfinite(best) and best != int(best):
            raise scoring.error("score", f"{score!r} is no whole number")
        aggregation: Any = scoring.choice("aggregation", rules.aggregation, ("pass-fail", "sum", "min"))
        require = _required(scoring, section.path.parents[depth], section.path.parent)
        stop = aggregation != "sum"
        rules = attrs.evolve(rules, best=best, aggregation=aggregation, require_pass=require, stop=stop)
        scoring.done()
    for key in ("full_feedback", "description"):
        section.take(key)
    has_own = "output_validator_args" in section
    flags = section.words("output_validator_args") if has_own else above.flags
    args = section.words("args") if "args" in section else above.args
    keeps = section if has_own else above.section
    inputs = _inputs(section, "input_validator_args", above.inputs)
    hint = section.text("hint", above.hint)
    return _Config(rules=rules, args=args, flags=flags, inputs=inputs, hint=hint, section=keeps)


def _required(scoring: Section, data: Path, own: Path) -> tuple[str, ...]:
    """Return the tests and groups that a group needs; they have to be there, and to be judged before it."""
    names = scoring.words("require_pass")
    here = own.relative_to(data).as_posix()
    for name in names:
        if not (data / name).is_dir() and not (data / f"{name}.in").is_file():
            raise scoring.error("require_pass", f"{name!r} is neither a test nor a group in data/")
        if name >= here or here.startswith(f"{name}/"):
            raise scoring.error("require_pass", f"{name!r} is not judged before {here}")
    return names
