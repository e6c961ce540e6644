"""The hidden suite. It runs outside of the jail; `student` calls the functions of what was handed in."""

import pytest

from jailkit import RemoteError


@pytest.mark.points(2)
@pytest.mark.parametrize(("numbers", "middle"), [([3, 1, 2], 2), ([5], 5), ([1, 2, 3, 10], 2.5), ([-1, -5, -3], -3)])
def test_median(student, numbers, middle):
    assert student.median(numbers) == middle


@pytest.mark.points(1)
def test_median_of_nothing(student):
    with pytest.raises(RemoteError) as caught:
        student.median([])
    assert caught.value.type_name == "ValueError"


@pytest.mark.points(2)
def test_median_of_many(student):
    numbers = [(n * 7919) % 100_003 for n in range(20_001)]
    assert student.median(numbers) == sorted(numbers)[10_000]


@pytest.mark.points(3)
def test_mode(student):
    assert student.mode(["b", "a", "b", "a", "c"]) == "b"
    assert student.mode(["x"]) == "x"
