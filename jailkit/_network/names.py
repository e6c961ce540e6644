"""The files by which jails of a pod know each other: one for each, bound over its /etc/hosts. hosts(5).

A bind is of a file, and not of its name. So each is written where it is, and never replaced by another one.
"""

from __future__ import annotations

import functools
import os
import threading

from jailkit.process import PrivateDirectory, new_name

__all__ = ["NamesFile", "names_file"]

_lock = threading.Lock()
_files = 0
_directory: PrivateDirectory | None = None


@functools.lru_cache(maxsize=2)
def _path(pid: int) -> str:
    del pid  # a process that was forked has a directory of its own
    return new_name(lent=False)


def names_file(pod: str, hostname: str) -> str:
    """Name the file of one jail; it is not made by this."""
    return f"{_path(os.getpid())}/{pod}:{hostname}"


class NamesFile:
    """One such file. The directory goes with the last of them, or with this process."""

    def __init__(self, path: str, beginning: str) -> None:
        """Make it.

        Raises:
            OSError: It cannot be made.
        """
        global _files, _directory  # noqa: PLW0603 - one for each process
        self.path, self._beginning, self._fd = path, beginning, -1
        with _lock:
            if _directory is None:
                _directory = PrivateDirectory(os.path.dirname(path), os.geteuid())
                _directory.make()
            _files += 1
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            os.fchmod(self._fd, 0o644)  # whatever the umask is: other ids read it
        except OSError:
            self.close()
            raise

    def write(self, lines: str) -> None:
        """Say who is there now. Who reads at the same moment may see a part of it; resolvers read it each time."""
        data = (self._beginning + lines).encode()
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))

    def close(self) -> None:
        """Remove it."""
        global _files, _directory  # noqa: PLW0603 - one for each process
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            os.unlink(self.path)
        with _lock:
            _files -= 1
            if _files == 0 and _directory is not None:
                _directory.remove()
                _directory = None


def _forget() -> None:
    """After a fork, in the child: all of it is the parent's."""
    global _files, _directory, _lock  # noqa: PLW0603 - the parent's lock may be held by a thread that does not exist here
    _lock = threading.Lock()
    _files, _directory = 0, None


os.register_at_fork(after_in_child=_forget)
