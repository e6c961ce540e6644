"""What the tests of real jails share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import jailkit
from tests.inside import public_directory


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
