"""How values cross the wall of a jail: they come out as they went in, and bytes from anybody are safe to read."""

from __future__ import annotations

import math
import struct
from enum import IntEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit.python import wire
from jailkit.python.wire import WireError, decode, encode

SURROGATES = st.text(st.characters(codec=None, categories=None))
KEYS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), SURROGATES, st.binary(), st.complex_numbers()),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)
VALUES = st.recursive(
    KEYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner, inner),
        st.sets(KEYS, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=20,
)


def canonical(value: Any) -> Any:
    """Return something that is equal for values that are the same, also for NaN, -0.0, 1 and True."""
    if isinstance(value, float):
        return "float", struct.pack("d", value)
    if isinstance(value, complex):
        return "complex", struct.pack("dd", value.real, value.imag)
    if isinstance(value, list | tuple):
        return type(value).__name__, [canonical(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(repr(canonical(item)) for item in value)
    if isinstance(value, dict):
        return "dict", [(canonical(key), canonical(item)) for key, item in value.items()]
    return type(value).__name__, value


@given(VALUES)
def test_values_come_out_as_they_went_in(value: object) -> None:
    """Type, order, sign of zero, NaN and lone surrogates included."""
    assert canonical(decode(encode(value))) == canonical(value)


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    """There is one error; what decodes is what encode writes for it, up to the order in sets."""
    try:
        value = decode(data)
    except WireError:
        return
    assert len(encode(value)) == len(data)


@given(VALUES, st.data())
def test_a_changed_byte_decodes_or_is_refused(value: object, data: st.DataObject) -> None:
    """The same near the right path, where a length or a tag is wrong, or the end is missing."""
    encoded = bytearray(encode(value))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    for one in (bytes(encoded), bytes(encoded[:cut]), bytes(encoded) + b"N"):
        try:
            decode(one)
        except WireError:
            continue


class Point(NamedTuple):
    """A tuple that is more."""

    x: int


class Colour(IntEnum):
    """An int that is more."""

    RED = 1


@pytest.mark.parametrize(
    "value",
    [object(), print, Point(1), Colour.RED, bytearray(b"x"), range(3), {1: {"a": [object]}}, ..., math, Exception()],
    ids=repr,
)
def test_only_the_named_types_cross(value: object) -> None:
    """Not even subclasses of them: what would come out is not what went in."""
    with pytest.raises(WireError, match="cannot cross; what can: None, bool, int"):
        encode([value])


def test_a_value_in_itself_is_refused() -> None:
    """A cycle, however it is made, and what is too deep."""
    cycle: list[Any] = []
    cycle.append({"again": (cycle,)})
    with pytest.raises(WireError, match="contains itself"):
        encode(cycle)
    deep: Any = None
    for _ in range(wire.MAX_DEPTH):
        deep = [deep]
    assert decode(encode(deep)) == deep
    with pytest.raises(WireError, match="too deep"):
        encode([deep])
    with pytest.raises(WireError, match="too deep"):
        decode(b"l\0\0\0\1" * (wire.MAX_DEPTH + 1) + b"N")


def test_size_is_bounded() -> None:
    """By bytes and by number of values, on both sides."""
    assert decode(encode(b"x" * 1000, 1005)) == b"x" * 1000
    for large in (b"x" * 1001, "x" * 1001, 1 << 9000, [b"x"] * 300):
        with pytest.raises(WireError, match="too large"):
            encode(large, 1005)
    with pytest.raises(WireError, match="more than 5 bytes"):
        decode(encode(b"xx"), 5)
    with pytest.raises(WireError, match="values in it"):
        encode([None] * wire.MAX_ITEMS)
    many = b"l" + struct.pack("!I", wire.MAX_ITEMS) + b"N" * wire.MAX_ITEMS
    with pytest.raises(WireError, match="too many"):
        decode(many)


@pytest.mark.parametrize("tag", [b"l", b"t", b"S", b"Z", b"d", b"s", b"b", b"i"])
def test_a_length_that_lies_costs_nothing(tag: bytes) -> None:
    """Four thousand million of anything are refused before there is room made for them."""
    with pytest.raises(WireError, match="end too early"):
        decode(tag + b"\xff\xff\xff\xff" + b"N" * 100)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"x", b"NN", b"i\0\0\0\0", b"i\0\0\0\2\0\1", b"s\0\0\0\1\xff", b"f\0", b"S\0\0\0\2NN"),
        *(b"S\0\0\0\1l\0\0\0\0", b"d\0\0\0\2TNi\0\0\0\1\1N", b"d\0\0\0\1l\0\0\0\0N", b"d\0\0\0\1N"),
        b"Z\0\0\0\1d\0\0\0\0",
    ],
)
def test_what_encode_never_writes_is_refused(data: bytes) -> None:
    """Nothing is read that way or this."""
    with pytest.raises(WireError):
        decode(data)


def test_keys_with_one_hash_are_refused() -> None:
    """Numbers that were made to collide would turn a dict of a million keys into hours."""
    twins = [n * (2**61 - 1) for n in range(1, 1000)]
    assert len({hash(n) for n in twins}) == 1
    many = b"".join(encode(n) for n in twins)
    nested = b"".join(b"t\0\0\0\1" + encode(n) for n in twins)
    for items in (many, nested):
        with pytest.raises(WireError, match="one hash"):
            decode(b"S" + struct.pack("!I", len(twins)) + items)
    pairs = b"".join(encode(n) + b"N" for n in twins)
    with pytest.raises(WireError, match="one hash"):
        decode(b"d" + struct.pack("!I", len(twins)) + pairs)
    ordinary: set[Any] = {*range(-5000, 5000), *(n / 7 for n in range(5000))}
    assert decode(encode(ordinary)) == ordinary
