"""What one test asks for: its marks over the ini options, as the jail that it becomes."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

import attrs
import pytest

from jailkit import Bind, Limits, SpecError
from pytest_jailkit import ENVIRONMENT

__all__ = ["Wanted", "wanted"]

_OF_PYTEST = ("CI", "BUILD_NUMBER")
"""By these pytest decides how long an explanation of a failed assertion is, where the test runs."""

_ARGUMENTS = frozenset("net writable root limits hostname env strict time_offset".split())
_PRIVATE = ("/tmp", "/dev", "/proc", "/sys", "/run")  # noqa: S108 - those of the host stay outside
_HOST_VIEW = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@attrs.frozen(kw_only=True)
class Wanted:
    """One test's jail.

    Attributes:
        spec: Arguments of `jailkit.Jail`.
        env: Variables of the test.
        cwd: Where it runs.
        seconds: How long it may take.
        strict: Whether it fails for what it touches.
        watch: Whether what it touches is listed.
        time_offset: Seconds by which its clocks are ahead, but not the time of day.
    """

    spec: dict[str, Any]
    env: dict[str, str]
    cwd: str
    seconds: float
    strict: bool
    watch: bool
    time_offset: float


def wanted(item: pytest.Item) -> Wanted:
    """Read marks, the closest first, and ini options.

    Raises:
        UsageError: A mark has an argument that is none, or a wrong value.
    """
    asked: dict[str, Any] = {}
    for mark in item.iter_markers("jailed"):
        if mark.args or not mark.kwargs.keys() <= _ARGUMENTS:
            raise pytest.UsageError(f"{item.nodeid}: jailed() takes the keywords {', '.join(sorted(_ARGUMENTS))}")
        asked = {**mark.kwargs, **asked}
    try:
        limits = _limits(item.config.getini("jailed_timeout"), item.config.getini("jailed_memory"))
        if asked.get("limits"):
            limits = asked["limits"].over(limits)
    except (AttributeError, SpecError) as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from None
    writable = [*item.config.getini("jailed_writable"), *asked.get("writable", ())]
    binds = visible(item, [_absolute(item.config, path) for path in writable])
    cwd = os.getcwd()
    watch = bool(asked.get("strict") or item.config.getoption("jailed_report"))
    return Wanted(
        spec={
            **{name: asked[name] for name in ("net", "root", "hostname") if name in asked},
            "limits": limits,
            "mounts": binds,
            "report_denials": watch,
        },
        env=_environment(item.config, asked.get("env") or {}),
        cwd=cwd if any(_below(cwd, one.target) for one in binds) else "/",
        seconds=float(limits.wall_seconds or 0),
        strict=bool(asked.get("strict")),
        watch=watch,
        time_offset=asked.get("time_offset", 0.0),
    )


@functools.lru_cache(maxsize=1)
def _limits(timeout: str, memory: str) -> Limits:
    try:
        seconds = float(timeout)
    except ValueError:
        raise pytest.UsageError(f"jailed_timeout is a number of seconds, not {timeout!r}") from None
    try:
        size = int(memory) if memory else None
    except ValueError:
        raise pytest.UsageError(f"jailed_memory is a number of bytes, not {memory!r}") from None
    return Limits(wall_seconds=seconds, memory=size)


class _Changed:
    """The variables that are not as they were when pytest began.

    To look at each of them takes longer than all else that is asked of a test, and hardly ever finds anything new.
    """

    def __init__(self) -> None:
        self._seen: dict[Any, Any] | None = None
        self._found: dict[str, str] = {}

    def now(self) -> dict[str, str]:
        data = getattr(os.environ, "_data", None)  # what it is made of, in CPython and PyPy
        if data is None or data != self._seen:
            self._found = {name: value for name, value in os.environ.items() if ENVIRONMENT.get(name) != value}
            self._seen = dict(data) if data is not None else None
        return self._found


_CHANGED = _Changed()


def _environment(config: pytest.Config, own: dict[str, Any]) -> dict[str, str]:
    """Name the variables that the tests themselves have made, and those that were asked for; the rest is the jail's."""
    changed = _CHANGED.now()
    names = (*_OF_PYTEST, *config.getini("jailed_env"))
    let_in = {name: os.environ[name] for name in names if name in os.environ}
    path = f"{os.path.dirname(sys.executable)}:{_PATH}"
    return {"PATH": path, **changed, **let_in, **{name: str(value) for name, value in own.items()}}


def _absolute(config: pytest.Config, path: str) -> str:
    return os.path.realpath(os.path.join(config.rootpath, path))


# --- what is to be seen ------------------------------------------------------------------------------------------


def visible(item: pytest.Item, writable: list[str]) -> tuple[Bind, ...]:
    """Return the binds of a test: the project and Python for reading, the temporary files of pytest for writing."""
    config = item.config
    project = os.path.realpath(config.rootpath)
    read = (project, *_of_pytest(item), *_of_python(), *(_absolute(config, path) for path in _ini(config)))
    factory = getattr(config, "_tmp_path_factory", None)
    write = {*writable, os.path.realpath(factory.getbasetemp())} if factory else set(writable)
    return _binds(project, read, frozenset(write))


@functools.lru_cache(maxsize=64)
def _binds(project: str, read: tuple[str, ...], write: frozenset[str]) -> tuple[Bind, ...]:
    binds = {path: Bind(path, as_owner=_below(path, project)) for path in _outermost(read)}
    binds |= {path: Bind(path, writable=True) for path in write}
    return tuple(binds[path] for path in sorted(binds))  # a directory before what is in it


def _ini(config: pytest.Config) -> list[str]:
    return list(config.getini("jailed_visible"))


def _of_pytest(item: pytest.Item) -> list[str]:
    folders = [str(item.config.invocation_params.dir), str(item.path.parent)]
    return [*folders, str(item.config.inipath.parent)] if item.config.inipath else folders


def _of_python() -> tuple[str, ...]:
    """Name where modules come from: what the interpreter knows, and what editable installs have added."""
    places = (
        sys.prefix,
        sys.exec_prefix,
        sys.base_prefix,
        sys.base_exec_prefix,
        *sys.path,
        *_editable(len(sys.modules)),
    )
    return tuple(path for path in places if path)


@functools.cache
def _editable(modules: int) -> tuple[str, ...]:
    """Look through the modules; again only when there are others."""
    del modules
    found = [module for name, module in list(sys.modules.items()) if name.startswith("__editable__")]
    return tuple(os.path.dirname(path) for one in found for path in getattr(one, "MAPPING", {}).values())


def _outermost(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out what is below another, what the jail has anyway, and what stays its own."""
    found: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths}):
        known = any(_below(path, other) for other in (*found, *_HOST_VIEW))
        if not known and path not in ("/", *_PRIVATE) and os.path.exists(path):
            found.append(path)
    return tuple(found)


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
