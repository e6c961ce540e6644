"""Plans and requests as bytes: what the encoder writes, a small reader of ``abi.h`` of our own reads back."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jailkit._native._ext import ffi

from jailkit import _native
from jailkit.plan import Host, Program, Step, compile_plan, id_map, step
from jailkit.spec import JailSpec
from tests.plans import FILLS, QUICK, pairs

HEAD, STEP, RLIMIT = 16, 72, 24
REQUEST = 4 * 14 + 4 * 32 + RLIMIT * 16
OPS = {value: name.removeprefix("JK_OP_") for value, name in _native.enum_names("jk_op").items()}
SLOTS = _native.constant("JK_SLOTS")
NUMBER, TEXT, SLOT = (_native.constant(f"JK_{name}") for name in ("NUMBER", "TEXT", "SLOT"))
NONE = 2**64 - 1  # -1, no slot, as an argument
HERE = 2**64 - 100  # AT_FDCWD


class At(NamedTuple):
    """An argument that is the descriptor in a slot."""

    slot: int


class Decoded(NamedTuple):
    """One step as C sees it: what is done, flags, where a result goes, and arguments; of texts also their offsets."""

    what: str
    how: int
    slot: int
    arguments: tuple[int | bytes | At, ...]
    texts: dict[int, int]


def decode(data: bytes) -> tuple[list[Decoded], int]:
    """Read a plan as ``plan_check`` and ``run_steps`` do; return its steps, and how many are the host phase's."""
    abi, size, host_steps, jail_steps = struct.unpack_from("=4I", data)
    assert (abi, size) == (_native.constant("JK_ABI"), len(data))
    assert data[-1] == 0, "the last string is ended"
    behind = HEAD + STEP * (host_steps + jail_steps)
    return [decode_step(data, HEAD + STEP * n, behind) for n in range(host_steps + jail_steps)], host_steps


def decode_step(data: bytes, start: int, behind: int) -> Decoded:
    """Read one step; a text is what stands there up to its NUL."""
    op, how, slot, number, *rest = struct.unpack_from("=IIiI8B6Q", data, start)
    kinds, values = rest[:6], rest[8:]
    assert rest[6:8] == [0, 0]
    assert how & ~3 == 0
    assert -1 <= slot < SLOTS
    assert (number > 0) == (OPS[op] == "CALL") or number == 0, "SYS_read is 0, and no plan reads"
    arguments: list[int | bytes | At] = []
    for kind, value in zip(kinds, values, strict=True):
        assert kind in (NUMBER, TEXT, SLOT)
        if kind == TEXT:
            assert behind <= value < len(data), "texts lie behind the steps"
            assert value % 8 == 0, "structs are read as they lie"
            arguments.append(data[value : data.index(b"\0", value)])
        elif kind == SLOT:
            assert value < SLOTS
            arguments.append(At(value))
        else:
            arguments.append(value)
    what = OPS[op] if OPS[op] != "CALL" else f"call {number}"
    texts = {n: value for n, (kind, value) in enumerate(zip(kinds, values, strict=True)) if kind == TEXT}
    return Decoded(what, how, slot, tuple(arguments), texts)


def only(*steps: Step) -> list[Decoded]:
    """Encode steps and read them back."""
    return decode(_native.encode_plan(steps, []))[0]


def call(name: str) -> str:
    """Return how the reader names a system call."""
    return f"call {_native.constant(f'SYS_{name}')}"


def joined(names: tuple[str, ...]) -> int:
    """Join constants as ``abi.h`` says."""
    result = 0
    for name in names:
        number = _native.constant(name)
        result |= (1 << number) if name.startswith("CAP_") else number
    return result


