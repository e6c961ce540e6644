"""Hypothesis strategies for requests: what is valid, and what is refused.

A new field or class of `jailkit.spec` is added here first; the tests of the spec and of the
plan then meet it everywhere.
"""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from jailkit.spec import (
    UNLIMITED,
    Allow,
    Bind,
    Command,
    Dev,
    File,
    JailSpec,
    Level,
    Limits,
    Mount,
    Proc,
    SeccompPolicy,
    Symlink,
    Tmpfs,
    User,
)

MAX_ID = 2**32 - 2

SIZE_FIELDS = ("memory", "file_size", "stack", "disk", "address_space", "read_bps", "write_bps")
SIZE_OR_ZERO_FIELDS = ("swap", "core", "output", "locked_memory", "message_queues")
AMOUNT_FIELDS = ("cpu_seconds", "wall_seconds")
COUNT_FIELDS = ("processes", "open_files", "read_iops", "write_iops")
# What each of these takes has bounds of its own.
SPECIAL_FIELDS = {
    "cpus": st.one_of(st.floats(0.01, 10**6), st.integers(1, 10**6)),
    "cpuset": st.sampled_from(["0", "0-1", "1,3-5", "0,2,4-7"]),
    "cpu_weight": st.integers(1, 10_000),
    "inodes": st.integers(64, 2**40),
}
LIMIT_FIELDS = SIZE_FIELDS + SIZE_OR_ZERO_FIELDS + AMOUNT_FIELDS + COUNT_FIELDS + tuple(SPECIAL_FIELDS)

_TEXT = st.characters(codec="utf-8", exclude_characters="\0")


def _is_component(text: str) -> bool:
    return text not in {".", ".."} and len(text.encode()) < 256


COMPONENTS = st.one_of(
    st.sampled_from(["usr", "lib", "etc", "tmp", "home", "a", "b", ".hidden", "...", "with space"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=40).filter(_is_component),
)


def absolute_paths(*, min_size: int = 1) -> st.SearchStrategy[str]:
    """Normal absolute paths; ``/`` itself only when `min_size` is 0."""
    parts = st.lists(COMPONENTS, min_size=min_size, max_size=5)
    return parts.map(lambda names: "/" + "/".join(names))


TARGETS = absolute_paths()
HOST_PATHS = absolute_paths(min_size=0)
LINK_TEXTS = st.one_of(HOST_PATHS, st.just("../lib"), st.text(_TEXT, min_size=1, max_size=60))
IDS = st.one_of(st.sampled_from([0, 1, 1000, 65534, MAX_ID]), st.integers(0, MAX_ID))
LOGIN_NAMES = st.from_regex(r"[a-z_][a-z0-9_-]{0,30}", fullmatch=True)
HOMES = absolute_paths(min_size=0).filter(lambda path: not set(path) & set(":\n"))
LEVELS = st.sampled_from(Level)

_LABELS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?", fullmatch=True)
HOSTNAMES = st.lists(_LABELS, min_size=1, max_size=4).map(".".join).filter(lambda n: len(n) <= 64)

ENV_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1, max_size=12)
ENVIRONMENTS = st.dictionaries(ENV_NAMES, st.text(_TEXT, max_size=30), max_size=4)

SIZES = st.one_of(st.integers(1, 2**40), st.just(2**63 - 1))
AMOUNTS = st.one_of(
    st.integers(1, 10**9),
    st.floats(0, 10**9, exclude_min=True, allow_nan=False),
)


def limit_values(field: str) -> st.SearchStrategy[Any]:
    """Everything that one field of `Limits` takes, beside None."""
    if field in SPECIAL_FIELDS:
        return SPECIAL_FIELDS[field] | st.just(UNLIMITED)
    if field in AMOUNT_FIELDS:
        return st.one_of(AMOUNTS, st.just(UNLIMITED))
    if field in SIZE_OR_ZERO_FIELDS:
        return st.one_of(st.just(0), SIZES, st.just(UNLIMITED))
    return st.one_of(SIZES, st.just(UNLIMITED))


