"""Languages as data: which one a submission is in, and whether it is installed."""

from __future__ import annotations

import fnmatch
import importlib.resources
import os
import threading
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

import jailkit
from jailkit import Bind, CommandNotExecutable, CommandNotFound, Limits
from jailkit.grading._errors import PackageError

__all__ = ["Language", "Languages"]

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")


@attrs.frozen(kw_only=True)
class Language:
    """One programming language.

    Attributes:
        code: What the package format calls it, as in ``python3``.
        name: What people call it.
        patterns: Which files are its sources.
        run: The command that starts a program, with words in braces (see ``languages.toml``).
        version: The command that tells the version.
        compile: The command that compiles; empty for none.
        entry: The default for ``{entry}``.
        class_name: Whether ``{entry}`` is a class, and not a file.
        package: The Debian packages that bring it.
        address_space: Whether a bound on its address space makes sense.
        env: Variables for compiling and running.
        paths: Files and directories outside of ``/usr`` that its tools read; what is there is mounted read-only.
    """

    code: str
    name: str
    patterns: tuple[str, ...]
    run: tuple[str, ...]
    version: tuple[str, ...]
    compile: tuple[str, ...] = ()
    entry: str = ""
    class_name: bool = False
    package: str = ""
    address_space: bool = True
    env: tuple[tuple[str, str], ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def mounts(self) -> tuple[Bind, ...]:
        """What has to be mounted wherever it compiles or runs something."""
        return tuple(Bind(os.path.realpath(path), path) for path in self.paths if os.path.exists(path))

    def sources(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those names of files that are sources of this language."""
        return tuple(name for name in names if any(fnmatch.fnmatchcase(name.rsplit("/")[-1], p) for p in self.patterns))

    def start(self, names: Iterable[str], wanted: str = "") -> str:
        """Return what ``{entry}`` stands for.

        Raises:
            ValueError: It cannot be told which of the files it is.
        """
        sources = self.sources(names)
        if wanted or self.class_name:
            return wanted or _class(sources, self.entry)
        if len(sources) == 1:
            return sources[0]
        mains = [name for name in sources if name == self.entry or name.split("/")[-1].split(".")[0] == "main"]
        if len(mains) != 1 and not any("{entry}" in word for word in (*self.compile, *self.run)):
            return sources[0]  # whoever links all files has no need to know
        if len(mains) != 1:
            raise ValueError(f"{len(sources)} files of {self.name}, and none is the one named main")
        return mains[0]

    def command(self, words: tuple[str, ...], *, sources: tuple[str, ...], entry: str, memory: int) -> list[str]:
        """Fill the words in braces of one of the commands."""
        values = {"entry": entry, "memory": str(memory >> 20)}
        found: list[str] = []
        for word in words:
            found += sources if word == "{sources}" else [_filled(word, values)]
        return found


def _class(sources: tuple[str, ...], default: str) -> str:
    """A program of one file is named after it, whatever that is; of several, the class is Main."""
    return sources[0].split("/")[-1].rsplit(".", 1)[0] if len(sources) == 1 and default == "Main" else default


def _filled(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


class Languages:
    """A table of languages.

    Args:
        path: A TOML file whose tables are added to the built-in ones, or replace them.

    Raises:
        PackageError: The file is not as it must be.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, str | None] = {}
        with importlib.resources.as_file(importlib.resources.files("jailkit.grading") / "languages.toml") as file:
            self._table = _read(file)
        if path is not None:
            self._table |= _read(Path(path))

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all languages."""
        return tuple(self._table)

    def __getitem__(self, code: str) -> Language:
        return self._table[code]

    def __contains__(self, code: str) -> bool:
        return code in self._table

    def of(self, names: Iterable[str], *, allowed: Iterable[str] = ()) -> Language:
        """Return the language of a submission by the names of its files.

        Raises:
            ValueError: None, or more than one, can be meant.
        """
        names = tuple(names)
        counts = {code: len(self._table[code].sources(names)) for code in self._table}
        best = max(counts.values(), default=0)
        found = [code for code, count in counts.items() if count and count == best]
        if len(found) != 1:
            which = " or ".join(found) if found else "none that is known"
            raise ValueError(f"the language cannot be told by the names of the files: {which}")
        allowed = tuple(allowed)
        if allowed and found[0] not in allowed:
            raise ValueError(f"{self._table[found[0]].name} is not allowed here; allowed: {', '.join(allowed)}")
        return self._table[found[0]]

    def version(self, language: Language) -> str | None:
        """Return the first line that its version command prints in a jail; None where it is not installed.

        Found out once. A language that is outside of ``/usr`` of the host is not in a jail, and so not installed.
        """
        with self._lock:
            if language.code not in self._versions:
                self._versions[language.code] = _ask(language)
            return self._versions[language.code]


def _ask(language: Language) -> str | None:
    limits = Limits(cpu_seconds=60, wall_seconds=120, output=65536)
    try:
        result = jailkit.run(
            language.version, limits=limits, mounts=language.mounts, env=dict(language.env), text=True,
            stderr=jailkit.STDOUT,
        )  # fmt: skip
    except (CommandNotFound, CommandNotExecutable):
        return None
    return next((line.strip() for line in result.stdout.splitlines() if line.strip()), "?") if result.ok else None


def _read(path: Path) -> dict[str, Language]:
    try:
        data = tomllib.loads(path.read_bytes().decode())
    except (OSError, ValueError) as error:
        raise PackageError(path, None, f"no table of languages: {error}") from error
    return {code: _language(path, code, table) for code, table in data.items()}


def _language(path: Path, code: str, table: Any) -> Language:
    fields = {field.name for field in attrs.fields(Language)} - {"code"}
    if not isinstance(table, dict) or table.keys() - fields or {"name", "patterns", "run", "version"} - table.keys():
        raise PackageError(
            path, None, f"{code}: needs name, patterns, run, version; may have {', '.join(sorted(fields))}"
        )
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    values["env"] = tuple(dict(values.get("env", ())).items())
    return Language(code=code, **values)
