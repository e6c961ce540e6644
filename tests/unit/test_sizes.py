"""Small things stay readable: bounds on modules, functions and the C code."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = Path(os.environ.get("JAILKIT_SOURCE") or ROOT)

MODULE_LINES = 400
PYTHON_FUNCTION_LINES = 40
C_FUNCTION_LINES = 40
C_LINES = 1660

PYTHON = sorted(
    path
    for folder in (SOURCE / "jailkit", ROOT / "tests", ROOT / "examples", ROOT / "benchmarks", ROOT / "docs")
    for path in folder.rglob("*.py")
    if path.relative_to(folder).parts[0] not in {"submissions", "problems", "_build"}
)
C = sorted(path for path in (SOURCE / "jailkit" / "_native").rglob("*.[ch]") if path.name != "_ext.c")


def name_of(path: Path) -> str:
    """Give a test a readable id."""
    base = SOURCE if path.is_relative_to(SOURCE) else ROOT
    return str(path.relative_to(base))


def without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """Return the statements of a function, without its docstring."""
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body


def python_functions(text: str) -> list[tuple[str, int]]:
    """Return name and length, in lines of body, of every function."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = without_docstring(node)
            found.append((node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0))
    return found


def c_functions(text: str) -> list[tuple[str, int]]:
    """Return first line and length of every function, from its head to its brace.

    A brace alone in column 0 ends a function and nothing else: those of structs and tables have more on their line.
    """
    found = []
    lines = text.splitlines()
    head = None
    for number, line in enumerate(lines):
        if re.match(r"[A-Za-z_].*\(", line) and not line.endswith(";"):
            head = number
        elif line.rstrip() == "}":
            assert head is not None, f"line {number + 1} ends a function that has no head"
            found.append((lines[head], number - head + 1))
            head = None
    return found


def test_there_is_something_to_measure() -> None:
    """A wrong path would make every other test here pass."""
    assert {"_errors.py", "__init__.py"} <= {path.name for path in PYTHON}
    assert "abi.h" in {path.name for path in C}
    assert any(c_functions(path.read_text()) for path in C)


def test_the_measures_count_right() -> None:
    """The measures see a function's body, and nothing else."""
    assert python_functions("def f():\n    '''One\n    two.'''\n    a = 1\n\n    b = 2\n") == [("f", 3)]
    assert python_functions("def f():\n    '''One.'''\n") == [("f", 0)]
    assert c_functions("struct s {\n    int a;\n};\nint f(void) {\n    return 1;\n}\n") == [("int f(void) {", 3)]
    assert c_functions("int g(void);\nint f(int a,\n      int b)\n{\n    return g();\n}\n") == [("int f(int a,", 5)]


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_python_is_small(path: Path) -> None:
    """A module is read in one sitting and a function fits on a screen."""
    text = path.read_text()
    assert len(text.splitlines()) < MODULE_LINES
    assert [(name, lines) for name, lines in python_functions(text) if lines >= PYTHON_FUNCTION_LINES] == []


@pytest.mark.parametrize("path", C, ids=name_of)
def test_c_functions_are_small(path: Path) -> None:
    """The function between clone and exec does not grow into a monster."""
    text = path.read_text()
    assert [(name, lines) for name, lines in c_functions(text) if lines > C_FUNCTION_LINES] == []


def code_lines(text: str) -> int:
    """Count lines of C that are neither blank nor comment: explaining must not cost."""
    without_comments = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return sum(bool(line.strip()) for line in without_comments.splitlines())


def test_the_c_code_is_small_in_all() -> None:
    """What runs with privileges can be audited in an afternoon: C and headers, all of it."""
    assert code_lines("int a; /* one\n two */\n\nint b;\n/* three */\n") == 2
    assert sum(code_lines(path.read_text()) for path in C) < C_LINES
