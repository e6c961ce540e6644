"""What packages may ask for beyond a program and its output: several passes, answers, graders, input validators."""

from __future__ import annotations

from pathlib import Path

import pytest

from jailkit._cli import main
from jailkit.grading import Grader, Languages, Submission, Verdict, verify
from tests.packages import ECHO, one, small, submit

pytestmark = [pytest.mark.requires("python"), pytest.mark.timeout(900)]

DRAFT = "problem_format_version: 2023-07-draft\nname: Echo\n"
PASSES = DRAFT + "type: multi-pass\nlimits: {time_limit: 20, validation_passes: 3}\n"
#: Wants what was given, and gives the next number, up to 9; leaves a word in each pass.
COUNTING = """#!/bin/sh
read said
echo "pass $said" >>"$3"judgemessage.txt
test "$said" = "$(cat "$1")" || exit 43
test "$said" -ge 9 || echo $((said + 1)) >"$3"nextpass.in
exit 42
"""


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        (ECHO, Verdict.AC),
        ("n = input()\nprint(n if n != '9' else 0)\n", Verdict.WA),
        ("n = input()\nassert n != '9'\nprint(n)\n", Verdict.RTE),
        ("import os\nn = input()\nassert not os.path.exists('/tmp/n')\nopen('/tmp/n', 'w')\nprint(n)", Verdict.AC),
    ],
)
def test_passes(tmp_path: Path, script: str, verdict: Verdict) -> None:
    """The validator writes the next input and keeps its files; a submission runs anew, and all passes count."""
    problem = small(tmp_path, **{"problem.yaml": PASSES, "output_validator/run": COUNTING})
    grade = one(problem, submit(tmp_path, script))
    assert grade.verdict is verdict, grade.tests[0].message
    if verdict is not Verdict.RTE:
        assert grade.tests[0].message == "pass 7\npass 8\n" + ("pass 9\n" if verdict is Verdict.AC else "pass 0\n")
    if verdict is Verdict.AC:
        assert grade.tests[0].got == "< 7\n> 7\n---\n< 8\n> 8\n---\n< 9\n> 9"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (COUNTING.replace("-ge 9", "-ge 10"), "more than 3 passes"),
        (COUNTING.replace("exit 42", "exit 43"), "did not end with exit code 42"),
        ("#!/bin/sh\nln -s /etc/passwd $3/nextpass.in\nmkdir $3/nextpass.in\nexit 41\n", "did not end with"),
        ("#!/bin/sh\nmkdir $3/nextpass.in\nexit 42\n", "nextpass.in"),
    ],
)
def test_a_validator_that_breaks_the_rules_of_passes(tmp_path: Path, script: str, words: str) -> None:
    """Too many passes, or a next input without an acceptance: errors of the judge."""
    test = one(
        small(tmp_path, **{"problem.yaml": PASSES, "output_validator/run": script}), submit(tmp_path, ECHO)
    ).tests[0]
    assert test.verdict is Verdict.JE
    assert words in test.message


@pytest.mark.parametrize(("script", "verdict"), [(ECHO, Verdict.AC), ("print(input() + '0')\n", Verdict.WA)])
def test_passes_of_an_interactive_problem(tmp_path: Path, script: str, verdict: Verdict) -> None:
    """Validator and submission talk in each pass."""
    yaml = PASSES.replace("multi-pass", "[interactive, multi-pass]")
    talking = COUNTING.replace("read said", 'cat "$1"\nread said')
    grade = one(small(tmp_path, **{"problem.yaml": yaml, "output_validator/run": talking}), submit(tmp_path, script))
    assert grade.verdict is verdict
    assert grade.tests[0].got.count("---") == (2 if verdict is Verdict.AC else 0)


ANSWERS = DRAFT + "type: submit-answer\n"


