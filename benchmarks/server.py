"""A program that makes one launch per line of its input and answers with the nanoseconds it took."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from measure import CaseError


class Server:
    """A running launch server.

    It stays alive between samples, as the Python program next to it does: a process that has just
    been started pays for its own first page faults, which are no part of a launch.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    def sample(self) -> int:
        """Has one launch made and returns its nanoseconds, by the clock of the server.

        Raises:
            CaseError: The server ended, with what it wrote to its standard error.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            process.stdin.write(b"\n")
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise CaseError(process.stderr.read().decode(errors="replace").strip() or "it ended")
        return int(answer)

    def close(self) -> None:
        """Ends the server, by the end of its input."""
        self._process.communicate()
