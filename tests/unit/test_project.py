"""The project around the code keeps its word: README, version, dependencies, and what is installed."""

from __future__ import annotations

import importlib.metadata
import os
import re
import stat
import struct
import sysconfig
import tomllib
from pathlib import Path

import pytest

import jailkit

ROOT = Path(__file__).parents[2]
SOURCE = os.environ.get("JAILKIT_SOURCE")
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text())
INSTALLED = Path(jailkit.__file__).parent
PT_INTERP = 3
PT_GNU_STACK = 0x6474E551


def distribution() -> importlib.metadata.Distribution:
    """Return jailkit as it was installed: with a list of its files, which an ``egg-info`` of a build has not."""
    (installed,) = (one for one in importlib.metadata.distributions(name="jailkit") if one.read_text("RECORD"))
    return installed


def targets() -> set[str]:
    """Return the names of the Makefile's targets."""
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_commands_in_the_pages_exist(page: str) -> None:
    """Every ``make`` command that a page names is a target."""
    named = set(re.findall(r"(?:^\s*|`|\$ )make ([a-z][a-z-]*)", (ROOT / page).read_text(), flags=re.MULTILINE))
    assert named - targets() == set()


def test_readme_names_the_two_commands() -> None:
    """A newcomer finds both, and they exist."""
    text = (ROOT / "README.md").read_text()
    assert re.search(r"^make demo\b", text, flags=re.MULTILINE)
    assert re.search(r"^make test\b", text, flags=re.MULTILINE)


def test_contributing_lists_every_target_for_people() -> None:
    """What ``make help`` prints is explained in CONTRIBUTING.md."""
    helped = re.findall(r"^\tmake ([a-z-]+)  ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert len(helped) >= 9
    assert [name for name in helped if f"`make {name}`" not in text] == []
    assert set(helped) <= targets()


def test_relative_links_lead_somewhere() -> None:
    """Links between the pages of the project are not broken."""
    for page in ("README.md", "CONTRIBUTING.md", "SECURITY.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            assert (ROOT / link).exists(), f"{page}: {link}"


def test_every_public_name_is_in_the_reference() -> None:
    """Who looks a name up finds it, and the reference names nothing that is gone."""
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    described = re.findall(r"^\.\. (?:auto(?!module)\w+|py:data):: jailkit\.(\w+)$", pages, flags=re.MULTILINE)
    assert sorted(described) == sorted(name for name in jailkit.__all__ if not name.startswith("_"))


def test_the_version_is_in_one_place() -> None:
    """pyproject.toml holds it; the installed package repeats that, and no source file does."""
    version = METADATA["project"]["version"]
    assert distribution().version == version
    code = Path(SOURCE or ROOT) / "jailkit"
    files = [path for path in code.rglob("*") if path.suffix in {".py", ".c", ".h"}]
    assert [path for path in [*files, ROOT / "docs" / "conf.py"] if version in path.read_text()] == []


def test_run_time_dependencies_are_two() -> None:
    """Cffi and attrs, nothing else; extras and groups are not run time."""
    required = distribution().requires or []
    plain = {re.split(r"[^\w-]", line)[0] for line in required if "extra ==" not in line}
    assert plain == {"attrs", "cffi"}


def test_changelog_fragments_are_well_named() -> None:
    """``<issue>.<type>.md`` with a type that towncrier knows; anything else would be lost in silence."""
    types = {entry["directory"] for entry in METADATA["tool"]["towncrier"]["type"]}
    for path in (ROOT / "changelog.d").iterdir():
        if path.name != "README.md":
            match = re.fullmatch(r"(\d+|\+[\w-]+)\.(\w+)(\.\d+)?\.md", path.name)
            assert match, path.name
            assert match[2] in types, path.name


def test_build_inputs_are_not_installed() -> None:
    """C sources and the build script are of no use at run time."""
    files = distribution().files or []
    assert files
    assert [str(file) for file in files if file.suffix in {".c", ".h"} or file.name == "_build.py"] == []


def test_the_tests_run_against_the_installed_package() -> None:
    """``make test`` names where the sources lie, and they are not what was imported."""
    if SOURCE:
        assert not INSTALLED.is_relative_to(SOURCE)
        assert not INSTALLED.is_relative_to(ROOT)
        assert list(INSTALLED.rglob("*.c")) == []
    assert (INSTALLED / "py.typed").exists()
    # One module for every Python that has the limited API; a free-threaded Python has none.
    assert sysconfig.get_config_var("Py_GIL_DISABLED") or (INSTALLED / "_native" / "_ext.abi3.so").exists()


def program_headers(data: bytes) -> list[tuple[int, int]]:
    """Return type and flags of each program header of a 64-bit little-endian ELF file (elf(5))."""
    assert data[:6] == b"\x7fELF\x02\x01"
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    return [struct.unpack_from("<II", data, offset + size * n) for n in range(count)]


def test_jailkit_init_is_an_executable_static_program() -> None:
    """PID 1 of a jail needs no loader, has no executable stack, and every user may run it but not change it."""
    path = INSTALLED / "_native" / "jailkit-init"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    headers = program_headers(path.read_bytes())
    assert PT_INTERP not in [kind for kind, _ in headers]
    assert [flags & 1 for kind, flags in headers if kind == PT_GNU_STACK] == [0]
