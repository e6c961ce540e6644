"""Mounts: where they are, what is in them, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit._errors import SpecError
from jailkit.spec import UNLIMITED, Bind, Dev, File, Mount, Proc, Symlink, Tmpfs
from tests.strategies import (
    BAD_BOOLS,
    BAD_FILE_MODES,
    BAD_HOST_PATHS,
    BAD_MODES,
    BAD_TARGETS,
    HOST_PATHS,
    LINK_TEXTS,
    NOT_NUMBERS,
    TARGETS,
)

# A mount of each kind from its target alone.
AT: dict[str, Callable[..., Mount]] = {
    "bind": lambda target: Bind("/usr", target),
    "tmpfs": Tmpfs,
    "proc": Proc,
    "dev": Dev,
    "symlink": lambda target: Symlink(target, "x"),
    "file": lambda target: File(target, b"x"),
}
KINDS = pytest.mark.parametrize("kind", AT)


def test_every_kind_of_mount_is_tested() -> None:
    """A class that is added to Mount is met by the tests below."""
    assert {type(make("/a")) for make in AT.values()} == set(Mount.__args__)


@KINDS
@given(target=TARGETS)
def test_a_normal_target_is_kept(kind: str, target: str) -> None:
    """An absolute path without dots stays as it is."""
    assert AT[kind](target).target == target
    assert AT[kind](PurePosixPath(target)).target == target


@KINDS
@given(target=TARGETS, fill=st.integers(1, 3), end=st.integers(0, 3))
def test_doubled_and_closing_slashes_do_not_matter(kind: str, target: str, fill: int, end: int) -> None:
    """Spellings of one place are one target, so that they cannot hide a duplicate."""
    assert AT[kind](target.replace("/", "/" * fill) + "/" * end) == AT[kind](target)


@KINDS
@given(target=BAD_TARGETS)
def test_a_bad_target_is_refused_by_name(kind: str, target: object) -> None:
    """Relative paths, dots, NUL bytes, the root itself, long names and non-paths are no targets."""
    if target is None and kind == "bind":
        target = "/.."  # to a bind, None means the path of its source
    with pytest.raises(SpecError) as caught:
        AT[kind](target)
    assert caught.value.field == f"{kind}.target"
    assert caught.value.allowed


@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, False)])
def test_components_are_counted_in_bytes(length: int, fits: bool) -> None:
    """A name of 255 bytes is the longest, however few characters that is."""
    target = "/" + "ä" * (length // 2) + "x" * (length % 2)
    assert len(os.fsencode(target)) == length + 1
    if fits:
        assert Tmpfs(target).target == target
    else:
        with pytest.raises(SpecError, match="component"):
            Tmpfs(target)


@pytest.mark.parametrize(("length", "fits"), [(4095, True), (4096, False)])
def test_paths_end_before_path_max(length: int, fits: bool) -> None:
    """A path of 4095 bytes is the longest, in the jail as on the host."""
    path = ("/" + "x" * 7) * 512
    path = path[:length]
    assert len(path) == length
    if fits:
        assert Bind(path).target == path
    else:
        for field, make in (("bind.source", lambda: Bind(path, "/a")), ("tmpfs.target", lambda: Tmpfs(path))):
            with pytest.raises(SpecError, match=f"^{field}: "):
                make()


@given(TARGETS)
def test_a_bind_is_mounted_at_its_own_path_by_default(path: str) -> None:
    """Leaving the target out, or None, means the same place as on the host."""
    assert Bind(path) == Bind(path, None) == Bind(path, path)


@given(HOST_PATHS, TARGETS)
def test_a_source_may_be_any_absolute_path(source: str, target: str) -> None:
    """The root of the host, too, can be bound, at some other place."""
    assert Bind(source, target).source == source


@given(BAD_HOST_PATHS | st.none())
def test_a_bad_source_is_refused_by_name(source: object) -> None:
    """A relative source would depend on where the host program happens to be."""
    with pytest.raises(SpecError, match=r"^bind\.source: .* an absolute path"):
        Bind(source, "/a")  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["/", "/usr/../etc", "/usr/./lib"])
def test_a_source_that_is_no_target_needs_one(source: str) -> None:
    """The host resolves dots in a source; as a place in the jail they are refused."""
    assert Bind(source, "/a").source == source
    with pytest.raises(SpecError, match=r"^bind\.target: "):
        Bind(source)


@given(BAD_BOOLS)
def test_switches_are_bools(value: Any) -> None:
    """A text like "no" does not switch anything on."""
    for switch in ("writable", "noexec", "optional"):
        with pytest.raises(SpecError, match=f"^bind.{switch}: .* allowed: True or False$"):
            Bind("/usr", **{switch: value})


def test_a_bind_is_read_only_unless_said() -> None:
    """The default of every switch is the safe or the strict one."""
    bind = Bind("/usr")
    assert (bind.writable, bind.noexec, bind.optional) == (False, False, False)
    with pytest.raises(TypeError):
        Bind("/usr", "/usr", True)  # type: ignore[call-arg]


@given(NOT_NUMBERS | st.integers(max_value=0) | st.integers(2**63) | st.sampled_from([1.0, UNLIMITED]))
def test_a_bad_size_is_refused(size: object) -> None:
    """The size of a tmpfs is a whole positive number of bytes, or left to the limits."""
    with pytest.raises(SpecError, match=r"^tmpfs\.size: "):
        Tmpfs("/tmp", size=size)  # type: ignore[arg-type]


@given(BAD_MODES)
def test_a_bad_mode_of_a_directory_is_refused(mode: object) -> None:
    """A mode is a number of permission bits."""
    with pytest.raises(SpecError, match=r"^tmpfs\.mode: .*0o7777$"):
        Tmpfs("/tmp", mode=mode)  # type: ignore[arg-type]


@given(BAD_FILE_MODES)
def test_no_file_is_made_setuid(mode: object) -> None:
    """A generated file cannot carry the rights of another user."""
    with pytest.raises(SpecError, match=r"^file\.mode: .*0o1777$"):
        File("/f", b"", mode=mode)  # type: ignore[arg-type]


@given(st.text(st.characters(codec="utf-8")))
def test_text_of_a_file_is_utf8(text: str) -> None:
    """A str and its UTF-8 bytes make the same file."""
    assert File("/f", text) == File("/f", text.encode())


@pytest.mark.parametrize("data", [None, 5, bytearray(b"x"), ["x"], "\ud800"])
def test_contents_are_bytes_or_text(data: object) -> None:
    """Nothing is guessed, and nothing mutable is kept."""
    with pytest.raises(SpecError, match=r"^file\.data: "):
        File("/f", data)  # type: ignore[arg-type]


def test_contents_stay_out_of_logs() -> None:
    """The repr of a file tells its size only."""
    assert repr(File("/f", "secret")) == f"File(target='/f', data=<6 bytes>, mode={0o644})"


@given(TARGETS, LINK_TEXTS)
def test_the_text_of_a_link_is_kept(target: str, to: str) -> None:
    """readlink(2) in the jail gives what the caller wrote, dots and doubled slashes included."""
    assert Symlink(target, to).to == to


@pytest.mark.parametrize("to", ["", "a\0b", "\ud800", "x" * 4096, None, 1, b"x"])
def test_a_link_that_symlink_would_refuse_is_refused(to: object) -> None:
    """Empty, too long and unencodable texts are found before anything runs."""
    with pytest.raises(SpecError, match=r"^symlink\.to: "):
        Symlink("/l", to)  # type: ignore[arg-type]


def test_default_places() -> None:
    """Proc and Dev are where every program expects them; a tmpfs is open to all, as /tmp is."""
    assert (Proc().target, Dev().target) == ("/proc", "/dev")
    assert (Tmpfs("/t").mode, Tmpfs("/t").size, File("/f", b"").mode) == (0o1777, None, 0o644)
