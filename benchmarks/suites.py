"""Run test suites that nobody here wrote, with and without `--jailed`, and say what differs. `make suites`.

Needs the package index: the source distributions come from there, and what their tests need. The code under test is
what the index has as a wheel of the same version; the tests are those of the source distribution. Differences with a
known cause are listed with it, and only others make the exit code 1.

In both runs Hypothesis draws the same examples each time, keeps none and has no deadlines, whatever a suite says, so
that neither chance nor a busy machine makes a difference.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One project.

    Attributes:
        needs: What its tests need beside pytest and Hypothesis.
        tests: Where they are.
        options: What pytest is told in both runs.
        differs: Beginnings of names of tests whose outcome is another in a jail, and why.
    """

    needs: tuple[str, ...] = ()
    tests: str = "tests"
    options: tuple[str, ...] = ("-p", "no:anyio")
    differs: dict[str, str] = field(default_factory=dict)


SUITES = {
    "attrs": Suite(needs=("cloudpickle",)),
    "pluggy": Suite(tests="testing"),
    "click": Suite(),
    "jinja2": Suite(
        needs=("trio",),
        differs={
            "tests/test_loader.py::TestFileSystemLoader::test_caches_template_based_on_mtime": "touches a file of the "
            "project, which is there for reading; -o jailed_writable=tests/res lets it"
        },
    ),
    "itsdangerous": Suite(needs=("freezegun",)),
}

RECORD = """
    import json, os

    import pytest

    FOUND = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(items):
        from hypothesis import settings

        for item in items:
            test = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
            own = getattr(test, "_hypothesis_internal_use_settings", None)
            if own is not None:
                test._hypothesis_internal_use_settings = settings(own, deadline=None, derandomize=True, database=None)

    def pytest_configure(config):
        global CONFIG
        CONFIG = config

    def pytest_runtest_logreport(report):
        category = CONFIG.hook.pytest_report_teststatus(report=report, config=CONFIG)[0]
        if category:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash else report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            caught = [[name, text] for name, text in report.sections]
            FOUND.setdefault(report.nodeid, []).append([report.when, category, why, caught])

    def pytest_unconfigure():
        with open(os.environ["RECORD"], "w") as file:
            json.dump(FOUND, file)
"""


def pip(*words: str) -> None:
    """Use the package index."""
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *words], check=True, timeout=600)


def fetch(name: str, suite: Suite, folder: Path) -> Path:
    """Unpack the newest source distribution of a project; install it and what its tests need beside it."""
    pip("download", "--no-deps", "--no-binary", ":all:", "-d", str(folder), name)
    for archive in folder.glob("*.tar.gz"):
        subprocess.run(["tar", "-xzf", archive.name, "--no-same-owner"], cwd=folder, check=True, timeout=600)
        archive.unlink()
    project = next(path for path in folder.iterdir() if path.is_dir())
    version = project.name.rpartition("-")[2]
    pip("install", "--target", str(folder / "needs"), f"{name}=={version}", *suite.needs)
    (folder / "needs" / "record.py").write_text(textwrap.dedent(RECORD))
    return project


def outcomes(project: Path, suite: Suite, *options: str) -> tuple[dict[str, list[list[object]]], str]:
    """Run a suite; return what was reported of each test, and the last line with the seconds that it took."""
    folder = project.parent
    record = folder / "record.json"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "record", "-p", "no:cacheprovider"]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "-p", "no:asyncio", *suite.options, *options, suite.tests],
        cwd=project,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(folder / "needs"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
            "CI": "1",
            "RECORD": str(record),
        },
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{project.name}: pytest ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    took = time.monotonic() - began
    return json.loads(record.read_text()), f"{done.stdout.strip().splitlines()[-1]} ({took:.0f} s in all)"


def brief(reports: list[list[object]] | None) -> str:
    """Return the outcome of one test in a few words."""
    return ", ".join(
        f"{one[1]} {str(one[2]).partition(chr(10))[0][:150]}".strip() for one in reports or [["", "none"] * 2]
    )


def compare(name: str, suite: Suite, folder: Path) -> int:
    """Run one suite both ways and print; return the number of differences that nobody has explained."""
    project = fetch(name, suite, folder)
    plain, said = outcomes(project, suite)
    jailed, said_jailed = outcomes(project, suite, "--jailed")
    print(f"{project.name}\n  plain   {said}\n  jailed  {said_jailed}")
    unexplained = 0
    for test in sorted(plain.keys() | jailed.keys()):
        ways = plain.get(test, []), jailed.get(test, [])
        if [one[:2] for one in ways[0]] == [one[:2] for one in ways[1]]:
            if any(one[1] in ("failed", "error") for one in ways[0]):
                print(f"    in both: {test} {brief(ways[0])}")
            continue
        why = next((why for start, why in suite.differs.items() if test.startswith(start)), "")
        unexplained += not why
        print(f"    {test}\n      plain   {brief(ways[0])}\n      jailed  {brief(ways[1])}\n      because {why or '?'}")
    same = [test for test in plain if plain[test] == jailed.get(test)]
    counts = Counter(str(one[1]) for reports in plain.values() for one in reports)
    print(f"  outcomes {dict(counts)}; {len(same)} of {len(plain)} with the same words and captured output as well")
    return unexplained


def main() -> int:
    """Compare."""
    unexplained = 0
    for name in sys.argv[1:] or SUITES:
        with tempfile.TemporaryDirectory(prefix="suites-", dir="/var/tmp") as folder:
            os.chmod(folder, 0o755)
            unexplained += compare(name, SUITES[name], Path(folder))
            sys.stdout.flush()
    print(f"differences without a known cause: {unexplained}")
    return unexplained > 0


if __name__ == "__main__":
    sys.exit(main())
