"""Plans and requests as bytes: what the encoder writes, a small reader of ``abi.h`` of our own reads back."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit import _native
from jailkit.plan import Host, Program, Step, compile_plan, id_map, step
from jailkit.spec import JailSpec
from tests.plans import QUICK, pairs

HEAD, STEP, RLIMIT = 16, 48, 24
REQUEST = 4 * 12 + 4 * 32 + RLIMIT * 16
OPS = {value: name.removeprefix("JK_OP_").lower() for value, name in _native.enum_names("jk_op").items()}
SLOTS = _native.constant("JK_SLOTS")


class Decoded(NamedTuple):
    """One step as C sees it; a path or text that is not there is None."""

    op: str
    optional: bool
    keep: bool
    slot: int
    at: int
    path: bytes | None
    text: bytes | None
    flags: int
    value: int
    offsets: tuple[int, int]


def decode(data: bytes) -> tuple[list[Decoded], int]:
    """Read a plan as ``plan_check`` and ``run_steps`` do; return its steps, and how many are the host phase's."""
    abi, size, host_steps, jail_steps = struct.unpack_from("=4I", data)
    assert (abi, size) == (_native.constant("JK_ABI"), len(data))
    assert data[-1] == 0, "the last string is ended"
    steps = []
    for number in range(host_steps + jail_steps):
        at_byte = HEAD + STEP * number
        op, how, slot, at, path, text, text_size, reserved, flags, value = struct.unpack_from("=IIiiIIIIQQ", data, at_byte)
        assert reserved == 0
        assert how & ~3 == 0
        assert path < size
        assert text + text_size <= size
        for offset in (path, text):
            assert offset == 0 or offset >= HEAD + STEP * (host_steps + jail_steps), "strings lie behind the steps"
        steps.append(
            Decoded(
                OPS[op],
                bool(how & 1),
                bool(how & 2),
                slot,
                at,
                data[path : data.index(b"\0", path)] if path else None,
                data[text : text + text_size] if text else None,
                flags,
                value,
                (path, text),
            )
        )
    return steps, host_steps


def check_names(steps: list[Step], decoded: list[Decoded]) -> None:
    """Names of descriptors became numbers: one number a name, counted from 0 without a gap, and -1 for none."""
    numbers: dict[str | None, int] = {None: -1}
    for one, read in zip(steps, decoded, strict=True):
        for name, number in ((one.slot, read.slot), (one.at, read.at)):
            assert numbers.setdefault(name, number) == number
    assert sorted(numbers.values()) == list(range(-1, len(numbers) - 1))


def check_step(one: Step, read: Decoded) -> None:
    """Everything else of a step is there as it was."""
    assert (read.op, read.optional, read.keep) == (one.op, one.optional, one.keep)
    # Without a path fsconfig(2) creates; everywhere else "" is a path, that of the descriptor itself.
    assert read.path == (None if one.op == "fsconfig" and not one.path else one.path.encode())
    assert read.text == (one.text or None)
    for written, number in ((one.flags, read.flags), (one.value, read.value)):
        assert number == (written if isinstance(written, int) else joined(written))


def joined(names: tuple[str, ...]) -> int:
    """Join constants as ``abi.h`` says; each counted once."""
    result = 0
    for name in names:
        number = _native.constant(name.removeprefix("-"))
        result |= (1 << number) if name.startswith("CAP_") else (number << 32) if name[0] == "-" else number
    return result


@QUICK
@given(pairs())
def test_real_plans_come_back(pair: tuple[JailSpec, Host]) -> None:
    """Whatever the compiler makes is what C reads."""
    plan = compile_plan(*pair)
    decoded, host_steps = decode(_native.encode_plan(plan.host_steps, plan.jail_steps))
    steps = [*plan.host_steps, *plan.jail_steps]
    assert host_steps == len(plan.host_steps)
    check_names(steps, decoded)
    for one, read in zip(steps, decoded, strict=True):
        check_step(one, read)


