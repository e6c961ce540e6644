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
from tests import facts
from tests.patience import patient

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
    "realtime_signal.py": {"SIGNALED"},
    "endless_loop.c": {"CPU_TIME", "WALL_TIME"},
    "sleeper.py": {"WALL_TIME"},
    "ignores_signals.c": {"WALL_TIME"},
    "memory_hog.py": {"MEMORY" if facts.holds("cgroups") else "EXITED"},
    "fork_bomb.c": {"WALL_TIME"},
    "thread_bomb.c": {"EXITED"},
    "output_flood.c": {"OUTPUT"},
    "fills_disk.py": {"EXITED"},
    "huge_file.c": {"SIGNALED"},
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
        [sys.executable, str(EXAMPLES / "demo.py"), *args],
        capture_output=True,
        text=True,
        timeout=patient(200),
        check=False,
    )


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What `demo.py --json` says about all submissions."""
    said = _said("--json")
    # Its two seconds are right for a machine of the reader's own: on one that is slower, or that others use, who did
    # not come to his end in them has more. Whoever is ended for his time is ended in ten times as much too.
    if late := [row["program"] for row in said["rows"] if not row["as_expected"]]:
        again = _said("--json", "--slower", "10", *late)
        rows = {row["program"]: row for row in again["rows"]}
        said["rows"] = [rows.get(row["program"], row) for row in said["rows"]]
        said["findings"] += again["findings"]
        said["ok"] = again["ok"] and not said["findings"]
    return said


def _said(*args: str) -> dict[str, Any]:
    done = demo(*args)
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
    # The child sleeps for longer than the timeout, and EXITED is what ends before it.
    assert (row(report, program)["reason"], row(report, program)["returncode"]) == ("EXITED", 0)


def test_no_submission_printed_that_it_escaped(report: dict[str, Any]) -> None:
    """The attackers say so themselves when an attack works."""
    assert [row["program"] for row in report["rows"] if "ESCAPED" in row["output"]] == []


def test_the_report_tells_of_its_limits(report: dict[str, Any]) -> None:
    """The jails of the report are those of the submissions, with all the limits that the demo asks for."""
    states = {protection["name"]: protection["state"] for protection in report["isolation"]}
    asked = ("wall_seconds", "processes", "address_space", "file_size", "disk", "output")
    assert {states[f"limit: {name}"] for name in asked} == {"enforced"}
    assert states["network"] == "enforced"
    assert states["limit: memory"] == ("enforced" if facts.holds("cgroups") else "absent")


def test_the_table_fits_its_reader() -> None:
    """It fits 120 columns, and no submission can steer the terminal of whoever reads it."""
    names = "terminal_escapes.py", "breadth_first.py", "uncaught_exception.py", "fills_disk.py", "null_pointer.c"
    done = demo("--slower", "10", *names)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[\x20-\x7e\n]+", done.stdout)
    assert max(len(line) for line in done.stdout.splitlines()) <= 120
    assert re.search(r"^  terminal_escapes\.py .* \\x1b\[2J", done.stdout, re.MULTILINE)
    assert "5 of 5 submissions ended as expected." in done.stdout


def test_an_unexpected_outcome_fails_the_demo(tmp_path: Path) -> None:
    """`make demo` is a check: a correct program that was expected to be wrong ends it with exit code 1."""
    for name in ("breadth_first.py", "input.txt", "expected.txt"):
        (tmp_path / name).write_bytes((SUBMISSIONS / name).read_bytes())
    (tmp_path / "expected.toml").write_text('"breadth_first.py" = { verdict = ["wrong answer"] }\n')
    done = demo("--json", "--slower", "10", "--submissions", str(tmp_path))
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert (said["ok"], said["rows"][0]["verdict"]) == (False, "accepted")
    done = demo("--slower", "10", "--submissions", str(tmp_path))
    assert done.returncode == 1
    assert re.search(r"^! breadth_first\.py +accepted", done.stdout, re.MULTILINE)
    assert "! breadth_first.py: accepted, exited (exit code 0) after" in done.stdout
    assert "0 of 1 submissions ended as expected." in done.stdout


def test_an_unknown_program_is_named() -> None:
    """A mistyped name ends the demo before it starts a jail."""
    done = demo("no_such.py")
    assert done.returncode == 1
    assert done.stderr.endswith("do not agree on no_such.py\n")


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
        assert canary.findings({"innocent": b"nothing"}) == []
        socket.create_connection(("127.0.0.1", int(env["HOST_TCP"]))).close()
        Path(f"left-{env['JAILKIT_DEMO']}").touch()
        leak = os.open("/dev/null", os.O_RDONLY)
        survivor = subprocess.Popen(["/bin/sleep", "60"], env=env)
        try:
            sung = "\n".join(canary.findings({"thief": Path(env["HOST_SECRET"]).read_bytes()}))
        finally:
            os.close(leak)
            survivor.kill()
            survivor.wait()
    assert "reached the host by tcp" in sung
    assert f"file left behind: {tmp_path}/left-" in sung
    assert f"descriptor left behind: {leak} -> /dev/null" in sung
    assert f"process left behind: child {survivor.pid}" in sung
    assert f"process left behind: survivor {survivor.pid}" in sung
    assert "the host's secret is in the output of thief" in sung


def test_the_canary_sees_into_jails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What survived in a jail would be found, although it has other ids and process numbers there."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with importlib.import_module("canary").Canary() as canary:
        with jailkit.Jail() as jail:
            jail.run(["sh", "-c", "sleep 60 &"], env=canary.env, detach=True).check()
            sung = "\n".join(canary.findings({}))
        assert canary.findings({}) == []
    assert "process left behind: survivor" in sung


@pytest.mark.parametrize("program", ["host_files.py", "other_processes.py"])
def test_an_attack_succeeds_without_a_jail(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harmless ones of the attackers tell that they got out where nothing holds them."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with importlib.import_module("canary").Canary() as canary:
        done = subprocess.run(
            [sys.executable, str(SUBMISSIONS / program)],
            env=canary.env, capture_output=True, text=True, timeout=patient(30), check=True,
        )  # fmt: skip
    assert done.stdout.startswith("ESCAPED: ")


@pytest.mark.parametrize("program", GUARDED)
def test_a_guard_refuses_when_the_demo_did_not_start_the_program(program: str) -> None:
    """Without the demo's environment they refuse. Tried in a jail: this test must be safe when it fails."""
    source = (SUBMISSIONS / program).read_text()
    limits = jailkit.Limits(processes=64, address_space=512 * jailkit.MiB, file_size=8 * jailkit.MiB)
    with jailkit.Jail(limits=limits) as jail:
        if program.endswith(".c"):
            jail.put(source.encode(), "/tmp/main.c")
            jail.run(["gcc", "-pthread", "-o", "/tmp/main", "/tmp/main.c"], timeout=patient(30)).check()
            argv = ["/tmp/main"]
        else:
            argv = ["python3", "-c", source]
        result = jail.run(argv, timeout=patient(30))
    assert (result.reason, result.returncode) == (jailkit.ExitReason.EXITED, 2)
    assert b"refused:" in result.stderr
