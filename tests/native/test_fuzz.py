"""What the fuzzers start from is up to date, and what they have ever found stays mended. `make fuzz` looks for more."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

import jailkit
from tests.fuzz import corpus

FUZZ = Path(corpus.__file__).parent
SOURCE = os.environ.get("JAILKIT_SOURCE") or str(FUZZ.parents[1])
HARNESSES = ("request", "plan", "host")


def test_the_seeds_are_those_of_today() -> None:
    """A seed of another ABI is refused at the first look, and the fuzzer learns nothing from it."""
    # Plans and requests carry numbers of system calls, which differ between machines; the tree has those of one.
    if platform.machine() == "x86_64":
        kept = {str(path.relative_to(corpus.FOLDER)): path.read_bytes() for path in corpus.FOLDER.glob("*/*")}
        assert kept == corpus.seeds(), "`make fuzz-corpus` writes them anew"


def test_the_seeds_reach_every_harness() -> None:
    """Each has some."""
    assert {name.split("/")[0] for name in corpus.seeds()} == set(HARNESSES)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The harnesses, built to replay files."""
    target = tmp_path_factory.mktemp("fuzz")
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = ["bash", str(FUZZ / "build.sh"), SOURCE, str(target), "replay"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return target


@pytest.mark.requires("cc")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("harness", HARNESSES)
def test_what_was_found_stays_mended(built: Path, tmp_path: Path, harness: str) -> None:
    """Every seed, and every input that once broke something, under AddressSanitizer and UBSan."""
    files = [path for path in (FUZZ / "found").iterdir() if path.name.startswith(f"{harness}-")]
    for name, content in corpus.seeds().items():
        if name.startswith(f"{harness}/"):
            files.append(tmp_path / name.replace("/", "-"))
            files[-1].write_bytes(content)
    assert files
    environment = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [str(built / f"fuzz-{harness}"), *map(str, sorted(files))],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert jailkit.run(["true"]).ok  # nothing of it reached this machine
