"""What a problem is, as frozen data: limits, tests, groups, example submissions."""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import attrs

from jailkit import GiB, KiB, MiB
from jailkit.grading._compare import Comparison

__all__ = ["Example", "Expectation", "Group", "Problem", "ProblemLimits", "Rules", "Submission", "Test", "Verdict"]


class Verdict(enum.StrEnum):
    """What became of a submission on a test, or of all of it."""

    AC = "AC"
    """Accepted."""
    WA = "WA"
    """Wrong answer: the program ended well, and its output is not right."""
    TLE = "TLE"
    """It took more processor time than the time limit, or far more time on the clock."""
    MLE = "MLE"
    """The kernel ended it because the memory limit was used up."""
    OLE = "OLE"
    """It wrote more than the output limit."""
    RTE = "RTE"
    """It crashed, or ended with an exit code other than 0."""
    CE = "CE"
    """It could not be compiled."""
    JE = "JE"
    """Judge error: ours or the package's, never the student's. It is not known whether the program is right."""


@attrs.frozen(kw_only=True)
class ProblemLimits:
    """What the package says about limits; times are seconds, sizes are bytes.

    Attributes:
        time: The time limit, or None: it is then found from the accepted example submissions.
        ac_to_time_limit: The time limit is at least this many times the slowest accepted submission.
        time_limit_to_tle: A submission is too slow for certain when it takes this many times the time limit; it is
            let run so long.
        resolution: A time limit that was found is a multiple of this.
        memory: Of everything that the submission runs, together.
        output: Of stdout and stderr together.
        code: Of all source files together.
        compile_time: Seconds for the compiler, on the clock and of processor time.
        compile_memory: Memory of the compiler.
        validation_time: Processor time of an output validator.
        validation_memory: Its memory.
        validation_output: What it may write.
        passes: How often a submission may be run on a test. More than 1 makes it a multi-pass problem: the validator
            writes the next input.
    """

    time: float | None = None
    ac_to_time_limit: float = 2.0
    time_limit_to_tle: float = 1.5
    resolution: float = 1.0
    memory: int = 2 * GiB
    output: int = 8 * MiB
    code: int = 128 * KiB
    compile_time: float = 60
    compile_memory: int = 2 * GiB
    validation_time: float = 60
    validation_memory: int = 2 * GiB
    validation_output: int = 8 * MiB
    passes: int = 1


@attrs.frozen(kw_only=True)
class Rules:
    """How the result of a group is made from those of its tests and subgroups.

    Attributes:
        scoring: Whether there are scores at all.
        aggregation: Of scores: ``sum``, ``avg``, ``min``, ``max``; ``pass-fail`` is all or nothing.
        verdicts: ``worst_error``, ``first_error`` or ``always_accept``.
        accept_if_any: One accepted test is enough.
        ignore_sample: Of the root only: its result is that of the secret tests.
        stop: Whether the tests after the first that is not accepted are left out.
        best: The highest score of the group; infinite without a bound.
        require_pass: Names of tests and groups that have to be accepted, else this group is not judged.
        least: The lowest score of the group.
        custom: Whether the package's own grader makes the result (legacy).
        flags: The arguments of that grader.
    """

    scoring: bool = False
    aggregation: Literal["sum", "avg", "min", "max", "pass-fail"] = "sum"
    verdicts: Literal["worst_error", "first_error", "always_accept"] = "worst_error"
    accept_if_any: bool = False
    ignore_sample: bool = False
    stop: bool = True
    best: float = math.inf
    require_pass: tuple[str, ...] = ()
    least: float = -math.inf
    custom: bool = False
    flags: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Test:
    """One test case.

    Attributes:
        name: Its path below ``data``, without suffix, as in ``secret/large/01``.
        input: The file that the program reads from stdin.
        answer: The file that the validator compares with.
        files: A directory whose files lie beside the program, or None.
        args: Arguments of the program.
        validator_args: Arguments of every output validator.
        named_args: Further arguments of output validators, each with the name of the validator (legacy).
        comparison: The same, read, where the validator is the default one.
        input_args: Arguments of input validators, each with the name of the validator; no name means all the others.
        best: The score when it is accepted, or None where the test has none of its own.
        least: The score when it is not.
        hint: A word for the student, from the package.
        static: Whether it looks at the source and runs nothing (2023-07-draft). Input and answer are then the file that
            says so, and the arguments those of the static validator.
    """

    name: str
    input: Path
    answer: Path
    files: Path | None = None
    args: tuple[str, ...] = ()
    validator_args: tuple[str, ...] = ()
    named_args: tuple[tuple[str, tuple[str, ...]], ...] = ()
    comparison: Comparison | None = None
    input_args: tuple[tuple[str, tuple[str, ...]], ...] = ()
    best: float | None = None
    least: float = 0.0
    hint: str = ""
    static: bool = False

    __test__ = False  # pytest takes every class of this name for its own

    @property
    def sample(self) -> bool:
        """Whether the student may see it."""
        return self.name.startswith("sample/")


