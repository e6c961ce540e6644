"""The validators of a package, tried on its own data: inputs, and outputs that have to be accepted or rejected."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

import jailkit
from jailkit import Bind, ExitReason, JailkitError
from jailkit.grading._compile import Built, build_program
from jailkit.grading._cores import Cores
from jailkit.grading._grade import excerpt
from jailkit.grading._languages import Languages
from jailkit.grading._model import Problem, Test, Verdict
from jailkit.grading._validate import ACCEPTED, check, named, validator_limits

__all__ = ["Findings", "check_data"]

_GRAMMARS = {".ctd": "Checktestdata", ".viva": "VIVA"}


@attrs.frozen
class Findings:
    """What came of trying the validators.

    Attributes:
        problems: What is wrong, with the names of tests.
        unchecked: Validators that could not be run here.
    """

    problems: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


def check_data(
    problem: Problem, into: Path, languages: Languages, cores: Cores, validators: Sequence[Built]
) -> Findings:
    """Run every input validator on every input, and the output validator on the outputs that came for it.

    Args:
        problem: The problem.
        into: A directory for what is compiled.
        languages: The languages of validators.
        cores: Where they run, one on each.
        validators: The output validators, compiled; none for the default one.
    """
    problems: list[str] = []
    unchecked: list[str] = []
    built: dict[str, Built] = {}
    for number, path in enumerate(problem.input_validators):
        made, said = _build(problem, path, into / f"input-{number}", languages)
        if made is not None:
            built[path.name] = made
        elif "is not installed" in said or path.suffix in _GRAMMARS:
            unchecked.append(f"input_validators/{path.name}: {said}")
        else:
            problems.append(f"input_validators/{path.name}: {said}")
    look = functools.partial(_look, problem, built, validators, complete=len(built) == len(problem.input_validators))

    def one(test: Test) -> list[str]:
        with cores.one():
            return list(look(test))

    with ThreadPoolExecutor(len(cores.cpus), thread_name_prefix="jailkit-data") as pool:
        tests = [test for test in problem.tests if not test.static]
        for found in pool.map(one, (*tests, *problem.trials)):
            problems += found
    return Findings(tuple(problems), tuple(unchecked))


def _build(problem: Problem, path: Path, into: Path, languages: Languages) -> tuple[Built | None, str]:
    if path.suffix in _GRAMMARS:
        return None, f"{_GRAMMARS[path.suffix]} is a language that this version does not read"
    made = build_program(problem, path, into, languages)
    return (made, "") if made.verdict is None else (None, made.said)


def _look(
    problem: Problem, built: dict[str, Built], validators: Sequence[Built], test: Test, *, complete: bool
) -> Iterator[str]:
    """Yield what is wrong with a test."""
    refusals = [_refusal(problem, test, name, made) for name, made in built.items()]
    if test.name.startswith("invalid_input/"):
        if complete and not any(refusals):
            yield f"{test.name}: no input validator rejects it"
        return
    yield from (f"{test.name}: {each}" for each in refusals if each)
    if test in problem.trials:
        yield from _outputs(problem, test, validators)


def _refusal(problem: Problem, test: Test, name: str, built: Built) -> str:
    """Return why an input is not valid; empty when it is."""
    try:
        result = jailkit.run(
            [*built.argv, *named(test.input_args, name)],
            mounts=[Bind(str(built.path), "/validator"), *built.mounts],
            cwd="/validator",
            env=built.env,
            limits=validator_limits(problem, built),
            input=test.input.read_bytes(),
        )
    except (JailkitError, OSError) as error:
        return f"input_validators/{name} failed: {error}"
    if result.reason is ExitReason.EXITED and result.returncode == ACCEPTED:
        return ""
    said = excerpt(result.stdout + result.stderr).strip()
    return f"input_validators/{name} rejects it: {result}" + (f"\n{said}" if said else "")


def _outputs(problem: Problem, test: Test, validators: Sequence[Built]) -> Iterator[str]:
    """Yield what is wrong with an answer and an output, of which the validator has to think what their names say."""
    good = test.name.startswith("valid_output/")
    for suffix, expected in ((".ans", Verdict.AC), (".out", Verdict.AC if good else Verdict.WA)):
        try:
            output = test.input.with_suffix(suffix).read_bytes()
            found: str = check(problem, test, output, validators).verdict
        except (JailkitError, OSError) as error:
            found = str(error)
        if found != expected:
            yield f"{test.name}{suffix}: the output validator says {found}, and it has to be {expected}"
