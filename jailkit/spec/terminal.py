"""The terminal of a program."""

from __future__ import annotations

from typing import Any, cast

import attrs

from jailkit._errors import SpecError
from jailkit.spec import _validate as check

__all__ = ["Pty", "Terminal", "terminal_of"]

_MOST = 65535
"""The sizes in struct winsize are 16 bits wide, see ioctl_tty(2)."""


def _check_count(instance: object, attribute: Any, value: Any) -> None:
    if not check.is_int(value, 1, _MOST):
        raise check.refuse(instance, attribute, value, f"an int from 1 to {_MOST}")


@attrs.frozen
class Terminal:
    """The size of a terminal, in characters. The kernel keeps it and tells whoever asks, as ``stty size`` does.

    Attributes:
        rows: Lines. Default: 24.
        columns: Characters in a line. Default: 80.

    Raises:
        SpecError: One of them is not an int from 1 to 65535.
    """

    rows: int = attrs.field(default=24, validator=_check_count)
    columns: int = attrs.field(default=80, validator=_check_count)


Pty = bool | tuple[int, int] | Terminal
"""True, rows and columns, or a `Terminal`; False: none."""


def terminal_of(pty: Pty) -> Terminal | None:
    """Read what was given as ``pty``.

    Raises:
        SpecError: It makes no sense.
    """
    if isinstance(pty, bool):
        return Terminal() if pty else None
    if isinstance(pty, Terminal):
        return pty
    given = cast("Any", pty)
    if isinstance(given, tuple) and len(given) == 2:
        return Terminal(*given)
    raise SpecError("pty", given, "True, False, (rows, columns) or a Terminal")
