"""What is wrong with a problem package, said with file and line."""

from __future__ import annotations

import os
from typing import Any

from jailkit import JailkitError

__all__ = ["PackageError"]


class PackageError(JailkitError, ValueError):
    """A problem package, an assignment or a table of languages is not as its format says.

    Attributes:
        file: The file or directory that is wrong.
        line: The line in it, counted from 1; None where the file as a whole is meant, or is missing.
        problem: What is wrong with it, in words.
    """

    def __init__(self, file: str | os.PathLike[str], line: int | None, problem: str) -> None:
        self.file = os.fspath(file)
        self.line = line
        self.problem = problem
        super().__init__(f"{self.file}:{line}: {problem}" if line else f"{self.file}: {problem}")

    def _arguments(self) -> dict[str, Any]:
        return {"file": self.file, "line": self.line, "problem": self.problem}
