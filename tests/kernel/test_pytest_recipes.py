"""The recipes of the how-to, as a reader copies them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.projects import Project, project

__all__ = ["project"]

pytestmark = [pytest.mark.requires("userns", "python"), pytest.mark.timeout(400)]

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "pytest.md"

ABOVE = """
import shutil, socket, subprocess, sys, time
import pytest
from jailkit import Limits, MiB

def wait_for_port(port):
    for _ in range(600):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError

"""


@pytest.fixture(scope="module")
def recipes() -> list[str]:
    """What the page shows in a block, without its margin."""
    blocks = re.findall(r"(?:(?:^    .*)?\n)+", PAGE.read_text(), re.MULTILINE)
    return [ABOVE + block.replace("\n    ", "\n") for block in blocks if "    @pytest" in block]


@pytest.mark.requires("cgroups")
def test_the_marks(project: Project, recipes: list[str]) -> None:
    """One test has the host's network, one a directory to write to and less memory, one a clock that is ahead."""
    project.write("test_it.py", recipes[0])
    (Path(project.path) / "data").mkdir()
    clocks = os.path.exists("/proc/self/timens_offsets")
    assert project.outcomes("-k", "test_" if clocks else "not year")["passed"] == (3 if clocks else 2)


def test_a_server_of_its_own(project: Project, recipes: list[str]) -> None:
    """Two tests at a time have a server on the same port."""
    project.write("test_it.py", f"{recipes[1]}\n@pytest.mark.jailed\ndef test_again(server): ...\n")
    assert project.outcomes("-n", "2", plugins=("xdist.plugin",)) == {"passed": 2}


def test_what_needs_root(project: Project, recipes: list[str]) -> None:
    """An install script that adds a user does so in the jail."""
    project.write("test_it.py", recipes[2])
    project.write("install.sh", "set -e\necho service:x:990:990::/:/bin/false >>/etc/passwd\n")
    assert project.outcomes() == {"passed": 1}
    assert "service:x:990:" not in Path("/etc/passwd").read_text()
