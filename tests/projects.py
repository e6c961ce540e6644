"""A project with tests, for pytest to run on as in a shell: pytester, with the plugin and no other but those named."""

from __future__ import annotations

import textwrap

import pytest

from tests.patience import patient

__all__ = ["Project", "project"]


class Project:
    """A directory with tests."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.path = str(pytester.path)

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        (self._pytester.path / name).write_text(textwrap.dedent(text))

    def _run(self, *options: str, plugins: tuple[str, ...]) -> pytest.RunResult:
        loaded = [word for name in ("pytest_jailkit", *plugins) for word in ("-p", name)]
        return self._pytester.runpytest_subprocess("-ra", *loaded, *options, timeout=patient(200))

    def run(self, *options: str, plugins: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run pytest; return its exit code and what it has printed."""
        result = self._run(*options, plugins=plugins)
        return int(result.ret), f"{result.stdout}\n{result.stderr}"

    def outcomes(self, *options: str, plugins: tuple[str, ...] = ()) -> dict[str, int]:
        """Run pytest; return how many tests had which outcome."""
        result = self._run(*options, plugins=plugins)
        assert result.ret in (0, 1), f"{result.stdout}\n{result.stderr}"
        return result.parseoutcomes()


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of the caller's."""
    for name, value in {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("COV_CORE_SOURCE", "COV_CORE_CONFIG", "COV_CORE_DATAFILE"):
        monkeypatch.delenv(name, raising=False)
    made = Project(pytester)
    made.write("pytest.ini", "[pytest]\n")
    return made
