"""Judge a folder of submissions, friendly and hostile, each in a jail of its own.

    python examples/demo.py [--json] [--submissions DIR] [PROGRAM ...]

Every program gets the same input, two seconds, and a fixed share of the machine. The table says what became
of it. The exit code is 0 when every submission ended as `expected.toml` says and the host is as it was.

This is a grader in miniature, made from `jailkit.run` and one `Jail`. What it does not have, because jailkit
does not have it yet, is a limit on the memory of a whole tree of processes: `address_space` is a limit for each
process, so a program with 64 processes may take 64 times as much.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import signal
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canary import Canary

import jailkit
from jailkit import ExitReason, File, GiB, Jail, Limits, MiB, Result, Tmpfs

SUBMISSIONS = Path(__file__).resolve().parent / "submissions"

#: A submission gets this much. Limits belong to the jail: nothing a program does can raise them.
RUN_LIMITS = Limits(
    cpu_seconds=1,
    processes=64,
    address_space=512 * MiB,
    file_size=8 * MiB,
    disk=32 * MiB,
    output=1 * MiB,
)
RUN_TIMEOUT = 2.0

#: Compilers are larger than what they compile, and source text is hostile too: templates and includes
#: keep a compiler busy for hours, and `#include "/etc/shadow"` prints the file as an error message.
BUILD_LIMITS = Limits(cpu_seconds=10, processes=64, address_space=2 * GiB, disk=64 * MiB, output=1 * MiB)
BUILD_TIMEOUT = 20.0
COMPILER = ("gcc", "-O2", "-std=c17", "-pthread", "-o", "/tmp/main", "/tmp/main.c")

VERDICTS = {
    ExitReason.WALL_TIME: "time limit",
    ExitReason.CPU_TIME: "processor time limit",
    ExitReason.MEMORY: "memory limit",
    ExitReason.OUTPUT: "output limit",
    ExitReason.DISK: "disk limit",
    ExitReason.KILLED: "killed",
    ExitReason.LOST: "lost",
}

ALL_IS_WELL = "The host is as it was: no process, mount, descriptor, file or message got out."


class CompileError(Exception):
    """The compiler refused the source, or did not survive it; `result` has what it said."""

    def __init__(self, result: Result) -> None:
        super().__init__("the compiler failed")
        self.result = result


@dataclass(frozen=True)
class Row:
    """One line of the table, and one object of `--json`. Times are seconds, memory is bytes."""

    program: str
    verdict: str
    reason: str
    returncode: int
    happened: str
    cpu: float
    wall: float
    memory_peak: int | None
    output: str
    as_expected: bool


def compile_c(source: bytes) -> bytes:
    """Compile one C program in a jail and take the executable out of it.

    The compiler sees the host's `/usr`, read-only, and a `/tmp` of its own that ends with the jail.

    Raises:
        CompileError: there is no executable.
    """
    with Jail(limits=BUILD_LIMITS) as jail:
        jail.put(source, "/tmp/main.c")
        result = jail.run(COMPILER, timeout=BUILD_TIMEOUT)
        if not result.ok:
            raise CompileError(result)
        return jail.get("/tmp/main", max_bytes=8 * MiB)


def run_submission(path: Path, stdin: bytes, env: dict[str, str]) -> Result:
    """Run one submission in a fresh jail: its own file read-only, `/box` and `/tmp` to write to, no network.

    Raises:
        CompileError: it is a C program, and gcc cannot make an executable of it.
    """
    source = path.read_bytes()
    if path.suffix == ".c":
        program, argv = File("/submission/main", compile_c(source), mode=0o755), ["/submission/main"]
    else:
        program, argv = File("/submission/main.py", source), ["python3", "/submission/main.py"]
    return jailkit.run(
        argv,
        mounts=(program, Tmpfs("/box")),
        cwd="/box",
        env=env,
        limits=RUN_LIMITS,
        input=stdin,
        timeout=RUN_TIMEOUT,
    )


def verdict_of(result: Result, answer: bytes) -> str:
    """Say in words how a submission did. The facts are the jail's; of the program only the answer counts."""
    if result.reason is ExitReason.EXITED:
        if result.returncode != 0:
            return "runtime error"
        return "accepted" if result.stdout.split() == answer.split() else "wrong answer"
    if result.reason is ExitReason.SIGNALED:
        return f"crashed by {signal_name(-result.returncode)}"
    return VERDICTS[result.reason]


