"""The spec is knowledge about wishes alone: it asks neither the kernel nor the file system."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import jailkit.spec

MODULES = sorted(Path(jailkit.spec.__file__).parent.glob("*.py"))
PURE = {"__future__", "attrs", "collections", "enum", "ipaddress", "math", "os", "re", "typing", "jailkit"}
PURE_OF_OS = {"PathLike", "fsencode", "fspath"}
BUILTINS_WITH_EFFECTS = {"open", "print", "input", "exec", "eval", "__import__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_spec_module_has_no_effects(path: Path) -> None:
    """Building a spec reads and changes nothing outside it, so it means the same on every host."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= PURE
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] in PURE - {"os"}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr in PURE_OF_OS
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in BUILTINS_WITH_EFFECTS


def test_the_check_sees_every_module() -> None:
    """The modules of the spec are found where the package is installed."""
    assert {"jail", "limits", "_validate"} < {path.stem for path in MODULES}
