"""Plans and requests as the bytes of ``abi.h``."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from typing import Protocol

from jailkit._native._ext import ffi, lib

__all__ = ["RequestLike", "StepLike", "encode_plan", "encode_request"]

_STEP = struct.Struct("<IIiI8B6Q")
_PLAN = struct.Struct("<IIII")
_REQUEST = struct.Struct("<14I32I")
_RLIMIT = struct.Struct("<IIQQ")
_MOUNT_ATTR = struct.Struct("<QQQQ")  # set, clear, propagation, user namespace: mount_setattr(2)

# What a step's words mean, argument by argument: "slot" and "at" are descriptors, "path" and "text" bytes of the plan,
# "size" the length of text; "flags" and "value" numbers; "here" is `at`, or the current directory where it is None;
# anything else is a constant. A name in capitals is a step that jailkit-init knows, any other a plain system call.
_TEMPLATES = {
    "clone": "CLONE flags at",
    "release": "RELEASE",
    "join": "setns at CLONE_NEWUSER",
    "unshare": "unshare flags",
    "socket": "socket AF_INET SOCK_DGRAM|SOCK_CLOEXEC",
    "loopback": "ioctl at SIOCSIFFLAGS text",
    "open_namespace": "openat AT_FDCWD path O_CLOEXEC",
    "give": "GIVE at",
    "take": "TAKE",
    "setns": "setns at flags",
    "idmap": "IDMAP path text size",
    "proc_write": "PROC_WRITE path text size",
    "newidmap": "NEWIDMAP path text size",
    "userns": "USERNS at text",
    "setgroups": "setgroups",
    "setresgid": "setresgid value value value",
    "setresuid": "setresuid value value value",
    "propagation": "mount_setattr AT_FDCWD path AT_RECURSIVE propagation attr_size",
    "open_tree": "open_tree here path flags|OPEN_TREE_CLOEXEC",
    "setattr": "SETATTR slot at flags value",
    "fsopen": "fsopen path FSOPEN_CLOEXEC",
    "fsconfig": "fsconfig slot FSCONFIG_SET_STRING path text",
    "fsconfig_flag": "fsconfig slot FSCONFIG_SET_FLAG path",
    "fsconfig_create": "fsconfig slot FSCONFIG_CMD_CREATE",
    "fsmount": "fsmount at FSMOUNT_CLOEXEC value",
    "attach": "ATTACH slot at path",
    "mask": "MASK slot at path",
    "mkdir": "MKDIR at path value",
    "mknod": "mknodat at path flags value",
    "chown": "fchownat at path value flags AT_SYMLINK_NOFOLLOW",
    "target": "TARGET at path slot",
    "symlink": "SYMLINK at path text",
    "file": "FILE at path value text size",
    "write": "WRITE at path text size",
    "find": "FIND at path flags",
    "check_device": "CHECK_DEVICE slot value",
    "fchdir": "fchdir slot",
    "pivot_root": "pivot_root path path",
    "umount": "umount2 path flags",
    "chdir": "chdir path",
    "sethostname": "sethostname text size",
    "cap_bound": "CAP_BOUND value",
    "prctl": "prctl flags value",
    "join_session_keyring": "keyctl KEYCTL_JOIN_SESSION_KEYRING",
    "prepare": "PREPARE slot at",
    "prepare_guarded": "PREPARE slot at value",
    "open_path": "openat AT_FDCWD path flags|O_CLOEXEC",
    "given": "TAKE JK_PHASE_HOST",
    "enter_group": "write slot text size path",  # the kernel does not look at the fourth argument
    "landlock_ruleset": "landlock_create_ruleset text size",
    "landlock_rule": "LANDLOCK_RULE at slot value flags",
    "landlock_restrict": "landlock_restrict_self at",
    "filter": "FILTER text size flags value",
}
# Steps that make the descriptor which `slot` names; the others use it.
_MAKES = frozenset(
    "clone socket open_namespace take userns open_tree fsopen fsmount find given landlock_ruleset open_path".split()
)

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


def _bits(value: int | Iterable[str]) -> int:
    """Join constants by "or"; a capability stands for its bit."""
    if isinstance(value, int):
        return value
    result = 0
    for name in value:
        number = int(getattr(lib, name))
        result |= 1 << number if name.startswith("CAP_") else number
    return result


class _Encoder:
    """The bytes behind the steps, and the numbers of the slots."""

    def __init__(self, step_count: int) -> None:
        self._base = _PLAN.size + step_count * _STEP.size
        self._offsets: dict[bytes, int] = {}
        self.data = bytearray()
        self.slots: dict[str, int] = {}

    def text(self, text: bytes) -> int:
        """Return the offset of some bytes, which a NUL follows; equal ones are kept once."""
        if text not in self._offsets:
            self.data += b"\0" * (-len(self.data) % 8)  # structs are read as they lie
            self._offsets[text] = self._base + len(self.data)
            self.data += text + b"\0"
        return self._offsets[text]

    def _slot(self, name: str | None) -> tuple[int, int]:
        if name is None:
            return lib.JK_NUMBER, lib.JK_NONE
        return lib.JK_SLOT, self.slots.setdefault(name, len(self.slots))

    def _argument(self, word: str, step: StepLike) -> tuple[int, int]:
        """Return kind and value of one argument."""
        if word in ("slot", "at"):
            return self._slot(step.slot if word == "slot" else step.at)
        if word == "here":
            return self._slot(step.at) if step.at else (lib.JK_NUMBER, lib.AT_FDCWD)
        if word == "path":
            return lib.JK_TEXT, self.text(os.fsencode(step.path))
        if word == "text":
            return lib.JK_TEXT, self.text(step.text)
        if word == "propagation":
            return lib.JK_TEXT, self.text(_MOUNT_ATTR.pack(0, 0, _bits(step.value), 0))
        numbers = {"size": len(step.text), "attr_size": _MOUNT_ATTR.size}
        result = 0
        for part in word.split("|"):
            number = {"flags": step.flags, "value": step.value}.get(part, numbers.get(part))
            result |= _bits((part,) if number is None else number)
        return lib.JK_NUMBER, result

    def step(self, step: StepLike) -> bytes:
        """Encode one step."""
        name, *words = _TEMPLATES[step.op].split()
        arguments = [self._argument(word, step) for word in words]
        arguments += [(lib.JK_NUMBER, 0)] * (6 - len(arguments))
        known = name.isupper()
        return _STEP.pack(
            getattr(lib, f"JK_OP_{name}") if known else lib.JK_OP_CALL,
            (lib.JK_STEP_OPTIONAL if step.optional else 0) | (lib.JK_STEP_KEEP if step.keep else 0),
            self._slot(step.slot)[1] if step.op in _MAKES else lib.JK_NONE,
            0 if known else getattr(lib, f"SYS_{name}"),
            *(kind for kind, _ in arguments),
            0,
            0,
            *(value % 2**64 for _, value in arguments),
        )


def encode_plan(host_steps: Sequence[StepLike], jail_steps: Sequence[StepLike]) -> bytes:
    """Turn the steps of a plan into bytes; names of descriptors become slot numbers.

    Raises:
        ValueError: The plan names more descriptors than there are slots.
    """
    encoder = _Encoder(len(host_steps) + len(jail_steps))
    encoded = b"".join(encoder.step(step) for step in (*host_steps, *jail_steps))
    if len(encoder.slots) > lib.JK_SLOTS:
        raise ValueError(f"a plan may name {lib.JK_SLOTS} descriptors, this one names {len(encoder.slots)}")
    tail = bytes(encoder.data) + b"\0"
    size = _PLAN.size + len(encoded) + len(tail)
    return _PLAN.pack(lib.JK_ABI, size, len(host_steps), len(jail_steps)) + encoded + tail


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
    @property
    def capabilities(self) -> tuple[str, ...]: ...


def encode_request(request: RequestLike, null: tuple[bool, bool, bool], *, merge: bool, joins: int = 0) -> bytes:
    """Turn a request into bytes.

    `null` and `merge` say which of its streams need no descriptor, `joins` how many come for control groups.
    """
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
        _bits(request.capabilities),
        joins,
        *groups,
    )
    return (head + limits).ljust(head_size, b"\0") + tail


def _streams(null: tuple[bool, bool, bool], *, merge: bool) -> int:
    bits = sum(lib.JK_RUN_NULL << number for number, wanted in enumerate(null) if wanted)
    return int(bits | (lib.JK_RUN_MERGE if merge else 0))