def signal_name(number: int) -> str:
    """The name of a signal; real-time signals, which have none, are numbered."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def what_happened(result: Result) -> str:
    """The plain facts behind a verdict, as in `EXITED 0` or `WALL_TIME SIGKILL`."""
    code = result.returncode
    return f"{result.reason.name} {signal_name(-code) if code < 0 else code}"


def first_line(result: Result, *, of_compiler: bool = False) -> str:
    """The line of output that tells most: the first, or the last complaint when there is none.

    What a hostile program prints may steer a terminal, so all but plain ASCII is escaped, and it is short.
    """
    said, complained = result.stdout.splitlines(), result.stderr.splitlines()
    if of_compiler:
        line = next((line for line in complained if b"error" in line), b"")
    else:
        line = (said or complained[-1:] or [b""])[0]
    text = line[:400].decode("ascii", "backslashreplace").replace("\N{DELETE}", r"\x7f")
    return re.sub(r"[\x00-\x1f]", lambda found: f"\\x{ord(found[0]):02x}", text)[:160]


def judge(path: Path, stdin: bytes, answer: bytes, expected: dict[str, Any], env: dict[str, str]) -> tuple[Row, Result]:
    """Compile, run and judge one submission, and compare the outcome with the expected one."""
    try:
        result = run_submission(path, stdin, env)
    except CompileError as error:
        result, verdict = error.result, "compile error"
    else:
        verdict = verdict_of(result, answer)
    output = first_line(result, of_compiler=verdict == "compile error")
    row = Row(
        program=path.name,
        verdict=verdict,
        reason=result.reason.name,
        returncode=result.returncode,
        happened=what_happened(result),
        cpu=round(result.usage.cpu, 3),
        wall=round(result.usage.wall, 3),
        memory_peak=result.usage.memory_peak,
        output=output,
        as_expected=verdict in expected["verdict"] and re.search(expected.get("output", ""), output) is not None,
    )
    return row, result


def as_table(rows: Sequence[Row]) -> str:
    """Align the rows; a line that starts with `!` is an outcome that was not expected."""
    head = ("  program", "verdict", "what happened", "cpu", "wall", "peak", "first line of output")
    lines = [
        (
            f"{' ' if row.as_expected else '!'} {row.program}",
            row.verdict,
            row.happened,
            f"{row.cpu:.2f} s",
            f"{row.wall:.2f} s",
            "-" if row.memory_peak is None else f"{row.memory_peak / MiB:.1f} MiB",
            row.output[:72],
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    numbers = {3, 4, 5}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [head, *lines]
    )


def protections(result: Result) -> str:
    """What protects the host in these jails, and what does not yet."""
    lines = []
    for state in ("enforced", "degraded", "absent"):
        names = [protection.name for protection in result.isolation if protection.state == state]
        lines += [f"{state}: {', '.join(names)}"] if names else []
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Judge submissions, each in a jail of its own.")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="names of submissions; all, if none is given")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--submissions", type=Path, default=SUBMISSIONS, metavar="DIR")
    return parser.parse_args()


def main() -> int:
    """Judge the submissions, print the outcome, and say by the exit code whether it is the expected one."""
    args = arguments()
    folder: Path = args.submissions
    expected = tomllib.loads((folder / "expected.toml").read_text())
    if forgotten := {path.name for path in folder.iterdir() if path.suffix in {".c", ".py"}} - expected.keys():
        sys.exit(f"expected.toml does not say what must become of {', '.join(sorted(forgotten))}")
    stdin, answer = (folder / "input.txt").read_bytes(), (folder / "expected.txt").read_bytes()
    # What the library opens once and keeps is no leak; what grows with every jail is. So one jail comes first.
    warm_up = jailkit.run(["true"]).check()
    with Canary() as canary:
        judged = [judge(folder / name, stdin, answer, expected[name], canary.env) for name in args.programs or expected]
        findings = canary.findings([result.stdout + result.stderr for _, result in judged])
    rows = [row for row, _ in judged]
    ok = not findings and all(row.as_expected for row in rows)
    if args.json:
        print(json.dumps({"ok": ok, "rows": [dataclasses.asdict(row) for row in rows], "findings": findings}, indent=2))
    else:
        print(protections(warm_up), as_table(rows), sep="\n\n", end="\n\n")
        print(*(findings or [ALL_IS_WELL]), sep="\n")
        print(f"{sum(row.as_expected for row in rows)} of {len(rows)} submissions ended as expected.")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
