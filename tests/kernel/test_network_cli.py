"""The options of the command line about the network, in a world of namespaces."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.net.bed import WEB, Bed
from tests.patience import patient

pytestmark = [pytest.mark.requires("root", "python", "network"), pytest.mark.timeout(120)]


def run(world: Bed, *words: str, user: bool, verb: str = "run") -> subprocess.CompletedProcess[str]:
    """Run the command on the host of the world."""
    command = world.command(sys.executable, "-m", "jailkit", verb, *words, user=user)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=patient(60), check=False, env=world.environment()
    )


def test_rules_of_the_command_line_are_kept(world: Bed, user: bool) -> None:
    """What --allow names is reached, what --deny names is not; any free port is told."""
    fetch = ["--", "curl", "-s", "--noproxy", "*", f"http://{WEB}/"]
    options = ["--net", "nat", "--allow", "203.0.113.0/24:80", "--dns", "none", "--publish", "0:8000"]
    done = run(world, *options, *fetch, user=user)
    assert (done.returncode, done.stdout.startswith("caller=")) == (0, True), done.stderr
    assert "port 8000 of the jail is 127.0.0.1:" in done.stderr
    done = run(world, *options, "--deny", f"{WEB}:80/tcp", *fetch, user=user)
    assert (done.returncode, done.stdout) == (7, "")  # curl: could not connect


def test_the_plan_in_words_names_them(world: Bed, user: bool) -> None:
    """Rules, name servers, ports and the bound on the speed are on the line about the network."""
    options = ["--net", "nat", "--allow", "public:443", "--deny", "203.0.113.81", "--dns", "203.0.113.53"]
    options += ["--publish", "8080:80", "--bandwidth", "1M"]
    done = run(world, *options, user=user, verb="explain")
    assert done.returncode == 0, done.stderr
    words = ["public:443, but not 203.0.113.81/32", "name servers: 203.0.113.53"]
    words += ["published: 127.0.0.1:8080 to 80/tcp", "at most 1048576 bytes per second"]
    (line,) = [one for one in done.stdout.splitlines() if "public:443" in one]
    assert all(word in line for word in words), line
