"""Programs that attack what a jail protects: each fails inside, works without the protection, and harms nothing."""

from __future__ import annotations

import os

import pytest

from tests.escape import bare_tier, files, files_host, network, privileges, proc, processes, resources, results
from tests.escape.attack import Attack, perform
from tests.escape.canaries import Canaries

pytestmark = pytest.mark.requires("userns", "python", "libseccomp")

TABLES = (files, files_host, privileges, proc, processes, resources, network, results)
ATTACKS: tuple[Attack, ...] = tuple(bare_tier.with_bare_tier(one) for table in TABLES for one in table.ATTACKS)
HERE = [attack for attack in ATTACKS if os.path.exists(attack.path)]


def test_every_attack_has_a_name_of_its_own() -> None:
    """The table can be read, and there are as many attacks as it seems."""
    names = [attack.name for attack in ATTACKS]
    assert sorted(set(names)) == sorted(names)
    assert len(names) >= 90
    assert all(bool(attack.code) != bool(attack.act) for attack in ATTACKS)


def test_what_is_left_out_of_the_bare_tier_exists() -> None:
    """A row that was renamed is not left out by accident, and most rows apply."""
    for beginning in bare_tier.LEFT_OUT:
        assert any(attack.name.startswith(beginning) for attack in ATTACKS), beginning
    assert sum(bare_tier.FACE in attack.refused for attack in ATTACKS) >= 200


@pytest.mark.parametrize(
    ("attack", "face"),
    [
        pytest.param(
            attack, face, id=f"{attack.id}-{attack.name}-{face}".replace(" ", "_"),
            marks=pytest.mark.requires(*attack.needs, *(["landlock6"] if face == bare_tier.FACE else [])),
        )
        for attack in HERE
        for face in attack.refused
    ],
)  # fmt: skip
def test_attack(attack: Attack, face: str, canaries: Canaries) -> None:
    """An attack is refused, the canaries of the host sing, the next jail works; and without the protection it works."""
    perform(attack, face, canaries)
