"""The files of a program, as they were handed in: read once, bounded, and with names that no compiler misreads."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import attrs

__all__ = ["SourceError", "Sources", "read_sources"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_MOST_FILES = 500


class SourceError(ValueError):
    """A submission cannot be compiled as it is; the fault of who handed it in."""


@attrs.frozen
class Sources:
    """Contents by relative path."""

    files: tuple[tuple[str, bytes], ...] = attrs.field(repr=False)
    executable: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """The relative paths."""
        return tuple(name for name, _ in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(len(data) for _, data in self.files)

    def over(self, base: Sources) -> Sources:
        """Return these files, and those of `base` whose names are not taken."""
        return Sources(tuple((dict(base.files) | dict(self.files)).items()), self.executable | base.executable)

    def substitute(self, constants: Sequence[tuple[str, str]]) -> Sources:
        """Put values in the place of ``{{name}}``."""
        files = list(self.files)
        for name, value in constants:
            mark, text = b"{{" + name.encode() + b"}}", value.encode()
            files = [(path, data.replace(mark, text)) for path, data in files]
        return Sources(tuple(files), self.executable)


def read_sources(path: Path, *, most_bytes: int) -> Sources:
    """Read a program: one file, or a directory. Links are not followed.

    Raises:
        SourceError: A name cannot be used, it is too large, or there is nothing.
        OSError: A file cannot be read.
    """
    entries = sorted(_walk(path)) if path.is_dir() and not path.is_symlink() else [(path.name, path)]
    if not entries:
        raise SourceError("no file")
    files, executable, left = [], set(), most_bytes
    for name, file in entries:
        if not all(_NAME.fullmatch(part) for part in name.split("/")):
            raise SourceError(f"{name!r}: a name has letters, digits and _.+- and begins with none of .+-")
        if not stat.S_ISREG(os.lstat(file).st_mode):
            raise SourceError(f"{name}: no regular file")
        # It may have been replaced meanwhile: a link is not followed, a fifo does not block.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:
            data = stream.read(left + 1)
            if os.fstat(descriptor).st_mode & 0o100:
                executable.add(name)
        left -= len(data)
        if left < 0:
            raise SourceError(f"more than {most_bytes} bytes of source")
        files.append((name, data))
    return Sources(tuple(files), frozenset(executable))


def _walk(path: Path) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for folder, folders, names in os.walk(path):
        folders[:] = [each for each in folders if each != "__pycache__" and not each.startswith(".")]
        for name in names:
            if not name.startswith("."):
                file = Path(folder, name)
                found.append((file.relative_to(path).as_posix(), file))
        if len(found) > _MOST_FILES:
            raise SourceError(f"more than {_MOST_FILES} files")
    return found
