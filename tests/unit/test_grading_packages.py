"""Problem packages: what is read, and which file and line a bad one is told of."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest

from jailkit import MiB
from jailkit.grading import PackageError, Problem, Verdict, load
from jailkit.grading._examples import matches
from jailkit.grading._model import Group

EXAMPLES = Path(__file__).parents[2] / "examples" / "problems"
AC, WA, TLE, RTE, MLE, OLE = (Verdict[name] for name in "AC WA TLE RTE MLE OLE".split())


def write(root: Path, **files: str) -> Path:
    """Write a small package; ``__`` in a name is a slash, and ``_dot_`` a dot."""
    base = {"problem.yaml": "name: Small\n", "data/secret/1.in": "1\n", "data/secret/1.ans": "1\n"}
    base |= {name.replace("__", "/").replace("_dot_", "."): text for name, text in files.items()}
    for name, text in base.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_minimal_package(tmp_path: Path) -> None:
    """Defaults are those of the format."""
    problem = Problem.load(write(tmp_path))
    assert (problem.name, problem.version, problem.scoring, problem.interactive) == ("Small", "legacy", False, False)
    assert (problem.limits.ac_to_time_limit, problem.limits.time_limit_to_tle) == (5, 2)
    assert problem.limits.memory == 2048 * MiB
    assert [test.name for test in problem.tests] == ["secret/1"]
    assert problem.examples == ()


@pytest.mark.parametrize(
    ("files", "where", "words"),
    [
        ({"problem_dot_yaml": "titles: X\n"}, "problem.yaml:1", "titles: no such key"),
        ({"problem_dot_yaml": "name: X\nlimits:\n  memory: -1\n"}, "problem.yaml:3", "-1 is not a number above 0"),
        ({"problem_dot_yaml": "name: X\nlimits:\n  memory: 1\n  memory: 2\n"}, "problem.yaml:4", "there once"),
        ({"problem_dot_yaml": "type: multi-pass\n"}, "problem.yaml:1", "no type multi-pass"),
        ({"problem_dot_yaml": "name: X\nvalidation: custom\n"}, "problem.yaml:2", "no program"),
        ({"problem_dot_yaml": "name: [\n"}, "problem.yaml:2", "no YAML"),
        ({"problem_dot_yaml": "- a\n"}, "problem.yaml:1", "no mapping"),
        ({"problem_dot_yaml": "problem_format_version: 1999\n"}, "problem.yaml:1", "not one of legacy"),
        ({"problem_dot_yaml": "name: X\nvalidator_flags: float_tolerance x\n"}, "data/secret", "float_tolerance x"),
        ({"data__testdata_dot_yaml": "\ngrader_flags: smu\n"}, "data/testdata.yaml:2", "no flag 'smu'"),
        ({"data__testdata_dot_yaml": "\non_reject: stop\n"}, "data/testdata.yaml:2", "break, continue"),
        ({"data__testdata_dot_yaml": "accept_score: 1\n"}, "data/testdata.yaml:1", "type scoring"),
        ({"data__testdata_dot_yaml": "grading: custom\n"}, "data/testdata.yaml:1", "no program in graders/"),
        ({"static_validator__a_dot_py": ""}, "static_validator", "no static validators"),
        ({"graders__a_dot_py": "", "graders__b_dot_py": ""}, "graders", "2 graders"),
        ({"problem_dot_yaml": "validation: custom\n", "output_validators__a_dot_py": "",
          "data__testdata_dot_yaml": "output_validator_flags:\n  name: b\n  flags: '1'\n"},
         "data/testdata.yaml:2", "no 'b' in output_validators/"),
        ({"data__secret__testdata_dot_yaml": "grader_flags: ignore_sample\n"}, "testdata.yaml:1", "data/"),
        ({"data__secret__2_dot_in": "\n"}, "data/secret/2.ans", "missing"),
        ({"data__secret__3_dot_ans": "\n"}, "data/secret/3.ans", "no 3.in"),
        ({"data__secret__1__1_dot_in": "", "data__secret__1__1_dot_ans": ""}, "data/secret/1", "same name"),
        ({"data__secret__test_group_dot_yaml": ""}, "secret/test_group.yaml", "testdata.yaml"),
        ({"submissions__right__a_dot_py": ""}, "submissions/right", "accepted"),
        ({"submissions__partially_accepted__a_dot_py": ""}, "partially_accepted", "type scoring"),
        ({"_dot_timelimit": "soon"}, ".timelimit:1", "number of seconds"),
    ],
)  # fmt: skip
def test_a_bad_package_is_told_of(tmp_path: Path, files: dict[str, str], where: str, words: str) -> None:
    """The error names file and line, and what is wrong there."""
    with pytest.raises(PackageError) as caught:
        load(write(tmp_path, **files))
    error = caught.value
    assert f"{error.file}:{error.line}".endswith(where) or error.file.endswith(where)
    assert words in error.problem
    assert str(error).startswith(str(tmp_path))
    same = pickle.loads(pickle.dumps(error))
    assert (same.file, same.line, same.problem, str(same)) == (error.file, error.line, error.problem, str(error))


GROUP = "data__secret__b__test_group_dot_yaml"
STATIC = {"static_validator__a_dot_py": ""}
DEEP = {"problem_dot_yaml": "type: scoring\n"} | {f"data__secret__b__c__1_dot_{kind}": "" for kind in ("in", "ans")}


@pytest.mark.parametrize(
    ("files", "where", "words"),
    [
        ({"problem_dot_yaml": "type: [multi-pass]\n"}, "problem.yaml:2", "needs a program in output_validator/"),
        ({"problem_dot_yaml": "type: [multi-pass, submit-answer]\n"}, "problem.yaml:2", "exclude each other"),
        ({"problem_dot_yaml": "limits: {validation_passes: 3}\n"}, "problem.yaml:2", "of type multi-pass"),
        ({"data__sample__a__1_dot_in": "", "data__sample__a__1_dot_ans": ""}, "data/sample/a", "no groups"),
        ({"submissions__accepted__a_dot_py": "", "submissions__submissions_dot_yaml": "a*:\n  permit: [AC]\n"},
         "submissions.yaml:2", "permit: no such key"),
        ({"data__secret__test_group_dot_in": ""}, "secret/test_group.in", "no test has this name"),
        ({"data__valid_output__1_dot_in": "", "data__valid_output__1_dot_ans": ""}, "valid_output/1.out", "missing"),
        ({"data__secret__test_group_dot_yaml": "static_validation: true\n"}, "yaml:1", "no program in static"),
        ({"problem_dot_yaml": "type: submit-answer\n", **STATIC}, "problem.yaml:2", "there is no source"),
        ({**STATIC, "data__test_group_dot_yaml": "static_validation: true\n"}, "test_group.yaml:1", "for sample"),
        ({**STATIC, GROUP: "static_validation: {args: a, points: 3}\n"}, "yaml:1", "points: no such key"),
        ({**STATIC, GROUP: "static_validation: {score: 3}\n"}, "yaml:1", "of scoring problems"),
        ({**STATIC, GROUP: "static_validation: true\n", "data__secret__b__static_validation_dot_in": "",
          "data__secret__b__static_validation_dot_ans": ""}, "b/static_validation.in", "a test of the same name"),
        ({"problem_dot_yaml": "type: scoring\n", **STATIC, GROUP: "static_validation: {score: 3}\n"}, "yaml:1",
         "each test has points"),
        ({"problem_dot_yaml": "type: scoring\n", **STATIC, "data__secret__test_group_dot_yaml":
          "static_validation: {score: 101}\n"}, "secret", "its parts have 101 points"),
        ({"problem_dot_yaml": "type: scoring\n", **STATIC, "data__secret__test_group_dot_yaml":
          "static_validation: {score: 2.5}\n"}, "secret/test_group.yaml:1", "no whole number"),
        ({"problem_dot_yaml": "type: scoring\n", GROUP: "scoring:\n  score: 2.5\n"}, "yaml:2", "no whole number"),
        ({"problem_dot_yaml": "type: scoring\n", GROUP: "scoring: {require_pass: secret/c}\n"}, "yaml:1", "neither"),
        ({"problem_dot_yaml": "type: scoring\n", GROUP: "scoring: {require_pass: secret}\n"}, "yaml:1", "not judged"),
        ({"problem_dot_yaml": "type: scoring\n", GROUP: "scoring:\n  score: unbounded\n  aggregation: sum\n"},
         "secret/b", "unbounded, and the group"),
        ({**DEEP, "data__secret__b__c__test_group_dot_yaml": "scoring: {aggregation: sum}\n"}, "b/c", "all or nothing"),
    ],
)  # fmt: skip
def test_a_bad_package_of_the_draft_is_told_of(tmp_path: Path, files: dict[str, str], where: str, words: str) -> None:
    """What the draft format forbids is an error with file and line as well."""
    base = {"data__secret__b__1_dot_in": "", "data__secret__b__1_dot_ans": ""}
    yaml = "problem_format_version: 2023-07-draft\n" + files.get("problem_dot_yaml", "name: X\n")
    with pytest.raises(PackageError) as caught:
        load(write(tmp_path, **(base | files | {"problem_dot_yaml": yaml})))
    error = caught.value
    assert f"{error.file}:{error.line}".endswith(where) or error.file.endswith(where)
    assert words in error.problem


def test_constants_stand_in_the_rules_of_groups(tmp_path: Path) -> None:
    """``{{name}}`` in a test_group.yaml is the value from problem.yaml."""
    files = {
        "problem_dot_yaml": DRAFT + "constants: {most: 40}\n",
        "data__secret__test_group_dot_yaml": "scoring: {score: '{{most}}'}\n",
    }
    problem = Problem.load(write(tmp_path, **files))
    assert [test.best for test in problem.tests] == [40]


def test_arguments_of_input_validators(tmp_path: Path) -> None:
    """They are the same for all, or by name; a test has its own, or those of the group above."""
    files = {
        "problem_dot_yaml": DRAFT,
        "data__test_group_dot_yaml": "input_validator_args: [a, b]\n",
        "data__secret__1_dot_yaml": "input_validator_args: {small: [c], large: []}\n",
        "data__secret__2_dot_in": "", "data__secret__2_dot_ans": "",
    }  # fmt: skip
    first, second = Problem.load(write(tmp_path / "draft", **files)).tests
    assert (first.input_args, second.input_args) == ((("small", ("c",)), ("large", ())), (("", ("a", "b")),))
    flags = "input_validator_flags: {name: small, flags: -n 3}\n"
    (test,) = Problem.load(write(tmp_path / "legacy", data__testdata_dot_yaml=flags)).tests
    assert test.input_args == (("small", ("-n", "3")),)


def test_ignoring_the_samples_is_for_the_root_alone(tmp_path: Path) -> None:
    """The flag is not handed down to a group without rules of its own, whose first test would not count."""
    flags = "grader_flags: ignore_sample\n"
    problem = Problem.load(write(tmp_path, data__testdata_dot_yaml=flags))
    (secret,) = problem.root.children
    assert isinstance(secret, Group)
    assert (problem.root.rules.ignore_sample, secret.rules.ignore_sample) == (True, False)


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    """A page of YAML that stands for a billion values is an error, and takes no time."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(PackageError, match="more than 100000 values"):
        load(write(tmp_path, problem_dot_yaml="\n".join(lines)))


