"""The default output validator: which outputs are the answer, and which are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit.grading._compare import Comparison, compare, read_flags


@pytest.mark.parametrize(
    ("output", "answer", "flags", "same"),
    [
        (b"1 2\n3", b"1\n2 3\n", "", True),
        (b"1 2", b"1 2 3", "", False),
        (b"1 2 3", b"1 2", "", False),
        (b"", b" \n", "", True),
        (b"Yes", b"YES", "", True),
        (b"Yes", b"YES", "case_sensitive", False),
        ("É".encode(), "é".encode(), "", False),
        (b"1  2", b"1 2", "space_change_sensitive", False),
        (b"1 2\n", b"1 2", "space_change_sensitive", False),
        (b"1\t2\n", b"1\t2\n", "space_change_sensitive", True),
        (b"3.14e-2", b"0.0314", "float_tolerance 1e-9", True),
        (b"0.0314", b"3.14e-2", "", False),
        (b"1.5", b"1", "float_absolute_tolerance 0.5", True),
        (b"1.6", b"1", "float_absolute_tolerance 0.5", False),
        (b"101", b"100", "float_relative_tolerance 0.01", True),
        (b"1.5", b"1", "float_relative_tolerance 0.01 float_absolute_tolerance 0.5", True),
        (b"x", b"1", "float_tolerance 1", False),
        (b"X", b"x", "float_tolerance 1", True),
        (b"nan", b"1", "float_tolerance 1e9", False),
        (b"inf", b"1", "float_tolerance 1e9", False),
        (b"0x1", b"1", "float_tolerance 1", False),
        (b"1_0", b"10", "float_tolerance 1", False),
        (b"1" * 5000, b"1", "float_tolerance 1", False),
    ],
)
def test_same(output: bytes, answer: bytes, flags: str, same: bool) -> None:
    """Tokens count; case, blanks and tolerances count as the flags say; only decimal numbers are numbers."""
    assert (compare(output, answer, read_flags(flags.split())) is None) == same


@pytest.mark.parametrize(
    "flags",
    [
        "case_insensitive", "float_tolerance", "float_tolerance x", "float_tolerance -1", "float_tolerance nan",
        "float_tolerance 1 float_tolerance 1", "float_tolerance 1 float_absolute_tolerance 1",
    ],
)  # fmt: skip
def test_a_wrong_flag_is_refused(flags: str) -> None:
    """A flag with a mistake would make a wrong verdict, and is an error of the package."""
    with pytest.raises(ValueError, match=flags.split(maxsplit=1)[0]):
        read_flags(flags.split())


def test_what_differs_is_said_in_a_bounded_line() -> None:
    """The message names token and line, and is short however long the token is."""
    assert compare(b"1\n2 4\n", b"1 2 3", Comparison()) == "token 3, line 2: '4', expected '3'"
    said = compare(b"\x1b[2J" * 10_000, b"1", Comparison())
    assert said is not None
    assert len(said) < 400
    assert said.isascii() or "…" in said
    assert "\x1b" not in said


@given(st.binary(max_size=60))
def test_what_is_written_is_the_same_as_itself(data: bytes) -> None:
    """Whatever the answer is, to print it is right, in every mode; comparing never fails."""
    for rules in (
        Comparison(),
        Comparison(case_sensitive=True, space_change_sensitive=True),
        Comparison(relative=0.0, absolute=0.0),
    ):
        assert compare(data, data, rules) is None
        compare(data, b"1 2 x", rules)
        compare(b"1 2 x", data, rules)
