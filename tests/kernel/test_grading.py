"""Grading, by the example problems: every submission gets its verdict, and no hostile one gets another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jailkit._cli import main
from jailkit.grading import Grade, Grader, Journal, Languages, Verdict, _run, load, verify
from tests import leaks
from tests.packages import ECHO, one, small, submit
from tests.patience import patient, slowness

EXAMPLES = Path(__file__).parents[2] / "examples" / "problems"
EVENCUT = EXAMPLES / "evencut"
PROBLEMS = ["evencut", "stairs", "leak", "median"]

pytestmark = [pytest.mark.requires("cc", "python"), pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_example_gets_its_verdict(name: str) -> None:
    """The packages that come with jailkit are right: no attacker gets what a correct program gets."""
    problem = load(EXAMPLES / name)
    with Grader(everything=True) as grader:
        found, limit = verify(problem, grader), grader.time_limit(problem)
    wrong = [words for each in found.examples for words in each.problems]
    assert not [words for words in wrong if ": AC, permitted" in words]  # that is never for want of time
    if wrong:  # the limits of time are right for a machine that is not much slower, nor busy
        with Grader(everything=True, time_limit=10 * limit) as grader:
            found = verify(problem, grader)
    assert {each.name: each.problems for each in found.examples if each.problems} == {}
    assert found.ok


def test_a_grade_says_what_happened(tmp_path: Path) -> None:
    """Times, memory, what was expected and what came are those of each test."""
    grade = one(small(tmp_path), submit(tmp_path, "n = input()\nprint('7')\n"))
    good, bad = grade.tests
    assert (grade.verdict, grade.language, grade.time_limit) == (Verdict.WA, "python3", 20)
    assert (good.verdict, bad.verdict) == (Verdict.AC, Verdict.WA)
    assert (bad.input, bad.expected, bad.got) == ("8\n", "8\n", "7\n")
    assert bad.message == "token 1, line 1: '7', expected '8'"
    assert 0 < good.cpu < good.wall + 1
    assert good.memory
    assert [group.name for group in grade.groups] == ["sample", "secret", ""]


def test_in_an_event_loop(tmp_path: Path) -> None:
    """grade_async() gives the same grade."""
    problem, submission = small(tmp_path), submit(tmp_path, ECHO)

    async def both() -> list[Grade]:
        with Grader() as grader:
            return await asyncio.gather(*(grader.grade_async(problem, submission) for _ in range(2)))

    assert [grade.verdict for grade in asyncio.run(both())] == [Verdict.AC] * 2


def test_tests_cannot_leave_notes_for_each_other(tmp_path: Path) -> None:
    """Each test runs in a fresh jail: what one writes, the next does not find."""
    script = (
        "import os\nn = input()\nprint(n if not os.path.exists('/tmp/note') else 'found')\nopen('/tmp/note', 'w')\n"
    )
    assert one(small(tmp_path), submit(tmp_path, script), workers=1).verdict is Verdict.AC


def test_the_artefact_is_not_to_be_changed(tmp_path: Path) -> None:
    """A submission cannot make a test's run change the program that the next test runs."""
    script = "try:\n    open('main.py', 'a')\nexcept OSError:\n    print(input())\n"
    assert one(small(tmp_path), submit(tmp_path, script)).verdict is Verdict.AC


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ("exit 42", Verdict.AC), ("exit 43", Verdict.WA), ("exit 0", Verdict.JE), ("kill -9 $$", Verdict.JE),
        ('grep -qx 8 "$2" || grep -qx 7 "$2" && test "$(cat)" = "$(cat "$1")" && exit 42', Verdict.AC),
        ('test ! -e /submission && echo "well done" > "$3"teammessage.txt && exit 42', Verdict.AC),
    ],
)  # fmt: skip
def test_a_validator_of_the_package(tmp_path: Path, script: str, verdict: Verdict) -> None:
    """42 accepts and 43 rejects; anything else is an error of the judge, and not of the student."""
    grade = one(small(tmp_path, f"#!/bin/sh\n{script}\n"), submit(tmp_path, ECHO))
    assert grade.verdict is verdict, grade.tests[0].message
    if "well done" in script:
        assert grade.tests[0].team_message == "well done\n"


