"""Grading of programs that nobody trusts: problem packages, verdicts, scores, reports.

It uses the public names of jailkit alone, and needs the extra ``jailkit[grading]``. `Problem.load` reads a package,
`Grader.grade` judges a submission, `verify` judges the submissions that came with the package.
"""

from jailkit.grading._assignment import Assignment
from jailkit.grading._compare import Comparison
from jailkit.grading._errors import PackageError
from jailkit.grading._grade import Grade, GroupResult, TestResult
from jailkit.grading._grader import Grader
from jailkit.grading._journal import Journal
from jailkit.grading._languages import Language, Languages
from jailkit.grading._model import (
    Example,
    Expectation,
    Group,
    Problem,
    ProblemLimits,
    Rules,
    Submission,
    Test,
    Verdict,
)
from jailkit.grading._package import load
from jailkit.grading._reports import to_gradescope, to_html, to_json, to_junit
from jailkit.grading._verify import Verification, Verified, verify

__all__ = [
    "Assignment",
    "Comparison",
    "Example",
    "Expectation",
    "Grade",
    "Grader",
    "Group",
    "GroupResult",
    "Journal",
    "Language",
    "Languages",
    "PackageError",
    "Problem",
    "ProblemLimits",
    "Rules",
    "Submission",
    "Test",
    "TestResult",
    "Verdict",
    "Verification",
    "Verified",
    "load",
    "to_gradescope",
    "to_html",
    "to_json",
    "to_junit",
    "verify",
]
