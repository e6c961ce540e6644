"""Packages that come as one file, ``.zip`` or ``.kpp``: unpacked, bounded, into a directory of their own."""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import stat
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from jailkit import GiB
from jailkit.grading._errors import PackageError

__all__ = ["Unpacked", "read_package"]

T = TypeVar("T")

_MOST_FILES = 20_000
_MOST_BYTES = 4 * GiB
_MOST_PATH = 4096
_MARKS = ("problem.yaml", "assignment.toml")
_ENCRYPTED = 1
_UNIX = 3
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
"""What zipfile raises for an archive that is damaged, or compressed or encrypted in a way that it does not know."""


class Unpacked:
    """The directory of an archive: removed when nobody refers to this any more, at the latest when Python ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="jailkit-package-"))
        self._end = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def read_package(path: Path, read: Callable[[Path], T]) -> T:
    """Read a package from its directory, or from its archive, which is unpacked and stays so while it is used.

    Raises:
        PackageError: It cannot be unpacked, or is not as its format says. The file is given as if the archive were a
            directory.
    """
    if not path.is_file():
        return read(path)
    home = Unpacked()
    top = home.path / path.stem
    top.mkdir()
    with _named(path, top):
        _unpack(path, top)
        found: Any = read(_root(top))
    made: T = attrs.evolve(found, archive=home)
    return made


@contextlib.contextmanager
def _named(path: Path, top: Path) -> Iterator[None]:
    try:
        yield
    except PackageError as error:
        if not Path(error.file).is_relative_to(top):
            raise
        raise PackageError(path / Path(error.file).relative_to(top), error.line, error.problem) from error


def _root(top: Path) -> Path:
    """Return where the package begins: the archive may hold its directory, or what is in it."""
    found = [each for each in (top, *sorted(top.iterdir())) if any((each / mark).is_file() for mark in _MARKS)]
    if len(found) != 1:
        raise PackageError(top, None, f"holds {len(found) or 'no'} packages: no directory with one problem.yaml")
    return found[0]


def _unpack(path: Path, top: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _bound(path, members)
            links = [each for each in members if _kind(each) == stat.S_IFLNK]
            for each in members:
                if _kind(each) != stat.S_IFLNK:
                    _write(archive, each, top)
            for each in links:
                _link(archive, each, top)
    except PackageError:
        raise
    except _BROKEN as error:
        raise PackageError(path, None, f"neither a directory nor a zip archive that can be read: {error}") from error


def _bound(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse what is too much before anything is written; no member has more bytes than it says it has."""
    if len(members) > _MOST_FILES or sum(each.file_size for each in members) > _MOST_BYTES:
        raise PackageError(path, None, f"more than {_MOST_FILES} files or {_MOST_BYTES >> 30} GiB")


def _kind(member: zipfile.ZipInfo) -> int:
    """Return the file type of a member, as in stat(2)."""
    own = stat.S_IFMT(member.external_attr >> 16) if member.create_system == _UNIX else 0
    return own or (stat.S_IFDIR if member.is_dir() else stat.S_IFREG)


def _place(member: str, top: Path) -> Path:
    """Return where a member belongs, with its directory made; no name leads out of the directory of the archive."""
    parts = [part for part in member.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or member.startswith("/") or "\0" in member:
        raise PackageError(top, None, f"{member!r} is no name of a file in it")
    place = top.joinpath(*parts)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, top: Path) -> None:
    place, kind = _place(member.filename, top), _kind(member)
    if kind == stat.S_IFDIR:
        place.mkdir(exist_ok=True)
        return
    if kind != stat.S_IFREG or member.flag_bits & _ENCRYPTED:
        raise PackageError(place, None, "encrypted, or neither a file nor a directory nor a link")
    mode = 0o755 if member.external_attr >> 16 & 0o100 else 0o644
    # No member replaces another, and none is written through what another one has left.
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with archive.open(member) as source, open(descriptor, "wb") as target:
        shutil.copyfileobj(source, target)


def _link(archive: zipfile.ZipFile, member: zipfile.ZipInfo, top: Path) -> None:
    """Make what a symbolic link points at appear in its place: the format has links to files of the package."""
    place = _place(member.filename, top)
    with archive.open(member) as stream:
        text = stream.read(_MOST_PATH).decode()
    target = posixpath.normpath(posixpath.join(posixpath.dirname(member.filename), text))
    source = top / target
    if ".." in source.parts or not source.is_relative_to(top) or not source.is_file():
        raise PackageError(place, None, f"a link to {target!r}, which is no file of the archive")
    os.link(source, place)
