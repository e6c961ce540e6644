"""Grades kept on disk as soon as they are known: a run that was cut off goes on where it was (SQLite)."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import final

from jailkit.grading._assignment import Assignment
from jailkit.grading._closing import Closing
from jailkit.grading._grade import Grade
from jailkit.grading._model import Problem, Submission

__all__ = ["Journal"]

_TABLE = """
CREATE TABLE IF NOT EXISTS grades (
    key TEXT PRIMARY KEY, problem TEXT NOT NULL, submission TEXT NOT NULL, grade TEXT NOT NULL
)
"""


@final
class Journal(Closing):
    """Grades by what they are of: the contents of the package and of the submission, and the time limit.

    A changed test, a changed submission or another time limit is another key, so nothing stale comes back. Judge
    errors are not kept: they are tried again.

    Args:
        path: The file, made when it is not there. Several processes may use it at once.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._lock = threading.Lock()
        self._digests: dict[Path, str] = {}
        self._base = sqlite3.connect(path, timeout=60, check_same_thread=False)
        self._base.execute("PRAGMA journal_mode=WAL")
        with self._base:
            self._base.execute(_TABLE)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def find(self, problem: Problem | Assignment, submission: Submission, seconds: float) -> Grade | None:
        """Return the grade that is kept, or None."""
        key = self._key(problem, submission, seconds)
        with self._lock:
            row = self._base.execute("SELECT grade FROM grades WHERE key = ?", (key,)).fetchone()
        return Grade.from_dict(json.loads(row[0])) if row else None

    def keep(self, problem: Problem | Assignment, submission: Submission, seconds: float, grade: Grade) -> None:
        """Keep a grade; when this returns it is on disk."""
        row = (self._key(problem, submission, seconds), problem.name, submission.name, json.dumps(grade.to_dict()))
        with self._lock, self._base:
            self._base.execute("INSERT OR REPLACE INTO grades VALUES (?, ?, ?, ?)", row)

    def forget(self, problem: Problem | Assignment, submission: Submission, seconds: float) -> None:
        """Forget a grade, so that the submission is judged again."""
        with self._lock, self._base:
            self._base.execute("DELETE FROM grades WHERE key = ?", (self._key(problem, submission, seconds),))

    def _key(self, problem: Problem | Assignment, submission: Submission, seconds: float) -> str:
        with self._lock:
            if problem.path not in self._digests:
                self._digests[problem.path] = _digest(problem.path)
        parts = (self._digests[problem.path], _digest(submission.path), submission.name, submission.language,
                 submission.entry, repr(seconds))  # fmt: skip
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as stream:
            found.update(f"{file.relative_to(path)}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return found.hexdigest()
