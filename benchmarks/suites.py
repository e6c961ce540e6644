"""Run test suites that nobody here wrote, with and without `--jailed`, and say what differs. `make suites`.

Needs the package index: the source distributions come from there, and what their tests need.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

SUITES = {  # what its tests need beside pytest and hypothesis, where they are, and the paths they write to
    "attrs": (("cloudpickle",), "tests"),
    "pluggy": ((), "testing"),
    "click": ((), "tests"),
    "jinja2": (("trio", "markupsafe"), "tests"),
}
LINE = re.compile(r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) (.*?)(?: - .*)?$")


def pip(*words: str) -> None:
    """Use the package index."""
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *words], check=True, timeout=600)


def fetch(name: str, needs: tuple[str, ...], folder: Path) -> Path:
    """Unpack the newest source distribution of a project, and install beside it what its tests need."""
    pip("download", "--no-deps", "--no-binary", ":all:", "-d", str(folder), name)
    for archive in folder.glob("*.tar.gz"):
        subprocess.run(["tar", "-xzf", archive.name, "--no-same-owner"], cwd=folder, check=True, timeout=600)
        archive.unlink()
    if needs:
        pip("install", "--target", str(folder / "needs"), *needs)
    return next(path for path in folder.iterdir() if path.is_dir() and path.name != "needs")


def outcomes(project: Path, tests: str, *options: str) -> tuple[dict[str, str], str]:
    """Run a suite; return the outcome of each test, and the last line."""
    folder = project.parent
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=no", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    done = subprocess.run(
        [*command, *options, tests],
        cwd=project,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": f"{project / 'src'}:{folder / 'needs'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    found = {match[2]: match[1] for match in map(LINE.match, done.stdout.splitlines()) if match}
    # Of skipped tests there are only sums.
    skipped = re.search(r"(\d+) skipped", done.stdout)
    found["skipped in all"] = skipped[1] if skipped else "0"
    return found, done.stdout.strip().splitlines()[-1]


def main() -> int:
    """Compare."""
    differing = 0
    for name in sys.argv[1:] or SUITES:
        needs, tests = SUITES[name]
        with tempfile.TemporaryDirectory(prefix="suites-", dir="/var/tmp") as folder:
            os.chmod(folder, 0o755)
            project = fetch(name, needs, Path(folder))
            plain, said = outcomes(project, tests)
            jailed, said_jailed = outcomes(project, tests, "--jailed")
            print(f"{project.name}\n  plain   {said}\n  jailed  {said_jailed}")
            for test in sorted(plain.keys() | jailed.keys()):
                if plain.get(test) != jailed.get(test):
                    differing += 1
                    print(f"    {test}: {plain.get(test)} and jailed {jailed.get(test)}")
            print(f"  outcomes {dict(Counter(plain.values()))}")
    return differing > 0


if __name__ == "__main__":
    sys.exit(main())
