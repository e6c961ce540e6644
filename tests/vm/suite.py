"""The kernel tests, in guests of each kernel for each kind of caller, a few files in each guest."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import queue
import subprocess
import sys
import threading

from tests.vm import kernels
from tests.vm.memory import Memory, Seen, digests
from tests.vm.report import FILE, FILES

__all__ = ["Wanted", "run"]

SLOWNESS = "20"
"""What deadlines of tests are multiplied by: emulation is about 12 times slower than the machine that it runs on."""

SECONDS = 5400
"""Bound for one guest."""

PLUGIN = ("-p", "tests.vm.report")
PASSED_ON = ("JAILKIT_MUST_WORK", "JAILKIT_SOURCE", "CI")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What to run, and where."""

    kernels: list[str]
    """As `kernels.find` takes them."""
    callers: list[str]
    """``root`` and ``user``."""
    tests: list[str]
    """What pytest is told to run: files, directories, single tests."""
    python: str = sys.executable
    """The interpreter that runs them."""
    options: tuple[str, ...] = ()
    """For pytest."""
    show: tuple[str, ...] = ()
    """Directories that the tests need and that the guest would not see otherwise."""
    sources: tuple[str, ...] = ("jailkit", "tests", "pyproject.toml")
    """What the tests depend on."""
    files: int = 6
    """As many in each guest: a new guest costs half a minute under emulation, and an old one may run full."""
    guests: int = dataclasses.field(default_factory=lambda: os.cpu_count() or 1)
    """As many at a time: emulation uses one processor, whatever the guest has."""


@dataclasses.dataclass
class Part:
    """A kernel and a caller, and what is known of each file of tests there."""

    kernel: str
    caller: str
    seen: dict[str, Seen] = dataclasses.field(default_factory=dict)
    trouble: list[str] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{kernels.version(self.kernel)} as {self.caller}"

    def outcome(self, files: list[str]) -> str:
        """Say in a line what became of the files here."""
        bad = [file for file in files if file in self.seen and not self.seen[file].good]
        left = sum(file not in self.seen for file in files)
        bad += [*self.trouble, *([f"{left} files not run"] if left else [])]
        return (
            f"FAILED: {', '.join(bad)}" if bad else f"passed, {sum(seen.passed for seen in self.seen.values())} tests"
        )


def run(wanted: Wanted, memory: Memory) -> bool:
    """Run the tests in every guest, without the files that are known to pass there; return whether all passed.

    A table of what is known by then is printed at the end, and when it is interrupted.
    """
    files = _files(wanted.tests)
    found, lacking = _kernels(wanted.kernels)
    parts = [Part(kernel, caller) for kernel in found for caller in wanted.callers]
    single = [word for words in files.values() for word in words if "::" in word]
    made = digests(files, wanted.sources, [*wanted.options, *single, os.environ.get("JAILKIT_MUST_WORK", "")])
    work = _Work(wanted, memory, made)
    for part in parts:
        known = {file: memory.passed(part.name, file, made[file]) for file in files}
        part.seen = {file: seen for file, seen in known.items() if seen}
        if part.seen:
            print(f"== {part.name}: {len(part.seen)} of {len(files)} files have passed before", flush=True)
        left = [file for file in files if file not in part.seen]
        for at in range(0, len(left), wanted.files):
            work.waiting.put((part, {file: files[file] for file in left[at : at + wanted.files]}))
    try:
        work.through()
    finally:
        if parts:
            print(_table(parts, list(files)))
        for name, outcome in {**lacking, **{part.name: part.outcome(list(files)) for part in parts}}.items():
            print(f"== {name}: {outcome}", flush=True)
    return bool(parts) and not lacking and all(part.outcome(list(files)).startswith("passed") for part in parts)


def _files(tests: list[str]) -> dict[str, list[str]]:
    """Return the files of tests, each with what pytest is told to run of it."""
    found: dict[str, list[str]] = {}
    for word in tests:
        path = os.path.relpath(word.partition("::")[0])  # as pytest calls it
        below = sorted(glob.glob(f"{path}/**/test_*.py", recursive=True)) if os.path.isdir(path) else [path]
        for file in below:
            found.setdefault(file, []).append(word if below == [path] else file)
    return found


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


