"""How values cross the wall of a jail: a small, strict encoding of plain data.

A value is one tag and what belongs to it; whatever has a length says it first, in four bytes, the highest first.
Reading never runs anything, imports nothing and makes only the types named in `TYPES`, so it is safe for bytes from
anybody: they decode, or are refused with `WireError`, in time and memory that follow from the bounds below.

This file also runs inside jails, by whatever Python is there: it uses the standard library alone, of Python 3.9.
"""

from __future__ import annotations

import struct

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_ITEMS", "TYPES", "WireError", "decode", "encode"]

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of one encoded value."""

MAX_ITEMS = 1_000_000
"""Values in one value, itself and all that is in it: an empty set is 5 bytes on the wire and 216 in memory."""

MAX_DEPTH = 64
"""How deep values may be in one another."""

MAX_TWINS = 16
"""Keys of one set or dict with one hash. Numbers of one hash are easily made, and with many a dict gets slow."""

TYPES = (type(None), bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict)
"""What can cross, and no subclass of it."""

_LENGTH = struct.Struct("!I")
_FLOAT = struct.Struct("!d")
_COMPLEX = struct.Struct("!dd")
_ITEMS = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}
_MAKE = {0x6C: list, 0x74: tuple, 0x53: set, 0x5A: frozenset}
_HASHED_SAFELY = (str, bytes, type(None), bool)
_BYTES, _STR, _INT, _DICT, _FLOAT_TAG, _COMPLEX_TAG = b"bsidfc"
_CONSTANTS = {0x4E: None, 0x54: True, 0x46: False}


class WireError(ValueError):
    """A value cannot cross, or bytes are no value."""


def encode(value: object, max_bytes: int = MAX_BYTES) -> bytes:
    """Return a value as bytes.

    Raises:
        WireError: It, or something in it, is of another type, or it is too large, too deep, or in itself.
    """
    writer = _Writer(max_bytes)
    writer.put(value, 0)
    return b"".join(writer.parts)


class _Writer:
    __slots__ = ("items", "parts", "room")

    def __init__(self, room: int) -> None:
        self.parts: list[bytes] = []
        self.items = 0
        self.room = room

    def add(self, *parts: bytes) -> None:
        for part in parts:
            self.room -= len(part)
            self.parts.append(part)
        if self.room < 0:
            raise WireError("the value is too large: more than the allowed bytes when encoded")

    def put(self, value: object, depth: int) -> None:
        self.items += 1
        if self.items > MAX_ITEMS:
            raise WireError(f"the value is too large: more than {MAX_ITEMS:,} values in it")
        if depth > MAX_DEPTH:
            raise WireError(f"the value is too deep, or contains itself: more than {MAX_DEPTH} levels")
        kind = type(value)
        if value is None or value is True or value is False:
            self.add(b"N" if value is None else b"T" if value else b"F")
        elif kind is dict:
            self.add(b"d", _LENGTH.pack(len(value)))  # type: ignore[arg-type]
            for key, item in value.items():  # type: ignore[attr-defined]
                self.put(key, depth + 1)
                self.put(item, depth + 1)
        elif kind in _ITEMS:
            self.add(_ITEMS[kind], _LENGTH.pack(len(value)))  # type: ignore[arg-type,index]
            for item in value:  # type: ignore[attr-defined]
                self.put(item, depth + 1)
        else:
            self._simple(value, kind)

    def _simple(self, value: object, kind: type) -> None:
        if kind is float:
            self.add(b"f" + _FLOAT.pack(value))
        elif kind is complex:
            self.add(b"c" + _COMPLEX.pack(value.real, value.imag))  # type: ignore[attr-defined]
        elif kind is int:
            self._sized(b"i", value.to_bytes(_int_size(value), "big", signed=True))  # type: ignore[attr-defined,arg-type]
        elif kind is str:
            self._sized(b"s", value.encode("utf-8", "surrogatepass"))  # type: ignore[attr-defined]
        elif kind is bytes:
            self._sized(b"b", value)  # type: ignore[arg-type]
        else:
            raise WireError(f"a value of type {_name(kind)} cannot cross; what can: {_names()}")

    def _sized(self, tag: bytes, data: bytes) -> None:
        self.add(tag, _LENGTH.pack(len(data)), data)


def _int_size(value: int) -> int:
    return (value if value >= 0 else ~value).bit_length() // 8 + 1


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__qualname__


def _names() -> str:
    return ", ".join("None" if kind is type(None) else kind.__name__ for kind in TYPES)


def decode(data: bytes, max_bytes: int = MAX_BYTES) -> object:
    """Return the value that bytes stand for.

    Raises:
        WireError: They are no value, or more than one, or one that is out of bounds, or not as `encode` writes it.
    """
    if len(data) > max_bytes:
        raise WireError(f"more than {max_bytes} bytes")
    reader = _Reader(data)
    value = reader.take(0)
    if reader.at != len(data):
        raise WireError("something comes after the value")
    return value


class _Reader:
    __slots__ = ("at", "data", "items")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.items = 0

    def bytes(self, count: int) -> bytes:
        begin, self.at = self.at, self.at + count
        if self.at > len(self.data):
            raise WireError("the bytes end too early")
        return self.data[begin : self.at]

    def length(self) -> int:
        length: int = _LENGTH.unpack(self.bytes(4))[0]
        if length > len(self.data) - self.at:  # whatever it counts is at least one byte
            raise WireError("the bytes end too early")
        return length

    def take(self, depth: int) -> object:
        self.items += 1
        if self.items > MAX_ITEMS or depth > MAX_DEPTH:
            raise WireError("too many values, or too deep in one another")
        tag = self.bytes(1)[0]
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _MAKE:
            return self._items(_MAKE[tag], depth + 1)
        if tag == _DICT:
            return self._dict(depth + 1)
        if tag == _FLOAT_TAG:
            return _FLOAT.unpack(self.bytes(8))[0]
        if tag == _COMPLEX_TAG:
            return complex(*_COMPLEX.unpack(self.bytes(16)))
        return self._sized(tag)

    def _sized(self, tag: int) -> object:
        if tag not in (_STR, _BYTES, _INT):
            raise WireError("an unknown tag")
        data = self.bytes(self.length())
        if tag == _BYTES:
            return data
        if tag == _STR:
            try:
                return data.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError:
                raise WireError("text that is not UTF-8") from None
        number = int.from_bytes(data, "big", signed=True)
        if len(data) != _int_size(number):
            raise WireError("a number that is longer than it needs to be")
        return number

    def _items(self, make: type, depth: int) -> object:
        count = self.length()
        items = [self.take(depth) for _ in range(count)]
        if make is list:
            return items
        if make is tuple:
            return tuple(items)
        _check_keys(items)
        made = make(items)
        if len(made) != count:
            raise WireError("a set with one value twice")
        return made

    def _dict(self, depth: int) -> object:
        count = self.length()
        keys, values = [], []
        for _ in range(count):
            keys.append(self.take(depth))
            values.append(self.take(depth))
        _check_keys(keys)
        made = dict(zip(keys, values))  # noqa: B905 - two lists of one loop; strict= is of Python 3.10
        if len(made) != count:
            raise WireError("a dict with one key twice")
        return made


def _check_keys(keys: list[object]) -> None:
    """Refuse keys that cannot be, and those that were made to make a dict slow."""
    seen: dict[int, int] = {}
    for key in keys:
        if type(key) in _HASHED_SAFELY:  # with a secret of this process
            continue
        try:
            value = hash(key)
        except TypeError:
            raise WireError("a key that cannot be one") from None
        seen[value] = twins = seen.get(value, 0) + 1
        if twins > MAX_TWINS:
            raise WireError(f"more than {MAX_TWINS} keys with one hash")
