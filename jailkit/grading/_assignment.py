"""Python assignments: a student's module, and a hidden pytest suite that calls its functions from outside the jail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import attrs

from jailkit import MiB
from jailkit.grading._archive import read_package
from jailkit.grading._errors import PackageError
from jailkit.grading._examples import read_examples
from jailkit.grading._grade import TestResult, excerpt
from jailkit.grading._model import Example, ProblemLimits, Verdict

__all__ = ["Assignment", "run_suite"]

_KEYS = {"name", "module", "time", "memory", "output", "suite_time"}
_WELL = (0, 1)
"""Exit codes of pytest: all tests have passed, or some have not. Any other says that the suite is broken."""


@attrs.frozen(kw_only=True)
class Assignment:
    """A Python assignment, read and checked.

    It is a directory with ``assignment.toml``, the suite in ``tests/`` and, as a problem package has them,
    ``submissions/`` by expected verdict.

    Attributes:
        path: Its directory.
        name: Its title.
        module: The name that the student's module has in the jail; of a directory that is handed in, the file.
        limits: What it says about limits; the time is that of one call.
        suite_time: Seconds on the clock for the whole suite.
        examples: Submissions that came with it.
        archive: What keeps the directory of an assignment that came as an archive; else None.
    """

    path: Path
    name: str
    module: str
    limits: ProblemLimits
    suite_time: float = 300.0
    examples: tuple[Example, ...] = ()
    archive: object = attrs.field(default=None, eq=False, repr=False)

    minimize = scoring = False

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Assignment:
        """Read an assignment.

        Args:
            path: Its directory, or a zip archive of it, as `Problem.load` takes one.

        Raises:
            PackageError: It is not as it must be.
        """
        return read_package(Path(path).absolute(), cls._read)

    @classmethod
    def _read(cls, root: Path) -> Assignment:
        file = root / "assignment.toml"
        try:
            data = tomllib.loads(file.read_bytes().decode())
        except (OSError, ValueError) as error:
            raise PackageError(file, None, f"cannot be read: {error}") from error
        if unknown := data.keys() - _KEYS:
            raise PackageError(file, None, f"no such key: {', '.join(sorted(unknown))}")
        module = data.get("module")
        if not isinstance(module, str) or not module.isidentifier():
            raise PackageError(file, None, "module: must be the name of the student's module")
        if not any((root / "tests").glob("test_*.py")):
            raise PackageError(root / "tests", None, "holds no test_*.py")
        return cls(
            path=root,
            name=str(data.get("name", root.name)),
            module=module,
            limits=ProblemLimits(
                time=_number(file, data, "time", 2),
                memory=int(_number(file, data, "memory", 256) * MiB),
                output=int(_number(file, data, "output", 1) * MiB),
            ),
            suite_time=_number(file, data, "suite_time", 300),
            examples=read_examples(root / "submissions", _no_yaml, draft=False, scoring=False),
        )


def _no_yaml(path: Path) -> NoReturn:
    raise PackageError(path, None, "an assignment has no YAML")


def _number(file: Path, data: Mapping[str, Any], name: str, default: float) -> float:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise PackageError(file, None, f"{name}: {value!r} is not a number above 0")
    return float(value)


def run_suite(assignment: Assignment, source: Path, scratch: Path, cpu: int, seconds: float) -> tuple[TestResult, ...]:
    """Run the suite against a student's file, and return what became of each test.

    The suite runs in a process of its own, outside of any jail: it is the teacher's. The student's code runs in a jail
    that this process makes, and what comes back are values and exceptions, as plain data and text.
    """
    report = scratch / "report"
    config = {
        "source": str(source), "module": assignment.module, "report": str(report), "cpu": cpu, "seconds": seconds,
        "memory": assignment.limits.memory, "output": assignment.limits.output,
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-p", "jailkit.grading._suite", "-p", "no:cacheprovider", "-q",
               "--rootdir", str(assignment.path), "-c", os.devnull, str(assignment.path / "tests")]  # fmt: skip
    env = os.environ | {
        "JAILKIT_SUITE": json.dumps(config),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    env.pop("PYTEST_ADDOPTS", None)
    late = False
    with (scratch / "said").open("w+b") as said:
        with subprocess.Popen(
            command, env=env, cwd=scratch, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        ) as suite:
            try:
                code = suite.wait(assignment.suite_time)
            except subprocess.TimeoutExpired:
                suite.kill()
                code, late = suite.wait(), True
        said.seek(0)
        words = excerpt(said.read(1 << 20)[-2000:])
    return _results(report, code, words, late=late)


def _results(report: Path, code: int, said: str, *, late: bool) -> tuple[TestResult, ...]:
    """Return a result for every test that was collected: one that has none must not look like one that passed."""
    lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    names = [name for line in lines for name in line.get("collected", ())]
    found = {line["name"]: TestResult(**line) for line in lines if "name" in line}
    if not names or (code not in _WELL and not late):
        words = f"the suite failed, with exit code {code}:\n{said}"
        return (TestResult(name="suite", verdict=Verdict.JE, message=words), *found.values())
    verdict = Verdict.TLE if late else Verdict.JE
    words = "the time of the suite was over" if late else "the suite says nothing about this test"
    return tuple(found.get(name) or TestResult(name=name, verdict=verdict, message=words) for name in names)