DRAFT = "problem_format_version: 2023-07-draft\nname: X\ntype: scoring\n"


def test_points_are_shared_out(tmp_path: Path) -> None:
    """What a group of the draft format leaves over is shared by its tests and groups; too much is an error."""
    files = {
        "problem_dot_yaml": DRAFT,
        "data__secret__a__test_group_dot_yaml": "scoring:\n  score: 40\n  aggregation: sum\n",
        "data__secret__a__1_dot_in": "", "data__secret__a__1_dot_ans": "",
        "data__secret__a__2_dot_in": "", "data__secret__a__2_dot_ans": "",
        "data__secret__b__1_dot_in": "", "data__secret__b__1_dot_ans": "",
    }  # fmt: skip
    problem = Problem.load(write(tmp_path, **files))
    bests = {test.name: test.best for test in problem.tests}
    assert bests == {"secret/1": 30, "secret/a/1": 20, "secret/a/2": 20, "secret/b/1": None}
    secret = problem.root.children[-1]
    assert isinstance(secret, Group)
    assert [each.rules.best for each in secret.children if isinstance(each, Group)] == [40, 30]
    (tmp_path / "data/secret/a/test_group.yaml").write_text("scoring:\n  score: 140\n")
    with pytest.raises(PackageError, match="its parts have 140 points, and it has 100"):
        load(tmp_path)