NAMES = st.sampled_from([None, "a", "b", "root", "bind:0"])
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 0o777, 2**63, 2**64 - 1]),
    st.lists(st.sampled_from(["MOUNT_ATTR_RDONLY", "-MOUNT_ATTR_NOEXEC", "CLONE_NEWNS", "AT_RECURSIVE"]), max_size=3)
    .map(set)
    .map(sorted)
    .map(tuple),
)
STEPS = st.lists(
    st.builds(
        step,
        st.sampled_from(sorted(OPS.values())),
        st.just("because"),
        slot=NAMES,
        at=NAMES,
        path=PATHS,
        text=st.binary(max_size=40),
        flags=NUMBERS,
        value=NUMBERS,
        optional=st.booleans(),
        keep=st.booleans(),
    ),
    max_size=12,
)


@given(STEPS, st.integers(0, 12))
def test_any_steps_come_back(steps: list[Step], cut: int) -> None:
    """Any word, in any phase, with any bytes; maps lie where a machine can read their numbers."""
    data = _native.encode_plan(steps[:cut], steps[cut:])
    decoded, host_steps = decode(data)
    assert host_steps == min(cut, len(steps))
    check_names(steps, decoded)
    for one, read in zip(steps, decoded, strict=True):
        check_step(one, read)
        assert read.offsets[1] % 4 == 0
    # Equal bytes are kept once.
    for kind, contents in ((0, [read.path for read in decoded]), (1, [read.text for read in decoded])):
        places: dict[bytes, set[int]] = {}
        for read, content in zip(decoded, contents, strict=True):
            if content:
                places.setdefault(content, set()).add(read.offsets[kind])
        assert all(len(found) == 1 for found in places.values())


def test_equal_strings_are_kept_once() -> None:
    """Fifty steps with one long path take the room of one."""
    one = step("chdir", "", path="/" + "x" * 500)
    assert len(_native.encode_plan([one] * 50, [])) - len(_native.encode_plan([one], [])) == 49 * STEP


def test_id_maps_are_four_numbers_each() -> None:
    """``struct jk_idmap``: inside, outside, count, relative."""
    text = id_map(((0, 7, 65536, True), (2**32 - 1, 501, 1, False)))
    assert struct.unpack("=8I", text) == (0, 7, 65536, 1, 2**32 - 1, 501, 1, 0)


def test_the_sizes_are_those_of_the_header() -> None:
    """The reader above has the fields of ``abi.h``, in its order."""
    text = (Path(__file__).parents[2] / "jailkit" / "_native" / "abi.h").read_text()
    fields = {}
    for name, body in re.findall(r"struct (jk_\w+) \{(.*?)\n\}", text, flags=re.DOTALL):
        fields[name] = re.findall(r"(?:u?int\d+_t|struct jk_\w+) (\w+)(?:\[\d+\])?;", body)
    assert fields["jk_step"] == ["op", "how", "slot", "at", "path", "text", "text_size", "reserved", "flags", "value"]
    assert fields["jk_plan"] == ["abi", "size", "host_steps", "jail_steps"]
    assert fields["jk_idmap"] == ["inside", "outside", "count", "relative"]
    assert fields["jk_request"] == [
        *("abi", "size", "flags", "uid", "gid", "umask", "group_count", "rlimit_count", "candidates", "argc", "envc"),
        *("open_flags", "groups", "rlimits"),
    ]


@pytest.mark.parametrize("count", [SLOTS - 1, SLOTS, SLOTS + 1])
def test_a_plan_names_as_many_descriptors_as_there_are_slots(count: int) -> None:
    """One more is an error that says how many there are, not a write past the end of a table in C."""
    steps = [step("open_tree", "", slot=f"s{number}", path="/") for number in range(count)]
    if count > SLOTS:
        with pytest.raises(ValueError, match=f"{SLOTS}.*{count}"):
            _native.encode_plan(steps, [])
    else:
        decoded, _ = decode(_native.encode_plan(steps, []))
        assert {read.slot for read in decoded} == set(range(count))


