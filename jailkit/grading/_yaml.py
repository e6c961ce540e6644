"""YAML with line numbers: the only module that imports PyYAML."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from jailkit.grading._errors import PackageError
from jailkit.grading._section import Section

__all__ = ["load_yaml"]

_MOST_NODES = 100_000
"""Aliases of aliases would make a file of a page fill the memory."""


class _Reader:
    def __init__(self, path: Path, loader: yaml.SafeLoader) -> None:
        self.path, self.loader, self.left = path, loader, _MOST_NODES

    def value(self, node: yaml.Node) -> Any:
        self.left -= 1
        if self.left < 0:
            raise PackageError(self.path, _line(node), f"more than {_MOST_NODES} values, or an alias within itself")
        if isinstance(node, yaml.MappingNode):
            return self.section(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(each) for each in node.value]
        return self.loader.construct_object(node)

    def section(self, node: yaml.MappingNode) -> Section:
        entries: dict[str, tuple[Any, int]] = {}
        for key, value in node.value:
            name = str(self.loader.construct_object(key)) if isinstance(key, yaml.ScalarNode) else ""
            if not name or name in entries:
                raise PackageError(self.path, _line(key), f"{name or 'this key'}: a key is a word, and is there once")
            entries[name] = (self.value(value), _line(key))
        return Section(self.path, entries, _line(node))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def load_yaml(path: str | os.PathLike[str], constants: Sequence[tuple[str, str]] = ()) -> Section:
    """Read a YAML file that holds a mapping; an empty one is an empty mapping.

    Args:
        path: The file.
        constants: What stands for ``{{name}}`` in it.

    Raises:
        PackageError: It cannot be read, is not UTF-8, not YAML, or not a mapping; a key is there twice.
    """
    file = Path(path)
    try:
        text = file.read_bytes().decode()
        for name, value in constants:
            text = text.replace(f"{{{{{name}}}}}", value)
    except OSError as error:
        raise PackageError(file, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PackageError(file, error.object[: error.start].count(b"\n") + 1, "not UTF-8") from error
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        found = Section(file, {}, 1) if node is None else _Reader(file, loader).value(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise PackageError(file, line, f"no YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, PackageError):
            raise
        raise PackageError(file, None, f"no YAML: {error}") from error
    if not isinstance(found, Section):
        raise PackageError(file, 1, "holds no mapping of keys to values")
    return found
