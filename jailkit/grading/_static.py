"""Static validators (2023-07-draft): a program of the package looks at the source of a submission, in a jail."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from jailkit import Bind, Jail, Tmpfs
from jailkit.grading._compile import Built
from jailkit.grading._errors import PackageError
from jailkit.grading._model import Problem, Rules, Test, Verdict
from jailkit.grading._section import Section
from jailkit.grading._validate import FEEDBACK, Checked, checked, validator_limits

__all__ = ["check_source", "read_static"]

_NAME = "static_validation"
_PLACE = "/submission"


def read_static(section: Section, rules: Rules, group: str, *, there: bool) -> Test | None:
    """Return the test that a group has for the static validator, or None.

    Args:
        section: Its ``test_group.yaml``.
        rules: Its rules.
        group: Its path below ``data``.
        there: Whether the package has a static validator.

    Raises:
        PackageError: It cannot have one.
    """
    given = section.take(_NAME)
    if given is None or given is False:
        return None
    if not there:
        raise section.error(_NAME, "there is no program in static_validator/")
    if group.split("/", maxsplit=1)[0] not in ("sample", "secret"):
        raise section.error(_NAME, "is for sample, secret and the groups in it")
    for each in (section.path.with_name(_NAME), section.path.with_name(f"{_NAME}.in")):
        if each.exists():
            raise PackageError(each, None, f"{_NAME} in {section.path.name} is a test of the same name")
    args: tuple[str, ...] = ()
    best = None
    if given is not True:
        own = section.section(_NAME)
        args, best = own.words("args"), _score(own, rules, group)
        own.done()
    return Test(
        name=f"{group}/{_NAME}", input=section.path, answer=section.path, validator_args=args, best=best, static=True
    )


def _score(own: Section, rules: Rules, group: str) -> float | None:
    if "score" not in own:
        return None
    if not rules.scoring or group == "sample" or rules.aggregation == "pass-fail":
        raise own.error("score", "is for groups of scoring problems in which each test has points")
    if own.take("score") == "unbounded":
        return math.inf
    score = own.number("score", None, least=0)
    if math.isinf(score) or score != int(score):
        raise own.error("score", f"{score:g} is no whole number")
    return float(score)


def check_source(problem: Problem, test: Test, built: Built, validator: Built | None, scratch: Path) -> Checked:
    """Have the static validator of a package look at a submission.

    Its working directory has the submission as it was handed in, with the included files, and what compiling has left.
    """
    assert validator is not None and built.language is not None  # noqa: S101, PT018 - `read_static` has looked
    if validator.verdict is not None:
        return Checked(verdict=Verdict.JE, message=f"the static validator does not compile: {validator.said}")
    source = _laid_out(built, scratch / test.name.replace("/", "-"))
    words = [*validator.argv_at("/validator"), built.language.code, built.entry, FEEDBACK, *test.validator_args]
    mounts: list[Bind | Tmpfs] = [
        Bind(str(source), _PLACE),
        Bind(str(validator.path), "/validator"),
        Tmpfs(FEEDBACK),
        *validator.mounts,
    ]
    limits = validator_limits(problem, validator)
    with Jail(limits=limits, mounts=mounts, cwd=_PLACE, env=validator.env) as jail:
        return checked(problem, test, jail.run(words), jail, "the static validator")


def _laid_out(built: Built, into: Path) -> Path:
    """Return a directory with the sources, and beside them what compiling has made.

    Some languages run code of the submission while they compile. So a source is taken from what was handed in, and
    never from where it was compiled.
    """
    own = {name.split("/", maxsplit=1)[0] for name in built.sources.names}
    shutil.copytree(built.path, into, ignore=lambda folder, _: own if Path(folder) == built.path else set())
    for name, data in built.sources.files:
        file = into / name
        for folder in reversed(file.relative_to(into).parents[:-1]):
            (into / folder).mkdir(mode=0o755, exist_ok=True)
            (into / folder).chmod(0o755)  # whatever the umask says: the jail's user has to read it
        file.write_bytes(data)
        file.chmod(0o644)
    return into