LIMITS = st.fixed_dictionaries({}, optional={field: limit_values(field) for field in LIMIT_FIELDS}).map(
    lambda fields: Limits(**fields)
)


@st.composite
def users(draw: st.DrawFn) -> User:
    """Users, each optional field given or left to its default."""
    optional = {"name": LOGIN_NAMES, "home": HOMES, "groups": st.lists(IDS, max_size=4)}
    fields: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=optional))
    return User(draw(IDS), draw(st.none() | IDS), **fields)


MODES = st.integers(0, 0o1777)


def mounts(targets: st.SearchStrategy[str] = TARGETS) -> st.SearchStrategy[Mount]:
    """Mounts of every kind, with targets from the given strategy."""
    switches = {name: st.booleans() for name in ("writable", "as_owner", "noexec", "optional")}
    return st.one_of(
        st.builds(Bind, HOST_PATHS, targets, **switches),
        st.builds(Tmpfs, targets, size=st.none() | SIZES, mode=st.integers(0, 0o7777)),
        st.builds(Proc, targets),
        st.builds(Dev, targets),
        st.builds(Symlink, targets, LINK_TEXTS),
        st.builds(File, targets, st.binary(max_size=50) | st.text(_TEXT, max_size=50), mode=MODES),
    )


MOUNT_LISTS = st.lists(mounts(), max_size=6, unique_by=lambda mount: mount.target)


@st.composite
def _allowed(draw: st.DrawFn) -> Allow:
    names = draw(st.sets(st.sampled_from(Allow.names()), max_size=3))
    return Allow.of(names | {"nested"} if "mount" in names else names)


ALLOW = _allowed()
CALLS = st.sampled_from(sorted(set(SeccompPolicy().actions()) - {"execve", "exit_group", "write"}))
ACTIONS = st.sampled_from(["allow", "log", "EPERM", "ENOSYS", "kill"])
POLICIES = st.builds(
    SeccompPolicy,
    st.sampled_from(["default", "strict", "empty"]),
    changes=st.dictionaries(CALLS, ACTIONS, max_size=5).map(lambda found: tuple(found.items())),
)


@st.composite
def jail_specs(draw: st.DrawFn, /, **fixed: Any) -> JailSpec:
    """Valid specs; a keyword fixes a field to one value."""
    root = draw(st.none() | HOST_PATHS) if "root" not in fixed else fixed.pop("root")
    optional: dict[str, st.SearchStrategy[Any]] = {
        "level": LEVELS,
        "net": st.sampled_from([False, True, "host"]),
        "writable": st.sampled_from(["no", "ephemeral"] + ["yes"] * (root is not None)),
        "mounts": MOUNT_LISTS,
        "hostname": HOSTNAMES,
        "user": st.none() | IDS | users(),
        "limits": LIMITS,
        "env": ENVIRONMENTS,
        "cwd": st.none() | HOST_PATHS,
        "seccomp": st.sampled_from([None, True, False]) | POLICIES,
        "allow": ALLOW,
        "landlock": st.sampled_from([None, True, False]),
    }
    for field in fixed:
        del optional[field]
    return JailSpec(root, **draw(st.fixed_dictionaries({}, optional=optional)), **fixed)


ARGUMENTS = st.one_of(
    st.text(_TEXT, max_size=30),
    st.binary(max_size=30).map(lambda word: word.replace(b"\0", b"\1")),
)
ARGV = st.builds(
    lambda program, rest: [program, *rest],
    ARGUMENTS.filter(bool),
    st.lists(ARGUMENTS, max_size=5),
)


def commands() -> st.SearchStrategy[Command]:
    """Valid commands."""
    optional = {
        "env": ENVIRONMENTS,
        "cwd": st.none() | HOST_PATHS,
        "user": st.none() | IDS | users(),
        "limits": LIMITS,
        "detach": st.booleans(),
    }
    fields = st.fixed_dictionaries({}, optional=optional)
    return st.builds(lambda argv, given: Command(argv, **given), ARGV, fields)