def test_arguments_and_files(tmp_path: Path) -> None:
    """A test's .args are the program's arguments, and its .files lie beside it."""
    extra = {"data/secret/1.args": "--name x", "data/secret/1.files/map.txt": "8"}
    script = "import sys, os\nprint(open('map.txt').read() if sys.argv[1:] == ['--name', 'x'] else 7)\n"
    assert one(small(tmp_path, **extra), submit(tmp_path, script)).verdict is Verdict.AC


def test_a_package_may_allow_files_to_be_written(tmp_path: Path) -> None:
    """Then the working directory can be written to, anew in each test, and holds the program all the same."""
    draft = "problem_format_version: 2023-07-draft\nname: Echo\nlimits: {time_limit: 20}\nallow_file_writing: true\n"
    script = (
        "import os\nn = input()\nprint(n if not os.path.exists('note') and os.path.exists('main.py') else 0)\n"
        "open('note', 'w').write(n)\n"
    )
    assert one(small(tmp_path, **{"problem.yaml": draft}), submit(tmp_path, script)).verdict is Verdict.AC


def test_a_language_that_is_not_installed(tmp_path: Path) -> None:
    """It is reported as such, and is never a wrong answer."""
    table = tmp_path / "more.toml"
    table.write_text('[moon]\nname="Moon"\npatterns=["*.moon"]\nrun=["moonc"]\nversion=["moonc"]\npackage="moon"\n')
    grade = one(small(tmp_path), submit(tmp_path, "", "a.moon"), languages=Languages(table))
    assert (grade.verdict, grade.tests) == (Verdict.JE, ())
    assert grade.compiler == "Moon is not installed: moonc does not run in a jail (Debian: moon)"


def test_what_cannot_be_compiled(tmp_path: Path) -> None:
    """Errors of syntax, too much source, no language: compile errors, with what there is to say."""
    problem = small(tmp_path)
    cases = (("(", "a.py", "SyntaxError"), ("#" * 20_000, "b.py", "more than"), ("", "README", "language"))
    for text, name, words in cases:
        grade = one(problem, submit(tmp_path, text, name))
        assert grade.verdict is Verdict.CE
        assert words in grade.compiler


def test_what_comes_close_to_the_limit_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured twice more, alone; what is far from it is not."""
    # Half of the limit counts as close here: the end of an interpreter, on a slow machine, is then still within it.
    monkeypatch.setattr(_run, "_CLOSE", 0.5)
    limit = slowness()
    script = f"import time\nn = input()\nwhile n == '8' and time.process_time() < {0.55 * limit}:\n    pass\nprint(n)\n"
    grade = one(small(tmp_path), submit(tmp_path, script), time_limit=limit, workers=2)
    assert grade.tests[0].runs == 1
    assert grade.tests[1].runs == 3


@pytest.mark.requires("cgroups")
def test_children_count(tmp_path: Path) -> None:
    """The processor time of everything that a program starts is its own."""
    script = (
        "import os, time\nn = input()\n"
        "if n == '8':\n    for _ in range(2):\n        if os.fork() == 0:\n"
        "            while time.process_time() < 0.4: pass\n            os._exit(0)\n"
        "    os.wait()\n    os.wait()\nprint(n)\n"
    )
    grade = one(small(tmp_path), submit(tmp_path, script), time_limit=0.6)
    assert grade.verdict is Verdict.TLE


def outline(grade: Grade) -> Any:
    """Return of a grade what must not depend on chance."""
    return grade.verdict, grade.score, [(test.name, test.verdict, test.score, test.message) for test in grade.tests]


def test_verdicts_do_not_depend_on_the_number_of_workers() -> None:
    """One at a time, or four: the same tests are judged, with the same results."""
    problem = load(EVENCUT)
    slow = ("time_limit_exceeded", "memory_limit_exceeded", "run_time_error/forks.py")
    submissions = [each.submission for each in problem.examples if not each.name.startswith(slow)]
    found = []
    for workers in (1, 4):
        with Grader(workers=workers, time_limit=2 * slowness()) as grader:
            found.append([outline(grade) for grade in grader.grade_all(problem, submissions)])
            found[-1].append(outline(grader.grade(problem, submissions[-1])))
    assert found[0] == found[1]


WORK = """
import sys
from jailkit.grading import Grader, Journal, load
with Grader(workers=1) as grader, Journal(sys.argv[1]) as journal:
    grader.grade_all(load(sys.argv[2]), sys.argv[3:], journal=journal, done=lambda grade: print("done", flush=True))
