"""Shows where the time of one launch goes, by the clock of the C floor program.

python benchmarks/trace.py [-n N]

No tracer is attached: one would cost more than the steps it measures. The child notes the
time between its steps in memory that it shares with the parent.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import floor
from measure import CaseError, percentile_95, table


def main() -> int:
    """Prints one table with, and one without a network namespace."""
    parser = argparse.ArgumentParser(description="where the time of a launch goes")
    parser.add_argument("-n", type=int, default=200, help="launches (default 200)")
    count = parser.parse_args().n
    with tempfile.TemporaryDirectory(prefix="jailkit-bench-") as name:
        try:
            program = floor.build(Path(name))
            for title, arguments in (("all seven namespaces", ()), ("no network namespace", ("--no-net",))):
                total, steps = floor.steps(program, arguments, count)
                rows = [(step, *_columns(values)) for step, values in steps.items()]
                print(table((title, "median µs", "p95 µs"), [*rows, ("all", *_columns(total))]), end="\n\n")
        except CaseError as error:
            print(f"floor: {error}", file=sys.stderr)
            return 1
    return 0


def _columns(values: list[int]) -> tuple[str, str]:
    return f"{statistics.median(values) / 1000:.1f}", f"{percentile_95(values) / 1000:.1f}"


if __name__ == "__main__":
    sys.exit(main())