# What is refused.


RELATIVE_PATHS = st.one_of(st.just(""), absolute_paths().map(lambda path: path.lstrip("/")))
NOT_PATHS = st.sampled_from([0, True, b"/usr", ["/usr"], 1.5, object()])
UNENCODABLE = st.sampled_from(["/a\0b", "/a\ud800", "/\udbff/x"])
LONG_PATHS = st.just("/" + "x/" * 2100)
BAD_HOST_PATHS = st.one_of(RELATIVE_PATHS, NOT_PATHS, UNENCODABLE, LONG_PATHS)
BAD_TARGETS = st.one_of(
    BAD_HOST_PATHS,
    st.none(),
    st.sampled_from(["/", "//", "/.", "/..", "/a/./b", "/a/../b", "/..//", "/" + "x" * 256]),
    st.builds("{}/{}".format, TARGETS, st.sampled_from([".", "..", "../etc", "\0"])),
)
BAD_IDS = st.one_of(
    st.integers(max_value=-1),
    st.integers(min_value=MAX_ID + 1),
    st.sampled_from([True, False, 1.0, "1000", b"0", math.nan, [0]]),
)
BAD_BOOLS = st.sampled_from([0, 1, "yes", "", 1.0, [], ()])
NOT_NUMBERS = st.sampled_from([True, False, "1", b"1", [1], 1j, math.nan, -math.inf])


def bad_limit_values(field: str) -> st.SearchStrategy[Any]:
    """Values that one field of `Limits` refuses."""
    if field in AMOUNT_FIELDS:
        too_large = st.one_of(st.integers(10**9 + 1), st.floats(1.1e9, 1e300))
        too_small = st.one_of(st.integers(max_value=0), st.floats(max_value=0, allow_nan=False))
        return st.one_of(NOT_NUMBERS, too_large, too_small)
    if field in SPECIAL_FIELDS:
        words = ["", "a", "1-", "2-1", "1,,2", "-1", "0 1"] if field == "cpuset" else []
        return st.one_of(NOT_NUMBERS, st.integers(max_value=0), st.sampled_from([2**63, *words]))
    least = 0 if field in SIZE_OR_ZERO_FIELDS else 1
    fractions = st.floats(0, 1e12)
    return st.one_of(NOT_NUMBERS, fractions, st.integers(max_value=least - 1), st.integers(2**63))


BAD_MODES = st.one_of(st.integers(max_value=-1), st.sampled_from([True, 0.5, "644", None, 0o10000]))
BAD_FILE_MODES = st.one_of(BAD_MODES, st.integers(0o2000, 0o7777))
BAD_HOSTNAMES = st.one_of(
    st.sampled_from(["", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a_b", "a b", "a\n", "ä", "a\0"]),
    st.sampled_from([None, 1, b"jail", ["a"], "a" * 64, "ab." * 21 + "cd"]),
)
BAD_LOGIN_NAMES = st.sampled_from(["", "A", "1a", "-a", "a:b", "a\n", "a b", "ä", "a" * 32, 7, b"a"])
BAD_ENVIRONMENTS = st.sampled_from(
    [
        {"": "x"},
        {"A=B": "x"},
        {"A\0": "x"},
        {"\ud800": "x"},
        {1: "x"},
        {b"A": "x"},
        {"A": 1},
        {"A": None},
        {"A": b"x"},
        ["A=x"],
        [("A",)],
        [("A", "x", "y")],
        [("A", "x"), ("A", "y")],
        "A=x",
        b"A=x",
        7,
        None,
    ]
)
BAD_ENVIRONMENT_VALUES = st.sampled_from(["\0", "a\0b", "\ud800"])
BAD_ARGV: st.SearchStrategy[Any] = st.sampled_from(
    ["ls -l", b"ls", "", None, 7, [], (), {"ls"}, {"ls": 1}, iter(["ls"])]
)