"""


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    """After SIGKILL nothing that was graded is graded again, and the grades are the same."""
    problem = small(tmp_path)
    paths = [submit(tmp_path, ECHO if n else "print(1)\n", f"s{n}.py").path for n in range(4)]
    command = [sys.executable, "-c", WORK, str(tmp_path / "journal"), str(problem.path), *map(str, paths)]
    # Its temporary files are gone with those of this test: after SIGKILL nobody else removes them.
    env = os.environ | {"TMPDIR": str(tmp_path)}
    mine = leaks.children()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        process.send_signal(signal.SIGKILL)
        process.wait(patient(30))
    assert leaks.reap(keep=mine) == {}  # its jails, which died with it, are children of this process now
    judged: set[str] = set()
    with (
        Grader(progress=lambda name, *_: judged.add(name)) as grader,
        Journal(tmp_path / "journal") as journal,
    ):
        grades = grader.grade_all(problem, paths, journal=journal)
        assert [grade.verdict for grade in grades] == [Verdict.WA, *[Verdict.AC] * 3]
        assert "s0.py" not in judged
        assert "s3.py" in judged
        judged.clear()
        assert grader.grade_all(problem, paths, journal=journal) == grades
        assert judged == set()
        paths[0].write_text(ECHO)
        assert grader.grade_all(problem, paths[:1], journal=journal)[0].verdict is Verdict.AC


def test_the_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`jailkit grade` and `jailkit verify`: exit codes, table, and every report."""
    problem = small(tmp_path, **{"submissions/accepted/a.py": ECHO, "submissions/wrong_answer/b.py": "print(7)\n"})
    path = str(problem.path)
    good, bad = (str(problem.path / "submissions" / name) for name in ("accepted/a.py", "wrong_answer/b.py"))
    reports = [word for kind in ("json", "junit", "html") for word in (f"--{kind}", str(tmp_path / f"report.{kind}"))]
    assert main(["grade", path, good, bad, *reports]) == 1
    assert "WA" in capfd.readouterr().out
    assert [grade["verdict"] for grade in json.loads((tmp_path / "report.json").read_text())["grades"]] == ["AC", "WA"]
    assert "<testsuites>" in (tmp_path / "report.junit").read_text()
    assert "</html>" in (tmp_path / "report.html").read_text()
    scope = str(tmp_path / "results.json")
    assert main(["grade", path, good, "--gradescope", scope, "--quiet", "--workers", "1"]) == 0
    assert json.loads(Path(scope).read_text())["score"] == 1
    assert capfd.readouterr() == ("", "")
    assert main(["grade", path, f"{good}x", "--quiet"]) == 2
    assert "a.pyx: judge error: cannot be read" in capfd.readouterr().err
    assert main(["grade", path, good, bad, "--gradescope", scope]) == 125
    assert main(["verify", path]) == 0
    assert capfd.readouterr().out.count("✓") == 2
    os.rename(bad, str(problem.path / "submissions" / "accepted" / "b.py"))
    assert main(["verify", path]) == 1
    assert "secret/1: WA, permitted are AC" in capfd.readouterr().out
    (problem.path / "problem.yaml").write_text("titles: x\n")
    assert main(["verify", path]) == 125
    assert f"{path}/problem.yaml:1: titles: no such key here" in capfd.readouterr().err