@QUICK
@given(pairs())
def test_real_plans_can_be_read(pair: tuple[JailSpec, Host]) -> None:
    """What the compiler makes is well-formed: a step has its path and text in it, and fills a slot where it should."""
    plan = compile_plan(*pair)
    data = _native.encode_plan(plan.host_steps, plan.jail_steps)
    decoded, host_steps = decode(data)
    assert host_steps == len(plan.host_steps)
    numbers: dict[str | None, int] = {}
    for one, read in zip((*plan.host_steps, *plan.jail_steps), decoded, strict=True):
        assert read.how == one.optional + 2 * one.keep
        assert (read.slot >= 0) == (one.op in FILLS)
        # A name is one number, whether a step fills it or works on it.
        for argument in read.arguments:
            assert not isinstance(argument, At) or argument.slot in numbers.values()
        if read.slot >= 0:
            assert numbers.setdefault(one.slot, read.slot) == read.slot
        elif one.slot is not None:
            assert At(numbers[one.slot]) in read.arguments
        if one.at is not None:
            assert At(numbers[one.at]) in read.arguments
        if one.path:
            assert one.path.encode() in read.arguments
        if one.text:
            assert any(data[place : place + len(one.text) + 1] == one.text + b"\0" for place in read.texts.values())
    assert sorted(numbers.values()) == list(range(len(numbers))), "no gap, no number twice"


ATTRS = ("MOUNT_ATTR_RDONLY", "MOUNT_ATTR_NODEV")
EXAMPLES: list[tuple[Step, str, tuple[int | bytes | At, ...]]] = [
    (step("clone", "", slot="pid1", flags=("CLONE_NEWNS", "CLONE_NEWPID")), "CLONE", (0x2002_0000, NONE)),
    (step("idmap", "", path="uid_map", text=b"\1" * 32), "IDMAP", (b"uid_map", b"\1" * 32, 32)),
    (step("proc_write", "", path="setgroups", text=b"deny"), "PROC_WRITE", (b"setgroups", b"deny", 4)),
    (step("unshare", "", flags=("CLONE_NEWNET",)), call("unshare"), (0x4000_0000,)),
    (step("open_tree", "", slot="x", path="/p", flags=("OPEN_TREE_CLONE",)), call("open_tree"), (HERE, b"/p", 0x80001)),
    (step("open_tree", "", slot="x", at="a", path="p"), call("open_tree"), (At(0), b"p", 0x80000)),
    (step("setattr", "", slot="a", flags=("AT_RECURSIVE",), value=ATTRS), "SETATTR", (At(0), NONE, 0x8000, 5)),
    (step("setattr", "", slot="b", at="a", value=("MOUNT_ATTR_IDMAP",)), "SETATTR", (At(1), At(0), 0, 0x10_0000)),
    (step("fsopen", "", slot="x", path="tmpfs"), call("fsopen"), (b"tmpfs", 1)),
    (step("fsconfig", "", slot="a", path="size", text=b"9"), call("fsconfig"), (At(0), 1, b"size", b"9")),
    (step("fsconfig_flag", "", slot="a", path="userxattr"), call("fsconfig"), (At(0), 0, b"userxattr", 0)),
    (step("fsconfig_create", "", slot="a"), call("fsconfig"), (At(0), 6, 0, 0)),
    (step("fsmount", "", slot="x", at="a", value=ATTRS), call("fsmount"), (At(0), 1, 5)),
    (step("attach", "", slot="a", path="/tmp"), "ATTACH", (At(0), NONE, b"/tmp")),
    (step("attach", "", slot="b", at="a", path="p"), "ATTACH", (At(1), At(0), b"p")),
    (step("mask", "", slot="b", at="a", path="kcore"), "MASK", (At(1), At(0), b"kcore")),
    (step("mkdir", "", at="a", path="p", value=0o1777), "MKDIR", (At(0), b"p", 0o1777)),
    (step("chown", "", at="a", path="p", value=7, flags=8), call("fchownat"), (At(0), b"p", 7, 8, 0x100)),
    (step("target", "", slot="b", at="a", path="p"), "TARGET", (At(0), b"p", At(1))),
    (step("symlink", "", at="a", path="p", text=b"../to"), "SYMLINK", (At(0), b"p", b"../to")),
    (step("file", "", at="a", path="p", text=b"", value=0o400), "FILE", (At(0), b"p", 0o400, b"", 0)),
    (step("file", "", at="a", path="p", text=b"ab", value=0), "FILE", (At(0), b"p", 0, b"ab", 2)),
    (step("write", "", at="a", path="p", text=b"0"), "WRITE", (At(0), b"p", b"0", 1)),
    (step("check_device", "", slot="a", value=0x103), "CHECK_DEVICE", (At(0), 0x103)),
    (step("pivot_root", "", path="."), call("pivot_root"), (b".", b".")),
    (step("umount", "", path=".", flags=("MNT_DETACH",)), call("umount2"), (b".", 2)),
    (step("setresuid", "", value=5), call("setresuid"), (5, 5, 5)),
    (step("sethostname", "", text=b"jail"), call("sethostname"), (b"jail", 4)),
    (step("cap_bound", "", value=("CAP_CHOWN", "CAP_KILL")), "CAP_BOUND", (0b10_0001,)),
    (step("cap_bound", "", value=()), "CAP_BOUND", (0,)),
    (step("prctl", "", flags=("PR_SET_NO_NEW_PRIVS",), value=1), call("prctl"), (38, 1, 0, 0, 0)),
    (step("setns", "", at="a", flags=("CLONE_NEWNET",)), call("setns"), (At(0), 0x4000_0000)),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0].op)
