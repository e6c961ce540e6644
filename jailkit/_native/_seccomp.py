"""Filters of system calls as the kernel takes them, compiled by libseccomp, which is loaded when it is first needed.

libseccomp knows the numbers of calls on each architecture, and makes the comparisons of arguments. In front of what it
makes stands a tree over the numbers alone, in which neighbours with the same answer are one leaf: the kernel runs a
filter once for every number when it is loaded, which is most of what a filter costs, and its own lists are longer.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from jailkit._native._shorter import shorter

__all__ = ["FilterLike", "LibraryMissingError", "call_numbers", "compile_filter"]

_LIBRARY = "libseccomp.so.2"  # 2.5 makes trees; Debian 11 and Ubuntu 20.04 have it
_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # AUDIT_ARCH_*, <linux/audit.h>

# Calls that are newer than many a libseccomp. From 424 on all architectures have the same numbers.
_NEWER = (
    "cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr"
    " lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat open_tree_attr"
    " file_getattr file_setattr"
).split()
_NUMBERS = {name: 451 + n for n, name in enumerate(_NEWER)}

_ALLOW, _LOG, _NOTIFY = 0x7FFF_0000, 0x7FFC_0000, 0x7FC0_0000  # SECCOMP_RET_*
_KILL, _ERRNO = 0x8000_0000, 0x0005_0000
_ACTIONS = {
    "allow": _ALLOW,
    "log": _LOG,
    "kill": _KILL,
    "EPERM": _ERRNO | errno.EPERM,
    "ENOSYS": _ERRNO | errno.ENOSYS,
    "watch": _NOTIFY,
}
_ACT_BADARCH, _CTL_OPTIMIZE = 2, 8  # enum scmp_filter_attr
_EQUAL, _MASKED_EQUAL = 4, 7  # enum scmp_compare

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter
_LOAD, _JUMP, _JUMP_EQ, _JUMP_GE, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_FAR = 255  # a conditional jump goes no further


class LibraryMissingError(Exception):
    """There is no libseccomp here, or it knows less than is asked for."""


class _Compare(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class TestLike(Protocol):
    """A comparison of one argument."""

    @property
    def argument(self) -> int: ...
    @property
    def value(self) -> int: ...
    @property
    def mask(self) -> int: ...


class ConditionLike(Protocol):
    """What is done about a call with certain arguments."""

    @property
    def call(self) -> str: ...
    @property
    def tests(self) -> Sequence[TestLike]: ...
    @property
    def action(self) -> str: ...


class FilterLike(Protocol):
    """What the compiler reads of a filter."""

    @property
    def actions(self) -> Sequence[tuple[str, str]]: ...
    @property
    def conditions(self) -> Sequence[ConditionLike]: ...
    @property
    def otherwise(self) -> str: ...
    @property
    def reported(self) -> bool: ...


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError as error:
        raise LibraryMissingError(str(error)) from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    for name in ("seccomp_arch_add", "seccomp_arch_remove"):
        getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    return library


class _Context:
    """One filter in the making."""

    def __init__(self, architecture: int, default: int, *, native: bool) -> None:
        self._native = native
        self._architecture = architecture
        self._library = _library()
        self._context = self._library.seccomp_init(default)
        if not self._context:
            raise MemoryError
        self._call("attr_set", _ACT_BADARCH, _KILL)
        if not native:
            self._call("arch_add", architecture)
            self._call("arch_remove", _ARCHITECTURES[platform.machine()])

    def _call(self, name: str, *arguments: Any) -> None:
        result = getattr(self._library, f"seccomp_{name}")(self._context, *arguments)
        if result < 0:
            raise LibraryMissingError(f"seccomp_{name}: {os.strerror(-result)}")

    def number(self, call: str) -> int | None:
        """Return the number of a call; None for one that the architecture lacks."""
        there = self._library.seccomp_syscall_resolve_name_arch(self._architecture, call.encode())
        return int(there) if there >= 0 else _NUMBERS.get(call) if self._native else None

    def rule(self, call: str, action: int, tests: Sequence[TestLike] = ()) -> None:
        """Add one rule; of the same call and the same action, any may hold."""
        number = self.number(call)
        if number is None:
            return
        if not self._native:  # the library wants its own name for it, and knows it
            number = self._library.seccomp_syscall_resolve_name(call.encode())
        words = (_Compare * len(tests))(*(_Compare(*_comparison(test)) for test in tests))
        self._call("rule_add_array", action, number, len(tests), ctypes.addressof(words) if tests else None)

    def export(self) -> bytes:
        """Return the program, and forget the rest."""
        # An older library knows no trees; a linear filter does the same, slower.
        self._library.seccomp_attr_set(self._context, _CTL_OPTIMIZE, 2)
        file = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            self._call("export_bpf", file)
            return os.pread(file, 1 << 20, 0)
        finally:
            os.close(file)
            self._library.seccomp_release(self._context)


def _comparison(test: TestLike) -> tuple[int, int, int, int]:
    if test.mask == 2**64 - 1:
        return test.argument, _EQUAL, test.value, 0
    return test.argument, _MASKED_EQUAL, test.mask, test.value


_Code = list[tuple[int, int, int, int]]
_Leaves = Sequence[tuple[int, str]]
"""First numbers, rising, and what is done from there to the next."""


def _tree(leaves: _Leaves, ends: dict[str, int], after: int) -> _Code:
    """Make the search for the leaf of a number.

    `ends` says how many instructions behind the whole tree the checks of arguments begin, `after` how many instructions
    of it follow this part.
    """
    if len(leaves) == 1:
        action = leaves[0][1]
        return [(_JUMP, 0, 0, after + ends[action]) if action in ends else (_RETURN, 0, 0, _ACTIONS[action])]
    middle = len(leaves) // 2
    above = _tree(leaves[middle:], ends, after)
    below = _tree(leaves[:middle], ends, after + len(above))
    if len(below) <= _FAR:
        return [(_JUMP_GE, len(below), 0, leaves[middle][0]), *below, *above]
    return [(_JUMP_GE, 0, 1, leaves[middle][0]), (_JUMP, 0, 0, len(below)), *below, *above]


def _leaves(actions: dict[int, str], otherwise: str) -> _Leaves:
    """Join neighbours. A number that is no call of the table gets, as a rule, ENOSYS, as from a kernel that lacks it.

    A call that came later can be a way around what is refused; libc expects ENOSYS then, and uses the older call.
    """
    found: list[tuple[int, str]] = []
    for number in range(max(actions, default=0) + 2):  # the last leaf has no end
        action = actions.get(number, otherwise)
        if not found or found[-1][1] != action:
            found.append((number, action))
    return found


@functools.lru_cache(maxsize=64)
def compile_filter(wanted: FilterLike, machine: str = "") -> bytes:
    """Compile a filter; return it as an array of ``struct sock_filter``.

    Args:
        wanted: The filter.
        machine: ``x86_64`` or ``aarch64``; by default this one.

    Raises:
        LibraryMissingError: There is no libseccomp here.
    """
    architecture = _ARCHITECTURES[machine or platform.machine()]
    native = architecture == _ARCHITECTURES.get(platform.machine())
    # One for calls that are refused unless a condition holds, one for the others: libseccomp has one default for all.
    checks = {"EPERM": _Context(architecture, _ACTIONS["allow"], native=native)}
    checks["allow"] = _Context(architecture, _ACTIONS["EPERM"], native=native)
    kind = {}
    for condition in wanted.conditions:
        checks[condition.action].rule(condition.call, _ACTIONS[condition.action], condition.tests)
        kind[condition.call] = f"check {condition.action}"
    numbers = {checks["allow"].number(name): kind.get(name, action) for name, action in wanted.actions}
    leaves = _leaves({number: action for number, action in numbers.items() if number is not None}, wanted.otherwise)
    unless, only = (
        checks[action].export() if f"check {action}" in kind.values() else b"" for action in ("EPERM", "allow")
    )
    tree = _tree(leaves, {"check EPERM": 0, "check allow": len(unless) // _INSTRUCTION.size}, 0)
    # A number of another architecture means another call. It ends the process: nothing else says what happened.
    head = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQ, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    code = b"".join(_INSTRUCTION.pack(*one) for one in (*head, *tree)) + unless + only
    code = shorter(code, head=len(head), architecture=architecture)
    return _reporting(code) if wanted.reported else code


def _reporting(code: bytes) -> bytes:
    """Put the listener in the place of EPERM. libseccomp takes no such default, for fear of a listener's own calls."""
    refusal = _INSTRUCTION.pack(_RETURN, 0, 0, _ACTIONS["EPERM"])
    notice = _INSTRUCTION.pack(_RETURN, 0, 0, _NOTIFY)
    size = _INSTRUCTION.size
    parts = [code[at : at + size] for at in range(0, len(code), size)]
    return b"".join(notice if part == refusal else part for part in parts)


def call_numbers(names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of calls on this machine, of those that it has.

    Raises:
        LibraryMissingError: There is no libseccomp here.
    """
    machine = platform.machine()
    found = {
        name: _library().seccomp_syscall_resolve_name_arch(_ARCHITECTURES[machine], name.encode()) for name in names
    }
    found = {name: number if number >= 0 else _NUMBERS.get(name, -1) for name, number in found.items()}
    return {name: number for name, number in found.items() if number >= 0}
