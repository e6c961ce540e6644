"""Judge a folder of submissions, friendly and hostile, each in a jail of its own.

    python examples/demo.py [--json] [--submissions DIR] [PROGRAM ...]

Every program gets the same input, two seconds, and a fixed share of the machine. The table says what became
of it. The exit code is 0 when every submission ended as `expected.toml` says and the host is as it was.

This is a grader in miniature, made from `jailkit.run` and one `Jail`. The limit on memory is one for the whole tree of
processes where control groups can be made. Elsewhere it is `address_space`, a limit for each process: a program with 64
processes may take 64 times as much.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from canary import Canary

import jailkit
from jailkit import ExitReason, File, GiB, Jail, Limits, MiB, Protection, Result, Tmpfs, UnsupportedError

SUBMISSIONS = Path(__file__).resolve().parent / "submissions"

MEMORY = 256 * MiB


def bound_memory(limits: Limits) -> Limits:
    """Bound the memory of a jail: all of it together, if this host can, else that of each process by itself."""
    together = attrs.evolve(limits, memory=MEMORY, address_space=4 * MEMORY)
    try:
        _ = Jail(limits=together).plan
    except UnsupportedError:
        return attrs.evolve(limits, address_space=MEMORY)
    return together


#: A submission gets this much. Limits belong to the jail: nothing a program does can raise them.
RUN_LIMITS = bound_memory(
    Limits(wall_seconds=2, cpu_seconds=1, processes=64, file_size=8 * MiB, disk=32 * MiB, output=1 * MiB)
)


def slower(limits: Limits, times: float) -> Limits:
    """The same limits for a machine that is so many times slower."""
    assert limits.wall_seconds is not None
    assert limits.cpu_seconds is not None
    return attrs.evolve(limits, wall_seconds=limits.wall_seconds * times, cpu_seconds=limits.cpu_seconds * times)


#: Compilers are larger than what they compile, and source text is hostile too: templates and includes
#: keep a compiler busy for hours, and `#include "/etc/shadow"` prints the file as an error message.
PROGRAM_SIZE = 8 * MiB
BUILD_LIMITS = Limits(
    wall_seconds=20,
    cpu_seconds=10,
    processes=64,
    address_space=2 * GiB,
    file_size=PROGRAM_SIZE,
    disk=64 * MiB,
    output=1 * MiB,
)
COMPILER = ("gcc", "-O2", "-std=c17", "-pthread", "-o", "main", "main.c")

#: The table is as wide as this, in columns.
WIDTH = 120

VERDICTS = {
    ExitReason.SIGNALED: "crashed",
    ExitReason.WALL_TIME: "time limit",
    ExitReason.CPU_TIME: "cpu time limit",
    ExitReason.MEMORY: "memory limit",
    ExitReason.OUTPUT: "output limit",
    ExitReason.DISK: "disk limit",
    ExitReason.KILLED: "killed",
    ExitReason.LOST: "lost",
}

ALL_IS_WELL = "The host is as it was: no process, mount, descriptor, file or message got out."
LEGEND = "cpu, peak: of all that it started where control groups can be made, else of less. !: not as expected."


class CompileError(Exception):
    """The compiler refused the source, or did not survive it; `result` has what it said."""

    def __init__(self, result: Result[bytes]) -> None:
        super().__init__(f"compiler: {result}")
        self.result = result


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table, and one object of `--json`."""

    program: str
    as_expected: bool
    verdict: str
    reason: str
    returncode: int
    signal: str | None
    summary: str
    cpu_seconds: float
    wall_seconds: float
    memory_peak_bytes: int | None
    output: str

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table says of it, in the order of the columns."""
        return (
            f"{' ' if self.as_expected else '!'} {self.program}",
            self.verdict,
            self.signal or f"exit code {self.returncode}",
            f"{self.cpu_seconds:.3f}",
            f"{self.wall_seconds:.3f}",
            "-" if self.memory_peak_bytes is None else f"{self.memory_peak_bytes / MiB:.1f}",
            self.output,
        )


HEAD = ("  program", "verdict", "ended by", "cpu s", "wall s", "peak MiB", "first line of output")
NUMBERS = {"cpu s", "wall s", "peak MiB"}


def compile_c(source: bytes) -> bytes:
    """Compile one C program in a jail and take the executable out of it.

    The compiler sees the host's `/usr`, read-only, and a `/tmp` of its own that ends with the jail.

    Raises:
        CompileError: there is no executable.
    """
    # The C locale: messages in ASCII and in English, whatever the language of the host.
    with Jail(limits=BUILD_LIMITS, cwd="/tmp", env={"LC_ALL": "C"}) as jail:
        jail.put(source, "/tmp/main.c")
        result = jail.run(COMPILER)
        if not result.ok:
            raise CompileError(result)
        return jail.get("/tmp/main", max_bytes=PROGRAM_SIZE)


def run_jailed(
    argv: Sequence[str], *files: File, limits: Limits, stdin: bytes = b"", env: Mapping[str, str] = {}
) -> Result[bytes]:
    """Run one program in a fresh jail: `files` read-only, `/box` and `/tmp` to write to, no network."""
    return jailkit.run(argv, mounts=(*files, Tmpfs("/box")), cwd="/box", env=env, limits=limits, input=stdin)


def run_submission(path: Path, stdin: bytes, env: Mapping[str, str], limits: Limits) -> Result[bytes]:
    """Compile a submission where its language needs that, and run it.

    Raises:
        CompileError: it is a C program, and gcc cannot make an executable of it.
    """
    source = path.read_bytes()
    if path.suffix == ".c":
        program, argv = File("/submission/main", compile_c(source), mode=0o755), ["/submission/main"]
    else:
        program, argv = File("/submission/main.py", source), ["python3", "/submission/main.py"]
    return run_jailed(argv, program, limits=limits, stdin=stdin, env=env)


def verdict_of(result: Result[bytes], answer: bytes) -> str:
    """Say in words how a submission did. The facts are the jail's; of the program only the answer counts."""
    if result.reason is not ExitReason.EXITED:
        return VERDICTS[result.reason]
    if result.returncode != 0:
        return "runtime error"
    return "accepted" if result.stdout.split() == answer.split() else "wrong answer"