def _table(parts: list[Part], files: list[str]) -> str:
    """Return a line for each file and a column for each part."""
    rows = [["", *(part.name for part in parts)]]
    rows += [[file, *(part.seen[file].text if file in part.seen else "-" for part in parts)] for file in files]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


class _Work:
    """The guests that wait and those that run."""

    def __init__(self, wanted: Wanted, memory: Memory, made: dict[str, str]) -> None:
        self.wanted = wanted
        self.memory = memory
        self.digests = made
        self.waiting: queue.SimpleQueue[tuple[Part, dict[str, list[str]]]] = queue.SimpleQueue()
        self.running: list[subprocess.Popen[bytes]] = []
        self.ended = False
        self.lock = threading.Lock()

    def through(self) -> None:
        """Run all of them. An exception in the meantime, as of an interrupt, takes the running ones away."""
        threads = [threading.Thread(target=self._one_after_the_other) for _ in range(self.wanted.guests)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():  # in steps: a signal is for this thread, and join() would not return for it
                    thread.join(0.2)
        finally:
            with self.lock:
                self.ended = True
                for process in self.running:
                    process.terminate()
            for thread in threads:
                if thread.ident:
                    thread.join()

    def _one_after_the_other(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                part, files = self.waiting.get_nowait()
                argv = guest_command(self.wanted, part, [word for words in files.values() for word in words])
                with self.lock:
                    if self.ended:
                        return
                    # A program of its own, which takes the guest away when it is terminated.
                    process = subprocess.Popen(
                        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                    )
                    self.running.append(process)
                left = self._follow(process, part, set(files))
                self._end(process, part, set(files), left)

    def _follow(self, process: subprocess.Popen[bytes], part: Part, files: set[str]) -> set[str]:
        """Print what a guest prints, and remember what it says of its files; return those of which it said nothing."""
        left = set(files)
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                # The lines of several guests come mixed, so each says whose it is.
                text = line.decode(errors="replace").rstrip()
                print(f"[{part.name}] {text}", flush=True)
                for file, seen in _said(text, files).items():
                    if file in left:
                        self._keep(part, file, seen)
                        left.discard(file)
        return left

    def _end(self, process: subprocess.Popen[bytes], part: Part, files: set[str], left: set[str]) -> None:
        """Judge what is left by how the guest ended: with 0, and where there was nothing to run, all is well."""
        code = process.wait()
        with self.lock:
            self.running.remove(process)
            if self.ended:
                return
        for file in left:
            self._keep(part, file, Seen(lost=code not in (0, 5)))
        if code not in (0, 5) and all(part.seen[file].good for file in files):
            part.trouble.append(f"exit code {code} of a guest in which every file passed")

    def _keep(self, part: Part, file: str, seen: Seen) -> None:
        part.seen[file] = seen
        self.memory.keep(part.name, file, self.digests[file], seen)


def _said(text: str, files: set[str]) -> dict[str, Seen]:
    """Return what a line of `report.py` says of files; of a file that it does not list there is nothing to run."""
    with contextlib.suppress(ValueError):  # cut by something else that was printed: then the guest's end is the judge
        if text.startswith(FILES):
            return {file: Seen() for file in files.difference(json.loads(text.removeprefix(FILES)))}
        if text.startswith(FILE):
            fields = json.loads(text.removeprefix(FILE))
            return {fields.pop("path"): Seen(**fields)}
    return {}


def guest_command(wanted: Wanted, part: Part, tests: list[str]) -> list[str]:
    """Return the command that runs tests in a guest."""
    env = [f"JAILKIT_TEST_SLOWNESS={SLOWNESS}", "PYTHONDONTWRITEBYTECODE=1"]
    env += ["HYPOTHESIS_STORAGE_DIRECTORY=/tmp/examples"]
    env += [f"{key}={os.environ[key]}" for key in PASSED_ON if key in os.environ]
    options = ["-k", part.kernel, "-t", str(SECONDS), "-m", "3072", *(["-u"] if part.caller == "user" else [])]
    argv = [sys.executable, "-m", "tests.vm", "run", *options, *(f"--show={path}" for path in wanted.show), "--"]
    return [*argv, "env", *env, wanted.python, "-m", "pytest", *PLUGIN, *wanted.options, *tests]
