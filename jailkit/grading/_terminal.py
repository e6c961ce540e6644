"""What a person reads in a terminal: tables and progress. The only module that imports rich."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from jailkit import MiB
from jailkit.grading._grade import Grade
from jailkit.grading._model import Verdict
from jailkit.grading._verify import Verification

__all__ = ["Live", "print_grades", "print_verification"]

_COLOURS = {Verdict.AC: "green", Verdict.JE: "magenta", Verdict.CE: "blue"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _plain(text: str, most: int = 100) -> Text:
    """Return text that neither steers the terminal nor is read as markup."""
    line = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text[:most])
    return Text(line if len(text) <= most else f"{line}…", overflow="fold")


def _verdict(verdict: Verdict) -> Text:
    return Text(verdict, style=f"bold {_COLOURS.get(verdict, 'red')}")


def _first(grade: Grade) -> str:
    """What there is to say about a grade in a line."""
    if not grade.tests:
        return next((line for line in grade.compiler.splitlines() if "error" in line), grade.compiler.split("\n")[0])
    bad = [test for test in grade.tests if test.verdict is not Verdict.AC]
    broken = [group for group in grade.groups if group.message]
    if broken:
        return f"{broken[0].name or 'all'}: {broken[0].message.splitlines()[0]}"
    if not bad:
        return ""
    return f"{bad[0].name}: {bad[0].message.splitlines()[0] if bad[0].message else bad[0].reason}"


def print_grades(grades: Sequence[Grade], *, console: Console | None = None) -> None:
    """Print a table with a line for each submission."""
    console = console or Console()
    table = Table("submission", "verdict", "score", "tests", "slowest", "memory", "first that was not accepted")
    for grade in grades:
        table.add_row(*_row(grade), _plain(_first(grade)))
    console.print(table)
    for note in dict.fromkeys(note for grade in grades for note in grade.notes):
        console.print(Text(f"note: {note}"))


def _row(grade: Grade) -> list[Text]:
    good = sum(test.verdict is Verdict.AC for test in grade.tests)
    score = "" if grade.score is None else f"{grade.score:g}" + (f"/{grade.best:g}" if grade.best is not None else "")
    memory = "" if grade.memory is None else f"{grade.memory / MiB:.0f} MiB"
    return [
        _plain(grade.submission, 60),
        _verdict(grade.verdict),
        Text(score),
        Text(f"{good}/{len(grade.tests)}"),
        Text(f"{grade.cpu:.2f} s"),
        Text(memory),
    ]


def print_verification(found: Verification, *, console: Console | None = None) -> None:
    """Print a table with a line for each example submission, and what is wrong."""
    console = console or Console()
    table = Table(
        "",
        "example",
        "verdict",
        "score",
        "tests",
        "slowest",
        "memory",
        title=f"{found.problem}, limit {found.time_limit:g} s",
    )
    for each in found.examples:
        mark = (
            Text("?", "magenta") if not each.judged else Text("✗", "bold red") if each.problems else Text("✓", "green")
        )
        table.add_row(mark, *_row(each.grade))
    console.print(table)
    for line in found.data:
        console.print(Text("✗ ", "bold red") + _plain(line, 300))
    for line in found.unchecked:
        console.print(Text("? ", "magenta") + _plain(line, 300))
    for line in found.warnings:
        console.print(Text("! ", "yellow") + _plain(line, 300))
    for each in found.examples:
        for line in each.problems:
            console.print(Text("✗ ", "bold red") + _plain(f"{each.name}: {line}", 300))
        for line in each.warnings:
            console.print(Text("! ", "yellow") + _plain(f"{each.name}: {line}", 300))
        if not each.judged:
            console.print(Text("? ", "magenta") + _plain(f"{each.name}: {each.grade.compiler}", 300))


@final
class Live:
    """A line for each submission that is being judged, while it is; nothing where stderr is no terminal."""

    def __init__(self, total: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._all = self._progress.add_task("submissions", total=total)
        self._tasks: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, submission: str, test: str, done: int, total: int) -> None:
        """Say that a test is judged. Called from any thread."""
        del test
        with self._lock:
            if submission not in self._tasks:
                self._tasks[submission] = self._progress.add_task(_plain(submission, 40).plain, total=total)
            self._progress.update(self._tasks[submission], completed=done)  # type: ignore[arg-type]

    def done(self, grade: Grade) -> None:
        """Say that a submission is."""
        with self._lock:
            self._progress.advance(self._all)
            if grade.submission in self._tasks:
                self._progress.remove_task(self._tasks.pop(grade.submission))  # type: ignore[arg-type]

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()
