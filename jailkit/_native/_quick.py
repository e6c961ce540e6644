"""Calls that do not give the interpreter lock away.

Python gives it away around each system call on a file, and beside busy threads waits up to a switch interval for each
of them to get it back: 5 ms times eight, for a call that takes two microseconds. These calls keep it. They are for what
never waits: settings and accounts of control groups that nobody is in yet, or that are only looked at; the start of a
process, for which `subprocess` keeps it too; what a fresh socket has room for; the closing of descriptors.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
from typing import Any

from jailkit._native._ext import ffi, lib

__all__ = ["QuickFile", "address", "keeping", "make_directory", "remove_directory"]


class _Number:
    """How ctypes takes a number that cffi keeps."""

    from_param = int


_LIBC = ctypes.PyDLL(None, use_errno=True)
_open, _close, _pread, _write, _fcntl = _LIBC.open, _LIBC.close, _LIBC.pread, _LIBC.write, _LIBC.fcntl
_open.argtypes = [ctypes.c_char_p, ctypes.c_int]
_close.argtypes = [_Number]  # type: ignore[list-item]  # anything with from_param will do
_pread.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
_write.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
_mkdir, _rmdir = _LIBC.mkdir, _LIBC.rmdir
_mkdir.argtypes = [ctypes.c_char_p, ctypes.c_uint]
_rmdir.argtypes = [ctypes.c_char_p]
_fcntl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
_pread.restype = _write.restype = ctypes.c_ssize_t
# A descriptor is a number with a destructor, and both are C: a KeyboardInterrupt comes between any two steps of Python,
# also between the two of a __del__.
_cast = functools.partial(ffi.cast, "int")
_owned = functools.partial(ffi.gc, destructor=_close)
_PIECE, _END = 4096, 2048
_Buffer = ctypes.c_char * _PIECE
_KINDS = {"p": ctypes.c_void_p, "b": ctypes.c_char_p, "n": ctypes.c_uint64, "i": ctypes.c_int}


def keeping(name: str, kinds: str, returns: Any = ctypes.c_int) -> Any:
    """Return a function of the extension as one that keeps the lock.

    Args:
        name: The function.
        kinds: A letter for each argument: p for an `address`, b for bytes, n for a size, i for an int.
        returns: What it returns, as ctypes has it; None for nothing.
    """
    kind = ctypes.PYFUNCTYPE(returns, *[_KINDS[letter] for letter in kinds])
    return kind(address(ffi.addressof(lib, name)))


def address(raw: Any) -> int:
    """Return where something of cffi's is."""
    return int(ffi.cast("uintptr_t", raw))


def _failed(path: str | None = None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)


def make_directory(path: str) -> None:
    """Make a control group.

    Raises:
        OSError: The kernel refuses.
    """
    if _mkdir(os.fsencode(path), 0o777) < 0:
        raise _failed(path)


def remove_directory(path: str) -> None:
    """Remove a control group.

    Raises:
        OSError: The kernel refuses; EBUSY: somebody is in it.
    """
    if _rmdir(os.fsencode(path)) < 0:
        raise _failed(path)


class QuickFile:
    """An open file or directory; closed when it is forgotten.

    Attributes:
        fd: The descriptor, or -1.
    """

    def __init__(self, path: str, flags: int) -> None:
        """Open it.

        Raises:
            OSError: It cannot be opened.
        """
        self._held: list[Any] = []
        self.fd = -1
        name = os.fsencode(path)
        # Opened and kept in one go.
        while self._hold(_open, (name,), (flags | os.O_CLOEXEC,)) < 0:
            if ctypes.get_errno() != errno.EINTR:
                raise _failed(path)
            self._held.clear()

    def _hold(self, call: Any, *arguments: tuple[Any]) -> int:
        self._held.extend(map(_owned, map(_cast, map(call, *arguments))))
        self.fd = int(self._held[-1])
        return self.fd

    def lift(self) -> QuickFile:
        """Give it a number among those of descriptors that stay as long as a jail lives; return it."""
        high = self._hold(_fcntl, (self.fd,), (fcntl.F_DUPFD_CLOEXEC,), (lib.JK_LASTING,))
        ffi.release(self._held.pop(0 if high >= 0 else -1))
        self.fd = int(self._held[0])
        return self

    def read(self, most: int = 1 << 16) -> bytes:
        """Return what is in it, from its beginning.

        Raises:
            OSError: The kernel refuses.
        """
        buffer: Any = _Buffer()
        found: bytes = b""
        while len(found) < most:
            size = _pread(self.fd, buffer, _PIECE, len(found))
            if 0 <= size < _END:  # the kernel hands out whole lines, as many as go into a page
                return found + buffer[:size]  # type: ignore[no-any-return]
            if size < 0 and ctypes.get_errno() != errno.EINTR:
                raise _failed()
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
        self.fd = -1
        while self._held:
            ffi.release(self._held.pop())

    def forget(self) -> None:
        """Leave it open, or whatever has its number by now."""
        self.fd = -1
        for number in self._held:
            ffi.gc(number, None)
        self._held.clear()
