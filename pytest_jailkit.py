"""The pytest plugin of jailkit as pytest loads it: options, marks, fixtures, and nothing that takes time.

A module beside the package, because pytest imports it in every session of everybody who has jailkit installed, and
``import jailkit`` is for those who use it. What it does when it is asked to is in `jailkit.pytest_plugin`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jailkit import Jail, JailPool

FIXTURES = frozenset({"jail", "jail_factory", "jail_pool", "session_jail"})
"""A test that uses one of these makes jails itself, which cannot be done inside one."""

ENVIRONMENT = dict(os.environ)
"""The variables as they were: what conftest files and fixtures change later belongs to the tests."""

_MARK = (
    "jailed(net=False, writable=(), root=None, limits=None, hostname='jail', env=None, time_offset=0, strict=False): "
    "run the test and its function-scoped fixtures in a jail; see the documentation of jailkit"
)


_UNSUPPORTED = ("fail", "skip", "run")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("jailkit", "hermetic tests")
    group.addoption("--jailed", action="store_true", help="run every test in a jail of its own")
    group.addoption(
        "--jailed-report", action="store_true", help="list what jailed tests touched that a hermetic test does not"
    )
    parser.addini("jailed", "run every test in a jail, as --jailed does", type="bool", default=False)
    parser.addini("jailed_unsupported", "where no jail can be made: fail, skip or run", default="fail")
    parser.addini("jailed_writable", "paths that jailed tests may write to", type="args", default=[])
    parser.addini("jailed_visible", "paths outside rootdir that jailed tests may read", type="args", default=[])
    parser.addini("jailed_env", "variables that jailed tests see", type="args", default=[])
    parser.addini("jailed_timeout", "seconds that a jailed test may take", default="300")
    parser.addini("jailed_memory", "bytes of memory that a jailed test may use", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, and refuse a word that would be taken for the strictest.

    Raises:
        UsageError: ``jailed_unsupported`` is none of its words.
    """
    if (word := config.getini("jailed_unsupported")) not in _UNSUPPORTED:
        raise pytest.UsageError(f"jailed_unsupported is one of {', '.join(_UNSUPPORTED)}, not {word!r}")
    # pytest rewrites the assertions of all that comes with a plugin. Ours are no tests, and where pytest cannot keep
    # what it has written it takes a second of each session.
    rewritten = getattr(config.pluginmanager.rewrite_hook, "_must_rewrite", None)
    if isinstance(rewritten, set):
        rewritten.discard("jailkit")
    config.addinivalue_line("markers", _MARK)


def _all_jailed(config: pytest.Config) -> bool:
    return bool(config.getoption("jailed") or config.getini("jailed"))


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say when tests run in jails."""
    return "jailkit: each test runs in a jail of its own" if _all_jailed(config) and not is_debugged(config) else None


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Say when tests do not run in the jails that were asked for."""
    if is_debugged(config) and (count := sum(map(is_jailed, items))):
        return f"jailkit: a debugger cannot follow a test into its jail: with --pdb and --trace, {count} run without"
    return None


def is_debugged(config: pytest.Config) -> bool:
    """Whether tests are to be looked at by a debugger."""
    return bool(config.getoption("usepdb") or config.getoption("trace"))


def is_jailed(item: pytest.Item) -> bool:
    """Whether a test asks for a jail, or all do."""
    return item.get_closest_marker("jailed") is not None or _all_jailed(item.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test that is to be jailed; leave every other one to pytest."""
    if not is_jailed(item):
        return None
    from jailkit.pytest_plugin import run_jailed  # noqa: PLC0415 - only now it is needed

    return run_jailed(item, nextitem)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what tests touched, where it was asked for."""
    if terminalreporter.config.getoption("jailed_report"):
        from jailkit.pytest_plugin import summary  # noqa: PLC0415

        summary(terminalreporter)


# --- fixtures: their tests run outside, and make jails -----------------------------------------------------------


@pytest.fixture(scope="session")
def jail_spec() -> dict[str, Any]:
    """What the fixtures below make jails of: arguments of `jailkit.Jail`. A project overrides it."""
    return {}


@pytest.fixture
def jail_factory(jail_spec: dict[str, Any]) -> Iterator[Callable[..., Jail]]:
    """Make any number of live jails, of `jail_spec` and of the arguments given; they are closed after the test."""
    import contextlib  # noqa: PLC0415

    from jailkit import Jail  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        yield lambda *args, **spec: stack.enter_context(Jail(*args, **{**jail_spec, **spec}))


@pytest.fixture
def jail(jail_factory: Callable[..., Jail], jail_spec: dict[str, Any], request: pytest.FixtureRequest) -> Jail:
    """Make a live jail for one test. Where the test uses `tmp_path`, it is there, under its path, for writing."""
    if "tmp_path" not in request.fixturenames:
        return jail_factory()
    from jailkit import Bind  # noqa: PLC0415

    path = str(request.getfixturevalue("tmp_path"))
    return jail_factory(mounts=[*jail_spec.get("mounts", ()), Bind(path, writable=True)])


@pytest.fixture(scope="session")
def session_jail(jail_spec: dict[str, Any]) -> Iterator[Jail]:
    """Make one live jail for all tests of the session. What one of them leaves in it, the next one sees."""
    from jailkit import Jail  # noqa: PLC0415

    with Jail(**jail_spec) as made:
        yield made


@pytest.fixture(scope="session")
def jail_pool(jail_spec: dict[str, Any]) -> Iterator[JailPool]:
    """Keep jails ready for all tests of the session; each is used once."""
    from jailkit import Jail, JailPool  # noqa: PLC0415

    with JailPool(Jail(**jail_spec).spec) as made:
        yield made