def test_arguments_and_files_of_a_test(tmp_path: Path) -> None:
    """Command line, directory of files and validator flags come from beside the test, and from the groups above."""
    files = {
        "problem_dot_yaml": "validator_flags: case_sensitive\n",
        "data__secret__testdata_dot_yaml": "output_validator_flags: {name: default, flags: float_tolerance 1e-6}\n",
        "data__secret__1_dot_args": "-n 'two words'\n",
        "data__secret__1_dot_files__map_dot_txt": "x",
    }
    (test,) = Problem.load(write(tmp_path, **files)).tests
    assert test.args == ("-n", "two words")
    assert test.files == tmp_path / "data/secret/1.files"
    assert test.comparison is not None
    assert (test.comparison.case_sensitive, test.comparison.relative) == (True, 1e-6)


def test_expected_verdicts(tmp_path: Path) -> None:
    """Folders stand for verdicts, and submissions.yaml changes what they stand for."""
    rules = (
        "accepted/*.{c,py}:\n  use_for_time_limit: false\n"
        "wrong_answer:\n  permitted: [WA]\n  required: [WA]\n"
        "mixed/x.py:\n  secret/1:\n    permitted: [AC]\n  score: [10, 20]\n  language: python3\n"
    )
    files = {"problem_dot_yaml": DRAFT, "submissions__submissions_dot_yaml": rules}
    files |= {f"submissions__{name}_dot_py": "" for name in ("accepted__a", "wrong_answer__b", "mixed__x")}
    found = {example.name: example for example in load(write(tmp_path, **files)).examples}
    accepted, wrong, mixed = (found[name].expected for name in ("accepted/a.py", "wrong_answer/b.py", "mixed/x.py"))
    assert set(accepted[0].permitted) == {AC}
    assert accepted[1].permitted > {AC}
    assert [each.bounds for each in accepted] == ["lower", ""]
    assert len(wrong) == 1
    assert set(wrong[0].permitted) == {WA}
    assert mixed[0].score == (10.0, 20.0)
    assert mixed[1].tests == "secret/1"
    assert set(mixed[1].permitted) == {AC}
    assert found["mixed/x.py"].submission.language == "python3"


