"""Reports that a program reads: JSON, JUnit XML, Gradescope. What submissions wrote is bounded and escaped."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

from jailkit import UnsupportedError
from jailkit.grading._grade import Grade, TestResult
from jailkit.grading._model import Verdict

__all__ = ["to_gradescope", "to_html", "to_json", "to_junit"]

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold in any spelling. A submission is free to print them."""


def to_html(grades: Sequence[Grade]) -> str:
    """Return one page that needs no other file: tests and submissions, times, memory, expected and got.

    Raises:
        UnsupportedError: Jinja is not installed (``jailkit[grading]``).
    """
    try:
        page = importlib.import_module("jailkit.grading._page")
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            "HTML reports", f"the Python package {error.name} is not installed", "pip install 'jailkit[grading]'"
        ) from error
    return str(page.render(grades))


def to_json(grades: Sequence[Grade]) -> str:
    """Return everything that is known of some grades; `Grade.from_dict` reads each of them back."""
    return json.dumps({"grades": [grade.to_dict() for grade in grades]}, indent=2) + "\n"


def to_junit(grades: Sequence[Grade]) -> str:
    """Return JUnit XML: a suite for each submission, a case for each test.

    Judge errors are errors, everything else that is not accepted is a failure.
    """
    root = ET.Element("testsuites")
    for grade in grades:
        tests = grade.tests or (TestResult(name="compile", verdict=grade.verdict, message=grade.compiler),)
        suite = ET.SubElement(root, "testsuite", name=_text(grade.submission), tests=str(len(tests)))
        verdicts = [test.verdict for test in tests]
        suite.set("errors", str(verdicts.count(Verdict.JE)))
        suite.set("failures", str(len(verdicts) - verdicts.count(Verdict.JE) - verdicts.count(Verdict.AC)))
        suite.set("time", f"{sum(test.wall for test in tests):.3f}")
        for test in tests:
            _case(suite, grade, test)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, grade: Grade, test: TestResult) -> None:
    group = f"{grade.problem}.{grade.submission}"
    case = ET.SubElement(suite, "testcase", classname=_text(group), name=_text(test.name), time=f"{test.wall:.3f}")
    if test.verdict is not Verdict.AC:
        kind = "error" if test.verdict is Verdict.JE else "failure"
        element = ET.SubElement(case, kind, type=test.verdict, message=_text(test.message or test.reason))
        element.text = _text(f"expected:\n{test.expected}\ngot:\n{test.got}\nstderr:\n{test.stderr}")


def _text(text: str) -> str:
    return _NO_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def to_gradescope(grade: Grade) -> str:
    """Return the ``results.json`` that Gradescope's autograder reads.

    Inputs, answers and outputs are shown of the samples only. Of the secret tests students see name and verdict.
    """
    data: dict[str, Any] = {
        "output": _summary(grade),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "execution_time": round(sum(test.wall for test in grade.tests), 3),
        "tests": [_scope_test(test, number) for number, test in enumerate(grade.tests, 1)],
    }
    if grade.score is not None:
        data["score"] = round(grade.score, 6)
    else:
        # Without points of its own the problem is worth one: Gradescope scales it to those of the assignment.
        data["score"] = 1.0 if grade.accepted else 0.0
    return json.dumps(data, indent=2) + "\n"


def _summary(grade: Grade) -> str:
    lines = [f"{grade.problem}: {grade.verdict}"]
    if grade.verdict in (Verdict.CE, Verdict.JE) and grade.compiler:
        lines.append(grade.compiler)
    return "\n".join([*lines, *grade.notes])


def _scope_test(test: TestResult, number: int) -> dict[str, Any]:
    output = f"{test.verdict}, {test.cpu:.2f} s"
    if test.name.startswith("sample/") and test.verdict is not Verdict.AC:
        output += f"\ninput:\n{test.input}\nexpected:\n{test.expected}\ngot:\n{test.got}"
    for line in (test.team_message, test.hint):
        output += f"\n{line}" if line else ""
    data: dict[str, Any] = {
        "name": test.name,
        "number": str(number),
        "status": "passed" if test.verdict is Verdict.AC else "failed",
        "output": output,
        "output_format": "text",
        "visibility": "visible",
    }
    if test.best is not None:
        data |= {"score": test.score or 0.0, "max_score": test.best}
    return data