@pytest.mark.parametrize("unknown", [{"op": "dance"}, {"flags": ("MOUNT_ATTR_DANCE",)}, {"value": ("-NO",)}])
def test_an_unknown_word_is_an_error(unknown: dict[str, Any]) -> None:
    """Never a zero in its place."""
    fields = {"op": "setattr", **unknown}
    with pytest.raises((KeyError, AttributeError)):
        _native.encode_plan([step(fields.pop("op"), "", **fields)], [])


# --- requests -------------------------------------------------------------------------------------------------------

RLIMITS = ("RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_AS")
FLAGS = ("JK_RUN_ALONE", "JK_RUN_DETACH", "JK_RUN_KEEP_CAPS", "JK_RUN_EXEC_PIPE", "JK_RUN_OPEN", "JK_RUN_SETGROUPS")
WORDS = st.binary(max_size=12).map(lambda word: word.replace(b"\0", b"0"))
IDS = st.integers(0, 2**32 - 2)
AMOUNTS = st.integers(0, 2**64 - 1)
PROGRAMS = st.builds(
    Program,
    flags=st.lists(st.sampled_from(FLAGS), unique=True).map(tuple),
    uid=IDS,
    gid=IDS,
    groups=st.lists(IDS, max_size=32).map(tuple),
    umask=st.integers(0, 0o777),
    rlimits=st.lists(st.tuples(st.sampled_from(RLIMITS), AMOUNTS, AMOUNTS), max_size=16).map(tuple),
    candidates=st.lists(WORDS, min_size=1, max_size=4).map(tuple),
    argv=st.lists(WORDS, min_size=1, max_size=4).map(tuple),
    env=st.lists(WORDS, max_size=4).map(tuple),
    cwd=WORDS,
    cpu_seconds=st.just(1.0),
    wall_seconds=st.just(1.0),
    output=st.just(1.0),
    open_flags=st.lists(st.sampled_from(["O_WRONLY", "O_CREAT", "O_TRUNC", "O_NOCTTY"]), unique=True).map(tuple),
)
NULL = st.tuples(st.booleans(), st.booleans(), st.booleans())


@given(PROGRAMS, NULL, st.booleans())
def test_requests_come_back(made: Program, null: tuple[bool, bool, bool], merge: bool) -> None:  # noqa: FBT001
    """Every number and every string, the empty ones too, in the order of ``struct jk_request``."""
    data = _native.encode_request(made, null, merge=merge)
    abi, size, flags, uid, gid, umask, groups, rlimits, *counts, open_flags = struct.unpack_from("=12I", data)
    assert (abi, size) == (_native.constant("JK_ABI"), len(data))
    streams = sum(_native.constant("JK_RUN_NULL") << number for number in range(3) if null[number])
    assert flags == joined(made.flags) | streams | (_native.constant("JK_RUN_MERGE") if merge else 0)
    assert (uid, gid, umask, open_flags) == (made.uid, made.gid, made.umask, joined(made.open_flags))
    listed = struct.unpack_from("=32I", data, 48)
    assert listed == (*made.groups, *(0,) * (32 - groups))
    assert groups == len(made.groups)
    table = list(struct.iter_unpack("=IIQQ", data[176:REQUEST]))
    assert table[:rlimits] == [(_native.constant(name), 0, soft, hard) for name, soft, hard in made.rlimits]
    assert table[rlimits:] == [(0, 0, 0, 0)] * (16 - rlimits)
    assert counts == [len(made.candidates), len(made.argv), len(made.env)]
    assert data[REQUEST:].split(b"\0") == [*made.candidates, *made.argv, *made.env, made.cwd, b""]


def test_no_two_flags_share_a_bit() -> None:
    """Nor do those of the streams, of which one stands for three."""
    names = _native.enum_names("jk_request_flag").values()
    bits = [_native.constant(name) << shift for name in names for shift in range(3 if name == "JK_RUN_NULL" else 1)]
    assert all(bit & (bit - 1) == 0 for bit in bits)
    assert len(set(bits)) == len(bits)
    assert set(FLAGS) <= set(names)
    assert attrs.fields_dict(Program).keys() >= {"flags", "open_flags"}
