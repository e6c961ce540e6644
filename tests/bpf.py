"""What the kernel does with a filter of system calls: a small reader of classic BPF, written from seccomp(2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = ["ARCHITECTURES", "verdict"]

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_WORDS = {
    0x7FFF0000: "allow",
    0x7FFC0000: "log",
    0x7FC00000: "tell",
    0x80000000: "kill",
    0x00050001: "EPERM",
    0x00050026: "ENOSYS",
}


def verdict(code: bytes, number: int, arguments: Sequence[int] = (), machine: str = "x86_64") -> str:
    """Run a filter over one call; return what happens to it."""
    words = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, ARCHITECTURES.get(machine, 0x40000003), 0, *words)
    instructions = list(struct.iter_unpack("<HBBI", code))
    place, value = 0, 0
    for _ in range(len(instructions)):  # no jump goes back
        operation, yes, no, word = instructions[place]
        place += 1
        if operation == 0x20:
            (value,) = struct.unpack_from("<I", data, word)
        elif operation == 0x54:
            value &= word
        elif operation == 0x05:
            place += word
        elif operation == 0x06:
            return _WORDS[word]
        else:
            held = {0x15: value == word, 0x25: value > word, 0x35: value >= word}[operation]
            place += yes if held else no
    raise AssertionError("the filter has no end")
