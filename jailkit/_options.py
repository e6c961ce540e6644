"""The keywords of `Jail.run`, for those that hand them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from jailkit.process import Stream
from jailkit.spec import Limits, Pty, User

__all__ = ["RunOptions"]


class RunOptions(TypedDict, total=False):
    """What each means, and its default, is said at `Jail.run`; tests/unit/test_exports.py compares them."""

    input: bytes | str | None
    timeout: float | None
    env: Mapping[str, str] | None
    cwd: str | None
    user: int | User | None
    limits: Limits | None
    text: bool
    check: bool
    stdin: Stream
    stdout: Stream
    stderr: Stream
    detach: bool
    pty: Pty
