"""Python sessions, as far as no jail is needed: what is asked for, and of which interpreter."""

from __future__ import annotations

import functools
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jailkit
from jailkit import (
    Bind,
    CallFailed,
    CommandNotFound,
    ExitReason,
    JailSpec,
    Limits,
    RemoteError,
    SpecError,
    python_binds,
)
from jailkit.python import function_request, target_request
from jailkit.python.calls import Options
from jailkit.python.interpreter import find_interpreter
from jailkit.python.tidy import Places


def top(a: int) -> int:
    """A function that can be called in a jail."""
    return a


class Holder:
    """Something with a method."""

    def method(self) -> None:
        """Not a function at the top."""


@functools.wraps(top)
def wrapped(a: int) -> int:
    """Pretend to be another one."""
    return a


def closure() -> Callable[[], None]:
    """Return a function that exists here only."""

    def inner() -> None: ...

    return inner


def test_a_function_of_the_callers_own_is_sent_as_source() -> None:
    """Its module, its name, and the file as it is."""
    request = function_request(top, [1], {"b": 2})
    assert request["source"] == Path(__file__).read_bytes()
    assert (request["module"], request["target"], request["args"]) == (__name__, "top", [1])


@pytest.mark.parametrize("func", [lambda: 1, closure(), len, Holder, Holder().method, wrapped, "top", None], ids=repr)
def test_what_has_no_source_of_its_own_is_refused(func: Any) -> None:
    """The error says what can be called."""
    with pytest.raises(SpecError, match="no lambda, closure, method or builtin"):
        function_request(func, [], {})


def test_a_function_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that was typed in."""
    module = types.ModuleType("typed_in")
    exec("def f(): pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "typed_in", module)
    with pytest.raises(SpecError, match="source file"):
        function_request(module.f, [], {})


@pytest.mark.parametrize("target", ["json", "json:", ":loads", "json.loads", "a b:c", "json:loads()", "../x:y", 3])
def test_a_target_names_module_and_function(target: Any) -> None:
    """As entry points do."""
    with pytest.raises(SpecError, match="module:function"):
        target_request(target, [], {})


def test_limits_of_a_call_are_those_of_one_process() -> None:
    """Memory, which a control group bounds, is for the session, and the error says so."""
    options = Options(Limits()).over(2, Limits(cpu_seconds=3, output=10), 7)
    assert (options.limits.wall_seconds, options.limits.cpu_seconds, options.limits.output) == (2, 3, 10)
    assert options.seed == 7
    assert Options(Limits(output=10)).over(None, Limits(output=20), None).limits.output == 20
    with pytest.raises(SpecError, match=r"limits.memory.*jail\.python"):
        options.over(None, Limits(memory=1), None)
    for seed in (-1, 2**64, True, "1"):
        with pytest.raises(SpecError, match="seed"):
            options.over(None, None, seed)  # type: ignore[arg-type]


def test_the_own_interpreter_is_that_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a virtual environment, the Python that it was made from; of a root, its own."""
    monkeypatch.setattr(sys, "_base_executable", "/usr/bin/env")
    monkeypatch.setattr("sysconfig.get_path", lambda *_, **__: "/usr/lib")
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: None)
    found = find_interpreter(JailSpec(), None, packages=False)
    assert (found.command, found.own) == ((os.path.realpath("/usr/bin/env"), "-I", "-S"), True)
    assert python_binds() == ()
    assert not find_interpreter(JailSpec("/srv/root"), None, packages=None).own
    assert find_interpreter(JailSpec(), "/opt/py", packages=False).command == ("/opt/py", "-I", "-S")
    assert find_interpreter(JailSpec(), "/opt/py", packages=None).command == ("/opt/py", "-I")


def test_an_interpreter_elsewhere_needs_a_bind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The helper gives it, and with it the interpreter is found."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").touch()
    home = os.path.realpath(tmp_path)
    monkeypatch.setattr(sys, "base_prefix", home)
    monkeypatch.setattr(sys, "_base_executable", f"{home}/bin/python3")
    monkeypatch.setattr("sysconfig.get_path", lambda *_, **__: f"{home}/lib")
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: None)
    with pytest.raises(CommandNotFound) as caught:
        find_interpreter(JailSpec(), None, packages=None)
    assert f'Bind("{home}")' in str(caught.value)
    assert "python_binds()" in str(caught.value)
    assert python_binds() == (Bind(home),)
    found = find_interpreter(JailSpec(mounts=python_binds()), None, packages=None)
    assert found.command[0] == f"{home}/bin/python3"


def test_packages_come_along_when_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None: as far as they are in the jail; True: all of them, or an error; False: none."""
    place = tmp_path / "site-packages"
    place.mkdir()
    monkeypatch.setattr(sys, "path", [str(place)])
    binds = python_binds(packages=True)
    assert Bind(os.path.realpath(place)) in binds
    plain, bound = JailSpec(mounts=python_binds()), JailSpec(mounts=binds)
    assert find_interpreter(plain, None, packages=None).path == ()
    assert find_interpreter(bound, None, packages=None).path == (os.path.realpath(place),)
    assert find_interpreter(bound, None, packages=True).path == (os.path.realpath(place),)
    assert find_interpreter(bound, None, packages=False).path == ()
    with pytest.raises(SpecError, match="python_binds"):
        find_interpreter(plain, None, packages=True)


def test_errors_show_what_came_of_a_jail_as_text() -> None:
    """Bounded, and without what a terminal would act on."""
    error = RemoteError("Odd\x1b[2J", "bad\x07", "Traceback\n  line\x1b\n" * 1000)
    assert str(error).startswith("Odd\\x1b[2J: bad\\x07; in the jail:\n")
    assert len(str(error)) < 3000
    failed = CallFailed("it was ended", ExitReason.WALL_TIME, b"out", b"last \x1bwords\n")
    assert str(failed) == "it was ended (WALL_TIME); standard error ends:\nlast \\x1bwords"


def test_an_executor_wants_workers() -> None:
    """At least one."""
    for workers in (0, -1, True, "2"):
        with pytest.raises(SpecError, match="max_workers"):
            jailkit.JailExecutor(workers)  # type: ignore[arg-type]


def test_files_of_a_call_go_and_those_before_it_stay(tmp_path: Path) -> None:
    """However deep, however forbidden, and never through a link."""
    base = tmp_path / "base"
    (base / "kept" / "below").mkdir(parents=True)
    (base / "kept" / "old").write_text("old")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    places = Places([str(base), str(tmp_path / "missing")])
    before = places.look()
    (base / "kept" / "below" / "new").write_text("new")
    (base / "link").symlink_to(outside)
    (base / "kept" / "link").symlink_to(outside)
    deep = os.open(base, os.O_RDONLY)
    for _ in range(1500):  # longer than a path can be
        os.mkdir("directory", dir_fd=deep)
        inner = os.open("directory", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    (base / "locked" / "inner").mkdir(parents=True)
    (base / "locked" / "inner" / "file").touch()
    os.chmod(base / "locked" / "inner", 0)
    os.chmod(base / "locked", 0)
    assert places.clean(before)
    assert places.look() == before
    assert (base / "kept" / "old").read_text() == "old"
    assert (outside / "precious").read_text() == "x"
