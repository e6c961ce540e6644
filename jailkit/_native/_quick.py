"""Files of a few bytes that the kernel makes up, without giving the interpreter lock away.

Python gives it away around each system call on a file, and beside busy threads waits up to a switch interval for each
of them to get it back: 5 ms times eight, for a call that takes two microseconds. These calls keep it. They are for what
never waits: settings and accounts of control groups that nobody is in yet, or that are only looked at.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
from typing import Any

from jailkit._native._ext import ffi, lib

__all__ = ["QuickFile"]


class _Number:
    """How ctypes takes a number that cffi keeps."""

    from_param = int


_LIBC = ctypes.PyDLL(None, use_errno=True)
_open, _close, _pread, _write, _fcntl = _LIBC.open, _LIBC.close, _LIBC.pread, _LIBC.write, _LIBC.fcntl
_open.argtypes = [ctypes.c_char_p, ctypes.c_int]
_close.argtypes = [_Number]  # type: ignore[list-item]  # anything with from_param will do
_pread.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
_write.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
_fcntl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
_pread.restype = _write.restype = ctypes.c_ssize_t
# A descriptor is a number with a destructor, and both are C: a KeyboardInterrupt comes between any two steps of Python,
# also between the two of a __del__.
_cast = functools.partial(ffi.cast, "int")
_owned = functools.partial(ffi.gc, destructor=_close)
_PIECE, _END = 4096, 2048
_Buffer = ctypes.c_char * _PIECE


def _failed(path: str | None = None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)


class QuickFile:
    """An open file or directory; closed when it is forgotten."""

    def __init__(self, path: str, flags: int) -> None:
        """Open it.

        Raises:
            OSError: It cannot be opened.
        """
        self._held: list[Any] = []
        name = os.fsencode(path)
        while self.fd < 0:
            self._held.clear()
            # Opened and kept in one go.
            self._hold(_open, (name,), (flags | os.O_CLOEXEC,))
            if self.fd < 0 and ctypes.get_errno() != errno.EINTR:
                raise _failed(path)

    def _hold(self, call: Any, *arguments: tuple[Any]) -> None:
        self._held.extend(map(_owned, map(_cast, map(call, *arguments))))

    def lift(self) -> QuickFile:
        """Give it a number among those of descriptors that stay as long as a jail lives; return it."""
        self._hold(_fcntl, (self.fd,), (fcntl.F_DUPFD_CLOEXEC,), (lib.JK_LASTING,))
        ffi.release(self._held.pop(0 if int(self._held[-1]) >= 0 else -1))
        return self

    @property
    def fd(self) -> int:
        """The descriptor, or -1."""
        return int(self._held[0]) if self._held else -1

    def read(self, most: int = 1 << 16) -> bytes:
        """Return what is in it, from its beginning.

        Raises:
            OSError: The kernel refuses.
        """
        buffer: Any = _Buffer()
        found: bytes = b""
        fd = self.fd
        while len(found) < most:
            size = _pread(fd, buffer, _PIECE, len(found))
            if size < 0 and ctypes.get_errno() != errno.EINTR:
                raise _failed()
            if 0 <= size < _END:  # the kernel hands out whole lines, as many as go into a page
                found += buffer[:size]
                break
            found += buffer[: max(size, 0)]
        return found

    def write(self, data: bytes) -> None:
        """Write, in one go.

        Raises:
            OSError: The kernel refuses.
        """
        while _write(self.fd, data, len(data)) < 0:
            if ctypes.get_errno() != errno.EINTR:
                raise _failed()

    def close(self) -> None:
        """Close it. Safe to call again."""
        while self._held:
            ffi.release(self._held.pop())

    def forget(self) -> None:
        """Leave it open, or whatever has its number by now."""
        for number in self._held:
            ffi.gc(number, None)
        self._held.clear()
