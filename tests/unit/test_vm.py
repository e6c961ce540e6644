"""The test bed says why there is no virtual machine, and never passes for that."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.patience import patient
from tests.vm import guest, kernels, suite
from tests.vm.memory import Memory

Play: TypeAlias = Callable[[], list[str] | None]

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the test bed is for x86_64")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two kernels of one series."""
    monkeypatch.setattr(kernels, "CACHE", str(tmp_path))
    for name in ("6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64"):
        (tmp_path / f"linux-image-{name}" / "lib" / "modules" / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apt that reaches nothing."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name in ("apt-get", "apt-cache"):
        (bin_ / name).write_text("#!/bin/sh\necho 'E: no route' >&2\nexit 100\n")
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")


def test_a_version_names_the_newest_of_its_series(cache: Path) -> None:
    """Numbers are compared as numbers; a directory is itself; another series is not there."""
    newest = cache / "linux-image-6.1.0-56-cloud-amd64"
    assert kernels.find("6.1") == str(newest)
    assert kernels.find(str(newest)) == str(newest)
    with pytest.raises(kernels.VmError, match=r"no kernel 6\.9 in"):
        kernels.find("6.9")


@pytest.mark.usefixtures("cache", "offline")
@pytest.mark.parametrize("word", ["release", "newest"])
def test_a_package_source_that_does_not_answer(word: str) -> None:
    """It is named, with what it said."""
    with pytest.raises(kernels.VmError, match=r"(?s)package source did not answer.*no route"):
        kernels.find(word)


@pytest.mark.usefixtures("cache", "offline")
def test_a_part_that_cannot_run_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """By name; nothing that ran is no success either."""
    assert not suite.run(suite.Wanted(["newest"], ["root"], []), Memory(None))
    assert "kernel newest: FAILED: the package source did not answer" in capsys.readouterr().out
    assert not suite.run(suite.Wanted([], ["root"], []), Memory(None))


def test_an_ordinary_user_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sharing the host's files needs root."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    kernel = str(cache / "linux-image-6.1.0-56-cloud-amd64")
    with pytest.raises(kernels.VmError, match="ordinary user"):
        guest.run(guest.Guest(kernel, ("true",)))


def test_the_guest_shows_what_it_would_hide(cache: Path) -> None:
    """Of the directories that it has for itself, those that are named; the rest it sees anyway."""
    kernel = str(cache / "linux-image-6.1.0-56-cloud-amd64")
    made = guest.Guest(kernel, ("echo", "a b"), user=True, directory="/srv", show=("/tmp/a", "/var/tmp/b", "/opt"))
    shown = made.settings()["SHOW"].split()
    assert {"/tmp/a", "/var/tmp/b"} <= set(shown)
    assert {"/srv", "/opt"}.isdisjoint(shown)
    assert made.settings()["COMMAND"].endswith("echo 'a b'")
    assert "--reuid 1000" in made.settings()["SWITCH"]


# In place of a guest, and of pytest in it, a shell; each file of tests is a script, which says what the plugin would.
SCRIPT = 'echo \'== files ["test_a.py", "test_b.py", "test_c.py"]\'; for file; do . ./"$file"; done; exit $((bad))'
SAYS = "echo '== file {}'\n"
GOOD = SAYS.format('{"path": "\'$file\'", "passed": 1, "failed": 0, "skipped": 1, "seconds": 7}')


@pytest.fixture
def played(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Run three files, two in each guest; return what was run, or None for a failure."""
    monkeypatch.chdir(cache)
    for name in ("test_a.py", "test_b.py", "test_c.py"):
        Path(name).write_text(GOOD)
    Path("source.py").touch()
    asked: list[str] = []

    def command(_wanted: suite.Wanted, _part: suite.Part, tests: list[str]) -> list[str]:
        asked.extend(tests)
        return ["sh", "-c", SCRIPT, "sh", *tests]

    def play() -> list[str] | None:
        asked.clear()
        tests = ["test_a.py", "test_b.py", "test_c.py"]
        wanted = suite.Wanted(["6.1"], ["user"], tests, sources=("source.py",), guests=2, files=2)
        return sorted(asked) if suite.run(wanted, Memory("build/memory.json")) else None

    monkeypatch.setattr(suite, "guest_command", command)
    return play


def test_what_has_passed_is_not_run_again(played: Play, capsys: pytest.CaptureFixture[str]) -> None:
    """Until it, or what all tests depend on, changes; a table says what passed, in this run or before."""
    assert played() == ["test_a.py", "test_b.py", "test_c.py"]
    assert played() == []
    told = capsys.readouterr().out
    assert "3 of 3 files have passed before" in told
    assert len(re.findall(r"(?m)^test_b.py +1 passed, 1 skipped \(7 s\)$", told)) == 2
    assert told.splitlines()[-1] == "== 6.1.0-56-cloud-amd64 as user: passed, 3 tests"
    Path("test_b.py").write_text(GOOD + "\n")
    assert played() == ["test_b.py"]
    Path("source.py").write_text("1\n")
    assert len(played() or []) == 3


def test_what_failed_or_did_not_end_is_run_again(played: Play, capsys: pytest.CaptureFixture[str]) -> None:
    """By name; the file before it in the same guest has passed, though the guest died with the second."""
    Path("test_b.py").write_text("exit 125\n")
    Path("test_c.py").write_text(GOOD.replace('"failed": 0', '"failed": 1') + "bad=1\n")
    assert played() is None
    told = capsys.readouterr().out
    assert re.search(r"(?m)^test_b.py +no end$", told)
    assert re.search(r"(?m)^test_c.py +1 passed, 1 FAILED, 1 skipped", told)
    assert told.splitlines()[-1] == "== 6.1.0-56-cloud-amd64 as user: FAILED: test_b.py, test_c.py"
    for name in ("test_b.py", "test_c.py"):
        Path(name).write_text(GOOD)
    assert played() == ["test_b.py", "test_c.py"]


def test_a_guest_that_ends_badly_is_no_success(played: Play, capsys: pytest.CaptureFixture[str]) -> None:
    """Though every file in it passed; with 0 it ends well, though a line of it could not be read."""
    Path("test_c.py").write_text(GOOD + "bad=3\n")
    assert played() is None
    assert "FAILED: exit code 3 of a guest in which every file passed" in capsys.readouterr().out
    Path("test_c.py").write_text(SAYS.format("{cut"))
    assert played() == ["test_c.py"]


def test_a_run_that_is_interrupted_goes_on_later(
    played: Play, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its guests end, what has passed by then is known, and what was not run counts as no success."""
    Path("test_b.py").write_text("touch reached\nexec sleep 1000\n")

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        if os.path.exists("reached") and timeout:
            raise KeyboardInterrupt
        join(self, timeout)

    join = threading.Thread.join
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            played()
    assert re.search(r"(?m)^== .* FAILED: [12] files not run$", capsys.readouterr().out)
    Path("test_b.py").write_text(GOOD)
    assert "test_a.py" not in (played() or ["test_a.py"])


def plugin_says(folder: Path) -> list[list[str]]:
    """Return the lines of the plugin, cut at their mark."""
    (folder / "pytest.ini").touch()
    env = {
        "PYTHONPATH": str(Path(__file__).parents[2]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": os.environ["PATH"]
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *suite.PLUGIN, "-p", "no:cacheprovider", "."],
        cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=patient(50),
    )  # fmt: skip
    return [line.split(" ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("== file")]


def test_the_plugin_tells_of_each_file(tmp_path: Path) -> None:
    """Which files have something to run, and how each of them ended, before the whole run ends."""
    lines = "import pytest", "def test_a(): 0", "def test_b(): 1/0", "@pytest.mark.skip", "def test_c(): 0"
    (tmp_path / "test_a.py").write_text("\n".join(lines))
    (tmp_path / "test_b.py").write_text("import os\ndef test_it(): os._exit(3)\n")
    (tmp_path / "test_c.py").write_text("")
    told = plugin_says(tmp_path)
    assert [word for word, _ in told] == ["files", "file"]
    assert json.loads(told[0][1]) == ["test_a.py", "test_b.py"]
    seen = json.loads(told[1][1])
    assert [seen[name] for name in ("path", "passed", "failed", "skipped")] == ["test_a.py", 1, 1, 1]


def test_a_file_that_cannot_be_read_has_not_passed(tmp_path: Path) -> None:
    """It lists no tests, but it is not said that it has none."""
    (tmp_path / "test_a.py").write_text("def test_it(): pass")
    (tmp_path / "test_b.py").write_text("def test_it(:")
    assert plugin_says(tmp_path) == []