@pytest.mark.parametrize(
    ("files", "verdict", "words"),
    [
        ({"sample/1.out": "7", "secret/1.ans": "8", "secret/2.out": "2"}, Verdict.AC, ""),
        ({"sample/1.out": "7", "secret/1.out": "8", "2.out": "2"}, Verdict.AC, ""),
        ({"sample/1.out": "7", "secret/1.out": "8", "2.out": "3"}, Verdict.WA, "token 1"),
        ({"sample/1.out": "7", "secret/1.out": "8"}, Verdict.WA, "no answer"),
        ({"sample/1.out": "7", "1.out": "8", "2.out": "2"}, Verdict.CE, "1.out: belongs to no test"),
        ({"sample/1.out": "7", "secret/1.out": "8", "secret/1.ans": "8"}, Verdict.CE, "another answer"),
        ({"main.py": ECHO}, Verdict.CE, "main.py: belongs to no test"),
    ],
)
def test_answers_are_handed_in(tmp_path: Path, files: dict[str, str], verdict: Verdict, words: str) -> None:
    """A directory with a file for each test; no program is run."""
    problem = small(tmp_path, **{"problem.yaml": ANSWERS, "data/secret/2.in": "", "data/secret/2.ans": "2"})
    for name, text in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    grade = one(problem, Submission(tmp_path / "in"))
    assert grade.verdict is verdict
    assert words in (grade.compiler or "".join(test.message for test in grade.tests))


def test_one_answer(tmp_path: Path) -> None:
    """To a problem of one test, a file of any name is the answer; the package's own validator looks at it in a jail."""
    validator = '#!/bin/sh\ntest "$(cat)" = "$(cat "$2")" && exit 42\nexit 43\n'
    problem = small(tmp_path, **{"problem.yaml": ANSWERS, "output_validator/run": validator})
    (tmp_path / "problem/data/sample/1.in").unlink()
    (tmp_path / "problem/data/sample/1.ans").unlink()
    problem = type(problem).load(problem.path)
    assert one(problem, submit(tmp_path, "8\n", "mine.txt")).verdict is Verdict.AC
    assert one(problem, submit(tmp_path, "9\n", "mine.txt")).verdict is Verdict.WA


#: Accepts what is right in half of the tests, with as many points as its argument says.
HALF = """#!/bin/sh
while read verdict score; do
    all=$((all + 1))
    test $verdict != AC || good=$((good + 1))
done
test $((2 * good)) -ge $all && echo "AC $1" || echo "WA 0"
"""
HALVES = {f"data/secret/{n}.{kind}": f"{n}\n" for n in (1, 2, 3, 4) for kind in ("in", "ans")}
RULES = "grading: custom\non_reject: continue\ngrader_flags: 5\n"


@pytest.mark.parametrize(
    ("most", "grader", "verdict", "words"),
    [
        (2, HALF, Verdict.AC, ""),
        (1, HALF, Verdict.WA, ""),
        (4, "#!/bin/sh\necho yes\n", Verdict.JE, "a verdict and a score"),
        (4, "#!/bin/sh\necho AC 5; exit 1\n", Verdict.JE, "exit code 1"),
        (4, "#!/bin/sh\necho AC nan\n", Verdict.JE, "a verdict and a score"),
        (4, "#!/bin/sh\necho AC 11\n", Verdict.JE, "11 points, and the package says 0 to 10"),
    ],
)
def test_a_grader_of_the_package(tmp_path: Path, most: int, grader: str, verdict: Verdict, words: str) -> None:
    """It gets a line for each test, and says what the group gets; what it cannot say is an error of the judge."""
    more = {"problem.yaml": "name: Echo\ntype: scoring\nlimits: {memory: 128, time_limit: 20}\n"}
    more |= {"data/secret/testdata.yaml": RULES + "range: 0 10\n", "graders/half/run": grader}
    submission = submit(tmp_path, f"n = int(input())\nprint(n if n in range({most} + 1) or n == 7 else 0)\n")
    grade = one(small(tmp_path, **HALVES, **more), submission, everything=True)
    secret = next(group for group in grade.groups if group.name == "secret")
    assert (secret.verdict, secret.score) == (verdict, 5.0 if verdict is Verdict.AC else 0.0)
    assert words in secret.message
    assert [test.verdict is Verdict.AC for test in grade.tests[1:]] == [n <= most for n in (1, 2, 3, 4)]