@pytest.mark.parametrize(
    ("pattern", "name", "yes"),
    [
        ("accepted", "accepted/a.py", True), ("accepted/*", "accepted/a.py", True), ("*", "accepted/a.py", True),
        ("accepted/*.c", "accepted/a.py", False), ("*/{a,b}.{py,c}", "accepted/b.c", True),
        ("secret/*-easy", "secret/1-easy/02", True), ("secret/1", "secret/10", False), ("a*", "b/a", False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, name: str, yes: bool) -> None:
    """A pattern names files and folders; a star stops at a slash."""
    assert matches(pattern, name) == yes


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_the_examples_can_be_read(path: Path) -> None:
    """The problems that come with jailkit have tests and submissions that are expected to fail."""
    problem = load(path)
    assert len(problem.examples) >= 5
    assert any(AC not in expected.required for example in problem.examples for expected in example.expected)


def test_legacy_rules(tmp_path: Path) -> None:
    """The rules of a group are those of the nearest testdata.yaml above it, as a whole."""
    files = {
        "problem_dot_yaml": "type: scoring\n",
        "data__testdata_dot_yaml": "on_reject: continue\ngrader_flags: sum first_error\n",
        "data__secret__a__testdata_dot_yaml": "grader_flags: min\naccept_score: 30\nrange: 0 30\n",
        "data__secret__a__1_dot_in": "", "data__secret__a__1_dot_ans": "",
    }  # fmt: skip
    problem = Problem.load(write(tmp_path, **files))
    (secret,) = problem.root.children
    assert isinstance(secret, Group)
    inner = next(each for each in secret.children if isinstance(each, Group))
    assert (secret.rules.stop, secret.rules.verdicts, secret.rules.best) == (False, "first_error", math.inf)
    assert (inner.rules.stop, inner.rules.aggregation, inner.rules.best) == (True, "min", 30)
    assert [test.best for test in problem.tests] == [1, 30]


def test_points_of_static_validators(tmp_path: Path) -> None:
    """What has points of its own has those; the rest of the group's is shared by its other parts."""
    two = {f"data__secret__2_dot_{kind}": "" for kind in ("in", "ans")}
    rules = "static_validation: {score: 10}\n"
    files = {"problem_dot_yaml": DRAFT, "data__secret__test_group_dot_yaml": rules}
    problem = Problem.load(write(tmp_path, **files, **two, **STATIC))
    assert [(test.name.rsplit("/")[-1], test.best) for test in problem.tests] == [
        ("static_validation", 10), ("1", 45), ("2", 45)]  # fmt: skip
    (tmp_path / "data/secret/test_group.yaml").write_text("static_validation: true\n")
    assert [test.best for test in Problem.load(tmp_path).tests] == [pytest.approx(100 / 3)] * 3