@attrs.frozen(kw_only=True)
class Group:
    """A directory of tests and of further groups, in the order of their names."""

    name: str
    rules: Rules
    children: tuple[Test | Group, ...] = ()

    def tests(self) -> Iterator[Test]:
        """Yield all tests below, in order."""
        for child in self.children:
            if isinstance(child, Group):
                yield from child.tests()
            else:
                yield child


@attrs.frozen(kw_only=True)
class Expectation:
    """What is said in the package about an example submission.

    Attributes:
        tests: Pattern of the names of the tests and groups it is about; empty for all.
        permitted: Every test must have one of these verdicts.
        required: At least one test must have one of these.
        score: Lowest and highest score, or None.
        message: A piece of a validator's message that must have come.
        bounds: Whether it bounds the time limit from below (``lower``), above (``upper``) or not.
    """

    tests: str = ""
    permitted: frozenset[Verdict] = frozenset(Verdict)
    required: frozenset[Verdict] = frozenset(Verdict)
    score: tuple[float, float] | None = None
    message: str = ""
    bounds: Literal["", "lower", "upper"] = ""


@attrs.frozen
class Submission:
    """A program that was handed in: one file, or a directory.

    Attributes:
        path: Where it is.
        name: What reports call it. Default: the name of the file or directory.
        language: Code of its language, as in ``python3``. Default: by the names of its files.
        entry: The file or class that is started. Default: that of the language.
    """

    path: Path = attrs.field(converter=Path)
    name: str = attrs.field(default="", kw_only=True)
    language: str = attrs.field(default="", kw_only=True)
    entry: str = attrs.field(default="", kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Name it after its file. A name that is no text would break the reports."""
        name = self.name or self.path.name
        object.__setattr__(self, "name", os.fsencode(name).decode(errors="backslashreplace"))


@attrs.frozen(kw_only=True)
class Example:
    """A submission that came with the package, and what it is an example of."""

    submission: Submission
    expected: tuple[Expectation, ...]

    @property
    def name(self) -> str:
        """Its path below ``submissions``."""
        return self.submission.name


@attrs.frozen(kw_only=True)
class Problem:
    """A problem package, read and checked.

    Attributes:
        path: Its directory.
        name: Its title.
        version: ``legacy``, ``legacy-icpc`` or ``2023-07-draft``.
        scoring: Whether submissions get a score.
        interactive: Whether the validator talks with the submission.
        minimize: Whether a low score is the better one.
        limits: What it says about limits.
        root: The tests.
        validators: Programs that check outputs, of which each has to accept; none means the default one.
        input_validators: Programs that check inputs, for `verify`.
        trials: Inputs and outputs that the validators have to accept or reject, for `verify`. Their names begin with
            ``invalid_input``, ``invalid_output`` or ``valid_output``; an output is the file ``.out`` beside the input.
        grader: Program that makes results of groups (legacy), or None for the default one.
        static_validator: Program that looks at the source of a submission (2023-07-draft), or None.
        answers_only: Whether submissions are the answers themselves, and no programs.
        examples: Submissions that came with it.
        languages: Codes of the languages that are allowed; empty for all.
        include: Directory with files that are put beside every submission, or None.
        constants: What stands for ``{{name}}`` in programs of the package.
        writes: Whether submissions may write in their working directory.
        archive: What keeps the directory of a package that came as an archive; else None.
    """

    path: Path
    name: str
    version: str
    scoring: bool
    interactive: bool
    limits: ProblemLimits
    root: Group
    minimize: bool = False
    validators: tuple[Path, ...] = ()
    input_validators: tuple[Path, ...] = ()
    trials: tuple[Test, ...] = ()
    grader: Path | None = None
    static_validator: Path | None = None
    answers_only: bool = False
    examples: tuple[Example, ...] = ()
    languages: tuple[str, ...] = ()
    include: Path | None = None
    constants: tuple[tuple[str, str], ...] = ()
    writes: bool = False
    archive: object = attrs.field(default=None, eq=False, repr=False)

    @classmethod
    def load(cls, path: str | Path) -> Problem:
        """Read a problem package in the Kattis format, legacy or 2023-07-draft.

        Args:
            path: Its directory, or a ``.zip`` or ``.kpp`` archive of it, of at most 20,000 files and 4 GiB. An archive
                is unpacked into a temporary directory, which is removed when the problem is used no more.

        Raises:
            PackageError: It is not as the format says; the error names file and line.
            UnsupportedError: PyYAML is not installed (``jailkit[grading]``).
        """
        from jailkit.grading._package import load_problem  # noqa: PLC0415 - it makes what is described here

        return load_problem(Path(path))

    @property
    def tests(self) -> tuple[Test, ...]:
        """All tests, samples first."""
        return tuple(self.root.tests())