def first_line(result: Result[bytes], *, of_compiler: bool = False) -> str:
    """The line of output that tells most: an error of a compiler, the first line, or else the last complaint.

    What a hostile program prints may steer a terminal, so all but plain ASCII is escaped, and it is short.
    """
    said, complained = result.stdout.splitlines(), result.stderr.splitlines()
    errors = [line for line in complained if b"error" in line] if of_compiler else []
    line = (errors or said or complained[-1:] or [b""])[0]
    text = line[:400].decode("ascii", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text)[:160]


def meets(expected: Mapping[str, Any], row: Row) -> bool:
    """Whether an outcome is what `expected.toml` says."""
    return (
        row.verdict in expected["verdict"]
        and row.signal in expected.get("signal", [row.signal])
        and re.search(expected.get("output", ""), row.output) is not None
    )


def judge(
    path: Path, stdin: bytes, answer: bytes, expected: Mapping[str, Any], env: Mapping[str, str], limits: Limits
) -> tuple[Row, Result[bytes]]:
    """Compile, run and judge one submission, and compare the outcome with the expected one."""
    try:
        result = run_submission(path, stdin, env, limits)
    except CompileError as error:
        result, verdict = error.result, "compile error"
    else:
        verdict = verdict_of(result, answer)
    row = Row(
        program=path.name,
        as_expected=False,
        verdict=verdict,
        reason=result.reason.name,
        returncode=result.returncode,
        signal=result.signal_name,
        summary=str(result),
        cpu_seconds=round(result.usage.cpu, 3),
        wall_seconds=round(result.usage.wall, 3),
        memory_peak_bytes=result.usage.memory_peak,
        output=first_line(result, of_compiler=verdict == "compile error"),
    )
    return attrs.evolve(row, as_expected=meets(expected, row)), result


