"""Reports: complete, readable by those they are for, and safe with whatever a submission wrote."""

from __future__ import annotations

import html.parser
import io
import json
from xml.etree import ElementTree as ET

import pytest
import rich.console

from jailkit.grading import Grade, GroupResult, TestResult, Verdict, to_gradescope, to_html, to_json, to_junit
from jailkit.grading._grade import excerpt
from jailkit.grading._terminal import print_grades

EVIL = "<script>alert(1)</script>\x1b[2J\x00\ud800 ]]> & \x9b31m [red]x[/red] {{ 7*7 }} '\""
SECRET = "the secret input"


def grades() -> tuple[Grade, Grade]:
    """Return a grade with everything hostile in it, and one that did not compile."""
    tests = (
        TestResult(name="sample/1", verdict=Verdict.WA, cpu=0.5, wall=0.6, memory=1 << 20, runs=1, got=EVIL, input="in",
                   message=EVIL, stderr=EVIL, score=0.0, best=10.0, hint="think"),
        TestResult(name="secret/1", verdict=Verdict.AC, cpu=9.0, wall=9.0, memory=None, runs=2, score=10.0, best=10.0,
                   input=SECRET, expected=SECRET),
        TestResult(name="secret/2", verdict=Verdict.JE, message="the validator failed", input=SECRET, expected=SECRET),
    )  # fmt: skip
    groups = (GroupResult(name="", verdict=Verdict.WA, score=10.0, best=20.0),)
    first = Grade(problem=EVIL, submission=EVIL, verdict=Verdict.WA, score=10.0, best=20.0, tests=tests, groups=groups,
                  time_limit=1.0, memory_limit=256 << 20, language="c", notes=("a note",))  # fmt: skip
    return first, Grade(problem="X", submission="b.c", verdict=Verdict.CE, compiler=f"error: {EVIL}", language="c")


def test_a_grade_survives_json() -> None:
    """What is written is what is read."""
    data = json.loads(to_json(grades()))
    assert tuple(Grade.from_dict(each) for each in data["grades"]) == grades()


def test_junit() -> None:
    """It is XML whatever a submission prints, and tells failures from judge errors."""
    root = ET.fromstring(to_junit(grades()))
    first, second = root
    assert (first.get("tests"), first.get("failures"), first.get("errors")) == ("3", "1", "1")
    assert [case.get("name") for case in second] == ["compile"]
    assert first[0][0].tag == "failure"
    assert "\\x1b[2J" in (first[0][0].text or "")
    assert len(first[1]) == 0


def test_gradescope() -> None:
    """Points and verdicts are there; of the secret tests students see neither input nor answer."""
    first, second = grades()
    data = json.loads(to_gradescope(first))
    assert data["score"] == 10
    assert [(test["status"], test.get("max_score")) for test in data["tests"]] == [
        ("failed", 10), ("passed", 10), ("failed", None),
    ]  # fmt: skip
    assert SECRET not in json.dumps(data)
    assert "think" in data["tests"][0]["output"]
    assert "error: " in json.loads(to_gradescope(second))["output"]
    assert json.loads(to_gradescope(second))["score"] == 0


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes


def test_the_page() -> None:
    """It needs no other file, runs no script, and has what a submission wrote as text only."""
    text = to_html(grades())
    page = _Tags()
    page.feed(text)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert all((value or "").startswith("#") for name, value in page.attributes if name == "href")
    assert "{{ 7*7 }}" in text.replace("&#39;", "'")
    assert "default-src 'none'" in text
    assert "width=device-width" in text
    assert page.tags.count("svg") == 4  # of the tests that ran something
    assert "9.00 s" in text
    assert to_html([])


def test_the_terminal() -> None:
    """A submission can neither steer a terminal nor write in its colours."""
    stream = io.StringIO()
    print_grades(grades(), console=rich.console.Console(file=stream, width=200, force_terminal=False))
    said = stream.getvalue()
    assert "\x1b" not in said
    assert "\x9b" not in said
    assert "[red]" in said
    assert "note: a note" in said


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"x" * 10_000, "ä".encode() * 3000])
def test_an_excerpt_is_short_text(data: bytes) -> None:
    """Whatever a program writes, a report holds a bounded piece of it."""
    assert len(excerpt(data)) < 4 * 2100
    excerpt(data).encode()
