"""The test bed says why there is no virtual machine, and never passes for that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.vm import guest, kernels, suite

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
    assert not suite.run(["newest"], ["root"], ["true"], [])
    assert "kernel newest: FAILED: the package source did not answer" in capsys.readouterr().out
    assert not suite.run([], ["root"], ["true"], [])


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