#: Accepts what is a number below its argument, and sees nothing but its own files.
BELOW = '#!/bin/sh\nread n && test "$n" -lt "$1" && test ! -e /judge && exit 42\necho too large\n'
GOOD = {
    "problem.yaml": DRAFT + "limits: {time_limit: 20, validation_time: 5}\n",
    "submissions/accepted/a.py": ECHO,
    "input_validators/below/run": BELOW,
    "data/test_group.yaml": "input_validator_args: {below: ['9']}\n",
    "data/invalid_input/large.in": "9\n",
    "data/invalid_output/wrong.in": "1\n",
    "data/invalid_output/wrong.ans": "1\n",
    "data/invalid_output/wrong.out": "2\n",
    "data/valid_output/other.in": "1\n",
    "data/valid_output/other.ans": "1\n",
    "data/valid_output/other.out": "  1\n",
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, []),
        ({"data/secret/1.yaml": "input_validator_args: ['8']\n"}, ["secret/1: input_validators/below rejects it"]),
        ({"data/secret/1.yaml": "input_validator_args: {other: ['8']}\n"}, ["secret/1: input_validators/below"]),
        ({"data/invalid_input/large.in": "3\n"}, ["invalid_input/large: no input validator rejects it"]),
        ({"data/invalid_output/wrong.out": "1\n"}, ["invalid_output/wrong.out: the output validator says AC"]),
        ({"data/valid_output/other.out": "3\n"}, ["valid_output/other.out: the output validator says WA"]),
        ({"input_validators/below/run": "#!/bin/sh\nexit 0\n"}, ["rejects it"] * 4),
        ({"input_validators/bad.c": "int main("}, ["input_validators/bad.c"]),
    ],
)
def test_the_data_of_a_package(tmp_path: Path, changed: dict[str, str], words: list[str]) -> None:
    """`verify` runs the input validators on every input, and tries the output validator; what is wrong has a name."""
    problem = small(tmp_path, **(GOOD | changed))
    with Grader(everything=True) as grader:
        found = verify(problem, grader)
    assert len(found.data) == len(words), found.data
    assert all(word in line for word, line in zip(words, found.data, strict=True))
    assert found.ok == (not words)


