"""The one directory that a jail without namespaces may write to: made, and removed whatever is in it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
import threading

from jailkit._janitor import keeper

__all__ = ["PrivateDirectory", "PrivateError", "new_name"]

_PREFIX = "jailkit-files-"

# When the host program is gone, however it ended, its jails are dead within a moment; what they wrote is removed then.
# No chmod as root, who needs none, and whom a link in the wrong place could fool.
_SCRIPT = """
read -r line <&3
tries=0
while [ $tries -lt 50 ]; do
    left=0
    for path in "$1"*; do
        [ -d "$path" ] || continue
        rm -rf "$path"
        [ -d "$path" ] || continue
        left=1
        [ $tries -gt 5 ] && [ "$(id -u)" != 0 ] && chmod -R u+rwx "$path"
    done
    [ $left = 0 ] && exit 0
    tries=$((tries + 1))
    sleep 0.1
done
"""

_lock = threading.Lock()
_pipes: dict[str, int] = {}


class PrivateError(OSError):
    """The directory could not be made."""


def new_name(*, lent: bool) -> str:
    """Return the name of a directory that does not exist yet, below one that a lent id can pass through."""
    places = (tempfile.gettempdir(), "/tmp", "/var/tmp") if lent else (tempfile.gettempdir(),)  # noqa: S108 - mkdir(2)
    place = next((place for place in places if not lent or _open_to_all(place)), places[0])
    return f"{_beginning(place)}{secrets.token_hex(8)}"


def _open_to_all(path: str) -> bool:
    with contextlib.suppress(OSError):
        while os.stat(path).st_mode & stat.S_IXOTH:
            if path == "/":
                return True
            path = os.path.dirname(os.path.abspath(path))
    return False


def _beginning(directory: str) -> str:
    return f"{os.path.abspath(directory)}/{_PREFIX}{os.getpid()}-"


class PrivateDirectory:
    """A directory of one jail, for its user alone."""

    def __init__(self, path: str, owner: int) -> None:
        """Make nothing yet."""
        self.path = path
        self._owner = owner
        self._made = False

    def make(self) -> None:
        """Make it, and see to it that it goes when this process does.

        Raises:
            PrivateError: It cannot be made.
        """
        try:
            _look_after(os.path.dirname(self.path))
            os.mkdir(self.path, 0o700)
            self._made = True
            if self._owner != os.geteuid():
                os.chown(self.path, self._owner, self._owner, follow_symlinks=False)
        except OSError as error:
            self.remove()
            raise PrivateError(error.errno, error.strerror, self.path) from error

    def remove(self) -> None:
        """Remove it with all that is in it; nothing of the jail lives any more. Safe to call again."""
        if self._made:
            self._made = False
            _remove_tree(self.path)

    def disown(self) -> None:
        """After a fork, in the child: it is the parent's."""
        self._made = False


def _remove_tree(path: str) -> None:
    """Remove a tree of any depth with two descriptors: what is in a directory is moved up before it is removed."""
    with contextlib.suppress(OSError):
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            number = 0
            while names := _empty(top):
                for name in names:
                    number = _flatten(top, name, number)
        finally:
            os.close(top)
        os.rmdir(path)


def _empty(directory: int) -> list[str]:
    """Unlink all but directories; return the names of these."""
    found = []
    with os.scandir(directory) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in names:
        if is_directory:
            found.append(name)
        else:
            os.unlink(name, dir_fd=directory)
    return found


def _flatten(top: int, name: str, number: int) -> int:
    """Remove one directory of the top, after its own directories were moved there; return the next free number."""
    os.chmod(name, stat.S_IRWXU, dir_fd=top)  # which its owner may have taken from himself
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:
        for inner in _empty(fd):
            os.chmod(inner, stat.S_IRWXU, dir_fd=fd)  # to be moved it must be writable itself
            number = _move(fd, inner, top, number)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=top)
    return number


def _move(fd: int, name: str, top: int, number: int) -> int:
    while True:
        number += 1
        try:
            os.rename(name, f"{number}", src_dir_fd=fd, dst_dir_fd=top)
        except OSError as error:  # a name that the jail has taken
            if not isinstance(error, FileExistsError | NotADirectoryError) and error.errno != errno.ENOTEMPTY:
                raise
        else:
            return number


def _look_after(directory: str) -> None:
    """Have our directories there removed when this process is gone."""
    with _lock:
        if directory not in _pipes:
            pipe = keeper(_SCRIPT, _beginning(directory))
            if (
                pipe >= 0
            ):  # without it, a program that is killed leaves an empty directory or a full one, and no process
                _pipes[directory] = pipe


def _forget() -> None:
    """After a fork, in the child: its directories have its own number, and later a shell of their own."""
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that does not exist here
    _lock = threading.Lock()
    for fd in _pipes.values():
        os.close(fd)
    _pipes.clear()


os.register_at_fork(after_in_child=_forget)
