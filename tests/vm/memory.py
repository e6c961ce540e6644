"""What has passed in which guest is remembered, for as long as what it depends on stays as it is."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["Memory", "Seen", "digests"]

SOURCES = frozenset({".py", ".c", ".h", ".sh", ".json", ".toml"})


@dataclasses.dataclass(frozen=True)
class Seen:
    """What became of one file of tests in one guest."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: int = 0
    lost: bool = False
    """The guest ended, or its time was up, before it had come to the end of the file."""

    @property
    def good(self) -> bool:
        """Whether nothing failed."""
        return not self.failed and not self.lost

    @property
    def text(self) -> str:
        """Say it in a cell of a table."""
        if self.lost:
            return "no end"
        words = {"passed": self.passed, "FAILED": self.failed, "skipped": self.skipped}
        said = ", ".join(f"{number} {word}" for word, number in words.items() if number)
        return f"{said or 'not for this caller'} ({self.seconds} s)"


class Memory:
    """Records by guest and file, in a file; without one, for this run only."""

    def __init__(self, path: str | None) -> None:
        """Read what there is; what cannot be read was never written to its end, and counts for nothing."""
        self._path = path
        self._lock = threading.Lock()
        self._kept: dict[str, dict[str, dict[str, Any]]] = {}
        if path:
            with contextlib.suppress(FileNotFoundError, ValueError):
                self._kept = json.loads(Path(path).read_text())

    def passed(self, guest: str, file: str, digest: str) -> Seen | None:
        """Return what was seen of a file that passed in this guest as it is now, or nothing."""
        kept = dict(self._kept.get(guest, {}).get(file, {}))
        if kept.pop("digest", "") != digest:
            return None
        seen = Seen(**kept)
        return seen if seen.good else None

    def keep(self, guest: str, file: str, digest: str, seen: Seen) -> None:
        """Remember it, on the disk too: whoever is interrupted goes on from here."""
        with self._lock:
            self._kept.setdefault(guest, {})[file] = {"digest": digest, **dataclasses.asdict(seen)}
            if self._path:
                os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
                Path(f"{self._path}.new").write_text(json.dumps(self._kept, indent=1, sort_keys=True))
                os.replace(f"{self._path}.new", self._path)


def digests(files: Iterable[str], sources: Iterable[str], words: Iterable[str]) -> dict[str, str]:
    """Return for each file of tests a digest of it and of all that it depends on.

    Args:
        files: Files of tests, of which none depends on another.
        sources: Directories and files with everything else.
        words: What else makes a difference, as the options of pytest.
    """
    alone = {os.path.realpath(file) for file in files}
    common = hashlib.sha256("\0".join(words).encode())
    for source in sources:
        for path in sorted(_below(source)):
            if not (path.name.startswith("test_") or os.path.realpath(path) in alone):
                common.update(f"\0{path.relative_to(source)}\0".encode() + path.read_bytes())
    found = {}
    for file in files:
        one = common.copy()
        one.update(Path(file).read_bytes())
        found[file] = one.hexdigest()
    return found


def _below(source: str) -> list[Path]:
    if os.path.isfile(source):
        return [Path(source)]
    return [path for path in Path(source).rglob("*") if path.suffix in SOURCES and path.is_file()]
