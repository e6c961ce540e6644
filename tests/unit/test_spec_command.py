"""The request for one program."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given

from jailkit._errors import SpecError
from jailkit.spec import Command, Limits, User
from tests.strategies import ARGV, BAD_ARGV, BAD_BOOLS, BAD_ENVIRONMENTS, BAD_HOST_PATHS, BAD_IDS, IDS


@given(ARGV)
def test_argv_is_encoded_for_the_kernel(argv: list[str | bytes]) -> None:
    """Each word becomes the bytes that execve(2) gets, empty arguments included."""
    assert Command(argv).argv == tuple(os.fsencode(word) for word in argv)


def test_a_path_is_a_word() -> None:
    """Programs and arguments can be PathLike, and undecodable bytes survive."""
    words: list[Any] = [PurePosixPath("/bin/ls"), os.fsdecode(b"\xff"), b"\xfe"]
    assert Command(words).argv == (b"/bin/ls", b"\xff", b"\xfe")


@given(BAD_ARGV)
def test_argv_is_a_list_that_is_not_empty(argv: Any) -> None:
    """A command line in one text, an unordered set, or nothing at all is no command."""
    with pytest.raises(SpecError, match=r"^argv: .* allowed: a list") as caught:
        Command(argv)
    assert caught.value.value == (() if argv == [] else argv)


def test_a_command_line_in_one_text_gets_advice() -> None:
    """Who comes from a shell is told what to pass."""
    with pytest.raises(SpecError, match=r'a list .* as in \["ls", "-l"\]; no shell splits a str'):
        Command("ls -l")


@pytest.mark.parametrize("word", [b"a\0b", b"\0", "\ud800", 7, None, ["x"], 1.5, bytearray(b"x")])
def test_a_bad_word_is_told_with_its_place(word: Any) -> None:
    """The message says which argument it is."""
    with pytest.raises(SpecError) as caught:
        Command(["prog", "fine", word])
    assert (caught.value.field, caught.value.value) == ("argv[2]", word)


def test_a_nul_in_a_text_is_found_too() -> None:
    """A word ends at its first NUL for the kernel, so a program would not get what was meant."""
    with pytest.raises(SpecError, match=r"^argv\[1\]: b'a\\x00b' "):
        Command(["prog", "a\0b"])


@pytest.mark.parametrize("word", ["", b""])
def test_a_program_has_a_name(word: str | bytes) -> None:
    """An empty argument is fine, an empty program is not."""
    assert Command(["prog", word]).argv == (b"prog", b"")
    with pytest.raises(SpecError, match=r"^argv\[0\]: b'' "):
        Command([word, "x"])


def test_argv_and_environment_stay_below_2_mib_together() -> None:
    """What execve(2) would refuse is refused before a jail is built; the bound is exact."""
    room = 2 * 1024 * 1024 - len(b"p\0") - len(b"V=1\0") - len(b"\0") - 1
    assert len(Command(["p", "x" * room], env={"V": "1"}).argv[1]) == room
    with pytest.raises(SpecError, match=r"^argv: 2097152 is not allowed") as caught:
        Command(["p", "x" * room], env={"V": "12"})
    assert caught.value.value == 2 * 1024 * 1024


def test_the_size_is_counted_in_bytes() -> None:
    """Characters of two bytes fill the room twice as fast."""
    half = 1024 * 1024
    assert Command(["p", "x" * half]).argv
    with pytest.raises(SpecError, match=r"^argv: "):
        Command(["p", "ä" * half])
    with pytest.raises(SpecError, match=r"^argv: "):
        Command(["p"], env={"A": "ä" * half})


def test_the_documented_defaults() -> None:
    """A command alone asks for nothing else."""
    command = Command(["true"])
    assert (command.env, command.cwd, command.user) == ((), None, None)
    assert (command.limits, command.detach) == (Limits(), False)


@given(IDS)
def test_a_number_is_a_user(uid: int) -> None:
    """A command names its user as a jail does."""
    assert Command(["true"], user=uid).user == User(uid)


@given(BAD_IDS)
def test_a_user_is_a_number_or_a_user(user: Any) -> None:
    """Names of the host's users mean nothing in a jail."""
    with pytest.raises(SpecError, match=r"^user: "):
        Command(["true"], user=user)


@given(BAD_ENVIRONMENTS)
def test_a_bad_environment_is_refused(env: Any) -> None:
    """The rules are those of the jail's own environment."""
    with pytest.raises(SpecError, match=r"^env: "):
        Command(["true"], env=env)


@given(BAD_HOST_PATHS)
def test_a_directory_is_absolute(cwd: Any) -> None:
    """A program does not start in a place that depends on the host program."""
    with pytest.raises(SpecError, match=r"^cwd: "):
        Command(["true"], cwd=cwd)


@given(BAD_BOOLS)
def test_detach_is_a_bool(value: Any) -> None:
    """Programs are not left running by accident."""
    with pytest.raises(SpecError, match=r"^detach: .* allowed: True or False$"):
        Command(["true"], detach=value)


@pytest.mark.parametrize("value", [None, {}, 5])
def test_limits_are_limits(value: Any) -> None:
    """A dictionary of limits would not have been checked."""
    with pytest.raises(SpecError, match=r"^limits: "):
        Command(["true"], limits=value)
