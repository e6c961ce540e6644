"""What a call of a Python session did."""

from __future__ import annotations

from typing import Any

import attrs

from jailkit._errors import CallFailed, RemoteError
from jailkit.process import ExitReason, Usage

__all__ = ["CallResult"]


@attrs.frozen(kw_only=True)
class CallResult:
    """How a call of a Python session ended, and what it wrote.

    `value`, `error` and the outputs are what the code in the jail says. `reason`, `returncode` and `usage.wall` are
    what the host, and the server of the session, which the call cannot write to, have seen.

    Attributes:
        value: What it returned; None unless it is `ok`.
        error: None; or a `RemoteError`, where the code raised an exception; or a `CallFailed`, where it ended without
            a valid answer.
        reason: Why it ended. EXITED also for an exception.
        returncode: The exit code of its process, or the negative number of the signal that ended it.
        stdout: What it wrote, within the bound on its output; cut in the middle when there was more.
        stderr: The same.
        truncated: Whether something was cut.
        usage: What it used: processor time and the largest resident size, of its process and of those it waited for.
    """

    value: Any
    error: RemoteError | CallFailed | None
    reason: ExitReason
    returncode: int
    stdout: bytes
    stderr: bytes
    truncated: bool
    usage: Usage

    @property
    def ok(self) -> bool:
        """Whether it returned a value."""
        return self.error is None

    def check(self) -> Any:
        """Return the value.

        Raises:
            RemoteError: The code raised an exception.
            CallFailed: It ended without a valid answer.
        """
        if self.error is not None:
            raise self.error
        return self.value