def test_arguments_are_those_of_the_call(example: tuple[Step, str, tuple[int | bytes | At, ...]]) -> None:
    """In the order of the manual page or of ``abi.h``; what is left over is zero."""
    one, what, arguments = example
    makers = [step("open_tree", "", slot=name, path="/") for name in ("a", "b") if name in (one.slot, one.at)]
    if one.slot == "b":
        makers = [step("open_tree", "", slot=name, path="/") for name in ("a", "b")]
    read = only(*makers, one)[-1]
    assert read.what == what
    assert read.arguments == arguments + (0,) * (6 - len(arguments))
    assert read.slot == (len(makers) if one.op in FILLS else -1)


def test_propagation_is_a_struct_of_four_numbers() -> None:
    """mount_setattr(2): nothing to set, nothing to clear, the propagation, no user namespace; for the whole tree."""
    data = _native.encode_plan([step("propagation", "", path="/", value=("MS_PRIVATE",))], [])
    (read,) = decode(data)[0]
    place = read.texts.pop(3)
    assert (read.what, read.arguments[:3], read.arguments[4:]) == (call("mount_setattr"), (HERE, b"/", 0x8000), (32, 0))
    assert struct.unpack_from("=4Q", data, place) == (0, 0, 1 << 18, 0)


PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
STEPS = st.lists(
    st.builds(
        step,
        st.sampled_from(["file", "symlink", "write", "proc_write"]),
        st.just("because"),
        at=st.sampled_from(["a", "b", "root", "bind:0"]),
        path=PATHS,
        text=st.binary(max_size=40),
        value=st.sampled_from([0, 1, 0o777, 2**63, 2**64 - 1]),
        optional=st.booleans(),
        keep=st.booleans(),
    ),
    max_size=12,
)


@given(STEPS, st.integers(0, 12))
def test_any_bytes_come_back(steps: list[Step], cut: int) -> None:
    """Any path and text, in either phase, empty ones too; equal bytes are kept once."""
    data = _native.encode_plan(steps[:cut], steps[cut:])
    decoded, host_steps = decode(data)
    assert host_steps == min(cut, len(steps))
    places: dict[bytes, set[int]] = {}
    for one, read in zip(steps, decoded, strict=True):
        path, *others = read.texts.values()
        assert data[path : path + len(one.path.encode()) + 1] == one.path.encode() + b"\0"
        for wanted, place in [(one.path.encode(), path), *((one.text, other) for other in others)]:
            assert data[place : place + len(wanted) + 1] == wanted + b"\0"
            places.setdefault(wanted, set()).add(place)
        assert read.how == one.optional + 2 * one.keep
    assert all(len(found) == 1 for found in places.values())


def test_equal_strings_are_kept_once() -> None:
    """Fifty steps with one long path take the room of one."""
    one = step("chdir", "", path="/" + "x" * 500)
    assert len(_native.encode_plan([one] * 50, [])) - len(_native.encode_plan([one], [])) == 49 * STEP