def test_an_input_validator_that_cannot_be_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One in a language that is not here is named, and nobody says that the package is right."""
    problem = small(tmp_path, **GOOD, **{"input_validators/grammar.ctd": "INT(1,9) NEWLINE EOF\n"})
    assert main(["verify", str(problem.path)]) == 1
    assert "? input_validators/grammar.ctd: Checktestdata" in capfd.readouterr().out
    assert main(["verify", str(problem.path), "--skip-missing"]) == 0


def test_an_input_validator_that_never_ends(tmp_path: Path) -> None:
    """It is stopped by the limits of the package, and what it looked at is not valid."""
    forever = "#!/bin/sh\nwhile :; do :; done\n"
    problem = small(
        tmp_path,
        **{
            "problem.yaml": "name: Echo\nlimits: {time_limit: 20, validation_time: 1}\n",
            "submissions/accepted/a.py": ECHO,
            "input_format_validators/forever/run": forever,
        },
    )
    with Grader(everything=True) as grader:
        found = verify(problem, grader)
    assert len(found.data) == 2
    assert "cpu time" in found.data[0]


#: Accepts what is no larger than its last argument, and says what its arguments were.
MOST = """#!/bin/sh
read said
test ! -e "$3"judgemessage.txt || exit 1
for most; do :; done
shift 3
echo "$@" >"$FEEDBACK"judgemessage.txt
test "$said" -le "$most" || exit 43
exit 42
""".replace("$FEEDBACK", "/feedback/")


@pytest.mark.parametrize(
    ("flags", "verdict", "words"),
    [
        ("", Verdict.AC, "9\n9"),
        ("output_validator_flags: {name: second, flags: '8'}\n", Verdict.AC, "9\n9 8"),
        ("output_validator_flags: {name: second, flags: '7'}\n", Verdict.WA, "9 7"),
        ("output_validator_flags: {name: first, flags: '7'}\n", Verdict.WA, "9 7"),
        ("output_validator_flags: '7'\n", Verdict.WA, "9 7"),
    ],
)
def test_several_output_validators(tmp_path: Path, flags: str, verdict: Verdict, words: str) -> None:
    """Each runs in a jail of its own, with its arguments; all have to accept (legacy)."""
    more = {"problem.yaml": "name: Echo\nlimits: {time_limit: 20}\nvalidator_flags: 9\nvalidation: custom\n"}
    more |= {"output_validators/first/run": MOST, "output_validators/second/run": MOST}
    grade = one(small(tmp_path, **more, **{"data/secret/testdata.yaml": flags}), submit(tmp_path, ECHO))
    assert (grade.verdict, grade.tests[-1].message.strip()) == (verdict, words)


@pytest.mark.parametrize(
    ("script", "verdict", "words"),
    [
        ("#!/bin/sh\nexit 1\n", Verdict.JE, "has to end with exit code 42 or 43"),
        ("#!/bin/sh\necho 2 >$3/score.txt\nexit 42\n", Verdict.JE, "different points: 2 and 3"),
        ("#!/bin/sh\necho 3 >$3/score.txt\nexit 42\n", Verdict.AC, ""),
        ("#!/bin/sh\nexit 42\n", Verdict.AC, ""),
    ],
)
def test_output_validators_that_disagree(tmp_path: Path, script: str, verdict: Verdict, words: str) -> None:
    """One that fails, and points that are not the same, are errors of the judge: no score is made of them."""
    more = {"problem.yaml": "type: scoring\nlimits: {time_limit: 20}\nvalidation: custom score\n"}
    more |= {"output_validators/first/run": "#!/bin/sh\necho 3 >$3/score.txt\nexit 42\n"}
    grade = one(small(tmp_path, **more, **{"output_validators/second/run": script}), submit(tmp_path, ECHO))
    assert (grade.verdict, grade.score) == (verdict, 6 if verdict is Verdict.AC else 0)
    assert words in grade.tests[0].message


@pytest.mark.parametrize(("script", "verdict", "talks"), [(ECHO, Verdict.AC, 2), ("print(9)\n", Verdict.WA, 1)])
def test_several_validators_that_talk(tmp_path: Path, script: str, verdict: Verdict, talks: int) -> None:
    """The submission is run anew for each, and talks with one at a time."""
    more = {"problem.yaml": "name: Echo\nlimits: {time_limit: 20}\nvalidation: custom interactive\n"}
    talking = '#!/bin/sh\ncat "$1"\nread said\ntest "$said" = "$(cat "$1")" || exit 43\nexit 42\n'
    more |= {"output_validators/first/run": talking, "output_validators/second/run": talking}
    test = one(small(tmp_path, **more), submit(tmp_path, script)).tests[0]
    assert (test.verdict, test.got.count("< 7")) == (verdict, talks)


#: Rejects a source with the word of its argument in it, and says what it was told.
WORDS = """#!/bin/sh
echo "$1 $2" >"$3"judgemessage.txt
test ! -e /judge -a ! -w . || exit 1
grep -q "$4" *.py && exit 43
exit 42
"""
STATIC = {"problem.yaml": DRAFT + "limits: {time_limit: 20}\n", "static_validator/run": WORDS}
STATIC["data/secret/test_group.yaml"] = "static_validation: {args: while}\n"


@pytest.mark.parametrize(
    ("script", "verdict"), [(ECHO, Verdict.AC), ("while True:\n    print(input())\n    break\n", Verdict.WA)]
)
def test_a_static_validator(tmp_path: Path, script: str, verdict: Verdict) -> None:
    """It looks at the source, in a jail; its test comes before those that run something, and ends the judging."""
    grade = one(small(tmp_path, **STATIC), submit(tmp_path, script))
    assert grade.verdict is verdict
    names = ["sample/1", "secret/static_validation", "secret/1"]
    assert [test.name for test in grade.tests] == (names if verdict is Verdict.AC else names[:2])
    assert (grade.tests[1].message, grade.tests[1].runs) == ("python3 main.py\n", 0)


def test_points_of_a_static_validator(tmp_path: Path) -> None:
    """It gives points as an output validator does, and whoever it rejects keeps those of the other tests."""
    more = {"problem.yaml": DRAFT + "type: scoring\nlimits: {time_limit: 20}\n"}
    more |= {"data/secret/test_group.yaml": "static_validation: {score: 40}\n"}
    half = "#!/bin/sh\ngrep -q while *.py && exit 43\necho 0.5 >$3/score_multiplier.txt\nexit 42\n"
    problem = small(tmp_path, **more, **{"static_validator/run": half})
    assert one(problem, submit(tmp_path, ECHO)).score == 80
    assert one(problem, submit(tmp_path, ECHO + "# while\n")).score == 60


def test_a_static_validator_that_fails(tmp_path: Path) -> None:
    """One that neither accepts nor rejects is an error of the judge, and one that does not compile too."""
    grade = one(small(tmp_path, **STATIC | {"static_validator/run": "#!/bin/sh\n"}), submit(tmp_path, ECHO))
    assert (grade.verdict, grade.tests[-1].message.split(":")[0]) == (Verdict.JE, "the static validator failed")
    problem = small(tmp_path, **STATIC | {"static_validator/build": "#!/bin/sh\nexit 1\n"})
    assert one(problem, submit(tmp_path, ECHO)).tests[-1].message.startswith("the static validator does not compile")


#: A language whose compiler runs code of the submission, as some do.
HOSTILE = """
[hostile]
name = "Hostile"
patterns = ["*.hostile"]
compile = ["sh", "{entry}"]
run = ["cat"]
version = ["cat", "--version"]
"""


@pytest.mark.parametrize("deed", ["tr x g <main.hostile >new; mv new main.hostile", "rm $0; mkdir $0"])
@pytest.mark.parametrize(("word", "verdict"), [("good", Verdict.AC), ("xood", Verdict.WA)])
def test_a_static_validator_sees_what_was_handed_in(tmp_path: Path, deed: str, word: str, verdict: Verdict) -> None:
    """A submission that changes its source while it is compiled is judged by what it was before."""
    (tmp_path / "more.toml").write_text(HOSTILE)
    good = "#!/bin/sh\ntest -e made || exit 1\ngrep -q good main.hostile && exit 42\nexit 43\n"
    problem = small(tmp_path, **STATIC | {"static_validator/run": good})
    submission = submit(tmp_path, f"echo >made\n{deed} # {word}\n", "main.hostile")
    assert one(problem, submission, languages=Languages(tmp_path / "more.toml")).verdict is verdict


@pytest.mark.parametrize(("there", "verdict"), [("", Verdict.CE), ("needed", Verdict.AC)])
def test_a_language_that_needs_more_than_usr(tmp_path: Path, there: str, verdict: Verdict) -> None:
    """What it names is mounted where it compiles and where it runs, to be read; without that it is not there."""
    (tmp_path / "needed").write_text("word\n")
    look = f'["sh", "-c", "grep -q word {tmp_path}/needed && ! echo >>{tmp_path}/needed && cat"]'
    (tmp_path / "more.toml").write_text(
        f'[m]\nname = "M"\npatterns = ["*.m"]\ncompile = {look}\nrun = {look}\nversion = ["true"]\n'
        f'paths = ["{tmp_path}/{there or "absent"}", "/nowhere/at/all"]\n'
    )
    grade = one(small(tmp_path), submit(tmp_path, "", "a.m"), languages=Languages(tmp_path / "more.toml"))
    assert grade.verdict is verdict, grade.compiler
    assert (tmp_path / "needed").read_text() == "word\n"
