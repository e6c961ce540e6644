"""Plans and requests as the bytes of ``abi.h``."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Protocol

from jailkit._native._ext import ffi, lib

__all__ = ["RequestLike", "StepLike", "encode_plan", "encode_request"]

_STEP = struct.Struct("<IIiiIIIIQQ")
_PLAN = struct.Struct("<IIII")
_REQUEST = struct.Struct("<12I32I")
_RLIMIT = struct.Struct("<IIQQ")
_OPS = {name.removeprefix("JK_OP_").lower(): value for value, name in ffi.typeof("enum jk_op").elements.items()}

if (_STEP.size, _PLAN.size) != (ffi.sizeof("struct jk_step"), ffi.sizeof("struct jk_plan")):
    raise ImportError("jailkit._native._ext was built from another abi.h")
if _REQUEST.size + lib.JK_RLIMITS * _RLIMIT.size != ffi.sizeof("struct jk_request"):
    raise ImportError("jailkit._native._ext was built from another abi.h")


class StepLike(Protocol):
    """What the encoder reads of a step: names of descriptors, names of constants."""

    @property
    def op(self) -> str: ...
    @property
    def slot(self) -> str | None: ...
    @property
    def at(self) -> str | None: ...
    @property
    def path(self) -> str: ...
    @property
    def text(self) -> bytes: ...
    @property
    def flags(self) -> int | tuple[str, ...]: ...
    @property
    def value(self) -> int | tuple[str, ...]: ...
    @property
    def optional(self) -> bool: ...
    @property
    def keep(self) -> bool: ...


def _number(value: int | tuple[str, ...]) -> int:
    return value if isinstance(value, int) else _bits(value)


def _bits(names: Iterable[str]) -> int:
    """Join constants by "or"; "-NAME" goes to the high half, and a capability stands for its bit."""
    result = 0
    for name in names:
        number = int(getattr(lib, name.removeprefix("-")))
        result |= 1 << number if name.startswith("CAP_") else number << (32 if name.startswith("-") else 0)
    return result


class _Strings:
    """The bytes behind the steps; equal ones are kept once, and offset 0 means none."""

    def __init__(self, offset: int) -> None:
        self._base = offset
        self._offsets: dict[bytes, int] = {b"": offset}
        self.data = bytearray(b"\0")

    def add(self, text: bytes) -> int:
        if text not in self._offsets:
            self.data += b"\0" * (-len(self.data) % 8)  # maps are read as they lie
            self._offsets[text] = self._base + len(self.data)
            self.data += text + b"\0"
        return self._offsets[text]


def encode_plan(host_steps: Sequence[StepLike], jail_steps: Sequence[StepLike]) -> bytes:
    """Turn the steps of a plan into bytes; names of descriptors become slot numbers.

    Raises:
        ValueError: The plan names more descriptors than there are slots.
    """
    steps = [*host_steps, *jail_steps]
    slots: dict[str | None, int] = {None: lib.JK_NONE}
    strings = _Strings(_PLAN.size + len(steps) * _STEP.size)
    encoded = bytearray()
    for step in steps:
        slot, at = (slots.setdefault(name, len(slots) - 1) for name in (step.slot, step.at))
        encoded += _STEP.pack(
            _OPS[step.op],
            (lib.JK_STEP_OPTIONAL if step.optional else 0) | (lib.JK_STEP_KEEP if step.keep else 0),
            slot,
            at,
            strings.add(step.path.encode("utf-8", "surrogateescape")) if step.path or step.op != "fsconfig" else 0,
            strings.add(step.text) if step.text else 0,
            len(step.text),
            0,
            _number(step.flags),
            _number(step.value),
        )
    if len(slots) - 1 > lib.JK_SLOTS:
        raise ValueError(f"a plan may name {lib.JK_SLOTS} descriptors, this one names {len(slots) - 1}")
    size = _PLAN.size + len(encoded) + len(strings.data)
    return _PLAN.pack(lib.JK_ABI, size, len(host_steps), len(jail_steps)) + encoded + strings.data


class RequestLike(Protocol):
    """What the encoder reads of a program, decided: the fields of ``struct jk_request``."""

    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def groups(self) -> tuple[int, ...]: ...
    @property
    def umask(self) -> int: ...
    @property
    def rlimits(self) -> tuple[tuple[str, int, int], ...]: ...
    @property
    def candidates(self) -> tuple[bytes, ...]: ...
    @property
    def argv(self) -> tuple[bytes, ...]: ...
    @property
    def env(self) -> tuple[bytes, ...]: ...
    @property
    def cwd(self) -> bytes: ...
    @property
    def open_flags(self) -> tuple[str, ...]: ...


def encode_request(request: RequestLike, null: tuple[bool, bool, bool], *, merge: bool) -> bytes:
    """Turn a request into bytes; `null` and `merge` say which of its streams need no descriptor."""
    strings = (*request.candidates, *request.argv, *request.env, request.cwd)
    tail = b"\0".join(strings) + b"\0"
    groups = (*request.groups, *(0,) * (lib.JK_GROUPS - len(request.groups)))
    limits = b"".join(_RLIMIT.pack(getattr(lib, name), 0, soft, hard) for name, soft, hard in request.rlimits)
    head_size = ffi.sizeof("struct jk_request")
    head = _REQUEST.pack(
        lib.JK_ABI,
        head_size + len(tail),
        _bits(request.flags) | _streams(null, merge=merge),
        request.uid,
        request.gid,
        request.umask,
        len(request.groups),
        len(request.rlimits),
        len(request.candidates),
        len(request.argv),
        len(request.env),
        _bits(request.open_flags),
        *groups,
    )
    return (head + limits).ljust(head_size, b"\0") + tail


def _streams(null: tuple[bool, bool, bool], *, merge: bool) -> int:
    bits = sum(lib.JK_RUN_NULL << number for number, wanted in enumerate(null) if wanted)
    return int(bits | (lib.JK_RUN_MERGE if merge else 0))