def test_id_maps_are_four_numbers_each() -> None:
    """``struct jk_idmap``: inside, outside, count, relative."""
    text = id_map(((0, 7, 65536, True), (2**32 - 1, 501, 1, False)))
    assert struct.unpack("=8I", text) == (0, 7, 65536, 1, 2**32 - 1, 501, 1, 0)


STRUCTS = {
    "jk_plan": (HEAD, "abi size host_steps jail_steps"),
    "jk_step": (STEP, "op how slot number kind arg"),
    "jk_idmap": (16, "inside outside count relative"),
    "jk_rlimit": (RLIMIT, "resource reserved soft hard"),
    "jk_request": (
        REQUEST,
        (
            "abi size flags uid gid umask group_count rlimit_count candidates argc envc open_flags caps joins"
            " groups rlimits"
        ),
    ),
}


@pytest.mark.parametrize("name", STRUCTS)
def test_the_reader_has_the_fields_of_the_header(name: str) -> None:
    """Its order and sizes are those that the compiler gave ``abi.h``, without a hole between two fields."""
    size, fields = STRUCTS[name]
    kind = ffi.typeof(f"struct {name}")
    assert (ffi.sizeof(kind), " ".join(field for field, _ in kind.fields)) == (size, fields)
    end = 0
    for _, field in kind.fields:
        assert field.offset == end
        end += ffi.sizeof(field.type)
    assert end == size


@pytest.mark.parametrize("count", [SLOTS - 1, SLOTS, SLOTS + 1])
def test_a_plan_names_as_many_descriptors_as_there_are_slots(count: int) -> None:
    """One more is an error that says how many there are, not a write past the end of a table in C."""
    steps = [step("open_tree", "", slot=f"s{number}", path="/") for number in range(count)]
    if count > SLOTS:
        with pytest.raises(ValueError, match=f"{SLOTS}.*{count}"):
            _native.encode_plan(steps, [])
    else:
        assert [read.slot for read in only(*steps)] == list(range(count))


@pytest.mark.parametrize("unknown", [{"op": "dance"}, {"flags": ("MOUNT_ATTR_DANCE",)}, {"value": ("NO",)}])
def test_an_unknown_word_is_an_error(unknown: dict[str, Any]) -> None:
    """Never a zero in its place."""
    fields = {"op": "setattr", "slot": "a", **unknown}
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
    cpu_limit=st.just(1.0),
    wall_seconds=st.just(1.0),
    output=st.just(1.0),
    open_flags=st.lists(st.sampled_from(["O_WRONLY", "O_CREAT", "O_TRUNC", "O_NOCTTY"]), unique=True).map(tuple),
    capabilities=st.lists(st.sampled_from(["CAP_NET_RAW", "CAP_NET_BIND_SERVICE"]), unique=True).map(tuple),
)
NULL = st.tuples(st.booleans(), st.booleans(), st.booleans())


@given(PROGRAMS, NULL, st.booleans(), st.integers(0, 8))
def test_requests_come_back(made: Program, null: tuple[bool, bool, bool], merge: bool, joins: int) -> None:
    """Every number and every string, the empty ones too, in the order of ``struct jk_request``."""
    data = _native.encode_request(made, null, merge=merge, joins=joins)
    head = struct.unpack_from("=14I", data)
    abi, size, flags, uid, gid, umask, groups, rlimits, *counts, open_flags, caps, joined_groups = head
    assert joined_groups == joins
    assert (abi, size) == (_native.constant("JK_ABI"), len(data))
    streams = sum(_native.constant("JK_RUN_NULL") << number for number in range(3) if null[number])
    assert flags == joined(made.flags) | streams | (_native.constant("JK_RUN_MERGE") if merge else 0)
    assert (uid, gid, umask, open_flags) == (made.uid, made.gid, made.umask, joined(made.open_flags))
    assert caps == sum(1 << _native.constant(name) for name in made.capabilities)
    listed = struct.unpack_from("=32I", data, 56)
    assert listed == (*made.groups, *(0,) * (32 - groups))
    assert groups == len(made.groups)
    table = list(struct.iter_unpack("=IIQQ", data[184:REQUEST]))
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
