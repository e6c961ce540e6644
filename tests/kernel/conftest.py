"""What the tests of real jails share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import jailkit
from tests import leaks
from tests.inside import public_directory
from tests.net import bed


@pytest.fixture
def sandbox() -> Iterator[jailkit.Jail]:
    """A jail with all defaults."""
    with jailkit.Jail() as jail:
        yield jail


@pytest.fixture(params=[jailkit.Level.JAIL, jailkit.Level.SANDBOX], ids=lambda level: level.name.lower())
def jail(request: pytest.FixtureRequest) -> Iterator[jailkit.Jail]:
    """A jail, once with a superuser of its own and once for hostile code."""
    with jailkit.Jail(level=request.param) as made:
        yield made


@pytest.fixture
def bare() -> Iterator[jailkit.Jail]:
    """A jail without namespaces."""
    with jailkit.Jail(tier="landlock") as jail:
        yield jail


@pytest.fixture
def public() -> Iterator[str]:
    """A directory that everybody on the host may enter."""
    with public_directory() as path:
        yield path


@pytest.fixture
def canary(public: str) -> Iterator[str]:
    """A file of the host that everybody on the host may read, and that nobody changes."""
    path = f"{public}/canary"
    with open(path, "w") as file:
        file.write("sings")
    yield path
    with open(path) as file:
        assert file.read() == "sings"


@pytest.fixture(scope="module")
def _world() -> Iterator[bed.Bed]:
    with bed.bed() as made:
        yield made


@pytest.fixture
def world(_world: bed.Bed) -> Iterator[bed.Bed]:
    """A small world of network namespaces; see tests/net/bed.py."""
    before = leaks.children()
    yield _world
    # What becomes a child of this process because its own parent was killed; elsewhere that is init's work.
    leaks.reap(keep={*before, *_world.holders})


@pytest.fixture(params=["root", "user"])
def user(request: pytest.FixtureRequest) -> bool:
    """Whether jailkit is used by an ordinary user of that world."""
    return bool(request.param == "user")
