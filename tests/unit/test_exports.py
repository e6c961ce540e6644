"""The public face: what is exported, described and picklable."""

from __future__ import annotations

import copy
import inspect
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

import jailkit
from jailkit._options import RunOptions

PUBLIC = sorted(
    name for name, value in vars(jailkit).items() if not name.startswith("_") and not inspect.ismodule(value)
)
CLASSES = [name for name in PUBLIC if inspect.isclass(getattr(jailkit, name))]
EXCEPTIONS = [name for name in CLASSES if issubclass(getattr(jailkit, name), BaseException)]

RESULT = SimpleNamespace(argv=("false",), returncode=1, reason="EXITED", stderr=b"no\n")
ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "JailkitError": (("something",), {}),
    "SpecError": (("limits.cpu_seconds", -1, "a finite number of seconds > 0"), {}),
    "UnsupportedError": (("limits.memory", "no cgroup to write to", "delegate one"), {}),
    "ClosedError": (("the jail is closed",), {}),
    "WaitTimeout": ((["sleep", "9"], 0.5), {}),
    "ExitError": ((RESULT,), {}),
    "RemoteError": (("ValueError", "no such thing", "Traceback (most recent call last):\n"), {}),
    "CallFailed": (("the call was ended", "WALL_TIME", b"out", b"err\n"), {}),
}
for _name in ("LaunchError", "CommandNotFound", "CommandNotExecutable"):
    ARGUMENTS[_name] = ((), {"phase": "jail", "errno": 2, "description": "open /x", "step": 3, "hint": "look"})


def attributes(error: BaseException) -> dict[str, Any]:
    """Return what an error carries."""
    extra = {"errno": error.errno, "filename": error.filename} if isinstance(error, OSError) else {}
    return {**vars(error), **extra}


def test_all_is_what_is_public() -> None:
    """``__all__`` is complete and names nothing twice or that is missing; its order is ruff's business (RUF022)."""
    assert len(set(jailkit.__all__)) == len(jailkit.__all__)
    assert sorted(name for name in jailkit.__all__ if not name.startswith("_")) == PUBLIC


@pytest.mark.parametrize("name", jailkit.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    """A class or function has a docstring of its own, and so has each public method and property."""
    value = getattr(jailkit, name)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return
    assert (value.__doc__ or "").strip()
    if not inspect.isclass(value):
        return
    assert value.__doc__ not in {base.__doc__ for base in value.__mro__[1:]}, "inherited docstring"
    for member, thing in vars(value).items():
        if not member.startswith("_") and (inspect.isroutine(thing) or isinstance(thing, property)):
            assert (inspect.getdoc(getattr(value, member)) or "").strip(), f"{name}.{member}"


def test_every_error_is_listed_here() -> None:
    """A new error must come with arguments for the tests below."""
    assert sorted(ARGUMENTS) == sorted(EXCEPTIONS)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_errors_survive_pickle_and_copy(name: str) -> None:
    """An error crosses from a worker process to its parent with everything that it carries."""
    positional, keywords = ARGUMENTS[name]
    error = getattr(jailkit, name)(*positional, **keywords)
    error.add_note("seen in a worker")
    copies = [pickle.loads(pickle.dumps(error, n)) for n in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for same in [*copies, copy.copy(error)]:
        assert type(same) is type(error)
        assert str(same) == str(error)
        assert attributes(same) == attributes(error)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_errors_have_one_base(name: str) -> None:
    """``except JailkitError`` catches everything that jailkit raises on its own account."""
    assert issubclass(getattr(jailkit, name), jailkit.JailkitError)


def test_what_is_handed_on_to_run_is_what_run_takes() -> None:
    """`JailPool.run` and `jailkit.aio.Jail.run` take the keywords of `Jail.run`, all of them and no other."""
    taken = inspect.signature(jailkit.Jail.run).parameters
    assert list(RunOptions.__annotations__) == [name for name in taken if name not in {"self", "argv"}]
    assert {name: str(hint.__forward_arg__) for name, hint in RunOptions.__annotations__.items()} == {
        name: taken[name].annotation.replace("_Env", "Mapping[str, str] | None") for name in RunOptions.__annotations__
    }