def shortened(text: str, width: int) -> str:
    """The text, or as much of it as fits and a mark that there is more."""
    return text if len(text) <= width else text[: width - 3] + "..."


def as_table(rows: Sequence[Row]) -> str:
    """Align the rows; a line that starts with `!` is an outcome that was not expected."""
    lines = [HEAD, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    widths[-1] = WIDTH - sum(width + 2 for width in widths[:-1])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if name in NUMBERS else shortened(cell, width).ljust(width)
            for name, cell, width in zip(HEAD, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def complaints(rows: Sequence[Row], expected: Mapping[str, Any]) -> list[str]:
    """Say of each outcome that was not expected what was, in full."""
    return [
        f'! {row.program}: {row.verdict}, {row.summary}; output "{row.output}"; expected {expected[row.program]}'
        for row in rows
        if not row.as_expected
    ]


def protections(isolation: Sequence[Protection]) -> str:
    """What protects the host from these programs; of what is weak or missing also why."""
    listed = [("enforced", ", ".join(each.name for each in isolation if each.state == "enforced"))]
    for state in ("degraded", "absent"):
        listed += [(state, f"{each.name}: {each.fact}") for each in isolation if each.state == state]
    return "\n".join(
        line
        for label, text in listed
        for line in textwrap.wrap(text, WIDTH, initial_indent=f"{label:10}", subsequent_indent=" " * 10)
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Judge submissions, each in a jail of its own.")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="names of submissions; all, if none is given")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--slower", type=float, default=1, metavar="N", help="give programs N times as much time")
    parser.add_argument("--submissions", type=Path, default=SUBMISSIONS, metavar="DIR")
    return parser.parse_args()


def expectations(folder: Path, programs: Sequence[str]) -> dict[str, Any]:
    """Read what must become of the programs, of all when none is named; they are judged in the order returned."""
    expected = tomllib.loads((folder / "expected.toml").read_text())
    files = {path.name for path in folder.iterdir() if path.suffix in {".c", ".py"}}
    if forgotten := sorted(files.union(programs) ^ expected.keys()):
        sys.exit(f"{folder} and its expected.toml do not agree on {', '.join(forgotten)}")
    return {name: expected[name] for name in programs or expected}


def main() -> int:
    """Judge the submissions, print the outcome, and say by the exit code whether it is the expected one."""
    args = arguments()
    folder: Path = args.submissions
    expected = expectations(folder, args.programs)
    stdin, answer = (folder / "input.txt").read_bytes(), (folder / "expected.txt").read_bytes()
    # What the library opens once and keeps is no leak; what grows with every jail is. So one jail comes first.
    limits = slower(RUN_LIMITS, args.slower)
    isolation = run_jailed(["true"], limits=limits).check().isolation
    with Canary() as canary:
        judged = [judge(folder / name, stdin, answer, entry, canary.env, limits) for name, entry in expected.items()]
        findings = canary.findings({row.program: result.stdout + result.stderr for row, result in judged})
    rows = [row for row, _ in judged]
    wrong = complaints(rows, expected)
    if args.json:
        report = {
            "ok": not findings and not wrong,
            "rows": [attrs.asdict(row) for row in rows],
            "findings": findings,
            "isolation": [attrs.asdict(protection) for protection in isolation],
        }
        print(json.dumps(report, indent=2))
    else:
        print(protections(isolation), as_table(rows), LEGEND, sep="\n\n", end="\n\n")
        print(*(findings or [ALL_IS_WELL]), *wrong, sep="\n")
        print(f"{len(rows) - len(wrong)} of {len(rows)} submissions ended as expected.")
    return 1 if findings or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
