"""Compiling, in a jail with limits of its own. What it leaves, the artefact, is bound read-only where it runs."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
from pathlib import Path

import attrs

from jailkit import (
    Bind,
    ClosedError,
    ExitReason,
    Jail,
    LaunchError,
    Limits,
    MiB,
    Result,
    Tmpfs,
)
from jailkit.grading._box import ENV, bounded
from jailkit.grading._languages import Language, Languages
from jailkit.grading._model import Problem, ProblemLimits, Verdict
from jailkit.grading._sources import SourceError, Sources, read_sources

__all__ = ["Built", "build_program", "build_submission"]

_PLACE = "/build"
_MOST_SAID = 16_384
_MOST_FILES = 5_000
ARTEFACT_BYTES = 256 * MiB


@attrs.frozen(kw_only=True)
class Built:
    """What came of compiling.

    Attributes:
        verdict: None when there is an artefact, else CE or JE.
        said: What the compiler said, bounded.
        path: Directory of the artefact.
        argv: How the program is started in it.
        language: What it is in, or None for a program with a ``run`` script.
        name: What it is called, of a program of the package.
        seconds: Of processor time that compiling took.
        entry: The file or class that is started.
        sources: What was compiled.
    """

    verdict: Verdict | None
    said: str = ""
    path: Path = Path()
    argv: tuple[str, ...] = ()
    language: Language | None = None
    name: str = ""
    seconds: float = 0.0
    entry: str = ""
    sources: Sources = attrs.field(default=Sources(()), repr=False)

    @property
    def env(self) -> dict[str, str]:
        """The environment it runs in."""
        return ENV | dict(self.language.env if self.language else ())

    @property
    def mounts(self) -> tuple[Bind, ...]:
        """What its language needs, beside the directory of the artefact."""
        return self.language.mounts if self.language else ()

    @property
    def address_space(self) -> bool:
        """Whether a bound on its address space makes sense."""
        return self.language is None or self.language.address_space

    def argv_at(self, place: str) -> list[str]:
        """Return how it is started from another directory than that in which its files lie."""
        return [self._at(place, word) for word in self.argv]

    def _at(self, place: str, word: str) -> str:
        if word == "." or word.startswith("./"):
            return f"{place}{word[1:]}"
        return f"{place}/{word}" if (self.path / word).is_file() else word


def build_submission(
    problem: Problem, path: Path, into: Path, languages: Languages, *, code: str = "", entry: str = "", memory: int = 0
) -> Built:
    """Compile a submission; what is wrong with it is CE, what is wrong with this machine JE."""
    limits = problem.limits
    try:
        sources = read_sources(path, most_bytes=limits.code)
        if path.is_relative_to(problem.path):  # an example of the package, where constants have no value yet
            sources = sources.substitute(problem.constants)
        if code and code not in languages:
            raise SourceError(f"no language {code}; known are {', '.join(languages.codes)}")
        language = languages[code] if code else languages.of(sources.names, allowed=problem.languages)
        if problem.include is not None:
            for folder in ("default", language.code):
                if (problem.include / folder).is_dir():
                    extra = read_sources(problem.include / folder, most_bytes=64 * MiB)
                    sources = extra.substitute(problem.constants).over(sources)
        start = language.start(sources.names, entry)
    except OSError as error:
        return Built(verdict=Verdict.JE, said=f"cannot be read: {error}")
    except ValueError as error:
        return Built(verdict=Verdict.CE, said=str(error))
    if languages.version(language) is None:
        return Built(verdict=Verdict.JE, said=_missing(language), language=language)
    return _compile(language, sources, start, into, limits, memory or limits.memory)


def _missing(language: Language) -> str:
    where = f" (Debian: {language.package})" if language.package else ""
    return f"{language.name} is not installed: {language.version[0]} does not run in a jail{where}"


def build_program(problem: Problem, path: Path, into: Path, languages: Languages) -> Built:
    """Compile a program of the package, such as a validator: by its own ``build`` and ``run``, or by its language."""
    try:
        sources = read_sources(path, most_bytes=64 * MiB).substitute(problem.constants)
        if {"build", "run"} & set(sources.names):
            return _scripted(sources, into, problem.limits)
        language = languages.of(sources.names)
        entries = {"__main__.py", "__init__.py"} <= set(sources.names)
        start = "__main__.py" if entries else language.start(sources.names)
    except (OSError, ValueError) as error:
        return Built(verdict=Verdict.JE, said=str(error))
    if languages.version(language) is None:
        return Built(verdict=Verdict.JE, said=_missing(language), language=language)
    return _compile(language, sources, start, into, problem.limits, problem.limits.validation_memory)


def _scripted(sources: Sources, into: Path, limits: ProblemLimits) -> Built:
    command = ["./build"] if "build" in sources.names else ["true"]
    verdict, said, seconds = _make(sources, command, None, into, limits)
    if verdict is None and not os.access(into / "run", os.X_OK):
        verdict, said = Verdict.JE, "there is no executable file run after building"
    return Built(verdict=verdict, said=said, path=into, argv=("./run",), seconds=seconds)


def _compile(language: Language, sources: Sources, start: str, into: Path, limits: ProblemLimits, memory: int) -> Built:
    names = language.sources(sources.names)
    command = language.command(language.compile, sources=names, entry=start, memory=limits.compile_memory)
    argv = language.command(language.run, sources=names, entry=start, memory=memory)
    verdict, said, seconds = _make(sources, command or ["true"], language, into, limits)
    return Built(
        verdict=verdict, said=said, path=into, argv=tuple(argv), language=language, seconds=seconds, entry=start,
        sources=sources,
    )  # fmt: skip


def _make(
    sources: Sources, command: list[str], language: Language | None, into: Path, limits: ProblemLimits
) -> tuple[Verdict | None, str, float]:
    try:
        return _compiled(sources, command, language, into, limits)
    except (LaunchError, ClosedError, OSError) as error:
        # One submission that could not be compiled must not end the grading of all the others.
        return Verdict.JE, f"compiling failed: {error}", 0.0


def _compiled(
    sources: Sources, command: list[str], language: Language | None, into: Path, limits: ProblemLimits
) -> tuple[Verdict | None, str, float]:
    most = bounded(
        memory=limits.compile_memory,
        cpu_seconds=limits.compile_time,
        wall_seconds=2 * limits.compile_time + 5,
        output=1 * MiB,
        processes=128,
        disk=ARTEFACT_BYTES,
        address_space=language is None or language.address_space,
    )
    mounts: list[Bind | Tmpfs] = [Tmpfs(_PLACE), *(language.mounts if language else ())]
    env = ENV | dict(language.env if language else ())
    with Jail(limits=most, mounts=mounts, cwd=_PLACE, env=env) as jail:
        folders = sorted({name.rsplit("/", 1)[0] for name in sources.names if "/" in name})
        if folders:
            jail.run(["mkdir", "-p", *folders]).check()
        for name, data in sources.files:
            jail.put(data, f"{_PLACE}/{name}", mode=0o755 if name in sources.executable else 0o644)
        result = jail.run(command, text=True)
        said = _said(result)
        if not result.ok:
            lost = result.reason in (ExitReason.LOST, ExitReason.KILLED)
            return (Verdict.JE if lost else Verdict.CE), said, result.usage.cpu
        packed = jail.run(["tar", "-cf", "-", "."], limits=Limits(output=2 * ARTEFACT_BYTES), timeout=120)
    if not packed.ok or packed.truncated:
        return Verdict.CE, f"what the compiler has made cannot be read: {packed}", result.usage.cpu
    return _unpacked(packed.stdout, into) or (None, said, result.usage.cpu)


def _said(result: Result[str]) -> str:
    text = (result.stderr + result.stdout).strip()
    if result.reason is not ExitReason.EXITED:
        text = f"compiling ended by: {result}\n{text}"
    return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}\n… ({len(text)} characters)"


def _unpacked(data: bytes, into: Path) -> tuple[Verdict, str, float] | None:
    """Write the regular files of an archive that comes from hostile hands; nothing else of it."""
    into.mkdir()
    into.chmod(0o755)  # whatever the umask says: the jail's user has to read it
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            members = list(itertools.islice(archive, _MOST_FILES + 1))
            if len(members) > _MOST_FILES or sum(member.size for member in members) > ARTEFACT_BYTES:
                return Verdict.CE, "what the compiler has made is too large", 0.0
            for member in members:
                parts = [part for part in member.name.split("/") if part not in ("", ".")]
                stream = archive.extractfile(member) if member.isreg() and parts and ".." not in parts else None
                if stream is not None:
                    _write(into, parts, stream.read(), mode=0o755 if member.mode & 0o100 else 0o644)
    except (tarfile.TarError, ValueError, OSError) as error:
        return Verdict.CE, f"what the compiler has made cannot be used: {error}", 0.0
    return None


def _write(into: Path, parts: list[str], data: bytes, *, mode: int) -> None:
    folder = into
    for part in parts[:-1]:
        folder /= part
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    descriptor = os.open(folder / parts[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
