"""A function of the caller's own, as data: the source of its module, and its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from jailkit._errors import SpecError

__all__ = ["MAIN", "function_request", "load_request", "target_request"]

MAIN = "__jailed_main__"
"""What the caller's ``__main__`` is called in a jail, where it does not run as a program."""


def target_request(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for a function by the name of its module and its own.

    Raises:
        SpecError: That is no name.
    """
    module, colon, name = target.partition(":") if isinstance(target, str) else ("", "", "")
    if not (colon and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))):
        raise SpecError("target", target, '"module:function", as in "json:loads"')
    return {"do": "call", "target": target, "args": list(args), "kwargs": dict(kwargs)}


def load_request(
    module: str, file: str, source: bytes, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Ask for a function of a source that goes along."""
    return {
        "do": "load",
        "module": module,
        "file": file,
        "source": source,
        "target": name,
        "args": list(args),
        "kwargs": dict(kwargs),
    }


def function_request(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for a function of the caller's own, of which the source is read here.

    Raises:
        SpecError: It cannot be found again by its name in its module, or the module has no source.
    """
    name = getattr(func, "__qualname__", "")
    module = sys.modules.get(getattr(func, "__module__", None) or "")
    if not isinstance(func, FunctionType) or _find(module, name) is not func:
        raise SpecError(
            "func", func, "a function that its module defines at its top; no lambda, closure, method or builtin"
        )
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py") or not os.path.isfile(file):
        raise SpecError("func", func, "a function of a module with a source file; use exec() or load() for others")
    with open(file, "rb") as source:
        shown = MAIN if func.__module__ == "__main__" else func.__module__
        return load_request(shown, file, source.read(), name, args, kwargs)


def _find(thing: Any, path: str) -> Any:
    for name in path.split("."):
        thing = getattr(thing, name, None)
    return thing
