"""The suite runs itself a second time, as an ordinary user: what root is given is not what makes it pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jailkit
from tests.inside import public_directory
from tests.patience import patient

TESTS = Path(__file__).parents[1]
USER = 65534

pytestmark = [pytest.mark.requires("root", "userns", "cc", "python"), pytest.mark.timeout(2450)]


def as_user(
    home: str, *command: str, prefix: tuple[str, ...] = (), bound: float = 2400
) -> subprocess.CompletedProcess[str]:
    """Run a command as an ordinary user who has a home and nothing else."""
    os.chown(home, USER, USER)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "TMPDIR": home,
        "HYPOTHESIS_STORAGE_DIRECTORY": f"{home}/hypothesis",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        **{
            name: os.environ[name]
            for name in ("JAILKIT_MUST_WORK", "JAILKIT_SOURCE", "JAILKIT_TEST_SLOWNESS", "CI", "CC", "PYTHONPATH")
            if name in os.environ
        },
    }
    drop = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all")
    return subprocess.run(
        [*prefix, *drop, *command],
        env=env,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=patient(bound),
        check=False,
    )


def test_the_suite_as_an_ordinary_user() -> None:
    """Every test of this folder that is not for root alone passes there as well, and none is skipped."""
    with public_directory() as home:
        options = (
            "-p",
            "no:cacheprovider",
            "-q",
            "-rsfE",
            "-mnot many",  # what does the same a hundred times takes the same ways for both
            "--rootdir",
            str(TESTS.parent),
            "-c",
            str(TESTS.parent / "pyproject.toml"),
        )
        # The demo is the same for every caller, and long; the 1,600 launches are long. What the fuzzers found is
        # replayed without any jail. Of the example problems, whose verdicts are the same for all, one is judged.
        examples = "test_grading.py::test_every_example_gets_its_verdict"
        leave_out = (
            "--ignore",
            str(TESTS / "kernel" / "test_demo.py"),
            "--ignore",
            str(TESTS / "native" / "test_fuzz.py"),
            *(
                word
                for name in (
                    "test_concurrency.py::test_1600_launches_from_8_threads",
                    *(f"{examples}[{problem}]" for problem in ("evencut", "stairs", "median")),
                )
                for word in ("--deselect", f"{TESTS.name}/kernel/{name}")
            ),
        )
        done = as_user(
            home, sys.executable, "-m", "pytest", *options, *leave_out, str(TESTS / "kernel"), str(TESTS / "native")
        )
    assert done.returncode == 0, f"as uid {USER}:\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    last = done.stdout.splitlines()[-1]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last)}
    assert counts["passed"] > 200, last
    assert counts["deselected"] >= 1, last
    assert counts.keys() <= {"passed", "deselected"}, f"{last}\n{done.stdout[-4000:]}"


RANGE = """
import os, sys
import jailkit
from jailkit import Bind, Jail, Level, User
script = "id -u; id -g; cat /proc/self/uid_map | tr -s ' '; touch /data/mine; chown 5:6 /data/mine 2>&1"
show = ["sh", "-c", script + "; stat -c %u:%g /data/mine"]
with Jail(level=Level.JAIL, mounts=[Bind(sys.argv[1], "/data", writable=True)]) as jail:
    print(jail.run(show, text=True).check().stdout)
    print(jail.run(["id", "-u"], user=User(33), text=True).check().stdout)
    print(jail.run(["id", "-G"], user=User(33, 34, groups=(35,)), text=True).check().stdout)
with Jail(mounts=[Bind(sys.argv[1], "/data", writable=True)]) as jail:
    jail.run(["touch", "/data/sandboxed"]).check()
"""


@pytest.mark.requires("newuidmap")
def test_a_user_with_a_range_of_ids(public: str) -> None:
    """Granted by /etc/subuid and /etc/subgid, at level JAIL: any user of the jail, and files of the granted ids.

    The files that grant it are put over the host's in a mount namespace that ends with this test.
    """
    with public_directory() as home:
        Path(f"{public}/sub").write_text(f"{USER}:1000000:65536\nnobody:1000000:65536\n")
        os.mkdir(f"{public}/data")
        os.chown(f"{public}/data", USER, USER)
        script = 'for f in uid gid; do mount --bind "$0" /etc/sub$f; done; exec "$@"'
        missing = [name for name in ("/etc/subuid", "/etc/subgid") if not os.path.exists(name)]
        assert not missing, "newuidmap's package makes them"
        prefix = ("unshare", "-m", "sh", "-c", script, f"{public}/sub")
        done = as_user(home, sys.executable, "-c", RANGE, f"{public}/data", prefix=prefix, bound=60)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.split("\n")
        owners = {name: os.lstat(f"{public}/data/{name}") for name in ("mine", "sandboxed")}
    assert lines[:2] == ["0", "0"]
    assert "65534 1" in done.stdout
    assert "5:6" in lines
    assert "33" in lines
    assert "34 35" in lines
    assert (owners["mine"].st_uid, owners["mine"].st_gid) == (1000004, 1000005)
    assert (owners["sandboxed"].st_uid, owners["sandboxed"].st_gid) == (USER, USER)


def test_root_of_a_container_can_make_jails() -> None:
    """Root of a user namespace with a few thousand ids shares those out; with one id it has that one."""
    code = "import jailkit; r = jailkit.run(['id', '-u'], text=True); print(r.stdout, r.ok)"
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
        cwd="/",
    )
    assert (done.returncode, done.stdout.split()) == (0, ["1000", "True"]), done.stderr
    assert jailkit.run(["true"]).ok
