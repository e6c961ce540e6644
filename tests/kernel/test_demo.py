"""The demo is the main job of the library: real submissions, each in its own jail."""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import jailkit

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SUBMISSIONS = EXAMPLES / "submissions"

# About fifteen seconds of waiting for limits to end programs; compiling on a busy machine is the rest.
pytestmark = pytest.mark.timeout(240)

ACCEPTED = {"breadth_first.py", "breadth_first.c", "a_star.py", "relaxation.c"}

#: The reasons each submission may end for, kept apart from expected.toml: one table cannot check itself.
REASONS = {
    **{key: {"EXITED"} for key in ACCEPTED},
    "manhattan.py": {"EXITED"},
    "does_not_compile.c": {"EXITED"},
    "uncaught_exception.py": {"EXITED"},
    "null_pointer.c": {"SIGNALED"},
    "endless_loop.c": {"CPU_TIME", "WALL_TIME"},
    "sleeper.py": {"WALL_TIME"},
    "ignores_signals.c": {"WALL_TIME"},
    "memory_hog.py": {"EXITED", "MEMORY"},
    "fork_bomb.c": {"WALL_TIME"},
    "thread_bomb.c": {"EXITED"},
    "output_flood.c": {"OUTPUT"},
    "fills_disk.py": {"EXITED", "DISK"},
    "huge_file.c": {"SIGNALED", "DISK"},
    "host_files.py": {"EXITED"},
    "includes_shadow.c": {"EXITED"},
    "other_processes.py": {"EXITED"},
    "dials_out.py": {"EXITED"},
    "becomes_root.py": {"EXITED"},
    "held_pipe.py": {"EXITED"},
    "daemon.c": {"EXITED"},
    "terminal_escapes.py": {"EXITED"},
}

#: These do harm when nothing holds them, so they refuse to run where the demo did not start them.
GUARDED = sorted(
    path.name for path in SUBMISSIONS.iterdir() if path.suffix in {".c", ".py"} and "JAILKIT_DEMO" in path.read_text()
)


