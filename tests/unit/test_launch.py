"""From a spec to the bytes that start a jail: what does not fit is refused in words of the spec."""

from __future__ import annotations

import pytest

from jailkit import _native
from jailkit._errors import UnsupportedError
from jailkit._launch import _compiled
from jailkit.plan import Host, compile_plan
from jailkit.spec import Bind, JailSpec
from tests.plans import FILLS, TIERS, steps_of

SLOTS = _native.constant("JK_SLOTS")


def many(count: int) -> JailSpec:
    """Return a spec with so many binds."""
    return JailSpec(mounts=[Bind(f"/srv/{number}") for number in range(count)])


def room(host: Host) -> int:
    """Return how many binds fit: each needs a slot, and a jail without any has some already."""
    return SLOTS - len({one.slot for one in steps_of(compile_plan(many(0), host)) if one.op in FILLS})


@pytest.mark.parametrize("tier", TIERS)
def test_too_many_mounts_are_unsupported(tier: str) -> None:
    """One more than fits is refused by the number that the caller knows; as many as fit are not."""
    host = TIERS[tier]()
    most = room(host)
    assert most > 400
    assert len(_compiled(many(most), host).encoded) > 16
    with pytest.raises(UnsupportedError) as caught:
        _compiled(many(most + 1), host)
    assert caught.value.feature == f"{most + 1} mounts"
    assert str(SLOTS) in caught.value.missing
    assert caught.value.remedy
    assert caught.value.__cause__ is None


def test_a_refusal_is_not_remembered_as_a_plan() -> None:
    """The same question gets the same answer twice."""
    host = TIERS["one"]()
    for _ in range(2):
        with pytest.raises(UnsupportedError):
            _compiled(many(SLOTS), host)
    assert _compiled(many(1), host) is _compiled(many(1), host)
