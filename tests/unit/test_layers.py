"""Data flows in one direction: who may import whom."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = Path(os.environ.get("JAILKIT_SOURCE") or ROOT) / "jailkit"

# What each part may import of jailkit, at run time or for its types. WANT -> HOW -> DO -> WATCH: an arrow never
# points left, and only _jail, with the part of it that starts a jail, sees all four stages.
ALLOWED = {
    "_errors": set(),
    "_version": set(),
    "spec": {"_errors"},
    "plan": {"_errors", "spec"},
    "_janitor": set(),
    "_bus": set(),
    "_scope": {"_errors", "_bus"},
    "_cgroups": {"_errors", "_janitor", "_scope", "plan"},
    "_uplink": {"spec", "plan"},
    "_host": {"_errors", "spec", "plan", "_native", "_cgroups", "_uplink"},
    "_native": {"_errors"},
    "process": {"_errors", "_janitor", "spec", "plan", "_native"},
    "_network": {"_errors", "_janitor", "spec", "plan", "_native", "process"},
    "_launch": {"_errors", "spec", "plan", "_host", "_native", "_network", "process"},
    "_connected": {"_errors", "_launch", "spec", "process"},
    "_limited": {"spec", "_launch", "process"},
    "python": {"_errors", "spec", "process"},
    "_sessions": {"spec", "plan", "process", "_launch", "python"},
    "_doors": {"_errors", "_launch", "plan", "process"},
    "_newcomer": {"_native", "plan", "syscalls"},
    "_entering": {"_errors", "spec", "plan", "_launch", "process", "syscalls", "_doors", "_newcomer"},
    "_jail": {
        *("_errors", "spec", "plan", "_host", "_native", "process"),
        *("_launch", "_limited", "_sessions", "_connected", "_entering"),
    },
    "_executor": {"_errors", "spec", "python", "_jail"},
    "_once": {"_errors", "spec", "plan", "_launch", "_jail", "process"},
    "_options": {"spec", "process"},
    "_pool": {"_errors", "_options", "spec", "_jail", "process"},
    "aio": {"_errors", "_jail", "_launch", "_options", "_pool", "plan", "process", "python", "spec"},
    "syscalls": {"_native", "_errors"},
}
# Of some parts a neighbour may see only a little.
ONLY = {
    # Who watches is handed one decided program, and a result repeats which protections were in force; neither says
    # how that came about.
    ("process", "plan"): {"GroupPlan", "Notices", "Program", "Protection", "Setting"},
    ("aio", "plan"): {"Plan", "Protection"},
}
# Users of the library that live in its package; "" is the package itself, which re-exports.
ON_TOP = {"", "__main__", "_cli", "_doctor", "grading", "pytest_plugin"}
# Beside those of the package itself, these names are public.
PUBLIC = {"jailkit", "jailkit.aio", "jailkit.syscalls", "jailkit.grading"}
# What an extra brings, one module imports; that module is imported where it is needed.
EXTRAS = {
    "jailkit._bus": {"jeepney"},
    "jailkit._network.netlink": {"pyroute2"},
    "jailkit.aio._loop": {"anyio"},
    "jailkit.grading._yaml": {"yaml"},
    "jailkit.grading._terminal": {"rich"},
    "jailkit.grading._page": {"jinja2"},
    "jailkit.grading._suite": {"pytest"},
}
# Imported by pytest alone, by way of a module beside the package.
PLUGIN = {"pytest", "_pytest", "pytest_jailkit"}
MODULES = sorted(PACKAGE.rglob("*.py"))


PARTS = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}


def part_of(module: str) -> str:
    """Return the part that a dotted name belongs to: ``jailkit.spec.jail`` is in ``spec``."""
    return [*module.split("."), ""][1]


def name_of(path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> set[tuple[str, str]]:
    """Return module and name of everything of jailkit that is imported, wherever in the file."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            found |= {(node.module or "", alias.name) for alias in node.names}
    # `from jailkit import _host` names a module, `from jailkit import Jail` a public name.
    found = {
        (f"jailkit.{name}", "") if (module, name in PARTS) == ("jailkit", True) else (module, name)
        for module, name in found
    }
    return {(module, name) for module, name in found if module.split(".")[0] == "jailkit"}


def parse(path: Path) -> ast.Module:
    """Read one module."""
    return ast.parse(path.read_text(), filename=str(path))


def test_every_part_exists() -> None:
    """The table names real parts; a renamed one would no longer be guarded."""
    names = {part_of(name_of(path)) for path in MODULES}
    assert ALLOWED.keys() - names == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_never_point_left(path: Path) -> None:
    """A part imports only what its row in the table allows, and of another part only its public names."""
    part = part_of(name_of(path))
    if part in ON_TOP:
        return
    assert part in ALLOWED, f"{part} has no row in the table"
    for module, name in imports(parse(path)):
        target = part_of(module)
        if target == part:
            continue
        assert target in ALLOWED[part], f"{name_of(path)} must not import {module}"
        assert module == f"jailkit.{target}", f"{name_of(path)} must not look into {target}: {module}"
        assert name in ONLY.get((part, target), {name}), f"{name_of(path)} must not import {name} of {target}"


@pytest.mark.parametrize("path", [path for path in MODULES if part_of(name_of(path)) in ON_TOP - {""}], ids=name_of)
def test_what_is_on_top_uses_public_names(path: Path) -> None:
    """The command line and the doctor could live in another distribution."""
    for module, name in imports(parse(path)):
        assert module in PUBLIC or part_of(module) in ON_TOP, f"{name_of(path)} must not import {module}.{name}"


def test_grading_uses_the_public_interface_alone() -> None:
    """A grader could be written by anybody: it needs nothing that is private to jailkit."""
    for path in MODULES:
        if part_of(name_of(path)) == "grading":
            found = {module for module, _ in imports(parse(path)) if part_of(module) != "grading"}
            assert found <= {"jailkit"}, name_of(path)


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name_of)
def test_init_files_only_import(path: Path) -> None:
    """An ``__init__`` holds a docstring, imports and ``__all__``, nothing else."""
    for number, node in enumerate(parse(path).body):
        docstring = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        exports = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        allowed = docstring or exports or isinstance(node, ast.Import | ast.ImportFrom)
        assert allowed, f"line {node.lineno}: {ast.unparse(node)}"


def test_the_extension_has_one_importer() -> None:
    """The boundary to C is one package; everybody else goes through its names."""
    importers = {
        part_of(name_of(path))
        for path in MODULES
        if imports(parse(path))
        & {("jailkit._native", "_ext"), ("jailkit._native._ext", "ffi"), ("jailkit._native._ext", "lib")}
    }
    assert importers == {"_native"}


def test_nothing_is_imported_at_run_time_but_cffi_and_attrs() -> None:
    """The run-time dependencies are those that pyproject.toml names; what an extra brings has one importer."""
    import sys

    foreign = set()
    for path in MODULES:
        if path.name == "_build.py":
            continue
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Import):
                foreign |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                foreign.add((node.module or "").split(".")[0])
        foreign -= EXTRAS.get(name_of(path), set())
        if part_of(name_of(path)) == "pytest_plugin":
            foreign -= PLUGIN
    assert foreign - sys.stdlib_module_names - {"jailkit"} <= {"attrs", "cffi"}