def demo(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as a reader would."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py"), *args], capture_output=True, text=True, timeout=200, check=False
    )


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What `demo.py --json` says about all submissions."""
    done = demo("--json")
    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    assert (0 if said["ok"] else 1) == done.returncode
    return said


def row(report: dict[str, Any], program: str) -> dict[str, Any]:
    """The row of one program."""
    (found,) = [row for row in report["rows"] if row["program"] == program]
    assert isinstance(found, dict)
    return found


def test_every_submission_ends_as_expected(report: dict[str, Any]) -> None:
    """The demo itself finds nothing to complain about."""
    assert [row for row in report["rows"] if not row["as_expected"]] == []
    assert report["ok"]


def test_the_host_is_as_it_was(report: dict[str, Any]) -> None:
    """Nothing is left of any program, and none reached the host."""
    assert report["findings"] == []


def test_correct_programs_and_only_they_are_accepted(report: dict[str, Any]) -> None:
    """No attacker ends with the verdict of a correct program."""
    assert {row["program"] for row in report["rows"] if row["verdict"] == "accepted"} == ACCEPTED


@pytest.mark.parametrize("program", sorted(REASONS))
def test_reason(report: dict[str, Any], program: str) -> None:
    """Each submission ends for the reason it was written for."""
    assert row(report, program)["reason"] in REASONS[program]


def test_no_submission_goes_unjudged(report: dict[str, Any]) -> None:
    """The folder, the expectations and the report name the same programs."""
    files = {path.name for path in SUBMISSIONS.iterdir() if path.suffix in {".c", ".py"}}
    assert files == {row["program"] for row in report["rows"]} == REASONS.keys()


@pytest.mark.parametrize("program", ["held_pipe.py", "daemon.c"])
def test_what_stays_behind_does_not_delay_the_result(report: dict[str, Any], program: str) -> None:
    """A program that leaves a sleeping child ends when it ends, not when the child does or the timeout comes."""
    assert row(report, program)["wall"] < 1.9
    assert row(report, program)["returncode"] == 0


def test_no_submission_printed_that_it_escaped(report: dict[str, Any]) -> None:
    """The attackers say so themselves when an attack works."""
    assert [row["program"] for row in report["rows"] if "ESCAPED" in row["output"]] == []


def test_the_table_holds_no_control_characters() -> None:
    """A submission cannot steer the terminal of whoever reads the table."""
    done = demo("terminal_escapes.py", "breadth_first.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace("\n", "").isascii()
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout) is None
    assert "2 of 2 submissions ended as expected." in done.stdout


def test_an_unexpected_outcome_fails_the_demo(tmp_path: Path) -> None:
    """`make demo` is a check: a correct program that was expected to be wrong ends it with exit code 1."""
    for name in ("breadth_first.py", "input.txt", "expected.txt"):
        (tmp_path / name).write_bytes((SUBMISSIONS / name).read_bytes())
    (tmp_path / "expected.toml").write_text('"breadth_first.py" = { verdict = ["wrong answer"] }\n')
    done = demo("--json", "--submissions", str(tmp_path))
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert (said["ok"], said["rows"][0]["verdict"]) == (False, "accepted")


def test_expected_verdicts_are_words_of_the_demo() -> None:
    """An expectation that no outcome can meet, or that any outcome meets, is a mistake in expected.toml."""
    expected = tomllib.loads((SUBMISSIONS / "expected.toml").read_text())
    for program, entry in expected.items():
        assert entry["verdict"], program
        re.compile(entry.get("output", ""))
        assert ("accepted" in entry["verdict"]) == (program in ACCEPTED), program


def test_the_dangerous_submissions_are_guarded() -> None:
    """What would harm the machine of a reader who starts it by hand has a guard."""
    assert {
        "becomes_root.py", "fills_disk.py", "fork_bomb.c", "huge_file.c", "memory_hog.py", "output_flood.c",
        "thread_bomb.c",
    } <= set(GUARDED)  # fmt: skip


def test_the_canary_sings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a jail is there to prevent, the canary tells of when it happens without one."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    canary_class = importlib.import_module("canary").Canary
    with canary_class() as canary:
        env = canary.env
        assert canary.findings([b"nothing"]) == []
        socket.create_connection(("127.0.0.1", int(env["HOST_TCP"]))).close()
        Path(f"left-{env['JAILKIT_DEMO']}").touch()
        leak = os.open("/dev/null", os.O_RDONLY)
        survivor = subprocess.Popen(["/bin/sleep", "60"], env=env)
        try:
            sung = "\n".join(canary.findings([Path(env["HOST_SECRET"]).read_bytes()]))
        finally:
            os.close(leak)
            survivor.kill()
            survivor.wait()
    assert "reached the host by tcp" in sung
    assert f"file left behind: {tmp_path}/left-" in sung
    assert f"descriptor left behind: {leak} -> /dev/null" in sung
    assert f"process left behind: child {survivor.pid}" in sung
    assert f"process left behind: survivor {survivor.pid}" in sung
    assert "the host's secret is in output 0" in sung


@pytest.mark.parametrize("program", GUARDED)
def test_a_guard_refuses_when_the_demo_did_not_start_the_program(program: str) -> None:
    """Without the demo's environment they refuse. Tried in a jail: this test must be safe when it fails."""
    source = (SUBMISSIONS / program).read_text()
    limits = jailkit.Limits(processes=64, address_space=512 * jailkit.MiB, file_size=8 * jailkit.MiB)
    with jailkit.Jail(limits=limits) as jail:
        if program.endswith(".c"):
            jail.put(source.encode(), "/tmp/main.c")
            jail.run(["gcc", "-pthread", "-o", "/tmp/main", "/tmp/main.c"], timeout=30).check()
            argv = ["/tmp/main"]
        else:
            argv = ["python3", "-c", source]
        result = jail.run(argv, timeout=5)
    assert (result.reason, result.returncode) == (jailkit.ExitReason.EXITED, 2)
    assert b"refused:" in result.stderr
