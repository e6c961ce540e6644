"""A project with tests, for pytest to run on as in a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from tests.inside import public_directory
from tests.patience import patient

__all__ = ["Project", "project"]


class Project:
    """A directory with tests."""

    def __init__(self, path: str) -> None:
        self.path = path

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        with open(f"{self.path}/{name}", "w") as file:
            file.write(textwrap.dedent(text))

    def run(self, *options: str, plugins: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run pytest; return its exit code and what it has printed."""
        loaded = [word for name in plugins for word in ("-p", name)]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-ra",
                "-p",
                "pytest_jailkit",
                *loaded,
                *options,
            ],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=patient(100),
            cwd=self.path,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))},
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "TMPDIR": self.path,
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def outcomes(self, *options: str, plugins: tuple[str, ...] = ()) -> dict[str, int]:
        """Run pytest; return how many tests had which outcome."""
        code, said = self.run(*options, plugins=plugins)
        last = said.strip().splitlines()[-1]
        found = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last.partition(" in ")[0])}
        assert code in (0, 1), said
        assert found, said
        return found


@pytest.fixture
def project() -> Iterator[Project]:
    """A project of the caller's, where everybody may enter."""
    with public_directory() as path:
        made = Project(path)
        made.write("pytest.ini", "[pytest]\n")
        yield made
