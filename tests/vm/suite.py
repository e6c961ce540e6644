"""The kernel tests, in one guest for each kernel and each kind of caller."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO

from tests.vm import kernels

__all__ = ["run"]

SLOWNESS = "20"
"""What deadlines of tests are multiplied by: emulation is about 12 times slower than the machine that it runs on."""

SECONDS = 5400
"""Bound for one guest."""

PASSED_ON = ("JAILKIT_MUST_WORK", "JAILKIT_SOURCE", "CI")


@dataclasses.dataclass
class Part:
    """One guest: a kernel and a caller."""

    kernel: str
    caller: str
    outcome: str = ""

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{kernels.version(self.kernel)} as {self.caller}"

    @contextlib.contextmanager
    def started(self, command: list[str], show: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run the tests in a guest, by a program of its own that takes the guest away when it is terminated."""
        env = [f"JAILKIT_TEST_SLOWNESS={SLOWNESS}", "PYTHONDONTWRITEBYTECODE=1"]
        env += ["HYPOTHESIS_STORAGE_DIRECTORY=/tmp/examples"]
        env += [f"{key}={os.environ[key]}" for key in PASSED_ON if key in os.environ]
        options = ["-k", self.kernel, "-t", str(SECONDS), "-m", "3072", *(["-u"] if self.caller == "user" else [])]
        argv = [sys.executable, "-m", "tests.vm", "run", *options, *(f"--show={path}" for path in show), "--"]
        process = subprocess.Popen(
            [*argv, "env", *env, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        # The lines of several guests come mixed, so each says whose it is.
        printer = threading.Thread(target=self._print, args=(process.stdout,))
        printer.start()
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
            printer.join()

    def _print(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                print(f"[{self.name}] {line.decode(errors='replace').rstrip()}", flush=True)


def run(words: list[str], callers: list[str], command: list[str], show: list[str]) -> bool:
    """Run the tests in every guest, as many at a time as there are processors; return whether all passed.

    Args:
        words: Kernels, as `kernels.find` takes them.
        callers: ``root`` and ``user``.
        command: The command that runs the tests.
        show: Directories that the command needs and that the guest would not see otherwise.
    """
    found, lacking = _kernels(words)
    parts = [Part(kernel, caller) for kernel in found for caller in callers]
    _run_all(parts, command, show)
    outcomes = {**lacking, **{part.name: part.outcome for part in parts}}
    for name, outcome in outcomes.items():
        print(f"== {name}: {outcome}")
    return bool(parts) and all(outcome.startswith("passed") for outcome in outcomes.values())


def _kernels(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the kernels that there are, and the words for which there is none, with the reason."""
    found: list[str] = []
    lacking: dict[str, str] = {}
    for word in words:
        try:
            found.append(kernels.find(word))
        except kernels.VmError as error:
            lacking[f"kernel {word}"] = f"FAILED: {error}"
            print(f"== kernel {word}: {lacking[f'kernel {word}']}", flush=True)
    return list(dict.fromkeys(found)), lacking


def _run_all(parts: list[Part], command: list[str], show: list[str]) -> None:
    """Set the outcome of each part."""
    slots = os.cpu_count() or 1  # emulation uses one processor, whatever the guest has
    waiting = list(parts)
    running: list[tuple[Part, subprocess.Popen[bytes], float]] = []
    with contextlib.ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < slots:
                part = waiting.pop(0)
                running.append((part, stack.enter_context(part.started(command, show)), time.monotonic()))
            time.sleep(0.2)
            for entry in [entry for entry in running if entry[1].poll() is not None]:
                running.remove(entry)
                part, process, began = entry
                seconds = f"in {time.monotonic() - began:.0f} s"
                code = process.returncode
                part.outcome = f"passed {seconds}" if code == 0 else f"FAILED with exit code {code} {seconds}"
