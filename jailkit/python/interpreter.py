"""Which Python runs in a jail, and whether it is there."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jailkit._errors import CommandNotFound, SpecError
from jailkit.spec import Bind, JailSpec

__all__ = ["Interpreter", "find_interpreter", "python_binds"]

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""What a jail without a root directory sees of the host."""


class Interpreter(NamedTuple):
    """A Python in a jail.

    Attributes:
        command: How it is started.
        path: What is to be added to its `sys.path`.
        own: Whether it is the one that runs this program.
    """

    command: tuple[str, ...]
    path: tuple[str, ...]
    own: bool


def _program() -> str:
    # Of a virtual environment the Python that it was made from: there is the library, and nothing else is needed.
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _packages() -> tuple[str, ...]:
    places = (path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages"))
    return tuple(dict.fromkeys(os.path.realpath(path) for path in places if os.path.isdir(path)))


def _needed() -> Iterator[str]:
    import sysconfig  # noqa: PLC0415 - most programs that import jailkit do not need it

    yield _program()
    for name in ("stdlib", "platstdlib"):
        yield os.path.realpath(
            sysconfig.get_path(name, vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix})
        )
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        yield os.path.realpath(str(sysconfig.get_config_var("LIBDIR")))


def _below(path: str, *places: str) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _visible(path: str, spec: JailSpec) -> bool:
    if spec.root is None and _below(path, *_SYSTEM):
        return True
    return any(isinstance(one, Bind) and one.source == one.target and _below(path, one.target) for one in spec.mounts)


def python_binds(*, packages: bool = False) -> tuple[Bind, ...]:
    """Return the mounts that bring the Python which runs this program into a jail, read-only.

    Only what a jail without a root directory does not see anyway: nothing for ``/usr/bin/python3``, the prefix for a
    Python in ``/opt`` or in somebody's home.

    Args:
        packages: Its directories of installed packages too, those of a virtual environment included. Default: False.

    >>> python_binds() == tuple(Bind(bind.source) for bind in python_binds())
    True
    """
    wanted = [_home_of(path) for path in _needed()] + list(_packages() if packages else ())
    places = dict.fromkeys(path for path in wanted if not _below(path, *_SYSTEM))
    return tuple(Bind(path) for path in places if not any(_below(path, other) for other in places if other != path))


def _home_of(path: str) -> str:
    prefix = os.path.realpath(sys.base_prefix)
    return prefix if _below(path, prefix) and prefix != "/" else path


def find_interpreter(spec: JailSpec, asked: str | None, *, packages: bool | None) -> Interpreter:
    """Decide which interpreter a session has.

    Args:
        spec: The jail.
        asked: Its path in the jail, or None.
        packages: Whether it is to find the packages installed for it; None for those that are in the jail.

    Raises:
        CommandNotFound: The Python of this program is not in the jail.
        SpecError: Packages were asked for, and are not in the jail.
    """
    missing = [path for path in _needed() if not _visible(path, spec)]
    if asked is not None or (spec.root is not None and missing):
        # -I: neither the environment nor the working directory is looked at; -S: no site-packages.
        options = ("-I", "-S") if packages is False else ("-I",)
        return Interpreter((asked or "python3", *options), (), own=False)
    if missing:
        raise CommandNotFound(
            phase="program",
            errno=errno.ENOENT,
            description="start the Python that runs this program",
            hint=f"{missing[0]} is not in the jail: make it with mounts={_binds_in_words()}, or with "
            'mounts=jailkit.python_binds(), or name one that is there, as interpreter="python3"',
            filename=missing[0],
        )
    return Interpreter((_program(), "-I", "-S"), tuple(_found_packages(spec, packages)), own=True)


def _binds_in_words() -> str:
    return "[" + ", ".join(f'Bind("{bind.source}")' for bind in python_binds()) + "]"


def _found_packages(spec: JailSpec, packages: bool | None) -> Sequence[str]:
    if packages is False:
        return ()
    found = [path for path in _packages() if _visible(path, spec)]
    if packages and len(found) < len(_packages()):
        raise SpecError("packages", packages, "True in a jail with mounts=jailkit.python_binds(packages=True)")
    return found
