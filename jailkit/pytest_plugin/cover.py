"""Coverage measured in a jail, told to the measurement outside as numbers of lines. pytest-cov needs no more."""

from __future__ import annotations

import sys
from typing import Any

from jailkit.pytest_plugin.wire import Forged

__all__ = ["add", "begin", "found"]


def begin() -> Any:
    """In the forked child: measure afresh, in memory, what was measured before; None where nothing is."""
    module = sys.modules.get("coverage")
    outer = module.Coverage.current() if module else None
    if module is None or outer is None:
        return None
    outer.stop()
    inner = module.Coverage(
        data_file=None,
        config_file=getattr(outer.config, "config_file", None) or False,
        **{name: outer.get_option(f"run:{name}") for name in ("branch", "source", "include", "omit")},
    )
    inner.start()
    return inner


def found(inner: Any) -> dict[str, Any]:
    """Stop, and return what was found."""
    inner.stop()
    data = inner.get_data()
    look = data.arcs if data.has_arcs() else data.lines
    return {"arcs": data.has_arcs(), "files": {name: list(look(name) or ()) for name in data.measured_files()}}


def add(told: Any) -> None:
    """In the parent: add it to what is measured here.

    Raises:
        Forged: It is something else.
    """
    module = sys.modules.get("coverage")
    outer = module.Coverage.current() if module else None
    if outer is None:
        return
    files = told.get("files") if isinstance(told, dict) else None
    if not isinstance(files, dict) or not all(_numbers(lines, pairs=bool(told["arcs"])) for lines in files.values()):
        raise Forged("coverage that is none")
    data = outer.get_data()
    if told["arcs"]:
        data.add_arcs({name: [tuple(pair) for pair in arcs] for name, arcs in files.items()})
    else:
        data.add_lines(files)


def _numbers(lines: Any, *, pairs: bool) -> bool:
    if not isinstance(lines, list):
        return False
    if pairs:
        return all(isinstance(one, list) and len(one) == 2 and _numbers(one, pairs=False) for one in lines)
    return all(isinstance(one, int) for one in lines)
